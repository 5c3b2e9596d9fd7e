//! Texts of requests as the page shows them: cut, and without invisible characters.

use std::fmt;

use sandgate_engine::text::sanitize;

/// A text of a record: of bounded length, with nothing in it that hides or turns the writing direction. The template
/// escapes it like everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sanitized(String);

impl Sanitized {
    /// The most characters of a text. A Kubernetes name has at most 253, but an image or a user may be of any length.
    const MAX_CHARS: usize = 300;

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Sanitized {
    fn from(text: &str) -> Self {
        match text.char_indices().nth(Self::MAX_CHARS) {
            None => Self(sanitize(text)),
            Some((end, _)) => Self(format!("{}… ({} bytes)", sanitize(&text[..end]), text.len())),
        }
    }
}

impl fmt::Display for Sanitized {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.is_empty() { "(none)" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_plain() {
        assert_eq!(Sanitized::from("a\n\u{202e}b").to_string(), "a\u{fffd}\u{fffd}b");
        assert_eq!(Sanitized::from("").to_string(), "(none)");
        let long = "ü".repeat(1000);
        assert_eq!(Sanitized::from(&*long).to_string(), format!("{}… (2000 bytes)", "ü".repeat(300)));
    }
}
