//! What may stand in a line for people: a message, a log, a record.

use std::{borrow::Cow, fmt::Write};

use crate::hash::short_hash;

/// Replaces what [`is_deceptive`]: names are chosen by whoever is refused.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if is_deceptive(c) { '\u{fffd}' } else { c }).collect()
}

/// Escapes the characters that `forges` names as JSON does, so that a line of JSON stays what it is.
pub fn escaped(text: &str, forges: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&forges) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' if forges(c) => escaped.push_str("\\n"),
            c if forges(c) => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character could forge a line, turn the writing direction, or hide.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Returns `text` if it has at most `max_chars` characters; else its beginning, followed by its length in bytes and the
/// beginning of its SHA-256. Texts that differ are different when they are cut, too.
#[must_use]
pub fn cut(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => {
            let (shown, bytes, hash) = (&text[..end], text.len(), short_hash(text.as_bytes()));
            Cow::Owned(format!("{shown}… ({bytes} bytes, SHA-256 {hash}…)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_cut_keeps_its_length_and_its_hash() {
        assert_eq!(cut("üü", 2), "üü");
        // printf üüx | sha256sum
        let (one, other) = (cut("üüx", 2), cut("üüy", 2));
        assert!(one.starts_with("üü… (5 bytes, SHA-256 ") && one.ends_with("…)"), "{one}");
        assert_ne!(one, other);
        assert_eq!(
            cut(&"x".repeat(1 << 20), 10).len(),
            "xxxxxxxxxx… (1048576 bytes, SHA-256 0123456789abcdef…)".len()
        );
    }

    #[test]
    fn what_could_forge_a_line_is_replaced() {
        let text = "a\r\n\t\u{1b}[31m\u{7f}\u{9b}\u{200b}\u{200f}\u{2028}\u{202e}\u{2066}\u{2069}\u{feff}b";
        assert_eq!(visible(text), format!("a{0}{0}{0}{0}[31m{0}{0}{0}{0}{0}{0}{0}{0}{0}b", '\u{fffd}'));
    }

    #[test]
    fn every_other_character_stays() {
        let text = "workflow-runner ünïcödé \u{200a}\u{2010}\u{2027}\u{202f}\u{2065}\u{206a} 沙";
        assert_eq!(visible(text), text);
    }
}
