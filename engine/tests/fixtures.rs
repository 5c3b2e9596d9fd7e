//! Pods as engines, agent sandboxes and bug reports have them, under the policy that is meant for them: what is
//! admitted, what is denied and why, and that hostile variants of what is admitted are denied.
//!
//! The Pods in `tests/fixtures` were written for this project, in the shape in which an API server sends them to a
//! webhook.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fixtures/table.rs"]
mod table;

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use sandgate_engine::{
    policy::{PolicySet, Source},
    review::{Endpoint, Outcome, answer},
};
use serde_json::{Value, json};

use self::table::{ATTACKS, Attack, FIXTURES, Fixture};

impl Fixture {
    fn policies(&self) -> PolicySet {
        let text = format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: p}}\nspec: {{namespaces: [ns], {}}}\n",
            self.policy
        );
        let source = Source { name: "p.yaml".into(), text };
        PolicySet::from_sources(&[source]).unwrap_or_else(|errors| panic!("{}: {errors}", self.file))
    }

    fn pod(&self) -> Value {
        self.pod_in(&folder())
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Sends a create of `pod` and returns the verdict, the violated rules, the message, and the Pod as it is patched.
fn send(policies: &PolicySet, endpoint: Endpoint, pod: &Value) -> (Outcome, Vec<String>, String, Value) {
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u", "operation": "CREATE", "namespace": "ns", "resource": {"resource": "pods"},
        "userInfo": {"username": "jane"}, "object": pod}});
    let text = review.to_string();
    let answer = answer(policies, endpoint, None, text.as_bytes()).unwrap();
    let mut patched = pod.clone();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    if let Some(patch) = body["response"]["patch"].as_str() {
        let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
    }
    let mut rules: Vec<String> =
        answer.record.rules().split(',').filter(|rule| !rule.is_empty()).map(String::from).collect();
    rules.sort_unstable();
    (answer.record.outcome, rules, answer.record.message().to_owned(), patched)
}

#[test]
fn every_pod_is_admitted_or_denied_as_the_table_has_it() {
    let mut wrong = Vec::new();
    for fixture in &FIXTURES {
        let policies = fixture.policies();
        let (outcome, rules, message, pod) = send(&policies, Endpoint::Mutate, &fixture.pod());
        if rules != fixture.violates {
            wrong.push(format!("{} under {:?}: {message}", fixture.file, fixture.policy));
            continue;
        }
        if outcome != Outcome::Admitted {
            continue;
        }
        let (outcome, _, message, _) = send(&policies, Endpoint::Validate, &pod);
        if outcome != Outcome::Admitted {
            wrong.push(format!("{} at /validate: {message}", fixture.file));
        }
        let (_, _, _, again) = send(&policies, Endpoint::Mutate, &pod);
        if again != pod {
            wrong.push(format!("{}: filling twice is not filling once", fixture.file));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), FIXTURES.len(), wrong.join("\n\n"));
}

#[test]
fn hostile_variants_of_what_is_admitted_are_denied() {
    let mut wrong = Vec::new();
    for fixture in FIXTURES.iter().filter(|fixture| fixture.violates.is_empty()) {
        let policies = fixture.policies();
        for (rule, attack) in ATTACKS {
            let is_open = fixture.opens(rule);
            let mut pod = fixture.pod();
            attack(&mut pod);
            for endpoint in Endpoint::ALL {
                let (outcome, rules, _, _) = send(&policies, endpoint, &pod);
                let is_caught = outcome == Outcome::Denied && rules.iter().any(|found| found == rule);
                if !is_caught && !is_open {
                    wrong.push(format!(
                        "{} under {:?}, {rule} at {}: {outcome:?} {rules:?}",
                        fixture.file,
                        fixture.policy,
                        endpoint.as_str()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A token of the excepted container is not one of the user's, and the filled Pod shows who has it.
#[test]
fn the_token_of_argo_reaches_argoexec_and_never_the_container_of_the_user() {
    let fixture = FIXTURES.iter().find(|fixture| fixture.file == "engines/argo-hello").unwrap();
    let (_, _, message, pod) = send(&fixture.policies(), Endpoint::Mutate, &fixture.pod());
    let has_token = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        mounts.filter_map(|mount| mount["name"].as_str()).any(|name| name.starts_with("kube-api-access-"))
    };
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().unwrap() {
            let is_argoexec = container["image"].as_str().unwrap().starts_with("quay.io/argoproj/argoexec");
            assert_eq!(has_token(container), is_argoexec, "{}: {message}", container["name"]);
        }
    }
}

/// What the preset of model servers opens is for Pods with a GPU, one of them, and under gVisor.
#[test]
fn model_server_without_a_gpu_or_with_more_is_denied() {
    let fixture = FIXTURES.iter().find(|fixture| fixture.file == "engines/vllm").unwrap();
    let variants: [(&str, Attack); 4] = [
        ("restart-policy", |pod| {
            for list in ["limits", "requests"] {
                pod["spec"]["containers"][0]["resources"][list]
                    .as_object_mut()
                    .unwrap()
                    .remove("nvidia.com/gpu");
            }
        }),
        ("resource-kinds", |pod| {
            pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = json!("8")
        }),
        ("runtime-class", |pod| pod["spec"]["runtimeClassName"] = json!("nvidia")),
        ("volume-types", |pod| {
            pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("payroll");
        }),
    ];
    for (rule, variant) in variants {
        let mut pod = fixture.pod();
        variant(&mut pod);
        let (outcome, rules, message, _) = send(&fixture.policies(), Endpoint::Mutate, &pod);
        assert!(outcome == Outcome::Denied && rules.iter().any(|found| found == rule), "{rule}: {message}");
    }
}

#[test]
fn every_file_is_in_a_table() {
    /// Two Pods of two classes, each of which is its own test elsewhere.
    const SEVERAL_PODS: [&str; 1] = ["capabilities/07-two-kinds"];
    /// Their volumes clash with filled ones: `rules::volumes` has them.
    const CLASHES: [&str; 2] = ["reports/27-name-clash", "reports/28-name-clash-pvc"];
    for kind in ["engines", "agents", "capabilities", "reports", "smallest"] {
        for entry in fs::read_dir(folder().join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let file = format!("{kind}/{}", path.file_stem().unwrap().to_str().unwrap());
            let is_listed = FIXTURES.iter().any(|fixture| fixture.file == file)
                || SEVERAL_PODS.contains(&&*file)
                || CLASHES.contains(&&*file);
            assert!(is_listed, "{file}");
        }
    }
}
