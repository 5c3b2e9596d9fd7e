//! Devices, opened by their usual path or by a node that this process makes.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    process,
};

use crate::system::{ENOENT, Errno, call, errno, may_write, number, pointer, text};

/// The content of a device node: its type, and the device's major and minor number.
pub(crate) type Node = (i64, i64, i64);

const CHARACTERS: i64 = 0o020_000;
const BLOCKS: i64 = 0o060_000;

/// Nothing is behind it.
pub(crate) const NULL: Node = (CHARACTERS, 1, 3);

/// A device that has a usual path.
pub(crate) type Device = (&'static str, Node);

pub(crate) const MEM: Device = ("/dev/mem", (CHARACTERS, 1, 1));
pub(crate) const KMSG: Device = ("/dev/kmsg", (CHARACTERS, 1, 11));
pub(crate) const KVM: Device = ("/dev/kvm", (CHARACTERS, 10, 232));
pub(crate) const FUSE: Device = ("/dev/fuse", (CHARACTERS, 10, 229));

/// Opens a device, to close it again.
pub(crate) fn open((path, node): Device) -> Result<i64, Errno> {
    match open_to_read(path) {
        Err(ENOENT) => with_node(node, open_to_read),
        found => found,
    }
}

/// The same for each disk that the kernel lists, or for the usual disks if it lists none.
pub(crate) fn open_any_disk() -> Result<i64, Errno> {
    const USUAL: [Node; 4] = [(BLOCKS, 8, 0), (BLOCKS, 252, 0), (BLOCKS, 254, 0), (BLOCKS, 259, 0)];
    let listed = fs::read_to_string("/proc/partitions").unwrap_or_default();
    let found = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((BLOCKS, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    });
    let opened = found.chain(USUAL).map(|disk| with_node(disk, open_to_read));
    // One that opens, or the first error.
    opened.reduce(|first, next| if next.is_ok() { next } else { first }).unwrap_or(Err(ENOENT))
}

/// Makes a node for as long as it is asked.
pub(crate) fn with_node(
    (kind, major, minor): Node,
    ask: fn(&str) -> Result<i64, Errno>,
) -> Result<i64, Errno> {
    const HERE: i64 = -100;
    let folders = ["/tmp", "/workspace", "/dev/shm"];
    let folder = folders.into_iter().find(|folder| may_write(folder).is_ok()).unwrap_or("/");
    let path = format!("{folder}/vector-{}", process::id());
    let name = text(&path);
    let node = [HERE, pointer(name.as_bytes_with_nul()), kind | 0o600, major << 8 | minor];
    call(number::MKNODAT, &node)?;
    let answer = ask(&path);
    fs::remove_file(&path).map_err(|error: io::Error| errno(&error))?;
    answer
}

fn open_to_read(path: &str) -> Result<i64, Errno> {
    const NONBLOCK: i32 = 0o4000;
    match OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path) {
        Ok(_) => Ok(0),
        Err(error) => Err(errno(&error)),
    }
}
