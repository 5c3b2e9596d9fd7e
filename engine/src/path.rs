//! The position of a value in an object, after the type `field.Path` of Kubernetes.
//!
//! A check walks an object with a [`LazyPath`], which borrows its parts and costs no allocation. What is reported keeps
//! its path as a [`FieldPath`]. Both are written in the notation of Kubernetes: `spec.containers[0].image`.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::text::{cut, is_plain, is_unsafe_for_display, sanitize};

/// The most characters of a name in a path that is written. A longer one is cut; no valid name or key is: a key of a label
/// has at most 253 + 1 + 63.
const MAX_NAME_CHARS: usize = 320;

/// One step from a value to a value inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step<'p> {
    /// A field of an API type: `.image`.
    Field(&'p str),
    /// A free key of a map: `[app.kubernetes.io/name]`.
    Key(&'p str),
    /// A position in a list, counted from 0: `[0]`.
    Index(usize),
}

/// `metadata` of an object.
pub static METADATA: LazyPath<'static> = LazyPath::root("metadata");
/// `metadata.annotations` of an object.
pub static ANNOTATIONS: LazyPath<'static> = METADATA.child("annotations");
/// `spec` of an object.
pub static SPEC: LazyPath<'static> = LazyPath::root("spec");

/// A path as a chain of borrowed steps.
#[derive(Debug, Clone, Copy)]
pub struct LazyPath<'p> {
    parent: Option<&'p LazyPath<'p>>,
    step: Step<'p>,
}

impl<'p> LazyPath<'p> {
    /// Returns the path of a field of the object itself.
    #[must_use]
    pub const fn root(field: &'p str) -> Self {
        Self { parent: None, step: Step::Field(field) }
    }

    /// Returns the path of a field of the value at this path.
    #[must_use]
    pub const fn child(&'p self, field: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Field(field) }
    }

    /// Returns the path of an entry of the map at this path.
    #[must_use]
    pub const fn key(&'p self, key: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    /// Returns the path of an item of the list at this path.
    #[must_use]
    pub const fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// Returns the steps from the object to the value.
    #[must_use]
    pub fn steps(&self) -> Vec<Step<'p>> {
        let mut steps = vec![self.step];
        let mut above = self.parent;
        while let Some(path) = above {
            steps.push(path.step);
            above = path.parent;
        }
        steps.reverse();
        steps
    }
}

/// A path that owns its steps. It is serialized as it is written.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath {
    steps: Vec<OwnedStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum OwnedStep {
    Field(Box<str>),
    Key(Box<str>),
    Index(usize),
}

impl OwnedStep {
    fn borrow(&self) -> Step<'_> {
        match self {
            Self::Field(name) => Step::Field(name),
            Self::Key(key) => Step::Key(key),
            Self::Index(index) => Step::Index(*index),
        }
    }
}

impl FieldPath {
    /// Returns the steps from the object to the value.
    #[must_use]
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Step<'_>> + DoubleEndedIterator {
        self.steps.iter().map(OwnedStep::borrow)
    }

    /// Returns the same path as seen from an object that holds this one at `prefix`: `spec.containers[0]` under
    /// `spec.template` is `spec.template.spec.containers[0]`.
    #[must_use]
    pub fn under(&self, prefix: &Self) -> Self {
        prefix.steps().chain(self.steps()).collect()
    }

    /// Returns the path with one more step.
    #[must_use]
    pub fn with(&self, step: Step) -> Self {
        self.steps().chain([step]).collect()
    }

    /// Returns what of the path comes after `prefix`; `None` if it does not begin with that.
    #[must_use]
    pub fn after(&self, prefix: &Self) -> Option<Self> {
        self.steps.strip_prefix(prefix.steps.as_slice()).map(|steps| Self { steps: steps.to_vec() })
    }

    /// Returns the path without its first step if that is the field `name`.
    #[must_use]
    pub fn below(&self, name: &str) -> Option<Self> {
        let mut steps = self.steps();
        (steps.next() == Some(Step::Field(name))).then(|| steps.collect())
    }

    /// Splits the path at its first index; `None` if it has no index.
    pub(crate) fn split_at_index(&self) -> Option<(IndexGroup<'_>, usize)> {
        self.steps.iter().enumerate().find_map(|(at, step)| match step {
            OwnedStep::Index(index) => {
                Some((IndexGroup { before: &self.steps[..at], after: &self.steps[at + 1..] }, *index))
            }
            _ => None,
        })
    }
}

impl<'p> FromIterator<Step<'p>> for FieldPath {
    fn from_iter<I: IntoIterator<Item = Step<'p>>>(steps: I) -> Self {
        let owned = |step| match step {
            Step::Field(name) => OwnedStep::Field(name.into()),
            Step::Key(key) => OwnedStep::Key(key.into()),
            Step::Index(index) => OwnedStep::Index(index),
        };
        Self { steps: steps.into_iter().map(owned).collect() }
    }
}

impl From<LazyPath<'_>> for FieldPath {
    fn from(path: LazyPath) -> Self {
        path.steps().into_iter().collect()
    }
}

