//! The policy that is suggested for Pods as engines, agents and bug reports have them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::PathBuf};

use sandgate_engine::{
    json::{pod_from_str, value_from_str},
    policy::{Mode, Policy, PolicySet, Source},
    review::{Defaults, evaluate},
    suggest::{Start, Subject, Suggestion, Wanted, suggest},
    workload::pod_templates,
    yaml,
};
use serde_json::{Value, json};

fn wanted() -> Wanted {
    Wanted {
        name: "suggested".into(),
        namespaces: vec!["workflows".into()],
        mode: Mode::Audit,
        start: Start::Anywhere,
        gvisor_classes: Vec::new(),
    }
}

fn fixture(file: &str) -> Subject {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{file}.yaml"));
    let text = fs::read_to_string(path).unwrap();
    let document = yaml::read(&text).remove(0).unwrap();
    let json = serde_json::to_string(&document).unwrap();
    let pods = pod_templates(&value_from_str(&json).unwrap(), "workflows").unwrap().pods;
    Subject { name: file.into(), json: pods[0].pod.clone(), count: 1 }
}

fn pod(name: &str, spec: &Value) -> Subject {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "workflows"}, "spec": spec});
    Subject { name: format!("Pod {name}"), json: pod.to_string(), count: 1 }
}

/// Loads a document as a policy in mode enforce.
fn enforced(document: &str) -> Policy {
    let text = document.replace("mode: audit", "mode: enforce");
    let source = Source { name: "suggested.yaml".into(), text };
    let policies = PolicySet::from_sources(&[source]).unwrap_or_else(|errors| panic!("{errors}\n{document}"));
    policies.policies()[0].clone()
}

fn is_admitted(policy: &Policy, subject: &Subject) -> bool {
    let mut pod = pod_from_str(&subject.json).unwrap();
    evaluate(policy, &mut pod, None, Defaults::Fill).violations.is_empty()
}

/// Suggests a policy, and evaluates every Pod again under the document that is printed.
fn suggested(subjects: &[Subject]) -> Suggestion {
    let suggestion = suggest(subjects, &wanted()).unwrap();
    let policy = enforced(&suggestion.document);
    for (number, subject) in subjects.iter().enumerate() {
        let is_left_out = suggestion.unadmitted.iter().any(|pod| pod.subject == number);
        assert_eq!(is_admitted(&policy, subject), !is_left_out, "{}: {}", subject.name, suggestion.document);
    }
    suggestion
}

/// Returns the keys of a document that open something.
fn openings(document: &str) -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), found));
            }
            Value::Array(items) => (0..items.len()).for_each(|index| found.push(format!("{path}/{index}"))),
            _ => found.push(path.into()),
        }
    }
    let document: Value = serde_saphyr::from_str(document).unwrap();
    let mut spec = document["spec"].clone();
    for key in ["extends", "namespaces", "mode"] {
        spec.as_object_mut().unwrap().remove(key);
    }
    let mut found = Vec::new();
    if spec.as_object().is_some_and(|spec| !spec.is_empty()) {
        walk(&spec, "", &mut found);
    }
    found
}

#[test]
fn each_engine_gets_the_preset_that_is_meant_for_it() {
    for (file, preset, own) in [
        ("engines/airflow-executor", "airflow", 0),
        ("engines/arc-k8s-runner", "github-arc-kubernetes", 0),
        ("engines/argo-configmap-ro", "argo-workflows", 1),
        ("engines/argo-irsa", "argo-workflows", 1),
        ("engines/gitlab-build", "gitlab-runner", 0),
        ("engines/jenkins-maven", "jenkins", 0),
        ("engines/job-gpu", "gpu-jobs", 0),
        ("engines/tekton-taskrun", "tekton", 0),
        ("engines/vllm", "gpu-serving", 0),
        ("agents/01-agent-sandbox", "agent-sandbox", 0),
        ("agents/08-coder", "coder", 0),
    ] {
        let suggestion = suggested(&[fixture(file)]);
        assert_eq!(suggestion.preset, Some(preset), "{file}: {}", suggestion.document);
        assert_eq!(openings(&suggestion.document).len(), own, "{file}: {}", suggestion.document);
        assert_eq!(suggestion.unadmitted, [], "{file}");
    }
}

