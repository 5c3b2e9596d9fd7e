//! The types of volumes, each opened by a policy key of its own.

use std::fmt;

use super::{
    Group, Rule,
    helpers::VOLUMES,
    projected::{cel_projected, check_projected},
    volume_sources::{cel_csi, cel_ephemeral, check_csi, check_ephemeral},
};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{Object, Value},
    path::LazyPath,
    pod::Pod,
    policy::{Names, Profile, Spec},
    violations::{Reporter, show},
};

pub(super) static VOLUME_TYPES: Rule = Rule {
    id: "volume-types",
    group: Group::Volumes,
    title: "Every volume is of a type and content that the policy opens.",
    why: "A hostPath is the node's disk, a CSI driver runs on the node, and a claim or a ConfigMap may belong to \
          another team. emptyDir is always allowed; each other type has a policy key that names what of it may be \
          mounted. Types without a key, and types that are newer than this build, are denied.",
    references: &[
        "Pod Security Standards, Baseline: HostPath Volumes",
        "Pod Security Standards, Restricted: Volume Types",
        "CIS Kubernetes Benchmark 1.12, 5.2.11: Minimize the admission of HostPath volumes",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Pod security enforcement",
        "NIST SP 800-190, 4.5.5: Host OS file system tampering",
        "Kubescape, C-0048: HostPath mount",
        "Kubescape, C-0045: Writable hostPath mount",
        "Kubescape, C-0074: Container runtime socket mounted",
        "CVE-2024-10220",
    ],
    setting: "spec.volumes",
    fill: None,
    check: check_volume_types,
    cel: Some(cel_volume_types),
};

/// An object without members, in place of a source of the wrong type, which `pod-schema` reports.
static NO_SOURCE: Object<'static> = Object::EMPTY;

fn check_volume_types(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    for (index, volume) in pod.spec.objects("volumes") {
        for (kind, source) in sources(volume) {
            let volume_path = VOLUMES.index(index);
            let path = volume_path.child(kind);
            let source = source.as_object().unwrap_or(&NO_SOURCE);
            if !is_open(spec, pod.profile, kind) {
                report_closed(&path, kind, out);
                continue;
            }
            match kind {
                "configMap" => {
                    AllowedNames::config_maps(spec).check(source.get("name"), path.child("name"), out)
                }
                "persistentVolumeClaim" => {
                    AllowedNames::claims(spec).check(source.get("claimName"), path.child("claimName"), out);
                }
                "ephemeral" => check_ephemeral(&spec.volumes.ephemeral, source, &path, out),
                "csi" => check_csi(&spec.volumes.csi, source, &path, out),
                "projected" => check_projected(pod, volume, source, &path, out),
                _ => {}
            }
        }
    }
}

/// Returns the members of a volume that name its source.
pub(super) fn sources<'v, 'a>(volume: &'v Object<'a>) -> impl Iterator<Item = (&'v str, &'v Value<'a>)> {
    volume.iter().filter(|(key, _)| *key != "name")
}

/// Returns true if the policy opens the type `kind`, at least for some names.
fn is_open(spec: &Spec, profile: &Profile, kind: &str) -> bool {
    let volumes = &spec.volumes;
    match kind {
        // What a projected volume may hold is decided source by source.
        "emptyDir" | "projected" => true,
        "configMap" => !volumes.config_map.names.is_empty(),
        "downwardAPI" => volumes.downward_api,
        "image" => volumes.image,
        "persistentVolumeClaim" => !volumes.persistent_volume_claim.names.is_empty(),
        "ephemeral" => !volumes.ephemeral.storage_classes.is_empty(),
        "csi" => !volumes.csi.is_empty(),
        "secret" => opens_secrets(profile),
        _ => false,
    }
}

/// Returns true if the Pod or one of its exceptions may mount Secrets. Which ones, and in which container, is decided
/// by the rule `secrets`.
pub(super) fn opens_secrets(profile: &Profile) -> bool {
    let mut specs = profile.exceptions.iter().map(|exception| &exception.spec);
    !profile.spec.secrets.volumes.is_empty() || specs.any(|spec| !spec.secrets.volumes.is_empty())
}

/// Returns the policy key that opens the volume type `kind`; `None` if no policy can.
fn policy_key(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "configMap" => "volumes.configMap.names",
        "downwardAPI" => "volumes.downwardAPI",
        "image" => "volumes.image",
        "persistentVolumeClaim" => "volumes.persistentVolumeClaim.names",
        "ephemeral" => "volumes.ephemeral.storageClasses",
        "csi" => "volumes.csi",
        "secret" => "secrets.volumes",
        _ => return None,
    })
}

