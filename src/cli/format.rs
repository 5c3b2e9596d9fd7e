//! Output formats that several commands share.

use clap::ValueEnum;

/// Output for people or for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TextOrJson {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
