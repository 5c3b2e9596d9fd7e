//! The content of volumes whose type alone does not decide: generic ephemeral and CSI volumes.

use super::{helpers::amount, volume_types::OneOf};
use crate::{
    cel::{self, Statement, patterns},
    json::{Object, Value},
    path::LazyPath,
    pod::Quantity,
    policy::{CsiDriver, Ephemeral, Names},
    violations::{Reporter, show},
};

/// The fields of a claim that choose an existing volume or its content: another tenant's disk, or a copy of it.
const CHOOSING_FIELDS: [&str; 5] =
    ["dataSource", "dataSourceRef", "selector", "volumeName", "volumeAttributesClassName"];

/// The modes in which no other node mounts the volume.
const ACCESS_MODES: [&str; 2] = ["ReadWriteOnce", "ReadWriteOncePod"];

/// Checks the claim that the API server makes for a generic ephemeral volume.
pub(super) fn check_ephemeral(bounds: &Ephemeral, source: &Object, path: &LazyPath, out: &mut Reporter) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = source.object("volumeClaimTemplate") else {
        let found = show(source.get("volumeClaimTemplate"));
        out.report(path, found, "a claim", "set storageClassName, accessModes and resources");
        return;
    };
    // The beta annotations of storage classes take precedence over storageClassName, and others speak to provisioners.
    let annotations = template.object("metadata").and_then(|metadata| metadata.get("annotations"));
    if annotations.and_then(Value::as_object).is_none_or(|annotations| !annotations.is_empty())
        && annotations.is_some()
    {
        let metadata = path.child("metadata");
        out.report(metadata.child("annotations"), show(annotations), "unset", "remove the annotations");
    }
    let Some(claim) = template.object("spec") else {
        let found = show(template.get("spec"));
        out.report(path.child("spec"), found, "a claim", "set storageClassName, accessModes and resources");
        return;
    };
    let path = path.child("spec");
    for field in CHOOSING_FIELDS {
        if let Some(found) = claim.get(field) {
            let remedy = "remove it: an ephemeral volume starts empty";
            out.report(path.child(field), show(Some(found)), "unset", remedy);
        }
    }
    check_storage_class(bounds, claim, &path, out);
    check_modes(claim, &path, out);
    check_storage(bounds, claim, &path, out);
}

/// An unset class is the cluster's default, which the list must allow as the empty name.
fn check_storage_class(bounds: &Ephemeral, claim: &Object, path: &LazyPath, out: &mut Reporter) {
    let class = claim.get("storageClassName");
    let name = class.map_or(Some(""), Value::as_str);
    if !name.is_some_and(|name| bounds.storage_classes.allows(name)) {
        let remedy = "name an allowed class (policy key volumes.ephemeral.storageClasses)";
        out.report(path.child("storageClassName"), show(class), OneOf(&bounds.storage_classes), remedy);
    }
}

fn check_modes(claim: &Object, path: &LazyPath, out: &mut Reporter) {
    let modes = claim.get("accessModes");
    let fits = |mode: &Value| mode.as_str().is_some_and(|mode| ACCESS_MODES.contains(&mode));
    let list = modes.and_then(Value::as_list);
    if !list.is_some_and(|modes| !modes.is_empty() && modes.iter().all(|(_, mode)| fits(mode))) {
        let wanted = format_args!("[{}] or [{}]", ACCESS_MODES[0], ACCESS_MODES[1]);
        out.report(path.child("accessModes"), show(modes), wanted, "use the volume in this Pod only");
    }
    let mode = claim.get("volumeMode");
    if mode.is_some_and(|mode| mode.as_str() != Some("Filesystem")) {
        out.report(path.child("volumeMode"), show(mode), "Filesystem or unset", "remove volumeMode");
    }
}

fn check_storage(bounds: &Ephemeral, claim: &Object, path: &LazyPath, out: &mut Reporter) {
    let resources = claim.object("resources");
    for kind in ["requests", "limits"] {
        let found = resources.and_then(|r| r.object(kind)).and_then(|amounts| amounts.get("storage"));
        if kind == "limits" && found.is_none() {
            continue;
        }
        let max = &bounds.max_size;
        if !amount(found).is_some_and(|size| size > Quantity::ZERO && size <= max.value) {
            let resources = path.child("resources");
            let amounts = resources.child(kind);
            let wanted = format_args!("more than 0, at most {max}");
            let remedy = format_args!("set it to at most {max} (policy key volumes.ephemeral.maxSize)");
            out.report(amounts.key("storage"), show(found), wanted, remedy);
        }
    }
}

