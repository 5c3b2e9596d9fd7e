//! The destination of the page.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::page::DOCTYPE;
use crate::cli::{
    CliError,
    input::{is_stdin, reason},
    print,
};

/// The destination of the page, after its checks.
#[derive(Debug)]
pub(super) enum Destination {
    Stdout,
    /// A file that is replaced as a whole, so that half a page is never seen.
    File(PathBuf),
    /// A pipe or a device, which cannot be replaced.
    Stream(PathBuf),
}

impl Destination {
    pub(super) fn new(path: &Path) -> Result<Self, CliError> {
        if is_stdin(path) {
            return Ok(Self::Stdout);
        }
        let kind = match fs::metadata(path) {
            Ok(file) => file.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::new_file(path),
            Err(error) => return Err(unwritable(path, &error)),
        };
        if kind.is_dir() {
            return Err(unwritable(path, &io::ErrorKind::IsADirectory.into()));
        }
        if !kind.is_file() {
            return Ok(Self::Stream(path.into()));
        }
        if is_replaceable(path).map_err(|error| unwritable(path, &error))? {
            return Ok(Self::File(path.into()));
        }
        // `--html audit.jsonl*` forgets the page's name and means the trail to be read.
        Err(CliError::new(format_args!(
            "{}: is there and is no report, so it is not replaced; give the page another name",
            path.display()
        )))
    }

    fn new_file(path: &Path) -> Result<Self, CliError> {
        let folder = folder(path);
        if folder.is_dir() {
            return Ok(Self::File(path.into()));
        }
        Err(CliError::new(format_args!(
            "{}: cannot be written: there is no folder {}",
            path.display(),
            folder.display()
        )))
    }

    pub(super) fn write(&self, page: &str) -> Result<(), CliError> {
        match self {
            Self::Stdout => print(page),
            Self::File(path) => replace(path, page).map_err(|error| unwritable(path, &error)),
            Self::Stream(path) => {
                let written = File::options()
                    .write(true)
                    .open(path)
                    .and_then(|mut file| file.write_all(page.as_bytes()));
                written.map_err(|error| unwritable(path, &error))
            }
        }
    }
}

/// Returns whether the file can be replaced without loss: it is empty, or a report of sandgate.
fn is_replaceable(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(DOCTYPE.len() as u64).read_to_end(&mut start)?;
    Ok(start.is_empty() || start == DOCTYPE.as_bytes())
}

fn replace(path: &Path, page: &str) -> io::Result<()> {
    // What a link points to is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let mut file = tempfile::Builder::new();
    // As for any new file: the umask takes off what others may not do.
    #[cfg(unix)]
    file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = file.prefix(".sandgate-report-").tempfile_in(folder(path))?;
    file.write_all(page.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::new(format_args!("{}: cannot be written: {}", path.display(), reason(error)))
}
