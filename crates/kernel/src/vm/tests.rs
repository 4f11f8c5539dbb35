//! The address space against a naive one that knows every page, over a host that checks what it is told.

use super::*;
use crate::machine::BadAddress;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex as StdMutex;

/// A host that knows its pages, and insists on invariant 3.
#[derive(Default)]
struct Host {
    pages: StdMutex<BTreeMap<u64, Prot>>,
    refuses: bool,
}

impl Host {
    fn pages(at: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
        assert!(
            check(at, Errno::EINVAL).is_ok(),
            "the host was given {at:x?}"
        );
        (at.start..at.end).step_by(4096)
    }

    fn shows(&self) -> BTreeMap<u64, Prot> {
        self.pages.lock().unwrap().clone()
    }
}

impl Memory for Host {
    fn copyin(&self, _: u64, _: &mut [u8]) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn copyout(&self, _: &[u8], _: u64) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn copyinstr(&self, _: u64, _: &mut [u8]) -> Result<Option<usize>, BadAddress> {
        Err(BadAddress)
    }
    fn store_u32(&self, _: u32, _: u64) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn map(&self, at: Range<u64>, prot: Prot, _: Backing) -> Result<(), HostErr> {
        if self.refuses {
            return Err(HostErr {
                call: "mmap",
                errno: 12,
            });
        }
        let mut pages = self.pages.lock().unwrap();
        pages.extend(Self::pages(&at).map(|page| (page, prot)));
        Ok(())
    }
    fn unmap(&self, at: Range<u64>) -> Result<(), HostErr> {
        let mut pages = self.pages.lock().unwrap();
        for page in Self::pages(&at) {
            pages.remove(&page);
        }
        Ok(())
    }
    fn protect(&self, at: Range<u64>, prot: Prot) -> Result<(), HostErr> {
        let mut pages = self.pages.lock().unwrap();
        for page in Self::pages(&at) {
            assert!(
                pages.insert(page, prot).is_some(),
                "mprotect of a hole at {page:x}"
            );
        }
        Ok(())
    }
    fn advise(&self, at: Range<u64>, _: Advice) -> Result<(), HostErr> {
        let _ = Self::pages(&at);
        Ok(())
    }
    fn relocate(&self, from: Range<u64>, to: Range<u64>) -> Result<(), HostErr> {
        let prot = self.pages.lock().unwrap()[&from.start];
        self.unmap(from)?;
        self.map(
            to,
            prot,
            Backing::Anon {
                shared: false,
                stack: false,
            },
        )
    }
}

const RW: Prot = Prot::READ.union(Prot::WRITE);
/// A small playground inside the window.
const BASE: u64 = 0x4800_0000_0000;

fn at(page: u64, pages: u64) -> Range<u64> {
    BASE + page * PAGE..BASE + (page + pages) * PAGE
}

fn fixed(range: &Range<u64>, prot: Prot) -> Request {
    Request {
        place: Place::Fixed(range.start),
        ..Request::anon(range.end - range.start, prot, "")
    }
}

/// What `vm` believes, page by page.
fn believed(vm: &Vmspace) -> BTreeMap<u64, Prot> {
    vm.mappings()
        .into_iter()
        .flat_map(|(range, m)| Host::pages(&range).map(move |page| (page, m.prot)))
        .collect()
}

/// Invariant 2.
fn assert_gaps(vm: &Vmspace) {
    let st = vm.lock();
    let window = WINDOW;
    assert_eq!(st.gaps.ranges(), st.map.gaps(&window).collect::<Vec<_>>());
}

