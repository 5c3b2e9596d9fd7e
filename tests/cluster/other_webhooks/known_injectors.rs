//! What well-known injectors add, of a service mesh and of a secret store: what passes as it comes, and what must be
//! set so that it passes. Written from their documentation; the shapes are what matters.

use serde_json::{Value, json};

use super::removals::add;
use crate::{
    examples::plain_pod,
    hostile::{main, merge},
    sandbox::Sandbox,
    sandboxed::{assert_fields, assert_sandboxed},
    webhooks::{Injector, Place},
};
use testbed::Reinvocation;

const PLACES: [Place; 2] = [Place::BeforeSandgate, Place::AfterSandgate];

/// The mesh's proxy wants as much cpu as the default policy gives a pod, so the budget must grow.
fn roomy() -> Value {
    let amounts = json!({"cpu": "4", "memory": "8Gi", "ephemeral-storage": "20Gi"});
    json!({"resources": {"pod": {"limits": amounts}}})
}

#[tokio::test]
async fn a_mesh_proxy_with_a_user_of_its_own_is_denied_with_a_remedy() {
    let expected = [
        "spec.initContainers[0].securityContext.runAsUser is 1337, must be 1000: Istio adds this container; \
         allow its image (policy key containers) (run-as-user)",
        "(run-as-group)",
    ];
    assert_denied(roomy(), |pod| mesh_proxy(pod, 1337), &expected).await;
}

#[tokio::test]
async fn a_mesh_proxy_with_the_policys_user_is_admitted() {
    for place in PLACES {
        let sandbox = sandbox_with(roomy(), place, |pod| mesh_proxy(pod, 1000)).await;
        let stored = sandbox.create_and_read(&plain_pod("meshed")).await;
        assert_fields(
            &stored,
            &[
                ("/spec/initContainers/0/name", json!("istio-proxy")),
                ("/spec/initContainers/0/restartPolicy", json!("Always")),
                ("/spec/initContainers/0/resources/limits/cpu", json!("2")),
                ("/spec/initContainers/0/resources/limits/memory", json!("1Gi")),
                ("/spec/containers/0/resources/limits/cpu", json!("2")),
                ("/spec/containers/0/resources/limits/memory", json!("4Gi")),
                ("/spec/runtimeClassName", json!("gvisor")),
            ],
        );
    }
}

/// If it comes first nothing is left to fill in; if it comes after us, what we filled can only be lowered so far.
#[tokio::test]
async fn a_mesh_proxy_that_takes_the_whole_budget_is_denied_with_a_remedy() {
    let denied = denials_of(json!({}), |pod| mesh_proxy(pod, 1000)).await;
    let [before, after] = denied;
    let expected = "spec.containers[0].resources.limits[cpu] is unset, must be more than 0, at most 2: set a limit: the other \
                containers use up the Pod's budget (policy key resources.pod.limits) (resource-limits)";
    assert!(before.contains(expected), "{before}");
    let expected = "spec.containers is 4 cpu in total, must be at most 2 cpu for the Pod: lower the containers' limits and \
                requests (policy key resources.pod.limits) (pod-budget)";
    assert!(after.contains(expected), "{after}");
}

