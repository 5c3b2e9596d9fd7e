//! `sandgate certs`: the state of managed certificates.

use std::{
    fmt::{self, Write},
    path::PathBuf,
};

use axum::http::Request;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    CliError, Status,
    cluster_args::ClusterArgs,
    format::TextOrJson,
    print,
    terminal::{BAD, FAINT, GOOD, STRONG, paint},
    wait_for,
};
use crate::{
    certs::{
        self,
        ca::{Authority, Certificate, State},
        inspect::Served,
        plan::{self, Due, Kind, LARGEST_SKEW, Lifetimes, Memory, Observed, Rules, Secret, Upkeep},
    },
    cluster::{self, Snapshot, Watched},
};

#[derive(Debug, Subcommand)]
pub(super) enum CertsCommand {
    Show(ShowArgs),
    Dev(DevArgs),
}

/// Write a development CA and a certificate as files
///
/// Writes ca.crt, tls.crt and tls.key into a folder, for `serve --certs files --cert-dir DIR`. The CA's key is not kept:
/// the next call makes another CA. Not for production.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 they are written, 2 they cannot be written.")]
pub(super) struct DevArgs {
    /// The folder, made if absent
    #[arg(long, value_name = "DIR", default_value = "certs/dev-out")]
    out: PathBuf,
    /// DNS names or addresses that the certificate is valid for
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "localhost,127.0.0.1,::1")]
    name: Vec<String>,
    /// How many days the certificate is valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=365))]
    days: u16,
}

/// Unlike `serve`, a person's command finds the kubeconfig in the home folder.
const KUBECONFIG_HELP: &str = "Kubeconfig file [default: ~/.kube/config, or the service account in a Pod]";

/// Show the CAs, what publishes them, what is served and what is due
///
/// Reads the Secret and the webhook configurations of managed certificates, with your own kubeconfig.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 all is well, 1 something is due or broken, 2 it cannot be read.")]
#[command(mut_arg("kubeconfig", |arg| arg.help(KUBECONFIG_HELP)))]
pub(super) struct ShowArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Server whose certificate is shown too, such as 127.0.0.1:10250
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: TextOrJson,
}

pub(super) fn run(command: &CertsCommand) -> Result<Status, CliError> {
    let args = match command {
        CertsCommand::Show(args) => args,
        CertsCommand::Dev(args) => return dev(args),
    };
    let report = wait_for(report(args))?;
    print(&match args.output {
        TextOrJson::Text => report.to_string(),
        TextOrJson::Json => serde_json::to_string_pretty(&report).expect("strings are always JSON") + "\n",
    })?;
    Ok(if report.problems.is_empty() { Status::Fine } else { Status::Violations })
}

fn dev(DevArgs { out, name, days }: &DevArgs) -> Result<Status, CliError> {
    let lifetime = SignedDuration::from_hours(24 * i64::from(*days));
    certs::write_files(out, name, lifetime).map_err(CliError::new)?;
    print(&format!("{}: ca.crt, tls.crt and tls.key for {}\n", out.display(), name.join(", ")))?;
    Ok(Status::Fine)
}

async fn report(args: &ShowArgs) -> Result<Report, CliError> {
    let (mut access, watched) = args.cluster.clone().split();
    access.context.clone_from(&args.context);
    let mut api = cluster::connect(access.of_user()).await.map_err(CliError::new)?;
    if !args.cluster.names_namespace()
        && let Some(namespace) = release_namespace(&api, &watched).await
    {
        api = api.in_namespace(namespace);
    }
    let view = Snapshot::take(&api, &watched).await.map_err(CliError::new)?;
    let served = match &args.server {
        Some(address) => Some((address.as_str(), Served::by(address, certs::now()).await)),
        None => None,
    };
    Ok(Report::new(api.namespace(), &watched, &view, served))
}

/// Returns the namespace of the Service that the webhook configuration names, where the Secret is; `None` if the
/// configuration cannot be read or names a URL.
async fn release_namespace(api: &cluster::Api, watched: &Watched) -> Option<String> {
    let path = format!(
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}",
        watched.configuration
    );
    let request = Request::get(path).body(Vec::new()).ok()?;
    let found: serde_json::Value = api.client().request(request).await.ok()?;
    let namespace = found["webhooks"][0]["clientConfig"]["service"]["namespace"].as_str();
    namespace.map(str::to_owned)
}

