//! Starts a thread and a process, as programs of the C library do.

use std::{env, process::Command, thread};

fn main() {
    if env::args().nth(1).is_some() {
        return;
    }
    let thread = thread::Builder::new().spawn(|| {}).map(thread::JoinHandle::join);
    println!("thread: {}", thread.map_or_else(|error| error.to_string(), |_| "started".into()));
    let process = Command::new("/proc/self/exe").arg("child").status();
    println!("process: {}", process.map_or_else(|error| error.to_string(), |_| "started".into()));
}