/// Reports a source of a type that the policy does not open.
pub(super) fn report_closed(path: &LazyPath, kind: &str, out: &mut Reporter) {
    let found = format_args!("{} {kind} volume", article(kind));
    match policy_key(kind) {
        Some(key) => {
            out.report(
                *path,
                found,
                "absent",
                format_args!("use an emptyDir volume, or have this one allowed (policy key {key})"),
            );
        }
        None => out.report(*path, found, "absent", "use an emptyDir volume, no policy allows this type"),
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// The objects of one kind that may be mounted.
pub(super) struct AllowedNames<'s> {
    /// The kind of object that is named.
    pub(super) kind: &'static str,
    /// The names that are allowed.
    pub(super) names: &'s Names,
    /// The policy key of the names.
    pub(super) key: &'static str,
}

impl<'s> AllowedNames<'s> {
    /// Returns the `ConfigMaps` that may be mounted.
    pub(super) fn config_maps(spec: &'s Spec) -> Self {
        Self { kind: "ConfigMap", names: &spec.volumes.config_map.names, key: "volumes.configMap.names" }
    }

    /// Returns the claims that may be mounted.
    fn claims(spec: &'s Spec) -> Self {
        Self {
            kind: "PersistentVolumeClaim",
            names: &spec.volumes.persistent_volume_claim.names,
            key: "volumes.persistentVolumeClaim.names",
        }
    }

    /// Reports a name that is not allowed. An absent name is not reported.
    pub(super) fn check(&self, name: Option<&Value>, path: LazyPath, out: &mut Reporter) {
        let Self { kind, names, key } = self;
        if !name.and_then(Value::as_str).is_some_and(|name| names.allows(name)) {
            let remedy = format_args!("name an allowed {kind} (policy key {key})");
            out.report(path, show(name), OneOf(names), remedy);
        }
    }
}

/// Names of which each is allowed, or the word for none and for any.
pub(super) struct OneOf<'n>(pub(super) &'n Names);

impl fmt::Display for OneOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            names if names.is_empty() => f.write_str("absent"),
            names if names.allows_anything() => f.write_str("a name"),
            names => names.fmt(f),
        }
    }
}

fn cel_open_types(keys: Keys) -> Vec<&'static str> {
    let volumes = &keys.spec.volumes;
    let types = [
        ("name", true),
        ("emptyDir", true),
        ("projected", true),
        ("configMap", !volumes.config_map.names.is_empty()),
        ("downwardAPI", volumes.downward_api),
        ("image", volumes.image),
        ("persistentVolumeClaim", !volumes.persistent_volume_claim.names.is_empty()),
        ("ephemeral", !volumes.ephemeral.storage_classes.is_empty()),
        ("csi", !volumes.csi.is_empty()),
        ("secret", opens_secrets(keys.profile)),
    ];
    types.into_iter().filter(|(_, is_open)| *is_open).map(|(name, _)| name).collect()
}

fn cel_volume_types(keys: Keys) -> Vec<Statement> {
    let open = cel_open_types(keys);
    let types = cel::list(&open);
    let mut checks = vec![Statement::volume(
        format!("!dyn(d).all(f, f in {types})"),
        "",
        &format!("'a volume of the type ' + dyn(d).filter(f, !(f in {types})).join(', ')"),
    )];
    let volumes = &keys.spec.volumes;
    let opens = |name: &str| open.contains(&name);
    if opens("configMap") {
        checks.push(cel_named("configMap", "name", &volumes.config_map.names));
    }
    if opens("persistentVolumeClaim") {
        checks.push(cel_named("persistentVolumeClaim", "claimName", &volumes.persistent_volume_claim.names));
    }
    if opens("ephemeral") {
        checks.push(cel_ephemeral(&volumes.ephemeral));
    }
    if opens("csi") {
        checks.push(cel_csi(&volumes.csi));
    }
    checks.push(cel_projected(keys));
    checks
}

