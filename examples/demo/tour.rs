//! Commands that are shown before they are run.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use testbed::{ControlPlane, Output, Result};

const COMMAND: Style = AnsiColor::Cyan.on_default().bold();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

/// The guide, with a cluster at hand.
pub(crate) struct Tour {
    bed: ControlPlane,
}

impl Tour {
    pub(crate) fn of(bed: ControlPlane) -> Self {
        Self { bed }
    }

    pub(crate) fn bed(&self) -> &ControlPlane {
        &self.bed
    }

    /// Shows a command that succeeds, and all that it prints.
    ///
    /// # Errors
    /// Returns an error if it fails.
    pub(crate) async fn run(&self, command: &str) -> Result<()> {
        self.run_and_show(command, str::to_owned).await
    }

    /// Shows a command that succeeds, and what `excerpt` leaves of its output.
    ///
    /// # Errors
    /// Returns an error if it fails.
    pub(crate) async fn run_and_show(&self, command: &str, excerpt: impl Fn(&str) -> String) -> Result<()> {
        show_command(command);
        let Output { success, stdout, stderr } = self.kubectl(command).await;
        show_output(&(excerpt(&stdout) + &stderr));
        if success { Ok(()) } else { Err(format!("this should have succeeded: {command}").into()) }
    }

    /// Shows a command that sandgate denies.
    ///
    /// # Errors
    /// Returns an error if it succeeds, or fails for another reason.
    pub(crate) async fn run_denied(&self, command: &str) -> Result<()> {
        show_command(command);
        let Output { success, stdout, stderr } = self.kubectl(command).await;
        show_output(&(stdout + &stderr));
        if !success && stderr.contains("sandgate.dev\" denied the request") {
            return Ok(());
        }
        Err(format!("sandgate should have denied this: {command}").into())
    }

    /// Returns the output of a command without showing it.
    pub(crate) async fn output_of(&self, command: &str) -> String {
        self.kubectl(command).await.stdout
    }

    /// Quotes are for the reader's shell: no argument of the tour has a blank in it.
    async fn kubectl(&self, command: &str) -> Output {
        let command = command.replace('\'', "");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        self.bed.kubectl(&words).await
    }
}

/// Begins a stop of the tour.
pub(crate) fn chapter(title: &str, text: &str) {
    print(&format!("\n{STRONG}── {title}{STRONG:#}\n{text}"));
}

/// Prints the guide's text between the commands.
pub(crate) fn explain(text: &str) {
    print(&format!("\n{text}"));
}

pub(crate) fn show_command(command: &str) {
    print(&format!("\n{COMMAND}$ {command}{COMMAND:#}"));
}

pub(crate) fn show_output(output: &str) {
    print(output.trim_end());
}

/// The mark for omitted lines.
pub(crate) fn omission(what: &str) -> String {
    format!("{FAINT}… {what}{FAINT:#}\n")
}

/// A reader of the beginning only, as `head`, is not an error.
pub(crate) fn print(text: &str) {
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}
