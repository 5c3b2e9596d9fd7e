//! Values to put into a field, of the kind that it takes.

use sandgate_engine::pod::schema::Kind;
use serde_json::{Value as Json, json};

/// Values of the kind, absence among them: small and large, sound and hostile.
pub(crate) fn of_kind(kind: Kind) -> Vec<Json> {
    let mut values = match kind {
        Kind::String => ["", "x", "Always", "Default", "Unconfined", "/etc", "../..", "default", "tmp"]
            .map(Json::from)
            .into(),
        Kind::Integer => [0, 1, -1, 61, 65_537, i64::from(i32::MAX), i64::MAX].map(Json::from).into(),
        Kind::Boolean => vec![json!(true), json!(false)],
        Kind::Quantity => vec![json!("0"), json!("-1"), json!("1E"), json!(1), json!("x")],
        Kind::IntOrString => vec![json!(0), json!(80), json!("http")],
        Kind::Any => vec![json!("x"), json!(1), json!({"x": []})],
        Kind::List(items) => {
            let items = of_kind(*items).into_iter().filter(|item| !item.is_null());
            std::iter::once(json!([])).chain(items.map(|item| json!([item]))).collect()
        }
        Kind::Map(Kind::Quantity) => maps(&["cpu", "nvidia.com/gpu"], Kind::Quantity),
        Kind::Map(values) => maps(&["app", "x"], *values),
        Kind::Object(_) => vec![json!({})],
    };
    values.push(Json::Null);
    values
}

fn maps(keys: &[&str], values: Kind) -> Vec<Json> {
    let values = of_kind(values);
    let filled = keys.iter().flat_map(|key| {
        values.iter().filter(|value| !value.is_null()).map(move |value| json!({*key: value}))
    });
    std::iter::once(json!({})).chain(filled).collect()
}

/// Fields whose witness must be made by hand: it needs a neighbour, or a certain key. Each is set in the object that has
/// the field.
pub(crate) fn by_hand(of: &str, field: &str) -> Vec<Json> {
    match (of, field) {
        ("ObjectMeta", "annotations") => [
            "kubernetes.io/config.mirror",
            "dev.gvisor.flag.host-uds",
            "iam.amazonaws.com/role",
            "seccomp.security.alpha.kubernetes.io/pod",
            "container.apparmor.security.beta.kubernetes.io/main",
        ]
        .map(|key| json!({"annotations": {key: "unconfined"}}))
        .into(),
        ("VolumeMount", "readOnly") => vec![json!({"mountPath": "/etc", "readOnly": false})],
        ("Toleration", "value") => vec![
            json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "x", "effect": "NoSchedule", "tolerationSeconds": null}),
        ],
        _ => Vec::new(),
    }
}
