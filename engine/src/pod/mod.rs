//! A Pod as the rules see it: views to check, access to fill.

mod changes;
pub mod image;
mod quantity;
pub mod schema;

pub(crate) use changes::changed_path_texts;
pub(crate) use changes::each_changed_path;
pub use changes::{changed_paths, path_from_text};
pub use quantity::{Grain, Quantity, QuantityError};

use std::collections::HashSet;

use crate::{
    json::{Object, Value},
    path::{LazyPath, SPEC},
    policy::{ContainerFacts, Exception, Profile, Spec},
};

static NOTHING: Object<'static> = Object::EMPTY;

/// The kinds of container a Pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    /// A container of the list `spec.containers`.
    App,
    /// One of `spec.initContainers` that runs to its end before the next.
    Init,
    /// One of `spec.initContainers` with `restartPolicy: Always`: it runs beside the app containers.
    Sidecar,
    /// One of `spec.ephemeralContainers`, added to a running Pod.
    Ephemeral,
}

impl ContainerKind {
    fn of(list: &'static str, container: &Object) -> Self {
        match list {
            "containers" => Self::App,
            "ephemeralContainers" => Self::Ephemeral,
            _ if container.str("restartPolicy") == Some("Always") => Self::Sidecar,
            _ => Self::Init,
        }
    }
}

/// The lists of containers of a Pod's spec.
pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The probes that a container can have.
pub const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// The paths of [`CONTAINER_LISTS`].
static LIST_PATHS: [LazyPath<'static>; 3] =
    [SPEC.child("initContainers"), SPEC.child("containers"), SPEC.child("ephemeralContainers")];

/// One container, with its path.
#[derive(Debug, Clone, Copy)]
pub struct Container<'p, 'a> {
    /// The kind of the container.
    pub kind: ContainerKind,
    /// The object of the container.
    pub object: &'p Object<'a>,
    /// The `securityContext` of the container, empty if it has none.
    pub security: &'p Object<'a>,
    /// The keys of the policy that hold for the container: those of an exception, or else the profile's.
    pub spec: &'p Spec,
    path: LazyPath<'static>,
}

impl<'p, 'a> Container<'p, 'a> {
    /// Returns the path of one of its fields: `spec.containers[0].image`.
    #[must_use]
    pub fn at<'c>(&'c self, field: &'c str) -> LazyPath<'c> {
        self.path.child(field)
    }

    /// Returns the probes of the container, each with the name of its field.
    pub fn probes(&self) -> impl Iterator<Item = (&'static str, &'p Object<'a>)> + use<'p, 'a> {
        let object = self.object;
        PROBES.into_iter().filter_map(move |name| Some((name, object.object(name)?)))
    }

    /// Returns the name of the container, or a placeholder if it has none.
    #[must_use]
    pub fn name(&self) -> &'p str {
        self.object.str("name").unwrap_or("(no name)")
    }
}

/// A Pod to be checked.
#[derive(Debug)]
pub struct Pod<'p, 'a> {
    /// The whole Pod as an object.
    pub root: &'p Object<'a>,
    /// `metadata`, empty if absent.
    pub metadata: &'p Object<'a>,
    /// `metadata.annotations`, empty if absent.
    pub annotations: &'p Object<'a>,
    /// `spec`, empty if absent.
    pub spec: &'p Object<'a>,
    /// `spec.securityContext`, empty if absent.
    pub security: &'p Object<'a>,
    /// Every container of every kind: init containers first, in their order of start.
    pub containers: Vec<Container<'p, 'a>>,
    /// The keys of the policy that hold for the Pod.
    pub profile: &'p Profile,
}

impl<'p, 'a> Pod<'p, 'a> {
    /// Returns the view of `root` under a profile. A value of the wrong type counts as absent; the rule `pod-schema`
    /// reports it.
    #[must_use]
    pub fn of(root: &'p Value<'a>, profile: &'p Profile) -> Self {
        let root = root.as_object().unwrap_or(&NOTHING);
        let metadata = root.object("metadata").unwrap_or(&NOTHING);
        let spec = root.object("spec").unwrap_or(&NOTHING);
        let containers = CONTAINER_LISTS.into_iter().zip(&LIST_PATHS).flat_map(|(list, path)| {
            spec.objects(list).map(move |(index, object)| {
                let kind = ContainerKind::of(list, object);
                Container {
                    kind,
                    object,
                    security: object.object("securityContext").unwrap_or(&NOTHING),
                    spec: spec_for(profile, kind, object),
                    path: path.index(index),
                }
            })
        });
        Self {
            root,
            metadata,
            annotations: metadata.object("annotations").unwrap_or(&NOTHING),
            spec,
            security: spec.object("securityContext").unwrap_or(&NOTHING),
            containers: containers.collect(),
            profile,
        }
    }

