//! The command line: one module for each subcommand.
//!
//! Exit status 0 is fine, 1 is violations found, 2 is could not run, with the reason on standard error.

mod audit;
mod backstop;
mod certs;
mod check;
mod cluster_args;
mod completion;
mod doctor;
mod dry_run;
mod evaluation;
mod explain;
mod fix;
mod format;
mod input;
mod log_level;
mod man;
mod page_style;
mod policy;
mod probe;
mod render;
mod review;
mod rules_gone;
mod sarif;
mod scan;
pub mod serve;
mod terminal;
mod waiting;
mod workload_pods;

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use sandgate_engine::policy::{LoadErrors, PolicySet, Source};

/// Keeps every Pod of chosen namespaces inside a gVisor sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "sandgate",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit status: 0 fine, 1 violations found, 2 could not run."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the admission webhook
    Serve(Box<serve::ServeArgs>),
    Review(review::ReviewArgs),
    Check(check::CheckArgs),
    Render(render::RenderArgs),
    Explain(explain::ExplainArgs),
    Fix(fix::FixArgs),
    /// Show, check and compare policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Print and verify the policies as ValidatingAdmissionPolicies of the API server
    #[command(subcommand)]
    Backstop(backstop::BackstopCommand),
    /// Inspect managed certificates
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Read the audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    Probe(probe::ProbeArgs),
    Doctor(Box<doctor::DoctorArgs>),
    Scan(scan::ScanArgs),
    LogLevel(log_level::LogLevelArgs),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(usage) => {
            // There is no other place to report that this cannot be printed.
            let _ = usage.print();
            return if usage.use_stderr() { Status::Failed.into() } else { Status::Fine.into() };
        }
    };
    let result = match cli.command {
        Command::Serve(args) => return serve::run(*args),
        Command::Review(args) => review::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Fix(args) => fix::run(&args),
        Command::Policy(command) => policy::run(&command),
        Command::Backstop(command) => backstop::run(&command),
        Command::Certs(command) => certs::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Probe(args) => probe::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::LogLevel(args) => log_level::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
    };
    result.unwrap_or_else(|error| error.print()).into()
}

/// Parses the arguments. As `kubectl-sandgate`, the name of a kubectl plugin, the help shows `kubectl sandgate`.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let name = args.first().and_then(|path| Path::new(path).file_stem()).unwrap_or_default();
    let mut command = Cli::command();
    if name.to_string_lossy().starts_with("kubectl-sandgate") {
        command = command.bin_name("kubectl sandgate").display_name("kubectl-sandgate");
    }
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Fine,
    Violations,
    Failed,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Fine => Self::SUCCESS,
            Status::Violations => Self::from(1),
            Status::Failed => Self::from(2),
        }
    }
}

/// The reasons why a command could not run: what, where, and what to do; one line for each.
#[derive(Debug)]
struct CliError(Vec<String>);

impl CliError {
    fn new(reason: impl fmt::Display) -> Self {
        Self(vec![reason.to_string()])
    }

    fn print(&self) -> Status {
        for reason in &self.0 {
            terminal::error(reason);
        }
        Status::Failed
    }
}

impl From<LoadErrors> for CliError {
    fn from(LoadErrors(errors): LoadErrors) -> Self {
        Self(errors.iter().map(ToString::to_string).collect())
    }
}

/// Runs a future that asks a cluster, and waits for it.
fn wait_for<T>(asking: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::new(format_args!("cannot start: {error}")))?.block_on(asking)
}

/// Prints to standard output. A reader that closes the pipe early is no error.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

fn unwritable(error: &io::Error) -> CliError {
    CliError::new(format_args!("standard output cannot be written: {}", input::reason(error)))
}

/// The source of the policies.
#[derive(Debug, Args)]
struct PolicyArgs {
    /// Policy file, folder of *.yaml, *.yml and *.json, or preset/NAME; "-" is standard input [default: the built-in policy]
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
}

impl PolicyArgs {
    fn load(&self) -> Result<PolicySet, CliError> {
        self.policy.as_deref().map_or_else(|| Ok(PolicySet::builtin()), load_policies)
    }

    fn is_stdin(&self) -> bool {
        self.policy.as_deref().is_some_and(input::is_stdin)
    }
}

fn load_policies(path: &Path) -> Result<PolicySet, CliError> {
    Ok(PolicySet::from_sources(&policy_sources(path)?)?)
}

fn policy_sources(path: &Path) -> Result<Vec<Source>, CliError> {
    if !input::is_stdin(path) {
        return crate::policy_files::read(path)
            .map_err(|error| CliError::new(input::without_number(&error.to_string())));
    }
    let input::Text { name, text } = input::read(path).map_err(CliError::new)?;
    Ok(vec![Source { name, text }])
}
