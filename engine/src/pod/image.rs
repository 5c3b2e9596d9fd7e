//! References to container images, read as container runtimes read them.

/// An image reference, completed as container runtimes complete it: `nginx` is `docker.io/library/nginx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageReference<'i> {
    /// The registry's host with its port, such as `quay.io` or `localhost:5000`.
    pub registry: &'i str,
    /// The tag, if one is written.
    pub tag: Option<&'i str>,
    /// The digest, such as `sha256:…`, if one is written.
    pub digest: Option<&'i str>,
    /// True if the repository is the written one below Docker Hub's `library`.
    in_library: bool,
    path: &'i str,
}

/// The registry of a reference that names none.
const DOCKER_HUB: &str = "docker.io";
/// The other host names of Docker Hub.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

impl<'i> ImageReference<'i> {
    /// Reads a reference; returns `None` if `text` is no valid one.
    #[must_use]
    pub fn parse(text: &'i str) -> Option<Self> {
        let reference = Self::split(text)?;
        let component = |part: &str| {
            part.starts_with(is_lower_alphanumeric)
                && part.ends_with(is_lower_alphanumeric)
                && part.chars().all(|c| is_lower_alphanumeric(c) || matches!(c, '.' | '_' | '-'))
        };
        let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        let tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let digest = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '+' | '.' | '_' | '-');
        let valid = reference.path.split('/').all(component)
            && reference.registry.chars().all(host)
            && reference
                .tag
                .is_none_or(|text| !text.is_empty() && text.len() <= 128 && text.chars().all(tag))
            && reference.digest.is_none_or(|text| text.contains(':') && text.chars().all(digest));
        valid.then_some(reference)
    }

    /// Splits a reference or a pattern of references without a look at its characters.
    pub(crate) fn split(text: &'i str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DOCKER_HUB, name),
        };
        let registry = if DOCKER_HUB_ALIASES.contains(&registry) { DOCKER_HUB } else { registry };
        let in_library = registry == DOCKER_HUB && !path.contains('/');
        (!registry.is_empty() && !path.is_empty()).then_some(Self { registry, tag, digest, in_library, path })
    }

    /// Returns the segments of the repository, completed: `library`, `nginx`.
    pub fn repository(&self) -> impl Iterator<Item = &'i str> + use<'i> {
        self.in_library.then_some("library").into_iter().chain(self.path.split('/'))
    }
}

fn is_lower_alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(String, String, Option<String>, Option<String>)> {
        let image = ImageReference::parse(text)?;
        let repository = image.repository().collect::<Vec<_>>().join("/");
        Some((image.registry.into(), repository, image.tag.map(Into::into), image.digest.map(Into::into)))
    }

    #[test]
    fn reference_is_completed() {
        for (text, registry, repository, tag, digest) in [
            ("nginx", "docker.io", "library/nginx", None, None),
            ("nginx:1.27", "docker.io", "library/nginx", Some("1.27"), None),
            ("docker.io/nginx", "docker.io", "library/nginx", None, None),
            ("index.docker.io/team/a", "docker.io", "team/a", None, None),
            ("team/a", "docker.io", "team/a", None, None),
            ("localhost/a", "localhost", "a", None, None),
            ("quay.io:8080/a/b:c", "quay.io:8080", "a/b", Some("c"), None),
            ("quay.io/a@sha256:00", "quay.io", "a", None, Some("sha256:00")),
            ("quay.io/a:t@sha256:00", "quay.io", "a", Some("t"), Some("sha256:00")),
        ] {
            let expected = (registry.into(), repository.into(), tag.map(Into::into), digest.map(Into::into));
            assert_eq!(parts(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn invalid_reference_is_none() {
        for text in ["", "/a", "quay.io/", "Quay/A", "a//b", "a:", "a@", "a b", "quay.io/a/../b", "a\n"] {
            assert_eq!(parts(text), None, "{text:?}");
        }
    }
}
