//! Two weeks of an audit trail, for looking at what `sandgate audit` makes of one. The verdicts are the engine's, on
//! Pods as people write them; who sent them and when is made up, and the same each time.

use std::io::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use json_patch::Patch;
use sandgate::audit::chain::{ChainId, Link};
use sandgate_engine::{
    policy::{PolicySet, Source},
    review::{Endpoint, answer},
};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// 2026-11-10, a Tuesday, at midnight.
const BEGINS: i64 = 1_794_268_800;
const HOUR: i64 = 60 * 60;
const DAYS: i64 = 14;

const POLICIES: &str = "
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: workflow-runner}
spec: {namespaces: [workflows, ml-training]}
---
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: ci-runner}
spec: {namespaces: [ci], images: {allowed: [registry.example.com/**]}}
---
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: agents}
spec: {namespaces: [agents], mode: warn}
---
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: batch}
spec: {namespaces: [batch], mode: audit}
";

/// A user who creates Pods.
struct Sender {
    user: &'static str,
    namespace: &'static str,
    owner: Option<(&'static str, &'static str)>,
    image: &'static str,
    /// Of ten thousand hours of a working day, how many Pods; by night it is a sixth.
    rate: u32,
    /// Of a thousand Pods, how many are wrong, and how.
    faults: &'static [(u32, Fault)],
}

type Fault = fn(&mut Value);

const SENDERS: [Sender; 8] = [
    Sender {
        user: "system:serviceaccount:argo:workflow-controller",
        namespace: "workflows",
        owner: Some(("Workflow", "nightly-etl")),
        image: "registry.example.com/etl/runner:4.2",
        rate: 60_000,
        faults: &[(6, host_path), (4, root)],
    },
    Sender {
        user: "system:serviceaccount:ci:gitlab-runner",
        namespace: "ci",
        owner: Some(("Job", "build-web")),
        image: "registry.example.com/ci/builder:1.19",
        rate: 50_000,
        faults: &[(18, secret), (7, root)],
    },
    Sender {
        user: "system:serviceaccount:kube-system:job-controller",
        namespace: "ml-training",
        owner: Some(("Job", "train-ranker")),
        image: "registry.example.com/ml/trainer:2026.11",
        rate: 22_000,
        faults: &[(14, shared_memory), (9, much)],
    },
    Sender {
        user: "system:serviceaccount:agents:dispatcher",
        namespace: "agents",
        owner: None,
        image: "registry.example.com/agents/python:3.14",
        rate: 24_000,
        faults: &[(60, token), (20, root)],
    },
    Sender {
        user: "system:serviceaccount:kube-system:job-controller",
        namespace: "batch",
        owner: Some(("Job", "invoice-export")),
        image: "registry.example.com/billing/export:88",
        rate: 12_000,
        faults: &[(150, root), (40, host_path)],
    },
    Sender {
        user: "dana@example.com",
        namespace: "workflows",
        owner: None,
        image: "docker.io/library/busybox:1.37",
        rate: 700,
        faults: &[(250, host_namespaces), (120, host_path)],
    },
    Sender {
        user: "lee@example.com",
        namespace: "ml-training",
        owner: None,
        image: "docker.io/jupyter/scipy-notebook:latest",
        rate: 900,
        faults: &[(200, root), (100, secret)],
    },
    Sender {
        user: "contractor-07@example.net",
        namespace: "ci",
        owner: None,
        image: "docker.io/library/alpine:latest",
        rate: 400,
        faults: &[(600, socket), (200, host_namespaces)],
    },
];

/// On the ninth day Docker in Docker comes into the builds, and it takes an afternoon to find out.
fn is_surge(hour: i64, sender: &Sender) -> bool {
    (8 * 24 + 13..8 * 24 + 18).contains(&hour) && sender.owner == Some(("Job", "build-web"))
}

/// A request to come.
struct Request {
    /// The time in seconds since 1970.
    time: i64,
    sender: &'static Sender,
    fault: Option<Fault>,
}

fn main() -> Result<()> {
    let source = Source { name: "policies".into(), text: POLICIES.into() };
    let policies = PolicySet::from_sources(&[source]).map_err(|errors| format!("{:?}", errors.0))?;
    let mut out = io::stdout().lock();
    let (mut chain, mut record, mut line) =
        (Link::begin(ChainId::new(0x1f2e_3d4c_5b6a_7988)), Vec::new(), Vec::new());
    for (number, request) in requests().iter().enumerate() {
        let mut review = review(number, request);
        // The API server sends what /mutate admits to /validate, with the patch applied.
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let text = review.to_string();
            let answer = answer(&policies, endpoint, None, text.as_bytes())?;
            let time = Timestamp::from_second(request.time)?.to_string();
            answer.record.write_line(&mut record, &time, 40 + number as u64 % 17);
            chain.seal(&record, &mut line);
            out.write_all(&line)?;
            record.clear();
            line.clear();
            let answer: Value = serde_json::from_slice(&answer.body)?;
            if answer["response"]["allowed"] == false {
                break;
            }
            if let Some(patch) = answer["response"]["patch"].as_str() {
                let patch: Patch = serde_json::from_slice(&BASE64_STANDARD.decode(patch)?)?;
                json_patch::patch(&mut review["request"]["object"], &patch)?;
            }
        }
    }
    Ok(())
}

/// All requests, in the order of their times.
fn requests() -> Vec<Request> {
    let mut dice = Dice(7);
    let mut requests = Vec::new();
    for hour in 0..DAYS * 24 {
        for sender in &SENDERS {
            for _ in 0..how_many(hour, sender, &mut dice) {
                let time = BEGINS + hour * HOUR + i64::from(dice.roll(3600));
                let fault =
                    if is_surge(hour, sender) { Some(socket as Fault) } else { fault(sender, &mut dice) };
                requests.push(Request { time, sender, fault });
            }
        }
    }
    requests.sort_by_key(|request| request.time);
    requests
}

fn how_many(hour: i64, sender: &Sender, dice: &mut Dice) -> u32 {
    let (day, hour_of_day) = (hour / 24, hour % 24);
    // The first day is a Tuesday.
    let is_weekend = matches!((day + 1) % 7, 5 | 6);
    let rate = match hour_of_day {
        8..18 if !is_weekend => sender.rate,
        _ => sender.rate / 6,
    };
    rate / 10_000 + u32::from(dice.roll(10_000) < rate % 10_000)
}

fn fault(sender: &Sender, dice: &mut Dice) -> Option<Fault> {
    let mut roll = dice.roll(1000);
    for (of_a_thousand, fault) in sender.faults {
        if roll < *of_a_thousand {
            return Some(*fault);
        }
        roll -= of_a_thousand;
    }
    None
}

fn review(number: usize, Request { sender, fault, .. }: &Request) -> Value {
    let Sender { user, namespace, owner, image, .. } = sender;
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]},
    });
    match owner {
        Some((kind, name)) => {
            pod["metadata"]["generateName"] = format!("{name}-").into();
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": kind, "name": name,
                "uid": "0", "controller": true}]);
        }
        None => {
            pod["metadata"]["name"] =
                format!("{}-{number}", user.split(['@', ':']).next_back().unwrap_or("pod")).into()
        }
    }
    if let Some(fault) = fault {
        fault(&mut pod);
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": format!("6f1c{number:04x}-52d1-4c7e-9a40-0c5f3d{number:06x}"),
        "operation": "CREATE",
        "namespace": namespace,
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": user, "groups": ["system:authenticated"]},
        "object": pod,
    }})
}

fn root(pod: &mut Value) {
    pod["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 0});
}

fn host_namespaces(pod: &mut Value) {
    pod["spec"]["hostPID"] = true.into();
    pod["spec"]["hostNetwork"] = true.into();
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
}

fn host_path(pod: &mut Value) {
    mount(pod, "logs", "/var/log/host", &json!({"hostPath": {"path": "/var/log"}}));
}

fn socket(pod: &mut Value) {
    mount(pod, "docker", "/var/run/docker.sock", &json!({"hostPath": {"path": "/var/run/docker.sock"}}));
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
}

fn shared_memory(pod: &mut Value) {
    mount(pod, "shm", "/data", &json!({"emptyDir": {"medium": "Memory"}}));
}

fn token(pod: &mut Value) {
    let token = json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}});
    mount(pod, "token", "/var/run/secrets/token", &token);
}

fn secret(pod: &mut Value) {
    mount(pod, "deploy-key", "/etc/deploy-key", &json!({"secret": {"secretName": "deploy-key"}}));
}

fn much(pod: &mut Value) {
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "16", "memory": "64Gi"}});
}

fn mount(pod: &mut Value, name: &str, path: &str, volume: &Value) {
    let mut volume = volume.clone();
    volume["name"] = name.into();
    pod["spec"]["volumes"] = json!([volume]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": name, "mountPath": path}]);
}

/// A linear congruential generator: as good as dice, and the same each time.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(sides)).expect("it is below a u32")
    }
}
