//! `sandgate probe`: whether a cluster enforces the policy, seen from outside.

use clap::Args;
use kube::Client;
use serde_json::Value;

use super::{
    CliError, Status,
    cluster_args::ReleaseArgs,
    dry_run::{Tried, hostile_pod, plain_pod, try_pod},
    print,
    rules_gone::{Rules, describe, rules_of},
    scan::ClusterChoice,
    wait_for,
    waiting::WaitArgs,
};
use crate::{certs::plan::Kind, cluster};
use sandgate_engine::{review::POLICY_ANNOTATION, text::sanitize};

/// Try a plain and a hostile Pod on a cluster, without running either
///
/// Asks the API server for a dry run of two creates: the plain Pod must be admitted and sandboxed, the hostile one must
/// be denied by sandgate. Where the rights allow it, webhook configurations that lost their rules are named as the reason.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 enforcing, 1 not enforcing, 2 could not be determined.")]
pub(super) struct ProbeArgs {
    /// A namespace whose policy is enforced
    #[arg(short, long)]
    namespace: String,
    /// Image of the plain Pod, if the policy does not allow every image
    #[arg(long, default_value = "busybox")]
    image: String,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    cluster: ClusterChoice,
}

pub(super) fn run(args: &ProbeArgs) -> Result<Status, CliError> {
    wait_for(probe(args))
}

/// Says what became of a Pod.
type Reading = fn(Tried) -> Finding;

/// What was found of a configuration or a Pod: a sentence, an error if it should not be so.
type Finding = Result<String, String>;

async fn probe(args: &ProbeArgs) -> Result<Status, CliError> {
    let cluster = args.cluster.connect().await?;
    let client = cluster.client();
    let failures = |findings: &Vec<Finding>| findings.iter().filter(|finding| finding.is_err()).count();
    let findings = args.wait.until_nothing_fails(async || look(client, args).await, failures).await?;
    let mut status = Status::Fine;
    for finding in findings {
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

async fn look(client: &Client, args: &ProbeArgs) -> Result<Vec<Finding>, CliError> {
    let mut findings: Vec<Finding> = missing_rules(client, args).await.into_iter().map(Err).collect();
    let has_rules = findings.is_empty();
    for (pod, read) in [(plain_pod(&args.image), plain as Reading), (hostile_pod(&args.image), hostile)] {
        match tried(client, args, &pod).await {
            Ok(tried) => findings.push(read(tried)),
            Err(error) if has_rules => return Err(error),
            // The reason is known.
            Err(error) => findings.push(Err(error.0.join("; "))),
        }
    }
    Ok(findings)
}

/// Returns a sentence for each webhook configuration that has no rules. One that cannot be read is left to the dry runs.
async fn missing_rules(client: &Client, args: &ProbeArgs) -> Vec<String> {
    let ReleaseArgs { sandgate_namespace, webhook_configuration, ca_secret } = &args.release;
    let mut rules_of_kinds = Vec::new();
    for kind in Kind::ALL {
        let path = format!(
            "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations/{webhook_configuration}",
            kind.as_str()
        );
        let configuration = read(client, &path).await;
        rules_of_kinds.push(configuration.map(|configuration| rules_of(&configuration)));
    }
    if !rules_of_kinds.contains(&Some(Rules::Gone)) {
        return Vec::new();
    }
    let secret = read(client, &format!("/api/v1/namespaces/{sandgate_namespace}/secrets/{ca_secret}")).await;
    let was_armed = secret.map(|secret| cluster::was_armed(Some(&secret)));
    let missing = Kind::ALL.into_iter().zip(rules_of_kinds).enumerate();
    let missing = missing.filter_map(|(index, (kind, rules))| {
        describe(kind, webhook_configuration, rules?, was_armed.map(|armed| armed[index]))
    });
    missing.collect()
}

/// Reads an object; none if it is not there, or the right to read it is missing.
async fn read(client: &Client, path: &str) -> Option<Value> {
    let request = axum::http::Request::get(path).body(Vec::new()).ok()?;
    client.request(request).await.ok()
}

/// Tries a Pod; an answer that shows nothing about sandgate is an error.
async fn tried(client: &Client, args: &ProbeArgs, pod: &Value) -> Result<Tried, CliError> {
    let namespace = &args.namespace;
    match try_pod(client, namespace, pod).await.map_err(CliError::new)? {
        Tried::Failed { message, .. } => {
            Err(CliError::new(format_args!("no Pod can be tried in {namespace}: {message}")))
        }
        tried => Ok(tried),
    }
}

fn plain(tried: Tried) -> Result<String, String> {
    let pod = match tried {
        Tried::Admitted(pod) => pod,
        Tried::Denied { message, .. } | Tried::Failed { message, .. } => {
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

fn hostile(tried: Tried) -> Result<String, String> {
    match tried {
        Tried::Denied { webhook, .. } => Ok(format!("a hostile Pod is denied by {webhook}")),
        Tried::Admitted(_) => Err("a hostile Pod is admitted".into()),
        Tried::Failed { message, .. } => Err(format!("a hostile Pod cannot be tried: {message}")),
    }
}