#[test]
fn a_pod_that_the_full_sandbox_admits_opens_nothing() {
    for file in ["engines/job-pi", "capabilities/07-two-kinds", "reports/17-containerd-3511-image-volume"] {
        let suggestion = suggested(&[fixture(file)]);
        assert_eq!((suggestion.preset, openings(&suggestion.document)), (None, Vec::new()), "{file}");
    }
}

#[test]
fn no_opening_of_a_mixed_namespace_is_needless() {
    let files = [
        "engines/argo-configmap-ro",
        "engines/gitlab-build",
        "capabilities/01-writable",
        "capabilities/08-spot",
        "smallest/09-termination-path",
    ];
    let subjects: Vec<Subject> = files.iter().map(|file| fixture(file)).collect();
    let suggestion = suggested(&subjects);
    assert_eq!(suggestion.unadmitted, []);
    let document: Value = serde_saphyr::from_str(&suggestion.document).unwrap();
    let openings = openings(&suggestion.document);
    assert!(openings.len() > 5, "{}", suggestion.document);
    for opening in openings {
        let (above, last) = opening.rsplit_once('/').unwrap();
        let mut smaller = document.clone();
        match smaller.pointer_mut(&format!("/spec{above}")).unwrap() {
            Value::Array(items) => _ = items.remove(last.parse().unwrap()),
            Value::Object(members) => _ = members.remove(last),
            _ => unreachable!("{opening}"),
        }
        let policy = enforced(&smaller.to_string().replace("\"audit\"", "\"enforce\""));
        let denied = subjects.iter().filter(|subject| !is_admitted(&policy, subject)).count();
        assert!(denied > 0, "no Pod needs {opening}: {}", suggestion.document);
    }
}

