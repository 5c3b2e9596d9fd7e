//! Pages that are written from the program, and must not fall behind it. `make book-pages` writes them.

mod controls;
mod policy_reference;
mod presets;
mod rules;

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::PathBuf};

use crate::pages::{Page, root};

/// A page as it must be.
struct Generated {
    path: String,
    text: String,
}

impl Generated {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

const NOTE: &str = "<!-- Generated: make book-pages writes this page. -->\n\n";

#[test]
fn pages_are_up_to_date() {
    let mut pages = rules::pages();
    pages.extend(presets::pages());
    pages.push(policy_reference::page());
    pages.push(controls::page());
    pages.push(contents(&pages));
    let writes = env::var_os("SANDGATE_WRITE_BOOK").is_some();
    let mut behind = Vec::new();
    for Generated { path, text } in &pages {
        let path = root().join(path);
        if writes {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != *text {
            behind.push(path);
        }
    }
    assert!(behind.is_empty(), "out of date, run make book-pages: {behind:#?}");
}

#[test]
fn no_page_is_left_of_a_rule_or_preset_that_is_gone() {
    let wanted: BTreeSet<PathBuf> =
        rules::pages().into_iter().chain(presets::pages()).map(|page| root().join(page.path)).collect();
    for folder in ["docs/rules", "docs/presets"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            assert!(wanted.contains(&path), "{}", path.display());
        }
    }
}

/// The contents of the book, with a line for each generated page below the page that lists them.
fn contents(pages: &[Generated]) -> Generated {
    let contents = Page::read("docs/SUMMARY.md").text;
    let mut text = String::new();
    for line in contents.lines().filter(|line| !line.contains("](rules/") && !line.contains("](presets/")) {
        text.push_str(line);
        text.push('\n');
        for folder in ["rules", "presets"] {
            if !line.ends_with(&format!("]({folder}.md)")) {
                continue;
            }
            let indent = line.len() - line.trim_start().len() + 2;
            for page in pages {
                let Some(file) =
                    page.path.strip_prefix("docs/").filter(|file| file.starts_with(&format!("{folder}/")))
                else {
                    continue;
                };
                let name = file.trim_start_matches(folder).trim_matches('/').trim_end_matches(".md");
                let _ = writeln!(text, "{:indent$}- [{name}]({file})", "");
            }
        }
    }
    Generated::new("docs/SUMMARY.md", text)
}
