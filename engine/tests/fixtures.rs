//! Pods as engines, agent sandboxes and bug reports have them, under the policy that is meant for them: what is
//! admitted, what is denied and why, and that hostile variants of what is admitted are denied.
//!
//! The Pods in `tests/fixtures` were written for this project, in the shape in which an API server sends them to a
//! webhook.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use sandgate_engine::{
    policy::{PolicySet, Source},
    review::{Endpoint, Outcome, answer},
};
use serde_json::{Value, json};

/// The openings that a policy has on purpose, so that the hostile variant of them is not an attack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    Nothing,
    /// User 0 in the container that the variant changes.
    Root,
    /// The API server's token for every container of the Pod.
    Token,
}

/// One Pod and what becomes of it.
struct Fixture {
    /// The file in `tests/fixtures`, without `.yaml`.
    file: &'static str,
    /// The `spec` of the policy, without its namespaces.
    policy: &'static str,
    /// The rules that it violates once it is filled; none if it is admitted.
    violates: &'static [&'static str],
    opens: Opens,
}

const fn admitted(file: &'static str, policy: &'static str) -> Fixture {
    Fixture { file, policy, violates: &[], opens: Opens::Nothing }
}

const fn opening(file: &'static str, policy: &'static str, opens: Opens) -> Fixture {
    Fixture { file, policy, violates: &[], opens }
}

const fn denied(file: &'static str, policy: &'static str, violates: &'static [&'static str]) -> Fixture {
    Fixture { file, policy, violates, opens: Opens::Nothing }
}

const AIRFLOW: &str = "extends: preset/airflow";
const ARC: &str = "extends: preset/github-arc";
const ARC_KUBERNETES: &str = "extends: preset/github-arc-kubernetes";
const ARGO: &str = "extends: preset/argo-workflows";
/// Argo Workflows whose Workflows mount the ConfigMap `settings`.
const ARGO_SETTINGS: &str =
    "extends: preset/argo-workflows, add: {volumes: {configMap: {names: [settings]}}}";
/// Argo Workflows on EKS, where Pods get a token for AWS.
const ARGO_EKS: &str = "extends: preset/argo-workflows, \
    serviceAccount: {tokens: [{audience: sts.amazonaws.com, maxExpirationSeconds: 86400}]}";
const AGENTS: &str = "extends: preset/agent-sandbox";
const BUILDKITE: &str = "extends: preset/buildkite";
const CODER: &str = "extends: preset/coder";
const DAGSTER: &str = "extends: preset/dagster-prefect-flyte";
const DRONE: &str = "extends: preset/drone-woodpecker";
const GITLAB: &str = "extends: preset/gitlab-runner";
const JENKINS: &str = "extends: preset/jenkins";
const JOBS: &str = "extends: preset/jobs";
const JUPYTERHUB: &str = "extends: preset/jupyterhub";
const KANIKO: &str = "extends: preset/kaniko";
const RAY: &str = "extends: preset/ray";
const TEKTON: &str = "extends: preset/tekton";
/// The spec of the full sandbox, which is empty.
const SANDBOX: &str = "";
/// Agents that install packages as root, in a user namespace. The exceptions of the preset would change nothing.
const ROOT_AGENTS: &str = "extends: preset/agent-sandbox, containers: [], security: {runAsUser: {default: null}, \
    runAsGroup: {default: null, min: 0}, root: {runtimeClasses: [gvisor], userNamespace: true}, \
    capabilities: {add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]}, readOnlyRootFilesystem: false}";

