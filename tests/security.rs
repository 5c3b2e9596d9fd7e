//! SECURITY.md names a test for each claim, and docs/known-failures.md for each row; here they are held to that.

use std::{fs, path::Path};

const DOCUMENT: &str = include_str!("../SECURITY.md");
const ATTACKS: &str = include_str!("../docs/attacks.md");
const FAILURES: &str = include_str!("../docs/known-failures.md");

#[test]
fn named_files_and_tests_exist() {
    let references: Vec<&str> = references(DOCUMENT).collect();
    assert!(references.len() > 50, "{} references", references.len());
    let missing: Vec<&str> = references.into_iter().filter(|reference| !exists(reference)).collect();
    assert!(missing.is_empty(), "SECURITY.md names what is not there: {missing:#?}");
}

#[test]
fn tests_of_known_attacks_exist() {
    let missing: Vec<&str> = references(ATTACKS).filter(|reference| !exists(reference)).collect();
    assert!(missing.is_empty(), "docs/attacks.md names what is not there: {missing:#?}");
    let bare = |line: &&str| line.contains("(A") && line.starts_with('|') && !line.contains("::");
    let bare: Vec<&str> = ATTACKS.lines().filter(bare).collect();
    assert!(bare.is_empty(), "without a test: {bare:#?}");
}

#[test]
fn known_failures_name_a_test_or_say_why_not() {
    let missing: Vec<&str> = references(FAILURES).filter(|reference| !exists(reference)).collect();
    assert!(missing.is_empty(), "docs/known-failures.md names what is not there: {missing:#?}");
    let is_head = |line: &str| line.starts_with("|---") || line.ends_with("shown by |");
    let rows: Vec<&str> = FAILURES.lines().filter(|line| line.starts_with('|') && !is_head(line)).collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    let is_shown = |row: &&str| {
        references(row).any(|name| name.contains("::")) || row.contains("no test: ") || row.contains("`make ")
    };
    let bare: Vec<&&str> = rows.iter().filter(|row| !is_shown(row)).collect();
    assert!(bare.is_empty(), "neither a test nor the reason why there is none: {bare:#?}");
}

#[test]
fn table_rows_name_a_test() {
    let is_head = |line: &str| line.starts_with("|---") || line.ends_with("shown by |");
    let rows = DOCUMENT.lines().filter(|line| line.starts_with('|') && !is_head(line));
    let bare: Vec<&str> = rows.filter(|row| !references(row).any(|name| name.contains("::"))).collect();
    assert!(bare.is_empty(), "without a test: {bare:#?}");
}

#[test]
fn missing_reference_is_noticed() {
    for (reference, there) in [
        ("tests/security.rs", true),
        ("tests/security.rs::table_rows_name_a_test", true),
        ("tests/security.rs::table_rows", false),
        ("tests/securities.rs", false),
        ("src", true),
    ] {
        assert_eq!(exists(reference), there, "{reference}");
    }
}

/// What stands between backquotes and begins like a path of the sources.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| ["tests/", "src/", "engine/"].iter().any(|folder| word.starts_with(folder)))
}

fn exists(reference: &str) -> bool {
    let (file, test) = reference.split_once("::").unwrap_or((reference, ""));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if test.is_empty() {
        return path.exists();
    }
    fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {test}(")))
}
