//! The patterns of a policy as conditions on a CEL value: names, paths and images.

use crate::{
    cel,
    policy::{Amount, ExactPath, ImagePattern, ImagePatterns, Names, PathPattern, SYSTEM_PATHS, Spec},
};

/// Returns the condition that a pattern of the list stands for the string `value`.
pub(crate) fn names(names: &Names, value: &str) -> String {
    if names.allows_anything() {
        return "true".into();
    }
    let (literal, globs): (Vec<_>, Vec<_>) = names.iter().partition(|pattern| pattern.is_literal());
    let literal = match literal.as_slice() {
        [] => "false".into(),
        literal => format!("({value} in {})", cel::list(literal.iter().map(|pattern| pattern.as_str()))),
    };
    cel::any([literal, globs_match(globs.iter().map(|pattern| pattern.as_str()), value)])
}

/// Returns the condition that one of the globs stands for the string `value`.
pub(crate) fn globs_match<'g>(globs: impl Iterator<Item = &'g str>, value: &str) -> String {
    let alternatives: Vec<String> = globs.map(|glob| glob_regex(glob, "[^/]*")).collect();
    match alternatives.as_slice() {
        [] => "false".into(),
        alternatives => {
            format!("{value}.matches({})", cel::text(&format!("^(?:{})$", alternatives.join("|"))))
        }
    }
}

fn glob_regex(glob: &str, star: &str) -> String {
    glob.split('*').map(cel::regex_escaped).collect::<Vec<_>>().join(star)
}

/// Returns a path without empty and `.` segments, with one slash at its end; the root is `//`.
pub(crate) fn normalized(path: &str) -> String {
    format!("('/' + {path}.split('/').filter(s, s != '' && s != '.').join('/') + '/')")
}

/// Returns the condition that a path is absolute and without `..` and control characters.
pub(crate) fn is_safe_path(path: &str) -> String {
    format!("({path}.startsWith('/') && !('..' in {path}.split('/')) && !{path}.matches('\\\\p{{Cc}}'))")
}

/// Returns the condition that a [`normalized`] path is a system path or lies above or below one. A path with `*` counts
/// as one.
pub(crate) fn touches_system_path(normal: &str) -> String {
    let systems = cel::list(SYSTEM_PATHS.iter().skip(1).map(|system| format!("{system}/")));
    format!(
        "({normal} == '//' || {normal}.contains('*') || \
         {systems}.exists(s, s.startsWith({normal}) || {normal}.startsWith(s)))"
    )
}

/// Returns the condition that a volume of the Pod's own may be mounted writable at a [`normalized`] path.
pub(crate) fn may_mount_writable(spec: &Spec, normal: &str) -> String {
    let filled =
        spec.volumes.filled.iter().map(|volume| below(ExactPath::as_str(&volume.mount_path), normal));
    let patterns = spec.volumes.writable_paths.iter().map(|pattern| covers(pattern, normal));
    let any_path = (!spec.security.read_only_root_filesystem).then(|| cel::not(&touches_system_path(normal)));
    cel::any(filled.chain(patterns).chain(any_path))
}

fn covers(pattern: &PathPattern, normal: &str) -> String {
    let beside_system = cel::not(&touches_system_path(normal));
    let text = pattern.as_str();
    if text == "*" {
        return beside_system;
    }
    let lies_below_system = !text.contains('*')
        && SYSTEM_PATHS
            .iter()
            .skip(1)
            .any(|system| text == *system || text.starts_with(&format!("{system}/")));
    if lies_below_system { below(text, normal) } else { cel::all([below(text, normal), beside_system]) }
}

/// Returns the condition that a [`normalized`] path is `folder` or lies below it.
fn below(folder: &str, normal: &str) -> String {
    if folder.contains('*') {
        let regex = format!("^{}/", glob_regex(folder, "[^/]*"));
        return format!("{normal}.matches({})", cel::text(&regex));
    }
    format!("{normal}.startsWith({})", cel::text(&format!("{folder}/")))
}