const FIXTURES: [Fixture; 89] = [
    admitted("engines/airflow-executor", AIRFLOW),
    admitted("engines/airflow-kpo-plain", AIRFLOW),
    admitted("engines/airflow-kpo-xcom", AIRFLOW),
    admitted("engines/arc-default", ARC),
    denied("engines/arc-dind", ARC, &["privileged", "writable-paths"]),
    admitted("engines/arc-k8s-job", ARC_KUBERNETES),
    opening("engines/arc-k8s-runner", ARC_KUBERNETES, Opens::Token),
    admitted("engines/argo-agent", ARGO),
    admitted("engines/argo-artifacts", ARGO),
    admitted("engines/argo-configmap-ro", ARGO_SETTINGS),
    admitted("engines/argo-exec-sa-token", ARGO),
    admitted("engines/argo-hello", ARGO),
    admitted("engines/argo-irsa", ARGO_EKS),
    admitted("engines/argo-initless", ARGO),
    admitted("engines/argo-script", ARGO),
    opening("engines/buildkite-default", BUILDKITE, Opens::Root),
    opening("engines/buildkite-git-credentials", BUILDKITE, Opens::Root),
    opening("engines/buildkite-uid1000", BUILDKITE, Opens::Root),
    opening("engines/dagster-run", DAGSTER, Opens::Token),
    admitted("engines/drone-4-steps", DRONE),
    admitted("engines/flyte-copilot", DAGSTER),
    admitted("engines/flyte-python", DAGSTER),
    admitted("engines/gitlab-build", GITLAB),
    admitted("engines/gitlab-default-service", GITLAB),
    admitted("engines/gitlab-tuned", GITLAB),
    admitted("engines/jenkins-agent-injection", JENKINS),
    admitted("engines/jenkins-maven", JENKINS),
    admitted("engines/job-gpu", "extends: preset/gpu-jobs"),
    admitted("engines/job-gpu-least", "extends: preset/gpu-jobs"),
    admitted("engines/job-pgdump-pvc", JOBS),
    admitted("engines/job-pi", JOBS),
    admitted("engines/job-renovate", JOBS),
    opening("engines/kaniko", KANIKO, Opens::Root),
    opening("engines/kubeflow-v2", "extends: preset/kubeflow-pipelines", Opens::Token),
    admitted("engines/prefect", DAGSTER),
    opening("engines/spark-driver", "extends: preset/spark", Opens::Token),
    admitted("engines/spark-executor", "extends: preset/spark"),
    admitted("engines/tekton-no-timeout", TEKTON),
    admitted("engines/tekton-sidecar", TEKTON),
    admitted("engines/tekton-taskrun", TEKTON),
    admitted("engines/tekton-workspace-pvc", TEKTON),
    admitted("engines/vllm", "extends: preset/gpu-serving"),
    admitted("engines/woodpecker", DRONE),
    admitted("agents/01-agent-sandbox", AGENTS),
    admitted("agents/02-agent-sandbox-warm", AGENTS),
    opening("agents/03-openhands", AGENTS, Opens::Root),
    opening("agents/04-root-agent", ROOT_AGENTS, Opens::Root),
    denied("agents/05-jupyterhub", JUPYTERHUB, &["capabilities", "privileged", "run-as-user"]),
    admitted("agents/06-kubeflow-notebook", JUPYTERHUB),
    admitted("agents/07-devworkspace", CODER),
    admitted("agents/08-coder", CODER),
    opening("agents/09-envbuilder", CODER, Opens::Root),
    admitted("agents/10-notebook-sandbox", AGENTS),
    admitted("agents/11-ssh-sandbox", AGENTS),
    admitted("agents/12-kata-sandbox", AGENTS),
    admitted("agents/13-writable-root", AGENTS),
    admitted("agents/14-team-sandbox", AGENTS),
    admitted("agents/15-ray-head", RAY),
    admitted("agents/16-ray-worker-gpu", RAY),
    admitted("agents/17-knative-revision", "extends: preset/knative"),
    admitted("addons/aks-workload-identity", "extends: preset/aks-identity"),
    admitted("addons/eks-irsa", "extends: preset/eks-identity"),
    admitted("addons/eks-pod-identity", "extends: preset/eks-identity"),
    admitted("addons/istio-classic", "extends: preset/istio-cni"),
    admitted("addons/istio-native", "extends: preset/istio-cni"),
    admitted("addons/linkerd", "extends: preset/linkerd"),
    admitted("addons/openshift", "extends: preset/openshift"),
    admitted(
        "capabilities/01-writable",
        "volumes: {writablePaths: [/home], persistentVolumeClaim: {names: ['home-*']}, configMap: {names: [app]}}",
    ),
    admitted("capabilities/02-longlived", AGENTS),
    admitted("capabilities/03-identity", "extends: preset/eks-identity"),
    admitted(
        "capabilities/04-gpu",
        "resources: {extended: {nvidia.com/gpu: {max: 1, runtimeClasses: [gvisor]}}}",
    ),
    admitted("capabilities/05-accounts", "serviceAccount: {default: null, allowed: [agent-a, agent-b]}"),
    opening("capabilities/06-root", ROOT_AGENTS, Opens::Root),
    admitted(
        "capabilities/08-spot",
        "placement: {allowedTolerations: [{key: cloud.google.com/gke-spot, operator: Equal, value: 'true', effect: NoSchedule}]}",
    ),
    admitted("capabilities/09-openshift", "extends: preset/openshift"),
    admitted("reports/01-tekton-3657-fsgroup", SANDBOX),
    admitted("reports/03-argo-5739-git-artifact", ARGO),
    admitted("reports/05-argo-7970-exec-sa-token", ARGO),
    admitted("reports/07-argo-7755-mirrored-mounts", ARGO_SETTINGS),
    admitted("reports/09-airflow-10722-quota-requests", AIRFLOW),
    denied("reports/11-arc-792-dind", ARC, &["privileged", "writable-paths"]),
    admitted("reports/13-govuk-1510-yarn-app-dir", ARGO),
    admitted("reports/15-jenkins-agents-738-home", JENKINS),
    admitted("reports/17-containerd-3511-image-volume", SANDBOX),
    admitted("reports/19-astronomer-351-kpo", AIRFLOW),
    admitted("reports/21-buildkite-586-job-deadline", "extends: preset/buildkite"),
    admitted("reports/23-home-ops-9387-fsgroup", ARC),
    admitted(
        "reports/25-runtimeclass-tolerations",
        "placement: {allowedTolerations: [{key: gvisor, operator: Exists}]}",
    ),
    admitted("reports/26-configmap-mount", "volumes: {configMap: {names: [conf]}}"),
];

