//! Events: a Pod that was denied does not exist, so its controller has to show the reason.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{
    chart,
    examples::{plain_pod, with_template},
    sandbox::Sandbox,
};
use testbed::{ControlPlane, Result, eventually, shared};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const OK: &str = r#"sandgate_events_total{result="ok"}"#;
const FAILED: &str = r#"sandgate_events_total{result="failed"}"#;
const DROPPED: &str = r#"sandgate_events_total{result="dropped"}"#;

/// Somebody with the rights that the chart gives for Events, and no others.
struct Account {
    namespace: String,
    role: String,
    kubeconfig: PathBuf,
}

impl Account {
    async fn new(bed: &ControlPlane) -> Result<Self> {
        let rest = bed.rest().await?;
        let namespace = bed.namespace(&rest, &json!({"generateName": "release-"})).await?;
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        rest.post(&accounts, &json!({"metadata": {"name": "sandgate"}})).await?;
        let rules = chart::rules_for_events().await;
        rest.post(&format!("{RBAC}/clusterroles"), &json!({"metadata": {"name": namespace}, "rules": rules}))
            .await?;
        let binding = json!({
            "metadata": {"name": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace},
            "subjects": [{"kind": "ServiceAccount", "name": "sandgate", "namespace": namespace}],
        });
        rest.post(&format!("{RBAC}/clusterrolebindings"), &binding).await?;
        let answer = rest.post(&format!("{accounts}/sandgate/token"), &json!({"spec": {}})).await?;
        let kubeconfig =
            bed.kubeconfig_of(&namespace, answer["status"]["token"].as_str().ok_or("a token")?)?;
        Ok(Self { role: format!("{RBAC}/clusterroles/{namespace}"), namespace, kubeconfig })
    }
}

/// A guarded namespace whose sandgate writes Events.
async fn reporting(settings: &Value) -> (Sandbox, Account) {
    let account = Account::new(shared().await).await.expect("an account");
    let kubeconfig = account.kubeconfig.display().to_string();
    let flags = ["--events", "--kubeconfig", &kubeconfig, "--instance", "sandgate-0"];
    let sandbox = Sandbox::flagged(settings, &flags).await;
    (sandbox, account)
}

fn hostile_pod(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["hostNetwork"] = json!(true);
    pod
}

/// Every Event of the namespace that says that a pod was denied.
async fn denial_events(sandbox: &Sandbox) -> Vec<Value> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", sandbox.namespace);
    let mut events = sandbox.rest.get(&path).await.expect("events are listed");
    let events = events["items"].as_array_mut().expect("a list").drain(..);
    events.filter(|event| event["reason"] == "PodDenied").collect()
}

async fn until_reported(sandbox: &Sandbox, count: u64) -> Value {
    let found = eventually("so many denials are reported", async || {
        let events = denial_events(sandbox).await;
        let counted = |event: &Value| event["series"]["count"].as_u64().unwrap_or(1);
        Ok((events.iter().map(counted).sum::<u64>() == count).then_some(events))
    });
    let mut events = found.await.unwrap_or_else(|error| panic!("{error}\n{}", sandbox.sandgate.log()));
    assert_eq!(events.len(), 1, "one reason of one object is one event: {events:#?}");
    events.remove(0)
}

#[tokio::test]
async fn describing_a_job_says_why_it_has_no_pods() {
    let (sandbox, _) = reporting(&json!({})).await;
    let mut pod = hostile_pod("");
    pod["spec"]["restartPolicy"] = json!("Never");
    let job = with_template(json!({"metadata": {"name": "bad"}}), &pod, &json!({}));
    let jobs = format!("/apis/batch/v1/namespaces/{}/jobs", sandbox.namespace);
    let job = sandbox.rest.post(&jobs, &job).await.expect("a Job is no pod");

    let described = eventually("kubectl describe shows it", async || {
        let shown = sandbox.kubectl(&["describe", "job", "bad"]).await.expect_success();
        Ok(shown.contains("PodDenied").then_some(shown))
    });
    let described = described.await.unwrap_or_else(|error| panic!("{error}\n{}", sandbox.sandgate.log()));
    let line = described.lines().find(|line| line.contains("PodDenied")).expect("a line");
    assert!(line.contains("Warning") && line.contains("sandgate.dev/sandgate"), "{line}");
    assert!(line.contains("spec.hostNetwork is true") && line.contains("(host-namespaces)"), "{line}");
    let event = &denial_events(&sandbox).await[0];
    assert_eq!(event["regarding"]["uid"], job["metadata"]["uid"], "{event:#}");
    assert_eq!(event["regarding"]["apiVersion"], "batch/v1");
    assert_eq!(event["reportingInstance"], "sandgate-0");
}

