//! YAML and JSON texts as located trees: policies and manifests are read by the same code.
//!
//! [`documents`] splits a text, [`Document::parse`] reads one part of it into [`Node`]s that carry the line of the whole
//! text they begin on, and [`describe`] turns an error of the YAML crate into the words of the file's author. Depth,
//! number of values and aliases are bounded by [`options`].

mod documents;
mod message;
mod node;
mod path;

pub use documents::{Document, documents};
pub use message::{ParseError, describe};
pub use node::{Node, Value, read};
pub use path::{Step, Steps, steps};

/// The deepest nesting that is read, in levels. `serde_json` reads 128.
pub const MAX_DEPTH: usize = 120;

/// Returns the options that every text is read with: bounds on depth, values and aliases, and numbers as kubectl reads
/// them (0644 is octal). A manifest of 100 000 containers fits.
#[must_use]
pub fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_events: 10_000_000,
            max_nodes: 5_000_000,
            max_depth: MAX_DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

#[cfg(test)]
mod tests;
