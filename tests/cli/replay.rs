//! `sandgate policy replay` over lines of the API server's audit log.

use serde_json::{Value, json};

use crate::{Folder, policy};

/// An event of a Pod that was created, or denied.
fn event(name: &str, user: &str, code: u16, spec: &Value) -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": name,
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/ci/pods", "verb": "create",
        "user": {"username": user, "groups": ["dev"]}, "requestReceivedTimestamp": "2026-11-24T12:00:00.000000Z",
        "objectRef": {"resource": "pods", "namespace": "ci", "apiVersion": "v1"},
        "responseStatus": {"code": code},
        "requestObject": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ci"}, "spec": spec},
    })
}

fn plain() -> Value {
    json!({"containers": [{"name": "c", "image": "x"}]})
}

fn hostile() -> Value {
    json!({"hostNetwork": true, "containers": [{"name": "c", "image": "x"}]})
}

fn folder(policy: &str, lines: &[String]) -> Folder {
    Folder::with(&[("policy.yaml", policy), ("audit.log", &(lines.join("\n") + "\n"))])
}

const REPLAY: [&str; 5] = ["policy", "replay", "--policy", "policy.yaml", "audit.log"];

#[test]
fn what_would_be_denied_stands_apart_from_what_was_not_created() {
    let events = [
        event("fine", "alice", 201, &plain()),
        event("now-denied", "alice", 201, &hostile()),
        event("still-denied", "alice", 403, &hostile()),
        event("no-longer", "alice", 403, &plain()),
    ];
    let folder = folder(&policy("ci", "audit"), &events.map(|event| event.to_string()));
    let text = folder.run(&REPLAY).violations();
    for line in [
        "4 Pods evaluated\n",
        "       1 were created and would be denied\n",
        "       1 were not created and would be denied\n",
        "       1 were not created and would not be denied by this policy\n",
        "       1 were created and would be admitted\n",
        "       2 host-namespaces\n",
        "ci/Pod/now-denied\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let json = folder.run(&[&REPLAY[..], &["-o", "json"]].concat()).violations();
    let json: Value = serde_json::from_str(&json).unwrap();
    let counts = json!({"newlyDenied": 1, "stillDenied": 1, "noLongerDenied": 1, "admitted": 1});
    assert_eq!(json["counts"], counts);
    assert_eq!(json["owners"][0]["name"], "now-denied");
    assert!(
        json["owners"][0]["example"].as_str().unwrap().starts_with("spec.hostNetwork is true"),
        "{json:#}"
    );
}

#[test]
fn a_policy_that_denies_nothing_new_is_fine() {
    let events = [event("fine", "alice", 201, &plain()), event("denied", "alice", 403, &hostile())];
    let folder = folder(&policy("ci", "enforce"), &events.map(|event| event.to_string()));
    let text = folder.run(&REPLAY).fine();
    assert!(text.contains("       0 were created and would be denied\n"), "{text}");
}

#[test]
fn users_of_exemptions_and_profiles_are_those_of_the_log() {
    let policy = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: ci}\nspec:\n  namespaces: [ci]\n  \
                  exempt: {users: [root]}\n  profiles:\n  - {name: ops, match: {users: [ops]}, spec: {serviceAccount: \
                  {allowed: [workflow-runner, ops]}}}\n";
    let mut account = plain();
    account["serviceAccountName"] = json!("ops");
    let acted_as = {
        let mut event = event("acted-as", "admin", 201, &account);
        event["impersonatedUser"] = json!({"username": "ops"});
        event
    };
    let events = [
        event("exempt", "root", 201, &hostile()),
        event("of-ops", "ops", 201, &account),
        acted_as,
        event("of-alice", "alice", 201, &account),
    ];
    let folder = folder(policy, &events.map(|event| event.to_string()));
    let json = folder.run(&[&REPLAY[..], &["-o", "json"]].concat()).violations();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["exempt"], &json["counts"]["admitted"]), (&json!(1), &json!(3)), "{json:#}");
    assert_eq!(json["owners"][0]["name"], "of-alice");
}