/// The key that is the same for paths that differ in their first index only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IndexGroup<'p> {
    before: &'p [OwnedStep],
    after: &'p [OwnedStep],
}

impl IndexGroup<'_> {
    /// Writes the paths of all `indices` as one: `spec.containers[0,2].image`.
    pub(crate) fn write(&self, indices: &[usize], f: &mut impl fmt::Write) -> fmt::Result {
        write_steps(self.before.iter().map(OwnedStep::borrow), f)?;
        for (position, index) in indices.iter().enumerate() {
            write!(f, "{}{index}", if position == 0 { '[' } else { ',' })?;
        }
        f.write_char(']')?;
        self.after.iter().try_for_each(|step| write_step(step.borrow(), f))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write_steps(self.steps(), f)
    }
}

impl fmt::Display for LazyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write_steps(self.steps().into_iter(), f)
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Appends a step to a path as it is written.
pub(crate) fn push_step(step: Step, is_first: bool, path: &mut String) {
    let _ = match step {
        Step::Field(name) if is_first => write_name(name, path),
        step => write_step(step, path),
    };
}

fn write_steps<'p>(mut steps: impl Iterator<Item = Step<'p>>, f: &mut impl fmt::Write) -> fmt::Result {
    match steps.next() {
        Some(Step::Field(name)) => write_name(name, f)?,
        Some(step) => write_step(step, f)?,
        None => return Ok(()),
    }
    steps.try_for_each(|step| write_step(step, f))
}

fn write_step(step: Step, f: &mut impl fmt::Write) -> fmt::Result {
    match step {
        Step::Field(name) => {
            f.write_char('.')?;
            write_name(name, f)
        }
        Step::Key(key) => {
            f.write_char('[')?;
            write_name(key, f)?;
            f.write_char(']')
        }
        Step::Index(index) => match u8::try_from(index) {
            Ok(digit @ 0..10) => {
                f.write_char('[')?;
                f.write_char(char::from(b'0' + digit))?;
                f.write_char(']')
            }
            _ => write!(f, "[{index}]"),
        },
    }
}

fn write_name(name: &str, f: &mut impl fmt::Write) -> fmt::Result {
    if name.len() <= MAX_NAME_CHARS && is_plain(name) {
        return f.write_str(name);
    }
    let name = cut(name, MAX_NAME_CHARS);
    if name.contains(is_unsafe_for_display) { f.write_str(&sanitize(&name)) } else { f.write_str(&name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_in_the_notation_of_kubernetes() {
        let containers = SPEC.child("containers");
        let container = containers.index(3);
        assert_eq!(container.child("image").to_string(), "spec.containers[3].image");
        assert_eq!(ANNOTATIONS.key("x.dev/y").to_string(), "metadata.annotations[x.dev/y]");
        assert_eq!(FieldPath::from(container.child("image")).to_string(), "spec.containers[3].image");
        assert_eq!(FieldPath::default().to_string(), "");
    }

    #[test]
    fn owned_steps_are_the_borrowed_ones() {
        let labels = METADATA.child("labels");
        let path = labels.key("a.b[0].c");
        let owned = FieldPath::from(path);
        assert_eq!(owned.steps().collect::<Vec<_>>(), path.steps());
        assert_eq!(owned.steps().next_back(), Some(Step::Key("a.b[0].c")));
        assert_eq!(owned.steps().collect::<FieldPath>(), owned);
    }

    #[test]
    fn a_path_of_a_pod_gets_the_prefix_of_its_template() {
        let template: FieldPath = ["spec", "template"].map(Step::Field).into_iter().collect();
        let path = FieldPath::from(SPEC.child("hostPID"));
        assert_eq!(path.under(&template).to_string(), "spec.template.spec.hostPID");
        assert_eq!(path.below("spec").unwrap().to_string(), "hostPID");
        assert_eq!(path.below("metadata"), None);
        assert_eq!(path.under(&template).after(&template), Some(path.clone()));
        assert_eq!(path.after(&template), None);
        assert_eq!(template.with(Step::Index(1)).to_string(), "spec.template[1]");
    }

    #[test]
    fn only_an_index_groups_paths_and_no_key_that_looks_like_one() {
        let containers = SPEC.child("containers");
        let [first, second] = [0, 7].map(|index| FieldPath::from(containers.index(index).child("image")));
        let (group, index) = first.split_at_index().unwrap();
        assert_eq!((second.split_at_index().unwrap(), index), ((group, 7), 0));
        let mut text = String::new();
        group.write(&[0, 7], &mut text).unwrap();
        assert_eq!(text, "spec.containers[0,7].image");
        let labels = METADATA.child("labels");
        assert_eq!(FieldPath::from(labels.key("80")).split_at_index(), None);
    }

    #[test]
    fn a_hostile_key_cannot_forge_a_line() {
        assert_eq!(ANNOTATIONS.key("a\nb\u{202e}").to_string(), "metadata.annotations[a\u{fffd}b\u{fffd}]");
    }

    #[test]
    fn a_path_is_serialized_as_text() {
        let path = FieldPath::from(SPEC.child("volumes"));
        assert_eq!(serde_json::to_string(&path).unwrap(), "\"spec.volumes\"");
    }
}
