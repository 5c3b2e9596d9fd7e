//! `sandgate scan` and `sandgate policy suggest` of many Pods of a real API server: time, memory and requests.
//!
//! `SANDGATE_SCAN_PODS` sets how many, 5000 by default. Half of them conform, a half violates the policy.
//! `SANDGATE_SCAN_PROGRAM` names another build of sandgate to be measured than that of the benchmark.

use std::{
    env,
    ffi::OsString,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testbed::{ControlPlane, Rest};

const DEFAULT_PODS: usize = 5_000;
/// How many creates are under way at once.
const CREATORS: usize = 8;
const NAMESPACES: usize = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let pods = env::var("SANDGATE_SCAN_PODS").ok().and_then(|pods| pods.parse().ok()).unwrap_or(DEFAULT_PODS);
    let bed = ControlPlane::start().await.expect("a control plane");
    let rest = bed.rest().await.expect("a client");
    for index in 0..NAMESPACES {
        let metadata = json!({"name": namespace(index)});
        bed.namespace(&rest, &metadata).await.expect("a namespace");
    }
    let policy = bed.folder().join("scanned.yaml");
    let text = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: scanned}\n\
                spec: {namespaces: [scan-*]}\n";
    fs::write(&policy, text).expect("a policy file");
    let conforming = rendered(&policy);
    let creating = Instant::now();
    create(&rest, pods, &conforming).await;
    println!("{pods} Pods created in {:.0} s", creating.elapsed().as_secs_f64());
    let rounds = env::var("SANDGATE_SCAN_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    for round in 1..=rounds {
        let path = policy.display().to_string();
        for (command, arguments) in [
            ("scan", vec!["scan", "--all-namespaces", "--exit-zero", "--policy", &path]),
            ("suggest", vec!["policy", "suggest", "--all-namespaces"]),
        ] {
            let before = requests(&bed).await;
            let Measured { elapsed, cpu, peak_bytes, summary } = run(&bed, &arguments);
            let asked = requests(&bed).await - before;
            println!(
                "round {round}, {command}: {:.2} s, of it {cpu:.2} s of CPU time, peak {} MiB, {asked} lists of Pods; {summary}",
                elapsed.as_secs_f64(),
                peak_bytes >> 20
            );
        }
    }
}

/// The program that is measured.
fn program() -> OsString {
    env::var_os("SANDGATE_SCAN_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_sandgate").into())
}

fn namespace(index: usize) -> String {
    format!("scan-{}", index % NAMESPACES)
}

/// A plain Pod as the policy fills it.
fn rendered(policy: &std::path::Path) -> Value {
    let manifest = policy.with_file_name("plain.json");
    fs::write(&manifest, plain().to_string()).expect("a manifest");
    let output = Command::new(program())
        .args(["render", "-o", "json", "--namespace", "scan-0", "--policy"])
        .args([policy, &manifest])
        .output()
        .expect("sandgate starts");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn plain() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]},
    })
}

async fn create(rest: &Rest, pods: usize, conforming: &Value) {
    let mut creators = Vec::new();
    for creator in 0..CREATORS {
        let (rest, conforming) = (rest.clone(), conforming.clone());
        creators.push(async move {
            for number in (creator..pods).step_by(CREATORS) {
                let mut pod = if number % 2 == 0 { conforming.clone() } else { plain() };
                if number % 20 == 1 {
                    pod["spec"]["hostNetwork"] = json!(true);
                }
                pod["metadata"]["name"] = json!(format!("pod-{number}"));
                pod["metadata"]["namespace"] = Value::Null;
                let path = format!("/api/v1/namespaces/{}/pods", namespace(number));
                rest.post(&path, &pod).await.unwrap_or_else(|denial| panic!("{denial}"));
            }
        });
    }
    futures::future::join_all(creators).await;
}

/// What a command took.
#[derive(Default)]
struct Measured {
    elapsed: Duration,
    /// User and system time of the command itself, in seconds. It does not depend on what else the machine does.
    cpu: f64,
    peak_bytes: u64,
    /// The line of the output with the number of Pods; empty if there is none.
    summary: String,
}

/// Runs a command.
fn run(bed: &ControlPlane, arguments: &[&str]) -> Measured {
    let start = Instant::now();
    let out = bed.folder().join("out.txt");
    let mut child = Command::new(program())
        .env_clear()
        .args(arguments)
        .arg("--kubeconfig")
        .arg(bed.kubeconfig())
        .stdout(Stdio::from(fs::File::create(&out).expect("a file")))
        .spawn()
        .expect("sandgate starts");
    let mut measured = Measured::default();
    loop {
        if let Some((cpu, peak_bytes)) = use_of(child.id()) {
            measured = Measured { cpu, peak_bytes, ..measured };
        }
        if let Some(ended) = child.try_wait().expect("a child of this process") {
            // Some Pods ask for what no suggestion opens.
            assert!(matches!(ended.code(), Some(0 | 1)), "{ended}");
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let text = fs::read_to_string(&out).expect("the output");
    let summary =
        text.lines().find(|line| line.contains(" violate their policy")).unwrap_or_default().to_owned();
    Measured { elapsed: start.elapsed(), summary, ..measured }
}

/// The CPU time of a process in seconds, and the most memory that it has had in bytes; none once it has ended.
#[expect(clippy::cast_precision_loss, reason = "a count of ticks")]
fn use_of(pid: u32) -> Option<(f64, u64)> {
    let process = procfs::process::Process::new(pid.try_into().ok()?).ok()?;
    let (stat, status) = (process.stat().ok()?, process.status().ok()?);
    let ticks = (stat.utime + stat.stime) as f64;
    Some((ticks / procfs::ticks_per_second() as f64, status.vmhwm? << 10))
}

/// How many lists of Pods the API server has answered.
async fn requests(bed: &ControlPlane) -> u64 {
    let metrics = bed.kubectl(&["get", "--raw", "/metrics"]).await.expect_success();
    let lists = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"pods\"")
            && line.contains("verb=\"LIST\"")
    });
    lists.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
