//! `sandgate explain`.

use serde_json::Value;

use crate::{Folder, policy, sandgate};

#[test]
fn all_rules_stand_in_a_table() {
    let table = sandgate(&["explain"]).fine();
    assert!(table.lines().count() >= 50);
    assert!(table.contains("\nprivileged                No container is privileged.\n"), "{table}");
    assert!(table.contains("\n\nUsers and groups\nhost-users  "), "{table}");
}

#[test]
fn a_rule_is_explained_with_its_setting_in_force() {
    let text = sandgate(&["explain", "run-as-user"]).fine();
    assert!(
        text.starts_with("run-as-user\nEvery container runs as an allowed user id.\n\nWhy      "),
        "{text}"
    );
    assert!(text.contains("\nFills    yes, what a Pod leaves open\nSubject  Users and groups\n"), "{text}");
    let setting = "# policy workflow-runner, level enforce\nspec:\n  security:\n    runAsUser:\n      default: 1000\n      min: 1000\n";
    assert!(text.contains(setting), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_rule_without_a_setting_says_so() {
    let text = sandgate(&["explain", "pod-schema"]).fine();
    assert!(text.contains("\nFills    no, it only checks\n"), "{text}");
    assert!(text.contains("\nLevel    the policy's mode; spec.rules cannot lower it\n"), "{text}");
    assert!(text.contains("\nPolicy   no key changes what it demands\n"), "{text}");
    assert!(text.ends_with("\n# policy workflow-runner, level enforce\n"), "{text}");
}

#[test]
fn the_settings_of_every_policy_are_shown() {
    let folder = Folder::with(&[("p/a.yaml", &policy("a", "warn")), ("p/b.yaml", &policy("b", "warn"))]);
    let text = folder.run(&["explain", "labels", "--policy", "p"]).fine();
    assert!(text.contains("# policy a, level warn\n") && text.contains("# policy b, level warn\n"), "{text}");
}

#[test]
fn a_mistyped_rule_finds_its_neighbours() {
    sandgate(&["explain", "run-as-usr"])
        .fails("unknown rule \"run-as-usr\"; did you mean run-as-user, run-as-group or run-as-non-root?");
    sandgate(&["explain", "qqq"]).fails("unknown rule \"qqq\"; \"sandgate explain\" lists them");
}

#[test]
fn rules_are_data_too() {
    let all: Value = serde_json::from_str(&sandgate(&["explain", "-o", "json"]).fine()).unwrap();
    assert!(all.as_array().unwrap().iter().all(|rule| rule["id"].is_string() && rule["group"].is_string()));
    let one: Value = serde_json::from_str(&sandgate(&["explain", "labels", "-o", "json"]).fine()).unwrap();
    assert_eq!((&one["setting"], &one["isFloor"]), (&"spec.labels".into(), &false.into()));
    assert!(one["references"].is_array());
    let privileged: Value =
        serde_json::from_str(&sandgate(&["explain", "privileged", "-o", "json"]).fine()).unwrap();
    assert!(privileged["controls"].as_array().unwrap().contains(&"CIS 5.2.2".into()), "{privileged}");
}
