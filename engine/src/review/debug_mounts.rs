//! The volumes that new ephemeral containers mount.
//!
//! A Pod that is older than the policy keeps a volume that the policy denies, and so do the containers that mount it.
//! A container that is added to the Pod later does not get it.

use std::collections::{BTreeMap, HashSet};

use crate::{
    json::Value,
    path::{LazyPath, SPEC, Step},
    pod,
    policy::Profile,
    rules::{self, Rule},
    violations::{Report, Reporter, Sink, show},
};

/// Reports each mount of a new ephemeral container whose volume violates the policy.
pub(super) fn check(profile: &Profile, new: &Value, old: &Value, sink: &mut dyn Sink) {
    static CONTAINERS: LazyPath<'static> = SPEC.child("ephemeralContainers");
    let (spec, before) = (pod::spec(new), pod::spec(old));
    let known: HashSet<&str> =
        before.objects("ephemeralContainers").filter_map(|(_, container)| container.str("name")).collect();
    let is_new = |name: Option<&str>| name.is_none_or(|name| !known.contains(name));
    if !spec.objects("ephemeralContainers").any(|(_, container)| is_new(container.str("name"))) {
        return;
    }
    let mut denied = DeniedVolumes::default();
    rules::check_into(profile, new, &mut denied);
    let names = spec.objects("volumes").filter_map(|(index, volume)| {
        let rule = denied.0.get(&index)?;
        Some((volume.str("name")?, *rule))
    });
    let denied: BTreeMap<&str, &'static Rule> = names.collect();
    for (index, container) in spec.objects("ephemeralContainers") {
        if !is_new(container.str("name")) {
            continue;
        }
        let container_path = CONTAINERS.index(index);
        let mounts = container_path.child("volumeMounts");
        for (position, mount) in container.objects("volumeMounts") {
            let Some(rule) = mount.str("name").and_then(|name| denied.get(name)) else { continue };
            Reporter::new(rule, sink).report(
                mounts.index(position).child("name"),
                show(mount.get("name")),
                "a volume that the policy allows",
                "leave this mount out: the Pod is older than the policy, and only its own containers keep the volume",
            );
        }
    }
}

/// The positions of the volumes that violate the policy, each with the first rule that says so.
#[derive(Default)]
struct DeniedVolumes(BTreeMap<usize, &'static Rule>);

impl Sink for DeniedVolumes {
    fn take(&mut self, report: &Report) {
        // The size of an emptyDir says nothing about who may see what is in it.
        if report.rule == rules::SIZE_OF_VOLUMES {
            return;
        }
        if let [Step::Field("spec"), Step::Field("volumes"), Step::Index(index), ..] =
            report.path().steps()[..]
        {
            self.0.entry(index).or_insert(report.rule);
        }
    }
}