#[test]
fn what_leaves_the_sandbox_is_never_opened() {
    let container =
        |security: Value| json!({"containers": [{"name": "c", "image": "x", "securityContext": security}]});
    let plain = |mut spec: Value| {
        spec["containers"] = json!([{"name": "c", "image": "x"}]);
        spec
    };
    let volume = |source: Value| {
        json!({"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [source]})
    };
    for (rule, spec) in [
        ("privileged", container(json!({"privileged": true}))),
        ("privilege-escalation", container(json!({"allowPrivilegeEscalation": true}))),
        ("capabilities", container(json!({"capabilities": {"add": ["SYS_ADMIN"]}}))),
        ("proc-mount", container(json!({"procMount": "Unmasked"}))),
        ("seccomp", container(json!({"seccompProfile": {"type": "Unconfined"}}))),
        ("host-namespaces", plain(json!({"hostNetwork": true}))),
        ("host-namespaces", plain(json!({"hostPID": true}))),
        ("host-namespaces", plain(json!({"hostIPC": true}))),
        ("runtime-class", plain(json!({"runtimeClassName": "runc"}))),
        ("tolerations", plain(json!({"tolerations": [{"operator": "Exists"}]}))),
        ("priority-class", plain(json!({"priorityClassName": "system-node-critical"}))),
        ("volume-types", volume(json!({"name": "v", "hostPath": {"path": "/"}}))),
        ("volume-types", volume(json!({"name": "v", "nfs": {"server": "s", "path": "/"}}))),
    ] {
        // Beside it the Pod asks for what could be opened, which a Pod that is left out must not bring in.
        let mut spec = spec;
        spec["serviceAccountName"] = json!("deployer");
        let suggestion = suggested(&[pod("hostile", &spec)]);
        let [left_out] = suggestion.unadmitted.as_slice() else { panic!("{rule}: {}", suggestion.document) };
        let reasons = &left_out.reasons;
        assert!(reasons.iter().any(|reason| reason.ends_with(&format!("({rule})"))), "{rule}: {reasons:?}");
        assert!(!reasons.iter().any(|reason| reason.contains("service-account")), "{reasons:?}");
        assert_eq!(openings(&suggestion.document), Vec::<String>::new(), "{rule}: {}", suggestion.document);
    }
}

#[test]
fn a_class_is_opened_if_it_is_said_to_run_gvisor() {
    let spec = json!({"runtimeClassName": "gvisor-nvproxy", "containers": [{"name": "c", "image": "x"}]});
    let wanted = Wanted { gvisor_classes: vec!["gvisor-nvproxy".into()], ..wanted() };
    let suggestion = suggest(&[pod("gpu", &spec)], &wanted).unwrap();
    assert_eq!(suggestion.unadmitted, []);
    assert!(is_admitted(&enforced(&suggestion.document), &pod("gpu", &spec)));
}

#[test]
fn ceilings_and_ranges_grow_as_far_as_the_pods_need() {
    let limits = |cpu: &str, user: u32| {
        json!({"terminationGracePeriodSeconds": 120, "containers": [{"name": "c", "image": "x",
            "securityContext": {"runAsUser": user},
            "resources": {"limits": {"cpu": cpu}, "requests": {"cpu": cpu}}}]})
    };
    let suggestion = suggested(&[pod("a", &limits("6", 999)), pod("b", &limits("8", 2000))]);
    assert_eq!(suggestion.unadmitted, []);
    let document: Value = serde_saphyr::from_str(&suggestion.document).unwrap();
    let spec = &document["spec"];
    assert_eq!(spec["resources"]["container"]["limits"], json!({"cpu": "8"}));
    assert_eq!(spec["resources"]["pod"]["limits"], json!({"cpu": "8"}));
    assert_eq!(spec["security"]["runAsUser"], json!({"min": 999, "max": 2000}));
    assert_eq!(spec["lifecycle"]["terminationGracePeriodSeconds"], json!({"max": 120}));
}

#[test]
fn pods_that_restart_for_ever_get_no_deadline() {
    let spec = json!({"restartPolicy": "Always", "containers": [{"name": "c", "image": "x"}]});
    let mut subject = pod("web", &spec);
    let mut web: Value = serde_json::from_str(&subject.json).unwrap();
    web["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": true}]);
    subject.json = web.to_string();
    let suggestion = suggested(std::slice::from_ref(&subject));
    let mut filled = pod_from_str(&subject.json).unwrap();
    let _ = evaluate(&suggestion.policy, &mut filled, None, Defaults::Fill);
    let filled = serde_json::to_value(&filled).unwrap();
    assert_eq!(filled["spec"]["restartPolicy"], "Always");
    assert_eq!(filled["spec"].get("activeDeadlineSeconds"), None, "{}", suggestion.document);
}

#[test]
fn each_opening_names_the_pods_that_ask_and_what_it_lets_through() {
    let account = |name: &str| {
        pod(name, &json!({"serviceAccountName": "deployer", "containers": [{"name": "c", "image": "x"}]}))
    };
    let subjects: Vec<Subject> = ["a", "b", "c", "d", "e"].iter().map(|name| account(name)).collect();
    let document = suggested(&subjects).document;
    let expected = "\
  add:
    serviceAccount:
      # Lets through: every Pod as one of these accounts; its token stays away.
      allowed:
      # Asked for by Pod a, Pod b, Pod c and 2 more.
      - deployer
";
    assert!(document.ends_with(expected), "{document}");
}

#[test]
fn a_name_cannot_write_a_key_into_the_policy() {
    let mut subject = pod(
        "x",
        &json!({"serviceAccountName": "a: b\n  mode: audit", "containers": [{"name": "c", "image": "x"}]}),
    );
    subject.name = "Pod x\n  rules: {privileged: off}".into();
    let suggestion = suggested(&[subject]);
    let document: Value = serde_saphyr::from_str(&suggestion.document).unwrap();
    assert_eq!(document["spec"].get("rules"), None, "{}", suggestion.document);
}
