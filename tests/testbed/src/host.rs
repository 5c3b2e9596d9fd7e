//! Where programs run: on this machine as any other, or enclosed.

use std::{path::Path, process::Command, sync::Arc};

use super::{
    Result,
    cluster::{ADDRESS, Namespaces},
    command,
};

/// Where the control plane runs.
#[derive(Clone)]
pub(crate) enum Host {
    /// On loopback addresses of this machine.
    Machine,
    /// In a network of its own.
    Namespaces(Arc<Namespaces>),
}

impl Host {
    /// Its address there.
    pub(super) fn address(&self) -> &'static str {
        match self {
            Self::Machine => "127.0.0.1",
            Self::Namespaces(_) => ADDRESS,
        }
    }

    /// How to call a program whose sockets are there; the program follows.
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
    /// When we may not.
    pub(super) fn enter(&self) -> Result<()> {
        match self {
            Self::Machine => Ok(()),
            Self::Namespaces(namespaces) => namespaces.enter(),
        }
    }
}