/// Pods that are only in other tables: two documents, or the smallest inputs of the rules.
const OTHERS: [Fixture; 9] = [
    admitted("smallest/01-own-emptydir", "volumes: {writablePaths: [/var/run/argo]}"),
    admitted(
        "smallest/01-own-emptydir",
        "security: {readOnlyRootFilesystem: false}, volumes: {writablePaths: ['*']}",
    ),
    admitted("smallest/02-configmap", "volumes: {configMap: {names: [conf]}}"),
    opening("smallest/05-root", KANIKO, Opens::Root),
    admitted("smallest/08-audience-token", "extends: preset/eks-identity"),
    admitted("smallest/09-termination-path", "volumes: {terminationMessagePaths: [/tekton/termination]}"),
    denied("smallest/02-configmap", SANDBOX, &["volume-types"]),
    denied("smallest/08-audience-token", SANDBOX, &["token-volumes"]),
    denied("smallest/09-termination-path", SANDBOX, &["termination-message-path"]),
];

fn all() -> impl Iterator<Item = &'static Fixture> {
    FIXTURES.iter().chain(&OTHERS)
}

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
        let text = fs::read_to_string(folder().join(format!("{}.yaml", self.file))).unwrap();
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        if object["kind"] == "Pod" {
            return object;
        }
        pod_of_job(&object)
    }
}

/// The Pod that the Job controller creates.
fn pod_of_job(job: &Value) -> Value {
    let mut pod = job["spec"]["template"].clone();
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": "u", "controller": true});
    pod["kind"] = json!("Pod");
    pod["metadata"] = json!({"generateName": "job-", "ownerReferences": [owner]});
    pod
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
    for fixture in all() {
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
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all().count(), wrong.join("\n\n"));
}

/// Makes a Pod hostile.
type Attack = fn(&mut Value);

/// Each attack with the rule that denies it.
const ATTACKS: [(&str, Attack); 8] = [
    ("privileged", |pod| {
        let sidecar = json!({"name": "evil", "image": "i", "securityContext": {"privileged": true}});
        push(&mut pod["spec"]["containers"], sidecar);
    }),
    ("token-volumes", |pod| {
        let sources = json!([{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]);
        push(&mut pod["spec"]["volumes"], json!({"name": "evil", "projected": {"sources": sources}}));
        let container = json!({"name": "evil", "image": "registry.example.com/evil",
            "volumeMounts": [{"name": "evil", "mountPath": "/var/run/evil"}]});
        push(&mut pod["spec"]["containers"], container);
    }),
    ("volume-types", |pod| {
        push(&mut pod["spec"]["volumes"], json!({"name": "evil", "hostPath": {"path": "/"}}));
    }),
    ("host-namespaces", |pod| pod["spec"]["hostNetwork"] = json!(true)),
    ("runtime-class", |pod| pod["spec"]["runtimeClassName"] = json!("runc")),
    ("run-as-user", |pod| {
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            container["securityContext"]["runAsUser"] = json!(0);
        }
    }),
    ("capabilities", |pod| {
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            container["securityContext"]["capabilities"] = json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]});
        }
    }),
    ("service-account", |pod| {
        pod["spec"]["serviceAccountName"] = json!("cluster-admin");
        pod["spec"].as_object_mut().unwrap().remove("serviceAccount");
    }),
];

fn push(list: &mut Value, item: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(item);
}

#[test]
fn hostile_variants_of_what_is_admitted_are_denied() {
    let mut wrong = Vec::new();
    for fixture in all().filter(|fixture| fixture.violates.is_empty()) {
        let policies = fixture.policies();
        for (rule, attack) in ATTACKS {
            let is_open = match rule {
                "run-as-user" => fixture.opens == Opens::Root,
                "token-volumes" => fixture.opens == Opens::Token,
                _ => false,
            };
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
    let fixture = all().find(|fixture| fixture.file == "engines/argo-hello").unwrap();
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
    let fixture = all().find(|fixture| fixture.file == "engines/vllm").unwrap();
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
            let is_listed = all().any(|fixture| fixture.file == file)
                || SEVERAL_PODS.contains(&&*file)
                || CLASHES.contains(&&*file);
            assert!(is_listed, "{file}");
        }
    }
}
