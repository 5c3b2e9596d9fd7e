//! Texts from files, folders and standard input.

use std::{
    fmt::Display,
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use ignore::{WalkBuilder, overrides::OverrideBuilder};

use super::terminal::note;

/// A larger text is no manifest but a mistake.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// What messages call standard input.
pub(super) const STDIN_NAME: &str = "standard input";

/// A text and what messages call it.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
}

pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Returns the files of `path`: itself, or all manifests of the folder and of the folders in it, in the order of their
/// names, without hidden ones and without those that `excludes` or a file `.sandgateignore` leaves out.
pub(super) fn files(path: &Path, excludes: &[String]) -> Result<Vec<PathBuf>, String> {
    if is_stdin(path) || !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut overrides = OverrideBuilder::new(path);
    for glob in excludes {
        let added = overrides.add(&format!("!{glob}"));
        added.map_err(|error| format!("--exclude {glob}: {error}; write it as in .gitignore"))?;
    }
    let overrides = overrides.build().map_err(|error| format!("--exclude: {error}"))?;
    // A link to a folder is not followed: it may lead in a circle.
    let walk = WalkBuilder::new(path)
        .standard_filters(false)
        .hidden(true)
        .add_custom_ignore_filename(".sandgateignore")
        .overrides(overrides)
        .sort_by_file_name(Ord::cmp)
        .build();
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| without_number(&error.to_string()).to_string())?;
        if let Some(error) = entry.error() {
            return Err(without_number(&error.to_string()).to_string());
        }
        if is_manifest(entry.path()) && entry.path().is_file() {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() {
        return Err(format!("{}: no .yaml, .yml or .json file in this folder", path.display()));
    }
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads a file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Text, String> {
    if is_stdin(path) {
        warn_of_terminal("a manifest");
        return text(STDIN_NAME, io::stdin().lock());
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => text(&name, file),
        Err(error) => Err(format!("{name}: cannot be read: {}", reason(&error))),
    }
}

fn text(name: &str, source: impl Read) -> Result<Text, String> {
    let named = |problem: &dyn Display| format!("{name}: {problem}");
    let mut bytes = Vec::new();
    if let Err(error) = source.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes) {
        return Err(named(&format_args!("cannot be read: {}", reason(&error))));
    }
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(named(&format_args!("larger than {} MiB; split it", MAX_TEXT_BYTES >> 20)));
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

/// Prints what is waited for, for a person who sees nothing happen.
pub(super) fn warn_of_terminal(what: &str) {
    if io::stdin().is_terminal() {
        note(&format!("reading {what} from the terminal; end it with Ctrl-D"));
    }
}

/// Returns the reason that the operating system gives.
pub(super) fn reason(error: &io::Error) -> String {
    without_number(&error.to_string()).to_lowercase()
}

/// Returns the text without the number that the standard library writes behind the operating system's reason.
pub(super) fn without_number(text: &str) -> &str {
    text.find(" (os error").map_or(text, |end| &text[..end])
}
