//! The way from a field of a Pod back to the field of the object that it was made from.

/// The paths of the parts of a Pod in the object that creates it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateLocation {
    /// Path in the Pod and path in the object; the longest path in the Pod that matches counts.
    parts: Vec<(String, String)>,
}

impl TemplateLocation {
    /// The object is the Pod.
    #[must_use]
    pub fn whole() -> Self {
        Self::default().with("", "")
    }

    /// A Pod template is at `path`.
    #[must_use]
    pub fn template(path: &str) -> Self {
        Self::default().with("", path)
    }

    /// The spec of a Pod is at `path`.
    #[must_use]
    pub fn spec(path: &str) -> Self {
        Self::default().with("spec", path)
    }

    /// Adds that what is at `pod_path` of the Pod is at `object_path` of the object.
    #[must_use]
    pub fn with(mut self, pod_path: &str, object_path: &str) -> Self {
        self.add(pod_path, object_path);
        self
    }

    pub(super) fn add(&mut self, pod_path: &str, object_path: &str) {
        self.parts.push((pod_path.into(), object_path.into()));
    }

    /// Returns the path in the object of a field of the Pod. A field that is not in the object, because a controller
    /// adds it, is written as `(Pod) path`.
    #[must_use]
    pub fn path(&self, pod_path: &str) -> String {
        let matching =
            self.parts.iter().filter_map(|(pod, object)| Some((pod, object, below(pod_path, pod)?)));
        match matching.max_by_key(|(pod, ..)| pod.len()) {
            None => format!("(Pod) {pod_path}"),
            Some((_, object, rest)) => join(object, rest),
        }
    }
}

/// Returns what of `path` is below `start`, or `None` if `path` is elsewhere.
fn below<'p>(path: &'p str, start: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(start)?;
    (start.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

/// Joins two paths: `spec` and `template`, or `spec.groups` and `[0]`.
pub(super) fn join(path: &str, rest: &str) -> String {
    match rest.trim_start_matches('.') {
        rest if path.is_empty() => rest.into(),
        "" => path.into(),
        rest if rest.starts_with('[') => format!("{path}{rest}"),
        rest => format!("{path}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_pod_is_found_in_the_object() {
        let whole = TemplateLocation::whole();
        assert_eq!(whole.path("spec.hostPID"), "spec.hostPID");
        let template = TemplateLocation::template("spec.groups[1].template");
        assert_eq!(template.path("spec.hostPID"), "spec.groups[1].template.spec.hostPID");
        let spec = TemplateLocation::spec("spec.head");
        assert_eq!(spec.path("spec.hostPID"), "spec.head.hostPID");
        assert_eq!(spec.path("metadata.labels[app]"), "(Pod) metadata.labels[app]");
        let parts = TemplateLocation::spec("spec").with("spec.containers[0]", "spec.templates[2].container");
        assert_eq!(parts.path("spec.containers[0].image"), "spec.templates[2].container.image");
        assert_eq!(parts.path("spec.containers[01].image"), "spec.containers[01].image");
    }
}
