//! Other processes, and what a process may make of itself.

use std::{fs, os::unix::fs::MetadataExt};

use crate::{
    Door,
    answer::Answer,
    system::{call, errno, number, pointer},
};

pub(crate) const DOORS: &[Door] = &[
    Door {
        id: "ptrace",
        what: "traces processes",
        how: "ptrace(PTRACE_TRACEME), to be traced by its parent",
        ask: || Answer::of(call(number::PTRACE, &[0])),
    },
    Door {
        id: "process_vm_readv",
        what: "reads the memory of process 1",
        how: "process_vm_readv of address 0",
        ask: || {
            let byte = 0_u8;
            let (into, from) = ([pointer(&byte), 1], [0_i64, 1]);
            Answer::of(call(number::PROCESS_VM_READV, &[1, pointer(&into), 1, pointer(&from), 1]))
        },
    },
    Door {
        id: "host-processes",
        what: "sees processes that are not of its Pod",
        how: "names in /proc/PID/comm other than its own",
        ask: strangers,
    },
    Door {
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
    Door {
        id: "capset",
        what: "gives itself the capabilities that it lacks",
        how: "capset of all of them",
        ask: || {
            const VERSION_3: u32 = 0x2008_0522;
            let (header, all) = ([VERSION_3, 0], [u32::MAX; 6]);
            Answer::of(call(number::CAPSET, &[pointer(&header), pointer(&all)]))
        },
    },
    Door {
        id: "personality",
        what: "switches off the protections of its memory",
        how: "personality(READ_IMPLIES_EXEC)",
        ask: || Answer::of(call(number::PERSONALITY, &[0x0040_0000])),
    },
];

/// Every process of this container runs this program.
fn strangers() -> Answer {
    let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let Ok(processes) = fs::read_dir("/proc") else { return Answer::closed("no /proc") };
    let names = processes.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.parse::<u32>().ok()?;
        fs::read_to_string(path.join("comm")).ok()
    });
    match names.filter(|name| *name != own).count() {
        0 => Answer::closed("none"),
        count => Answer::open(format!("{count} of them")),
    }
}
