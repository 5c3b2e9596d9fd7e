//! Policy files on disk: one file, or a folder such as a mounted `ConfigMap`; and presets in the place of files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sandgate_engine::policy::{PRESETS, Source, preset};

/// How a preset is named in the place of a path. A file of that path is named `./preset/NAME`.
const PRESET_PREFIX: &str = "preset/";

/// Reads the file, or every `*.yaml`, `*.yml` and `*.json` of the folder, in the order of their names. `preset/NAME` is a
/// policy for every namespace that extends the preset.
///
/// # Errors
/// Returns an error if a file or folder cannot be read; the message names it.
pub fn read(path: &Path) -> io::Result<Vec<Source>> {
    if let Some(name) = path.to_str().and_then(|path| path.strip_prefix(PRESET_PREFIX)) {
        return of_preset(name).map(|source| vec![source]);
    }
    let files = if fs::metadata(path).map_err(|error| named(path, &error))?.is_dir() {
        files_of(path)?
    } else {
        vec![path.to_path_buf()]
    };
    files.iter().map(|file| read_file(file)).collect()
}

fn of_preset(name: &str) -> io::Result<Source> {
    if preset(name).is_none() {
        return Err(io::Error::new(io::ErrorKind::NotFound, unknown_preset(name)));
    }
    let text = format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{extends: {PRESET_PREFIX}{name}, namespaces: [\"*\"]}}\n"
    );
    Ok(Source { name: format!("{PRESET_PREFIX}{name}"), text })
}

/// Returns the error that there is no such preset, with the names of those that are.
#[must_use]
pub fn unknown_preset(name: &str) -> String {
    let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
    format!("no preset is called {name:?}; there are {}", names.join(", "))
}

fn read_file(path: &Path) -> io::Result<Source> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    Ok(Source { name: path.display().to_string(), text })
}

/// Returns the policy files of a folder. A mounted `ConfigMap` keeps its files in hidden folders and shows them as
/// links; hidden entries are skipped.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    // The link `..data` is swapped when the `ConfigMap` changes. It is followed once, so that all files are of one
    // version.
    let version = fs::canonicalize(folder.join("..data"));
    let folder = version.as_deref().unwrap_or(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| named(folder, &error))? {
        let path = entry.map_err(|error| named(folder, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_policy = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if is_policy && !hidden {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let problem = format!("{}: no *.yaml, *.yml or *.json in this folder", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, problem));
    }
    Ok(files)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandgate_engine::policy::PolicySet;

    #[test]
    fn a_folder_is_read_in_the_order_of_its_names_without_the_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "c.json", ".hidden.yaml", "notes.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let texts: Vec<String> = read(folder.path()).unwrap().into_iter().map(|source| source.text).collect();
        assert_eq!(texts, ["a.yml", "b.yaml", "c.json"]);
    }

    #[test]
    fn files_of_a_mounted_config_map_are_of_one_version() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for version in ["..old", "..new"] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("a.yaml"), version).unwrap();
        }
        std::os::unix::fs::symlink("..old", root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let files = files_of(root).unwrap();
        fs::remove_file(root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..new", root.join("..data")).unwrap();
        let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, ["..old"]);
    }

    #[test]
    fn every_preset_is_a_policy_for_every_namespace() {
        for (name, _) in PRESETS {
            let sources = read(Path::new(&format!("preset/{name}"))).unwrap();
            let policies = PolicySet::from_sources(&sources).unwrap();
            assert_eq!(policies.for_namespace("anywhere", None).unwrap().name, name);
        }
        let error = read(Path::new("preset/none")).unwrap_err().to_string();
        assert!(error.starts_with("no preset is called \"none\"; there are agent-sandbox, "), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.yaml");
        assert!(read(&missing).unwrap_err().to_string().contains("missing.yaml"));
        assert!(read(folder.path()).unwrap_err().to_string().contains("no *.yaml"));
    }
}
