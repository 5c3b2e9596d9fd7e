//! Helpers that several rules use.

use std::fmt;

use crate::{
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::Quantity,
    policy::Resource,
};

/// A Pod of more containers is denied, and nothing is filled in it.
pub(super) const MAX_CONTAINERS: usize = 500;

/// `spec.securityContext` of a Pod.
pub(super) static SECURITY_CONTEXT: LazyPath<'static> = SPEC.child("securityContext");
/// `spec.volumes` of a Pod.
pub(super) static VOLUMES: LazyPath<'static> = SPEC.child("volumes");

/// Words of which each is allowed, joined when they are written.
pub(super) struct AnyOf<'w>(pub(super) &'w [String]);

impl fmt::Display for AnyOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}

/// Returns the quantity that a Pod has at `value`: a string, or a number.
pub(super) fn amount(value: Option<&Value>) -> Option<Quantity> {
    match value? {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// Returns what the runtime class adds to the Pod whose spec is `pod`.
pub(super) fn overhead(pod: &Object, resource: Resource) -> Quantity {
    let overhead = pod.object("overhead").and_then(|overhead| overhead.get(resource.as_str()));
    amount(overhead).unwrap_or_default()
}

/// Returns whether `volume` is the one that the `ServiceAccount` admission plugin adds. Both name and content must be
/// the plugin's, since the author of a Pod may choose either.
pub(super) fn is_api_token_volume(volume: &Object) -> bool {
    let named = volume.str("name").is_some_and(|name| name.starts_with("kube-api-access-"));
    let Some(projected) = volume.object("projected") else { return false };
    let mut seen = [false; 3];
    for (_, source) in projected.list("sources") {
        let Some(source) = source.as_object() else { return false };
        let mut kinds = source.iter();
        let position = match (kinds.next(), kinds.next()) {
            (Some(("serviceAccountToken", _)), None) => 0,
            (Some(("configMap", Value::Object(map))), None)
                if map.str("name") == Some("kube-root-ca.crt") =>
            {
                1
            }
            (Some(("downwardAPI", Value::Object(api))), None) if gives_namespace_only(api) => 2,
            _ => return false,
        };
        if std::mem::replace(&mut seen[position], true) {
            return false;
        }
    }
    named && seen == [true; 3]
}

fn gives_namespace_only(api: &Object) -> bool {
    api.list("items").all(|(_, item)| {
        let field = item.as_object().and_then(|item| item.object("fieldRef"));
        field.and_then(|field| field.str("fieldPath")) == Some("metadata.namespace")
    })
}
