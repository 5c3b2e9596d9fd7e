//! A webhook as the documentation of `kube` proposes it: a typed Pod, a copy that is changed, and the difference of both as
//! the patch. It fills the fields of a Pod that sandgate's built-in policy fills, and checks nothing.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, Pod, PodSecurityContext, ResourceRequirements, SeccompProfile,
        SecurityContext,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};

/// Returns the answer to a review of the creation of a Pod.
pub(crate) fn answer(body: &[u8]) -> Option<Vec<u8>> {
    let review: AdmissionReview<Pod> = serde_json::from_slice(body).ok()?;
    let request: AdmissionRequest<Pod> = review.try_into().ok()?;
    let pod = request.object.as_ref()?;
    let mut filled = pod.clone();
    fill(&mut filled);
    let (before, after) = (serde_json::to_value(pod).ok()?, serde_json::to_value(&filled).ok()?);
    let response = AdmissionResponse::from(&request).with_patch(json_patch::diff(&before, &after)).ok()?;
    serde_json::to_vec(&response.into_review()).ok()
}

fn fill(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.runtime_class_name.get_or_insert_with(|| "gvisor".into());
    spec.automount_service_account_token.get_or_insert(false);
    spec.active_deadline_seconds.get_or_insert(3600);
    spec.restart_policy = Some("Never".into());
    let security = spec.security_context.get_or_insert_with(PodSecurityContext::default);
    security.run_as_non_root.get_or_insert(true);
    for id in [&mut security.run_as_user, &mut security.run_as_group, &mut security.fs_group] {
        id.get_or_insert(1000);
    }
    let seccomp = || SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() };
    security.seccomp_profile.get_or_insert_with(seccomp);
    spec.containers.iter_mut().for_each(fill_container);
}

fn fill_container(container: &mut Container) {
    let security = container.security_context.get_or_insert_with(SecurityContext::default);
    security.allow_privilege_escalation.get_or_insert(false);
    security.read_only_root_filesystem.get_or_insert(true);
    let none = || Capabilities { add: None, drop: Some(vec!["ALL".into()]) };
    security.capabilities.get_or_insert_with(none);
    let resources = container.resources.get_or_insert_with(ResourceRequirements::default);
    resources.limits.get_or_insert_with(|| amounts("1", "2Gi", "5Gi"));
    resources.requests.get_or_insert_with(|| amounts("250m", "512Mi", "1Gi"));
}

fn amounts(cpu: &str, memory: &str, disk: &str) -> BTreeMap<String, Quantity> {
    let amounts = [("cpu", cpu), ("memory", memory), ("ephemeral-storage", disk)];
    amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into()
}
