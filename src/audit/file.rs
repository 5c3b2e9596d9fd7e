//! The trail in a file that is rotated.
//!
//! The file that is full becomes `PATH.N`, where N is the number of its first record in sixteen digits: names never
//! change again, and sort in the order of the records.

use std::{
    fs::{self, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    KEPT_BYTES, Sink,
    chain::{ChainId, Link, MAX_SEAL_BYTES, Seal, split},
    notice::Notice,
};

/// The settings of a file of records.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// The file that is written to.
    pub path: PathBuf,
    /// The largest size in bytes, unless one write alone is larger.
    pub max_bytes: u64,
    /// The age of its first record after which the next one goes to a new file.
    pub max_age: Duration,
    /// The number of full files that are kept.
    pub keep: usize,
    /// The time at which records are synced to disk, so that they survive a crash of the machine.
    pub fsync: Fsync,
}

/// The time at which records are synced to disk, so that they survive a crash of the machine. They survive a crash of
/// the process in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Fsync {
    /// At the time that the operating system chooses
    Never,
    /// At the end of each file, and of the program
    #[default]
    Rotate,
    /// With every write, some milliseconds after the verdict
    Always,
}

/// Writes records to a file. The folder must exist: one that is missing may be a volume that is not mounted.
#[derive(Debug)]
pub struct File {
    settings: FileSettings,
    open: Option<OpenFile>,
    /// The last record that was written. What this process wrote is known better than read.
    chain: Option<Link>,
    lines: Vec<u8>,
    /// Rotation failed, and this was logged.
    is_stuck: bool,
}

#[derive(Debug)]
struct OpenFile {
    file: fs::File,
    bytes: u64,
    /// The number and the time of its first record.
    first: u64,
    since: SystemTime,
}

impl File {
    /// A trail by these settings; nothing is opened yet.
    #[must_use]
    pub const fn new(settings: FileSettings) -> Self {
        Self { settings, open: None, chain: None, lines: Vec::new(), is_stuck: false }
    }

