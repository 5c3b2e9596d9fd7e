//! Argo Workflows with `preset/argo-workflows`: its controller submits what a user's Workflow asks for, and its executor
//! runs in each Pod.

use std::path::Path;

use serde_json::{Value, json};
use testbed::{Cluster, Engine, Process, Result, harness::Test};
use tokio::sync::{Mutex, OnceCell};

use super::{logs_of, pods_of};
use crate::{
    pods::{IMAGE, until},
    running::{GVISOR, KERNEL_OF_GVISOR},
    shared::{Bed, cluster},
};

/// The namespace, with the preset of this name.
pub(super) const NAMESPACE: &str = "argo-workflows";

/// The tests of this module.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(steps_pass_results_on_and_run_in_gvisor),
        Test::new_async(api_token_is_for_the_executor_alone),
        Test::new_async(hostile_workflows_fail_with_the_rule_and_the_remedy),
    ]
}

/// The controller, until this program ends.
static RUNNING: OnceCell<Mutex<Process>> = OnceCell::const_new();

/// Returns the cluster with the controller.
async fn with_argo() -> Bed<impl Sized> {
    let bed = cluster().await;
    RUNNING.get_or_init(async || Mutex::new(start(bed.cluster).await.unwrap())).await;
    bed
}

async fn start(cluster: &Cluster) -> Result<Process> {
    let engine = cluster.engine(Engine::ArgoWorkflows).await?;
    let definitions = engine.module.join("manifests/base/crds/minimal").display().to_string();
    cluster.bed.kubectl(&["apply", "--server-side", "--kustomize", &definitions]).await.expect_success();
    let executor = format!("quay.io/argoproj/argoexec:v{}", Engine::ArgoWorkflows.version());
    let program = engine.controller.with_file_name("argoexec");
    cluster.import(&executor, &[(&program, "/bin/argoexec")], &["argoexec"])?;
    let rest = cluster.bed.rest().await?;
    // The executor reports results to the API server, so the account of the Pods may write these and nothing else.
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}");
    let name = json!({"name": "executor"});
    let rules = json!([{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]);
    rest.post(&format!("{rbac}/roles"), &json!({"metadata": name, "rules": rules})).await?;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "executor"});
    let account = json!({"kind": "ServiceAccount", "name": "workflow-runner", "namespace": NAMESPACE});
    let binding = json!({"metadata": name, "roleRef": role, "subjects": [account]});
    rest.post(&format!("{rbac}/rolebindings"), &binding).await?;
    let settings = json!({
        "metadata": {"name": "workflow-controller-configmap"},
        "data": {"config": "workflowDefaults: {spec: {serviceAccountName: workflow-runner}}"},
    });
    // As the page of the preset advises. The file is read in the namespace of the kubeconfig.
    rest.post("/api/v1/namespaces/default/configmaps", &settings).await?;
    let arguments = |kubeconfig: &Path| {
        vec![format!("--kubeconfig={}", kubeconfig.display()), format!("--executor-image={executor}")]
    };
    let environment = [("LEADER_ELECTION_DISABLE", "true")];
    cluster.start_controller("argo", &engine.controller, arguments, &environment).await
}

fn path(rest: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflows{rest}")
}

fn workflow(name: &str, templates: &Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {"entrypoint": "main", "templates": templates},
    })
}

/// Waits until the Workflow has ended, and returns it.
async fn ended<G>(bed: &Bed<G>, name: &str) -> Value {
    let is_over = |workflow: &Value| workflow["status"]["finishedAt"].is_string();
    let ended = until(&bed.rest, &path(&format!("/{name}")), "has ended", is_over).await;
    let controller = RUNNING.get().unwrap().lock().await.check();
    ended.unwrap_or_else(|error| panic!("{error}; the controller: {controller:?}"))
}