/// Returns the condition that an optional quantity is set, more than zero and at most `max`.
pub(crate) fn is_within(quantity: &str, max: &Amount) -> String {
    format!(
        "({quantity}.hasValue() && quantity({quantity}.value()).isGreaterThan(quantity('0')) && \
         !quantity({quantity}.value()).isGreaterThan(quantity({})))",
        cel::text(&max.text)
    )
}

const COMPONENT: &str = "[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?";
const TAG: &str = "[A-Za-z0-9._-]{1,128}";
const DIGEST: &str = "[A-Za-z0-9+._-]*:[A-Za-z0-9:+._-]*";
/// Docker Hub's host names, with the slash behind them.
const DOCKER_HUB: &str = r"(?:docker\.io|index\.docker\.io|registry-1\.docker\.io)/";

/// Returns the condition that the string `value` is a valid image reference.
pub(crate) fn is_image(value: &str) -> String {
    let regex = format!(r"^(?:[A-Za-z0-9.:\[\]-]+/)?{COMPONENT}(?:/{COMPONENT})*(?::{TAG})?(?:@{DIGEST})?$");
    format!("{value}.matches({})", cel::text(&regex))
}

/// Returns the condition that the string `value` is pinned by a digest that container runtimes know.
pub(crate) fn has_digest(value: &str) -> String {
    let regex = "@(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$";
    cel::all([is_image(value), format!("{value}.matches({})", cel::text(regex))])
}

/// Returns the condition that a pattern of the list stands for the image reference `value`. Only `"*"` stands for a
/// reference that cannot be read.
pub(crate) fn images(patterns: &ImagePatterns, value: &str) -> String {
    if patterns.allow_anything() {
        return "true".into();
    }
    cel::all([is_image(value), cel::any(patterns.iter().map(|pattern| image(pattern, value)))])
}

fn image(pattern: &ImagePattern, value: &str) -> String {
    let Some(parts) = crate::pod::image::ImageReference::split(pattern.as_str()) else {
        return "false".into();
    };
    let segments: Vec<&str> = parts.repository().collect();
    let tag = parts.tag.map_or(format!("(?::{TAG})?"), |tag| format!(":{}", cel::regex_escaped(tag)));
    let digest =
        parts.digest.map_or(format!("(?:@{DIGEST})?"), |digest| format!("@{}", cel::regex_escaped(digest)));
    let matches = |body: &str| format!("{value}.matches({})", cel::text(&format!("^{body}{tag}{digest}$")));
    if parts.registry != "docker.io" {
        let registry = cel::regex_escaped(parts.registry);
        return matches(&format!("{registry}/{}", repository(&segments, "[^/:@]*")));
    }
    let mut forms = vec![matches(&format!("{DOCKER_HUB}{}", repository(&segments, "[^/:@]*")))];
    if let ["library", name] = segments.as_slice() {
        // The only segment of a reference is never read as a registry.
        let name = if *name == "**" { COMPONENT.into() } else { glob_regex(name, "[^/:@]*") };
        forms.push(matches(&format!("(?:{DOCKER_HUB})?{name}")));
    }
    if let Some(first) = segments.first().filter(|first| !first.contains('.') && **first != "localhost") {
        // Without a registry the first segment of several is one if it has a dot or is localhost.
        let rest = repository(&segments[1..], "[^/:@]*");
        let first = if *first == "**" { "[^/:@.]+/[^:@]+".into() } else { glob_regex(first, "[^/:@.]*") };
        let body = if segments.len() > 1 { format!("{first}/{rest}") } else { first };
        let unprefixed = cel::all([matches(&body), format!("!{value}.startsWith('localhost/')")]);
        forms.push(cel::all([unprefixed, format!("{value}.contains('/')")]));
    }
    cel::any(forms)
}

fn repository(segments: &[&str], star: &str) -> String {
    let regex = |segment: &&str| if *segment == "**" { "[^:@]+".into() } else { glob_regex(segment, star) };
    segments.iter().map(regex).collect::<Vec<_>>().join("/")
}
