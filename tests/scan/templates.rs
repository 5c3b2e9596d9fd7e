//! Workload templates beside their Pods.

use serde_json::{Value, json};

use crate::{Scanned, hostile_pod, plain_pod, run_as};

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"hostNetwork": true, "containers": [{"name": "main", "image": "registry.example.com/web:1"}]},
    })
}

impl Scanned {
    async fn create_in(&self, api: &str, resource: &str, object: &Value) {
        let path = format!("/apis/{api}/namespaces/{}/{resource}", self.namespace);
        self.rest.post(&path, object).await.unwrap();
    }

    /// Makes a Deployment without Pods, whose Pods would be denied, and a `CronJob` whose Pods would be filled.
    async fn create_workloads(&self) {
        let selector = json!({"matchLabels": {"app": "web"}});
        let web = json!({
            "metadata": {"name": "web"}, "spec": {"replicas": 0, "selector": selector, "template": template()},
        });
        self.create_in("apps/v1", "deployments", &web).await;
        let mut of_job = template();
        of_job["spec"]["hostNetwork"] = json!(false);
        of_job["spec"]["restartPolicy"] = json!("Never");
        of_job["metadata"]["labels"] = json!({});
        let nightly = json!({
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": of_job}}},
        });
        self.create_in("batch/v1", "cronjobs", &nightly).await;
    }
}

