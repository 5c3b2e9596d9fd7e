//! A policy with settings of its own, said twice: as its file has it, and over typed Pods.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use serde_json::{Value as Json, json};

use crate::oracle;

const IMAGES: &str = "registry.example.com/runner";
const SECRET: &str = "known";

/// Stricter with images and Secrets, and less strict with volumes.
pub(super) fn spec() -> Json {
    json!({
        "images": {"allowedPrefixes": [IMAGES]},
        "secrets": {"allowedNames": [SECRET]},
        "volumes": {"allowed": ["emptyDir", "configMap"]},
    })
}

/// Says everything that is wrong with `pod`.
pub(super) fn judge(pod: &Pod) -> Vec<String> {
    let mut faults = oracle::judge(pod);
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    for _ in spec.volumes.iter().flatten().filter(|volume| is_config_map(volume)) {
        let at = faults.iter().position(|fault| fault == "volume type");
        faults.swap_remove(at.expect("the default policy does not allow it"));
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        if !is_allowed(container.image.as_deref().unwrap_or_default()) {
            faults.push(format!("image of {}", container.name));
        }
        if secrets(container).any(|name| name != SECRET) {
            faults.push(format!("Secret of {}", container.name));
        }
    }
    faults
}

fn is_config_map(volume: &Volume) -> bool {
    let config_map = volume.config_map.clone();
    config_map.is_some() && *volume == Volume { name: volume.name.clone(), config_map, ..Volume::default() }
}

fn is_allowed(image: &str) -> bool {
    image.strip_prefix(IMAGES).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

/// The names of the Secrets in the environment.
fn secrets(container: &Container) -> impl Iterator<Item = &str> {
    let variables = container.env.iter().flatten().filter_map(|variable| {
        variable.value_from.as_ref()?.secret_key_ref.as_ref().map(|secret| secret.name.as_str())
    });
    let sources = container.env_from.iter().flatten();
    variables.chain(sources.filter_map(|from| from.secret_ref.as_ref().map(|secret| secret.name.as_str())))
}
