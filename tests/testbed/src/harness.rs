//! The harness of test programs that need more than a compiler: root, packages, a kernel with certain features.
//!
//! The standard harness cannot ignore a test at run time, so a test that returns early looks passed. With this one each
//! test states its requirement, and a test that cannot run is shown as ignored with the reason. `scripts/test` counts
//! the ignored tests by reason. The flags of `cargo test` work as usual, except that there can be only one filter; output is
//! not captured.
//!
//! ```no_run
//! use testbed::harness::{Test, missing_program, run};
//!
//! fn browser_starts() {}
//!
//! fn main() -> std::process::ExitCode {
//!     run(vec![Test::new(browser_starts).requires(missing_program("chromium", "chromium"))])
//! }
//! ```
//!
//! A test that is not in the list is an unused function, which `make lint` rejects.

use std::{
    any,
    process::{Command, ExitCode, Stdio},
};

use libtest_mimic::{Arguments, Completion, Trial};

/// A test and what it lacks, if it cannot run.
pub struct Test {
    name: String,
    missing: Option<String>,
    body: Box<dyn FnOnce() + Send>,
}

impl Test {
    /// Makes a test of a function. Its name is the path of the function within the program.
    pub fn new<F: FnOnce() + Send + 'static>(body: F) -> Self {
        Self { name: name_of::<F>(), missing: None, body: Box::new(body) }
    }

    /// Makes a test of an asynchronous function, which runs in a single-threaded runtime of its own.
    pub fn new_async<F: AsyncFnOnce() + Send + 'static>(body: F) -> Self {
        let blocking = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(body());
        };
        Self { name: name_of::<F>(), missing: None, body: Box::new(blocking) }
    }

    /// Ignores the test if something is missing: the text names it, and how to install it.
    #[must_use]
    pub fn requires(self, missing: Option<String>) -> Self {
        Self { missing: self.missing.or(missing), ..self }
    }
}

/// Returns the path of a function without the name of its crate.
fn name_of<F>() -> String {
    let path = any::type_name::<F>();
    path.split_once("::").map_or(path, |(_, name)| name).to_owned()
}

/// Returns what to install if `program` cannot be started; `package` is the Debian package that has it.
#[must_use]
pub fn missing_program(program: &str, package: &str) -> Option<String> {
    let mut probe = Command::new(program);
    let started = probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.is_err().then(|| format!("{program} is missing: apt-get install {package}"))
}

/// Runs the tests by the arguments of this process, and returns the status to end with.
#[must_use]
pub fn run(tests: Vec<Test>) -> ExitCode {
    let trials = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(test: Test) -> Trial {
    let Test { name, missing, body } = test;
    Trial::ignorable_test(name, move || {
        if let Some(missing) = missing {
            return Ok(Completion::ignored_with(missing));
        }
        body();
        Ok(Completion::Completed)
    })
}
