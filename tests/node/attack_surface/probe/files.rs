//! Files that are the kernel's.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use crate::{
    Vector,
    answer::Answer,
    system::{errno, may_write},
};

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "core_pattern",
        what: "names a program that the kernel runs as root when a process crashes",
        how: "access(/proc/sys/kernel/core_pattern, W_OK)",
        ask: || Answer::of(may_write("/proc/sys/kernel/core_pattern")),
    },
    Vector {
        id: "modprobe-path",
        what: "names the program that the kernel runs as root for a missing module",
        how: "access(/proc/sys/kernel/modprobe, W_OK)",
        ask: || Answer::of(may_write("/proc/sys/kernel/modprobe")),
    },
    Vector {
        id: "proc-sys",
        what: "sets any parameter of the kernel",
        how: "access(W_OK) of everything below /proc/sys",
        ask: || any_writable(&["/proc/sys"], |_| true),
    },
    Vector {
        id: "sysrq-trigger",
        what: "gives the kernel orders, such as to crash",
        how: "access(/proc/sysrq-trigger, W_OK)",
        ask: || Answer::of(may_write("/proc/sysrq-trigger")),
    },
    Vector {
        id: "release_agent",
        what: "names a program that the kernel runs as root when a cgroup is empty",
        how: "access(W_OK) of every release_agent and notify_on_release below /sys/fs/cgroup",
        ask: || {
            any_writable(&["/sys/fs/cgroup"], |path| {
                path.ends_with("release_agent") || path.ends_with("notify_on_release")
            })
        },
    },
    Vector {
        id: "cgroup",
        what: "changes its own limits",
        how: "access(W_OK) of everything below /sys/fs/cgroup",
        ask: || any_writable(&["/sys/fs/cgroup"], |_| true),
    },
    Vector {
        id: "sysfs",
        what: "sets anything of the machine's devices",
        how: "access(W_OK) of everything below /sys/devices, /sys/kernel and /sys/module",
        ask: || any_writable(&["/sys/devices", "/sys/kernel", "/sys/module"], |_| true),
    },
    Vector {
        id: "kallsyms",
        what: "learns where the kernel is in memory",
        how: "an address in /proc/kallsyms that is not 0",
        ask: || match first_line("/proc/kallsyms") {
            Ok(line) if line.starts_with(|digit: char| digit != '0') || line.contains("ffff") => {
                Answer::open("addresses")
            }
            Ok(_) => Answer::closed("only zeros"),
            Err(error) => Answer::of(Err(errno(&error))),
        },
    },
    Vector {
        id: "proc-keys",
        what: "reads the list of the kernel's keys",
        how: "open(/proc/keys), which is no mask",
        ask: || readable("/proc/keys"),
    },
    Vector {
        id: "debugfs",
        what: "uses what kernel developers debug with",
        how: "entries in /sys/kernel/debug",
        ask: || entries("/sys/kernel/debug"),
    },
    Vector {
        id: "tracefs",
        what: "traces the kernel",
        how: "entries in /sys/kernel/tracing",
        ask: || entries("/sys/kernel/tracing"),
    },
];

/// A masked file is replaced by a device or an empty folder.
pub(crate) fn readable(path: &str) -> Answer {
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => Answer::open("ok"),
        Ok(_) => Answer::closed("masked"),
        Err(error) => Answer::of(Err(errno(&error))),
    }
}

fn first_line(path: &str) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(File::open(path)?).read_line(&mut line)?;
    Ok(line)
}

pub(crate) fn entries(folder: &str) -> Answer {
    match fs::read_dir(folder).map(Iterator::count) {
        Ok(0) => Answer::closed("empty"),
        Ok(_) => Answer::open("entries"),
        Err(error) => Answer::of(Err(errno(&error))),
    }
}

/// Returns whether any of the chosen files below could be written to: which one, or why the last could not.
fn any_writable(places: &[&str], is_chosen: fn(&Path) -> bool) -> Answer {
    let mut last = Answer::closed("nothing there");
    let mut folders: Vec<_> = places.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() && is_chosen(&path) => {
                    let path = path.display().to_string();
                    last = Answer::of(may_write(&path));
                    if last.open {
                        return Answer::open(path);
                    }
                }
                _ => {}
            }
        }
    }
    last
}
