//! `sandgate backstop`: the policies as ValidatingAdmissionPolicies of the API server, printed and verified.

mod manifests;

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    CliError, PolicyArgs, Status,
    dry_run::{Tried, hostile_pod, try_pod},
    print,
    scan::ClusterChoice,
    terminal::{BAD, GOOD, note, paint},
    wait_for,
};
use crate::cluster::{Backstop, Difference};
use sandgate_engine::{
    backstop::{FILLS_MINOR, Guarded, Refusal, Settings, fills, guard, render},
    policy::{Level, Policy, PolicySet},
};

#[derive(Debug, Subcommand)]
pub(super) enum BackstopCommand {
    Render(RenderArgs),
    Verify(VerifyArgs),
}

/// Print the policies as ValidatingAdmissionPolicies
///
/// Prints a ValidatingAdmissionPolicy and its binding for the Pods and one for the Bindings of each policy. The API server
/// evaluates them itself, so they hold while no webhook answers. They deny and fill nothing; with --fills a
/// MutatingAdmissionPolicy fills. With --static they are written as files of the control plane. What cannot be stated in CEL
/// is an error that names the policy, the rule and the reason.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 printed or written, 2 a policy cannot be stated in CEL, or a file cannot be written."
)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Print MutatingAdmissionPolicies too, which fill Pods without any webhook (Kubernetes 1.36)
    #[arg(long)]
    fills: bool,
    /// Print the guard too, which keeps the webhook configurations and the runtime classes as they are
    #[arg(long)]
    guard: bool,
    /// Name of both webhook configurations, for the guard
    #[arg(long, value_name = "NAME", default_value = "sandgate", requires = "guard")]
    webhook_configuration: String,
    /// User or group that the guard does not apply to, such as the account that runs helm; repeat it for several
    #[arg(long, value_name = "NAME", requires = "guard")]
    guard_writer: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with = "static_folder")]
    output: Format,
    #[command(flatten)]
    manifests: manifests::ManifestArgs,
}

/// Compare the backstop in a cluster with the policies
///
/// Compares every ValidatingAdmissionPolicy and binding with what `render` prints: that they are there, that their hash is
/// the policy's, that they deny, and that no one changed them. Then sends a hostile Pod as a dry run to each namespace that
/// an enforced policy names. With --fills it compares the MutatingAdmissionPolicies too. Needs the rights to list these kinds
/// and to create Pods in these namespaces.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the backstop is that of the policies, 1 it is not, 2 could not be determined."
)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Compare the MutatingAdmissionPolicies too (Kubernetes 1.36)
    #[arg(long)]
    fills: bool,
    #[command(flatten)]
    cluster: ClusterChoice,
}

#[derive(Debug, Args)]
struct TargetArgs {
    /// Version of Kubernetes that the objects are for [default: 1.30, and 1.36 with --fills or --static]
    #[arg(long, value_name = "1.MINOR", value_parser = minor)]
    kubernetes: Option<u32>,
    /// Namespace of sandgate's release, which a selector or "*" of a policy never covers
    #[arg(long, value_name = "NAMESPACE", default_value = "sandgate-system")]
    release_namespace: String,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// YAML, one document for each object
    #[default]
    Yaml,
    /// JSON: a List
    Json,
}

fn minor(text: &str) -> Result<u32, String> {
    let minor = text.strip_prefix("1.").and_then(|minor| minor.parse().ok());
    minor.ok_or_else(|| "must be 1.MINOR, such as 1.33".into())
}

pub(super) fn run(command: &BackstopCommand) -> Result<Status, CliError> {
    match command {
        BackstopCommand::Render(args) => render_objects(args),
        BackstopCommand::Verify(args) => verify(args),
    }
}

fn settings(target: &TargetArgs) -> Settings {
    let default = Settings { release_namespace: target.release_namespace.clone(), ..Settings::default() };
    Settings { kubernetes_minor: target.kubernetes.unwrap_or(default.kubernetes_minor), ..default }
}

fn objects(policies: &PolicySet, target: &TargetArgs) -> Result<Vec<Value>, CliError> {
    render(policies, &settings(target)).map_err(|refusals| unstated(&refusals))
}

fn filling_objects(policies: &PolicySet, target: &TargetArgs) -> Result<Vec<Value>, CliError> {
    let minor = target.kubernetes.unwrap_or(FILLS_MINOR);
    let filling = fills(policies, &Settings { kubernetes_minor: minor, ..settings(target) });
    filling.map_err(|refusals| unstated(&refusals))
}

fn unstated(refusals: &[Refusal]) -> CliError {
    CliError(refusals.iter().map(ToString::to_string).collect())
}

