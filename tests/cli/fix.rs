//! `sandgate fix`.

use std::fs;

use serde_json::Value;

use crate::{Folder, HOSTILE_POD, audit::verdict, sandgate_with};

const JOB: &str = "\
# A job of the build farm.
apiVersion: batch/v1
kind: Job
metadata: {name: build, namespace: workflows}
spec:
  template:
    spec:
      hostNetwork: true   # for the old registry
      containers:
      # the only one
      - name: main
        image: registry.example.com/builder:1
        securityContext:
          runAsUser: 0
          privileged: true
        command: [make]
---
apiVersion: v1
kind: Service
metadata: {name: other}
";

#[test]
fn what_the_policy_denies_and_fills_goes_and_comments_stay() {
    let folder = Folder::with(&[("job.yaml", JOB)]);
    let diff = folder.run(&["fix", "job.yaml"]).fine();
    assert!(diff.starts_with("--- job.yaml\n+++ job.yaml\n@@ "), "{diff}");
    let removed: Vec<&str> =
        diff.lines().skip(2).filter(|line| line.starts_with('-')).map(|line| line[1..].trim()).collect();
    assert_eq!(
        removed,
        [
            "hostNetwork: true   # for the old registry",
            "securityContext:",
            "runAsUser: 0",
            "privileged: true"
        ]
    );
    assert!(!diff.lines().skip(2).any(|line| line.starts_with('+')), "{diff}");
    assert_eq!(fs::read_to_string(folder.path("job.yaml")).unwrap(), JOB, "nothing is written unasked");

    let run = folder.run(&["fix", "--write", "job.yaml"]);
    assert_eq!((run.status, run.stderr.as_str()), (0, "note: job.yaml is changed\n"));
    let text = fs::read_to_string(folder.path("job.yaml")).unwrap();
    assert!(text.contains("# A job of the build farm.") && text.contains("      # the only one\n"), "{text}");
    assert!(folder.run(&["check", "job.yaml"]).fine().contains("1 admitted"));
    assert_eq!(folder.run(&["fix", "job.yaml"]).fine(), "", "there is nothing more to change");
}

#[test]
fn the_change_is_a_patch_too() {
    let patch = sandgate_with(&["fix", "-o", "patch", "-"], HOSTILE_POD).fine();
    let patch: json_patch::Patch = serde_json::from_str(&patch).unwrap();
    let mut pod: Value = serde_saphyr::from_str(HOSTILE_POD).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert!(sandgate_with(&["check", "-"], pod.to_string()).fine().contains("1 admitted"));
    assert_eq!(pod["spec"]["containers"][0]["name"], "main");
}

#[test]
fn what_a_person_decides_is_left_and_named() {
    let pod = HOSTILE_POD.to_string()
        + "    volumeMounts: [{name: host, mountPath: /host}]\n  volumes: [{name: host, hostPath: {path: /}}]\n";
    let folder = Folder::with(&[("pod.yaml", &pod)]);
    let run = folder.run(&["fix", "--write", "pod.yaml"]);
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("spec.volumes[0]") && run.stderr.contains("(volume-types)"),
        "{}",
        run.stderr
    );
    let text = fs::read_to_string(folder.path("pod.yaml")).unwrap();
    assert!(!text.contains("hostNetwork") && text.contains("hostPath: {path: /}"), "{text}");
}

#[test]
fn a_mapping_on_one_line_is_not_written_anew() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: workflows}\n\
               spec: {hostPID: true, containers: [{name: a, image: b}]}\n";
    let folder = Folder::with(&[("pod.yaml", pod)]);
    folder.run(&["fix", "--write", "pod.yaml"]).fails(
        "pod.yaml:1: Pod a in namespace workflows cannot be changed without writing the file anew: apply the JSON patch of \
         \"sandgate fix --output patch\"",
    );
    assert_eq!(fs::read_to_string(folder.path("pod.yaml")).unwrap(), pod);
    assert_eq!(
        folder.run(&["fix", "-o", "patch", "pod.yaml"]).fine(),
        "[{\"op\":\"remove\",\"path\":\"/spec/hostPID\"}]\n"
    );
}

