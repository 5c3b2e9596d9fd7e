//! Other processes of the Pod, and what a process may make of itself.

use crate::{
    Vector,
    answer::Answer,
    own,
    system::{call, number, pointer},
};

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "ptrace",
        what: "traces processes",
        how: "ptrace(PTRACE_TRACEME), to be traced by its parent",
        ask: || Answer::of(call(number::PTRACE, &[0])),
    },
    Vector {
        id: "process_vm_readv",
        what: "reads the memory of process 1",
        how: "process_vm_readv of address 0",
        ask: || {
            let byte = 0_u8;
            let (into, from) = ([pointer(&byte), 1], [0_i64, 1]);
            Answer::of(call(number::PROCESS_VM_READV, &[1, pointer(&into), 1, pointer(&from), 1]))
        },
    },
    Vector {
        id: "capset",
        what: "gives itself CAP_SYS_ADMIN",
        how: "capset of it alone",
        ask: || {
            const VERSION_3: u32 = 0x2008_0522;
            const SYS_ADMIN: u32 = 1 << 21;
            let (header, sets) = ([VERSION_3, 0], [SYS_ADMIN, SYS_ADMIN, 0, 0, 0, 0]);
            Answer::of(call(number::CAPSET, &[pointer(&header), pointer(&sets)]))
        },
    },
    Vector {
        id: "personality",
        what: "switches off the protections of its memory",
        how: "personality(READ_IMPLIES_EXEC)",
        ask: || Answer::of(call(number::PERSONALITY, &[0x0040_0000])),
    },
    Vector {
        id: "system-calls",
        what: "may make every system call that the kernel has",
        how: "Seccomp of /proc/self/status is 0",
        ask: || own::zero_is_open(&own::status("Seccomp")),
    },
];
