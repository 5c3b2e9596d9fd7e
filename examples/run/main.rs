//! `make run`: sandgate answers the example pods, with no cluster around it.
//!
//! Starts the built `sandgate` with a development certificate and the built-in policy, sends it each pod of
//! `examples/pods` over TLS as the API server would, and shows what becomes of it. `KEEP=1` stays up afterwards.

mod admission;
mod diff;
mod pods;
mod webhook;

use std::{env, error, fmt::Write as _, fs, io::Write as _, process::ExitCode};

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    admission::Outcome,
    diff::Diffs,
    pods::{ExamplePod, Expected},
    webhook::Webhook,
};

/// Whatever goes wrong; its text is for people.
type Error = Box<dyn error::Error + Send + Sync>;

type Result<T, E = Error> = std::result::Result<T, E>;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Whichever comes first, the webhook ends with us: dropping it stops the process.
    let status = tokio::select! {
        status = tour() => status,
        status = ended_from_outside() => status,
    };
    status.unwrap_or_else(|problem| {
        eprintln!("run: {problem}");
        ExitCode::from(2)
    })
}

async fn tour() -> Result<ExitCode> {
    let pods = pods::examples()?;
    let mut webhook = Webhook::start().await?;
    let mut connection = webhook.connect().await?;
    print(&format!(
        "sandgate is up, with its built-in policy. Here come {} pods for the namespace `{}`,\n\
         sent as the API server would send them.\n",
        pods.len(),
        pods::NAMESPACE
    ));

    let (mut diffs, mut tally) = (Diffs::default(), Tally::default());
    for pod in &pods {
        let outcome = admission::admit(&mut connection, pod).await?;
        print(&story(pod, &outcome, &mut diffs));
        tally.count(pod, &outcome);
    }
    print(&tally.summary());
    if env::var_os("KEEP").is_some_and(|keep| !matches!(keep.to_str(), Some("" | "0"))) {
        stay(&mut webhook, &pods).await?;
    }
    Ok(if tally.surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the text on the outcome of one pod.
fn story(pod: &ExamplePod, outcome: &Outcome, diffs: &mut Diffs) -> String {
    let ExamplePod { file, description, .. } = pod;
    let mut text = format!("{STRONG}{file}{STRONG:#}\n{FAINT}{description}{FAINT:#}\n");
    let (style, verdict, details) = match outcome {
        Outcome::Filled { before, after } => (GOOD, "Admitted, and filled:", diffs.changes(before, after)),
        Outcome::Unchanged => (GOOD, "Admitted as it is.", String::new()),
        Outcome::Denied { webhook, status } => (BAD, "Denied:", as_kubectl(file, webhook, status)),
    };
    let _ = writeln!(text, "{style}{verdict}{style:#}");
    for line in details.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Returns the text that `kubectl create -f` prints when the API server passes such a denial on.
fn as_kubectl(file: &str, webhook: &str, status: &Value) -> String {
    let word = |key: &str| status[key].as_str().unwrap_or("unknown");
    format!(
        "Error from server ({}): error when creating {:?}: admission webhook {webhook:?} denied the request: {}",
        word("reason"),
        format!("{}/{file}", pods::FOLDER),
        word("message"),
    )
}

/// The number of pods by outcome, and the pods with an unexpected outcome.
#[derive(Default)]
struct Tally {
    filled: usize,
    unchanged: usize,
    denied: usize,
    surprises: Vec<String>,
}

impl Tally {
    fn count(&mut self, pod: &ExamplePod, outcome: &Outcome) {
        let (counter, found) = match outcome {
            Outcome::Filled { .. } => (&mut self.filled, Expected::Filled),
            Outcome::Unchanged => (&mut self.unchanged, Expected::Unchanged),
            Outcome::Denied { .. } => (&mut self.denied, Expected::Denied),
        };
        *counter += 1;
        if found != pod.expected {
            let ExamplePod { file, expected, .. } = pod;
            self.surprises.push(format!("{file} should be {expected}, but is {found}"));
        }
    }

    fn summary(&self) -> String {
        let Self { filled, unchanged, denied, surprises } = self;
        let counts = format!("{filled} pods filled, {unchanged} admitted unchanged, {denied} denied");
        if surprises.is_empty() {
            return format!("{GOOD}{counts}: each as it should be.{GOOD:#}");
        }
        let surprises = surprises.join("\n  ");
        format!("{BAD}{counts}. Not as it should be:{BAD:#}\n  {surprises}")
    }
}

/// Leaves the webhook to the user, who ends us.
async fn stay(webhook: &mut Webhook, pods: &[ExamplePod]) -> Result<()> {
    let plain = pods.iter().find(|pod| pod.file == "plain.yaml").ok_or("there is no plain.yaml")?;
    let review = webhook.folder().join("review.json");
    fs::write(&review, serde_json::to_vec_pretty(&admission::review(plain, &plain.arrived()))?)?;
    let (folder, url, admin) = (webhook.folder().display(), webhook.url(), webhook.admin_url());
    print(&format!(
        "\n{STRONG}sandgate stays up.{STRONG:#} Talk to it as the API server does:\n\n  \
           curl --cacert {folder}/ca.crt -H 'Content-Type: application/json' \\\n    \
             --data @{folder}/review.json {url}/mutate\n\n\
         and look at it from outside:\n\n  \
           curl {admin}/readyz\n  \
           curl {admin}/metrics\n\n\
         Its log is {folder}/sandgate.log. Ctrl-C ends it."
    ));
    webhook.ended().await
}

async fn ended_from_outside() -> Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a paragraph. A reader of the beginning only, as `head`, is not an error.
fn print(text: &str) {
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}
