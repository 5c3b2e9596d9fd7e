//! Patterns of paths, and the system paths that no pattern reaches by accident.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::{ANYTHING, glob};

/// The paths that hold programs, settings and credentials. No entry covers one, what lies above it, or what lies below
/// it, except an entry without `*` that itself lies below it.
pub const SYSTEM_PATHS: [&str; 16] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/run/secrets",
    "/sbin",
    "/sys",
    "/usr",
    "/var/run/secrets",
    "/var/run/secrets/kubernetes.io",
];

/// The only path below /dev, /proc and /sys that an entry may name.
const SHARED_MEMORY: &str = "/dev/shm";

/// The folders that service account tokens of the API server are mounted in.
const TOKEN_FOLDERS: [&str; 2] = ["/var/run/secrets/kubernetes.io", "/run/secrets/kubernetes.io"];

/// A path of a container. It covers all that lies below it, `*` stands for text within one segment, and `"*"` covers
/// everything but the system paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

impl PathPattern {
    /// Returns the pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the pattern covers `path`. A path that is relative or contains `..` or a control character is
    /// covered by no pattern.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        if !is_safe(path) {
            return false;
        }
        if self.0 == ANYTHING {
            return !touches_system_path(path);
        }
        if !starts_with(path, &self.0) {
            return false;
        }
        // The load check has seen that such an entry is meant: it has no `*` and lies below a system path.
        lies_below_system_path(&self.0) || !touches_system_path(path)
    }
}

impl TryFrom<String> for PathPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == ANYTHING {
            return Ok(Self(text));
        }
        check_plain(&text)?;
        if text.contains("**") {
            return Err(format!("{text:?} contains \"**\": a path covers all below it already"));
        }
        if text.contains('*') {
            let below = SYSTEM_PATHS[1..].iter().find(|system| starts_with(&text, system));
            if let Some(system) = below {
                return Err(format!(
                    "{text:?} lies below the system path {system}: only a path without '*' may"
                ));
            }
            return Ok(Self(text));
        }
        let kernel = ["/dev", "/proc", "/sys"].into_iter().find(|system| starts_with(&text, system));
        if let Some(system) = kernel.filter(|_| text != SHARED_MEMORY) {
            return Err(format!("{text:?} is in {system}, of which only {SHARED_MEMORY} may be named"));
        }
        if let Some(folder) = TOKEN_FOLDERS.iter().find(|folder| starts_with(&text, folder)) {
            return Err(format!(
                "{text:?} is in {folder}, where tokens of the API server are: name another path"
            ));
        }
        if SYSTEM_PATHS.contains(&text.as_str()) {
            let parent = text.trim_end_matches('/');
            return Err(format!("{text:?} is a system path: name a folder below it, such as {parent}/NAME"));
        }
        if let Some(system) = SYSTEM_PATHS.iter().find(|system| starts_with(system, &text)) {
            return Err(format!("{text:?} lies above the system path {system}: name a folder beside it"));
        }
        Ok(Self(text))
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.0
    }
}

/// Patterns of paths. An empty list covers nothing, `"*"` covers everything but the system paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PathPatterns(Vec<PathPattern>);

impl PathPatterns {
    /// Returns true if a pattern of the list covers `path`.
    #[must_use]
    pub fn cover(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| pattern.covers(path))
    }

    /// Returns the patterns in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, PathPattern> {
        self.0.iter()
    }

    /// Returns true if the list covers no path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'p> IntoIterator for &'p PathPatterns {
    type Item = &'p PathPattern;
    type IntoIter = std::slice::Iter<'p, PathPattern>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A single path of a container, without `*`, on no system path, above none and below none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ExactPath(String);

impl ExactPath {
    /// Returns a path that is a constant of this program.
    pub(super) fn known(path: &str) -> Self {
        Self(path.into())
    }

    /// Returns the path as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ExactPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_plain(&text)?;
        if text.contains('*') {
            return Err(format!("{text:?} contains '*': this key takes exact paths"));
        }
        if text != SHARED_MEMORY && touches_system_path(&text) {
            return Err(format!("{text:?} lies on, above or below a system path: name another path"));
        }
        Ok(Self(text))
    }
}

impl From<ExactPath> for String {
    fn from(path: ExactPath) -> Self {
        path.0
    }
}

fn check_plain(text: &str) -> Result<(), String> {
    if !is_safe(text) {
        return Err(format!("{text:?} must be an absolute path without '..' and control characters"));
    }
    let plain = text == "/" || text[1..].split('/').all(|segment| !segment.is_empty() && segment != ".");
    if !plain || text.contains(':') {
        return Err(format!("{text:?} must have no '//', '/./', ':' and no slash at its end"));
    }
    Ok(())
}

