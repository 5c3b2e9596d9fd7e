//! The answers of the probe in three Pods, side by side, and as docs/attack-surface.md has them.

use std::{collections::BTreeMap, fmt, fmt::Write};

use serde::Deserialize;

use crate::running::{GVISOR, KERNEL_OF_GVISOR};

/// The vectors that were open, by Pod.
pub(super) struct Matrix {
    /// As on the machine itself, to see that the probe notices open vectors.
    pub(super) unconfined: Column,
    /// As it is written, where no policy is.
    pub(super) plain: Column,
    /// With what Pod Security asks for, where no policy is.
    pub(super) restricted: Column,
    /// As it is written, through sandgate.
    pub(super) sandboxed: Column,
}

/// The answers in one Pod.
pub(super) struct Column {
    /// The runtimes of its containers, as containerd reports them.
    pub(super) runtimes: Vec<String>,
    /// The version that its kernel reports.
    pub(super) kernel: String,
    pub(super) vectors: Vec<Vector>,
}

/// One vector, and what became of it.
#[derive(Deserialize)]
pub(super) struct Vector {
    pub(super) id: String,
    group: Group,
    what: String,
    how: String,
    answer: String,
    open: bool,
}

/// The target of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    /// To the kernel that answers, as the next four.
    Namespaces,
    Processes,
    Sockets,
    Interfaces,
    Files,
    /// To the machine, independent of the kernel that answers.
    Machine,
    /// To what the Pod was given.
    Pod,
    Network,
}

/// The answer for a vector in a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Closed,
    Open,
    /// Open, and behind it is gVisor's own kernel, which lives in the sandbox.
    OfGvisor,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "**open**",
            Self::OfGvisor => "gVisor's",
        })
    }
}

impl Column {
    /// Reads the lines of the probe.
    pub(super) fn read(output: &str, runtimes: Vec<String>) -> Self {
        #[derive(Deserialize)]
        struct Kernel {
            kernel: String,
        }
        let (kernel, vectors) = output.split_once('\n').unwrap();
        let Kernel { kernel } = serde_json::from_str(kernel).unwrap();
        let vector = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { runtimes, kernel, vectors: vectors.lines().map(vector).collect() }
    }

    /// Returns true if no system call of this Pod can have been answered by the kernel of the machine. Of the two signs
    /// of that, the first is out of reach for processes of a Pod.
    pub(super) fn is_in_gvisor(&self) -> bool {
        self.runtimes.iter().all(|runtime| runtime == GVISOR) && self.kernel == KERNEL_OF_GVISOR
    }

    pub(super) fn found(&self, vector: &Vector) -> Found {
        match vector {
            Vector { open: false, .. } => Found::Closed,
            Vector { group: Group::Machine | Group::Pod | Group::Network, .. } => Found::Open,
            _ if self.is_in_gvisor() => Found::OfGvisor,
            _ => Found::Open,
        }
    }

    /// The vectors that are open, but those of the network, and that do not lead into the sandbox's own kernel.
    pub(super) fn open(&self) -> Vec<&str> {
        let open = self.vectors.iter().filter(|vector| self.found(vector) == Found::Open);
        open.filter(|vector| vector.group != Group::Network).map(|vector| vector.id.as_str()).collect()
    }

    /// Returns the answer for a vector of the network or any other.
    pub(super) fn found_by_id(&self, id: &str) -> Found {
        let vector = self.vectors.iter().find(|vector| vector.id == id);
        self.found(vector.unwrap_or_else(|| panic!("the probe knows no vector {id}")))
    }
}

/// A row of the page: the vector, and what each Pod found of it.
pub(super) type Rows = BTreeMap<String, [String; 3]>;

impl Matrix {
    fn rows_where(&self, is_wanted: impl Fn(&Vector) -> bool) -> Vec<(&Vector, [Found; 3])> {
        let columns = [&self.plain, &self.restricted, &self.sandboxed];
        let vectors = self.plain.vectors.iter().enumerate().filter(|(_, vector)| is_wanted(vector));
        vectors
            .map(|(index, vector)| (vector, columns.map(|column| column.found(&column.vectors[index]))))
            .collect()
    }

    /// Returns the part of the page on vectors to kernel, machine and credentials.
    pub(super) fn part_of_kernel(&self) -> String {
        let rows = self.rows_where(|vector| vector.group != Group::Network);
        let (closed, open): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, found)| *found == [Found::Closed; 3]);
        let closed: Vec<_> = closed.iter().map(|(vector, _)| format!("`{}`", vector.id)).collect();
        let kernel = version(&self.plain.kernel);
        let closed = format!("Measured on Linux {kernel}. {CLOSED}{}.", closed.join(", "));
        format!("{}\n{}\n", table(&open), wrapped(&closed))
    }

    /// Returns the part of the page on vectors in the network.
    pub(super) fn part_of_network(&self) -> String {
        table(&self.rows_where(|vector| vector.group == Group::Network))
    }

    /// Returns the question and the answer of each, for people.
    pub(super) fn answers(&self) -> String {
        let mut text = String::new();
        for (index, vector) in self.plain.vectors.iter().enumerate() {
            let Vector { id, how, .. } = vector;
            writeln!(text, "{id}: {how}").unwrap();
            let columns = [&self.unconfined, &self.plain, &self.restricted, &self.sandboxed];
            for (name, column) in
                ["unconfined", "plain", "restricted", "through sandgate"].iter().zip(columns)
            {
                let Vector { answer, open, .. } = &column.vectors[index];
                writeln!(text, "  {name:17} {} {answer}", if *open { "open  " } else { "closed" }).unwrap();
            }
        }
        text
    }
}

/// The text before the vectors that are in no row.
const CLOSED: &str = "Closed to all three: ";

/// In lines as long as those around it.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 120;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        match line.len() {
            0 => line.push_str(word),
            length if length + word.len() < WIDTH => write!(line, " {word}").unwrap(),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn table(rows: &[(&Vector, [Found; 3])]) -> String {
    let mut text = String::from(
        "| vector | what a Pod can do then | plain, runc | `restricted`, runc | through sandgate |\n|---|---|---|---|---|\n",
    );
    for (Vector { id, what, .. }, [plain, restricted, sandboxed]) in rows {
        writeln!(text, "| `{id}` | {what} | {plain} | {restricted} | {sandboxed} |").unwrap();
    }
    text
}

/// Returns the statement of a part of the page on each vector.
pub(super) fn stated(part: &str) -> Rows {
    let mut rows = Rows::new();
    for line in part.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", vector, _, plain, restricted, sandboxed, ""] = cells[..] {
            rows.insert(vector.to_owned(), [plain, restricted, sandboxed].map(String::from));
        }
    }
    let closed = part.split_once(CLOSED).map_or("", |(_, closed)| closed.trim().trim_end_matches('.'));
    let vectors = closed.split(',').map(str::trim).filter(|vector| !vector.is_empty());
    rows.extend(vectors.map(|vector| (vector.to_owned(), ["closed"; 3].map(String::from))));
    rows
}

/// Returns the number in the version that a kernel reports.
pub(super) fn version(kernel: &str) -> &str {
    let number = kernel.trim_start_matches("Linux version ");
    let end = number.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    &number[..end.unwrap_or(number.len())]
}
