//! The Secrets that the sandbox can read.

use super::{Group, Rule, helpers::VOLUMES};
use crate::{
    json::Object,
    path::LazyPath,
    pod::Pod,
    policy::Spec,
    violations::{Reporter, show},
};

pub(super) static SECRETS: Rule = Rule {
    id: "secrets",
    group: Group::Secrets,
    title: "Only allowed Secrets are read.",
    why: "A legacy service account token is a Secret like any other, and secretKeyRef reads it. A policy can list \
          the Secrets that the sandbox may read, or forbid Secrets in the environment. The rule volume-types \
          decides about Secret volumes.",
    references: &["https://kubernetes.io/docs/concepts/configuration/secret/"],
    setting: "spec.secrets",
    fill: None,
    check: check_secrets,
};

fn check_secrets(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let settings = &spec.secrets;
    let mut check = |path: LazyPath, reference: &Object, key: &str, in_environment: Option<&str>| {
        let name = reference.get(key);
        let names = if in_environment.is_some() { &settings.environment } else { &settings.volumes };
        if !names.allows_anything()
            && !name.and_then(|name| name.as_str()).is_some_and(|name| names.allows(name))
        {
            out.report(path.child(key), show(name), format_args!("one of {names}"), "name an allowed Secret");
        }
    };
    for container in &pod.containers {
        for (index, variable) in container.object.objects("env") {
            if let Some(secret) = variable.object("valueFrom").and_then(|from| from.object("secretKeyRef")) {
                check(
                    container.at("env").index(index).child("valueFrom").child("secretKeyRef"),
                    secret,
                    "name",
                    Some("secretKeyRef"),
                );
            }
        }
        for (index, source) in container.object.objects("envFrom") {
            if let Some(secret) = source.object("secretRef") {
                check(
                    container.at("envFrom").index(index).child("secretRef"),
                    secret,
                    "name",
                    Some("secretRef"),
                );
            }
        }
    }
    for (index, volume) in pod.spec.objects("volumes") {
        if let Some(secret) = volume.object("secret") {
            check(VOLUMES.index(index).child("secret"), secret, "secretName", None);
        }
        for (position, source) in volume.object("projected").into_iter().flat_map(|p| p.objects("sources")) {
            if let Some(secret) = source.object("secret") {
                let volume = VOLUMES.index(index);
                let sources = volume.child("projected");
                check(sources.child("sources").index(position).child("secret"), secret, "name", None);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    fn with_secret(pod: &mut Json) {
        pod["spec"]["containers"][0]["env"] =
            json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "api", "key": "k"}}}]);
    }

    fn with_secrets(pod: &mut Json) {
        pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "api"}}]);
    }

    fn with_secret_file(pod: &mut Json) {
        pod["spec"]["volumes"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "s", "secret": {"secretName": "api"}}));
    }

    fn with_projected_secret(pod: &mut Json) {
        let volume = json!({"name": "s", "projected": {"sources": [{"secret": {"name": "api"}}]}});
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }

    fn allowing(names: &[&str]) -> Spec {
        let names = names.join(", ");
        spec(&format!("{{secrets: {{environment: [{names}], volumes: [{names}]}}}}"))
    }

    #[test]
    fn any_secret_may_be_in_the_environment_by_default() {
        accepts(with_secret);
        accepts(with_secrets);
    }

    #[test]
    fn a_policy_may_keep_secrets_out_of_the_environment() {
        let spec = spec("{secrets: {environment: []}}");
        rejects_under(&spec, "secrets spec.containers[0].env[0].valueFrom.secretKeyRef.name", with_secret);
        rejects_under(&spec, "secrets spec.containers[0].envFrom[0].secretRef.name", with_secrets);
    }

    #[test]
    fn a_policy_may_name_the_secrets() {
        for change in [with_secret, with_secrets, with_secret_file, with_projected_secret] {
            accepts_under(&allowing(&["api"]), change);
        }
        let other = allowing(&["other"]);
        rejects_under(&other, "secrets spec.containers[0].env[0].valueFrom.secretKeyRef.name", with_secret);
        rejects_under(&other, "secrets spec.containers[0].envFrom[0].secretRef.name", with_secrets);
        rejects_under(&other, "secrets spec.volumes[2].secret.secretName", with_secret_file);
        rejects_under(
            &other,
            "secrets spec.volumes[2].projected.sources[0].secret.name",
            with_projected_secret,
        );
    }

    #[test]
    fn a_variable_from_a_file_is_refused() {
        rejects("file-key-ref spec.containers[0].env[0].valueFrom.fileKeyRef", |pod| {
            let file = json!({"volumeName": "workspace", "path": "env", "key": "K"});
            pod["spec"]["containers"][0]["env"] = json!([{"name": "K", "valueFrom": {"fileKeyRef": file}}]);
        });
    }
}