fn cel_named(kind: &str, field: &str, names: &Names) -> Statement {
    let name = format!("d.{kind}.?{field}");
    let allowed =
        cel::all([format!("{name}.hasValue()"), patterns::names(names, &format!("{name}.orValue('')"))]);
    let condition = cel::all([format!("d.?{kind}.hasValue()"), cel::not(&allowed)]);
    Statement::volume(condition, &format!(".{kind}.{field}"), &cel::shown(&name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::{
        json::pod_from_str,
        pod::schema::volume_types,
        policy::{Profile, Spec},
    };

    fn with(volume: Json) -> impl Fn(&mut Json) {
        move |pod| pod["spec"]["volumes"].as_array_mut().unwrap().push(volume.clone())
    }

    /// A spec that opens every type that a policy can open.
    fn open() -> Spec {
        spec(
            "{volumes: {configMap: {names: [settings-*]}, downwardAPI: true, image: true, \
             persistentVolumeClaim: {names: [data]}, ephemeral: {storageClasses: [fast]}, \
             csi: [{driver: csi.example.com}]}, secrets: {volumes: [key]}}",
        )
    }

    fn lines(spec: &Spec, change: impl Fn(&mut Json)) -> Vec<String> {
        let mut pod = complete_pod();
        change(&mut pod);
        let text = pod.to_string();
        crate::rules::check(&Profile::of_spec(spec.clone()), &pod_from_str(&text).unwrap()).lines()
    }

    #[test]
    fn type_name_cannot_forge_a_line() {
        let found = lines(&Spec::default(), |pod| {
            pod["spec"]["volumes"][0] = json!({"name": "workspace", "x\rverdict: admitted\u{9b}2J": {}});
        });
        assert!(found.concat().contains("is a x\u{fffd}verdict: admitted\u{fffd}2J volume"), "{found:?}");
    }

    #[test]
    fn by_default_every_type_but_empty_dir_is_denied() {
        let always = ["emptyDir", "projected"];
        for kind in volume_types().filter(|kind| !always.contains(kind)) {
            let found = lines(&Spec::default(), with(json!({"name": "x", kind: {}})));
            let expected =
                format!("spec.volumes[2].{kind} is {} {kind} volume, must be absent", super::article(kind));
            assert!(found.iter().any(|line| line.starts_with(&expected)), "{found:?}");
        }
    }

    #[test]
    fn types_without_a_key_are_denied_under_every_policy() {
        let with_key =
            ["configMap", "downwardAPI", "image", "persistentVolumeClaim", "ephemeral", "csi", "secret"];
        for kind in volume_types()
            .filter(|kind| !with_key.contains(kind) && !["emptyDir", "projected"].contains(kind))
        {
            let change = with(json!({"name": "x", kind: {}}));
            rejects_under(&open(), &format!("volume-types spec.volumes[2].{kind}"), &change);
            assert!(lines(&open(), &change).concat().contains("no policy allows this type"), "{kind}");
        }
        rejects_under(
            &open(),
            "volume-types spec.volumes[2].hostPath",
            with(json!({
                "name": "x", "configMap": {"name": "settings-a"}, "hostPath": {"path": "/"}
            })),
        );
    }

    #[test]
    fn denied_type_names_the_policy_key_that_opens_it() {
        for (kind, key) in [
            ("configMap", "volumes.configMap.names"),
            ("downwardAPI", "volumes.downwardAPI"),
            ("image", "volumes.image"),
            ("persistentVolumeClaim", "volumes.persistentVolumeClaim.names"),
            ("ephemeral", "volumes.ephemeral.storageClasses"),
            ("csi", "volumes.csi"),
            ("secret", "secrets.volumes"),
        ] {
            let found = lines(&Spec::default(), with(json!({"name": "x", kind: {}}))).concat();
            assert!(
                found.contains(&format!("or have this one allowed (policy key {key}) (volume-types)")),
                "{found}"
            );
        }
    }

    #[test]
    fn config_map_and_claim_are_admitted_by_name() {
        accepts_under(&open(), with(json!({"name": "x", "configMap": {"name": "settings-a"}})));
        accepts_under(&open(), with(json!({"name": "x", "persistentVolumeClaim": {"claimName": "data"}})));
        for name in [json!("other"), json!("settings-a/b"), json!(null), json!("")] {
            rejects_under(
                &open(),
                "volume-types spec.volumes[2].configMap.name",
                with(json!({"name": "x", "configMap": {"name": name}})),
            );
            rejects_under(
                &open(),
                "volume-types spec.volumes[2].persistentVolumeClaim.claimName",
                with(json!({"name": "x", "persistentVolumeClaim": {"claimName": name}})),
            );
        }
    }

    #[test]
    fn downward_api_image_and_secret_are_admitted_by_their_keys() {
        for source in [
            json!({"name": "x", "downwardAPI": {"items": []}}),
            json!({"name": "x", "image": {"reference": "registry.example.com/data:1"}}),
            json!({"name": "x", "secret": {"secretName": "key"}}),
        ] {
            accepts_under(&open(), with(source));
        }
    }

    #[test]
    fn secret_volume_is_admitted_where_an_exception_may_mount_secrets() {
        let policy = policy(
            "{containers: [{name: agent, match: {images: [registry.example.com/agent]}, \
             spec: {secrets: {volumes: [key]}}}]}",
        );
        let mut pod = complete_pod();
        with(json!({"name": "x", "secret": {"secretName": "key"}}))(&mut pod);
        let text = pod.to_string();
        let found = crate::rules::check(policy.base(), &pod_from_str(&text).unwrap());
        assert!(found.iter().all(|violation| violation.rule.id != "volume-types"), "{found:?}");
    }

    #[test]
    fn null_source_is_no_source() {
        accepts(with(json!({"name": "x", "emptyDir": {"sizeLimit": "1Gi"}, "hostPath": null})));
        rejects("volume-types spec.volumes[2].hostPath", |pod| {
            with(json!({"name": "x", "emptyDir": {"sizeLimit": "1Gi"}, "hostPath": {"path": "/"}}))(pod);
        });
    }
}
