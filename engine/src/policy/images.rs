//! Patterns of images, compared with parsed references.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::{ANYTHING, glob};
use crate::pod::image::ImageReference;

/// An image. The registry is literal, `*` stands for text within one segment of the repository, a final `/**` covers
/// all repositories below, and a tag or digest counts if it is written. `"*"` is any image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ImagePattern(String);

/// The end of a pattern that covers every repository below.
const ALL_BELOW: &str = "**";

impl ImagePattern {
    /// Returns the pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the pattern stands for `image`.
    #[must_use]
    pub fn matches(&self, image: &ImageReference) -> bool {
        if self.0 == ANYTHING {
            return true;
        }
        let Some(pattern) = ImageReference::split(&self.0) else { return false };
        if pattern.registry != image.registry
            || pattern.tag.is_some_and(|tag| image.tag != Some(tag))
            || pattern.digest.is_some_and(|digest| image.digest != Some(digest))
        {
            return false;
        }
        let mut wanted = pattern.repository();
        let mut found = image.repository();
        loop {
            match (wanted.next(), found.next()) {
                (Some(ALL_BELOW), Some(_)) | (None, None) => return true,
                (Some(one), Some(other)) if glob(one.as_bytes(), other.as_bytes()) => {}
                _ => return false,
            }
        }
    }

    /// Returns true if the pattern names one repository of one registry.
    #[must_use]
    pub fn names_repository(&self) -> bool {
        !self.0.contains('*')
    }
}

impl TryFrom<String> for ImagePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == ANYTHING {
            return Ok(Self(text));
        }
        let Some(pattern) = ImageReference::split(&text) else {
            return Err(format!("{text:?} names no image: write REGISTRY/REPOSITORY, or \"*\" for any"));
        };
        if pattern.registry.contains('*') {
            return Err(format!("{text:?} has '*' in its registry, which must be literal"));
        }
        if !text.contains('/') && (text.contains('.') || text.starts_with("localhost")) {
            return Err(format!(
                "{text:?} names a registry and no repository: write {text}/** for all of it"
            ));
        }
        if pattern.tag.is_some_and(|tag| tag.contains('*'))
            || pattern.digest.is_some_and(|text| text.contains('*'))
        {
            return Err(format!(
                "{text:?} has '*' in its tag or digest: leave the tag out, so that any is allowed"
            ));
        }
        let mut segments = pattern.repository().collect::<Vec<_>>();
        if segments.last() == Some(&ALL_BELOW) {
            segments.pop();
        }
        if segments.iter().any(|segment| segment.contains(ALL_BELOW)) {
            return Err(format!("{text:?} has \"**\" elsewhere than as its last segment"));
        }
        let sample = text.replace('*', "x");
        if ImageReference::parse(&sample).is_none() {
            return Err(format!(
                "{text:?} can match no image: references are lower case, REGISTRY/REPOSITORY[:TAG]"
            ));
        }
        Ok(Self(text))
    }
}

impl From<ImagePattern> for String {
    fn from(pattern: ImagePattern) -> Self {
        pattern.0
    }
}

/// Patterns of images. An empty list allows nothing, `"*"` allows any image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ImagePatterns(Vec<ImagePattern>);

impl ImagePatterns {
    /// Returns the list that allows every image.
    pub(super) fn anything() -> Self {
        Self(vec![ImagePattern(ANYTHING.into())])
    }

    /// Returns true if a pattern of the list stands for `image`.
    #[must_use]
    pub fn allow(&self, image: &ImageReference) -> bool {
        self.0.iter().any(|pattern| pattern.matches(image))
    }

    /// Returns true if the list allows every image, also one whose reference cannot be read.
    #[must_use]
    pub fn allow_anything(&self) -> bool {
        self.0.iter().any(|pattern| pattern.0 == ANYTHING)
    }

    /// Returns true if the list allows no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the patterns in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, ImagePattern> {
        self.0.iter()
    }
}

impl<'p> IntoIterator for &'p ImagePatterns {
    type Item = &'p ImagePattern;
    type IntoIter = std::slice::Iter<'p, ImagePattern>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_compared_with_the_parsed_reference() {
        for (pattern, image, expected) in [
            ("nginx", "docker.io/library/nginx:1", true),
            ("docker.io/library/nginx", "nginx", true),
            ("quay.io/argoproj/argoexec", "quay.io/argoproj/argoexec:v3", true),
            ("quay.io/argoproj/argoexec", "quay.io/argoproj/argoexec-evil", false),
            ("quay.io/argoproj/argoexec", "quay.io:8080/argoproj/argoexec", false),
            ("quay.io/argoproj/argoexec", "evil/quay.io/argoproj/argoexec", false),
            ("quay.io/argoproj/argoexec:v3", "quay.io/argoproj/argoexec:v4", false),
            ("quay.io/argoproj/argoexec:v3", "quay.io/argoproj/argoexec:v3@sha256:00", true),
            ("quay.io/*/argoexec", "quay.io/a/argoexec", true),
            ("quay.io/*", "quay.io/a/b", false),
            ("quay.io/**", "quay.io/a/b", true),
            ("quay.io/a/**", "quay.io/a", false),
            ("team/**", "team/x", true),
            ("*", "x.io/y", true),
        ] {
            let pattern = ImagePattern::try_from(pattern.to_string()).unwrap();
            let image = ImageReference::parse(image).unwrap();
            assert_eq!(pattern.matches(&image), expected, "{} {image:?}", pattern.as_str());
        }
    }

    #[test]
    fn malformed_pattern_is_an_error() {
        for text in [
            "",
            "quay.io",
            "*.io/a",
            "quay.io/a:*",
            "quay.io/**/a",
            "Quay.io/A",
            "quay.io/a**",
            "https://quay.io/a",
        ] {
            assert!(ImagePattern::try_from(text.to_string()).is_err(), "{text}");
        }
    }
}