#[test]
fn dry_runs_other_verbs_and_other_stages_are_no_pods() {
    let mut dry_run = event("dry", "alice", 201, &hostile());
    dry_run["requestURI"] = json!("/api/v1/namespaces/ci/pods?dryRun=All");
    let mut received = event("received", "alice", 201, &hostile());
    received["stage"] = json!("RequestReceived");
    let mut update = event("update", "alice", 200, &hostile());
    update["verb"] = json!("update");
    let mut binding = event("binding", "alice", 201, &hostile());
    binding["objectRef"]["subresource"] = json!("binding");
    let mut elsewhere = event("elsewhere", "alice", 201, &hostile());
    elsewhere["objectRef"]["namespace"] = json!("other");
    let events = [dry_run, received, update, binding, elsewhere];
    let folder = folder(&policy("ci", "enforce"), &events.map(|event| event.to_string()));
    let run = folder.run(&REPLAY);
    let text = run.stdout;
    assert!(text.contains("\n0 Pods evaluated\n"), "{text}");
    assert!(text.contains("not evaluated: 1 Pod in namespaces that no policy names (other)\n"), "{text}");
    assert!(text.contains("left out: 1 dry run\n"), "{text}");
    let note = "note: no Pod is in a namespace that a policy names: give the policy by --policy\n";
    assert_eq!((run.status, run.stderr.as_str()), (2, note), "nothing was evaluated, which is no success");
}

#[test]
fn a_log_without_pods_is_no_success() {
    let run = folder(&policy("ci", "enforce"), &[]).run(&REPLAY);
    assert_eq!(run.status, 2, "{}", run.stdout);
    assert!(run.stderr.starts_with("note: no create of a Pod was evaluated: "), "{}", run.stderr);
}

#[test]
fn lines_that_cannot_be_read_are_counted_and_named() {
    let mut bare = event("bare", "alice", 201, &plain());
    bare.as_object_mut().unwrap().remove("requestObject");
    let lines =
        ["{}".into(), event("fine", "alice", 201, &plain()).to_string(), "hello".into(), bare.to_string()];
    let folder = folder(&policy("ci", "enforce"), &lines);
    let run = folder.run(&[&REPLAY[..], &["-o", "json"]].concat());
    assert_eq!(run.status, 2, "{}", run.stderr);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!([&json["unreadLines"], &json["withoutObject"], &json["counts"]["admitted"]], [2, 1, 1]);
    assert!(run.stderr.contains("error: audit.log:1: is no event of audit.k8s.io/v1: "), "{}", run.stderr);
    assert!(run.stderr.contains("error: audit.log:3: is no event of audit.k8s.io/v1: "), "{}", run.stderr);
    assert!(run.stderr.contains("set level Request for pods"), "{}", run.stderr);
}

#[test]
fn a_last_line_without_its_end_counts_if_it_is_whole() {
    let last = event("denied", "alice", 201, &hostile()).to_string();
    let log = |last: &str| Folder::with(&[("policy.yaml", &policy("ci", "audit")), ("audit.log", last)]);
    let text = log(&last).run(&REPLAY).violations();
    assert!(text.contains("\n1 Pod evaluated\n"), "{text}");
    let run = log(&last[..last.len() - 1]).run(&REPLAY);
    assert_eq!(run.status, 2, "{}", run.stdout);
    assert!(run.stderr.starts_with("error: audit.log:1: is cut off\n"), "{}", run.stderr);
}

#[test]
fn names_beyond_the_maximum_are_counted_together() {
    let lines: Vec<String> = (0..10_020)
        .map(|number| event(&format!("p{number}"), "alice", 201, &hostile()).to_string())
        .collect();
    let folder = folder(&policy("ci", "enforce"), &lines);
    let json = folder.run(&[&REPLAY[..], &["-o", "json"]].concat()).violations();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["counts"]["newlyDenied"], &json["ofOtherOwners"]["newlyDenied"]),
        (&json!(10_020), &json!(20))
    );
    assert_eq!(json["owners"].as_array().unwrap().len(), 20);
}
