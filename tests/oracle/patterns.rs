//! Patterns of names, paths and images, written from their definitions: slow, and short enough to be read.

/// Returns true if `pattern` stands for `name`: `"*"` is anything, elsewhere `*` is text without `/`.
pub(crate) fn is_name(pattern: &str, name: &str) -> bool {
    pattern == "*" || has_form(pattern, name)
}

/// Returns true if one of the patterns stands for `name`.
pub(crate) fn is_one_of(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| is_name(pattern, name))
}

/// Returns true if `text` has the form of `pattern`, where `*` is any text without `/`.
pub(crate) fn has_form(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let end = text.find('/').unwrap_or(text.len());
    (0..=end).filter(|taken| text.is_char_boundary(*taken)).any(|taken| has_form(rest, &text[taken..]))
}

const SYSTEM_PATHS: [&str; 14] = [
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
];

/// The parts of an absolute path that every reader understands alike; `None` for any other path.
pub(crate) fn parts(path: &str) -> Option<Vec<&str>> {
    let is_plain = path.starts_with('/') && !path.chars().any(char::is_control);
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (is_plain && !parts.contains(&"..")).then_some(parts)
}

/// Returns true if the path is a system path, lies above one, or below one. Everything lies below `/`, which is one
/// itself and no reason.
pub(crate) fn is_of_the_system(path: &[&str]) -> bool {
    SYSTEM_PATHS.iter().any(|system| {
        let system = parts(system).expect("it is absolute");
        let common = system.len().min(path.len());
        system[..common] == path[..common]
    })
}

/// Returns true if the entry of a list of writable paths covers `path`.
pub(crate) fn covers(entry: &str, path: &[&str]) -> bool {
    if entry == "*" {
        return !is_of_the_system(path);
    }
    let Some(entry_parts) = parts(entry) else { return false };
    let is_below = entry_parts.len() <= path.len()
        && entry_parts.iter().zip(path).all(|(pattern, part)| has_form(pattern, part));
    let may_touch = !entry.contains('*') && is_of_the_system(&entry_parts);
    is_below && (may_touch || !is_of_the_system(path))
}

/// An image reference, completed.
#[derive(Debug, PartialEq)]
struct Image<'i> {
    registry: &'i str,
    repository: Vec<&'i str>,
    tag: Option<&'i str>,
    digest: Option<&'i str>,
}

fn image(text: &str) -> Image<'_> {
    let (text, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let slash = text.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match text[slash..].rfind(':') {
        Some(colon) => (&text[..slash + colon], Some(&text[slash + colon + 1..])),
        None => (text, None),
    };
    let mut repository: Vec<&str> = name.split('/').collect();
    let first = repository[0];
    let is_host = repository.len() > 1 && (first.contains(['.', ':']) || first == "localhost");
    let registry = if is_host { repository.remove(0) } else { "docker.io" };
    let registry = match registry {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    };
    if registry == "docker.io" && repository.len() == 1 {
        repository.insert(0, "library");
    }
    Image { registry, repository, tag, digest }
}

/// Returns true if the pattern stands for the image.
pub(crate) fn is_image(pattern: &str, reference: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (pattern, found) = (image(pattern), image(reference));
    let (mut wanted, mut repository) = (pattern.repository.as_slice(), found.repository.as_slice());
    if let Some((&"**", front)) = wanted.split_last() {
        if repository.len() <= front.len() {
            return false;
        }
        (wanted, repository) = (front, &repository[..front.len()]);
    }
    pattern.registry == found.registry
        && wanted.len() == repository.len()
        && wanted.iter().zip(repository).all(|(pattern, part)| has_form(pattern, part))
        && pattern.tag.is_none_or(|tag| found.tag == Some(tag))
        && pattern.digest.is_none_or(|digest| found.digest == Some(digest))
}

/// Returns true if the image is pinned by a digest of a known algorithm.
pub(crate) fn is_pinned(reference: &str) -> bool {
    let (algorithm, hex) =
        image(reference).digest.and_then(|digest| digest.split_once(':')).unwrap_or_default();
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

#[test]
fn patterns_stand_for_what_they_are_defined_as() {
    assert!(is_name("*", "a/b") && is_name("ci-*", "ci-") && !is_name("ci-*", "ci-a/b"));
    assert!(!is_one_of(&[], "a"), "an empty list allows nothing");
    let covers = |entry, path| covers(entry, &parts(path).unwrap());
    assert!(covers("/argo", "//argo/./x/") && !covers("/argo", "/argo-evil"));
    assert!(covers("*", "/var/lib") && !covers("*", "/var") && !covers("*", "/etc/x") && !covers("*", "/"));
    assert!(covers("/etc/istio/proxy", "/etc/istio/proxy/x") && !covers("/*/x", "/etc/x"));
    assert!(parts("/a/../b").is_none() && parts("a").is_none() && parts("/a\u{0}").is_none());
    assert!(is_image("nginx", "docker.io/library/nginx:1") && is_image("quay.io/**", "quay.io/a/b"));
    assert!(!is_image("quay.io/a/**", "quay.io/a") && !is_image("quay.io/a", "quay.io:80/a"));
    assert!(!is_image("quay.io/argoproj/argoexec", "quay.io/argoproj/argoexec-evil"));
}