/// Returns true if a path means the same to every reader: it is absolute, without `..` and control characters.
pub(crate) fn is_safe(path: &str) -> bool {
    path.starts_with('/')
        && !path.chars().any(char::is_control)
        && segments(path).all(|segment| segment != "..")
}

/// Returns true if `path` is `folder` or lies below it. `folder` may contain `*`.
pub(super) fn starts_with(path: &str, folder: &str) -> bool {
    let mut path = segments(path);
    segments(folder)
        .all(|wanted| path.next().is_some_and(|segment| glob(wanted.as_bytes(), segment.as_bytes())))
}

/// Returns true if both paths name one place: they differ in empty and `.` segments only.
pub(crate) fn is_same_path(path: &str, other: &str) -> bool {
    path.starts_with('/') == other.starts_with('/') && segments(path).eq(segments(other))
}

/// Returns true if `path` is a system path or lies above or below one.
#[must_use]
pub fn touches_system_path(path: &str) -> bool {
    let related = |system: &str| starts_with(system, path) || (system != "/" && starts_with(path, system));
    SYSTEM_PATHS.iter().any(|system| related(system))
}

fn lies_below_system_path(path: &str) -> bool {
    !path.contains('*') && SYSTEM_PATHS[1..].iter().any(|system| starts_with(path, system))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty() && *segment != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<PathPattern, String> {
        PathPattern::try_from(text.to_string())
    }

    #[test]
    fn path_covers_whole_segments_and_all_below() {
        for (text, path, expected) in [
            ("/argo", "/argo", true),
            ("/argo", "/argo/staging", true),
            ("/argo", "/argo-evil", false),
            ("/argo", "//argo/./x/", true),
            ("/argo", "/argo/../etc", false),
            ("/argo", "argo", false),
            ("/argo", "/argo\u{0}", false),
            ("/scripts-*", "/scripts-1-2/x", true),
            ("/scripts-*", "/scripts/x", false),
            ("/home/*", "/home/jovyan", true),
            ("/home/*", "/home", false),
            ("/*/x", "/etc/x", false),
            ("/*/x", "/opt/x", true),
        ] {
            assert_eq!(pattern(text).unwrap().covers(path), expected, "{text} {path}");
        }
    }

    #[test]
    fn anything_covers_no_system_path_nor_what_lies_above_or_below() {
        let anything = pattern("*").unwrap();
        for path in [
            "/",
            "/etc",
            "/etc/x",
            "/usr/local",
            "/var",
            "/var/run",
            "/run",
            "/var/run/secrets/x",
            "/dev/shm",
        ] {
            assert!(!anything.covers(path), "{path}");
        }
        for path in ["/home", "/var/run/argo", "/run/user", "/var/lib/x", "/opt", "/data"] {
            assert!(anything.covers(path), "{path}");
        }
    }

    #[test]
    fn literal_entry_may_lie_below_a_system_path() {
        for (text, path) in [
            ("/etc/istio/proxy", "/etc/istio/proxy/x"),
            ("/var/run/secrets/workload-spiffe-uds", "/var/run/secrets/workload-spiffe-uds"),
            ("/usr/src/app/cache", "/usr/src/app/cache"),
            ("/dev/shm", "/dev/shm"),
        ] {
            assert!(pattern(text).unwrap().covers(path), "{text}");
        }
        assert!(!pattern("/etc/istio/proxy").unwrap().covers("/etc/istio"));
    }

    #[test]
    fn dangerous_or_malformed_entry_is_an_error() {
        for text in [
            "/",
            "/var",
            "/var/run",
            "/run",
            "/etc",
            "/usr",
            "/etc/*",
            "/usr/lib*/x",
            "/proc/sys",
            "/sys/fs",
            "/dev/null",
            "/var/run/secrets/kubernetes.io/serviceaccount",
            "/run/secrets/kubernetes.io/serviceaccount",
            "a",
            "",
            "/a/../b",
            "/a/",
            "/a//b",
            "/a:b",
            "/a/**",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn path_that_an_error_suggests_is_accepted() {
        for system in SYSTEM_PATHS {
            let error = pattern(system).unwrap_err();
            match error.split_once(", such as ") {
                Some((_, suggested)) => assert!(pattern(suggested).is_ok(), "{error}"),
                None => {
                    assert!(error.contains("may be named") || error.ends_with("name another path"), "{error}")
                }
            }
        }
    }

    #[test]
    fn exact_path_takes_no_star_and_no_system_path() {
        for text in ["/tekton/termination", "/tmp/x", "/dev/shm"] {
            assert!(ExactPath::try_from(text.to_string()).is_ok(), "{text}");
        }
        for text in ["/usr/bin/env", "/etc/passwd", "/tekton/*", "/var"] {
            assert!(ExactPath::try_from(text.to_string()).is_err(), "{text}");
        }
    }
}
