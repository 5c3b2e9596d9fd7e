//! The pages, as files and as Markdown.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The pages outside of `docs/` that the book has too.
const OTHER_PAGES: [&str; 9] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "MAINTAINERS.md",
    "README.md",
    "SECURITY.md",
    "certs/README.md",
    "charts/sandgate/README.md",
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page of this checkout.
pub(crate) struct Page {
    /// Its path from the top of the checkout.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = fs::read_to_string(root().join(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// Every page of the book, and its contents.
    pub(crate) fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> = OTHER_PAGES.iter().map(Into::into).collect();
        let mut folders = vec![PathBuf::from("docs")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root().join(&folder)).unwrap() {
                let path = folder.join(entry.unwrap().file_name());
                if root().join(&path).is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "md") {
                    paths.push(path);
                }
            }
        }
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn events(&self) -> Parser<'_> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
    }

    /// The targets of its links and pictures.
    pub(crate) fn links(&self) -> Vec<String> {
        let target = |event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.to_string())
            }
            _ => None,
        };
        self.events().filter_map(target).collect()
    }

    /// The anchors of its headings, as forges and mdBook make them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        let mut heading: Option<String> = None;
        for event in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap());
                    let same = anchors.iter().filter(|other| **other == anchor).count();
                    anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
                }
                _ => {}
            }
        }
        anchors
    }

    /// The text below the heading of an anchor, up to the next heading of its level or of a higher one.
    pub(crate) fn section(&self, wanted: &str) -> Option<String> {
        let mut heading = String::new();
        let mut below = None;
        for (event, range) in self.events().into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    if let Some((from, of)) = below
                        && level <= of
                    {
                        return Some(self.text[from..range.start].into());
                    }
                    heading.clear();
                }
                Event::Text(text) | Event::Code(text) if below.is_none() => heading.push_str(&text),
                Event::End(TagEnd::Heading(level)) if below.is_none() && anchor(&heading) == wanted => {
                    below = Some((range.end, level));
                }
                _ => {}
            }
        }
        below.map(|(from, _)| self.text[from..].into())
    }

    /// The text without code.
    pub(crate) fn prose(&self) -> String {
        let mut prose = String::new();
        let mut in_block = false;
        for event in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Text(text) if !in_block => {
                    prose.push_str(&text);
                    prose.push(' ');
                }
                _ => {}
            }
        }
        prose
    }

    /// What stands between backticks.
    pub(crate) fn code(&self) -> Vec<String> {
        let code = |event| match event {
            Event::Code(code) => Some(code.to_string()),
            _ => None,
        };
        self.events().filter_map(code).collect()
    }

    /// The fenced blocks: what follows the fence, and the text.
    pub(crate) fn blocks(&self) -> Vec<(String, String)> {
        let mut blocks = Vec::new();
        let mut open: Option<(String, String)> = None;
        for event in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    open = Some((info.to_string(), String::new()))
                }
                Event::Text(text) => {
                    if let Some((_, block)) = &mut open {
                        block.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
                _ => {}
            }
        }
        blocks
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept =
        kept.chars().filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect()
}

/// Runs the shell command in a folder, and returns what a terminal shows.
pub(crate) fn terminal(command: &str, folder: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_sandgate")).parent().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
