//! The webhook of workload templates, registered as the chart renders it: what kubectl prints and what is stored.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::{chart, sandbox::Sandbox, sandboxed::assert_sandboxed};
use testbed::{Output, eventually, is_shown, shown};

/// Settings under which the Pods of a Deployment are admitted, and templates are filled.
fn services() -> Value {
    json!({"templates": "fill", "lifecycle": {"restartPolicy": {"allowed": ["Never", "Always"]}}})
}

/// A namespace with the chart's webhooks before it, that of templates among them.
async fn guarded(settings: &Value) -> Sandbox {
    let sandbox = Sandbox::unguarded(&Value::Null, settings).await;
    let fills = settings["templates"] == "fill";
    let flags: &[&str] = if fills {
        &["--set=webhook.templates.enabled=true,policies.workflow-runner.templates=fill"]
    } else {
        &["--set=webhook.templates.enabled=true"]
    };
    let manifest = chart::configurations(&sandbox, flags).await;
    sandbox.bed.kubectl_reading(&manifest, &["create", "-f", "-"]).await.expect_success();
    let asked = eventually("the API server asks sandgate", async || {
        let output = apply(&sandbox, &privileged(job("try")), &["--dry-run=server"]).await;
        Ok(is_warned(&output).then_some(()))
    });
    asked.await.expect("it asks");
    sandbox
}

async fn apply(sandbox: &Sandbox, object: &Value, flags: &[&str]) -> Output {
    sandbox.kubectl_reading(&object.to_string(), &[&["apply", "-f", "-"], flags].concat()).await
}

fn is_warned(output: &Output) -> bool {
    output.stderr.contains("Warning: sandgate will deny its Pods: ")
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"set": "web"}},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]},
    })
}

fn job(name: &str) -> Value {
    let mut template = template();
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}})
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"set": "web"}}, "template": template()},
    })
}

