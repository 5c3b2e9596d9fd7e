//! Policy texts from the file system: one file, or a folder of them (a mounted `ConfigMap`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{LoadError, LoadErrors, Source};

/// Reads the file at `path`, or every `*.yaml`, `*.yml` and `*.json` of the folder, in the order of their names.
/// Hidden entries are skipped: a mounted `ConfigMap` keeps its versions in them.
///
/// # Errors
/// When something cannot be read, or the folder has no such file.
pub fn read(path: &Path) -> Result<Vec<Source>, LoadErrors> {
    let files =
        if path.is_dir() { files_of(path).map_err(|error| failed(path, &error))? } else { vec![path.into()] };
    if files.is_empty() {
        return Err(problem(path, "no .yaml, .yml or .json file in this folder"));
    }
    files.iter().map(|file| read_file(file)).collect()
}

fn read_file(path: &Path) -> Result<Source, LoadErrors> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, &error))?;
    Ok(Source { name: path.display().to_string(), text })
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_policy_file(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_policy_file(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

fn failed(path: &Path, error: &io::Error) -> LoadErrors {
    problem(path, &format!("cannot be read: {error}"))
}

fn problem(path: &Path, problem: &str) -> LoadErrors {
    let file = path.display().to_string();
    LoadErrors(vec![LoadError { file, line: 0, path: String::new(), problem: problem.into() }])
}
