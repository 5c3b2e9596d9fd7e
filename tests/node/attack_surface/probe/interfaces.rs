//! System calls that reach deep into the kernel.

use crate::{
    Vector,
    answer::Answer,
    devices::{self, FUSE, NULL},
    system::{ENOENT, call, number, pointer, text},
};

const NO_FILE: i64 = -1;

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "keyctl",
        what: "uses the kernel's key rings",
        how: "keyctl, for the number of a key ring that is not to be made",
        ask: || {
            const GET_KEYRING_ID: i64 = 0;
            const OF_THIS_THREAD: i64 = -1;
            Answer::of(call(number::KEYCTL, &[GET_KEYRING_ID, OF_THIS_THREAD, 0]))
        },
    },
    Vector {
        id: "add_key",
        what: "adds keys to the kernel's key rings",
        how: "add_key without a type",
        ask: || Answer::of(call(number::ADD_KEY, &[])),
    },
    Vector {
        id: "bpf",
        what: "loads a program into the kernel",
        how: "bpf(BPF_PROG_LOAD) of a socket filter without instructions",
        ask: || {
            const PROG_LOAD: i64 = 5;
            let mut program = [0_u32; 32];
            program[0] = 1;
            Answer::of(call(number::BPF, &[PROG_LOAD, pointer(&program), size_of_val(&program) as i64]))
        },
    },
    Vector {
        id: "perf_event_open",
        what: "has the kernel count and sample",
        how: "perf_event_open of the event that counts nothing, for itself",
        ask: || {
            const SOFTWARE: u64 = 1;
            const SIZE: u64 = 64;
            const DUMMY: u64 = 9;
            // Disabled, and neither kernel nor hypervisor are counted.
            const FLAGS: u64 = 1 | 1 << 5 | 1 << 6;
            let event = [SOFTWARE | SIZE << 32, DUMMY, 0, 0, 0, FLAGS, 0, 0];
            Answer::of(call(number::PERF_EVENT_OPEN, &[pointer(&event), 0, -1, -1]))
        },
    },
    Vector {
        id: "userfaultfd",
        what: "handles its own page faults, and stops the kernel in one",
        how: "userfaultfd(UFFD_USER_MODE_ONLY)",
        ask: || Answer::of(call(number::USERFAULTFD, &[1])),
    },
    Vector {
        id: "io_uring",
        what: "gives the kernel work by io_uring",
        how: "io_uring_setup of no entries",
        ask: || {
            let parameters = [0_u32; 30];
            Answer::of(call(number::IO_URING_SETUP, &[0, pointer(&parameters)]))
        },
    },
    Vector {
        id: "init_module",
        what: "loads a module into the kernel",
        how: "init_module of no bytes",
        ask: || Answer::of(call(number::INIT_MODULE, &[])),
    },
    Vector {
        id: "finit_module",
        what: "loads a module into the kernel, from a file",
        how: "finit_module of no file",
        ask: || Answer::of(call(number::FINIT_MODULE, &[NO_FILE])),
    },
    Vector {
        id: "kexec",
        what: "replaces the running kernel",
        how: "kexec_load with flags that do not exist, and too many segments",
        ask: || Answer::of(call(number::KEXEC_LOAD, &[0, 1 << 20, 0, 0x8000])),
    },
    Vector {
        id: "reboot",
        what: "restarts the machine",
        how: "reboot without its magic numbers",
        ask: || Answer::of(call(number::REBOOT, &[])),
    },
    Vector {
        id: "swapon",
        what: "has memory written to a file",
        how: "swapon of a path that does not exist",
        ask: || {
            let path = text("/no-such-path");
            Answer::beyond(call(number::SWAPON, &[pointer(path.as_bytes_with_nul()), 0]), &[ENOENT])
        },
    },
    Vector {
        id: "clock",
        what: "sets the clock",
        how: "adjtimex of a tick that no clock has",
        ask: || {
            const TICK: u64 = 0x4000;
            let mut timex = [0_u64; 32];
            timex[0] = TICK;
            Answer::of(call(number::ADJTIMEX, &[pointer(&timex)]))
        },
    },
    Vector {
        id: "kernel-log",
        what: "reads the kernel's log",
        how: "syslog, for the size of its buffer",
        ask: || Answer::of(call(number::SYSLOG, &[10])),
    },
    Vector {
        id: "mknod",
        what: "makes device nodes",
        how: "mknod of a null device, which is removed",
        ask: || Answer::of(devices::with_node(NULL, |_| Ok(0))),
    },
    Vector {
        id: "fuse",
        what: "is a file system to the kernel",
        how: "open(/dev/fuse), or of a node of its own",
        ask: || Answer::of(devices::open(FUSE)),
    },
];
