//! `sandgate policy suggest` from manifests.

use crate::{Folder, HOSTILE_POD, PLAIN_POD, sandgate};

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.example.com/web:1
        volumeMounts:
        - {name: conf, mountPath: /etc/web}
        - {name: cache, mountPath: /var/cache/web}
      volumes:
      - {name: conf, configMap: {name: web-conf}}
      - {name: cache, emptyDir: {}}
";

#[test]
fn a_policy_is_suggested_that_validates_and_admits() {
    let folder = Folder::with(&[("web.yaml", WEB)]);
    let policy = folder.run(&["policy", "suggest", "web.yaml", "--mode", "enforce"]).fine();
    std::fs::write(folder.path("policy.yaml"), &policy).unwrap();
    let validated = folder.run(&["policy", "validate", "policy.yaml"]).fine();
    assert!(validated.starts_with("ok shop: namespaces shop; mode enforce;"), "{validated}");
    let checked = folder.run(&["check", "--policy", "policy.yaml", "web.yaml"]);
    assert_eq!(checked.status, 0, "{}{}{policy}", checked.stdout, checked.stderr);
    for line in [
        "# Admitted by this policy: 1. Not admitted: 0.\n",
        "# Asked for by Deployment web.\n        - web-conf\n",
        "# Asked for by Deployment web.\n      - /var/cache/web\n",
        "required: {sandgate.dev/sandbox: \"true\"}\n",
    ] {
        assert!(policy.contains(line), "{line}: {policy}");
    }
    assert!(!policy.contains("/etc/web"), "a ConfigMap is never writable: {policy}");
}

#[test]
fn what_is_never_opened_is_listed_with_what_to_change() {
    let folder = Folder::with(&[("pods.yaml", &format!("{HOSTILE_POD}---\n{PLAIN_POD}"))]);
    let policy = folder.run(&["policy", "suggest", "pods.yaml"]).violations();
    assert!(policy.contains("# Admitted by this policy: 1. Not admitted: 1.\n"), "{policy}");
    assert!(!policy.contains("  add:"), "{policy}");
    let (_, left_out) = policy.split_once("# - Pod hostile\n").expect("it is listed");
    let reasons: Vec<&str> = left_out.lines().filter(|line| line.starts_with("#     spec.")).collect();
    assert_eq!(reasons.len(), 2, "{left_out}");
    assert!(reasons.iter().any(|line| line.contains("spec.hostNetwork is true, must be false or unset")));
    assert!(policy.lines().all(|line| line.chars().count() <= 80), "80 columns hold it: {policy}");
}

#[test]
fn the_default_mode_denies_nothing() {
    let folder = Folder::with(&[("plain.yaml", PLAIN_POD)]);
    let policy = folder.run(&["policy", "suggest", "plain.yaml"]).fine();
    assert!(policy.contains("\n  mode: audit\n"), "{policy}");
    let wrong = folder.run(&["policy", "suggest", "plain.yaml", "--mode", "dry"]);
    assert_eq!(wrong.status, 2);
    assert!(wrong.stderr.contains("write audit, warn or enforce"), "{}", wrong.stderr);
}

#[test]
fn each_namespace_gets_a_policy() {
    let folder = Folder::with(&[("web.yaml", WEB), ("plain.yaml", PLAIN_POD)]);
    let policy = folder.run(&["policy", "suggest", ".", "--namespace", "ci"]);
    assert!(policy.stderr.contains("leave --namespace out"), "{}", policy.stderr);
    let policy = folder.run(&["policy", "suggest", "."]).fine();
    std::fs::write(folder.path("policy"), &policy).unwrap();
    assert_eq!(policy.matches("kind: SandboxPolicy").count(), 2, "{policy}");
    assert!(policy.contains("namespaces: [shop]") && policy.contains("namespaces: [workflows]"), "{policy}");
}

#[test]
fn a_preset_can_be_chosen() {
    let folder = Folder::with(&[("plain.yaml", PLAIN_POD)]);
    for name in ["tekton", "preset/tekton"] {
        let policy = folder.run(&["policy", "suggest", "--preset", name, "plain.yaml"]).fine();
        assert!(policy.contains("  extends: preset/tekton\n"), "{policy}");
    }
    let unknown = folder.run(&["policy", "suggest", "--preset", "tektn", "plain.yaml"]);
    assert_eq!(unknown.status, 2);
    assert!(unknown.stderr.contains("tektn"), "{}", unknown.stderr);
}

