//! The fields of the Pod API that the rules know.
//!
//! The API server drops what it does not know itself before admission, so what is looked for are fields of a newer API
//! server, and those that are unknown on purpose. Values have the types of the API by then.

use crate::{
    cel::{self, Keys, Statement},
    pod::schema::{self, Kind, Type},
};

/// The fields of `spec` that have checks of their own.
const OWN_CHECKS: [&str; 4] = ["containers", "initContainers", "ephemeralContainers", "volumes"];
/// The sources of volumes that some policy opens; `volume-types` denies all others as a whole.
const OPEN_SOURCES: [&str; 9] = [
    "emptyDir",
    "projected",
    "configMap",
    "downwardAPI",
    "image",
    "persistentVolumeClaim",
    "ephemeral",
    "csi",
    "secret",
];

pub(super) fn pod_schema(_: Keys) -> Vec<Statement> {
    let (Some(Kind::Object(metadata)), Some(Kind::Object(spec))) =
        (schema::POD.field("metadata"), schema::POD.field("spec"))
    else {
        return Vec::new();
    };
    let type_of = |list: &str| match spec.field(list) {
        Some(Kind::List(Kind::Object(of))) => Some(*of),
        _ => None,
    };
    let (Some(container), Some(ephemeral), Some(volume)) =
        (type_of("containers"), type_of("ephemeralContainers"), type_of("volumes"))
    else {
        return Vec::new();
    };
    let all = |_: &str| true;
    let of_pod = cel::all([
        known(metadata, "v.o.metadata", 0, &|field| field != "managedFields"),
        known(spec, "v.o.spec", 0, &|field| !OWN_CHECKS.contains(&field)),
    ]);
    let of_container = format!(
        "(c.k == 'ephemeral' ? {} : {})",
        known(ephemeral, "c.o", 0, &all),
        known(container, "c.o", 0, &all)
    );
    let of_volume = known(volume, "d", 0, &|field| OPEN_SOURCES.contains(&field));
    let found = "'with a field that the policy does not know'";
    vec![
        Statement::pod(format!("v.o.?spec.hasValue() && !{of_pod}"), "spec", found),
        Statement::container(format!("!{of_container}"), "fields", found),
        Statement::volume(format!("!{of_volume}"), "", found),
    ]
}

/// Returns the condition that all fields of `value` are in the table; `looks_into` chooses the fields of the first level
/// whose values are looked at.
fn known(of: &Type, value: &str, depth: usize, looks_into: &dyn Fn(&str) -> bool) -> String {
    let names = of.fields.iter().map(|(name, _)| name);
    let keys = format!("dyn({value}).all(f{depth}, f{depth} in {})", cel::list(names));
    let below = of.fields.iter().filter(|(name, _)| looks_into(name)).filter_map(|(name, kind)| match kind {
        Kind::Object(of) => {
            let inner = known(of, &format!("{value}.{name}"), depth + 1, &|_| true);
            Some(format!("(!{value}.?{name}.hasValue() || {inner})"))
        }
        Kind::List(Kind::Object(of)) => {
            let inner = known(of, &format!("i{depth}"), depth + 1, &|_| true);
            Some(format!("{value}.?{name}.orValue([]).all(i{depth}, {inner})"))
        }
        _ => None,
    });
    cel::all(std::iter::once(keys).chain(below))
}