#[tokio::test]
async fn what_the_next_pods_of_a_workload_would_be_denied_for_is_found() {
    let scanned = Scanned::new().await;
    scanned.create_workloads().await;
    let without = scanned.scan(&["-o", "json"]);
    assert_eq!((without.status, &without.json()["templates"]), (0, &json!([])), "only Pods are scanned");

    // Its ReplicaSet has the same template, and is no workload of its own.
    testbed::eventually("the Deployment has a ReplicaSet", async || {
        let path = format!("/apis/apps/v1/namespaces/{}/replicasets", scanned.namespace);
        let sets = scanned.rest.get(&path).await?;
        Ok((sets["items"] != json!([])).then_some(()))
    })
    .await
    .unwrap();
    let run = scanned.scan(&["--templates", "-o", "json"]);
    let found = run.json();
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(found["summary"]["templatesChecked"], 2, "{found:#}");
    let templates = found["templates"].as_array().unwrap();
    let names: Vec<&str> = templates.iter().map(|template| template["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web"], "{found:#}");
    let violations = templates[0]["violations"].as_array().unwrap();
    let paths: Vec<&str> = violations.iter().map(|violation| violation["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"spec.template.spec.hostNetwork"), "{paths:?}");

    let text = scanned.scan(&["--templates"]).stdout;
    let head = format!(
        "Deployment {}/web, template: its next Pods would be denied, policy strict\n",
        scanned.namespace
    );
    assert!(text.starts_with(&head), "{text}");
    assert!(
        text.contains("\nno Pods to check\nthe templates of 1 of 2 workloads violate the policy\n"),
        "{text}"
    );
    let junit = scanned.scan(&["--templates", "-o", "junit"]).stdout;
    assert!(junit.contains("Deployment web, template") && junit.contains("failures=\"1\""), "{junit}");
}

#[tokio::test]
async fn a_job_that_has_ended_makes_no_more_pods() {
    let scanned = Scanned::new().await;
    let mut of_job = template();
    of_job["spec"]["restartPolicy"] = json!("Never");
    let job = json!({"metadata": {"name": "once"}, "spec": {"suspend": true, "template": of_job}});
    scanned.create_in("batch/v1", "jobs", &job).await;
    let found = scanned.scan(&["--templates", "-o", "json"]).json();
    assert_eq!(found["templates"][0]["name"], "once", "{found:#}");
    let path = format!("/apis/batch/v1/namespaces/{}/jobs/once", scanned.namespace);
    scanned
        .rest
        .merge(&path, &json!({"spec": {"suspend": false, "activeDeadlineSeconds": 1}}))
        .await
        .unwrap();
    testbed::eventually("the Job has failed", async || {
        let found = scanned.scan(&["--templates", "-o", "json"]).json();
        Ok((found["templates"] == json!([])).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn kinds_of_custom_resources_are_looked_for() {
    let scanned = Scanned::new().await;
    let definition = json!({
        "metadata": {"name": "sandboxes.agents.x-k8s.io"},
        "spec": {
            "group": "agents.x-k8s.io", "scope": "Namespaced",
            "names": {"plural": "sandboxes", "singular": "sandbox", "kind": "Sandbox", "listKind": "SandboxList"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    });
    scanned.rest.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await.unwrap();
    let sandbox = json!({
        "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "metadata": {"name": "agent"},
        "spec": {"podTemplate": template()},
    });
    testbed::eventually("the kind is served", async || {
        let path = format!("/apis/agents.x-k8s.io/v1alpha1/namespaces/{}/sandboxes", scanned.namespace);
        Ok(scanned.rest.post(&path, &sandbox).await.ok())
    })
    .await
    .unwrap();
    let found = scanned.scan(&["--templates", "-o", "json"]).json();
    let template = &found["templates"][0];
    assert_eq!((&template["kind"], &template["name"]), (&json!("Sandbox"), &json!("agent")), "{found:#}");
    assert!(found.to_string().contains("spec.podTemplate.spec.hostNetwork"), "{found:#}");
}

/// The definition of a kind of custom resources without a schema, in one version.
fn definition(group: &str, version: &str, (plural, kind): (&str, &str), scope: &str) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": scope,
            "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
            },
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

#[tokio::test]
async fn what_cannot_be_checked_of_a_workload_is_named_and_not_shown_as_checked() {
    let scanned = Scanned::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for (group, version, names, scope) in [
        // No version of these that sandgate knows.
        ("jobset.x-k8s.io", "v9", ("jobsets", "JobSet"), "Namespaced"),
        ("argoproj.io", "v1alpha1", ("workflows", "Workflow"), "Namespaced"),
        ("argoproj.io", "v1alpha1", ("clusterworkflowtemplates", "ClusterWorkflowTemplate"), "Cluster"),
    ] {
        scanned.rest.post(definitions, &definition(group, version, names, scope)).await.unwrap();
    }
    let create = async |version: &str, plural: &str, object: Value| {
        testbed::eventually("the kind is served", async || {
            let path = format!("/apis/{version}/namespaces/{}/{plural}", scanned.namespace);
            Ok(scanned.rest.post(&path, &object).await.ok())
        })
        .await
        .unwrap();
    };
    let kind = |version: &str, kind: &str, name: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    let empty = kind("jobset.x-k8s.io/v9", "JobSet", "empty", json!({"replicatedJobs": []}));
    create("jobset.x-k8s.io/v9", "jobsets", empty).await;
    let version = "argoproj.io/v1alpha1";
    let container = json!({"image": "registry.example.com/a:1", "securityContext": {"privileged": true}});
    let templates = json!([{"name": "main", "container": container, "podSpecPatch": "{}"}]);
    let patched = kind(version, "Workflow", "patched", json!({"templates": templates}));
    create(version, "workflows", patched).await;
    // Its owner is of a kind that sandgate does not know, and so has no template that could be checked.
    let mut deployment = json!({
        "metadata": {"name": "of-an-operator"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template()},
    });
    deployment["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "example.com/v1", "kind": "WebServer", "name": "w", "uid": "0", "controller": true,
    }]);
    scanned.create_in("apps/v1", "deployments", &deployment).await;

    let run = scanned.scan(&["--templates", "-o", "json"]);
    let found = run.json();
    let names: Vec<&str> = found["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["of-an-operator", "patched"], "{found:#}");
    let summary = &found["summary"];
    assert_eq!((&summary["templatesChecked"], &summary["templatesUnchecked"]), (&json!(1), &json!(2)));
    assert_eq!(found["kindsOfCluster"], json!(["ClusterWorkflowTemplate"]));
    let lines = [
        format!("JobSet {}/empty: it has no Pod template at spec.replicatedJobs[*].", scanned.namespace),
        format!(
            "Workflow {}/patched: it changes its Pods by spec.templates[0].podSpecPatch",
            scanned.namespace
        ),
        "objects of kind ClusterWorkflowTemplate: they are in no namespace".into(),
    ];
    let text = scanned.scan(&["--templates"]).stdout;
    let junit = scanned.scan(&["--templates", "-o", "junit"]).stdout;
    for line in lines {
        assert!(text.contains(&format!("not checked: {line}")), "{text}");
        assert!(junit.contains(&line), "{junit}");
    }
    assert!(text.contains("the templates of 2 of 3 workloads violate the policy\n"), "{text}");
}

#[tokio::test]
async fn a_missing_right_to_list_workloads_is_named() {
    let scanned = Scanned::new().await;
    let kubeconfig = scanned.kubeconfig_of_default_account().await;
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", scanned.namespace);
    let right = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]});
    scanned
        .rest
        .post(&format!("{rbac}/roles"), &json!({"metadata": {"name": "pods"}, "rules": [right]}))
        .await
        .unwrap();
    let subject = json!({"kind": "ServiceAccount", "name": "default", "namespace": scanned.namespace});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"});
    let binding = json!({"metadata": {"name": "pods"}, "roleRef": role, "subjects": [subject]});
    scanned.rest.post(&format!("{rbac}/rolebindings"), &binding).await.unwrap();
    let policy = scanned.policy.display().to_string();
    let args = ["-n", &scanned.namespace, "--policy", &policy, "--templates"];
    testbed::eventually("only workloads cannot be listed", async || {
        let run = run_as(kubeconfig.clone(), &args);
        let is_named = run
            .stderr
            .contains("with the rule {apiGroups: [\"\"], resources: [podtemplates], verbs: [list]}");
        Ok((run.status == 2 && is_named).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn sarif_names_the_objects_and_a_page_escapes_what_pods_contain() {
    let scanned = Scanned::new().await;
    let mut pod = hostile_pod("hostile");
    pod["metadata"]["annotations"] = json!({"io.katacontainers.x": "<script>alert(1)</script>"});
    scanned.create(&pod).await;
    scanned.create(&plain_pod("plain")).await;
    scanned.create_workloads().await;
    let run = scanned.scan(&["--templates", "-o", "sarif"]);
    let results = run.json()["runs"][0]["results"].as_array().unwrap().clone();
    let of = |kind: &str, name: &str, rule: &str| {
        let uri = format!("cluster/{}/{kind}/{name}", scanned.namespace);
        results.iter().any(|result| {
            result["ruleId"] == rule
                && result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri.as_str()
        })
    };
    assert!(of("Pod", "hostile", "host-namespaces"), "{results:#?}");
    assert!(of("Deployment", "web", "host-namespaces"), "{results:#?}");
    assert!(of("Pod", "plain", "runtime-class") && !of("Pod", "plain", "host-namespaces"), "{results:#?}");
    assert_eq!(run.status, 1);

    let page = scanned.scan(&["--templates", "-o", "html"]).stdout;
    assert!(page.starts_with("<!doctype html>\n"), "{page}");
    assert!(page.contains(&format!("Deployment {}/web", scanned.namespace)), "{page}");
    assert!(page.contains("spec.hostNetwork is true, must be false or unset"), "{page}");
    assert!(page.contains("script") && !page.contains("<script"), "{page}");
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"), "{page}");
}