    /// Returns the controller that made the Pod: the owner reference with `controller: true`.
    #[must_use]
    pub fn controller(&self) -> Option<&'p Object<'a>> {
        controller(self.metadata)
    }
}

/// Returns the keys of the policy that hold for a container.
fn spec_for<'p>(profile: &'p Profile, kind: ContainerKind, container: &Object) -> &'p Spec {
    exception_for(profile, kind, container).map_or(&profile.spec, |exception| &exception.spec)
}

fn exception_for<'p>(profile: &'p Profile, kind: ContainerKind, container: &Object) -> Option<&'p Exception> {
    if profile.exceptions.is_empty() {
        return None;
    }
    let image = container.str("image").and_then(image::ImageReference::parse);
    profile.exception_for(&ContainerFacts { image, name: container.str("name").unwrap_or_default(), kind })
}

/// Returns the exceptions of a profile that hold for a container of the Pod, in the order of the profile.
#[must_use]
pub fn exceptions_in<'p>(root: &Value, profile: &'p Profile) -> Vec<&'p Exception> {
    if profile.exceptions.is_empty() {
        return Vec::new();
    }
    let spec = spec(root);
    let containers = CONTAINER_LISTS
        .into_iter()
        .flat_map(|list| spec.objects(list).map(move |(_, item)| (ContainerKind::of(list, item), item)));
    // An exception is one by its place in the profile.
    let held: HashSet<*const Exception> = containers
        .filter_map(|(kind, container)| exception_for(profile, kind, container))
        .map(std::ptr::from_ref)
        .collect();
    profile.exceptions.iter().filter(|exception| held.contains(&std::ptr::from_ref(*exception))).collect()
}

/// Returns the `metadata` of a Pod, empty if absent.
#[must_use]
pub fn metadata<'p, 'a>(root: &'p Value<'a>) -> &'p Object<'a> {
    root.as_object().and_then(|root| root.object("metadata")).unwrap_or(&NOTHING)
}

/// Returns the `spec` of a Pod, empty if absent.
#[must_use]
pub fn spec<'p, 'a>(root: &'p Value<'a>) -> &'p Object<'a> {
    root.as_object().and_then(|root| root.object("spec")).unwrap_or(&NOTHING)
}

/// Returns every container of a Pod, of every kind.
pub fn containers<'p, 'a>(root: &'p Value<'a>) -> impl Iterator<Item = &'p Object<'a>> {
    let spec = spec(root);
    CONTAINER_LISTS.into_iter().flat_map(|list| spec.objects(list).map(|(_, container)| container))
}

/// The controlling owner reference of an object's metadata.
#[must_use]
pub fn controller<'p, 'a>(metadata: &'p Object<'a>) -> Option<&'p Object<'a>> {
    metadata
        .objects("ownerReferences")
        .map(|(_, owner)| owner)
        .find(|owner| owner.bool("controller") == Some(true))
}

/// Returns whether an owner reference names a Job: one of `batch/v1`, the only version that the Job controller writes.
#[must_use]
pub fn is_job(owner: &Object) -> bool {
    owner.str("kind") == Some("Job") && owner.str("apiVersion") == Some("batch/v1")
}

/// `metadata` of a Pod that is being filled; `None` if the Pod's shape is wrong.
pub fn metadata_mut<'p, 'a>(root: &'p mut Value<'a>) -> Option<&'p mut Object<'a>> {
    root.as_object_mut()?.object_mut("metadata")
}

/// `spec` of a Pod that is being filled; `None` if the Pod's shape is wrong.
pub fn spec_mut<'p, 'a>(root: &'p mut Value<'a>) -> Option<&'p mut Object<'a>> {
    root.as_object_mut()?.object_mut("spec")
}

/// Calls `fill` for each app and init container, with the keys that hold for it. Ephemeral ones cannot be filled: they
/// arrive by UPDATE.
pub fn each_container_mut<'a>(
    root: &mut Value<'a>,
    profile: &'a Profile,
    mut fill: impl FnMut(ContainerKind, &mut Object<'a>, &'a Spec),
) {
    let Some(spec) = spec_mut(root) else { return };
    for list in ["initContainers", "containers"] {
        let Some(Value::List(items)) = spec.get_mut(list) else { continue };
        for (_, item) in items.iter_mut() {
            let Some(container) = item.as_object_mut() else { continue };
            let kind = ContainerKind::of(list, container);
            let spec = spec_for(profile, kind, container);
            fill(kind, container, spec);
        }
    }
}