/// Checks the driver of an inline CSI volume, and each attribute: the node mounts what they name, past every
/// `NetworkPolicy`. The Secret that a driver may get is the affair of the rule `secrets`.
pub(super) fn check_csi(drivers: &[CsiDriver], source: &Object, path: &LazyPath, out: &mut Reporter) {
    let driver = source.get("driver");
    let name = driver.and_then(Value::as_str);
    let mut entries = drivers.iter().filter(|entry| name == Some(entry.driver.as_str())).peekable();
    let Some(first) = entries.peek().copied() else {
        let allowed = drivers.iter().map(|entry| entry.driver.as_str()).collect::<Vec<_>>().join(" or ");
        out.report(
            path.child("driver"),
            show(driver),
            allowed,
            "use an allowed driver (policy key volumes.csi)",
        );
        return;
    };
    let Some(attributes) = source.object("volumeAttributes") else { return };
    let may_be = |entry: &CsiDriver, key: &str, value: &Value| {
        let values = entry.attributes.get(key);
        value.as_str().is_some_and(|value| values.is_some_and(|values| values.allows(value)))
    };
    if entries.any(|entry| attributes.iter().all(|(key, value)| may_be(entry, key, value))) {
        return;
    }
    let path = path.child("volumeAttributes");
    for (key, value) in attributes.iter().filter(|(key, value)| !may_be(first, key, value)) {
        let closed = Names::default();
        let wanted = OneOf(first.attributes.get(key).unwrap_or(&closed));
        let remedy = "change this attribute (policy key volumes.csi)";
        out.report(path.key(key), show(Some(value)), wanted, remedy);
    }
}

pub(super) fn cel_ephemeral(bounds: &Ephemeral) -> Statement {
    let template = "d.ephemeral.?volumeClaimTemplate";
    let claim = "d.ephemeral.?volumeClaimTemplate.?spec";
    let class = format!("{claim}.?storageClassName.orValue('')");
    let modes = format!("{claim}.?accessModes.orValue([])");
    let storage = |kind: &str| format!("{claim}.?resources.?{kind}[?'storage']");
    let choosing = ["dataSource", "dataSourceRef", "selector", "volumeName", "volumeAttributesClassName"];
    let (requests, limits) = (storage("requests"), storage("limits"));
    let fits = [
        format!("{claim}.hasValue()"),
        format!("{template}.?metadata.?annotations.orValue({{}}).size() == 0"),
        format!("!dyn({claim}.orValue({{}})).exists(f, f in {})", cel::list(choosing)),
        patterns::names(&bounds.storage_classes, &class),
        format!("({modes}.size() > 0 && {modes}.all(m, m in ['ReadWriteOnce', 'ReadWriteOncePod']))"),
        format!("{claim}.?volumeMode.orValue('Filesystem') == 'Filesystem'"),
        patterns::is_within(&requests, &bounds.max_size),
        format!("(!{limits}.hasValue() || {})", patterns::is_within(&limits, &bounds.max_size)),
    ];
    let found = format!(
        "'a claim of class ' + strings.quote({class}) + ', modes ' + {modes}.join(', ') + ', storage ' + \
         {requests}.orValue('unset') + ', fields ' + dyn({claim}.orValue({{}})).map(f, f).join(', ')"
    );
    Statement::volume(
        cel::all(["d.?ephemeral.hasValue()".into(), cel::not(&cel::all(fits))]),
        ".ephemeral.volumeClaimTemplate",
        &found,
    )
}