#[test]
fn check_removes_and_fills_first_where_it_is_asked_to() {
    let folder = Folder::with(&[("job.yaml", JOB)]);
    let run = folder.run(&["check", "--fix", "job.yaml"]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let notes: Vec<&str> = run.stderr.lines().collect();
    let [removed, filled] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!(*removed, "note: job.yaml is changed");
    assert!(filled.starts_with("note: job.yaml: ") && filled.ends_with(" fields filled"), "{filled}");
    assert!(run.stdout.contains("\n1 Pod: 1 admitted,"), "{}", run.stdout);

    let text = fs::read_to_string(folder.path("job.yaml")).unwrap();
    for kept in
        ["# A job of the build farm.\n", "      # the only one\n", "kind: Service\nmetadata: {name: other}\n"]
    {
        assert!(text.contains(kept), "{text}");
    }
    assert!(text.contains("      runtimeClassName: gvisor\n"), "{text}");
    // Everything is in the file, so that the webhook has nothing to add but its own annotations.
    let patch = folder.run(&["render", "-o", "patch", "job.yaml"]).fine();
    let patch: Value = serde_json::from_str(&patch).unwrap();
    let paths: Vec<&str> =
        patch.as_array().unwrap().iter().map(|operation| operation["path"].as_str().unwrap()).collect();
    assert!(paths.iter().all(|path| path.starts_with("/metadata/annotations")), "{paths:?}\n{text}");
    let again = folder.run(&["check", "--fix", "job.yaml"]);
    assert_eq!(again.stderr, "", "there is nothing more to fill");
}

#[test]
fn an_object_that_cannot_be_filled_by_new_lines_is_left_to_the_webhook() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: workflows}\n\
               spec: {containers: [{name: a, image: b, securityContext: {}}]}\n";
    let folder = Folder::with(&[("pod.yaml", pod)]);
    let run = folder.run(&["check", "--fix", "pod.yaml"]);
    assert_eq!(
        (run.status, run.stderr.as_str()),
        (
            0,
            "note: pod.yaml:1: Pod a in namespace workflows is left to the webhook to fill: more than new lines would \
             have to be written\n"
        )
    );
    assert_eq!(fs::read_to_string(folder.path("pod.yaml")).unwrap(), pod);
}

#[test]
fn the_change_comes_from_the_record_of_a_denial_too() {
    let mut record = verdict("alice", "denied");
    let of = |rule: &str, path: &str, found: &str| serde_json::json!({"rule": rule, "level": "enforce", "path": path, "found": found, "wanted": "y", "remedy": "change it"});
    record["violations"] = serde_json::json!([
        of("privileged", "spec.containers[0].securityContext.privileged", "true"),
        of("volume-types", "spec.volumes[0].hostPath", "hostPath"),
    ]);
    let shown = sandgate_with(&["audit", "show", "uid-alice", "-o", "json", "-"], record.to_string());
    let run = sandgate_with(&["fix", "--record", "-"], shown.fine());
    assert_eq!(
        (run.status, run.stdout.as_str()),
        (1, "[{\"op\":\"remove\",\"path\":\"/spec/containers/0/securityContext/privileged\"}]\n")
    );
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "error: Pod workflows/step-*: spec.volumes[0].hostPath is hostPath, must be y: change it (volume-types)",
            "note: Pod workflows/step-*: the paths are those of the Pod; in its Job train they are below its template",
            "note: a record has no Pod, so the change is not evaluated: run \"sandgate check\" on the changed manifest",
        ]
    );
    sandgate_with(&["fix", "--record", "-"], verdict("bob", "admitted").to_string())
        .fails("there is no record of a denial; choose one by \"sandgate audit list --verdict denied\"");
}

#[test]
fn what_is_not_looked_at_is_named() {
    let kind = "apiVersion: example.com/v1\nkind: WebServer\nmetadata: {name: w, namespace: workflows}\n\
                spec: {template: {spec: {containers: [{name: a, image: b}]}}}\n";
    let folder = Folder::with(&[("w.yaml", kind)]);
    let run = folder.run(&["fix", "w.yaml"]);
    assert!(
        run.stderr.starts_with("note: w.yaml:1: WebServer w of example.com/v1 may make Pods"),
        "{}",
        run.stderr
    );
}
