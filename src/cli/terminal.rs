//! Output for people: colours on a terminal, lines that fit, and no control characters from hostile names.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use anstyle::{AnsiColor, Style};

use sandgate_engine::text::sanitize;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
pub(super) const STRONG: Style = Style::new().bold();
pub(super) const PLACE: Style = AnsiColor::Cyan.on_default();
pub(super) const FAINT: Style = Style::new().dimmed();

/// Returns `text` in a style; the streams drop the style if they are no terminal.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints an error on standard error.
pub(super) fn error(text: &str) {
    print("error", BAD, text);
}

/// Prints a note on standard error.
pub(super) fn note(text: &str) {
    print("note", DOUBTFUL, text);
}

fn print(label: &str, style: Style, text: &str) {
    let text = sanitize(text);
    let text = if io::stderr().is_terminal() { wrap(&text, label.len() + 2, 4) } else { text };
    // There is no other place to report that this cannot be written.
    let _ = writeln!(anstream::stderr().lock(), "{style}{label}:{style:#} {text}");
}

/// Breaks a long line where a person reads it; programs get one line for each thing. See [`wrap`].
pub(super) fn fit(text: String, column: usize, indent: usize) -> String {
    if io::stdout().is_terminal() { wrap(&text, column, indent) } else { text }
}

/// Returns the columns of standard output if that is a terminal.
pub(super) fn columns() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(width.0))
}

/// Breaks `text`, which begins at `column`, into lines that fit; all but the first are indented.
pub(super) fn wrap(text: &str, column: usize, indent: usize) -> String {
    wrap_at(width(), text, column, indent)
}

/// How many columns a line may have.
fn width() -> usize {
    const MAX_COLUMNS: usize = 100;
    terminal_size::terminal_size()
        .map_or(MAX_COLUMNS, |(width, _)| usize::from(width.0).clamp(30, MAX_COLUMNS))
}

fn wrap_at(width: usize, text: &str, mut column: usize, indent: usize) -> String {
    let mut wrapped = String::with_capacity(text.len() + 64);
    for (index, word) in text.split(' ').enumerate() {
        let length = visible_chars(word);
        if index > 0 && column + 1 + length > width {
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// Returns the characters of a word that a terminal shows: sequences that set a style are none.
fn visible_chars(word: &str) -> usize {
    let mut is_style = false;
    let is_visible = |c: &char| {
        let was_style = is_style;
        is_style = *c == '\u{1b}' || was_style && *c != 'm';
        !was_style && !is_style
    };
    word.chars().filter(is_visible).count()
}

/// Cuts a time of RFC 3339 in UTC to seconds, for people.
pub(super) fn seconds(time: &str) -> String {
    time.split_once('.').map_or(time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

/// `1 violation`, `2 violations`.
pub(super) fn count<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_keep_their_indent() {
        assert_eq!(wrap_at(11, "one two three", 4, 4), "one two\n    three");
        assert_eq!(wrap_at(8, "incomprehensibilities x", 2, 2), "incomprehensibilities\n  x");
        assert_eq!(wrap_at(20, "a  b", 0, 2), "a  b");
        assert_eq!(wrap_at(8, "", 2, 2), "");
    }

    #[test]
    fn styles_take_no_columns() {
        let painted = format!("{} two", paint(BAD, "one"));
        assert_eq!(wrap_at(7, &painted, 0, 2), painted);
        assert_eq!(wrap_at(6, &painted, 0, 2), painted.replace(' ', "\n  "));
    }
}
