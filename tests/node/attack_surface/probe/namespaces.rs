//! Namespaces and mounts: how a process gets another view of the machine.

use std::{fs::File, os::fd::AsRawFd};

use crate::{
    Vector,
    answer::Answer,
    system::{ENODEV, ENOENT, Errno, call, errno, number, pointer, text},
};

const NEW_MOUNTS: i64 = 0x0002_0000;
const NEW_UTS: i64 = 0x0400_0000;
const NEW_USERS: i64 = 0x1000_0000;
const NEW_NETWORK: i64 = 0x4000_0000;

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "mount",
        what: "mounts a file system",
        how: "mount of a type that does not exist",
        ask: || Answer::beyond(mount(), &[ENODEV]),
    },
    Vector {
        id: "fsopen",
        what: "prepares a file system (the newer way)",
        how: "fsopen of a type that does not exist",
        ask: || {
            let name = text("no-such-type");
            Answer::beyond(call(number::FSOPEN, &[pointer(name.as_bytes_with_nul())]), &[ENODEV])
        },
    },
    Vector {
        id: "pivot_root",
        what: "changes the root of all its processes",
        how: "pivot_root to a path that does not exist",
        ask: || {
            let path = text("/no-such-path");
            let path = pointer(path.as_bytes_with_nul());
            Answer::beyond(call(number::PIVOT_ROOT, &[path, path]), &[ENOENT])
        },
    },
    Vector {
        id: "chroot",
        what: "changes its own root",
        how: "chroot to the root that it has",
        ask: || {
            let root = text("/");
            Answer::of(call(number::CHROOT, &[pointer(root.as_bytes_with_nul())]))
        },
    },
    Vector {
        id: "unshare-user",
        what: "makes a user namespace, and is root in it",
        how: "unshare(CLONE_NEWUSER)",
        ask: || Answer::of(unshare(NEW_USERS)),
    },
    Vector {
        id: "unshare-mount",
        what: "makes a mount namespace",
        how: "unshare(CLONE_NEWNS)",
        ask: || Answer::of(unshare(NEW_MOUNTS)),
    },
    Vector {
        id: "mount-in-user-namespace",
        what: "mounts in a user namespace of its own",
        how: "unshare, then mount of a type that does not exist",
        ask: || Answer::beyond(unshare(NEW_USERS | NEW_MOUNTS).and_then(|_| mount()), &[ENODEV]),
    },
    Vector {
        id: "netfilter-in-user-namespace",
        what: "is the administrator of a firewall of its own, in the kernel",
        how: "unshare of users and network, then a netlink socket to netfilter",
        ask: || {
            let made = unshare(NEW_USERS | NEW_NETWORK);
            Answer::of(made.and_then(|_| crate::sockets::socket(crate::sockets::NETFILTER)))
        },
    },
    Vector {
        id: "setns",
        what: "enters namespaces",
        how: "setns to the UTS namespace that it is in",
        ask: || match File::open("/proc/self/ns/uts") {
            Ok(namespace) => Answer::of(call(number::SETNS, &[namespace.as_raw_fd().into(), NEW_UTS])),
            Err(error) => Answer::of(Err(errno(&error))),
        },
    },
    Vector {
        id: "open_by_handle_at",
        what: "opens any file of a file system by its number",
        how: "open_by_handle_at with a handle of nothing",
        ask: || match File::open("/") {
            // Length and type, then as many bytes.
            Ok(root) => {
                let handle = [8_u32, 1, 0, 0];
                Answer::of(call(number::OPEN_BY_HANDLE_AT, &[root.as_raw_fd().into(), pointer(&handle)]))
            }
            Err(error) => Answer::of(Err(errno(&error))),
        },
    },
];

fn unshare(what: i64) -> Result<i64, Errno> {
    call(number::UNSHARE, &[what])
}

fn mount() -> Result<i64, Errno> {
    let (target, kind) = (text("/"), text("no-such-type"));
    let kind = pointer(kind.as_bytes_with_nul());
    call(number::MOUNT, &[kind, pointer(target.as_bytes_with_nul()), kind])
}
