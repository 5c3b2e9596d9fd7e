//! What the probe said, side by side.

use serde::Deserialize;

/// Which doors were open to which Pod.
pub(super) struct Matrix {
    /// As it is written, where no policy is.
    pub(super) plain: Column,
    /// With what Pod Security asks for, where no policy is.
    pub(super) restricted: Column,
    /// As it is written, through sandgate.
    pub(super) sandboxed: Column,
}

/// What one Pod found.
pub(super) struct Column {
    /// The runtimes of its containers, as containerd says.
    pub(super) runtimes: Vec<String>,
    /// What its kernel says that it is.
    pub(super) kernel: String,
    pub(super) doors: Vec<Door>,
}

/// One door, and what became of it.
#[derive(Debug, Deserialize)]
pub(super) struct Door {
    pub(super) id: String,
    group: Group,
    what: String,
    pub(super) answer: String,
    pub(super) open: bool,
}

/// Who is behind a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Group {
    Namespaces,
    Processes,
    Sockets,
    Interfaces,
    Files,
    Devices,
    Pod,
    Network,
}

impl Column {
    /// Reads the lines of the probe.
    pub(super) fn read(said: &str, runtimes: Vec<String>) -> Self {
        #[derive(Deserialize)]
        struct Kernel {
            kernel: String,
        }
        let (first, doors) = said.split_once('\n').unwrap();
        let Kernel { kernel } = serde_json::from_str(first).unwrap();
        let doors = doors.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        Self { runtimes, kernel, doors: doors.collect() }
    }
}
