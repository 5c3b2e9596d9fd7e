//! ARCHITECTURE.md draws which module imports which. Here the sources are held to the same layers.

use std::{collections::BTreeSet, fs, path::Path};

/// The modules of the engine, from the lowest layer up. Modules of one layer may import each other.
const ENGINE: &[&[&str]] = &[
    &["hash", "text", "path", "json", "yaml"],
    &["policy", "pod"],
    &["cel"],
    &["rules", "violations"],
    &["review", "workload"],
    &["backstop", "scan", "suggest", "templates"],
];

/// The modules of the program, from the lowest layer up.
const PROGRAM: &[&[&str]] = &[
    &["certs", "policy_files", "readiness", "supervisor"],
    &["telemetry"],
    &["audit", "cluster"],
    &["observe"],
    &["server"],
    &["cli"],
];

#[test]
fn engine_imports_point_down() {
    assert_eq!(imports_that_point_up("engine/src", ENGINE), Vec::<String>::new());
}

#[test]
fn program_imports_point_down() {
    assert_eq!(imports_that_point_up("src", PROGRAM), Vec::<String>::new());
}

#[test]
fn every_module_has_a_layer() {
    for (folder, layers) in [("engine/src", ENGINE), ("src", PROGRAM)] {
        let library = read(&root().join(folder).join("lib.rs"));
        let declared: BTreeSet<&str> = library
            .lines()
            .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
            .filter(|module| !module.ends_with("tests"))
            .collect();
        assert_eq!(declared, layers.iter().copied().flatten().copied().collect(), "{folder}");
    }
}

#[test]
fn import_of_a_module_is_found_in_a_path_and_in_a_list() {
    let text =
        "use crate::{\n    json::{self, Value},\n    pod,\n};\nfn f() { crate::rules::f() } // crate::cli\n";
    assert_eq!(imports(text), BTreeSet::from(["json", "pod", "rules"]));
}

fn imports_that_point_up(folder: &str, layers: &[&[&str]]) -> Vec<String> {
    let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&module));
    let mut wrong = Vec::new();
    for module in layers.iter().copied().flatten() {
        for (name, text) in sources(&root().join(folder), module) {
            for import in imports(&text) {
                if layer_of(import).is_some_and(|layer| Some(layer) > layer_of(module)) {
                    wrong.push(format!("{name} imports {import}"));
                }
            }
        }
    }
    wrong
}

/// Returns the modules of its own crate that the text imports, tests at the end of the file left out.
fn imports(text: &str) -> BTreeSet<&str> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices("crate::") {
        let line = text[..start].rsplit('\n').next().unwrap_or_default();
        if line.contains("//") {
            continue;
        }
        let rest = &text[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(first_words(list)),
            None => found.extend(word(rest)),
        }
    }
    found
}

/// Returns the first word of each item of a list of imports, up to its closing brace.
fn first_words(list: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut depth, mut begins) = (0, true);
    for (index, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && !character.is_whitespace() => {
                words.extend(word(&list[index..]));
                begins = false;
            }
            _ => {}
        }
    }
    words
}

fn word(text: &str) -> Option<&str> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let end = text.find(|character| !is_part(character)).unwrap_or(text.len());
    (end > 0).then_some(&text[..end])
}

/// Returns name and text of each file of a module that is not of tests.
fn sources(folder: &Path, module: &str) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut pending = vec![folder.join(format!("{module}.rs")), folder.join(module)];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder that can be read");
            pending.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.is_file() {
            let name = path.strip_prefix(folder).expect("below the folder").display().to_string();
            if !name.contains("test") {
                sources.push((name, read(&path)));
            }
        }
    }
    sources
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
