//! The place where programs run: on this machine as any other, or in namespaces.

use std::{path::Path, process::Command, sync::Arc};

use super::{
    Result,
    cluster::{ADDRESS, Namespaces},
    command,
};

/// The place where the control plane runs.
#[derive(Clone)]
pub(crate) enum Host {
    /// On loopback addresses of this machine.
    Machine,
    /// In a network of its own.
    Namespaces(Arc<Namespaces>),
}

impl Host {
    /// Returns the address of the control plane.
    pub(super) fn address(&self) -> &'static str {
        match self {
            Self::Machine => "127.0.0.1",
            Self::Namespaces(_) => ADDRESS,
        }
    }

    /// Returns the command line before a program whose sockets are there.
    pub(super) fn prefix(&self) -> Vec<String> {
        match self {
            Self::Machine => Vec::new(),
            Self::Namespaces(namespaces) => namespaces.network(),
        }
    }

    /// The same as a command.
    pub(super) fn command(&self, program: &Path) -> Command {
        command::of(&[self.prefix(), vec![program.display().to_string()]].concat())
    }

    /// Makes the sockets that this thread opens from now on sockets of the host.
    ///
    /// # Errors
    /// Returns an error if we may not.
    pub(super) fn enter(&self) -> Result<()> {
        match self {
            Self::Machine => Ok(()),
            Self::Namespaces(namespaces) => namespaces.enter(),
        }
    }
}
