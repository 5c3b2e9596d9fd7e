//! What pages show of commands, held against what the commands print.

use std::{fs, path::Path};

use super::Result;

/// Returns the output that a page of this checkout shows below `$ COMMAND`, which may have a comment or more flags behind
/// it; `path` begins at the top of the checkout. Of several blocks it is the first one with output.
///
/// # Errors
/// Returns an error if no page is there, or none of its blocks has the command with an output.
pub fn shown(path: &str, command: &str) -> Result<String> {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path);
    let text = fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))?;
    let prompt = format!("$ {command}");
    text.split(&prompt)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('\n')?.1))
        .map(|below| {
            let lines = below.split_inclusive('\n');
            let is_output = |line: &&str| !line.starts_with("$ ") && line.trim_end() != "```";
            lines.take_while(is_output).collect::<String>()
        })
        .find(|output| !output.is_empty())
        .ok_or_else(|| format!("{path} shows no output of `{prompt}`").into())
}

/// Returns whether a page shows what was printed. In what it shows `…` stands for the rest of a line or a part of it, and a
/// line of `…` alone for any lines.
#[must_use]
pub fn is_shown(shown: &str, printed: &str) -> bool {
    lines_match(&shown.lines().collect::<Vec<_>>(), &printed.lines().collect::<Vec<_>>())
}

fn lines_match(shown: &[&str], printed: &[&str]) -> bool {
    match shown {
        [] => printed.is_empty(),
        ["…", rest @ ..] => (0..=printed.len()).any(|from| lines_match(rest, &printed[from..])),
        [line, rest @ ..] => {
            printed.first().is_some_and(|other| line_matches(line, other)) && lines_match(rest, &printed[1..])
        }
    }
}

fn line_matches(shown: &str, printed: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else { return shown == printed };
    let Some(printed) = printed.strip_prefix(start) else { return false };
    let mut ends = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
    ends.any(|at| line_matches(rest, &printed[at..]))
}

#[cfg(test)]
mod tests {
    use super::is_shown;

    #[test]
    fn elision_stands_for_text_and_for_lines() {
        assert!(is_shown("a\n", "a\n") && !is_shown("a\n", "b\n") && !is_shown("a\n", "a\nb\n"));
        assert!(is_shown("a …\n", "a b c\n") && !is_shown("a …\n", "b\n"));
        assert!(is_shown("a … c … e\n", "a b c d e\n") && !is_shown("a … c …\n", "a b d\n"));
        assert!(is_shown("a\n…\nd\n", "a\nb\nc\nd\n") && !is_shown("a\n…\n", "b\n"));
    }
}