#[test]
fn what_is_not_looked_at_is_no_success() {
    let custom = "apiVersion: example.com/v1\nkind: Runner\nmetadata: {name: r}\nspec: {template: {spec: {containers: \
                  [{name: c, image: x}]}}}\n";
    let folder = Folder::with(&[("custom.yaml", custom), ("plain.yaml", PLAIN_POD)]);
    let run = folder.run(&["policy", "suggest", "."]);
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("may make Pods, which are not checked"), "{}", run.stderr);
    let none = folder.run(&["policy", "suggest", "custom.yaml"]);
    assert_eq!(none.status, 2, "{}", none.stdout);
}

#[test]
fn pods_of_an_audit_log_are_read() {
    let event = serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": "a", "stage": "ResponseComplete",
        "verb": "create", "user": {"username": "alice"}, "requestReceivedTimestamp": "2026-11-24T12:00:00.000000Z",
        "objectRef": {"resource": "pods", "namespace": "ci", "apiVersion": "v1"}, "responseStatus": {"code": 403},
        "requestObject": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ci"},
            "spec": {"serviceAccountName": "deployer", "containers": [{"name": "c", "image": "x"}]}},
    });
    let folder = Folder::with(&[("audit.log", &format!("{event}\n"))]);
    let policy = folder.run(&["policy", "suggest", "--apiserver", "audit.log"]).fine();
    assert!(policy.contains("# Asked for by Pod p.\n      - deployer\n"), "{policy}");
}

#[test]
fn without_pods_there_is_no_policy() {
    let run = sandgate(&["policy", "suggest", "--kubeconfig", "/nowhere"]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
}

#[test]
fn violations_of_a_trail_name_what_to_open() {
    let mut record = crate::audit::verdict("alice", "would-deny");
    record["namespace"] = serde_json::json!("ci");
    record["violations"] = serde_json::json!([
        {"rule": "service-account", "level": "enforce", "path": "spec.serviceAccountName", "found": "\"deployer\"",
         "wanted": "workflow-runner", "remedy": "name an allowed account (policy key serviceAccount.allowed)"},
        {"rule": "run-as-user", "level": "enforce", "path": "spec.securityContext.runAsUser", "found": "2000",
         "wanted": "1000", "remedy": "leave it out (policy key security.runAsUser)"},
    ]);
    let mut hostile = crate::audit::verdict("bob", "would-deny");
    hostile["namespace"] = serde_json::json!("ci");
    hostile["owner"] = serde_json::json!({"kind": "Job", "name": "hostile"});
    let folder = Folder::with(&[("audit.jsonl", &format!("{record}\n{hostile}\n"))]);
    let policy = folder.run(&["policy", "suggest", "--trail", "audit.jsonl"]).violations();
    assert!(policy.contains("# A trail has no Pods, so this policy is not evaluated"), "{policy}");
    assert!(policy.contains("# Asked for by Job train.\n      - deployer\n"), "{policy}");
    assert!(policy.contains("    runAsUser:\n      max: 2000\n"), "{policy}");
    assert!(
        policy.contains("# - Job hostile\n#     spec.containers[0].securityContext.privileged is true,"),
        "{policy}"
    );
    std::fs::write(folder.path("policy.yaml"), &policy).unwrap();
    folder.run(&["policy", "validate", "policy.yaml"]).fine();
}

#[test]
fn violations_that_a_record_leaves_out_are_no_success() {
    let mut record = crate::audit::verdict("alice", "would-deny");
    record["violations"] = serde_json::json!([
        {"rule": "service-account", "level": "enforce", "path": "spec.serviceAccountName", "found": "\"deployer\"",
         "wanted": "workflow-runner", "remedy": "name an allowed account"},
        {"rule": "", "level": "enforce", "path": "", "found": "… and 12 more", "wanted": "", "remedy": ""},
    ]);
    let folder = Folder::with(&[("audit.jsonl", &format!("{record}\n"))]);
    let run = folder.run(&["policy", "suggest", "--trail", "audit.jsonl"]);
    assert_eq!(run.status, 2, "{}", run.stdout);
    assert!(run.stderr.starts_with("note: 1 record not looked at as a whole: "), "{}", run.stderr);
}