    /// The open file: still the one that has the name, or opened and continued.
    fn opened(&mut self) -> io::Result<&mut OpenFile> {
        if let Some(open) = self.open.take_if(|open| !is_at(&open.file, &self.settings.path)) {
            tracing::warn!(file = %self.settings.path.display(), "The audit file is gone; a new one is begun");
            drop(open);
        }
        if self.open.is_none() {
            let open = self.open_file()?;
            self.open = Some(open);
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens the file and writes the notices that stand before the next record.
    fn open_file(&mut self) -> io::Result<OpenFile> {
        let path = &self.settings.path;
        let mut file = create(path)?;
        let Tail { last, torn } = tail(&mut file)?;
        let mut chain = match self.chain {
            Some(chain) => chain,
            None => match last {
                Some(last) => last,
                None => newest(path)?.unwrap_or_else(|| Link::begin(ChainId::draw())),
            },
        };
        self.lines.clear();
        let mut notices = Vec::new();
        if torn > 0 {
            self.lines.push(b'\n');
            Notice::Torn { bytes: torn }.append_to(&mut notices);
        }
        if self.chain.is_none() {
            Notice::STARTED.append_to(&mut notices);
        }
        let bytes = file.metadata()?.len();
        let (first, since) = first(&file).unwrap_or((chain.seq + 1, SystemTime::now()));
        chain.seal_all(&notices, &mut self.lines);
        let mut open = OpenFile { file, bytes, first, since };
        open.append(&self.lines, self.settings.fsync)?;
        let Link { chain: id, seq, hash } = chain;
        tracing::info!(file = %path.display(), chain = %id, seq, %hash, torn, "Audit file opened");
        self.chain = Some(chain);
        Ok(open)
    }

    /// Begins a new file where the old one is full or old. A file that cannot be moved away is written to all the same.
    fn rotate_if_due(&mut self, more: usize) {
        let Some(open) = &self.open else { return };
        let FileSettings { max_bytes, max_age, .. } = self.settings;
        let is_full = open.bytes + more as u64 > max_bytes;
        // A clock that was set back makes nothing old.
        let is_old = open.since.elapsed().is_ok_and(|age| age > max_age);
        if open.bytes == 0 || !(is_full || is_old) {
            return;
        }
        match self.rotate() {
            Ok(()) => self.is_stuck = false,
            Err(error) if !self.is_stuck => {
                self.is_stuck = true;
                tracing::error!(%error, "The audit file cannot be rotated; it grows on");
            }
            Err(_) => {}
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let FileSettings { path, keep, fsync, .. } = &self.settings;
        if *fsync != Fsync::Never {
            open.file.sync_data()?;
        }
        let full = rotated_name(path, open.first);
        if full.exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists", full.display())));
        }
        fs::rename(path, &full)?;
        let Link { chain, seq, hash } = self.chain.unwrap_or_default();
        // The head goes where who can write to the files perhaps cannot.
        tracing::info!(file = %full.display(), %chain, seq, %hash, "Audit file rotated");
        self.open = None;
        if let Err(error) = prune(path, *keep) {
            tracing::error!(%error, "Old audit files cannot be removed");
        }
        Ok(())
    }
}

impl Sink for File {
    const RETRIES: bool = true;

    fn write(&mut self, records: &[u8]) -> io::Result<Link> {
        self.opened()?;
        self.rotate_if_due(records.len() + split(records).count() * MAX_SEAL_BYTES);
        self.opened()?;
        let mut chain = self.chain.unwrap_or_default();
        self.lines.clear();
        chain.seal_all(records, &mut self.lines);
        let written = match &mut self.open {
            Some(open) => open.append(&self.lines, self.settings.fsync),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        self.lines.shrink_to(KEPT_BYTES);
        if let Err(error) = written {
            // The next try looks at everything anew.
            self.open = None;
            return Err(error);
        }
        Ok(*self.chain.insert(chain))
    }

    fn close(&mut self) {
        let Some(open) = &self.open else { return };
        let Link { chain, seq, hash } = self.chain.unwrap_or_default();
        tracing::info!(%chain, seq, %hash, "Audit file closed");
        if self.settings.fsync == Fsync::Never {
            return;
        }
        if let Err(error) = open.file.sync_data() {
            tracing::error!(%error, "The end of the audit file may not be on the disk");
        }
    }
}

impl OpenFile {
    /// Appends all lines or none.
    fn append(&mut self, lines: &[u8], fsync: Fsync) -> io::Result<()> {
        let mut written = self.file.write_all(lines);
        if written.is_ok() && fsync == Fsync::Always {
            written = self.file.sync_data();
        }
        match written {
            Ok(()) => self.bytes += lines.len() as u64,
            // Where this fails too, the torn line is found when the file is opened again.
            Err(_) => drop(self.file.set_len(self.bytes)),
        }
        written
    }
}

fn create(path: &Path) -> io::Result<fs::File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path).map_err(named)?;
    if !file.metadata()?.is_file() {
        return Err(named(io::Error::other("is no regular file")));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(named(io::Error::other("another process writes to it; give each a file of its own")))
        }
        Err(TryLockError::Error(error)) => Err(named(error)),
    }
}

/// Returns whether `path` still names `file`.
fn is_at(file: &fs::File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, named) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

/// The end of a file.
#[derive(Debug, Default)]
struct Tail {
    /// The last sealed line.
    last: Option<Link>,
    /// The length of what follows the last newline.
    torn: u64,
}

fn tail(file: &mut fs::File) -> io::Result<Tail> {
    /// Longer than any line, for a file that something else has written to.
    const MAX_TAIL_BYTES: u64 = 64 << 20;
    let length = file.metadata()?.len();
    let mut size = 64 << 10;
    loop {
        let start = length.saturating_sub(size);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(size).read_to_end(&mut bytes)?;
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let lines = bytes[..complete].rsplit(|byte| *byte == b'\n');
        let last = lines.filter(|line| !line.is_empty()).find_map(Seal::read).map(|seal| seal.link());
        if last.is_some() || start == 0 || size >= MAX_TAIL_BYTES {
            return Ok(Tail { last, torn: (bytes.len() - complete) as u64 });
        }
        size *= 4;
    }
}

