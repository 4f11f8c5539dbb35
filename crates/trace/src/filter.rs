//! Which calls are wanted: `-e FAMILY|NAME,…`.

use crate::kind::Family;
use crate::table;
use core::str::FromStr;
use lwp_abi::nr;

/// A set of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// By number.
    wanted: Vec<bool>,
}

impl Default for Filter {
    /// All of them.
    fn default() -> Self {
        Self {
            wanted: vec![true; nr::SYS_NSYSENT.into()],
        }
    }
}

/// Nothing has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(String);

impl core::fmt::Display for Unknown {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let families: Vec<_> = Family::ALL.iter().map(|&(_, name)| name).collect();
        write!(
            f,
            "there is no system call '{}'; families are {}",
            self.0,
            families.join(", ")
        )
    }
}

impl core::error::Error for Unknown {}

impl FromStr for Filter {
    type Err = Unknown;

    /// Families and names with commas between. Each adds calls, or with `!` before it takes some away: from
    /// all, if it comes first.
    fn from_str(text: &str) -> Result<Self, Unknown> {
        let mut filter = Self::default();
        if !text.starts_with('!') {
            filter.wanted.fill(false);
        }
        for item in text.split(',') {
            let (name, is_wanted) = match item.strip_prefix('!') {
                Some(name) => (name, false),
                None => (item, true),
            };
            let calls = named(name);
            if calls.is_empty() {
                return Err(Unknown(name.to_owned()));
            }
            for number in calls {
                filter.wanted[usize::from(number)] = is_wanted;
            }
        }
        Ok(filter)
    }
}

impl Filter {
    /// Whether the call with this number is wanted.
    pub fn has(&self, number: u16) -> bool {
        self.wanted
            .get(usize::from(number))
            .is_some_and(|&wanted| wanted)
    }
}

/// The calls that belong to a family or have this name.
fn named(name: &str) -> Vec<u16> {
    if let Some(family) = Family::named(name) {
        let calls = table::all().iter().filter(|call| call.family == family);
        return calls.map(|call| call.number).collect();
    }
    let exact = |number: &u16| nr::name(*number) == Some(name);
    if let Some(number) = (0..nr::SYS_NSYSENT).find(exact) {
        return vec![number];
    }
    let name = name.trim_start_matches('_');
    let is_meant = |number: &u16| nr::name(*number).is_some_and(|each| plain(each) == name);
    (0..nr::SYS_NSYSENT).filter(is_meant).collect()
}

/// What a program calls it: the name without underscores before it, and without the release from which on
/// the kernel has it in this form.
fn plain(name: &str) -> &str {
    const RELEASES: [&str; 11] = [
        "100", "190", "13", "14", "16", "30", "40", "43", "50", "60", "90",
    ];
    let compat = name.strip_prefix("compat_");
    let inner = compat.and_then(|rest| Some(rest.split_once('_')?.1));
    let is_versioned = name.starts_with("__") || inner.is_some();
    let plain = inner.unwrap_or(name).trim_start_matches('_');
    let mut short = RELEASES
        .iter()
        .filter_map(|release| plain.strip_suffix(release));
    short.next().filter(|_| is_versioned).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(text: &str) -> Vec<u16> {
        let filter: Filter = text.parse().unwrap();
        (0..nr::SYS_NSYSENT)
            .filter(|&number| filter.has(number))
            .collect()
    }

    #[test]
    fn names_may_be_the_kernels_or_the_programs() {
        assert_eq!(wants("___lwp_park60"), [nr::SYS_LWP_PARK60]);
        assert!(wants("_lwp_park").contains(&nr::SYS_LWP_PARK60));
        assert_eq!(wants("read"), [nr::SYS_READ]);
        assert!(wants("stat").contains(&nr::SYS_STAT50));
        assert!(wants("kevent").contains(&nr::SYS_KEVENT100));
        assert!(wants("wait4").contains(&nr::SYS_WAIT450));
        assert!(wants("sigaltstack").contains(&nr::SYS_SIGALTSTACK14));
    }

    #[test]
    fn families_add_and_exclamation_marks_take_away() {
        let network = wants("network");
        assert!(network.contains(&nr::SYS_SENDTO) && !network.contains(&nr::SYS_READ));
        let all_but = wants("!network,!read");
        assert!(!all_but.contains(&nr::SYS_SENDTO) && !all_but.contains(&nr::SYS_READ));
        assert!(all_but.contains(&nr::SYS_WRITE));
        assert_eq!(wants("desc,!write").len() + 1, wants("desc").len());
        assert!(Filter::default().has(511));
    }

    #[test]
    fn what_does_not_exist_is_refused_by_name() {
        let refused = "read,nonsense".parse::<Filter>().unwrap_err();
        assert!(refused.to_string().contains("'nonsense'"));
        assert!("".parse::<Filter>().is_err());
    }
}
