//! The first page: its length, its figures, and what it shows of kubectl.

use std::fs;

use serde_json::{Value, json};

use crate::pages::{Page, root, terminal};
use testbed::shown;

fn readme() -> Page {
    Page::read("README.md")
}

#[test]
fn it_is_at_most_150_lines() {
    let lines = readme().text.lines().count();
    assert!(lines <= 150, "{lines}");
}

#[test]
fn it_has_a_command_that_runs_and_one_that_tests() {
    let blocks = readme().blocks();
    for command in ["make run\n", "make test\n"] {
        assert!(blocks.iter().any(|(info, block)| info == "sh" && block == command), "{command}");
    }
}

#[test]
fn a_denial_is_shown_as_kubectl_prints_it() {
    let answer = review("hostile-privileged");
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    let shown = format!(
        "Error from server (Forbidden): error when creating \"examples/pods/hostile-privileged.yaml\": admission \
         webhook \"mutate.sandgate.dev\" denied the request: {message}\n"
    );
    assert!(readme().text.contains(&shown), "{shown}");
}

/// What a real kubectl prints there is held against getting-started by `tests/node/kubectl.rs`.
#[test]
fn a_fill_is_shown_as_on_the_page_that_is_held_against_a_cluster() {
    let of = |page| shown(page, "kubectl run hello").unwrap();
    assert_eq!(of("README.md"), of("docs/getting-started.md"));
}

#[test]
fn its_figures_of_the_attack_surface_are_those_of_the_table() {
    let page = Page::read("docs/attack-surface.md");
    let (_, rest) = page.text.split_once("<!-- attack-matrix -->").unwrap();
    let (table, _) = rest.split_once("<!-- /attack-matrix -->").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let open = |column: usize| rows.iter().filter(|row| row[column] == "**open**").count();
    let sentence = format!(
        "of {} vectors that differ, {} are open to a plain Pod, {} to one that satisfies Pod Security `restricted`, none",
        rows.len(),
        open(3),
        open(4)
    );
    assert_eq!(open(5), 0);
    let words = readme().text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&sentence), "{sentence}");
}

/// Answers the create of an example Pod, as /mutate does.
fn review(name: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let pod = fs::read_to_string(root().join(format!("examples/pods/{name}.yaml"))).unwrap();
    let pod: Value = serde_saphyr::from_str(&pod).unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "namespace": "workflows", "object": pod,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "userInfo": {"username": "alice"},
        },
    });
    fs::write(folder.path().join("review.json"), review.to_string()).unwrap();
    serde_json::from_str(&terminal("sandgate review --endpoint mutate < review.json", folder.path())).unwrap()
}
