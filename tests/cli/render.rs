//! `sandgate render`.

use serde_json::Value;

use crate::{Folder, HOSTILE_POD, PLAIN_POD, policy, sandgate_with};

#[test]
fn the_admitted_pod_is_printed_and_needs_nothing_more() {
    let yaml = sandgate_with(&["render", "-"], PLAIN_POD).fine();
    assert!(
        yaml.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n  name: plain\n  namespace: workflows\n"),
        "{yaml}"
    );
    assert!(yaml.contains("\n  runtimeClassName: gvisor\n"), "{yaml}");
    assert_eq!(sandgate_with(&["render", "-"], yaml.as_str()).fine(), yaml);
    let text = sandgate_with(&["check", "-"], yaml.as_str()).fine();
    assert!(text.contains("would be admitted, unchanged"), "{text}");
    assert_eq!(sandgate_with(&["render", "-", "-o", "diff"], yaml.as_str()).fine(), "");
    assert_eq!(sandgate_with(&["render", "-", "-o", "patch"], yaml).fine(), "[]\n");
}

#[test]
fn the_patch_makes_the_pod() {
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"workflows"},"spec":{"containers":[{"name":"a","image":"b"}]}}"#;
    let patch = sandgate_with(&["render", "-", "-o", "patch"], pod).fine();
    let patch: json_patch::Patch = serde_json::from_str(&patch).unwrap();
    let mut patched: Value = serde_json::from_str(pod).unwrap();
    json_patch::patch(&mut patched, &patch).unwrap();
    let rendered: Value =
        serde_json::from_str(&sandgate_with(&["render", "-", "-o", "json"], pod).fine()).unwrap();
    assert_eq!(patched, rendered);
}

#[test]
fn the_pod_of_a_template_is_the_one_its_controller_would_create() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: build}\nspec: {template: {metadata: {name: x, labels: {a: b}}, \
               spec: {containers: [{name: a, image: b, args: [\"on\", \"1e3\", \"0x1f\", \"~\", \"a: b\"]}]}}}\n";
    let pod: Value =
        serde_json::from_str(&sandgate_with(&["render", "-", "-o", "json"], job).fine()).unwrap();
    assert_eq!(pod["metadata"]["generateName"], "build-");
    assert_eq!(pod["metadata"]["name"], Value::Null);
    assert_eq!(pod["metadata"]["labels"]["a"], "b");
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "Job");
    let yaml = sandgate_with(&["render", "-"], job).fine();
    let again: Value =
        serde_json::from_str(&sandgate_with(&["render", "-", "-o", "json"], yaml).fine()).unwrap();
    assert_eq!(again, pod, "strings stay strings");
}

#[test]
fn a_denied_pod_is_not_printed_and_the_others_are() {
    let run = sandgate_with(&["render", "-"], format!("{HOSTILE_POD}---\n{PLAIN_POD}"));
    assert_eq!(run.status, 1);
    assert!(run.stdout.starts_with("apiVersion: v1") && run.stdout.contains("name: plain"), "{}", run.stdout);
    assert!(!run.stdout.contains("hostile") && !run.stdout.contains("---"), "{}", run.stdout);
    assert_eq!(
        run.stderr,
        "error: standard input:1: Pod hostile in namespace workflows would be denied: 2 violations\n\
         error: standard input:10: spec.containers[0].securityContext.privileged is true, must be false or unset: remove \
         privileged (privileged)\n\
         error: standard input:5: spec.hostNetwork is true, must be false or unset: remove hostNetwork (host-namespaces)\n"
    );
}

#[test]
fn several_pods_are_documents_or_a_list() {
    let two = format!("{PLAIN_POD}---\n{PLAIN_POD}");
    assert_eq!(sandgate_with(&["render", "-"], two.as_str()).fine().matches("---\n").count(), 1);
    let list: Value =
        serde_json::from_str(&sandgate_with(&["render", "-", "-o", "json"], two.as_str()).fine()).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().unwrap().len()), (Some("List"), 2));
    assert_eq!(sandgate_with(&["render", "-", "-o", "patch"], two).fine().lines().count(), 2);
}

#[test]
fn the_diff_shows_what_is_added() {
    let diff = sandgate_with(&["render", "-", "-o", "diff"], PLAIN_POD).fine();
    assert!(
        diff.starts_with(
            "--- standard input:1: Pod plain in namespace workflows\n+++ Pod plain in namespace workflows as admitted\n@@ "
        ),
        "{diff}"
    );
    assert!(diff.contains("\n+  runtimeClassName: gvisor\n") && diff.contains("\n spec:\n"), "{diff}");
    assert!(!diff.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn what_the_mode_leaves_alone_is_rendered_as_it_is() {
    let policies = [policy("b", "warn"), policy("c", "audit")].join("---\n");
    let folder = Folder::with(&[
        ("p.yaml", &policies),
        ("plain.yaml", PLAIN_POD),
        ("bad.yaml", &HOSTILE_POD.replace(", namespace: workflows", "")),
    ]);
    let render =
        |file, namespace| folder.run(&["render", "--policy", "p.yaml", "-n", namespace, "-o", "patch", file]);
    for namespace in ["b", "c"] {
        assert_eq!(render("plain.yaml", namespace).fine(), "[]\n");
    }
    let run = render("bad.yaml", "b");
    assert_eq!((run.status, run.stdout.as_str()), (1, "[]\n"));
    assert!(
        run.stderr.starts_with(
            "note: bad.yaml:1: Pod hostile in namespace b would be admitted with warnings: 2 violations\n"
        ),
        "{}",
        run.stderr
    );
}

#[test]
fn a_namespace_without_a_policy_leaves_the_pod_alone() {
    let run = sandgate_with(&["render", "-", "-n", "web", "-o", "patch"], PLAIN_POD);
    assert_eq!((run.status, run.stdout.as_str()), (0, "[]\n"));
    assert_eq!(
        run.stderr,
        "note: standard input:1: Pod plain in namespace web is left as it is: no policy covers the namespace\n"
    );
}
