//! The way from a field of a Pod back to the field of the object that it was made from.

use crate::path::{FieldPath, SPEC};

/// The paths of the parts of a Pod in the object that creates it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateLocation {
    /// Path in the Pod and path in the object; the longest path in the Pod that matches counts.
    parts: Vec<(FieldPath, FieldPath)>,
}

impl TemplateLocation {
    /// The object is the Pod.
    #[must_use]
    pub fn whole() -> Self {
        Self::template(FieldPath::default())
    }

    /// A Pod template is at `path`.
    #[must_use]
    pub fn template(path: FieldPath) -> Self {
        Self::default().with(FieldPath::default(), path)
    }

    /// The spec of a Pod is at `path`.
    #[must_use]
    pub fn spec(path: FieldPath) -> Self {
        Self::default().with(SPEC.into(), path)
    }

    /// Adds that what is at `pod_path` of the Pod is at `object_path` of the object.
    #[must_use]
    pub fn with(mut self, pod_path: FieldPath, object_path: FieldPath) -> Self {
        self.add(pod_path, object_path);
        self
    }

    pub(super) fn add(&mut self, pod_path: FieldPath, object_path: FieldPath) {
        self.parts.push((pod_path, object_path));
    }

    /// Returns the path in the object of a field of the Pod; `None` if the field is not in the object, because a
    /// controller adds it.
    #[must_use]
    pub fn path(&self, pod_path: &FieldPath) -> Option<FieldPath> {
        let matching =
            self.parts.iter().filter_map(|(pod, object)| Some((pod, pod_path.after(pod)?.under(object))));
        matching.max_by_key(|(pod, _)| pod.steps().len()).map(|(_, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{LazyPath, METADATA, Step};

    fn shown(location: &TemplateLocation, pod_path: LazyPath) -> Option<String> {
        location.path(&pod_path.into()).map(|path| path.to_string())
    }

    fn fields<'p>(steps: impl IntoIterator<Item = Step<'p>>) -> FieldPath {
        steps.into_iter().collect()
    }

    #[test]
    fn a_field_of_the_pod_is_found_in_the_object() {
        use Step::{Field, Index};
        let (host_pid, labels, containers) =
            (SPEC.child("hostPID"), METADATA.child("labels"), SPEC.child("containers"));
        assert_eq!(shown(&TemplateLocation::whole(), host_pid).unwrap(), "spec.hostPID");
        let group = fields([Field("spec"), Field("groups"), Index(1), Field("template")]);
        let template = TemplateLocation::template(group);
        assert_eq!(shown(&template, host_pid).unwrap(), "spec.groups[1].template.spec.hostPID");
        let spec = TemplateLocation::spec(fields([Field("spec"), Field("head")]));
        assert_eq!(shown(&spec, host_pid).unwrap(), "spec.head.hostPID");
        assert_eq!(shown(&spec, labels.key("app")), None);
        let first = containers.index(0);
        let parts = TemplateLocation::spec(SPEC.into())
            .with(first.into(), fields([Field("spec"), Field("templates"), Index(2), Field("container")]));
        assert_eq!(shown(&parts, first.child("image")).unwrap(), "spec.templates[2].container.image");
        assert_eq!(shown(&parts, containers.index(1)).unwrap(), "spec.containers[1]");
    }
}