#[tokio::test]
async fn thirty_denials_of_a_pod_without_a_controller_are_one_event_of_the_namespace() {
    let (sandbox, _) = reporting(&json!({})).await;
    for index in 0..30 {
        let pod = hostile_pod(&format!("bad-{index}"));
        sandbox.create(&pod).await.expect_err("it is denied");
    }
    let event = until_reported(&sandbox, 30).await;
    let namespace = &*sandbox.namespace;
    assert_eq!(
        event["regarding"],
        json!({"apiVersion": "v1", "kind": "Namespace", "namespace": namespace, "name": namespace})
    );
    assert_eq!(event["type"], "Warning");
    let shown = sandbox.kubectl(&["get", "events"]).await.expect_success();
    assert!(shown.contains(&format!("namespace/{namespace}")) && shown.contains("PodDenied"), "{shown}");
    let writes = sandbox.sandgate.metric(OK).await.expect("a metric");
    assert!((2..10).contains(&writes), "{writes} writes");
    assert_eq!(sandbox.sandgate.metric(DROPPED).await, Some(0));
}

#[tokio::test]
async fn what_was_not_denied_for_good_is_not_reported() {
    let (sandbox, _) = reporting(&json!({})).await;
    let dry = format!("{}?dryRun=All", sandbox.pods_path(""));
    let mut pod = plain_pod("dry");
    pod["spec"]["hostPID"] = json!(true);
    sandbox.rest.post(&dry, &pod).await.expect_err("it is denied");
    sandbox.create(&plain_pod("good")).await.expect("it is admitted");
    let label = json!({"metadata": {"labels": {"app": "other"}}});
    sandbox.rest.merge(&sandbox.pods_path("/good"), &label).await.expect_err("it is denied");
    // They are reported in the order in which they happened.
    sandbox.create(&hostile_pod("bad")).await.expect_err("it is denied");
    let event = until_reported(&sandbox, 1).await;
    assert!(event["note"].as_str().is_some_and(|note| note.contains("hostNetwork")), "{event:#}");
}

#[tokio::test]
async fn without_the_right_to_write_events_pods_are_reviewed_all_the_same() {
    let (sandbox, account) = reporting(&json!({})).await;
    sandbox.rest.merge(&account.role, &json!({"rules": []})).await.expect("it is taken away");
    eventually("the right is gone", async || {
        let subject = format!("--as=system:serviceaccount:{}:sandgate", account.namespace);
        let asked = sandbox.kubectl(&["auth", "can-i", "create", "events.events.k8s.io", &subject]).await;
        Ok((!asked.success).then_some(()))
    })
    .await
    .expect("it is gone");
    for index in 0..20 {
        let denial = sandbox.create(&hostile_pod(&format!("bad-{index}"))).await.expect_err("it is denied");
        assert!(denial.names("host-namespaces"), "{denial}");
    }
    sandbox.create(&plain_pod("good")).await.expect("it is admitted");
    let failed = eventually("the failure is counted", async || {
        Ok(sandbox.sandgate.metric(FAILED).await.filter(|failed| *failed > 0))
    });
    assert_eq!(failed.await.expect("a failure"), 1, "nothing is tried again at once");
    assert_eq!(denial_events(&sandbox).await, Vec::<Value>::new());
    let log = sandbox.sandgate.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("Failed to write the Event")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("resources: [events], verbs: [create]}"), "{log}");
}

#[tokio::test]
async fn the_right_to_write_events_is_no_other_right() {
    let bed = shared().await;
    let account = Account::new(bed).await.expect("an account");
    let list = async |name: &str| {
        let subject = format!("--as=system:serviceaccount:{}:{name}", account.namespace);
        let shown =
            bed.kubectl(&["auth", "can-i", "--list", "--no-headers", &subject]).await.expect_success();
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let everybody = list("unknown").await;
    let mut ours = list("sandgate").await;
    ours.retain(|line| !everybody.contains(line));
    assert_eq!(ours, ["events.events.k8s.io [] [] [create patch]"]);
}
