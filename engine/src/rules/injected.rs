//! Containers and values that other programs add to Pods. The author of a Pod cannot remove them, so the remedy names the
//! program that adds them and its setting.

use std::fmt;

use crate::pod::{Container, Pod};

/// The annotation that `OpenShift`'s admission leaves where it fills ids and SELinux levels.
const OPENSHIFT_SCC: &str = "openshift.io/scc";

/// Returns what to do about a container that a known program adds. It is known by its name, which only changes the text.
fn advice(container: &Container) -> Option<&'static str> {
    Some(match container.name() {
        "istio-init" => "Istio adds this container; install the Istio CNI plugin, which replaces it",
        "istio-proxy" | "istio-validation" => {
            "Istio adds this container; allow its image (policy key containers)"
        }
        "linkerd-init" => "Linkerd adds this container; install the Linkerd CNI plugin, which replaces it",
        "linkerd-proxy" | "linkerd-network-validator" => {
            "Linkerd adds this container; allow its image (policy key containers)"
        }
        "daprd" => "Dapr adds this container; allow its image (policy key containers)",
        "vault-agent" | "vault-agent-init" => {
            "Vault's injector adds this container; allow its image (policy key containers)"
        }
        "block-cloud-metadata" => {
            "JupyterHub adds this container; set singleuser.cloudMetadata.blockWithIptables to false in its chart"
        }
        _ => return None,
    })
}

/// Returns the remedy for a value of a container, which is `own` unless a known program adds the container.
pub(super) fn remedy<'r>(
    container: Option<&'r Container>,
    own: impl fmt::Display + 'r,
) -> impl fmt::Display + 'r {
    fmt::from_fn(move |f| match container.and_then(advice) {
        Some(advice) => f.write_str(advice),
        None => write!(f, "{own}"),
    })
}

/// Returns true if `OpenShift`'s security context constraints have filled the Pod.
pub(super) fn is_filled_by_openshift(pod: &Pod) -> bool {
    pod.annotations.get(OPENSHIFT_SCC).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    /// The lines of a denial of a Pod with a container of this name and security context.
    fn lines_with(name: &str, security: &Json) -> Vec<String> {
        let mut pod = complete_pod_of_three();
        pod["spec"]["initContainers"][0]["name"] = json!(name);
        for (field, value) in security.as_object().unwrap() {
            pod["spec"]["initContainers"][0]["securityContext"][field] = value.clone();
        }
        lines_of(&Spec::default(), &pod)
    }

    #[test]
    fn remedy_for_an_injected_container_names_who_adds_it() {
        let of_istio_init = json!({
            "runAsUser": 0, "runAsNonRoot": false, "privileged": true, "allowPrivilegeEscalation": true,
            "readOnlyRootFilesystem": false, "capabilities": {"add": ["NET_ADMIN"], "drop": []},
        });
        let lines = lines_with("istio-init", &of_istio_init);
        assert_eq!(lines.len(), 7, "{lines:#?}");
        for line in &lines {
            assert!(line.contains("Istio adds this container; install the Istio CNI plugin"), "{line}");
        }
        let lines = lines_with("mine", &of_istio_init);
        assert!(lines.iter().all(|line| !line.contains("adds this container")), "{lines:#?}");
    }

    #[test]
    fn remedy_for_the_metadata_block_of_jupyterhub_names_its_setting() {
        let lines = lines_with("block-cloud-metadata", &json!({"privileged": true}));
        assert!(lines[0].contains("blockWithIptables"), "{lines:#?}");
    }

    #[test]
    fn remedy_for_what_openshift_sets_names_the_policy_key() {
        let mut pod = complete_pod();
        pod["metadata"]["annotations"] = json!({"openshift.io/scc": "restricted-v2"});
        pod["spec"]["securityContext"]["fsGroup"] = json!(1_000_650_000);
        pod["spec"]["securityContext"]["seLinuxOptions"] = json!({"level": "s0:c26,c5"});
        pod["spec"]["containers"][0]["securityContext"]["runAsUser"] = json!(1_000_650_000);
        let lines = lines_of(&Spec::default(), &pod);
        for (line, key) in lines.iter().zip(["runAsUser", "fsGroup", "seLinuxLevel"]) {
            assert!(
                line.contains(&format!("OpenShift sets it: allow it (policy key security.{key})")),
                "{line}"
            );
        }
        assert_eq!(lines.len(), 3, "{lines:#?}");
        let allowing = spec(
            "{security: {seLinuxLevel: true, runAsUser: {default: null, min: 1000650000, max: 1000659999}, \
             fsGroup: {default: null, min: 1000650000, max: 1000659999}}}",
        );
        let mut pod = pod.clone();
        without(&mut pod["spec"]["securityContext"], "runAsUser");
        assert_eq!(violations_of(&allowing, &pod), Vec::<String>::new());
    }
}
