//! The Secrets that the sandbox can read.

use std::{collections::HashMap, fmt, ptr};

use super::{Group, Rule, helpers::VOLUMES};
use crate::{
    cel::{self, Keys, Statement, patterns, selected},
    json::{Object, Value},
    path::LazyPath,
    pod::{Container, ContainerKind, Pod},
    policy::{Names, Spec},
    violations::{Reporter, show},
};

pub(super) static SECRETS: Rule = Rule {
    id: "secrets",
    group: Group::Secrets,
    title: "Only allowed Secrets are read.",
    why: "A legacy service account token is a Secret like any other, and secretKeyRef reads it. A policy lists the \
          Secrets that environment variables may come from, and those that may be mounted: by a Secret volume, a \
          projected one, or a CSI volume's nodePublishSecretRef. A Secret that an exception allows may be mounted \
          into its containers alone. imagePullSecrets are not restricted: only the kubelet reads those.",
    references: &["https://kubernetes.io/docs/concepts/configuration/secret/"],
    setting: "spec.secrets",
    fill: None,
    check: check_secrets,
    cel: Some(cel_secrets),
};

fn check_secrets(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        check_environment(container, out);
    }
    check_volumes(pod, out);
}

fn check_environment(container: &Container, out: &mut Reporter) {
    let allowed = &container.spec.secrets.environment;
    if allowed.allows_anything() {
        return;
    }
    let mut check = |path: LazyPath, reference: &Object| {
        let name = reference.get("name");
        if !allows(allowed, name) {
            report(path.child("name"), name, allowed, "secrets.environment", out);
        }
    };
    for (index, variable) in container.object.objects("env") {
        if let Some(secret) = variable.object("valueFrom").and_then(|from| from.object("secretKeyRef")) {
            let variables = container.at("env");
            let variable = variables.index(index);
            check(variable.child("valueFrom").child("secretKeyRef"), secret);
        }
    }
    for (index, source) in container.object.objects("envFrom") {
        if let Some(secret) = source.object("secretRef") {
            check(container.at("envFrom").index(index).child("secretRef"), secret);
        }
    }
}

fn allows(names: &Names, name: Option<&Value>) -> bool {
    names.allows_anything() || name.and_then(Value::as_str).is_some_and(|name| names.allows(name))
}

fn report(path: LazyPath, found: Option<&Value>, allowed: &Names, key: &str, out: &mut Reporter) {
    let wanted =
        fmt::from_fn(
            |f| {
                if allowed.is_empty() { f.write_str("absent") } else { write!(f, "one of {allowed}") }
            },
        );
    let action = if allowed.is_empty() { "remove this reference" } else { "name an allowed Secret" };
    out.report(path, show(found), wanted, format_args!("{action} (policy key {key})"));
}

/// The purpose of a Secret of a volume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The files of the volume are the Secret's.
    Files,
    /// The driver of the volume reads the Secret.
    Driver,
}

/// Calls `visit` for each name of a Secret that a volume of an allowed type has, with its path.
fn each_secret<'v, 'a>(
    volume: &'v Object<'a>,
    index: usize,
    mut visit: impl FnMut(LazyPath, Option<&'v Value<'a>>, Purpose),
) {
    let path = VOLUMES.index(index);
    if let Some(secret) = volume.object("secret") {
        visit(path.child("secret").child("secretName"), secret.get("secretName"), Purpose::Files);
    }
    let sources = volume.object("projected").into_iter().flat_map(|projected| projected.objects("sources"));
    for (position, source) in sources {
        if let Some(secret) = source.object("secret") {
            let projected = path.child("projected");
            let sources = projected.child("sources");
            let secret_path = sources.index(position);
            visit(secret_path.child("secret").child("name"), secret.get("name"), Purpose::Files);
        }
    }
    if let Some(secret) = volume.object("csi").and_then(|csi| csi.object("nodePublishSecretRef")) {
        let csi = path.child("csi");
        visit(csi.child("nodePublishSecretRef").child("name"), secret.get("name"), Purpose::Driver);
    }
}

