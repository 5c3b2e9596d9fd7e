//! The memory of filled requests and limits, in an annotation of the Pod.
//!
//! Amounts that an earlier round of admission filled may be lowered later; those that a person wrote may not. The
//! annotation can be forged, but only ever lets an amount be lowered.

use std::{borrow::Cow, collections::BTreeMap};

use super::bounds::MAX_CONTAINERS;
use crate::{
    json::{self, Object, Value, value_from_str},
    pod::{metadata, metadata_mut},
    policy::Resource,
};

/// The annotation that remembers what was filled: container → `limits`/`requests` → resource → amount.
pub(super) const FILLED: &str = "sandgate.dev/filled-resources";

/// The name under which the annotation has the amounts of the Pod as a whole: no container has it.
pub(super) const POD: &str = "";

/// The two amounts that a container has of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AmountKind {
    Limits,
    Requests,
}

impl AmountKind {
    const ALL: [Self; 2] = [Self::Limits, Self::Requests];

    /// Returns the field of the Pod API.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Requests => "requests",
        }
    }
}

/// The amounts that earlier rounds filled, as the annotation has them, and those that this one adds.
#[derive(Default)]
pub(super) struct FilledResources {
    containers: Vec<FilledContainer>,
    positions: BTreeMap<String, usize>,
    /// The number of amounts that this round set.
    pub(super) changed: usize,
}

/// The amounts of one container, by [`AmountKind`] and [`Resource`].
struct FilledContainer {
    name: String,
    amounts: [[Option<String>; 3]; 2],
}

impl FilledContainer {
    fn amounts_as_json(&self, kind: AmountKind) -> Object<'_> {
        let amounts = self.amounts[kind as usize].iter().zip(Resource::ALL);
        let present = amounts.filter_map(|(text, resource)| {
            Some((Cow::Borrowed(resource.as_str()), Value::from(text.as_deref()?)))
        });
        present.collect()
    }
}

impl FilledResources {
    /// Reads the annotation of a Pod; one that cannot be read remembers nothing.
    pub(super) fn of(pod: &Value) -> Self {
        let mut filled = Self::default();
        let annotations = metadata(pod).object("annotations");
        let text = annotations.and_then(|annotations| annotations.str(FILLED));
        let Some(Ok(Value::Object(containers))) = text.map(value_from_str) else { return filled };
        // A forged annotation must not make a small Pod costly.
        for (container, kinds) in containers.iter().take(MAX_CONTAINERS) {
            for kind in AmountKind::ALL {
                let amounts = kinds.as_object().and_then(|kinds| kinds.object(kind.as_str()));
                for resource in Resource::ALL {
                    if let Some(text) = amounts.and_then(|amounts| amounts.str(resource.as_str())) {
                        *filled.entry(container, kind, resource) = Some(text.to_owned());
                    }
                }
            }
        }
        filled
    }

    /// Returns true if nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Returns the amount that an earlier round filled.
    pub(super) fn get(&self, container: &str, kind: AmountKind, resource: Resource) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let container = &self.containers[*self.positions.get(container)?];
        container.amounts[kind as usize][resource as usize].as_deref()
    }

    /// Remembers an amount that is filled now.
    pub(super) fn put(&mut self, container: &str, kind: AmountKind, resource: Resource, text: &str) {
        self.changed += 1;
        *self.entry(container, kind, resource) = Some(text.to_owned());
    }

    fn entry(&mut self, container: &str, kind: AmountKind, resource: Resource) -> &mut Option<String> {
        let known = self.positions.get(container).copied();
        let position = known.unwrap_or_else(|| {
            self.positions.insert(container.to_owned(), self.containers.len());
            self.containers.push(FilledContainer { name: container.to_owned(), amounts: <_>::default() });
            self.containers.len() - 1
        });
        &mut self.containers[position].amounts[kind as usize][resource as usize]
    }

    /// Writes the annotation, if this round filled anything.
    pub(super) fn remember(&self, pod: &mut Value) {
        if self.changed == 0 {
            return;
        }
        let text = json::to_string(&self.as_json());
        if let Some(annotations) = metadata_mut(pod).and_then(|metadata| metadata.object_mut("annotations")) {
            annotations.set(FILLED, text);
        }
    }

    fn as_json(&self) -> Value<'_> {
        let containers = self.containers.iter().map(|container| {
            let kinds = AmountKind::ALL.into_iter().map(|kind| (kind, container.amounts_as_json(kind)));
            let kinds = kinds.filter(|(_, amounts)| !amounts.is_empty());
            let kinds: Object =
                kinds.map(|(kind, amounts)| (Cow::Borrowed(kind.as_str()), Value::from(amounts))).collect();
            (Cow::Borrowed(container.name.as_str()), Value::from(kinds))
        });
        Value::Object(containers.collect())
    }
}
