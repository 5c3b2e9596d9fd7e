//! Text that is safe to show to people: in a message, a log line, an audit record.

use std::{borrow::Cow, fmt::Write};

use crate::hash::{hex_digest, short_hash};

/// Returns `text` with U+FFFD for each character that [`is_unsafe_for_display`]: the author of a Pod chooses its names.
#[must_use]
pub fn sanitize(text: &str) -> String {
    text.chars().map(|c| if is_unsafe_for_display(c) { '\u{fffd}' } else { c }).collect()
}

/// Returns `text` with the characters for which `is_unsafe` holds escaped as in JSON, so that one line stays one line.
pub fn escape(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' if is_unsafe(c) => escaped.push_str("\\n"),
            c if is_unsafe(c) => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Returns whether a character could forge a line, change the writing direction, or is invisible.
#[must_use]
pub fn is_unsafe_for_display(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Returns true if the text is of ASCII characters that are printed and need no escape in JSON, as nearly every text of a
/// Pod is.
#[must_use]
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().fold(0, |found, byte| found | class(byte)) & (NEEDS_ESCAPE | NOT_PRINTED) == 0
}

/// The class of `"`, `\` and control characters, which JSON writes as escapes.
pub(crate) const NEEDS_ESCAPE: u8 = 1;
/// The class of `/` and `~`, which a JSON pointer writes as escapes.
pub(crate) const OF_POINTERS: u8 = 2;
/// The class of all other bytes that are no printed ASCII characters.
const NOT_PRINTED: u8 = 4;

/// Returns the class of a byte, 0 for nearly all.
pub(crate) fn class(byte: u8) -> u8 {
    static CLASSES: [u8; 256] = {
        let mut classes = [0; 256];
        let mut byte = 0;
        while byte < classes.len() {
            classes[byte] = match byte {
                0x22 | 0x5c | 0x00..0x20 => NEEDS_ESCAPE,
                0x2f | 0x7e => OF_POINTERS,
                0x7f.. => NOT_PRINTED,
                _ => 0,
            };
            byte += 1;
        }
        classes
    };
    CLASSES[usize::from(byte)]
}

/// Returns `text` in quotes, sanitized and cut after 80 characters.
///
/// Two texts that differ are quoted differently: if characters were cut or replaced, length and hash follow.
#[must_use]
pub fn quote(text: &str) -> String {
    let (shown, rest) = shorten(text);
    format!("\"{shown}\"{rest}")
}

/// Returns the part of `text` that is shown, and length and hash of the whole if that part is not all of it.
pub(crate) fn shorten(text: &str) -> (String, String) {
    const MAX_CHARS: usize = 80;
    let identity =
        || format!(" ({} bytes, SHA-256 {}…)", text.len(), hex_digest(text.as_bytes(), HASH_BYTES));
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => (format!("{}…", sanitize(&text[..end])), identity()),
        None if text.contains(is_unsafe_for_display) => (sanitize(text), identity()),
        None => (text.into(), String::new()),
    }
}

/// So many bytes of a hash stand for a value that is not shown whole: a second value with the same ones takes 2^64 tries.
pub(crate) const HASH_BYTES: usize = 16;

/// Returns `text` if it has at most `max_chars` characters; else its beginning, followed by its length in bytes and the
/// beginning of its SHA-256. Texts that differ are different when they are cut, too.
#[must_use]
pub fn cut(text: &str, max_chars: usize) -> Cow<'_, str> {
    // No text has more characters than bytes.
    if text.len() <= max_chars {
        return Cow::Borrowed(text);
    }
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
    fn plain_text_needs_no_escape_and_hides_nothing() {
        assert!(is_plain("") && is_plain("registry.example.com/a:1.27 ~!") && is_plain(&"x".repeat(100)));
        for c in ['"', '\\', '\n', '\0', '\u{1f}', '\u{7f}', 'ü', '\u{202e}'] {
            for before in ["", "x", "a text that is longer than a register"] {
                assert!(!is_plain(&format!("{before}{c}")) && !is_plain(&format!("{c}{before}")), "{c:?}");
            }
        }
    }

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
    fn characters_that_could_forge_a_line_are_replaced() {
        let text = "a\r\n\t\u{1b}[31m\u{7f}\u{9b}\u{200b}\u{200f}\u{2028}\u{202e}\u{2066}\u{2069}\u{feff}b";
        assert_eq!(sanitize(text), format!("a{0}{0}{0}{0}[31m{0}{0}{0}{0}{0}{0}{0}{0}{0}b", '\u{fffd}'));
    }

    #[test]
    fn every_other_character_stays() {
        let text = "workflow-runner ünïcödé \u{200a}\u{2010}\u{2027}\u{202f}\u{2065}\u{206a} 沙";
        assert_eq!(sanitize(text), text);
        assert_eq!(quote(text), format!("\"{text}\""));
    }

    #[test]
    fn a_hostile_name_cannot_forge_a_line() {
        let quoted = quote("a\nverdict: admitted\u{202e}\u{1b}[31m");
        assert!(
            quoted.starts_with("\"a\u{fffd}verdict: admitted\u{fffd}\u{fffd}[31m\" (27 bytes, SHA-256 "),
            "{quoted}"
        );
    }

    /// An update may keep a value that violates the policy, but not exchange it for another one.
    #[test]
    fn texts_that_differ_are_quoted_differently() {
        let long = "x".repeat(80);
        let texts =
            ["on\u{200b}", "on\u{202e}", "on\t", "on\u{fffd}", &format!("{long}y"), &format!("{long}z")];
        for (index, text) in texts.iter().enumerate() {
            assert!(texts[..index].iter().all(|other| quote(other) != quote(text)), "{text:?}");
        }
        assert_eq!(quote(&long), format!("\"{long}\""));
    }
}
