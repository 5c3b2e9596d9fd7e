//! Patterns of names, with one law for every list: an empty list allows nothing, `"*"` allows anything, and elsewhere
//! `*` stands for any text without `/`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The entry of a list that allows anything.
pub(super) const ANYTHING: &str = "*";

/// A name in which `*` stands for any text without `/`; `"*"` alone stands for every name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Returns the pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the pattern is `"*"`.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        self.0 == ANYTHING
    }

    /// Returns true if the pattern contains no `*`, so that it stands for one name only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// Returns true if the pattern stands for `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.is_anything() || glob(self.0.as_bytes(), name.as_bytes())
    }

    /// Returns true if there is a name that both patterns stand for.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        if self.is_anything() || other.is_anything() {
            return true;
        }
        meet(self.0.as_bytes(), other.0.as_bytes())
    }

    /// Returns true if this pattern provably stands for every name that `other` stands for.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // A `*` of the other stands for any text without `/`, which the text `*` itself is an example of: what matches
        // the pattern's own text with `*` for `*` matches all of it.
        self.is_anything() || (!other.is_anything() && self.matches(&other.0))
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty pattern matches no name: remove it, or write \"*\" for any".into());
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("{text:?} contains white space or control characters, which no name has"));
        }
        if text.contains("**") {
            return Err(format!(
                "{text:?} contains \"**\": write \"*\", which stands for any text without '/'"
            ));
        }
        Ok(Self(text))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

/// Patterns of names. An empty list allows nothing, `"*"` allows anything; elsewhere `*` stands for text without `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Names(Vec<Pattern>);

impl Names {
    /// Returns the patterns of `words`, which are constants of this program.
    pub(super) fn known(words: &[&str]) -> Self {
        Self(words.iter().map(|word| Pattern((*word).into())).collect())
    }

    /// Returns true if a pattern of the list stands for `name`.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Returns true if the list allows no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the list allows every name.
    #[must_use]
    pub fn allows_anything(&self) -> bool {
        self.0.iter().any(Pattern::is_anything)
    }

    /// Returns the patterns in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Pattern> {
        self.0.iter()
    }

    /// Returns true if there is a name that both lists allow.
    #[must_use]
    pub fn meet(&self, other: &Self) -> bool {
        self.0.iter().any(|pattern| other.0.iter().any(|candidate| pattern.meets(candidate)))
    }

    /// Returns true if this list provably allows every name that `other` allows.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|pattern| self.0.iter().any(|wider| wider.covers(pattern)))
    }

    /// Returns the position of the first pattern that repeats an earlier one.
    pub(super) fn repeated(&self) -> Option<usize> {
        (1..self.0.len()).find(|&index| self.0[..index].contains(&self.0[index]))
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " or " };
            write!(f, "{separator}{}", pattern.as_str())?;
        }
        Ok(())
    }
}

impl<'n> IntoIterator for &'n Names {
    type Item = &'n Pattern;
    type IntoIter = std::slice::Iter<'n, Pattern>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Matches a name without allocation. On a mismatch only the last `*` takes one more character: an earlier one could
/// only help by taking a `/`.
pub(super) fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, n));
                continue;
            }
            Some(byte) if name.get(n) == Some(byte) => {
                p += 1;
                n += 1;
                continue;
            }
            None if n == name.len() => return true,
            _ => {}
        }
        let Some((after_star, taken)) = retry else { return false };
        if taken >= name.len() || name[taken] == b'/' {
            return false;
        }
        retry = Some((after_star, taken + 1));
        (p, n) = (after_star, taken + 1);
    }
}

/// Decides whether two patterns have a name in common, by the pairs of positions that a common name can reach.
fn meet(left: &[u8], right: &[u8]) -> bool {
    let width = right.len() + 1;
    let mut reached = vec![false; (left.len() + 1) * width];
    let mut open = vec![(0, 0)];
    while let Some((l, r)) = open.pop() {
        if std::mem::replace(&mut reached[l * width + r], true) {
            continue;
        }
        match (left.get(l), right.get(r)) {
            (None, None) => return true,
            (Some(b'*'), Some(b'*')) => open.extend([(l + 1, r), (l, r + 1)]),
            (Some(b'*'), other) => {
                open.push((l + 1, r));
                if other.is_some_and(|&byte| byte != b'/') {
                    open.push((l, r + 1));
                }
            }
            (other, Some(b'*')) => {
                open.push((l, r + 1));
                if other.is_some_and(|&byte| byte != b'/') {
                    open.push((l + 1, r));
                }
            }
            (Some(one), Some(other)) if one == other => open.push((l + 1, r + 1)),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_string()).unwrap()
    }

    #[test]
    fn empty_list_allows_nothing_and_star_anything() {
        assert!(!Names::default().allows("a"));
        assert!(!Names::default().allows(""));
        assert!(Names::known(&["*"]).allows("a/b"));
        assert!(Names::known(&["*"]).allows_anything());
    }

    #[test]
    fn star_in_a_pattern_stops_at_a_slash() {
        for (text, name, expected) in [
            ("ci-*", "ci-", true),
            ("ci-*", "ci-a-b", true),
            ("ci-*", "ci-a/b", false),
            ("ci-*", "xci-a", false),
            ("*.crio.io/*", "a.crio.io/b", true),
            ("*.crio.io/*", "a/b.crio.io/c", false),
            ("*-a-*-b", "x-a-a-b-b", true),
            ("*ab", "aab", true),
            ("a*a", "a", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(pattern(text).matches(name), expected, "{text} {name}");
        }
    }

    #[test]
    fn malformed_pattern_is_an_error() {
        for text in ["", "a b", "a\u{7}", "a**"] {
            assert!(Pattern::try_from(text.to_string()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_patterns_meet_only_if_a_name_fits_both() {
        for (one, other, expected) in [
            ("ci-*", "*-dev", true),
            ("ci-*", "cd-*", false),
            ("ci-*", "ci", false),
            ("a*b", "a*c", false),
            ("a*b*c", "a*d*c", true),
            ("*", "x/y", true),
            ("a*", "a/b", false),
        ] {
            assert_eq!(pattern(one).meets(&pattern(other)), expected, "{one} {other}");
            assert_eq!(pattern(other).meets(&pattern(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn wider_pattern_covers_the_narrower_one() {
        assert!(pattern("ci-*").covers(&pattern("ci-a*")));
        assert!(!pattern("ci-a*").covers(&pattern("ci-*")));
        assert!(!pattern("a*").covers(&pattern("*")));
    }

    /// The definition of a match, without the shortcut.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len())
                .take_while(|&taken| !name[..taken].contains(&b'/'))
                .any(|taken| slow(rest, &name[taken..])),
            Some((byte, rest)) => {
                name.split_first().is_some_and(|(first, tail)| first == byte && slow(rest, tail))
            }
        }
    }

    proptest! {
        #[test]
        fn match_agrees_with_its_definition(pattern in "[ab/*]{0,8}", name in "[ab/]{0,8}") {
            prop_assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), slow(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn patterns_with_a_common_name_meet(one in "[ab*]{1,5}", other in "[ab*]{1,5}", name in "[ab]{0,6}") {
            let both = slow(one.as_bytes(), name.as_bytes()) && slow(other.as_bytes(), name.as_bytes());
            prop_assert!(!both || meet(one.as_bytes(), other.as_bytes()));
        }
    }
}