/// A volume with Secrets, under each of the keys that hold for a container of the Pod.
struct SecretVolume<'p, 'a> {
    index: usize,
    object: &'p Object<'a>,
    /// For each of the keys: true if a container that they hold for mounts the volume.
    is_mounted: Vec<bool>,
    /// For each of the keys: true if they do not allow a Secret that others allow.
    is_denied: Vec<bool>,
    /// True if the volume has a Secret that no keys allow.
    is_forbidden: bool,
}

/// Checks that every Secret of a volume is allowed for each container that mounts the volume. A Secret that no keys
/// allow is reported at the volume; one that some keys allow is reported at the mounts of the containers with other
/// keys. The work is linear in the Pod: volumes are found by name, and what the keys allow is decided once for each
/// volume.
fn check_volumes(pod: &Pod, out: &mut Reporter) {
    let mut keys: Vec<&Spec> = Vec::new();
    let mut volumes: Vec<SecretVolume> = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (index, object) in pod.spec.objects("volumes") {
        let mut has_secret = false;
        each_secret(object, index, |_, _, _| has_secret = true);
        if !has_secret {
            continue;
        }
        if keys.is_empty() {
            keys.push(&pod.profile.spec);
            keys.extend(pod.profile.exceptions.iter().map(|exception| &exception.spec));
        }
        by_name.insert(object.str("name").unwrap_or_default(), volumes.len());
        let none = || vec![false; keys.len()];
        let volume =
            SecretVolume { index, object, is_mounted: none(), is_denied: none(), is_forbidden: false };
        volumes.push(volume);
    }
    if volumes.is_empty() {
        return;
    }
    let key_of =
        |container: &Container| keys.iter().position(|spec| ptr::eq(*spec, container.spec)).unwrap_or(0);
    each_mount(pod, &by_name, |container, _, _, volume| volumes[volume].is_mounted[key_of(container)] = true);
    for volume in &mut volumes {
        check_volume(volume, &keys, out);
    }
    each_mount(pod, &by_name, |container, index, mount, position| {
        let volume = &volumes[position];
        // The volume of a running Pod may be an old violation; what an ephemeral container reads is a new one.
        let is_new = volume.is_forbidden && container.kind == ContainerKind::Ephemeral;
        if !volume.is_denied[key_of(container)] && !is_new {
            return;
        }
        let mounts = container.at("volumeMounts");
        let wanted = "a volume whose Secrets this container may read";
        let remedy = "remove this mount (policy key secrets.volumes)";
        out.report(mounts.index(index).child("name"), show(mount.get("name")), wanted, remedy);
    });
}

