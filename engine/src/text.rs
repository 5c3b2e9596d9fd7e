//! What may stand in a line for people: a message, a log, a record.

use std::{borrow::Cow, fmt::Write};

/// Replaces what [`is_deceptive`]: names are chosen by whoever is refused.
#[must_use]
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
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

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
