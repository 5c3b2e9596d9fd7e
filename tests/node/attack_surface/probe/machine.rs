//! Vectors to the machine itself, independent of the kernel that answers.

use std::{fs, os::unix::fs::MetadataExt};

use crate::{
    Vector,
    answer::Answer,
    devices::{self, KMSG, KVM, MEM},
    files::{entries, readable},
    system::errno,
};

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "host-processes",
        what: "sees processes that are not of its Pod",
        how: "/proc/PID/exe that are not this program",
        ask: foreign_processes,
    },
    Vector {
        id: "host-root",
        what: "reaches the root of the machine by way of process 1",
        how: "/proc/1/root compared with its own root",
        ask: || match (fs::metadata("/proc/1/root/"), fs::metadata("/")) {
            (Ok(first), Ok(own)) if (first.dev(), first.ino()) == (own.dev(), own.ino()) => {
                Answer::closed("it is its own")
            }
            (Ok(_), Ok(_)) => Answer::open("it is another"),
            (Err(error), _) | (_, Err(error)) => Answer::of(Err(errno(&error))),
        },
    },
    Vector {
        id: "kcore",
        what: "reads the memory of the kernel",
        how: "open(/proc/kcore), which is no mask",
        ask: || readable("/proc/kcore"),
    },
    Vector {
        id: "disks",
        what: "learns of the machine's disks",
        how: "the lines of /proc/partitions",
        ask: || match fs::read_to_string("/proc/partitions") {
            Ok(disks) if disks.lines().count() > 2 => Answer::open("listed"),
            Ok(_) => Answer::closed("none listed"),
            Err(error) => Answer::of(Err(errno(&error))),
        },
    },
    Vector {
        id: "sys-firmware",
        what: "reads tables of the firmware",
        how: "entries in /sys/firmware",
        ask: || entries("/sys/firmware"),
    },
    Vector {
        id: "dev-mem",
        what: "reads the memory of the machine",
        how: "open(/dev/mem), or of a node of its own",
        ask: || Answer::of(devices::open(MEM)),
    },
    Vector {
        id: "dev-kmsg",
        what: "reads the kernel's log",
        how: "open(/dev/kmsg), or of a node of its own",
        ask: || Answer::of(devices::open(KMSG)),
    },
    Vector {
        id: "dev-kvm",
        what: "runs virtual machines",
        how: "open(/dev/kvm), or of a node of its own",
        ask: || Answer::of(devices::open(KVM)),
    },
    Vector {
        id: "block-devices",
        what: "reads the disks past their file systems",
        how: "open of a node of its own for each disk",
        ask: || Answer::of(devices::open_any_disk()),
    },
];

/// Every process of this container runs this program.
fn foreign_processes() -> Answer {
    let own = fs::read_link("/proc/self/exe").ok();
    let Ok(processes) = fs::read_dir("/proc") else { return Answer::closed("no /proc") };
    let processes = processes.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.parse::<u32>().ok()?;
        Some(path)
    });
    match processes.filter(|process| fs::read_link(process.join("exe")).ok() != own).count() {
        0 => Answer::closed("none"),
        count => Answer::open(format!("{count} of them")),
    }
}
