//! Many LWPs with stacks in one mapping: separate ones would meet Linux's limit on mappings.

use core::ops::Range;
use core::sync::atomic::{AtomicI32, Ordering};
use rt::Errno;
use rt::abi::lwp::LwpId;
use rt::abi::ucontext::Ucontext;
use rt::lwp;
use rt::vm::{self, Area};

/// What one `_lwp_unpark_all` takes; also how many are measured at a time.
const TOGETHER: usize = 1024;

/// LWPs numbered from 0, each with a stack of its own.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    stacks: Area,
    stack: usize,
    lids: Area,
    len: usize,
}

impl Crowd {
    /// Room for `len` LWPs with stacks of `stack` bytes; none is made yet.
    pub(crate) fn new(len: u64, stack: usize) -> Result<Self, Errno> {
        let len = usize::try_from(len).unwrap_or(0).max(1);
        Ok(Self {
            stacks: vm::map(len * stack)?,
            stack,
            lids: vm::map(len * size_of::<AtomicI32>())?,
            len,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The ids. An atomic has the layout of its number.
    fn lids(&self) -> &'static [AtomicI32] {
        // SAFETY: the mapping is that large, zeroed and never unmapped while LWPs run; atomics only.
        unsafe { core::slice::from_raw_parts(self.lids.ptr(0), self.len) }
    }

    /// The id of LWP `i`.
    pub(crate) fn lid(&self, i: usize) -> LwpId {
        LwpId::new(self.lids()[i].load(Ordering::Relaxed))
    }

    /// Makes every LWP: LWP `i` starts in `entry(i)`.
    pub(crate) fn create(&self, entry: extern "C" fn(u64), flags: u64) -> Result<(), Errno> {
        let mut uc = self.context(entry)?;
        (0..self.len).try_for_each(|i| self.create_one(&mut uc, i, flags))
    }

    /// What [`Crowd::create_part`] starts LWPs in. To be made before the first LWP.
    pub(crate) fn context(&self, entry: extern "C" fn(u64)) -> Result<Ucontext, Errno> {
        lwp::makecontext(entry, 0, self.stacks.base + self.stack as u64)
    }

    /// [`Crowd::create`] of some.
    pub(crate) fn create_part(&self, uc: &mut Ucontext, part: Range<usize>) -> Result<(), Errno> {
        part.into_iter().try_for_each(|i| self.create_one(uc, i, 0))
    }

    /// All, cut into parts that take together far less than a quantum: what is measured in one of them is
    /// measured without a turn of other LWPs in between.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let len = self.len;
        (0..len)
            .step_by(TOGETHER)
            .map(move |start| start..(start + TOGETHER).min(len))
    }

    /// Makes LWP `i`, from a context that `makecontext` has made.
    fn create_one(&self, uc: &mut Ucontext, i: usize, flags: u64) -> Result<(), Errno> {
        let first = self.stacks.base + self.stack as u64 - 8;
        let sp = first + (i * self.stack) as u64;
        // SAFETY: the first stack of the mapping; `makecontext` put the return address there.
        let stub = unsafe { vm::pointer::<u64>(first).read() };
        // SAFETY: inside the mapping: the top of stack `i`.
        unsafe { vm::pointer::<u64>(sp).write(stub) };
        uc.uc_mcontext.gregs.rsp = sp;
        uc.uc_mcontext.gregs.rdi = i as u64;
        let lid = lwp::create(uc, flags)?;
        self.lids()[i].store(lid.raw(), Ordering::Relaxed);
        Ok(())
    }

    /// Wakes every LWP, by as few calls as can do it.
    pub(crate) fn unpark_all(&self) {
        for part in self.parts() {
            self.unpark_part(part);
        }
    }

    /// Wakes those of one part, by one call.
    pub(crate) fn unpark_part(&self, part: Range<usize>) {
        let lids = &self.lids()[part];
        let _ = rt::sys!(SYS_LWP_UNPARK_ALL, lids.as_ptr(), lids.len(), 0_u64);
    }

    /// Waits for the end of every LWP.
    pub(crate) fn wait(&self) -> Result<(), Errno> {
        (0..self.len).try_for_each(|i| lwp::wait(self.lid(i)).map(drop))
    }

    /// Gives the memory back.
    pub(crate) fn unmap(&self) {
        self.stacks.unmap();
        self.lids.unmap();
    }
}
