//! Seeds from the project's own examples, tests and tables.

use std::{collections::BTreeSet, fs, path::Path};

use jiff::SignedDuration;
use sandgate::{
    audit::chain::{ChainId, Link},
    certs::ca::{self, Authority, State},
};
use sandgate_engine::{
    pod::schema::{Kind, POD, Type},
    policy::Spec,
};
use serde_json::{Value as Json, json};

/// The seeds of each target.
pub(crate) fn seeds() -> [(&'static str, Vec<Vec<u8>>); 16] {
    let pods = pods();
    let lines = |pairs: &[(&str, &str)]| -> Vec<Vec<u8>> {
        pairs.iter().map(|(one, other)| format!("{one}\n{other}").into_bytes()).collect()
    };
    let with_orders = |pod: &Json| format!("{pod}\n\u{1}\u{3}abcdefgh").into_bytes();
    let with_policy = |pod: &Json| format!("images: {{requireDigest: false}}\n---\n{pod}").into_bytes();
    [
        ("head", pods.iter().flat_map(reviews).collect()),
        ("policy_pod", pods.iter().map(with_policy).collect()),
        ("patch", pods.iter().map(with_orders).collect()),
        ("yaml", policies().into_iter().map(String::into_bytes).collect()),
        ("workload", pods.iter().map(workload_of).collect()),
        (
            "image",
            lines(&[
                ("registry.example.com/**", "registry.example.com/a/b:1@sha256:00"),
                ("busybox", "docker.io/library/busybox"),
                ("localhost:5000/a/*", "localhost:5000/a/b"),
            ]),
        ),
        (
            "path",
            lines(&[
                ("/argo", "//argo/./x/"),
                ("/scripts-*", "/scripts-1"),
                ("*", "/var/lib/x"),
                ("/etc/istio/proxy", "/etc/istio/proxy/x"),
            ]),
        ),
        ("pattern", lines(&[("ci-*", "ci-a"), ("*.crio.io/*", "a.crio.io/b"), ("a*b*c", "aXbYc")])),
        ("review", pods.iter().flat_map(reviews).collect()),
        ("pod", pods.iter().map(|pod| pod.to_string().into_bytes()).collect()),
        ("policy", policies().into_iter().map(String::into_bytes).collect()),
        ("cel", policies().into_iter().map(String::into_bytes).collect()),
        ("certificates", certificates()),
        ("audit", trail()),
        ("trace", vec![b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec()]),
        ("quantity", quantities().into_iter().map(|text| text.as_bytes().to_vec()).collect()),
    ]
}

/// A list of CAs as the Secret holds it, and a bundle.
fn certificates() -> Vec<Vec<u8>> {
    let now = "2026-11-28T00:00:00Z".parse().expect("a time");
    let authorities = [State::Active, State::Pending]
        .map(|state| Authority::mint(state, now, SignedDuration::from_hours(24)).expect("a CA"));
    let bundle = ca::write_bundle(&authorities.each_ref().map(|authority| authority.certificate.clone()));
    vec![ca::write(&authorities), bundle.into_bytes()]
}

/// Lines of an audit trail, as its documentation has them.
fn trail() -> Vec<Vec<u8>> {
    let mut sealed = Vec::new();
    Link::begin(ChainId::new(7))
        .seal_all(b"{\"verdict\":\"admitted\"}\n{\"verdict\":\"denied\"}\n", &mut sealed);
    vec![sealed]
}

/// The Pods of the examples and the counterexamples of the tests.
fn pods() -> Vec<Json> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if root.ends_with("fuzz") { root.join("..") } else { root.to_owned() };
    let mut files: Vec<_> = ["examples/pods", "tests/data"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder of the project"))
        .map(|file| file.expect("a file of the project").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let texts = files.iter().map(|path| fs::read_to_string(path).expect("a file of the project"));
    texts.map(|text| serde_saphyr::from_str(&text).expect("one YAML document")).collect()
}

fn reviews(pod: &Json) -> Vec<Vec<u8>> {
    let review = |operation: &str, subresource: &str, old: &Json| {
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": subresource, "namespace": "workflows", "name": "p", "operation": operation,
            "userInfo": {"username": "someone", "groups": ["system:authenticated"]},
            "object": pod, "oldObject": old, "dryRun": false, "options": null,
        }})
        .to_string()
        .into_bytes()
    };
    vec![
        review("CREATE", "", &Json::Null),
        review("UPDATE", "", pod),
        review("UPDATE", "ephemeralcontainers", pod),
        review("DELETE", "", pod),
    ]
}

fn workload_of(pod: &Json) -> Vec<u8> {
    let template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template}})
        .to_string()
        .into_bytes()
}

/// The built-in policy with all its defaults, each of its settings alone, and two documents in one file.
fn policies() -> Vec<String> {
    let head = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata:\n  name: p\n";
    let spec = serde_json::to_value(Spec::default()).expect("a policy is JSON");
    let document =
        |spec: &Json| format!("{head}{}", serde_saphyr::to_string(&json!({"spec": spec})).expect("YAML"));
    let settings =
        spec.as_object().expect("an object").iter().map(|(key, value)| document(&json!({key: value})));
    let mut all: Vec<String> = settings.collect();
    all.push(format!("{}---\n{head}spec: {{namespaces: [other], mode: audit}}\n", document(&json!({}))));
    all.push(document(&spec));
    all
}

fn quantities() -> Vec<&'static str> {
    vec![
        "2",
        "500m",
        "0.5",
        "1.5Gi",
        "1e3",
        "1E3",
        "1E",
        "4Gi",
        "10737418241",
        "-1",
        "+.5",
        "1n",
        "1e-9",
        "12e6",
        "0",
    ]
}

/// The names of all fields, and what stands in them.
pub(crate) fn words() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    collect_fields(&POD, &mut words);
    for pod in pods() {
        collect_words(&pod, &mut words);
    }
    collect_words(&serde_json::to_value(Spec::default()).expect("a policy is JSON"), &mut words);
    words.extend(quantities().into_iter().map(String::from));
    words.retain(|word| !word.is_empty() && word.is_ascii() && word.len() < 60);
    words
}

fn collect_fields(of: &Type, words: &mut BTreeSet<String>) {
    for (name, kind) in of.fields {
        words.insert((*name).to_owned());
        collect_kind(*kind, words);
    }
}

fn collect_kind(kind: Kind, words: &mut BTreeSet<String>) {
    match kind {
        Kind::Object(of) => collect_fields(of, words),
        Kind::List(items) | Kind::Map(items) => collect_kind(*items, words),
        _ => {}
    }
}

fn collect_words(value: &Json, words: &mut BTreeSet<String>) {
    match value {
        Json::String(text) => drop(words.insert(text.clone())),
        Json::Array(items) => items.iter().for_each(|item| collect_words(item, words)),
        Json::Object(fields) => {
            for (key, value) in fields {
                words.insert(key.clone());
                collect_words(value, words);
            }
        }
        _ => {}
    }
}
