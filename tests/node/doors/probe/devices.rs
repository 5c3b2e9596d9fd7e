//! Devices: those in /dev, and those that a process makes a node for.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    process,
};

use crate::{
    Door,
    answer::Answer,
    system::{Errno, call, errno, may_write, number, pointer, text},
};

/// The type of a node, and the device's major and minor number.
type Device = (i64, i64, i64);

const CHARACTERS: i64 = 0o020_000;
const BLOCKS: i64 = 0o060_000;

/// Nothing is behind it.
const NULL: Device = (CHARACTERS, 1, 3);

pub(crate) const DOORS: &[Door] = &[
    Door {
        id: "mknod",
        what: "makes device nodes",
        how: "mknod of a null device, which is removed",
        ask: || Answer::of(with_node(NULL, |_| Ok(0))),
    },
    Door {
        id: "dev-mem",
        what: "reads the memory of the machine",
        how: "open(/dev/mem), or of a node of its own",
        ask: || Answer::of(open("/dev/mem", (CHARACTERS, 1, 1))),
    },
    Door {
        id: "dev-kmsg",
        what: "reads the kernel's log",
        how: "open(/dev/kmsg), or of a node of its own",
        ask: || Answer::of(open("/dev/kmsg", (CHARACTERS, 1, 11))),
    },
    Door {
        id: "dev-kvm",
        what: "runs virtual machines",
        how: "open(/dev/kvm), or of a node of its own",
        ask: || Answer::of(open("/dev/kvm", (CHARACTERS, 10, 232))),
    },
    Door {
        id: "dev-fuse",
        what: "is a file system to the kernel",
        how: "open(/dev/fuse), or of a node of its own",
        ask: || Answer::of(open("/dev/fuse", (CHARACTERS, 10, 229))),
    },
    Door {
        id: "block-devices",
        what: "reads the disks past their file systems",
        how: "open of a node of its own for each disk",
        ask: || {
            let mut opened = disks().into_iter().map(|disk| with_node(disk, open_to_read));
            let first = opened.next().unwrap_or(Err(crate::system::ENOENT));
            Answer::of(opened.fold(first, |best, next| best.or(next)))
        },
    },
];

/// Opens a device by its usual path, or else by a node of our own.
fn open(path: &str, device: Device) -> Result<i64, Errno> {
    match open_to_read(path) {
        Err(crate::system::ENOENT) => with_node(device, open_to_read),
        found => found,
    }
}

fn open_to_read(path: &str) -> Result<i64, Errno> {
    const NONBLOCK: i32 = 0o4000;
    match OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path) {
        Ok(_) => Ok(0),
        Err(error) => Err(errno(&error)),
    }
}

/// Makes a node for as long as it is asked.
fn with_node(device: Device, ask: fn(&str) -> Result<i64, Errno>) -> Result<i64, Errno> {
    const HERE: i64 = -100;
    let (kind, major, minor) = device;
    let folders = ["/tmp", "/workspace", "/dev/shm"];
    let folder = folders.into_iter().find(|folder| may_write(folder).is_ok()).unwrap_or("/");
    let path = format!("{folder}/door-{}", process::id());
    let name = text(&path);
    call(number::MKNODAT, &[HERE, pointer(name.as_bytes_with_nul()), kind | 0o600, major << 8 | minor])?;
    let answer = ask(&path);
    fs::remove_file(&path).map_err(|error: io::Error| errno(&error))?;
    answer
}

/// The disks that the kernel tells of, and what they mostly are where it tells of none.
fn disks() -> Vec<Device> {
    const USUAL: [Device; 4] = [(BLOCKS, 8, 0), (BLOCKS, 252, 0), (BLOCKS, 254, 0), (BLOCKS, 259, 0)];
    let listed = fs::read_to_string("/proc/partitions").unwrap_or_default();
    let told = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((BLOCKS, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() { USUAL.to_vec() } else { told }
}
