//! Asks, from inside a container, which of the vectors are open that escapes from containers start with.
//!
//! It is harmless. What would do something is called with arguments that no kernel takes, and chosen so that the
//! permission is looked at first: "not permitted" is then distinct from "invalid". Files are opened for reading or only
//! asked about. What succeeds (a socket, a namespace, a device node in a folder for scratch) ends with the process that
//! asked, or is removed by it. A socket of a rare family may make the kernel load a module, as for any program.
//!
//! Without arguments each vector is asked by a process of its own, one JSON line each; `probe VECTOR` asks one.
//!
//! The build of the tests compiles it by itself, without a crate and for the system calls with `unsafe`.

mod answer;
mod devices;
mod files;
mod interfaces;
mod machine;
mod namespaces;
mod network;
mod own;
mod processes;
mod sockets;
mod system;

use std::{
    env, fs,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use answer::Answer;

/// One way to begin.
struct Vector {
    id: &'static str,
    /// The attack that would be possible.
    what: &'static str,
    /// The way in which it is probed.
    how: &'static str,
    ask: fn() -> Answer,
}

/// Vectors of one kind, under its name.
const GROUPS: [(&str, &[Vector]); 8] = [
    ("namespaces", namespaces::VECTORS),
    ("processes", processes::VECTORS),
    ("sockets", sockets::VECTORS),
    ("interfaces", interfaces::VECTORS),
    ("files", files::VECTORS),
    ("machine", machine::VECTORS),
    ("pod", own::VECTORS),
    ("network", network::VECTORS),
];

fn main() -> ExitCode {
    let Some(id) = env::args().nth(1) else { return ask_all() };
    let vectors = GROUPS.iter().flat_map(|(_, vectors)| *vectors);
    let Some(vector) = vectors.into_iter().find(|vector| vector.id == id) else {
        eprintln!("there is no vector {id:?}");
        return ExitCode::from(2);
    };
    let Answer { open, text } = (vector.ask)();
    println!("{}{text}", if open { "open " } else { "closed " });
    ExitCode::SUCCESS
}

fn ask_all() -> ExitCode {
    let kernel = fs::read_to_string("/proc/version").unwrap_or_default();
    println!(r#"{{"kernel": {:?}}}"#, kernel.trim());
    for (group, vectors) in GROUPS {
        for Vector { id, what, how, .. } in vectors {
            let Answer { open, text } = ask_in_child(id);
            println!(
                r#"{{"id": {id:?}, "group": {group:?}, "what": {what:?}, "how": {how:?}, "answer": {text:?}, "open": {open}}}"#
            );
        }
    }
    ExitCode::SUCCESS
}

/// Changes to a child end with it, and a child that is killed for the attempt is an answer too.
fn ask_in_child(id: &str) -> Answer {
    let mut child = Command::new("/proc/self/exe");
    // With something to do in between, it is a plain fork. Else the C library calls clone3 and gives up if that is not
    // permitted, as gVisor does if a seccomp profile forbids it.
    unsafe { child.arg(id).pre_exec(|| Ok(())) };
    let child = match child.output() {
        Ok(child) => child,
        Err(error) => return Answer::open(format!("not asked: {error}")),
    };
    let text = String::from_utf8_lossy(&child.stdout);
    match text.trim().split_once(' ') {
        Some(("open", text)) => Answer::open(text),
        Some(("closed", text)) => Answer::closed(text),
        _ => Answer::closed(format!("killed: {}", child.status)),
    }
}