fn each_mount<'p, 'a>(
    pod: &Pod<'p, 'a>,
    by_name: &HashMap<&str, usize>,
    mut visit: impl FnMut(&Container<'p, 'a>, usize, &Object<'a>, usize),
) {
    for container in &pod.containers {
        for (index, mount) in container.object.objects("volumeMounts") {
            if let Some(volume) = mount.str("name").and_then(|name| by_name.get(name)) {
                visit(container, index, mount, *volume);
            }
        }
    }
}

fn check_volume(volume: &mut SecretVolume, keys: &[&Spec], out: &mut Reporter) {
    let SecretVolume { index, object, is_mounted, is_denied, is_forbidden } = volume;
    let of_pod = &keys[0].secrets.volumes;
    // Where no Secret may be mounted at all, `volume-types` has reported the volumes that are made of Secrets.
    let is_closed = keys.iter().all(|spec| spec.secrets.volumes.is_empty());
    each_secret(object, *index, |path, name, purpose| {
        let allowed = |position: usize| allows(&keys[position].secrets.volumes, name);
        let counts = |position: &usize| *position == 0 || is_mounted[*position];
        if !(0..keys.len()).filter(counts).any(allowed) {
            *is_forbidden = true;
            if !is_closed || purpose == Purpose::Driver {
                report(path, name, of_pod, "secrets.volumes", out);
            }
            return;
        }
        for (position, is_denied) in is_denied.iter_mut().enumerate() {
            *is_denied |= !allowed(position);
        }
    });
}

const ENVIRONMENT: [(&str, &str); 2] = [("env", "valueFrom.?secretKeyRef"), ("envFrom", "secretRef")];

/// The names of Secrets that the volume `d` has files of.
const CEL_FILES: &str = "([d.?secret].filter(r, r.hasValue()).map(r, dyn(r.value()).?secretName.orValue('')) + \
                     d.?projected.?sources.orValue([]).filter(s, s.?secret.hasValue()).map(s, s.secret.?name.orValue('')))";

/// The names of Secrets that the driver of the volume `d` reads.
const CEL_DRIVER: &str =
    "[d.?csi.?nodePublishSecretRef].filter(r, r.hasValue()).map(r, dyn(r.value()).?name.orValue(''))";

fn cel_secrets(keys: Keys) -> Vec<Statement> {
    let of_environment = ENVIRONMENT.into_iter().filter_map(|(list, reference)| {
        let name = format!("e.?{reference}.?name.orValue('')");
        let allowed = keys.of_container(|spec| patterns::names(&spec.secrets.environment, &name));
        let denied = cel::all([cel::not(&allowed), format!("e.?{reference}.hasValue()")]);
        let items = format!("c.o.?{list}.orValue([])");
        let found = format!(
            "'of the Secrets ' + strings.quote({items}.filter(e, {denied}).map(e, {name}).join(', '))"
        );
        (denied != "false")
            .then(|| Statement::container(format!("{items}.exists(e, {denied})"), list, &found))
    });
    of_environment.chain(cel_of_volumes(keys)).collect()
}

fn cel_of_volumes(keys: Keys) -> [Statement; 2] {
    let names: Vec<&Names> = keys.specs().map(|spec| &spec.secrets.volumes).collect();
    let allowed: Vec<String> = names.iter().map(|names| patterns::names(names, "n")).collect();
    // Keys of an exception count if a container that they hold for mounts the volume.
    let any_allows = cel::any(allowed.iter().enumerate().map(|(number, allowed)| {
        if number == 0 || allowed == "false" {
            return allowed.clone();
        }
        format!(
            "({allowed} && v.all.exists(w, w.x == {number} && \
             w.o.?volumeMounts.orValue([]).exists(u, u.name == d.name)))"
        )
    }));
    // Where no Secret may be mounted at all, `volume-types` reports the volumes that are made of Secrets.
    let is_closed = names.iter().all(|names| names.is_empty());
    let reported = if is_closed { CEL_DRIVER.to_string() } else { format!("({CEL_FILES} + {CEL_DRIVER})") };
    let has_secret = "(d.?secret.hasValue() || d.?csi.?nodePublishSecretRef.hasValue() || \
                      d.?projected.?sources.orValue([]).exists(s, s.?secret.hasValue()))";
    let forbidden = cel::not(&any_allows);
    let of_volume = Statement::volume(
        format!("{has_secret} && {reported}.exists(n, {forbidden})"),
        "",
        &format!("'of the Secrets ' + strings.quote({reported}.filter(n, {forbidden}).join(', '))"),
    );
    let own = selected("c.x", &allowed);
    let denied = format!(
        "v.vols.exists(d, d.name == m.name && {has_secret} && ({CEL_FILES} + {CEL_DRIVER}).exists(n, {any_allows} ? {} : c.k == 'ephemeral'))",
        cel::not(&own)
    );
    let mounts = "c.o.?volumeMounts.orValue([])";
    let of_mount = Statement::container(
        format!("v.vols.exists(d, {has_secret}) && {mounts}.exists(m, {denied})"),
        "volumeMounts",
        &format!(
            "'a mount of volumes whose Secrets it may not read: ' + {mounts}.filter(m, {denied}).map(m, m.name).join(', ')"
        ),
    );
    [of_volume, of_mount]
}

pub(super) static FILE_KEY_REF: Rule = Rule {
    id: "file-key-ref",
    group: Group::Secrets,
    title: "No environment variable is read from a file of a volume.",
    why: "For fileKeyRef the kubelet, on the node, opens a file that the sandbox has written.",
    references: &[
        "https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-via-file/",
    ],
    setting: "",
    fill: None,
    check: check_file_key_ref,
    cel: Some(cel_file_key_ref),
};

fn check_file_key_ref(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (index, variable) in container.object.objects("env") {
            let reference = variable.object("valueFrom").and_then(|from| from.get("fileKeyRef"));
            if reference.is_some() {
                out.report(
                    container.at("env").index(index).child("valueFrom").child("fileKeyRef"),
                    show(reference),
                    "absent",
                    "remove fileKeyRef: the container can read the file itself",
                );
            }
        }
    }
}

