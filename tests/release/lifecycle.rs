//! From the first install to the last word of an uninstall.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::installed::{CHART, Installed};
use testbed::{
    eventually,
    load::{Creates, Load, is_sandboxed, plain_pod},
    shared,
};

async fn before(name: &str) -> Installed<'static> {
    Installed::before(shared().await, name).await.expect("what there is before an install")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_lives_from_install_to_uninstall_and_no_create_is_lost() {
    let release = before("sandgate-life").await;
    let load = Load::start(&release.rest, &release.guarded, Creates::Stored);

    // The first install: until a replica answers, Pods are what they were before.
    let older = older_chart(release.bed.folder());
    let notes = release.install(&older, &[]).await.expect_success();
    assert!(notes.contains("helm test sandgate-life -n sandgate-life"), "{notes}");
    release.until_ready(2).await;
    release.until_armed().await;

    // It is tried from the inside, by a pod of its own.
    let tested = release.helm(&["test", &release.name, "--timeout=60s"]).await.expect_success();
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");
    let hostile = denied_pod(&release).await;
    assert!(hostile.contains("(host-namespaces)"), "{hostile}");

    // An upgrade to another version with other values.
    let first = before_and_after(&load, async || {
        release.upgrade(CHART, &["--set=replicas=3", "--set=server.logLevel=debug"]).await.expect_success();
        release.until_ready(3).await;
    });
    first.await;
    assert_eq!(version(&release).await, env!("CARGO_PKG_VERSION"));

    // And back.
    before_and_after(&load, async || {
        release.helm(&["rollback", &release.name, "1", "--wait", "--timeout=110s"]).await.expect_success();
        release.until_ready(2).await;
    })
    .await;
    assert_eq!(version(&release).await, "0.0.1");

    // The end: nothing blocks anybody, and what is left has a name.
    let gone = release.helm(&["uninstall", &release.name, "--wait"]).await.expect_success();
    assert!(gone.contains("uninstalled"), "{gone}");
    release.until_ready(0).await;
    for kind in ["mutating", "validating"] {
        let found = release.rest.get(&release.configuration(kind)).await.expect_err("it is removed");
        assert_eq!(found.code, 404);
    }
    let left = release.rest.get(&release.path("/secrets")).await.expect("the secrets that are left");
    let left: Vec<&str> = left["items"].as_array().into_iter().flatten().filter_map(name).collect();
    assert_eq!(left, ["sandgate-life-ca"]);

    let seen = load.stop().await;
    assert_eq!(seen.failed, Vec::<String>::new());
    assert_eq!(seen.denied, Vec::<String>::new());
    assert!(seen.sandboxed > 0 && seen.open > 0, "before and after it nothing is reviewed: {seen:?}");

    // Once more, over what was left.
    release.install(CHART, &[]).await.expect_success();
    release.until_armed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_in_the_file_of_its_replica_and_in_an_event_that_names_it() {
    let release = before("sandgate-trail").await;
    release.install(CHART, &["--set=replicas=1,server.audit=file"]).await.expect_success();
    release.until_armed().await;
    denied_pod(&release).await;

    let replica = release.ready().remove(0);
    let file = replica.volume("audit").join(format!("{}.jsonl", replica.name));
    let line = eventually("the denial is in the file", async || {
        let trail = fs::read_to_string(&file).unwrap_or_default();
        Ok(trail.lines().find(|line| line.contains(r#""verdict":"denied""#)).map(str::to_owned))
    });
    assert!(line.await.expect("a line").contains("host-namespaces"));
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", release.guarded);
    let event = eventually("the denial is an event", async || {
        let mut events = release.rest.get(&path).await?;
        let mut events = events["items"].as_array_mut().into_iter().flat_map(|events| events.drain(..));
        Ok(events.find(|event| event["reason"] == "PodDenied"))
    });
    let event = event.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    assert_eq!(event["reportingInstance"], replica.name, "{event:#}");
}

/// All pods that are created while `change` is made are reviewed.
async fn before_and_after(load: &Load, change: impl AsyncFnOnce()) {
    let before = load.so_far();
    change().await;
    let after = load.so_far();
    assert!(after.sandboxed > before.sandboxed, "creates went on");
    assert_eq!((after.open, after.failed.len()), (before.open, 0), "{:?}", after.failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_gate_is_gone_brings_it_back_by_itself() {
    let release = before("sandgate-back").await;
    release.install(CHART, &[]).await.expect_success();
    release.until_armed().await;

    release.kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force"]).await.expect_success();
    release.until_ready(2).await;
    release.until_armed().await;

    // The same at leisure: without an answer, pods of users wait, and sandgate's own do not.
    release.kubectl(&["scale", "deployment", &release.name, "--replicas=0"]).await.expect_success();
    release.until_ready(0).await;
    let denied = release.try_plain().await.expect_err("there is no answer").to_string();
    assert!(denied.contains("failed calling webhook"), "{denied}");
    release.kubectl(&["scale", "deployment", &release.name, "--replicas=2"]).await.expect_success();
    release.until_ready(2).await;
    release.until_armed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_does_not_load_keeps_the_first_pod_unready_and_says_why() {
    let release = before("sandgate-typo").await;
    let wrong =
        r#"--set-json=policies.workflow-runner.lifecycle={"activeDeadlineSeconds":{"default":9,"max":8}}"#;
    release.install(CHART, &[wrong, "--wait=hookOnly"]).await.expect_success();
    let pods = release.path("/pods");
    let message = eventually("the pod says why", async || {
        let pods = release.rest.get(&pods).await?;
        let message =
            &pods["items"][0]["status"]["containerStatuses"][0]["lastState"]["terminated"]["message"];
        Ok(message.as_str().map(str::to_owned))
    });
    let message = message.await.expect("a termination message");
    assert!(message.contains("spec.lifecycle.activeDeadlineSeconds"), "{message}");
    let described = release.kubectl(&["describe", "pods"]).await.expect_success();
    assert!(described.contains("spec.lifecycle.activeDeadlineSeconds"), "{described}");
    // Without an answer no webhook may be called.
    let pod = release.try_plain().await.expect("pods are what they were");
    assert!(!is_sandboxed(&pod));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_is_taken_over_without_a_restart_and_a_wrong_one_is_not() {
    let release = before("sandgate-policy").await;
    release.install(CHART, &[]).await.expect_success();
    release.until_armed().await;
    let pods: Vec<String> = release.ready().into_iter().map(|pod| pod.name).collect();

    let deadline = "--set=policies.workflow-runner.lifecycle.activeDeadlineSeconds";
    release.upgrade(CHART, &[&format!("{deadline}.default=7")]).await.expect_success();
    let has_deadline = |pod: &Value| pod["spec"]["activeDeadlineSeconds"] == json!(7);
    let taken = eventually("the new deadline is filled", async || {
        Ok(has_deadline(&release.try_plain().await?).then_some(()))
    });
    taken.await.expect("the policy is taken over");

    let wrong = [format!("{deadline}.default=9"), format!("{deadline}.max=8")];
    release.upgrade(CHART, &wrong.each_ref().map(String::as_str)).await.expect_success();
    let logged = eventually("the error is logged", async || {
        Ok(release.node.logs().contains("keeping the last good version").then_some(()))
    });
    logged.await.expect("a log line");
    assert!(has_deadline(&release.try_plain().await.expect("it is admitted")));
    let now: Vec<String> = release.ready().into_iter().map(|pod| pod.name).collect();
    assert_eq!(now, pods, "the pods are the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_guarded_as_soon_as_it_is_labelled() {
    let release = before("sandgate-label").await;
    let name = "labelled";
    release.bed.namespace(&release.rest, &json!({"name": name})).await.expect("a namespace");
    let by_label = "--set-string=policies.rest.namespaceSelector.matchLabels.guard=label";
    release.install(CHART, &[by_label]).await.expect_success();
    release.until_armed().await;

    let path = format!("/api/v1/namespaces/{name}/pods?dryRun=All");
    let before = release.rest.post(&path, &plain_pod()).await.expect("no webhook is called");
    assert!(!is_sandboxed(&before));
    release.kubectl(&["label", "namespace", name, "guard=label"]).await.expect_success();
    let guarded = eventually("Pods of the namespace are validated", async || {
        let pod = release.rest.post(&path, &plain_pod()).await?;
        Ok(is_sandboxed(&pod).then(|| pod["metadata"]["annotations"]["sandgate.dev/policy"].clone()))
    });
    assert_eq!(guarded.await.expect("it is guarded"), "rest");
}

/// The chart as it may have been before: of another version, with other defaults.
fn older_chart(folder: &Path) -> String {
    let older = folder.join("sandgate-0.0.1");
    copy(Path::new(CHART), &older);
    let about = older.join("Chart.yaml");
    let version = format!("version: {}", env!("CARGO_PKG_VERSION"));
    let text = fs::read_to_string(&about).expect("a chart says what it is");
    assert!(text.contains(&version), "{text}");
    fs::write(&about, text.replacen(&version, "version: 0.0.1", 1)).expect("it is written");
    older.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// The version of the chart that is installed.
async fn version(release: &Installed<'_>) -> String {
    let list = release.helm(&["list", "--output=json"]).await.expect_success();
    let list: Value = serde_json::from_str(&list).expect("helm prints JSON");
    let chart = list[0]["chart"].as_str().expect("one release").to_owned();
    chart.trim_start_matches("sandgate-").to_owned()
}

async fn denied_pod(release: &Installed<'_>) -> String {
    let mut pod = plain_pod();
    pod["spec"]["hostPID"] = json!(true);
    release.rest.post(&release.pods_path(""), &pod).await.expect_err("it is denied").message
}

fn name(object: &Value) -> Option<&str> {
    object["metadata"]["name"].as_str()
}
