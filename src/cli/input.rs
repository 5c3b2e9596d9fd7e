//! Texts from files, folders and standard input.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use super::terminal::note;

/// A larger text is no manifest but a mistake.
const LARGEST: u64 = 64 << 20;

/// A text and what messages call it.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
}

pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The files that `path` stands for: itself, or all manifests of the folder and of the folders in it.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if is_stdin(path) || !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    collect(path, &mut files)?;
    if files.is_empty() {
        return Err(format!("{}: no .yaml, .yml or .json file in this folder", path.display()));
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error: &io::Error| format!("{}: cannot be read: {}", folder.display(), reason(error));
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| unreadable(&error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A link to a folder is not followed: it may lead in a circle.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, files)?;
        } else if is_manifest(&path) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads a file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Text, String> {
    if is_stdin(path) {
        warn_of_terminal("a manifest");
        return text("standard input", io::stdin().lock());
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => text(&name, file),
        Err(error) => Err(format!("{name}: cannot be read: {}", reason(&error))),
    }
}

fn text(name: &str, source: impl Read) -> Result<Text, String> {
    let wrong = |problem: &dyn Display| format!("{name}: {problem}");
    let mut bytes = Vec::new();
    if let Err(error) = source.take(LARGEST + 1).read_to_end(&mut bytes) {
        return Err(wrong(&format_args!("cannot be read: {}", reason(&error))));
    }
    if bytes.len() as u64 > LARGEST {
        return Err(wrong(&format_args!("larger than {} MiB; split it", LARGEST >> 20)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Text { name: name.into(), text }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].split(|byte| *byte == b'\n').count();
            Err(format!("{name}:{line}: not UTF-8, at byte {valid}; save the file as UTF-8"))
        }
    }
}

/// A person who sees nothing happen should know what is waited for.
pub(super) fn warn_of_terminal(what: &str) {
    if io::stdin().is_terminal() {
        note(&format!("reading {what} from the terminal; end it with Ctrl-D"));
    }
}

/// What the operating system says, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