/// The number and the time of a file's first record.
fn first(file: &fs::File) -> Option<(u64, SystemTime)> {
    #[derive(serde::Deserialize)]
    struct First {
        time: jiff::Timestamp,
        seq: u64,
    }
    let mut bytes = vec![0; KEPT_BYTES];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let line = bytes[..length].split(|byte| *byte == b'\n').next()?;
    let First { time, seq } = serde_json::from_slice(line).ok()?;
    Some((seq, time.into()))
}

/// The end of the chain in the newest full file.
fn newest(path: &Path) -> io::Result<Option<Link>> {
    let Some(newest) = rotated(path)?.pop() else { return Ok(None) };
    Ok(tail(&mut fs::File::open(newest)?)?.last)
}

/// Removes the oldest full files but the newest `keep`.
fn prune(path: &Path, keep: usize) -> io::Result<()> {
    let full = rotated(path)?;
    full[..full.len().saturating_sub(keep)].iter().try_for_each(fs::remove_file)
}

const DIGITS: usize = 16;

fn rotated_name(path: &Path, first: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{first:0DIGITS$}"));
    name.into()
}

/// The full files, oldest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let is_rotated = |file: &[u8]| {
        let digits = file.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."));
        digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_digit))
    };
    let mut full = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.file_name();
        if is_rotated(file.as_encoded_bytes()) {
            full.push(path.with_file_name(file));
        }
    }
    full.sort();
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path) -> File {
        File::new(FileSettings {
            path: folder.join("a"),
            max_bytes: 1 << 20,
            max_age: Duration::from_hours(1),
            keep: 2,
            fsync: Fsync::Never,
        })
    }

    fn sealed(records: &[&str]) -> String {
        let (mut link, mut lines) = (Link::begin(ChainId::draw()), Vec::new());
        for record in records {
            link.seal(record.as_bytes(), &mut lines);
        }
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn an_old_file_is_rotated_and_a_clock_that_was_set_back_rotates_nothing() {
        for (year, files) in [("2001", 2), ("2999", 1)] {
            let folder = tempfile::tempdir().unwrap();
            let record = format!(r#"{{"time":"{year}-11-24T12:00:00Z"}}"#);
            fs::write(folder.path().join("a"), sealed(&[&record])).unwrap();
            file(folder.path()).write(b"{}\n").unwrap();
            assert_eq!(folder.path().read_dir().unwrap().count(), files, "{year}");
        }
    }

    #[test]
    fn the_chain_goes_on_behind_torn_and_foreign_lines_however_long() {
        let whole = sealed(&["{}", "{}"]);
        let last = Seal::read(whole.lines().last().unwrap().as_bytes()).unwrap().link();
        let long = "x".repeat(200_000);
        for (end, torn) in
            [("", 0), ("{\"ti", 4), ("hello\n", 0), ("hello\n{", 1), (&*format!("{long}\n{long}"), 200_000)]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            fs::write(&path, format!("{whole}{end}")).unwrap();
            let tail = tail(&mut fs::File::open(&path).unwrap()).unwrap();
            assert_eq!((tail.last, tail.torn), (Some(last), torn));
        }
    }

    #[test]
    fn a_full_file_of_the_same_name_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = file(folder.path());
        file.settings.max_bytes = 1;
        fs::write(folder.path().join("a.0000000000000001"), "precious").unwrap();
        for _ in 0..3 {
            file.write(b"{}\n").unwrap();
        }
        assert_eq!(fs::read_to_string(folder.path().join("a.0000000000000001")).unwrap(), "precious");
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap().lines().count(), 4);
    }

    #[test]
    fn anything_but_a_regular_file_is_an_error() {
        let mut file = file(Path::new("/dev"));
        file.settings.path = "/dev/null".into();
        assert!(file.write(b"{}\n").unwrap_err().to_string().contains("is no regular file"));
    }
}
