//! The book in a real browser: every kind of page at two widths, light and dark, and the search.

use std::{env, fs, path::Path, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{Scheme, browse};

/// Returns what to do if mdBook is not in the cache: a test does not download it.
pub(crate) fn missing_mdbook() -> Option<String> {
    let script = fs::read_to_string(root().join("scripts/book")).unwrap();
    let version = script.lines().find_map(|line| line.strip_prefix("readonly VERSION=")).unwrap();
    let home = || format!("{}/.cache", env::var("HOME").unwrap_or_default());
    let caches = env::var("XDG_CACHE_HOME").unwrap_or_else(|_| home());
    let program = format!("{caches}/sandgate/mdbook-{version}/bin/mdbook");
    (!Path::new(&program).exists()).then(|| "mdBook is not in the cache: scripts/book --install".into())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the probe found on a page.
#[derive(Debug, Deserialize)]
struct Found {
    width: f64,
    available: f64,
    theme: Vec<String>,
    ground: String,
    title: String,
    heading: String,
    /// The widths of the pictures, 0 for one that is missing.
    pictures: Vec<u32>,
    chapters: usize,
    /// The titles of the pages that a search found.
    results: Vec<String>,
}

/// The built book with the probe beside it.
struct Book(tempfile::TempDir);

impl Book {
    fn build() -> Self {
        let book = Self(tempfile::tempdir().unwrap());
        let output =
            Command::new(root().join("scripts/book")).arg(book.0.path().join("book")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        fs::copy(root().join("tests/browser/book-probe.html"), book.0.path().join("probe.html")).unwrap();
        book
    }

    fn open(&self, page: &str, width: u32, scheme: Scheme) -> Found {
        let scheme = format!("--blink-settings=preferredColorScheme={}", scheme as u8);
        let flags =
            ["--dump-dom", "--allow-file-access-from-files", "--virtual-time-budget=30000", scheme.as_str()];
        let output = browse(self.0.path(), &format!("probe.html#{width},book/html/{page}"), &flags);
        let dom = String::from_utf8(output.stdout).unwrap();
        let found = dom.split_once("<pre id=\"found\">").unwrap().1.split_once("</pre>").unwrap().0;
        serde_json::from_slice(&BASE64_STANDARD.decode(found).unwrap()).unwrap()
    }
}

pub(crate) fn book_fits_every_screen_light_and_dark() {
    let book = Book::build();
    let mut grounds = Vec::new();
    for (page, heading) in [
        ("README.html", "sandgate"),
        ("docs/policy-reference.html", "Policy reference"),
        ("docs/rules/privileged.html", "privileged"),
        ("docs/pod-fields.html", "Every field of a Pod, and the rules that check it"),
    ] {
        for (width, scheme) in [(360, Scheme::Light), (1200, Scheme::Dark)] {
            let found = book.open(page, width, scheme);
            assert_eq!(found.heading, heading);
            assert!(found.title.ends_with("sandgate"), "{}", found.title);
            assert!(found.width <= found.available, "{page}: {} of {}", found.width, found.available);
            assert!(found.pictures.iter().all(|width| *width > 0), "{page} lacks a picture");
            assert!(found.chapters > 100, "{page} has {} chapters", found.chapters);
            let theme = match scheme {
                Scheme::Light => "light",
                Scheme::Dark => "navy",
            };
            assert!(found.theme.iter().any(|class| class == theme), "{page}: {:?}", found.theme);
            grounds.push(found.ground);
        }
    }
    assert_ne!(grounds[0], grounds[1], "dark differs from light");
}

pub(crate) fn search_finds_the_page_of_a_rule() {
    let book = Book::build();
    let found = book.open("README.html?search=hostPath", 1200, Scheme::Light);
    assert!(found.results.iter().any(|title| title.contains("volume-types")), "{:?}", found.results);
}
