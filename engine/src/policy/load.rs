//! From text to policies, with errors a person can act on: file, line, path, and what is wrong.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde_saphyr::{Options, Spanned};

use super::{Policy, SandboxPolicy, contradictions::contradictions};
use crate::text::sanitize;

/// One text a policy is read from: a file, or the built-in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What errors call it: the path as the user gave it.
    pub name: String,
    /// The YAML text, one or more documents.
    pub text: String,
}

/// Something that is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where no line is to blame.
    pub line: u64,
    /// The path inside the document, such as `spec.security.runAsUser.default`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Everything that is wrong with a set of policy files; `Display` prints one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

pub(super) fn load(sources: &[Source]) -> Result<Vec<Policy>, LoadErrors> {
    let mut errors = Vec::new();
    let mut read: Vec<(Document, Policy)> = Vec::new();
    for document in sources.iter().flat_map(documents) {
        match read_document(&document) {
            Ok(policy) => read.push((document, policy)),
            Err(problems) => errors.extend(problems),
        }
    }
    if read.is_empty() && errors.is_empty() {
        let file = sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
        let problem = "no SandboxPolicy in it; leave --policy out to get the built-in one".into();
        errors.push(LoadError { file, line: 0, path: String::new(), problem });
    }
    errors.extend(claimed_twice(&read));
    if errors.is_empty() {
        Ok(read.into_iter().map(|(_, policy)| policy).collect())
    } else {
        Err(LoadErrors(errors))
    }
}

/// One document of a file.
struct Document<'s> {
    file: &'s str,
    text: &'s str,
    /// How many lines of the file stand before it.
    lines_before: u64,
}

impl Document<'_> {
    fn error(&self, line: u64, path: impl Into<String>, problem: impl Into<String>) -> LoadError {
        let line = if line == 0 { 0 } else { self.lines_before + line };
        LoadError {
            file: self.file.into(),
            line,
            path: sanitize(&path.into()),
            problem: sanitize(&problem.into()),
        }
    }

    /// The line of the value at `path`, or of its nearest parent that is written in the file.
    fn line_of(&self, path: &str) -> u64 {
        let Ok(tree) = parse::<Spanned<Tree>>(self.text) else { return 0 };
        let mut here = &tree;
        for step in path.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
            match here.value.child(step) {
                Some(child) => here = child,
                None => break,
            }
        }
        here.referenced.line()
    }
}

/// A marker line (`---`) always ends a document: inside one, YAML indents or quotes it.
fn documents(source: &Source) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut position, mut line, mut lines_before) = (0, 0, 0, 0);
    for text in source.text.split_inclusive('\n') {
        if is_marker(text) {
            documents.push(Document {
                file: &source.name,
                text: &source.text[start..position],
                lines_before,
            });
            (start, lines_before) = (position, line);
        }
        position += text.len();
        line += 1;
    }
    documents.push(Document { file: &source.name, text: &source.text[start..], lines_before });
    documents.retain(|document| !is_blank(document.text));
    documents
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line == "---" || line.starts_with('#'))
}

fn read_document(document: &Document) -> Result<Policy, Vec<LoadError>> {
    let SandboxPolicy { api_version: _, kind: _, metadata, spec } =
        parse_with_path(document).map_err(|error| vec![error])?;
    let problems = contradictions(&metadata.name, &spec);
    if problems.is_empty() {
        return Ok(Policy::new(metadata.name, spec));
    }
    let located = problems.into_iter().map(|(path, problem)| {
        let line = document.line_of(&path);
        document.error(line, path, problem)
    });
    Err(located.collect())
}

fn parse_with_path(document: &Document) -> Result<SandboxPolicy, LoadError> {
    let mut failed_at = String::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(document.text, options(), |reader| {
        serde_path_to_error::deserialize(reader).map_err(|error| {
            let path = error.path().to_string();
            // A step that cannot be told is "?": the value above it is to blame.
            failed_at = path.trim_end_matches('?').trim_end_matches('.').to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        document.error(line, failed_at, one_line(&error))
    })
}

/// The message without the position, which [`LoadError`] carries, and in words of the file, not of its reader.
fn one_line(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error.without_snippet() {
        return format!("duplicate key {key:?}");
    }
    let text = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let text = text.lines().next().unwrap_or_default();
    match &text[..text.rfind(" at line ").unwrap_or(text.len())] {
        "expected mapping start" => "must be a mapping (key: value)".into(),
        "invalid u32" => format!("must be a whole number, 0 to {}", u32::MAX),
        "invalid boolean" => "must be true or false".into(),
        "expected sequence start" => "must be a list ([value])".into(),
        text => text.into(),
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |reader| {
        T::deserialize(reader).map_err(serde_saphyr::Error::custom)
    })
}

fn options() -> Options {
    serde_saphyr::options! { with_snippet: false }
}

fn claimed_twice(read: &[(Document, Policy)]) -> Vec<LoadError> {
    let mut errors = Vec::new();
    for (index, (document, policy)) in read.iter().enumerate() {
        for (position, namespace) in policy.spec.namespaces.iter().enumerate() {
            let earlier = read[..index].iter().find(|(_, other)| other.spec.namespaces.contains(namespace));
            let Some((other_document, other)) = earlier else { continue };
            let path = format!("spec.namespaces[{position}]");
            let problem = format!(
                "namespace {namespace:?} already has the policy {:?} of {}; a namespace has one policy",
                other.name, other_document.file
            );
            errors.push(document.error(document.line_of(&path), path, problem));
        }
        if let Some((other, _)) = read[..index].iter().find(|(_, other)| other.name == policy.name) {
            let problem = format!("the name {:?} is taken by another policy, in {}", policy.name, other.file);
            errors.push(document.error(document.line_of("metadata.name"), "metadata.name", problem));
        }
    }
    errors
}

/// A document reduced to where its values stand.
#[derive(Debug)]
enum Tree {
    Leaf,
    List(Vec<Spanned<Tree>>),
    Map(Vec<(String, Spanned<Tree>)>),
}

impl Tree {
    fn child(&self, step: &str) -> Option<&Spanned<Tree>> {
        match self {
            Self::Leaf => None,
            Self::List(items) => items.get(step.parse::<usize>().ok()?),
            Self::Map(members) => members.iter().find(|(key, _)| key == step).map(|(_, value)| value),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;

        impl<'de> serde::de::Visitor<'de> for TreeVisitor {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a YAML value")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Map(members))
            }
        }

        deserializer.deserialize_any(TreeVisitor)
    }
}
