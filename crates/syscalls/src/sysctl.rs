//! `__sysctl(2)`: the tree of values that the system tells about itself.
//!
//! [`tree`] has the nodes, each with the function that makes its value; [`dynamic`] those that look at
//! the rest of a name themselves (processes, limits). What a query lists and what a read accepts come from
//! the same nodes, so that programs which learn the tree by `CTL_QUERY` find what they were told.
//!
//! # Invariants
//! 1. Nothing can be written: `new` is EPERM everywhere but in queries.
//! 2. `*oldlenp` becomes the full size of the value, also when less was copied (ENOMEM).
//!
//! Sources: sysctl(3), sysctl(7); `kern_sysctl.c: sys___sysctl, sysctl_locate, sysctl_query`;
//! syscalls.md 5.7.

mod dynamic;
mod lwps;
mod netlink;
mod route;
mod tree;

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_slice, copyin_struct, copyin_u64, copyout, copyout_struct};
use lwp_abi::errno::Errno;
use lwp_abi::sysctl::{
    CTL_CREATE, CTL_CREATESYM, CTL_DESCRIBE, CTL_DESTROY, CTL_MAXNAME, CTL_MMAP, CTL_QUERY,
    CTLFLAG_PERMANENT, CTLTYPE_NODE, SYSCTL_NAMELEN, SYSCTL_VERS_1, SYSCTL_VERS_MASK, Sysctlnode,
};
use lwp_kernel::{CurLwp, Ret, SysResult};
use tree::{Node, ROOT, What};
use zerocopy::IntoBytes;

/// What a node's value is made from.
pub(crate) struct Asked<'a> {
    /// The system calls.
    pub(crate) sys: &'a Unix,
    /// The asking LWP.
    pub(crate) l: &'a CurLwp,
    /// The rest of the name, behind the node.
    pub(crate) rest: &'a [i32],
    /// How many bytes the guest has room for; `None` if it only asks for the size.
    pub(crate) room: Option<u64>,
}

/// A value, as it goes to the guest.
pub(crate) type Value = Result<Vec<u8>, Errno>;

/// `__sysctl(2)`.
///
/// # Errors
/// EFAULT. EINVAL: a bad length of the name, or it ends at an inner node. ENOENT, ENOTDIR: nothing of that
/// name. EPERM: writing. ENOMEM: no room; what fits is copied.
pub(crate) fn sys_sysctl(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (old, oldlenp, new, newlen) = (a.ptr(2), a.ptr(3), a.ptr(4), a.size(5));
    let oldlen = if oldlenp == 0 {
        0
    } else {
        copyin_u64(l, oldlenp)?
    };
    let namelen = usize::try_from(a.uint(1)).map_err(|_| Errno::EINVAL)?;
    // CTL_MAXNAME is 12.
    if namelen == 0 || namelen > CTL_MAXNAME.unsigned_abs() as usize {
        return Err(Errno::EINVAL.into());
    }
    let name: Vec<i32> = copyin_slice(l, a.ptr(0), namelen)?;
    let room = (old != 0 && oldlenp != 0).then_some(oldlen);
    let value = answer(sys, l, &name, room, new, newlen)?;
    let full = value.len() as u64;
    if oldlenp == 0 {
        return Ok(Ret::ZERO);
    }
    let room = room.unwrap_or(0);
    let count = full.min(room);
    if old != 0 {
        copyout(l, &value[..usize::try_from(count).unwrap_or(0)], old)?;
    }
    copyout_struct(l, &full, oldlenp)?;
    if old != 0 && room < full {
        return Err(Errno::ENOMEM.into());
    }
    Ok(Ret::ZERO)
}

/// The whole answer to a name.
fn answer(sys: &Unix, l: &CurLwp, name: &[i32], room: Option<u64>, new: u64, newlen: u64) -> Value {
    let (node, rest) = locate(name);
    match (&node.what, rest) {
        (_, [CTL_QUERY]) => {
            let What::Children(children) = node.what else {
                return Err(Errno::ENOTDIR);
            };
            check_query(l, new, newlen)?;
            Ok(query(children))
        }
        // Help texts: there are none.
        (_, [CTL_DESCRIBE]) => Ok(Vec::new()),
        (_, [CTL_CREATE | CTL_CREATESYM | CTL_DESTROY]) => Err(Errno::EPERM),
        (_, [CTL_MMAP]) => Err(Errno::EOPNOTSUPP),
        (What::Children(_), []) => Err(Errno::EINVAL),
        (What::Children(_), [number, ..]) if *number < 0 => Err(Errno::EOPNOTSUPP),
        (What::Children(_), _) => Err(Errno::ENOENT),
        (What::Leaf(_), [_, ..]) => Err(Errno::ENOTDIR),
        (What::Leaf(value) | What::Deep(value), rest) => {
            if new != 0 {
                return Err(Errno::EPERM);
            }
            value(&Asked { sys, l, rest, room })
        }
    }
}

