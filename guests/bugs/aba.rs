//! ABA: a lock-free list of free nodes takes "the head is the same" for "nothing has changed".
//!
//! Between the look at the head and the exchange, others may have taken the head, taken the next, and put the head back.
//! The exchange succeeds, and makes the head a node that somebody has. A count beside the head, raised by each
//! exchange, makes every head another.
//!
//! The window has no system call: it begins some instructions after the clock was read.

use crate::How;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use rt::check::Verdict;
use rt::ensure;
use rt::lwp::spawn;
use rt::sync::Word;
use rt::time::now;

const LWPS: usize = 3;
const ROUNDS: u32 = 3;
const NODES: u32 = 4;

/// In its low half the first free node, from 1, or 0; in its high half the count.
static HEAD: AtomicU64 = AtomicU64::new(1);
/// The node that follows each, or 0.
static NEXT: [AtomicU32; NODES as usize + 1] = [const { AtomicU32::new(0) }; NODES as usize + 1];
/// How many have each node.
static HOLDERS: [AtomicU32; NODES as usize + 1] = [const { AtomicU32::new(0) }; NODES as usize + 1];
/// Times that somebody was given a node that another had.
static SHARED: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    for node in 1..NODES {
        NEXT[index(node)].store(node + 1, Ordering::Relaxed);
    }
    let lwps = [(); LWPS].map(|()| {
        spawn(move || {
            for _ in 0..ROUNDS {
                use_two(how);
            }
        })
    });
    for lwp in lwps {
        lwp.join()?;
    }
    ensure!(SHARED.get() == 0, "two had the same node");
    let free = free();
    ensure!(free == NODES, "{free} nodes are free, not {NODES}");
    Ok(())
}

/// Takes two nodes, as far as there are any, and puts them back in the same order.
fn use_two(how: How) {
    let first = take(how);
    let second = take(how);
    put(how, first);
    put(how, second);
}

/// Takes a node, and works with it; 0 if there is none.
fn take(how: How) -> u32 {
    let time = now();
    let node = pop(how);
    let others = HOLDERS[index(node)].fetch_add(1, Ordering::SeqCst);
    if time != 0 && node != 0 && others != 0 {
        SHARED.add();
    }
    node
}

/// Notes that the work is done, and gives the node back.
fn put(how: How, node: u32) {
    if now() != 0 && node != 0 {
        HOLDERS[index(node)].fetch_sub(1, Ordering::SeqCst);
        push(how, node);
    }
}

fn pop(how: How) -> u32 {
    loop {
        let head = HEAD.load(Ordering::SeqCst);
        let node = first(head);
        if node == 0 {
            return 0;
        }
        let next = NEXT[index(node)].load(Ordering::SeqCst);
        if exchange(how, head, next) {
            return node;
        }
    }
}

fn push(how: How, node: u32) {
    loop {
        let head = HEAD.load(Ordering::SeqCst);
        NEXT[index(node)].store(first(head), Ordering::SeqCst);
        if exchange(how, head, node) {
            return;
        }
    }
}

/// Makes `node` the head if that is still `head`.
fn exchange(how: How, head: u64, node: u32) -> bool {
    let count = match how {
        How::Bug => 0,
        How::Fixed => (head >> 32) + 1,
    };
    let new = count << 32 | u64::from(node);
    HEAD.compare_exchange(head, new, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}

fn first(head: u64) -> u32 {
    u32::try_from(head & u64::from(u32::MAX)).unwrap_or(0)
}

fn index(node: u32) -> usize {
    usize::try_from(node).unwrap_or(0)
}

/// How many nodes are free; a list that has become a ring has no more than that and one.
fn free() -> u32 {
    let mut node = first(HEAD.load(Ordering::SeqCst));
    let mut free = 0;
    while node != 0 && free <= NODES {
        free += 1;
        node = NEXT[index(node)].load(Ordering::SeqCst);
    }
    free
}
