//! `sandgate probe`: whether a cluster enforces the policy, seen from outside.

use std::path::PathBuf;

use axum::http::{Request, header};
use clap::Args;
use kube::{Client, core::Status as ApiStatus};
use serde_json::{Value, json};

use super::{CliError, Status, print, wait_for};
use crate::cluster::{self, Access};
use sandgate_engine::{
    review::{POLICY_ANNOTATION, annotations},
    text::sanitize,
};

/// Try a plain and a hostile Pod on a cluster, without running either
///
/// Asks the API server for a dry run of two creates: the plain Pod must be admitted and sandboxed, the hostile one must
/// be denied by sandgate.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 enforcing, 1 not enforcing, 2 could not be determined.")]
pub(super) struct ProbeArgs {
    /// A namespace whose policy is enforced
    #[arg(short, long)]
    namespace: String,
    /// Image of the plain Pod, if the policy does not allow every image
    #[arg(long, default_value = "busybox")]
    image: String,
    /// Kubeconfig file [default: ~/.kube/config, or the service account in a Pod]
    #[arg(long, value_name = "PATH", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

pub(super) fn run(args: &ProbeArgs) -> Result<Status, CliError> {
    wait_for(probe(args))
}

async fn probe(args: &ProbeArgs) -> Result<Status, CliError> {
    let ProbeArgs { namespace, kubeconfig, context, .. } = args;
    let access = Access {
        kubeconfig: kubeconfig.clone(),
        namespace: Some(namespace.clone()),
        context: context.clone(),
    };
    let api = cluster::connect(access.of_user()).await.map_err(CliError::new)?;
    let client = api.client();
    let plain = plain(try_pod(client, &args.namespace, &plain_pod(&args.image)).await?);
    let hostile = hostile(try_pod(client, &args.namespace, &hostile_pod(&args.image)).await?);
    let mut status = Status::Fine;
    for finding in [plain, hostile] {
        let (word, text) = match finding {
            Ok(text) => ("ok", text),
            Err(text) => {
                status = Status::Violations;
                ("FAILED", text)
            }
        };
        print(&format!("{word}: {}\n", sanitize(&text)))?;
    }
    Ok(status)
}

/// What became of a Pod.
enum Outcome {
    /// As it would be stored.
    Admitted(Value),
    /// Denied by this webhook, with this message.
    Denied { webhook: String, message: String },
}

async fn try_pod(client: &Client, namespace: &str, pod: &Value) -> Result<Outcome, CliError> {
    let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(pod.to_string().into_bytes());
    let request = request.map_err(|_| {
        CliError::new(format_args!("{namespace} is no name of a namespace: use one of a policy"))
    })?;
    match client.request::<Value>(request).await {
        Ok(pod) => Ok(Outcome::Admitted(pod)),
        Err(kube::Error::Api(status)) => denied(*status, namespace),
        Err(error) => Err(CliError::new(format_args!("the API server does not answer: {error}"))),
    }
}

/// A denial by sandgate is an answer; any other shows nothing about sandgate.
fn denied(status: ApiStatus, namespace: &str) -> Result<Outcome, CliError> {
    let message = status.message;
    let webhook = message.split_once("admission webhook \"").and_then(|(_, rest)| {
        let (name, rest) = rest.split_once('"')?;
        (annotations::endpoint_of(name).is_some() && rest.starts_with(" denied the request"))
            .then(|| name.to_owned())
    });
    match webhook {
        Some(webhook) => Ok(Outcome::Denied { webhook, message }),
        None => Err(CliError::new(format_args!("no Pod can be tried in {namespace}: {message}"))),
    }
}

fn plain(outcome: Outcome) -> Result<String, String> {
    let pod = match outcome {
        Outcome::Admitted(pod) => pod,
        Outcome::Denied { message, .. } => {
            return Err(format!("a plain Pod is denied: {}", message.replace('\n', " ")));
        }
    };
    let policy = pod["metadata"]["annotations"][POLICY_ANNOTATION].as_str();
    match (policy, pod["spec"]["runtimeClassName"].as_str()) {
        (Some(policy), Some(class)) => Ok(format!(
            "a plain Pod is admitted and comes out sandboxed (policy {policy}, RuntimeClass {class})"
        )),
        _ => Err("a plain Pod comes out as it went in: sandgate is not asked, or its policy has another mode than \
                  enforce"
            .into()),
    }
}

fn hostile(outcome: Outcome) -> Result<String, String> {
    match outcome {
        Outcome::Denied { webhook, .. } => Ok(format!("a hostile Pod is denied by {webhook}")),
        Outcome::Admitted(_) => Err("a hostile Pod is admitted".into()),
    }
}

fn plain_pod(image: &str) -> Value {
    pod(&json!({"containers": [{"name": "main", "image": image}]}))
}

fn hostile_pod(image: &str) -> Value {
    let container = json!({"name": "main", "image": image, "securityContext": {"privileged": true}});
    pod(&json!({"hostPID": true, "hostNetwork": true, "containers": [container]}))
}

fn pod(spec: &Value) -> Value {
    json!({"metadata": {"generateName": "sandgate-probe-"}, "spec": spec})
}