#[derive(Clone, Debug)]
enum Op {
    Map(u64, u64, u32),
    Anywhere(u64, u32),
    Unmap(u64, u64),
    Protect(u64, u64, u32),
    Remap(u64, u64, u64),
    Fork,
    InheritNone(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (page, len, prot) = (0..48_u64, 1..9_u64, 0..8_u32);
    prop_oneof![
        (page.clone(), len.clone(), prot.clone()).prop_map(|(a, b, c)| Op::Map(a, b, c)),
        (1..4_u64, prot.clone()).prop_map(|(a, b)| Op::Anywhere(a, b)),
        (page.clone(), len.clone()).prop_map(|(a, b)| Op::Unmap(a, b)),
        (page.clone(), len.clone(), prot).prop_map(|(a, b, c)| Op::Protect(a, b, c)),
        (page.clone(), len.clone(), len.clone()).prop_map(|(a, b, c)| Op::Remap(a, b, c)),
        Just(Op::Fork),
        (page, len).prop_map(|(a, b)| Op::InheritNone(a, b)),
    ]
}

proptest! {
    #[test]
    fn it_agrees_with_the_host_after_every_step(ops in prop::collection::vec(op(), 1..60)) {
        let (vm, host) = (Vmspace::new(), Host::default());
        for op in ops {
            let before = host.shows();
            let all = |range: &Range<u64>| Host::pages(range).all(|p| before.contains_key(&p));
            match op {
                Op::Map(page, len, prot) => {
                    let (range, prot) = (at(page, len), Prot::from_bits_retain(prot));
                    prop_assert_eq!(vm.map(&host, &fixed(&range, prot)), Ok(range.start));
                    prop_assert!(Host::pages(&range).all(|p| host.shows()[&p] == prot));
                }
                Op::Anywhere(len, prot) => {
                    let prot = Prot::from_bits_retain(prot);
                    let start = vm.map_anywhere(&host, len * PAGE, prot, "").unwrap();
                    let range = start..start + len * PAGE;
                    prop_assert!(Host::pages(&range).all(|p| !before.contains_key(&p)));
                }
                Op::Unmap(page, len) => vm.unmap(&host, at(page, len)).unwrap(),
                Op::Protect(page, len, prot) => {
                    let range = at(page, len);
                    let done = vm.protect(&host, range.clone(), Prot::from_bits_retain(prot));
                    prop_assert_eq!(done, if all(&range) { Ok(()) } else { Err(Errno::ENOMEM) });
                }
                Op::Remap(page, old, new) => {
                    let old = at(page, old);
                    let len = new * PAGE;
                    let want = Move { old: old.clone(), len, place: Place::Hint(0), align: PAGE };
                    match vm.remap(&host, &want) {
                        Ok(start) => {
                            let new = start..start + len;
                            prop_assert!(Host::pages(&new).all(|p| host.shows().contains_key(&p)));
                        }
                        Err(errno) => prop_assert_eq!(errno, Errno::EINVAL),
                    }
                }
                Op::Fork => {
                    vm.forked();
                    *host.pages.lock().unwrap() = believed(&vm);
                }
                Op::InheritNone(page, len) => {
                    let _ = vm.inherit(&host, at(page, len), Inherit::None);
                }
            }
            prop_assert_eq!(believed(&vm), host.shows());
            assert_gaps(&vm);
        }
    }

    #[test]
    fn hostile_ranges_are_refused_without_a_panic(start: u64, len in 1..u64::MAX / PAGE) {
        let (vm, host) = (Vmspace::new(), Host { refuses: true, ..Host::default() });
        let (start, len) = (round_down(start), len * PAGE);
        let request = Request { place: Place::Fixed(start), ..Request::anon(len, RW, "") };
        prop_assert!(vm.map(&host, &request).is_err());
        let request = Request { place: Place::Hint(start), ..request };
        prop_assert!(vm.map(&host, &request).is_err());
        prop_assert!(vm.set_break_end(&host, start, u64::MAX).is_err());
    }
}

#[test]
fn a_hint_is_honoured_if_it_is_free_and_below_the_window_s_end() {
    let (vm, host) = (Vmspace::new(), Host::default());
    let go = 0xc0_0000_0000;
    let request = Request {
        place: Place::Hint(go),
        ..Request::anon(PAGE, RW, "")
    };
    assert_eq!(vm.map(&host, &request), Ok(go));
    let second = vm.map(&host, &request).unwrap();
    assert!(WINDOW.contains(&second));
    let above = Request {
        place: Place::Hint(WINDOW.end),
        ..request
    };
    assert!(vm.map(&host, &above).unwrap() < WINDOW.end);
}

#[test]
fn an_alignment_is_kept() {
    let (vm, host) = (Vmspace::new(), Host::default());
    vm.map_anywhere(&host, PAGE, RW, "").unwrap();
    let request = Request {
        align: 1 << 30,
        ..Request::anon(3 * PAGE, RW, "")
    };
    for _ in 0..4 {
        assert_eq!(vm.map(&host, &request).unwrap() % (1 << 30), 0);
    }
    assert_gaps(&vm);
}

#[test]
fn what_does_not_fit_the_window_goes_below_it() {
    let (vm, host) = (
        Vmspace::new(),
        Host {
            refuses: true,
            ..Host::default()
        },
    );
    let len = WINDOW.end - WINDOW.start + PAGE;
    assert_eq!(vm.find_room(len, PAGE), Ok(WINDOW.start - len));
    assert_eq!(
        vm.map_anywhere(&host, GUEST_BOUND, RW, ""),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn no_more_than_the_maximum_protection() {
    let (vm, host) = (Vmspace::new(), Host::default());
    let request = Request {
        max: Prot::READ,
        ..fixed(&at(0, 2), Prot::READ)
    };
    vm.map(&host, &request).unwrap();
    assert_eq!(vm.protect(&host, at(0, 2), RW), Err(Errno::EACCES));
    assert_eq!(vm.protect(&host, at(1, 1), Prot::NONE), Ok(()));
}

#[test]
fn the_break_grows_shrinks_and_stops_at_its_limit() {
    let (vm, host) = (Vmspace::new(), Host::default());
    let start = 0x60_1234;
    vm.set_break(start);
    assert_eq!(
        vm.set_break_end(&host, start - 1, 1 << 20),
        Err(Errno::EINVAL)
    );
    assert_eq!(vm.set_break_end(&host, start + 8, 1 << 20), Ok(()));
    assert!(
        host.shows().is_empty(),
        "the page of the data's end is the image's"
    );
    assert_eq!(vm.set_break_end(&host, start + 0x2000, 1 << 20), Ok(()));
    assert_eq!(host.shows().len(), 2);
    assert_eq!(
        vm.set_break_end(&host, start + (1 << 20) + 1, 1 << 20),
        Err(Errno::ENOMEM)
    );
    assert_eq!(vm.set_break_end(&host, start, 1 << 20), Ok(()));
    assert!(host.shows().is_empty());
    vm.map(&host, &fixed(&(0x60_3000..0x60_4000), RW)).unwrap();
    assert_eq!(
        vm.set_break_end(&host, start + 0x2000, 1 << 20),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn the_stack_follows_its_limit() {
    let (vm, host) = (Vmspace::new(), Host::default());
    let low = vm.map_stack(&host, 8 * PAGE).unwrap();
    assert_eq!(low, USRSTACK - 8 * PAGE);
    vm.set_stack_limit(&host, 10 * PAGE).unwrap();
    assert_eq!(host.shows()[&(USRSTACK - 10 * PAGE)], RW);
    vm.set_stack_limit(&host, 4 * PAGE).unwrap();
    assert_eq!(host.shows()[&(USRSTACK - 5 * PAGE)], Prot::NONE);
    assert_eq!(vm.stack_limit(), 4 * PAGE);
}
