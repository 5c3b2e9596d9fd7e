//! Vectors of the Pod's own settings, whatever the kernel.

use std::{fs, path::Path};

use crate::{
    Vector,
    answer::Answer,
    system::{call, number},
};

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "root-user",
        what: "is root",
        how: "geteuid",
        ask: || match call(number::GETEUID, &[]) {
            Ok(0) => Answer::open("uid 0"),
            Ok(uid) => Answer::closed(format!("uid {uid}")),
            Err(errno) => Answer::of(Err(errno)),
        },
    },
    Vector {
        id: "capabilities",
        what: "has capabilities, or could get some",
        how: "CapEff and CapBnd of /proc/self/status",
        ask: || {
            let sets = [status("CapEff"), status("CapBnd")];
            let text = sets.join(" ");
            if sets.iter().all(|set| set.bytes().all(|digit| digit == b'0')) {
                Answer::closed(text)
            } else {
                Answer::open(text)
            }
        },
    },
    Vector {
        id: "setuid-programs",
        what: "gets more by programs with the setuid bit",
        how: "prctl(PR_GET_NO_NEW_PRIVS) is 0",
        ask: || {
            const GET_NO_NEW_PRIVS: i64 = 39;
            match call(number::PRCTL, &[GET_NO_NEW_PRIVS]) {
                Ok(set) => zero_is_open(&set.to_string()),
                Err(errno) => Answer::of(Err(errno)),
            }
        },
    },
    Vector {
        id: "writable-root",
        what: "changes the programs that it was started with",
        how: "access(W_OK) of /, /etc and the folder of this program",
        ask: || {
            let places = ["/", "/etc", "/program"];
            let answers = places.map(|place| Answer::of(crate::system::may_write(place)));
            let [first, ..] = &answers;
            let text = first.text.clone();
            Answer { open: answers.iter().any(|answer| answer.open), text }
        },
    },
    Vector {
        id: "token",
        what: "has a token for the API server",
        how: "open of the service account's token",
        ask: || match fs::File::open("/var/run/secrets/kubernetes.io/serviceaccount/token") {
            Ok(_) => Answer::open("ok"),
            Err(error) => Answer::of(Err(crate::system::errno(&error))),
        },
    },
    Vector {
        id: "runtime-socket",
        what: "gives orders to the container runtime",
        how: "a socket of containerd, Docker or CRI-O",
        ask: || {
            let sockets = ["/run/containerd/containerd.sock", "/var/run/docker.sock", "/run/crio/crio.sock"];
            match sockets.into_iter().find(|socket| Path::new(socket).exists()) {
                Some(socket) => Answer::open(socket),
                None => Answer::closed("ENOENT"),
            }
        },
    },
];

pub(crate) fn zero_is_open(value: &str) -> Answer {
    if value == "0" { Answer::open(value) } else { Answer::closed(value) }
}

/// Returns a line of the kernel's status of this process.
pub(crate) fn status(name: &str) -> String {
    let all = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}
