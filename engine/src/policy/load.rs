//! From text to policies, with errors a person can act on: file, line, path, and what is wrong.

use std::fmt;

use super::{Policy, SandboxPolicy, contradictions::contradictions};
use crate::{text::sanitize, yaml};

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
    yaml: yaml::Document<'s>,
}

impl Document<'_> {
    fn error(&self, line: u64, path: impl Into<String>, problem: impl Into<String>) -> LoadError {
        LoadError {
            file: self.file.into(),
            line,
            path: sanitize(&path.into()),
            problem: sanitize(&problem.into()),
        }
    }

    /// The line of the value at `path`, or of its nearest parent that is written in the file.
    fn line_of(&self, path: &str) -> u64 {
        self.yaml.parse().map_or(0, |root| root.nearest(path).line())
    }
}

fn documents(source: &Source) -> Vec<Document<'_>> {
    let documents = yaml::documents(&source.text).into_iter();
    documents.map(|yaml| Document { file: &source.name, yaml }).collect()
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
    let yaml::Document { text, lines_before } = document.yaml;
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, yaml::options(), |reader| {
        serde_path_to_error::deserialize(reader).map_err(|error| {
            let path = error.path().to_string();
            // A step that cannot be told is "?": the value above it is to blame.
            failed_at = path.trim_end_matches('?').trim_end_matches('.').to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        let line = error.location().map_or(0, |location| lines_before + location.line());
        document.error(line, failed_at, yaml::describe(&error))
    })
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
