//! The form of messages, as docs/messages.md has it: read from the sources, so that each message is held to it.

use std::{fs, path::Path};

use crate::pages::root;

/// A message that is written in the sources.
struct Message {
    text: String,
    place: String,
}

#[test]
fn errors_are_lower_case_without_a_full_stop() {
    let errors = messages(&["#[error(", "CliError::new("]);
    assert!(errors.len() > 80, "only {} errors were found", errors.len());
    let wrong = errors.iter().filter(|error| {
        let mut letters = error.text.chars();
        let (first, second) = (letters.next().unwrap_or(' '), letters.next().unwrap_or(' '));
        // Names of the API stay as they are: AdmissionReview, TLS.
        let is_name =
            error.text.split(' ').next().is_some_and(|word| word.chars().skip(1).any(char::is_uppercase));
        first.is_uppercase() && second.is_lowercase() && !is_name || error.text.ends_with('.')
    });
    assert_none(wrong);
}

#[test]
fn log_lines_are_events_that_can_be_searched() {
    let lines = messages(&["error!(", "warn!(", "info!(", "debug!("]);
    assert!(lines.len() > 40, "only {} lines were found", lines.len());
    let wrong = lines.iter().filter(|line| {
        // A line that is one text of its own is made elsewhere.
        let is_whole = line.text.starts_with('{') && line.text.ends_with('}');
        let is_event = line.text.starts_with(char::is_uppercase) && !line.text.ends_with('.');
        !is_whole && (!is_event || line.text.contains(": {"))
    });
    assert_none(wrong);
}

fn assert_none<'m>(wrong: impl Iterator<Item = &'m Message>) {
    let wrong: Vec<String> = wrong.map(|message| format!("{}: {}", message.place, message.text)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the last text in the parentheses behind each of `calls`, as far as there is one.
fn messages(calls: &[&str]) -> Vec<Message> {
    let mut messages = Vec::new();
    for folder in ["src", "engine/src"] {
        for file in sources(&root().join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let program = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for call in calls {
                for rest in program.split(call).skip(1) {
                    let Some(text) = last_text(rest) else { continue };
                    messages.push(Message { text, place: file.clone() });
                }
            }
        }
    }
    messages
}

/// Returns the last literal before the parenthesis is closed.
fn last_text(arguments: &str) -> Option<String> {
    let (mut depth, mut last, mut text) = (1, None, None::<String>);
    let mut letters = arguments.chars();
    while depth > 0 {
        let letter = letters.next()?;
        match (&mut text, letter) {
            (Some(_), '"') => last = text.take(),
            (Some(text), '\\') => text.extend(letters.next()),
            (Some(text), letter) => text.push(letter),
            (None, '"') => text = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    last
}

fn sources(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.display().to_string());
        }
    }
    files
}
