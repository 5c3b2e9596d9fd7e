//! The DNS of the cluster: `CoreDNS` in a Pod, with the Service and the labels that every cluster has, since
//! network policies select it by them.

use serde_json::{Value, json};

use super::super::{Rest, Result};
use super::node::toleration;

/// The image with the program.
pub(super) const IMAGE: &str = "localhost/coredns:bed";

/// The address of the Service, which the kubelet writes into `/etc/resolv.conf` of each Pod.
pub(super) const ADDRESS: &str = "10.96.0.10";

/// The domain of the cluster.
pub(super) const DOMAIN: &str = "cluster.local";

/// The namespace of the Pod and the Service.
const NAMESPACE: &str = "kube-system";

/// There is no other server to forward to: names outside of the cluster are unknown.
const COREFILE: &str = "\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
    }
}
";

/// Creates the objects; the Pod starts by itself.
///
/// # Errors
/// Returns an error if the API server rejects an object.
pub(super) async fn install(rest: &Rest) -> Result<()> {
    let namespace = format!("/api/v1/namespaces/{NAMESPACE}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let name = json!({"name": "coredns"});
    let labels = json!({"k8s-app": "kube-dns"});
    let subject = json!({"kind": "ServiceAccount", "name": "coredns", "namespace": NAMESPACE});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"});
    rest.post(&format!("{namespace}/serviceaccounts"), &json!({"metadata": name})).await?;
    rest.post(&format!("{rbac}/clusterroles"), &json!({"metadata": name, "rules": rules()})).await?;
    let binding = json!({"metadata": name, "subjects": [subject], "roleRef": role});
    rest.post(&format!("{rbac}/clusterrolebindings"), &binding).await?;
    let configuration = json!({"metadata": name, "data": {"Corefile": COREFILE}});
    rest.post(&format!("{namespace}/configmaps"), &configuration).await?;
    rest.post(&format!("{namespace}/services"), &service(&labels)).await?;
    let template = json!({"metadata": {"labels": labels}, "spec": pod_spec()});
    let deployment =
        json!({"metadata": name, "spec": {"selector": {"matchLabels": labels}, "template": template}});
    rest.post(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"), &deployment).await?;
    Ok(())
}

/// The resources that the plugin `kubernetes` lists and watches.
fn rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ])
}

fn service(labels: &Value) -> Value {
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol});
    json!({
        "metadata": {"name": "kube-dns", "labels": labels},
        "spec": {"clusterIP": ADDRESS, "selector": labels, "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]},
    })
}

fn pod_spec() -> Value {
    json!({
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "tolerations": [toleration()],
        "containers": [{
            "name": "coredns",
            "image": IMAGE,
            "args": ["-conf", "/configuration/Corefile"],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
            "volumeMounts": [{"name": "configuration", "mountPath": "/configuration", "readOnly": true}],
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        }],
        "volumes": [{"name": "configuration", "configMap": {"name": "coredns"}}],
    })
}
