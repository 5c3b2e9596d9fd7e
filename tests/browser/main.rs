//! The audit report and the book in a real browser: what a person meets there, and that the report loads nothing from
//! elsewhere.
//!
//! `probe.html` opens the report in a frame, looks at it and writes what it found; the browser prints that.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod book;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::json;
use testbed::harness::{Test, missing_program, run};

fn main() -> ExitCode {
    let tests = [
        Test::new(page_fits_every_screen_light_and_dark),
        Test::new(hostile_names_are_text),
        Test::new(page_is_accessible),
        Test::new(content_policy_blocks_script_and_request),
        Test::new(page_prints),
    ];
    let missing = missing_program("chromium", "chromium");
    let of_book = [
        Test::new(book::book_fits_every_screen_light_and_dark),
        Test::new(book::search_finds_the_page_of_a_rule),
    ];
    let of_book = of_book.map(|test| test.requires(book::missing_mdbook()));
    run(tests.into_iter().chain(of_book).map(|test| test.requires(missing.clone())).collect())
}

const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&amp;\u{202e}";

/// The findings of the probe on the page.
#[derive(Debug, Deserialize)]
struct Found {
    width: f64,
    available: f64,
    /// The elements that reach over the right edge.
    outside: Vec<String>,
    ground: String,
    font: String,
    /// Text of too little contrast.
    faint: Vec<String>,
    tags: Vec<String>,
    handlers: Vec<String>,
    /// Links that lead nowhere or out of the page.
    dead: Vec<String>,
    uncaptioned: usize,
    unnamed: usize,
    language: String,
    users: Vec<String>,
    columns: usize,
    text: String,
}

#[derive(Debug, Clone, Copy)]
enum Scheme {
    Dark = 0,
    Light = 1,
}

/// A folder with a report and the probe.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::write(desk.path("audit.jsonl"), trail()).unwrap();
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/probe.html"),
            desk.path("probe.html"),
        )
        .unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_sandgate"))
            .args(["audit", "report", "--html", "report.html", "audit.jsonl"])
            .current_dir(desk.path(""))
            .status()
            .unwrap();
        // One line is not whole.
        assert_eq!(status.code(), Some(1));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Opens a file of the folder, and returns the browser's output.
    fn open(&self, file: &str, arguments: &[&str]) -> Output {
        browse(self.0.path(), file, arguments)
    }

    fn probe(&self, width: u32, scheme: Scheme) -> Found {
        let scheme = format!("--blink-settings=preferredColorScheme={}", scheme as u8);
        // Else the probe may not look into its frame.
        let output = self
            .open(&format!("probe.html#{width}"), &["--dump-dom", "--allow-file-access-from-files", &scheme]);
        assert_eq!(complaints(&output), Vec::<String>::new());
        let dom = String::from_utf8(output.stdout).unwrap();
        let found = dom.split_once("<pre id=\"found\">").unwrap().1.split_once("</pre>").unwrap().0;
        serde_json::from_slice(&BASE64_STANDARD.decode(found).unwrap()).unwrap()
    }
}

