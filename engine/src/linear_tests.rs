//! The work on a Pod grows as the Pod does: twice the Pod takes at most twice the steps, and a little.
//!
//! Steps are counted, not timed. Each list that a Pod can have is long by itself, and all are long together.

use serde_json::{Value as Json, json};

use crate::{
    json::{self, steps::steps_of},
    policy::{PolicySet, Source},
    review::{Defaults, evaluate},
};

/// A list of a Pod that can be long.
struct LongList {
    name: &'static str,
    add: fn(&mut Json, usize),
}

const LISTS: [LongList; 15] = [
    LongList { name: "annotations", add: |pod, n| set(&mut pod["metadata"]["annotations"], n, |i| json!(i)) },
    LongList { name: "gVisor annotations", add: gvisor_annotations },
    LongList { name: "labels", add: |pod, n| set(&mut pod["metadata"]["labels"], n, |i| json!(i)) },
    LongList {
        name: "owners",
        add: |pod, n| push(&mut pod["metadata"]["ownerReferences"], n, |i| json!({"kind": "Job", "name": i})),
    },
    LongList {
        name: "volumes",
        add: |pod, n| push(&mut pod["spec"]["volumes"], n, |i| json!({"name": i, "emptyDir": {}})),
    },
    LongList { name: "Secret volumes", add: secret_volumes },
    LongList { name: "token volumes", add: token_volumes },
    LongList {
        name: "mounts",
        add: |pod, n| {
            push(
                &mut pod["spec"]["containers"][0]["volumeMounts"],
                n,
                |i| json!({"name": i, "mountPath": "/etc", "readOnly": true}),
            )
        },
    },
    LongList {
        name: "tolerations",
        add: |pod, n| push(&mut pod["spec"]["tolerations"], n, |i| json!({"key": i, "operator": "Exists"})),
    },
    LongList {
        name: "terms",
        add: |pod, n| {
            push(
                &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                    ["nodeSelectorTerms"],
                n,
                |i| json!({"matchExpressions": [{"key": i, "operator": "Exists"}]}),
            )
        },
    },
    LongList {
        name: "variables",
        add: |pod, n| {
            push(
                &mut pod["spec"]["containers"][0]["env"],
                n,
                |i| json!({"name": i, "valueFrom": {"secretKeyRef": {"name": i, "key": "k"}}}),
            )
        },
    },
    LongList {
        name: "containers",
        add: |pod, n| push(&mut pod["spec"]["containers"], n, |name| container(&name)),
    },
    LongList {
        name: "init containers",
        add: |pod, n| push(&mut pod["spec"]["initContainers"], n, |name| container(&name)),
    },
    LongList { name: "sidecars", add: sidecars },
    LongList {
        name: "ephemeral containers",
        add: |pod, n| push(&mut pod["spec"]["ephemeralContainers"], n, |name| container(&name)),
    },
];

fn push(list: &mut Json, count: usize, item: impl Fn(String) -> Json) {
    if list.is_null() {
        *list = json!([]);
    }
    let list = list.as_array_mut().expect("a list");
    list.extend((0..count).map(|index| item(format!("x{index}"))));
}

fn set(object: &mut Json, count: usize, value: impl Fn(String) -> Json) {
    for index in 0..count {
        object[format!("example.com/x{index}")] = value(format!("x{index}"));
    }
}

fn container(name: &str) -> Json {
    json!({"name": name, "image": "registry.example.com/proxy:1", "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}]})
}

fn sidecars(pod: &mut Json, count: usize) {
    push(&mut pod["spec"]["initContainers"], count, |name| {
        let mut sidecar = container(&name);
        sidecar["restartPolicy"] = json!("Always");
        sidecar
    });
}

fn gvisor_annotations(pod: &mut Json, count: usize) {
    push(&mut pod["spec"]["volumes"], count, |name| json!({"name": name, "emptyDir": {}}));
    for index in 0..count {
        pod["metadata"]["annotations"][format!("dev.gvisor.spec.mount.x{index}.share")] = json!("pod");
    }
}

fn secret_volumes(pod: &mut Json, count: usize) {
    push(&mut pod["spec"]["volumes"], count, |name| json!({"name": name, "secret": {"secretName": "s"}}));
    push(
        &mut pod["spec"]["containers"][0]["volumeMounts"],
        count,
        |name| json!({"name": name, "mountPath": "/s"}),
    );
}

fn token_volumes(pod: &mut Json, count: usize) {
    push(
        &mut pod["spec"]["volumes"],
        count,
        |name| json!({"name": name, "projected": {"sources": [{"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "t"}}]}}),
    );
    push(
        &mut pod["spec"]["containers"][0]["volumeMounts"],
        count,
        |name| json!({"name": name, "mountPath": "/t"}),
    );
}

fn pod() -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]},
    })
}

/// The default policy, and one with profiles, exceptions and names for everything.
fn policies() -> Vec<PolicySet> {
    let with_exceptions = r"
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: rich}
spec:
  namespaces: [workflows]
  serviceAccount: {tokens: [{audience: sts.amazonaws.com}]}
  secrets: {environment: [a], volumes: [s]}
  volumes: {configMap: {names: [c]}, writablePaths: [/data]}
  annotations: {allowed: [dev.gvisor.empty-dir.workspace.force-shared]}
  profiles:
  - {name: builder, match: {labels: {role: builder}}, spec: {volumes: {downwardAPI: true}}}
  containers:
  - name: proxy
    match: {images: [registry.example.com/proxy]}
    spec: {serviceAccount: {automountToken: true}, secrets: {volumes: [s, t]}}
";
    let source = Source { name: "rich.yaml".into(), text: with_exceptions.into() };
    vec![PolicySet::builtin(), PolicySet::from_sources(&[source]).expect("the policy is right")]
}

/// The steps that filling and checking a Pod takes.
fn steps(policies: &PolicySet, pod: &Json) -> usize {
    let text = pod.to_string();
    let policy = &policies.policies()[0];
    let mut tree = json::pod_from_str(&text).expect("a Pod");
    steps_of(|| evaluate(policy, &mut tree, None, Defaults::Fill).violations.iter().count())
}

#[test]
fn work_grows_with_the_pod_whatever_list_of_it_is_long() {
    for policies in policies() {
        for LongList { name, add } in LISTS {
            let of = |count: usize| {
                let mut pod = pod();
                add(&mut pod, count);
                steps(&policies, &pod)
            };
            assert_linear(name, of);
        }
    }
}

#[test]
fn work_grows_with_the_pod_if_all_its_lists_are_long() {
    for policies in policies() {
        assert_linear("all lists", |count| {
            let mut pod = pod();
            for list in LISTS {
                (list.add)(&mut pod, count / 10);
            }
            steps(&policies, &pod)
        });
    }
}

/// From 100 to 400 the steps that each item adds stay what they are; a product of two lists would double them twice.
fn assert_linear(name: &str, steps: impl Fn(usize) -> usize) {
    let [few, some, many] = [100, 200, 400].map(steps);
    let (first, second) = (some.saturating_sub(few), many.saturating_sub(some));
    assert!(second <= first * 5 / 2 + 1000, "{name}: 100 take {few} steps, 200 {some}, 400 {many}");
}

#[test]
fn a_product_of_two_lists_is_seen() {
    let quadratic = std::panic::catch_unwind(|| assert_linear("a square", |count| count * count));
    assert!(quadratic.is_err());
}