fn privileged(mut object: Value) -> Value {
    object["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    object
}

async fn stored(sandbox: &Sandbox, resource: &str, name: &str) -> Value {
    let output = sandbox.kubectl(&["get", resource, name, "-o", "json"]).await.expect_success();
    serde_json::from_str(&output).expect("it is JSON")
}

#[tokio::test]
async fn kubectl_prints_what_the_pods_of_a_deployment_will_be_denied_for_and_stores_it_unchanged() {
    let sandbox = guarded(&json!({})).await;
    let output = apply(&sandbox, &deployment("web"), &[]).await;
    let line =
        "Warning: sandgate will deny its Pods: spec.template.spec.restartPolicy is \"Always\", must be Never";
    assert!(output.stderr.contains(line), "{output:?}");
    assert!(output.expect_success().contains("created"));
    let spec = &stored(&sandbox, "deployment", "web").await["spec"]["template"]["spec"];
    assert!(spec.get("runtimeClassName").is_none(), "{spec:#}");
    let printed = apply(&sandbox, &privileged(job("import")), &[]).await;
    let page = shown("docs/templates.md", "kubectl apply").expect("an output");
    assert!(is_shown(&page, &printed.terminal()), "{printed:?}");
    let conforming = apply(&sandbox, &job("conforming"), &[]).await;
    assert!(!conforming.stderr.contains("Warning"), "{conforming:?}");
}

#[tokio::test]
async fn a_deployment_is_stored_filled_and_a_second_apply_changes_nothing() {
    let sandbox = guarded(&services()).await;
    let first = apply(&sandbox, &deployment("web"), &[]).await;
    assert!(first.stderr.contains("Warning: sandgate: filled "), "{first:?}");
    let before = stored(&sandbox, "deployment", "web").await;
    let spec = &before["spec"]["template"]["spec"];
    assert_eq!((&spec["runtimeClassName"], &spec["restartPolicy"]), (&json!("gvisor"), &json!("Always")));
    assert_eq!(
        before["spec"]["template"]["metadata"]["labels"],
        json!({"app": "workflow-runner", "set": "web"})
    );

    let second = apply(&sandbox, &deployment("web"), &[]).await.expect_success();
    assert!(second.contains("unchanged"), "{second}");
    sandbox.kubectl(&["scale", "deployment", "web", "--replicas=2"]).await.expect_success();
    let after = stored(&sandbox, "deployment", "web").await;
    assert_eq!(after["spec"]["template"], before["spec"]["template"]);

    let sets = sandbox.kubectl(&["get", "replicasets", "-o", "name"]).await.expect_success();
    assert_eq!(sets.lines().count(), 1, "the controller knows its ReplicaSet again: {sets}");
    let pod = sandbox.first_pod().await;
    assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    assert_eq!(pod["metadata"]["annotations"]["sandgate.dev/policy"], "workflow-runner");
}

#[tokio::test]
async fn a_job_is_filled_when_it_is_created_and_its_pods_need_nothing_more() {
    let sandbox = guarded(&services()).await;
    apply(&sandbox, &job("once"), &[]).await.expect_success();
    let template = &stored(&sandbox, "job", "once").await["spec"]["template"];
    assert_eq!(template["spec"]["activeDeadlineSeconds"], 3600);
    assert_sandboxed(&sandbox.first_pod().await);
    // The label of a Job can be changed, its template cannot.
    sandbox.kubectl(&["label", "job", "once", "team=blue"]).await.expect_success();
    let denied = apply(&sandbox, &privileged(job("denied")), &[]).await;
    assert!(is_warned(&denied), "{denied:?}");
    assert!(
        stored(&sandbox, "job", "denied").await["spec"]["template"]["spec"].get("runtimeClassName").is_none()
    );
}

#[tokio::test]
async fn a_controller_gets_the_fills_and_no_warnings() {
    let sandbox = guarded(&services()).await;
    let account = format!("--as=system:serviceaccount:{}:controller", sandbox.namespace);
    let as_account = [account.as_str(), "--as-group=system:masters"];
    let filled = apply(&sandbox, &job("filled"), &as_account).await;
    assert!(!filled.stderr.contains("Warning"), "{filled:?}");
    filled.expect_success();
    assert_eq!(
        stored(&sandbox, "job", "filled").await["spec"]["template"]["spec"]["runtimeClassName"],
        "gvisor"
    );
    let denied = apply(&sandbox, &privileged(job("denied")), &as_account).await;
    assert!(!denied.stderr.contains("Warning"), "{denied:?}");
    denied.expect_success();
}

#[tokio::test]
async fn an_object_is_stored_as_it_is_while_sandgate_is_down_or_hangs() {
    let mut sandbox = guarded(&services()).await;
    let address = sandbox.sandgate.url().trim_start_matches("https://").to_owned();
    sandbox.stop_sandgate();
    assert_stored_unreviewed(&sandbox, "down").await;
    // Connections are taken, and nothing is ever answered.
    let _silent = TcpListener::bind(&address).expect("the port is free again");
    assert_stored_unreviewed(&sandbox, "hangs").await;
}

async fn assert_stored_unreviewed(sandbox: &Sandbox, name: &str) {
    let before = failed_open(sandbox).await;
    let output = apply(sandbox, &privileged(job(name)), &[]).await;
    assert!(!output.stderr.contains("Warning"), "{output:?}");
    output.expect_success();
    let template = &stored(sandbox, "job", name).await["spec"]["template"];
    assert!(template["spec"].get("runtimeClassName").is_none(), "{template:#}");
    assert!(failed_open(sandbox).await > before, "the webhook was called");
}

/// How often the API server went on without an answer of the webhook.
async fn failed_open(sandbox: &Sandbox) -> u64 {
    let metrics = sandbox.kubectl(&["get", "--raw", "/metrics"]).await.expect_success();
    let of_templates = |line: &&str| {
        line.starts_with("apiserver_admission_webhook_fail_open_count{")
            && line.contains("templates.sandgate.dev")
    };
    let count = metrics.lines().find(of_templates).and_then(|line| line.rsplit(' ').next());
    count.map_or(0, |count| count.parse().expect("a number"))
}

/// Kinds of other people: group, version, kind, plural.
const KINDS: [(&str, &str, &str, &str); 3] = [
    ("agents.x-k8s.io", "v1beta1", "Sandbox", "sandboxes"),
    ("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets"),
    ("ray.io", "v1", "RayCluster", "rayclusters"),
];

#[tokio::test]
async fn templates_of_other_peoples_kinds_are_filled_and_warned_of() {
    let sandbox = guarded(&services()).await;
    chart::define_kinds(&sandbox.rest, &KINDS).await;
    let mut of_job = template();
    of_job["spec"]["restartPolicy"] = json!("Never");
    let object = |index: usize, spec: Value| {
        let (group, version, kind, _) = KINDS[index];
        json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": "it"}, "spec": spec})
    };
    let objects = [
        object(0, json!({"podTemplate": of_job})),
        object(1, json!({"replicatedJobs": [{"name": "a", "template": {"spec": {"template": of_job}}}]})),
        object(
            2,
            json!({
                "headGroupSpec": {"template": of_job},
                "workerGroupSpecs": [{"groupName": "a", "template": of_job}, {"groupName": "b", "template": of_job}],
            }),
        ),
    ];
    let templates: [&[&str]; 3] = [
        &["/spec/podTemplate"],
        &["/spec/replicatedJobs/0/template/spec/template"],
        &[
            "/spec/headGroupSpec/template",
            "/spec/workerGroupSpecs/0/template",
            "/spec/workerGroupSpecs/1/template",
        ],
    ];
    for ((object, paths), (group, _, kind, plural)) in objects.iter().zip(templates).zip(KINDS) {
        apply(&sandbox, object, &[]).await.expect_success();
        let resource = format!("{plural}.{group}");
        let before = stored(&sandbox, &resource, "it").await;
        for path in paths {
            let class = before.pointer(&format!("{path}/spec/runtimeClassName"));
            assert_eq!(class, Some(&json!("gvisor")), "{kind} {path}: {before:#}");
        }
        // kubectl sends lists of such kinds whole, without what was filled into their items.
        apply(&sandbox, object, &[]).await.expect_success();
        let after = stored(&sandbox, &resource, "it").await;
        assert_eq!(after["spec"], before["spec"], "{kind}");
        assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"], "{kind}");

        let mut hostile = object.clone();
        hostile["metadata"]["name"] = json!("hostile");
        hostile.pointer_mut(&format!("{}/spec", paths[0])).expect("a template")["hostNetwork"] = json!(true);
        let output = apply(&sandbox, &hostile, &[]).await;
        assert!(is_warned(&output) && output.stderr.contains("hostNetwork is true"), "{kind}: {output:?}");
    }
}
