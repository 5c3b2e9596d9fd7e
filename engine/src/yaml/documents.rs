//! The split of a text into its documents.

use serde::de::IgnoredAny;

/// One document of a text: YAML, or JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'t> {
    /// The text of the document, without the directives and the byte order mark in front of it.
    pub text: &'t str,
    /// The number of lines of the whole text that stand before the document.
    pub lines_before: u64,
}

/// Splits a text into its documents. Documents that hold only comments, directives or markers are skipped. A text of
/// JSON values, one after the other, has a document for each value.
#[must_use]
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_json(text)
        && let Some(values) = json_values(text)
    {
        return values;
    }
    yaml_documents(text)
}

/// Returns whether a text can be JSON, which is YAML too.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Returns the JSON values of a text, or `None` if the text is something else.
fn json_values(text: &str) -> Option<Vec<Document<'_>>> {
    let mut parts = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut end, mut lines_before) = (0, 0);
    while let Some(value) = values.next() {
        value.ok()?;
        let part = &text[end..values.byte_offset()];
        parts.push(Document { text: part, lines_before });
        end = values.byte_offset();
        lines_before += count_lines(part);
    }
    Some(parts)
}

/// A line `---` or `...` always ends a document: inside one, YAML indents or quotes it.
fn yaml_documents(text: &str) -> Vec<Document<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut position, mut line, mut lines_before) = (0, 0, 0, 0);
    for next in text.split_inclusive('\n') {
        let after = position + next.len();
        if is_marker(next, "---") {
            parts.push(Document { text: &text[start..position], lines_before });
            (start, lines_before) = (position, line);
        } else if is_marker(next, "...") {
            parts.push(Document { text: &text[start..position], lines_before });
            (start, lines_before) = (after, line + 1);
        }
        position = after;
        line += 1;
    }
    parts.push(Document { text: &text[start..], lines_before });
    parts.into_iter().filter(|part| !is_blank(part.text)).map(without_directives).collect()
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_blank(text: &str) -> bool {
    let is_empty = |line: &str| {
        let content = if is_marker(line, "---") { line[3..].trim_start() } else { line };
        content.is_empty() || content.starts_with(['#', '%'])
    };
    text.trim_start_matches('\u{feff}').lines().map(str::trim).all(is_empty)
}

/// A document without a marker may still have a byte order mark, as files that were joined have, or be preceded by
/// directives that the marker after them has cut off already.
fn without_directives(part: Document<'_>) -> Document<'_> {
    Document { text: part.text.strip_prefix('\u{feff}').unwrap_or(part.text), ..part }
}

fn count_lines(text: &str) -> u64 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u64
}