/// Opens a file of the folder with flags of the browser, and returns its output.
fn browse(folder: &Path, file: &str, arguments: &[&str]) -> Output {
    let output = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(arguments)
        .arg(format!("file://{}", folder.join(file).display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The output of the browser's console: scripts, errors, and everything that the content policy blocked.
fn complaints(output: &Output) -> Vec<String> {
    let log = String::from_utf8_lossy(&output.stderr);
    log.lines().filter(|line| line.contains("CONSOLE")).map(Into::into).collect()
}

fn trail() -> String {
    let record = |number: usize, verdict: &str, user: &str| {
        json!({
            "time": format!("2026-11-{}T{:02}:00:00Z", 24 + number / 24, number % 24), "verdict": verdict,
            "endpoint": if verdict == "denied" { "mutate" } else { "validate" },
            "uid": format!("uid-{number}"), "dryRun": true, "operation": "CREATE", "resource": "pods",
            "subresource": "", "namespace": "n".repeat(253), "name": "p".repeat(253), "generateName": "",
            "owner": {"kind": "Job", "name": user}, "user": user, "groups": [], "serviceAccount": "",
            "policy": "workflow-runner", "policyHash": "0123456789ab", "mode": "enforce", "filled": [],
            "violations": [
                {"rule": "privileged", "path": "spec.containers[0].securityContext.privileged", "found": "true", "wanted": "false"},
                {"rule": user, "path": "x".repeat(300), "found": user, "wanted": "W".repeat(300)},
            ],
            "images": ["i".repeat(300)], "durationMicros": 1,
        })
        .to_string()
    };
    let names = [HOSTILE, "alice@example.com", &"m".repeat(300), "مستخدم", "carol"];
    let verdicts = ["denied", "denied", "would-deny", "denied", "admitted"];
    let records = (0..40).map(|number| record(number, verdicts[number % 5], names[number % 5]) + "\n");
    records.collect::<String>() + "<script>alert(2)</script>"
}

fn page_fits_every_screen_light_and_dark() {
    let desk = Desk::new();
    let mut grounds = Vec::new();
    for (width, scheme) in
        [(360, Scheme::Light), (1200, Scheme::Light), (1200, Scheme::Dark), (360, Scheme::Dark)]
    {
        let found = desk.probe(width, scheme);
        assert_eq!(found.font, "15px", "the style is in force");
        assert!(found.width <= found.available, "{} of {} at {width}", found.width, found.available);
        assert_eq!(found.outside, Vec::<String>::new(), "{width}");
        assert_eq!(found.faint, Vec::<String>::new(), "{scheme:?}");
        grounds.push(found.ground);
    }
    assert_eq!((&grounds[0], &grounds[2]), (&grounds[1], &grounds[3]));
    assert_ne!(grounds[0], grounds[2], "dark differs from light");
}

fn hostile_names_are_text() {
    let desk = Desk::new();
    let found = desk.probe(1200, Scheme::Light);
    let shown = HOSTILE.replace('\u{202e}', "\u{fffd}");
    assert_eq!(found.users.iter().filter(|user| **user == shown).count(), 8);
    for tag in ["script", "img", "iframe", "link", "object"] {
        assert!(!found.tags.iter().any(|name| name == tag), "{tag}");
    }
    assert_eq!(found.handlers, Vec::<String>::new());
    assert_eq!(found.columns, 32, "one for each hour in which something was or would be denied");
    for words in
        [&*shown, "alice@example.com", "مستخدم", "audit.jsonl:41: is cut off", "No container is privileged."]
    {
        assert!(found.text.contains(words), "{words} in {}", found.text);
    }
}

fn page_is_accessible() {
    let desk = Desk::new();
    let found = desk.probe(1200, Scheme::Light);
    assert_eq!((&*found.language, found.uncaptioned, found.unnamed), ("en", 0, 0));
    assert_eq!(found.dead, Vec::<String>::new());
}

fn content_policy_blocks_script_and_request() {
    let desk = Desk::new();
    let quiet = desk.open("report.html", &["--dump-dom"]);
    assert_eq!(complaints(&quiet), Vec::<String>::new());
    let page = fs::read_to_string(desk.path("report.html")).unwrap();
    let smuggled =
        "<main><script>document.title='owned'</script><img src='https://127.0.0.1:1/x'><p style='color:red'>";
    fs::write(desk.path("report.html"), page.replacen("<main>", smuggled, 1)).unwrap();
    let stopped = desk.open("report.html", &["--dump-dom"]);
    assert!(!String::from_utf8_lossy(&stopped.stdout).contains("<title>owned"));
    let complaints = complaints(&stopped);
    assert_eq!(
        complaints.iter().filter(|line| line.contains("Content Security Policy")).count(),
        3,
        "{complaints:#?}"
    );
}

fn page_prints() {
    let desk = Desk::new();
    let pdf = desk.path("report.pdf");
    desk.open("report.html", &[&format!("--print-to-pdf={}", pdf.display())]);
    assert!(fs::read(pdf).unwrap().starts_with(b"%PDF-"));
}