async fn steps_pass_results_on_and_run_in_gvisor() {
    let bed = with_argo().await;
    let write = json!({
        "name": "write",
        "container": {"image": IMAGE, "command": ["sh", "-c"], "args": ["cut -d' ' -f1-3 /proc/version >/tmp/kernel"]},
        "outputs": {"parameters": [{"name": "kernel", "valueFrom": {"path": "/tmp/kernel"}}]},
    });
    let read = json!({
        "name": "read",
        "inputs": {"parameters": [{"name": "kernel"}]},
        "script": {"image": IMAGE, "command": ["sh"], "source": "echo It ran on {{inputs.parameters.kernel}}."},
    });
    let argument =
        json!({"parameters": [{"name": "kernel", "value": "{{steps.first.outputs.parameters.kernel}}"}]});
    let main = json!({"name": "main", "steps": [
        [{"name": "first", "template": "write"}],
        [{"name": "second", "template": "read", "arguments": argument}],
    ]});
    bed.rest.post(&path(""), &workflow("steps", &json!([main, write, read]))).await.unwrap();

    let steps = ended(&bed, "steps").await;

    assert_eq!(steps["status"]["phase"], "Succeeded", "{:#}", steps["status"]);
    let pods = pods_of(&bed.rest, NAMESPACE, "workflows.argoproj.io/workflow=steps").await;
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        let runtimes = bed.runtimes(pod);
        assert!(runtimes.len() >= 3 && runtimes.iter().all(|runtime| runtime == GVISOR), "{runtimes:?}");
    }
    let second = pods.iter().find(|pod| pod["metadata"]["name"].as_str().unwrap().contains("read")).unwrap();
    let log = logs_of(&bed, second, "main").await;
    let kernel: Vec<_> = KERNEL_OF_GVISOR.split(' ').take(3).collect();
    assert!(log.contains(&format!("It ran on {}.", kernel.join(" "))), "{log}");
}

async fn api_token_is_for_the_executor_alone() {
    let bed = with_argo().await;
    let script = "echo home $HOME; id -u; ls /var/run/secrets/kubernetes.io/serviceaccount 2>&1; true";
    let main = json!({"name": "main", "container": {"image": IMAGE, "command": ["sh", "-c", script]}});
    bed.rest.post(&path(""), &workflow("token", &json!([main]))).await.unwrap();

    let token = ended(&bed, "token").await;

    assert_eq!(token["status"]["phase"], "Succeeded", "{:#}", token["status"]);
    let pods = pods_of(&bed.rest, NAMESPACE, "workflows.argoproj.io/workflow=token").await;
    let log = logs_of(&bed, &pods[0], "main").await;
    assert!(log.contains("home /tmp\n1000\n"), "{log}");
    assert!(
        log.contains("/var/run/secrets/kubernetes.io/serviceaccount: No such file or directory"),
        "{log}"
    );
    let holders = |list: &str| -> Vec<String> {
        let containers = pods[0]["spec"][list].as_array().unwrap().iter();
        let has_token = |container: &&Value| {
            let mounts = container["volumeMounts"].as_array().into_iter().flatten();
            mounts
                .into_iter()
                .any(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount")
        };
        containers.filter(has_token).map(|container| container["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (holders("initContainers"), holders("containers")),
        (vec!["init".to_owned()], vec!["wait".to_owned()])
    );
}

async fn hostile_workflows_fail_with_the_rule_and_the_remedy() {
    let bed = with_argo().await;
    let container = json!({"image": IMAGE, "command": ["true"]});
    let mut privileged = json!({"name": "main", "container": container});
    privileged["container"]["securityContext"] = json!({"privileged": true});
    let sidecar = json!({
        "name": "main", "container": container,
        "sidecars": [{"name": "dind", "image": IMAGE, "command": ["true"], "securityContext": {"privileged": true}}],
    });
    let mut host = json!({"name": "main", "container": container, "volumes": [{"name": "host", "hostPath": {"path": "/"}}]});
    host["container"]["volumeMounts"] = json!([{"name": "host", "mountPath": "/host"}]);
    let patched = json!({"name": "main", "container": container, "podSpecPatch": r#"{"hostPID": true}"#});
    let account = json!({"name": "main", "container": container, "serviceAccountName": "strong"});
    let escapes = [
        ("privileged", privileged, "(privileged)"),
        ("sidecar", sidecar, "(privileged)"),
        ("host", host, "(volume-types)"),
        ("patched", patched, "(host-namespaces)"),
        ("account", account, "(service-account)"),
    ];
    let strong = json!({"metadata": {"name": "strong"}});
    bed.rest.post(&format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), &strong).await.unwrap();
    for (name, template, _) in &escapes {
        bed.rest.post(&path(""), &workflow(name, &json!([template]))).await.unwrap();
    }

    for (name, _, rule) in escapes {
        let workflow = ended(&bed, name).await;
        let status = &workflow["status"];
        // What `argo get` and the engine's page show.
        let message = status["message"].as_str().unwrap_or_default();
        assert!(matches!(status["phase"].as_str(), Some("Error" | "Failed")), "{name}: {status:#}");
        assert!(message.contains(rule) && message.contains("must be"), "{name}: {message}");
        let pods = pods_of(&bed.rest, NAMESPACE, &format!("workflows.argoproj.io/workflow={name}")).await;
        assert!(pods.is_empty(), "{name}: {pods:#?}");
        println!("{name}: {message}");
    }
}