#[tokio::test]
async fn a_mesh_proxy_of_a_smaller_size_shares_the_default_budget() {
    for place in PLACES {
        let small = |pod: &mut Value| {
            mesh_proxy(pod, 1000);
            pod["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = json!("500m");
        };
        let sandbox = sandbox_with(json!({}), place, small).await;
        let stored = sandbox.create_and_read(&plain_pod("meshed")).await;
        assert_sandboxed(&stored);
        assert_fields(&stored, &[("/spec/containers/0/resources/limits/cpu", json!("1500m"))]);
    }
}

/// The init container that redirects the pod's traffic needs what the sandbox forbids. With the mesh's CNI plugin the
/// node does that, and the init container only looks whether it is done.
#[tokio::test]
async fn a_mesh_that_redirects_traffic_by_an_init_container_is_denied() {
    let redirecting = |pod: &mut Value| {
        mesh_proxy(pod, 1000);
        let add = json!({"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]});
        let security = json!({"capabilities": add, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false});
        add_init(pod, json!({"name": "istio-init", "image": "proxy:1", "securityContext": security}));
    };
    let expected = [
        "spec.initContainers[1].securityContext.capabilities.add[0] is \"NET_ADMIN\"",
        "spec.initContainers[1].securityContext.runAsUser is 0",
        "spec.initContainers[1].securityContext.runAsNonRoot is false",
    ];
    assert_denied(roomy(), redirecting, &expected).await;
}

#[tokio::test]
async fn a_mesh_that_redirects_traffic_on_the_node_is_admitted() {
    for place in PLACES {
        let cni = |pod: &mut Value| {
            mesh_proxy(pod, 1000);
            pod["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = json!("500m");
            let security =
                json!({"capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "privileged": false});
            add_init(
                pod,
                json!({"name": "istio-validation", "image": "proxy:1", "securityContext": security}),
            );
        };
        let sandbox = sandbox_with(json!({}), place, cni).await;
        assert_sandboxed(&sandbox.create_and_read(&plain_pod("meshed")).await);
    }
}

/// As it comes the proxy also brings a token, a config map and the pod's labels in files.
#[tokio::test]
async fn a_mesh_proxy_that_brings_a_token_is_denied() {
    let with_files = |pod: &mut Value| {
        mesh_proxy(pod, 1000);
        let token = json!({"serviceAccountToken": {"path": "istio-token", "audience": "istio-ca"}});
        let volumes = [
            json!({"name": "istio-token", "projected": {"sources": [token]}}),
            json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
            json!({"name": "istio-podinfo", "downwardAPI": {"items": []}}),
        ];
        for volume in volumes {
            add(&mut pod["spec"], "volumes", volume);
        }
    };
    let expected = ["(token-volumes)", "a configMap volume", "a downwardAPI volume"];
    assert_denied(roomy(), with_files, &expected).await;
}

#[tokio::test]
async fn secrets_in_a_folder_outside_the_writable_paths_are_denied_with_a_remedy() {
    let expected = "is \"/vault/secrets\", must be in /workspace or /tmp, or readOnly: true: mount it there or read-only \
                (policy key volumes.writablePaths) (writable-paths)";
    assert_denied(json!({}), |pod| secret_agents(pod, "/vault/secrets"), &[expected]).await;
}

#[tokio::test]
async fn secrets_in_a_folder_below_a_writable_path_are_admitted() {
    for place in PLACES {
        let sandbox = sandbox_with(json!({}), place, |pod| secret_agents(pod, "/tmp/secrets")).await;
        let stored = sandbox.create_and_read(&plain_pod("secretive")).await;
        assert_sandboxed(&stored);
        let mounts = stored["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts");
        assert!(
            mounts.contains(&json!({"name": "vault-secrets", "mountPath": "/tmp/secrets"})),
            "{mounts:?}"
        );
    }
}

/// Here the policy's own volume would be in the way of the agent's if it came first.
#[tokio::test]
async fn a_policy_may_name_the_folder_of_secrets_if_the_agent_comes_before_us() {
    let settings = json!({"volumes": {"filled": [
        {"name": "workspace", "mountPath": "/workspace", "sizeLimit": "10Gi"},
        {"name": "tmp", "mountPath": "/tmp", "sizeLimit": "1Gi"},
        {"name": "secrets", "mountPath": "/vault/secrets", "sizeLimit": "1Mi"},
    ]}});
    let agents = |pod: &mut Value| secret_agents(pod, "/vault/secrets");
    let sandbox = sandbox_with(settings.clone(), Place::BeforeSandgate, agents).await;
    let stored = sandbox.create_and_read(&plain_pod("secretive")).await;
    let mount = json!({"name": "vault-secrets", "mountPath": "/vault/secrets"});
    for list in ["initContainers", "containers"] {
        for container in stored["spec"][list].as_array().expect("containers") {
            assert!(container["volumeMounts"].as_array().expect("mounts").contains(&mount), "{container:#}");
        }
    }

    let sandbox = sandbox_with(settings, Place::AfterSandgate, agents).await;
    let denial = sandbox.create(&plain_pod("secretive")).await.expect_err("two volumes in one place");
    assert!(denial.code == 422 && denial.message.contains("must be unique"), "{denial}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_agent_with_a_user_of_its_own_is_denied_with_a_remedy() {
    let with_user = |pod: &mut Value| {
        secret_agents(pod, "/tmp/secrets");
        merge(&mut pod["spec"]["initContainers"][0], json!({"securityContext": {"runAsUser": 100}}));
    };
    let expected = "spec.initContainers[0].securityContext.runAsUser is 100, must be 1000: Vault's injector adds this \
                container; allow its image (policy key containers) (run-as-user)";
    assert_denied(json!({}), with_user, &[expected]).await;
}

/// Why the API server denies a pod if the injector comes before us, and if it comes after; nothing is stored.
async fn denials_of(settings: Value, edit: fn(&mut Value)) -> [String; 2] {
    let mut messages = [String::new(), String::new()];
    for (place, message) in PLACES.into_iter().zip(&mut messages) {
        let sandbox = sandbox_with(settings.clone(), place, edit).await;
        let denial = sandbox.create(&plain_pod("injected")).await.expect_err("what is injected is denied");
        assert_eq!(sandbox.pods().await, Vec::<Value>::new());
        *message = denial.message;
    }
    messages
}

/// The denial says all of this, whether the injector comes before us or after.
async fn assert_denied(settings: Value, edit: fn(&mut Value), expected: &[&str]) {
    for message in denials_of(settings, edit).await {
        for part in expected {
            assert!(message.contains(part), "{part}\n{message}");
        }
    }
}

async fn sandbox_with(
    settings: Value,
    place: Place,
    edit: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Sandbox {
    let sandbox = Sandbox::with(&json!({}), &settings).await;
    let injector = Injector::start("CREATE").await;
    injector.will(edit);
    injector.register(&sandbox, place, Reinvocation::IfNeeded).await;
    sandbox
}

/// The proxy as a native sidecar, with its folders where the policy lets it write.
fn mesh_proxy(pod: &mut Value, user: u32) {
    add(&mut pod["spec"], "volumes", json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}));
    add(&mut pod["spec"], "volumes", json!({"name": "istio-data", "emptyDir": {}}));
    add_init(
        pod,
        json!({
            "name": "istio-proxy",
            "image": "proxy:1",
            "restartPolicy": "Always",
            "args": ["proxy", "sidecar"],
            "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}},
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": true, "runAsUser": user, "runAsGroup": user
            },
            "volumeMounts": [
                {"name": "istio-envoy", "mountPath": "/tmp/istio/proxy"},
                {"name": "istio-data", "mountPath": "/tmp/istio/data"}
            ],
        }),
    );
}

/// One agent that fetches secrets before the pod starts and one that renews them, with folders in memory. They run as
/// the pod's user.
fn secret_agents(pod: &mut Value, folder: &str) {
    let memory = json!({"medium": "Memory"});
    for name in ["home-init", "home-sidecar", "vault-secrets"] {
        add(&mut pod["spec"], "volumes", json!({"name": name, "emptyDir": memory}));
    }
    let secrets = json!({"name": "vault-secrets", "mountPath": folder});
    add(main(pod), "volumeMounts", secrets.clone());
    let agent = |name: &str, home: &str| {
        json!({
            "name": name,
            "image": "vault:1",
            "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                "capabilities": {"drop": ["ALL"]}
            },
            "volumeMounts": [{"name": home, "mountPath": "/tmp/home"}, secrets],
        })
    };
    add_init(pod, agent("vault-agent-init", "home-init"));
    add(&mut pod["spec"], "containers", agent("vault-agent", "home-sidecar"));
}

fn add_init(pod: &mut Value, container: Value) {
    add(&mut pod["spec"], "initContainers", container);
}