/// Follows a name as far as there are nodes.
fn locate(name: &[i32]) -> (&'static Node, &[i32]) {
    let mut node = &ROOT;
    let mut rest = name;
    while let (What::Children(children), [number, tail @ ..]) = (&node.what, rest) {
        let Some(child) = children.iter().find(|child| child.number == *number) else {
            break;
        };
        (node, rest) = (child, tail);
    }
    (node, rest)
}

/// A query comes with a node that tells its version.
///
/// # Errors
/// EINVAL: it does not. EFAULT.
fn check_query(l: &CurLwp, new: u64, newlen: u64) -> Result<(), Errno> {
    if new == 0 || newlen != size_of::<Sysctlnode>() as u64 {
        return Err(Errno::EINVAL);
    }
    let asked: Sysctlnode = copyin_struct(l, new)?;
    if asked.sysctl_flags & SYSCTL_VERS_MASK != SYSCTL_VERS_1 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The children of a node, by rising number.
fn query(children: &[Node]) -> Vec<u8> {
    children
        .iter()
        .flat_map(|child| describe(child).as_bytes().to_vec())
        .collect()
}

/// A node as a query shows it.
fn describe(node: &Node) -> Sysctlnode {
    let mut name = [0; SYSCTL_NAMELEN as usize];
    name[..node.name.len()].copy_from_slice(node.name.as_bytes());
    let (kind, size) = match node.what {
        What::Children(_) => (CTLTYPE_NODE, size_of::<Sysctlnode>() as u64),
        What::Leaf(_) | What::Deep(_) => (node.kind, node.size),
    };
    let children = match node.what {
        What::Children(children) => children.len() as u64,
        What::Leaf(_) | What::Deep(_) => 0,
    };
    Sysctlnode {
        sysctl_flags: SYSCTL_VERS_1 | kind | CTLFLAG_PERMANENT,
        sysctl_num: node.number,
        sysctl_name: name,
        sysctl_ver: 1,
        // Room for children, and how many there are.
        sysctl_un: [children << 32 | children, 0],
        sysctl_size: size,
        ..Sysctlnode::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lwp_abi::sysctl::{CTL_HW, CTL_KERN, HW_NCPU, KERN_OSTYPE};

    fn each(node: &'static Node, see: &mut impl FnMut(&'static Node)) {
        see(node);
        if let What::Children(children) = node.what {
            for child in children {
                each(child, see);
            }
        }
    }

    #[test]
    fn inner_nodes_have_children_that_rise_and_whose_names_fit() {
        each(&ROOT, &mut |node| {
            assert!(node.name.len() < SYSCTL_NAMELEN as usize, "{}", node.name);
            if let What::Children(children) = node.what {
                // A query that lists nothing takes Go's runtime down.
                assert!(!children.is_empty(), "{}", node.name);
                assert!(
                    children.is_sorted_by(|a, b| a.number < b.number),
                    "{}",
                    node.name
                );
            }
        });
    }

    #[test]
    fn a_name_is_followed_as_far_as_it_goes() {
        assert_eq!(locate(&[CTL_KERN, KERN_OSTYPE]).0.name, "ostype");
        let (node, rest) = locate(&[CTL_HW, HW_NCPU, 7]);
        assert_eq!((node.name, rest), ("ncpu", &[7][..]));
        let (node, rest) = locate(&[CTL_HW, CTL_QUERY]);
        assert_eq!((node.name, rest), ("hw", &[CTL_QUERY][..]));
        assert_eq!(locate(&[99]).1, &[99]);
    }

    #[test]
    fn a_query_lists_records_of_96_bytes() {
        let What::Children(top) = ROOT.what else {
            panic!("the root has children")
        };
        let records = query(top);
        assert_eq!(records.len(), 96 * top.len());
        assert_eq!(records[4..8], CTL_KERN.to_le_bytes());
        assert_eq!(&records[8..13], b"kern\0");
    }
}
