//! Every check is broken by a test.

use std::{collections::BTreeSet, fs, path::Path};

/// Checks that a real API server cannot break, with the test of each.
const NOT_BROKEN: [(&str, &str); 1] = [
    // No API server older than 1.30 is built, and none emulates an older version than its own by more than three.
    ("kubernetes-version", "a_version_that_is_too_old_fails"),
];

/// Checks that never fail: they are ok or unknown.
const NEVER_FAILS: [&str; 2] = ["network-plugin", "probe-removed"];

/// The text of all files of a folder, without white space.
fn sources(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files
        .filter(|path| path.file_name().unwrap() != "complete.rs")
        .map(|path| fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<_>>()).collect()
}

/// The ids of the checks, in the places where they are declared.
fn checks() -> BTreeSet<String> {
    let sources = sources("src/cli/doctor");
    let declared = sources.split("Check::new(Section::").skip(1);
    let ids = declared.filter_map(|rest| rest.split_once(')')?.0.split('"').nth(1).map(str::to_owned));
    // The name of a check in a unit test.
    ids.filter(|id| id != "x").collect()
}

#[test]
fn every_check_is_broken() {
    let (checks, tests) = (checks(), sources("tests/doctor"));
    assert!(checks.len() > 45, "{checks:?}");
    for id in &checks {
        let is_exempt = NOT_BROKEN.iter().any(|(exempt, _)| exempt == id);
        let is_broken =
            [format!(r#"breaks("{id}""#), format!(r#"fails("{id}""#)].iter().any(|call| tests.contains(call));
        let is_unknown = NEVER_FAILS.contains(&&**id) && tests.contains(&format!(r#""{id}""#));
        assert!(is_broken || is_unknown || is_exempt, "no test in tests/doctor breaks the check {id}");
        assert!(!(is_broken && is_exempt), "{id} is broken after all");
    }
    let units = sources("src/cli/doctor");
    for (id, test) in NOT_BROKEN {
        assert!(checks.contains(id) && units.contains(test), "{id}: {test}");
    }
}

#[test]
fn every_check_is_documented() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md")).unwrap();
    for id in checks() {
        assert!(page.contains(&format!("`{id}`")), "docs/doctor.md does not name {id}");
    }
}