pub(super) fn cel_csi(drivers: &[CsiDriver]) -> Statement {
    let attributes = "d.csi.?volumeAttributes.orValue({})";
    let fits = drivers.iter().map(|CsiDriver { driver, attributes: allowed }| {
        let keys = allowed.iter().map(|(key, values)| {
            let value = patterns::names(values, &format!("{attributes}[a]"));
            cel::all([format!("a == {}", cel::text(key)), value])
        });
        let may_be = cel::any(keys);
        format!("(d.csi.?driver.orValue('') == {} && {attributes}.all(a, {may_be}))", cel::text(driver))
    });
    let condition = cel::all(["d.?csi.hasValue()".into(), cel::not(&cel::any(fits))]);
    let found = format!(
        "'of driver ' + strings.quote(d.csi.?driver.orValue('')) + ' with ' + \
         {attributes}.map(a, strings.quote(a) + '=' + strings.quote({attributes}[a])).join(', ')"
    );
    Statement::volume(condition, ".csi", &found)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    fn with(source: Json) -> impl Fn(&mut Json) {
        move |pod| {
            let mut volume = source.clone();
            volume["name"] = json!("x");
            pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
        }
    }

    fn ephemeral(change: impl FnOnce(&mut Json)) -> Json {
        let mut template = json!({"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "10Gi"}}
        }});
        change(&mut template);
        json!({"ephemeral": {"volumeClaimTemplate": template}})
    }

    fn ephemeral_spec() -> Spec {
        spec("{volumes: {ephemeral: {storageClasses: [fast, fast-*]}}}")
    }

    #[track_caller]
    fn denies_claim(field: &str, change: impl FnOnce(&mut Json)) {
        let expected = format!("volume-types spec.volumes[2].ephemeral.volumeClaimTemplate.{field}");
        rejects_under(&ephemeral_spec(), &expected, with(ephemeral(change)));
    }

    #[test]
    fn ephemeral_volume_of_an_allowed_class_and_size_is_admitted() {
        accepts_under(&ephemeral_spec(), with(ephemeral(|_| {})));
        accepts_under(
            &ephemeral_spec(),
            with(ephemeral(|claim| {
                claim["metadata"] = json!({"labels": {"a": "b"}, "annotations": null});
                claim["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
                claim["spec"]["storageClassName"] = json!("fast-2");
                claim["spec"]["volumeMode"] = json!("Filesystem");
                claim["spec"]["dataSource"] = json!(null);
            })),
        );
    }

    #[test]
    fn ephemeral_volume_that_chooses_its_content_is_denied() {
        for (field, value) in [
            ("dataSource", json!({"kind": "PersistentVolumeClaim", "name": "payroll"})),
            ("dataSourceRef", json!({"kind": "PersistentVolumeClaim", "name": "payroll"})),
            ("selector", json!({"matchLabels": {"tenant": "other"}})),
            ("volumeName", json!("pv-of-another-tenant")),
            ("volumeAttributesClassName", json!("gold")),
        ] {
            denies_claim(&format!("spec.{field}"), |claim| claim["spec"][field] = value);
        }
    }

    /// The annotation of the beta API takes precedence over the field.
    #[test]
    fn ephemeral_volume_with_annotations_is_denied() {
        denies_claim("metadata.annotations", |claim| {
            claim["metadata"] =
                json!({"annotations": {"volume.beta.kubernetes.io/storage-class": "payroll"}});
        });
    }

    #[test]
    fn ephemeral_volume_beyond_its_bounds_is_denied() {
        denies_claim("spec.storageClassName", |claim| claim["spec"]["storageClassName"] = json!("slow"));
        denies_claim("spec.storageClassName", |claim| without(&mut claim["spec"], "storageClassName"));
        denies_claim("spec.storageClassName", |claim| claim["spec"]["storageClassName"] = json!(""));
        for modes in
            [json!(["ReadWriteMany"]), json!(["ReadWriteOnce", "ReadOnlyMany"]), json!([]), json!(null)]
        {
            denies_claim("spec.accessModes", |claim| claim["spec"]["accessModes"] = modes);
        }
        denies_claim("spec.volumeMode", |claim| claim["spec"]["volumeMode"] = json!("Block"));
        for size in [json!("10737418241"), json!("0"), json!("-1"), json!(null), json!("x")] {
            denies_claim("spec.resources.requests[storage]", |claim| {
                claim["spec"]["resources"]["requests"]["storage"] = size;
            });
        }
        denies_claim("spec.resources.limits[storage]", |claim| {
            claim["spec"]["resources"]["limits"] = json!({"storage": "11Gi"});
        });
        denies_claim("spec", |claim| *claim = json!({}));
        let expected = "volume-types spec.volumes[2].ephemeral.volumeClaimTemplate";
        rejects_under(&ephemeral_spec(), expected, with(json!({"ephemeral": {}})));
    }

    #[test]
    fn cluster_default_class_needs_a_list_of_anything() {
        let any = spec("{volumes: {ephemeral: {storageClasses: ['*']}}}");
        accepts_under(&any, with(ephemeral(|claim| without(&mut claim["spec"], "storageClassName"))));
    }

    #[test]
    fn csi_volume_is_admitted_by_driver_and_attributes() {
        let spec = spec(
            "{volumes: {csi: [{driver: csi.example.com, attributes: {share: [public-*], mode: ['*']}}]}}",
        );
        let csi = |driver: &str, attributes: Json| {
            with(json!({"csi": {"driver": driver, "volumeAttributes": attributes}}))
        };
        accepts_under(&spec, csi("csi.example.com", json!({"share": "public-1", "mode": "a/b"})));
        accepts_under(&spec, csi("csi.example.com", json!(null)));
        accepts_under(&spec, csi("csi.example.com", json!({"server": null})));
        rejects_under(&spec, "volume-types spec.volumes[2].csi.driver", csi("nfs.csi.k8s.io", json!({})));
        for (key, value) in [("server", "10.0.0.1"), ("share", "payroll"), ("share", "public-1/../payroll")] {
            rejects_under(
                &spec,
                &format!("volume-types spec.volumes[2].csi.volumeAttributes[{key}]"),
                csi("csi.example.com", json!({key: value})),
            );
        }
    }

    #[test]
    fn attributes_of_two_entries_of_one_driver_do_not_add_up() {
        let mut spec = Spec::default();
        for key in ["a", "b"] {
            let entry = json!({"driver": "d", "attributes": {key: ["1"]}});
            spec.volumes.csi.push(serde_json::from_value(entry).unwrap());
        }
        let csi = |attributes: Json| with(json!({"csi": {"driver": "d", "volumeAttributes": attributes}}));
        accepts_under(&spec, csi(json!({"a": "1"})));
        accepts_under(&spec, csi(json!({"b": "1"})));
        rejects_under(
            &spec,
            "volume-types spec.volumes[2].csi.volumeAttributes[b]",
            csi(json!({"a": "1", "b": "1"})),
        );
    }
}
