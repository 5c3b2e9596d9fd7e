//! What one rule denies, stated in CEL: a condition, and the text of a violation where the condition holds.
//!
//! The same [`Statement`] gives the boolean that a Pod without violations is asked for, and the list of texts that is only
//! made of a Pod with violations.

use crate::{
    cel,
    policy::{Profile, Spec},
};

/// The things that a check is for, each with the variable that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The Pod as a whole.
    Pod,
    /// Each container `c`: `c.o` is the object, `c.k` the kind, `c.x` the number of its exception or 0.
    Containers,
    /// Each volume `d`.
    Volumes,
    /// Each key `k` of the annotations.
    Annotations,
    /// Each key `k` of the labels.
    Labels,
    /// Each toleration `t`.
    Tolerations,
}

impl Over {
    pub(crate) const ALL: [Self; 6] =
        [Self::Pod, Self::Annotations, Self::Labels, Self::Tolerations, Self::Volumes, Self::Containers];

    /// Returns the variable and the list of the view `v`; `None` for the Pod.
    pub(crate) fn list(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Pod => None,
            Self::Containers => Some(("c", "v.all")),
            Self::Volumes => Some(("d", "v.vols")),
            Self::Annotations => Some(("k", "v.ann")),
            Self::Labels => Some(("k", "v.labels")),
            Self::Tolerations => Some(("t", "v.o.?spec.?tolerations.orValue([])")),
        }
    }
}

/// One property that must not hold.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) over: Over,
    /// The condition of a violation.
    pub(crate) condition: String,
    /// The path of the field and what was found there, a CEL string. Equal texts are one violation for an update.
    text: String,
    /// True if labels and annotations alone decide, so that a Binding is checked too.
    pub(crate) of_metadata: bool,
}

impl Statement {
    fn new(over: Over, condition: String, path: &str, found: &str) -> Self {
        Self { over, condition, text: format!("{path} + ' is ' + {found}"), of_metadata: false }
    }

    /// Denies a Pod for which `condition` holds; `found` is a CEL string.
    pub(crate) fn pod(condition: String, path: &str, found: &str) -> Self {
        Self::new(Over::Pod, condition, &cel::text(path), found)
    }

    /// Denies a container `c` for which `condition` holds; `field` is its field.
    pub(crate) fn container(condition: String, field: &str, found: &str) -> Self {
        Self::new(Over::Containers, condition, &format!("{AT} + {}", cel::text(&format!(".{field}"))), found)
    }

    /// Denies a volume `d` for which `condition` holds; `field` is its field.
    pub(crate) fn volume(condition: String, field: &str, found: &str) -> Self {
        let path = format!("'spec.volumes[' + d.name + ']' + {}", cel::text(field));
        Self::new(Over::Volumes, condition, &path, found)
    }

    /// Denies an annotation `k` for which `condition` holds.
    pub(crate) fn annotation(condition: String) -> Self {
        let check = Self::new(
            Over::Annotations,
            condition,
            "'metadata.annotations[' + k + ']'",
            "strings.quote(v.ann[k])",
        );
        Self { of_metadata: true, ..check }
    }

    /// Denies a label `k` for which `condition` holds.
    pub(crate) fn label(condition: String) -> Self {
        let check =
            Self::new(Over::Labels, condition, "'metadata.labels[' + k + ']'", "strings.quote(v.labels[k])");
        Self { of_metadata: true, ..check }
    }

    /// Denies a toleration `t` for which `condition` holds.
    pub(crate) fn toleration(condition: String, found: &str) -> Self {
        Self::new(Over::Tolerations, condition, "'spec.tolerations'", found)
    }

    /// Marks a check of the Pod that only looks at labels and annotations.
    pub(crate) fn of_metadata(self) -> Self {
        Self { of_metadata: true, ..self }
    }

    /// Returns the CEL list of the texts of the violations in the view `v`.
    pub(crate) fn texts(&self, rule: &str) -> String {
        let Self { over, condition, text, .. } = self;
        let text = format!("{} + {text}", cel::text(&format!("{rule}: ")));
        match over.list() {
            None => format!("{condition} ? [{text}] : []"),
            Some((variable, list)) => {
                format!("{list}.filter({variable}, {condition}).map({variable}, {text})")
            }
        }
    }
}

/// The path of a container `c`, by its name: the names of a Pod's containers are different.
const AT: &str = "(c.k == 'app' ? 'spec.containers[' : c.k == 'ephemeral' ? 'spec.ephemeralContainers[' : \
                  'spec.initContainers[') + c.o.name + ']'";

/// The keys of one profile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'p> {
    pub(crate) profile: &'p Profile,
    pub(crate) spec: &'p Spec,
}

impl<'p> Keys<'p> {
    pub(crate) fn of(profile: &'p Profile) -> Self {
        Self { profile, spec: &profile.spec }
    }

    /// Returns the keys of the Pod and of each exception, in the order of their numbers.
    pub(crate) fn specs(self) -> impl Iterator<Item = &'p Spec> {
        std::iter::once(self.spec).chain(self.profile.exceptions.iter().map(|exception| &exception.spec))
    }

    /// Returns what `expression` gives for the keys of the container `c`.
    pub(crate) fn of_container(self, expression: impl Fn(&'p Spec) -> String) -> String {
        let all: Vec<String> = self.specs().map(expression).collect();
        selected("c.x", &all)
    }
}

/// Returns the expression of `all` whose number `selector` is. Expressions that are the same are written once.
pub(crate) fn selected(selector: &str, all: &[String]) -> String {
    let mut different: Vec<(&String, Vec<usize>)> = Vec::new();
    for (number, expression) in all.iter().enumerate() {
        match different.iter_mut().find(|(known, _)| *known == expression) {
            Some((_, numbers)) => numbers.push(number),
            None => different.push((expression, vec![number])),
        }
    }
    let Some((last, _)) = different.pop() else { return "false".into() };
    if different.is_empty() {
        return last.clone();
    }
    let mut chosen = String::from("(");
    for (expression, numbers) in different {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let test = match numbers.as_slice() {
            [one] => format!("{selector} == {one}"),
            several => format!("{selector} in [{}]", several.join(", ")),
        };
        chosen = format!("{chosen}{test} ? ({expression}) : ");
    }
    format!("{chosen}({last}))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_are_the_same_are_written_once() {
        let all = ["a", "b", "a"].map(String::from);
        assert_eq!(selected("c.x", &all), "(c.x in [0, 2] ? (a) : (b))");
        assert_eq!(selected("c.x", &["a".into(), "a".into()]), "a");
    }
}