fn cel_file_key_ref(_: Keys) -> Vec<Statement> {
    let reads = "e.?valueFrom.?fileKeyRef.hasValue()";
    vec![Statement::container(
        format!("c.o.?env.orValue([]).exists(e, {reads})"),
        "env",
        &format!("'a file for ' + c.o.?env.orValue([]).filter(e, {reads}).map(e, e.name).join(', ')"),
    )]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::{Policy, Spec};

    const IN_ENV: &str = "secrets spec.containers[0].env[0].valueFrom.secretKeyRef.name";
    const IN_ENV_FROM: &str = "secrets spec.containers[0].envFrom[0].secretRef.name";

    fn with_secret(pod: &mut Json) {
        pod["spec"]["containers"][0]["env"] =
            json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "api", "key": "k"}}}]);
    }

    fn with_secrets(pod: &mut Json) {
        pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "api"}}]);
    }

    /// The sources of a volume that read the Secret `api`, each with the path of the name.
    fn secret_sources() -> [(&'static str, Json); 3] {
        [
            ("secret.secretName", json!({"secret": {"secretName": "api"}})),
            (
                "projected.sources[0].secret.name",
                json!({"projected": {"sources": [{"secret": {"name": "api"}}]}}),
            ),
            (
                "csi.nodePublishSecretRef.name",
                json!({"csi": {"driver": "csi.example.com", "nodePublishSecretRef": {"name": "api"}}}),
            ),
        ]
    }

    /// Adds a volume of `source` named `s`.
    fn add_volume(pod: &mut Json, source: &Json) {
        let mut volume = source.clone();
        volume["name"] = json!("s");
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }

    /// Mounts the volume `s` read-only into a container.
    fn mount(container: &mut Json) {
        let mount = json!({"name": "s", "mountPath": "/creds", "readOnly": true});
        match container["volumeMounts"].as_array_mut() {
            Some(mounts) => mounts.push(mount),
            None => container["volumeMounts"] = json!([mount]),
        }
    }

    fn allowing(names: &[&str]) -> Spec {
        let names = names.join(", ");
        spec(&format!("{{secrets: {{environment: [{names}], volumes: [{names}]}}}}"))
    }

    /// The violations of this file's rules: whether the type of a volume is allowed is another rule's matter.
    fn of_secrets(mut violations: Vec<String>) -> Vec<String> {
        violations
            .retain(|violation| violation.starts_with("secrets ") || violation.starts_with("file-key-ref "));
        violations
    }

    #[test]
    fn any_secret_may_be_in_the_environment_by_default() {
        accepts(with_secret);
        accepts(with_secrets);
    }

    #[test]
    fn secret_in_the_environment_is_denied_if_the_policy_names_none_or_another() {
        for spec in [spec("{secrets: {environment: []}}"), allowing(&["other"]), allowing(&["ap"])] {
            rejects_under(&spec, IN_ENV, with_secret);
            rejects_under(&spec, IN_ENV_FROM, with_secrets);
        }
        for spec in [allowing(&["api"]), allowing(&["a*"])] {
            accepts_under(&spec, with_secret);
            accepts_under(&spec, with_secrets);
        }
    }

    #[test]
    fn secret_without_a_name_is_denied_where_names_are_listed() {
        for name in [json!(null), json!("")] {
            rejects_under(&allowing(&["api"]), IN_ENV, |pod| {
                with_secret(pod);
                pod["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"] = name;
            });
        }
    }

    #[test]
    fn environment_of_an_ephemeral_container_is_checked() {
        let mut pod = complete_pod();
        let variable = json!({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "api", "key": "k"}}});
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "busybox", "env": [variable]}]);
        assert_eq!(
            of_secrets(violations_of(&allowing(&[]), &pod)),
            ["secrets spec.ephemeralContainers[0].env[0].valueFrom.secretKeyRef.name"]
        );
    }

    #[test]
    fn every_volume_with_a_secret_is_held_to_the_names() {
        for (path, source) in secret_sources() {
            let violations_with = |names: &[&str]| {
                let mut pod = complete_pod();
                add_volume(&mut pod, &source);
                mount(&mut pod["spec"]["containers"][0]);
                of_secrets(violations_of(&allowing(names), &pod))
            };
            assert_eq!(violations_with(&["api"]), Vec::<String>::new(), "{path}");
            assert_eq!(violations_with(&["other", "a*"]), Vec::<String>::new(), "{path}");
            assert_eq!(violations_with(&["other"]), [format!("secrets spec.volumes[2].{path}")]);
        }
    }

    #[test]
    fn secret_volume_is_denied_by_its_type_alone_where_no_secret_may_be_mounted() {
        for (path, source) in secret_sources() {
            let mut pod = complete_pod();
            add_volume(&mut pod, &source);
            let violations = violations_of(&allowing(&[]), &pod);
            assert!(
                violations.iter().any(|violation| violation.starts_with("volume-types ")),
                "{violations:?}"
            );
            let expected: &[&str] = match path {
                "csi.nodePublishSecretRef.name" => &["secrets spec.volumes[2].csi.nodePublishSecretRef.name"],
                _ => &[],
            };
            assert_eq!(of_secrets(violations), expected, "{path}");
        }
    }

    #[test]
    fn secret_volume_that_nothing_mounts_is_denied() {
        let mut pod = complete_pod();
        add_volume(&mut pod, &secret_sources()[0].1);
        assert_eq!(
            of_secrets(violations_of(&allowing(&["other"]), &pod)),
            ["secrets spec.volumes[2].secret.secretName"]
        );
    }

    #[test]
    fn ephemeral_container_that_mounts_a_volume_of_a_denied_type_is_a_violation_of_its_own() {
        let mut pod = complete_pod();
        add_volume(&mut pod, &secret_sources()[0].1);
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "busybox"}]);
        mount(&mut pod["spec"]["ephemeralContainers"][0]);
        assert_eq!(
            of_secrets(violations_of(&allowing(&[]), &pod)),
            ["secrets spec.ephemeralContainers[0].volumeMounts[0].name"]
        );
    }

    #[test]
    fn image_pull_secret_is_not_restricted() {
        accepts_under(&allowing(&[]), |pod| pod["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]));
    }

    fn with_agent() -> Policy {
        policy(
            "{secrets: {environment: []}, containers: [{name: agent, match: {images: [ghcr.io/example/agent]}, \
             spec: {secrets: {environment: [api], volumes: [api]}}}]}",
        )
    }

    /// A Pod of `main`, the excepted `second` and `init`, with a volume of the Secret `api`.
    fn pod_with_agent() -> Json {
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        add_volume(&mut pod, &secret_sources()[0].1);
        pod
    }

    fn violations_with_agent(pod: &Json) -> Vec<String> {
        of_secrets(violations_under(with_agent().base(), pod))
    }

    #[test]
    fn secret_of_an_exception_is_mounted_into_its_containers_alone() {
        let mut pod = pod_with_agent();
        mount(&mut pod["spec"]["containers"][1]);
        assert_eq!(violations_with_agent(&pod), Vec::<String>::new());
        mount(&mut pod["spec"]["containers"][0]);
        let position = pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap().len() - 1;
        let path = format!("secrets spec.containers[0].volumeMounts[{position}].name");
        assert_eq!(violations_with_agent(&pod), [path]);
    }

    #[test]
    fn secret_of_an_exception_that_its_container_does_not_mount_is_denied() {
        let mut pod = pod_with_agent();
        assert_eq!(violations_with_agent(&pod), ["secrets spec.volumes[2].secret.secretName"]);
        mount(&mut pod["spec"]["containers"][0]);
        assert_eq!(violations_with_agent(&pod), ["secrets spec.volumes[2].secret.secretName"]);
    }

    #[test]
    fn one_secret_too_many_in_a_volume_of_an_exception_is_denied() {
        let mut pod = pod_with_agent();
        let sources = json!([{"secret": {"name": "api"}}, {"secret": {"name": "other"}}]);
        pod["spec"]["volumes"][2] = json!({"name": "s", "projected": {"sources": sources}});
        mount(&mut pod["spec"]["containers"][1]);
        assert_eq!(violations_with_agent(&pod), ["secrets spec.volumes[2].projected.sources[1].secret.name"]);
    }

    #[test]
    fn exception_may_allow_less_than_the_pod() {
        let policy = policy(
            "{secrets: {volumes: [api]}, containers: [{name: proxy, match: {images: [ghcr.io/example/agent]}, \
             spec: {secrets: {volumes: []}}}]}",
        );
        let mut pod = pod_with_agent();
        mount(&mut pod["spec"]["containers"][0]);
        assert_eq!(of_secrets(violations_under(policy.base(), &pod)), Vec::<String>::new());
        mount(&mut pod["spec"]["containers"][1]);
        let position = pod["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len() - 1;
        let path = format!("secrets spec.containers[1].volumeMounts[{position}].name");
        assert_eq!(of_secrets(violations_under(policy.base(), &pod)), [path]);
    }

    #[test]
    fn exception_holds_for_the_environment_of_its_containers_alone() {
        let variable = json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "api", "key": "k"}}}]);
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        pod["spec"]["containers"][1]["env"] = variable.clone();
        assert_eq!(violations_with_agent(&pod), Vec::<String>::new());
        pod["spec"]["containers"][0]["env"] = variable;
        assert_eq!(violations_with_agent(&pod), [IN_ENV]);
    }

    /// `kubectl debug --image` chooses any image.
    #[test]
    fn ephemeral_container_gets_no_secret_of_an_exception() {
        let mut pod = pod_with_agent();
        mount(&mut pod["spec"]["containers"][1]);
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "ghcr.io/example/agent:1"}]);
        assert_eq!(violations_with_agent(&pod), Vec::<String>::new());
        mount(&mut pod["spec"]["ephemeralContainers"][0]);
        assert_eq!(violations_with_agent(&pod), ["secrets spec.ephemeralContainers[0].volumeMounts[0].name"]);
    }

    /// An update forgives what the Pod violated before, so that the new reader of an old volume needs a path of its
    /// own.
    #[test]
    fn ephemeral_container_that_mounts_a_denied_secret_is_a_violation_of_its_own() {
        let mut pod = pod_with_agent();
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "busybox"}]);
        mount(&mut pod["spec"]["ephemeralContainers"][0]);
        assert_eq!(
            violations_with_agent(&pod),
            [
                "secrets spec.volumes[2].secret.secretName",
                "secrets spec.ephemeralContainers[0].volumeMounts[0].name"
            ]
        );
    }

    #[test]
    fn a_variable_from_a_file_is_denied() {
        rejects("file-key-ref spec.containers[0].env[0].valueFrom.fileKeyRef", |pod| {
            let file = json!({"volumeName": "workspace", "path": "env", "key": "K"});
            pod["spec"]["containers"][0]["env"] = json!([{"name": "K", "valueFrom": {"fileKeyRef": file}}]);
        });
    }
}