fn render_objects(args: &RenderArgs) -> Result<Status, CliError> {
    let policies = args.policy.load()?.with_release_namespace(args.target.release_namespace.clone());
    let mut objects = objects(&policies, &args.target)?;
    if objects.is_empty() {
        note("no policy is for a namespace, so there is nothing to print");
    }
    if args.fills {
        objects.extend(filling_objects(&policies, &args.target)?);
    }
    if args.guard {
        objects.extend(guard(&guarded(&policies, args)));
    }
    if args.manifests.is_wanted() {
        return args.manifests.write(&policies, &objects, args.target.kubernetes);
    }
    let text = match args.output {
        Format::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            serde_json::to_string_pretty(&list).map_err(CliError::new)? + "\n"
        }
        Format::Yaml => yaml(&objects)?,
    };
    print(&text)?;
    Ok(Status::Fine)
}

/// Writes each object as a document.
fn yaml(objects: &[Value]) -> Result<String, CliError> {
    let documents = objects.iter().map(|object| {
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        serde_saphyr::to_string_with_options(object, options)
    });
    Ok(documents.collect::<Result<Vec<_>, _>>().map_err(CliError::new)?.join("---\n"))
}

fn guarded(policies: &PolicySet, args: &RenderArgs) -> Guarded {
    let profiles = policies.policies().iter().flat_map(Policy::all_profiles);
    let mut classes: Vec<String> =
        profiles.flat_map(|profile| profile.spec.runtime_class.allowed.iter().cloned()).collect();
    classes.sort();
    classes.dedup();
    Guarded {
        configuration: args.webhook_configuration.clone(),
        runtime_classes: classes,
        config_maps: None,
        writers: args.guard_writer.clone(),
    }
}

fn verify(args: &VerifyArgs) -> Result<Status, CliError> {
    let policies = args.policy.load()?;
    let wanted = objects(&policies, &args.target)?;
    let wanted_fills = args.fills.then(|| filling_objects(&policies, &args.target)).transpose()?;
    let (differences, answers) = wait_for(async {
        let api = args.cluster.api().await?;
        let client = api.client().clone();
        let backstop = Backstop::new(api, args.target.release_namespace.clone());
        let mut differences = backstop.compare(&wanted).await.map_err(CliError::new)?;
        if let Some(wanted) = &wanted_fills {
            differences.extend(backstop.compare_fills(wanted).await.map_err(CliError::new)?);
        }
        let hostile = hostile_pod("registry.example.com/hostile:1");
        let mut answers = Vec::new();
        for namespace in enforced_namespaces(&policies) {
            let denial = match try_pod(&client, &namespace, &hostile).await.map_err(CliError::new)? {
                Tried::Admitted(_) => None,
                Tried::Denied { message, .. } | Tried::Failed { message, .. } => Some(message),
            };
            answers.push((namespace, denial));
        }
        Ok((differences, answers))
    })?;
    report(&policies, &differences, &answers)
}

fn report(
    policies: &PolicySet,
    differences: &[Difference],
    answers: &[(String, Option<String>)],
) -> Result<Status, CliError> {
    let mut text = String::new();
    for difference in differences {
        let _ = writeln!(text, "{} {difference}", paint(BAD, "wrong"));
    }
    let mut admitted = 0;
    for (namespace, denial) in answers {
        match denial {
            Some(message) if message.contains("(backstop)") => {
                let _ = writeln!(
                    text,
                    "{} namespace {namespace}: a hostile Pod is denied by the backstop",
                    paint(GOOD, "ok")
                );
            }
            Some(_) => note(&format!(
                "namespace {namespace}: something else denied the hostile Pod before the backstop, such as the webhook"
            )),
            None => {
                admitted += 1;
                let _ = writeln!(
                    text,
                    "{} namespace {namespace}: a hostile Pod is admitted",
                    paint(BAD, "wrong")
                );
            }
        }
    }
    if differences.is_empty() && admitted == 0 {
        let number = policies.policies().len();
        let noun = if number == 1 { "policy" } else { "policies" };
        let _ = writeln!(
            text,
            "{} the backstop is that of {number} {noun}, hash {}",
            paint(GOOD, "ok"),
            policies.hash()
        );
    }
    print(&text)?;
    Ok(if differences.is_empty() && admitted == 0 { Status::Fine } else { Status::Violations })
}

/// Returns the namespaces that enforced policies name.
fn enforced_namespaces(policies: &PolicySet) -> Vec<String> {
    let enforced =
        policies.policies().iter().filter(|policy| policy.level_of("privileged") == Level::Enforce);
    let names = enforced.flat_map(|policy| policy.header.namespaces.iter());
    names.filter(|name| name.is_literal()).map(|name| name.as_str().to_owned()).collect()
}
