//! The Secrets that containers reach, by name.

use k8s_openapi::api::core::v1::Volume;

use super::{Faults, Placed, Subject, must, word};
use crate::{patterns::is_one_of, policy::Keys};

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
    for placed in subject.containers {
        check_environment(placed, faults);
    }
    for volume in subject.spec.volumes.iter().flatten() {
        for name in secrets_of(volume) {
            let may_read = |keys: &Keys| is_one_of(&keys.secrets.volumes, &name);
            let someone_may = may_read(subject.keys)
                || subject.mounts_of(&volume.name).any(|(_, placed, ..)| may_read(placed.keys));
            must(someone_may, "Secret file", faults);
            for (_, placed, ..) in subject.mounts_of(&volume.name) {
                placed.must(may_read(placed.keys), "Secret file", faults);
            }
        }
    }
}

fn check_environment(placed: &Placed, faults: &mut Faults) {
    let container = &placed.container;
    let mut sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    placed.must(!sources.clone().any(|source| source.file_key_ref.is_some()), "fileKeyRef", faults);
    let allowed = &placed.keys.secrets.environment;
    let is_allowed = |name: &String| is_one_of(allowed, name);
    let single = sources.all(|source| source.secret_key_ref.as_ref().is_none_or(|key| is_allowed(&key.name)));
    placed.must(single, "Secret variable", faults);
    let mut sets = container.env_from.iter().flatten().filter_map(|source| source.secret_ref.as_ref());
    placed.must(sets.all(|secret| is_allowed(&secret.name)), "Secret as environment", faults);
}

/// The names of all Secrets that the node reads for a volume.
fn secrets_of(volume: &Volume) -> Vec<String> {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = projected.filter_map(|source| source.secret.as_ref()).map(|secret| secret.name.clone());
    let whole = volume.secret.iter().map(|secret| word(secret.secret_name.as_ref()).to_owned());
    let of_driver = volume.csi.iter().filter_map(|csi| csi.node_publish_secret_ref.as_ref());
    whole.chain(projected).chain(of_driver.map(|secret| secret.name.clone())).collect()
}
