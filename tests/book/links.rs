//! Links lead to what is there, and the contents of the book name every page.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use crate::pages::{Page, root};

#[test]
fn every_link_has_a_target() {
    let pages: BTreeMap<PathBuf, Page> =
        Page::all().into_iter().map(|page| (page.path.clone(), page)).collect();
    let mut dead = Vec::new();
    for page in pages.values() {
        for link in page.links() {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.path.clone(),
                file => plain(&page.path.parent().unwrap().join(file)),
            };
            let is_there = root().join(&target).exists();
            let has_anchor = anchor.is_empty()
                || pages
                    .get(&target)
                    .is_some_and(|target| target.anchors().iter().any(|other| other == anchor));
            if !is_there || !has_anchor {
                dead.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// A page of the book cannot link a folder, or a file that the book does not have.
#[test]
fn every_link_of_the_book_is_to_a_file_of_the_book() {
    let in_book = |target: &Path| {
        let text = target.display().to_string();
        let folders = ["docs/", "presets/", "examples/", "certs/", "charts/sandgate/README.md", "LICENSE"];
        // The contents are no page of the book.
        !root().join(target).is_dir()
            && text != "docs/SUMMARY.md"
            && (target.components().count() == 1 || folders.iter().any(|folder| text.starts_with(folder)))
    };
    let mut outside = Vec::new();
    for page in Page::all() {
        for link in page.links().iter().filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap();
            if !in_book(&plain(&page.path.parent().unwrap().join(file))) {
                outside.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(outside.is_empty(), "{}", outside.join("\n"));
}

#[test]
fn the_contents_name_every_page_once() {
    let contents = Page::read("docs/SUMMARY.md");
    let named: Vec<PathBuf> =
        contents.links().iter().map(|link| plain(&Path::new("docs").join(link))).collect();
    let distinct: BTreeSet<&PathBuf> = named.iter().collect();
    assert_eq!(distinct.len(), named.len(), "a page is named twice");
    let pages = Page::all();
    let missing: Vec<&PathBuf> = pages
        .iter()
        .map(|page| &page.path)
        .filter(|path| *path != &contents.path && !distinct.contains(path))
        .collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not name {missing:?}");
}

/// Returns the path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir => {}
            part => parts.push(part),
        }
    }
    parts
}
