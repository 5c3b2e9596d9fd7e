//! `sandgate fix`.

use std::fs;

use serde_json::Value;

use crate::{Folder, HOSTILE_POD, sandgate_with};

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
fn check_fixes_first_where_it_is_asked_to() {
    let folder = Folder::with(&[("pod.yaml", HOSTILE_POD)]);
    let run = folder.run(&["check", "--fix", "pod.yaml"]);
    assert_eq!((run.status, run.stderr.as_str()), (0, "note: pod.yaml is changed\n"), "{}", run.stdout);
    assert!(run.stdout.ends_with("\n1 Pod: 1 admitted\n"), "{}", run.stdout);
}