/// All that is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    namespace: String,
    secret: String,
    authorities: Vec<ShownAuthority>,
    configurations: Vec<ShownConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    served: Option<ShownServed>,
    due: Vec<ShownDue>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAuthority {
    state: State,
    fingerprint: String,
    not_after: Timestamp,
    since: Timestamp,
    has_key: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownConfiguration {
    kind: &'static str,
    name: String,
    exists: bool,
    armed: bool,
    /// What every webhook of it publishes.
    publishes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownServed {
    address: String,
    names: Vec<String>,
    not_after: Timestamp,
    issuer: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownDue {
    at: Timestamp,
    what: String,
}

impl Report {
    fn new(
        namespace: &str,
        watched: &Watched,
        view: &Snapshot,
        served: Option<(&str, Result<Served, String>)>,
    ) -> Self {
        let observed = &view.observed;
        let mut problems = secret_problems(observed);
        problems.extend(configuration_problems(view, watched));
        let served = served.and_then(|(address, found)| {
            let (shown, problem) = shown_served(address, found, observed);
            problems.extend(problem);
            shown
        });
        let mut due = plan::due(observed, &Memory::default(), LIFETIMES);
        // Some seconds after each change; an outside view does not wait for that.
        due.retain(|due| due.what != Upkeep::Settle);
        problems.extend(due.iter().filter(|due| due.at <= observed.now).map(overdue));
        Self {
            namespace: namespace.to_string(),
            secret: watched.secret.clone(),
            authorities: observed.authorities().iter().map(shown_authority).collect(),
            configurations: shown_configurations(observed, watched),
            served,
            due: due.iter().map(|due| ShownDue { at: due.at, what: what(due.what) }).collect(),
            problems,
        }
    }
}

/// Those of `sandgate serve`, which only tests change.
const LIFETIMES: Lifetimes = Lifetimes::DEFAULT;

fn secret_problems(observed: &Observed) -> Vec<String> {
    let secret = match &observed.secret {
        Secret::Absent => Some("there is no Secret; the next replica that looks makes it".to_string()),
        Secret::Corrupt(problem) => Some(format!("the Secret cannot be used: {problem}")),
        Secret::Holds(authorities) if !authorities.iter().any(|authority| authority.signs(observed.now)) => {
            Some("no CA of the Secret can sign".to_string())
        }
        Secret::Holds(_) => None,
    };
    let skew = (observed.skew.abs() > LARGEST_SKEW)
        .then(|| format!("the API server's clock is {} s ahead of this one", observed.skew.as_secs()));
    secret.into_iter().chain(skew).collect()
}

fn configuration_problems(view: &Snapshot, watched: &Watched) -> Vec<String> {
    let name = &watched.configuration;
    let mut problems: Vec<String> = view
        .problems()
        .map(|(kind, problem)| format!("{} webhook configuration {name}: {problem}", kind.as_str()))
        .collect();
    problems.extend(view.disarmed().map(|kind| {
        let kind = kind.as_str();
        format!("{kind} webhook configuration {name} was armed and has lost its rules: Pods are admitted without a review")
    }));
    problems.extend(
        view.drift().map(|(kind, drift)| {
            format!("{} webhook configuration {name} has drifted: {drift}", kind.as_str())
        }),
    );
    let observed = &view.observed;
    for (kind, found) in Kind::ALL.into_iter().zip(&observed.configurations) {
        let kind = kind.as_str();
        let Some(configuration) = found else {
            problems.push(format!("there is no {kind} webhook configuration {name}"));
            continue;
        };
        let missing = observed.authorities().iter().map(|authority| authority.certificate.id);
        problems.extend(
            missing.filter(|id| !configuration.publishes(*id)).map(|id| {
                format!("{kind} webhook configuration {name} does not publish the CA {}", id.short())
            }),
        );
        if !configuration.is_right() {
            problems.push(format!("{kind} webhook configuration {name} has not the rules of its annotation"));
        }
    }
    problems
}

fn shown_authority(Authority { certificate, key, state, since }: &Authority) -> ShownAuthority {
    ShownAuthority {
        state: *state,
        fingerprint: certificate.id.to_string(),
        not_after: certificate.not_after,
        since: *since,
        has_key: key.is_some(),
    }
}

fn shown_configurations(observed: &Observed, watched: &Watched) -> Vec<ShownConfiguration> {
    let found = Kind::ALL.into_iter().zip(&observed.configurations);
    let shown = found.map(|(kind, found)| {
        let webhooks = found.as_ref().map(|found| found.webhooks.as_slice()).unwrap_or_default();
        let published = webhooks.first().map(|webhook| webhook.bundle.as_slice()).unwrap_or_default();
        let by_all =
            |certificate: &&Certificate| found.as_ref().is_some_and(|found| found.publishes(certificate.id));
        ShownConfiguration {
            kind: kind.as_str(),
            name: watched.configuration.clone(),
            exists: found.is_some(),
            armed: found.is_some() && webhooks.iter().all(|webhook| webhook.rules != Rules::Missing),
            publishes: published
                .iter()
                .filter(by_all)
                .map(|certificate| certificate.id.to_string())
                .collect(),
        }
    });
    shown.collect()
}

fn shown_served(
    address: &str,
    found: Result<Served, String>,
    observed: &Observed,
) -> (Option<ShownServed>, Option<String>) {
    let served = match found {
        Ok(served) => served,
        Err(problem) => return (None, Some(format!("{address}: {problem}"))),
    };
    let held = observed.authorities().iter().map(|authority| &authority.certificate);
    let issuer = served.issuer(held, observed.now);
    let problem = issuer.is_none().then(|| format!("{address} serves a certificate of no CA of the Secret"));
    let Served { names, not_after, .. } = served;
    let issuer = issuer.map(|issuer| issuer.to_string());
    (Some(ShownServed { address: address.to_string(), names, not_after, issuer }), problem)
}

fn overdue(due: &Due) -> String {
    format!("overdue since {}: {}", due.at, what(due.what))
}

fn what(upkeep: Upkeep) -> String {
    match upkeep {
        Upkeep::Succeed(id) => format!("a successor of the CA {} is made", id.short()),
        Upkeep::Promote(id) => format!("the CA {} begins to sign", id.short()),
        Upkeep::Forget(id) => format!("the CA {} is not trusted any more", id.short()),
        Upkeep::Renew => "the certificate is renewed".to_string(),
        Upkeep::Settle => "every API server has noticed what was published".to_string(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, secret, authorities, configurations, served, due, problems } = self;
        writeln!(f, "{}", paint(STRONG, format_args!("Secret {namespace}/{secret}")))?;
        for ShownAuthority { state, fingerprint, not_after, since, has_key } in authorities {
            let key = if *has_key { "" } else { ", without its key" };
            let state = state.as_str();
            writeln!(f, "  {state:<8}  {fingerprint}\n            since {since}, until {not_after}{key}")?;
        }
        for configuration in configurations {
            configuration.fmt(f)?;
        }
        if let Some(ShownServed { address, names, not_after, issuer }) = served {
            let issuer = issuer.as_ref().map_or("none of these CAs", |issuer| &issuer[..8]);
            writeln!(f, "{}", paint(STRONG, format_args!("Served at {address}")))?;
            writeln!(f, "  for {}\n  until {not_after}, signed by {issuer}", names.join(", "))?;
        }
        writeln!(f, "{}", paint(STRONG, "Due"))?;
        for ShownDue { at, what } in due {
            writeln!(f, "  {} {what}", paint(FAINT, at))?;
        }
        if problems.is_empty() {
            return writeln!(f, "{}", paint(GOOD, "all is well"));
        }
        problems.iter().try_for_each(|problem| writeln!(f, "{} {problem}", paint(BAD, "broken")))
    }
}

impl fmt::Display for ShownConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, exists, armed, publishes } = self;
        writeln!(f, "{}", paint(STRONG, format_args!("{kind} webhook configuration {name}")))?;
        if !exists {
            return writeln!(f, "  does not exist");
        }
        let mut line = String::from(if *armed { "armed" } else { "not armed" });
        for id in publishes {
            write!(line, ", publishes {}", &id[..8])?;
        }
        writeln!(f, "  {line}")
    }
}
