//! `EVFILT_USER`: an event that the program itself triggers.
//!
//! As in NetBSD, `NOTE_TRIGGER` in the very change that adds the knote does nothing, and `EV_CLEAR` in a later
//! change takes a trigger back.
//!
//! Source: `kern_event.c: filt_userattach, filt_user, filt_usertouch`.

use super::knotes::Knote;
use lwp_abi::event::{
    EvFlags, Kevent100, NOTE_FFAND, NOTE_FFCOPY, NOTE_FFCTRLMASK, NOTE_FFLAGSMASK, NOTE_FFOR,
    NOTE_TRIGGER,
};

/// Whether a knote has been triggered.
#[derive(Debug, Default)]
pub(super) struct UserSource {
    is_triggered: bool,
}

impl UserSource {
    /// `filt_user`.
    pub(super) fn is_triggered(&self) -> bool {
        self.is_triggered
    }

    /// Takes over a change: the guest's flags, by the operation named in the top bits, and its number.
    pub(super) fn touch(&mut self, kn: &mut Knote, change: &Kevent100) {
        if change.fflags & NOTE_TRIGGER != 0 {
            self.is_triggered = true;
        }
        let given = change.fflags & NOTE_FFLAGSMASK;
        match change.fflags & NOTE_FFCTRLMASK {
            NOTE_FFAND => kn.sfflags &= given,
            NOTE_FFOR => kn.sfflags |= given,
            NOTE_FFCOPY => kn.sfflags = given,
            _ => {}
        }
        kn.sdata = change.data;
        if EvFlags::from_bits_retain(change.flags).contains(EvFlags::CLEAR) {
            self.is_triggered = false;
        }
    }

    /// The record: the guest's own flags and number.
    pub(super) fn report(&mut self, kn: &mut Knote) -> Kevent100 {
        if kn.has(EvFlags::CLEAR) {
            self.is_triggered = false;
        }
        Kevent100 {
            fflags: kn.sfflags & NOTE_FFLAGSMASK,
            data: kn.sdata,
            ..kn.kev
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knote(flags: EvFlags) -> Knote {
        Knote::new(&Kevent100 {
            flags: flags.bits(),
            ..Kevent100::default()
        })
    }

    fn change(fflags: u32, data: i64) -> Kevent100 {
        Kevent100 {
            fflags,
            data,
            ..Kevent100::default()
        }
    }

    #[test]
    fn flags_are_combined_as_the_top_bits_say() {
        let (mut user, mut kn) = (UserSource::default(), knote(EvFlags::ADD));
        for (fflags, wanted) in [
            (NOTE_FFCOPY | 0b1100, 0b1100),
            (NOTE_FFOR | 0b0011, 0b1111),
            (NOTE_FFAND | 0b0110, 0b0110),
            (0b1, 0b0110),
            (NOTE_FFCOPY | NOTE_TRIGGER, 0),
        ] {
            user.touch(&mut kn, &change(fflags, 0));
            assert_eq!(user.report(&mut kn).fflags, wanted);
        }
    }

    #[test]
    fn a_trigger_lasts_until_reported_with_ev_clear() {
        let (mut user, mut kn) = (UserSource::default(), knote(EvFlags::ADD | EvFlags::CLEAR));
        assert!(!user.is_triggered());
        user.touch(&mut kn, &change(NOTE_TRIGGER, 5));
        assert!(user.is_triggered());
        assert_eq!(user.report(&mut kn).data, 5);
        assert!(!user.is_triggered());
    }
}
