//! Dry runs of two creates: a plain Pod, and a Pod that every policy denies.

use axum::http::{Request, header};
use kube::{Client, core::Status as ApiStatus};
use serde_json::{Value, json};

use sandgate_engine::review::annotations;

/// What became of a Pod.
#[derive(Debug, Clone)]
pub(super) enum Tried {
    /// The Pod as it would be stored.
    Admitted(Value),
    /// The webhook of sandgate that denied the Pod, and its message.
    Denied { webhook: String, message: String },
    /// Another answer, which shows nothing about a policy.
    Failed { code: u16, message: String },
}

/// Asks for a create of a Pod, which is not stored.
pub(super) async fn try_pod(client: &Client, namespace: &str, pod: &Value) -> Result<Tried, String> {
    let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(pod.to_string().into_bytes());
    let request =
        request.map_err(|_| format!("{namespace} is no name of a namespace: use one of a policy"))?;
    match client.request::<Value>(request).await {
        Ok(pod) => Ok(Tried::Admitted(pod)),
        Err(kube::Error::Api(status)) => Ok(denied(*status)),
        Err(error) => Err(format!("the API server does not answer: {error}")),
    }
}

/// A denial by sandgate is an answer; any other shows nothing about sandgate.
fn denied(status: ApiStatus) -> Tried {
    let message = status.message;
    let webhook = message.split_once("admission webhook \"").and_then(|(_, rest)| {
        let (name, rest) = rest.split_once('"')?;
        (annotations::endpoint_of(name).is_some() && rest.starts_with(" denied the request"))
            .then(|| name.to_owned())
    });
    match webhook {
        Some(webhook) => Tried::Denied { webhook, message },
        None => Tried::Failed { code: status.code, message },
    }
}

/// Returns a Pod that asks for nothing.
pub(super) fn plain_pod(image: &str) -> Value {
    pod(&json!({"containers": [{"name": "main", "image": image}]}))
}

/// Returns a Pod that every policy denies.
pub(super) fn hostile_pod(image: &str) -> Value {
    let container = json!({"name": "main", "image": image, "securityContext": {"privileged": true}});
    pod(&json!({"hostPID": true, "hostNetwork": true, "containers": [container]}))
}

fn pod(spec: &Value) -> Value {
    json!({"metadata": {"generateName": "sandgate-probe-"}, "spec": spec})
}
