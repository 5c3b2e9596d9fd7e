//! The last five of the ten boxes: what a Pod that asks for nothing gets.

use serde_json::Value;

use super::{
    finding::{Answer, Check, Section, Severity, Verdict},
    namespaces::Guarded,
    reader::{has, items},
};
use crate::cli::dry_run::{Tried, plain_pod};
use sandgate_engine::{
    json::pod_from_str,
    policy::{Creator, Spec},
    review::{Defaults, evaluate},
};

/// A demand on the Pod that is stored: what is missing, or what there is.
type Demand = fn(&Value, &Spec) -> Result<String, String>;

pub(super) const CHECKS: &[(Check, &str, Demand)] = &[
    (
        Check::new(Section::Boxes, Severity::Critical, "security-context"),
        "Pod security context",
        security_context,
    ),
    (Check::new(Section::Boxes, Severity::High, "resource-limits"), "resource limits", resource_limits),
    (Check::new(Section::Boxes, Severity::High, "active-deadline"), "activeDeadlineSeconds", active_deadline),
    (Check::new(Section::Boxes, Severity::High, "writable-volumes"), "writable volumes", writable_volumes),
    (Check::new(Section::Boxes, Severity::High, "secrets"), "Secrets", secrets),
];

/// Returns what a check of these finds in a plain Pod: as it would be stored, or before the installation as the policy
/// would fill it.
pub(super) fn check<'f>(guarded: &Guarded<'f>, title: &str, demand: Demand) -> Answer<'f> {
    if !guarded.is_enforced() {
        let mode = guarded.policy.mode().as_str();
        return Ok(Verdict::fail(
            format!("{title}: nothing is demanded in mode {mode}"),
            "set the mode to enforce once the audit trail shows no denial that is not meant",
        )
        .of_severity(Severity::Medium));
    }
    let filled;
    let pod = if guarded.facts.is_preflight {
        filled = filled_by_engine(guarded);
        &filled
    } else {
        match guarded.namespace.plain.as_ref()? {
            Tried::Admitted(pod) => pod,
            Tried::Denied { .. } | Tried::Failed { .. } => {
                return Ok(Verdict::unknown(
                    format!("{title}: a plain Pod is not admitted"),
                    "see dry-run-plain",
                ));
            }
        }
    };
    Ok(match demand(pod, &guarded.policy.base().spec) {
        Ok(found) => Verdict::ok(format!("{title}: {found}")),
        Err(missing) => Verdict::fail(
            format!("{title}: {missing}"),
            "remove what opens it from the policy, or see dry-run-plain if sandgate was not asked",
        ),
    })
}

/// Returns the plain Pod as the policy fills it; null if the policy cannot.
fn filled_by_engine(guarded: &Guarded<'_>) -> Value {
    let text = plain_pod("busybox").to_string();
    let Ok(mut pod) = pod_from_str(&text) else { return Value::Null };
    let no_one = Creator { user: "", groups: &[] };
    drop(evaluate(guarded.policy, &mut pod, Some(no_one), Defaults::Fill));
    serde_json::to_value(&pod).unwrap_or_default()
}

fn security_context(pod: &Value, spec: &Spec) -> Result<String, String> {
    let mut missing = Vec::new();
    let outer = &pod["spec"]["securityContext"];
    for container in containers(pod) {
        let own = &container["securityContext"];
        let effective = |field: &str| if own[field].is_null() { &outer[field] } else { &own[field] };
        let user = effective("runAsUser").as_i64();
        let root_is_allowed = spec.security.root.is_allowed() || spec.security.run_as_user.min == 0;
        if *effective("runAsNonRoot") != true && user.is_none_or(|user| user == 0) && !root_is_allowed {
            missing.push("runAsNonRoot");
        }
        if effective("seccompProfile")["type"].as_str().is_none_or(|kind| kind == "Unconfined") {
            missing.push("seccompProfile");
        }
        if own["allowPrivilegeEscalation"] != false {
            missing.push("allowPrivilegeEscalation: false");
        }
        if !has(&own["capabilities"]["drop"], "ALL") {
            missing.push("capabilities.drop: [ALL]");
        }
        if own["readOnlyRootFilesystem"] != true && spec.security.read_only_root_filesystem {
            missing.push("readOnlyRootFilesystem");
        }
    }
    if pod["spec"]["runtimeClassName"].as_str().is_none_or(str::is_empty) {
        missing.push("runtimeClassName");
    }
    missing.dedup();
    if !missing.is_empty() {
        return Err(format!("a plain Pod is stored without {}", missing.join(", ")));
    }
    let user = outer["runAsUser"].as_i64();
    let user = user.or_else(|| containers(pod).first()?["securityContext"]["runAsUser"].as_i64());
    let user = user.map_or_else(|| "the user of the image".into(), |user| format!("user {user}"));
    Ok(format!("{user}, no capability, no escalation, seccomp"))
}

fn resource_limits(pod: &Value, _: &Spec) -> Result<String, String> {
    const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    let of_pod = &pod["spec"]["resources"]["limits"];
    let mut found = Vec::new();
    for container in containers(pod) {
        let limits = &container["resources"]["limits"];
        for resource in RESOURCES {
            match [&limits[resource], &of_pod[resource]].into_iter().find_map(Value::as_str) {
                Some(amount) => found.push(format!("{resource} {amount}")),
                None => return Err(format!("a plain Pod is stored without a limit of {resource}")),
            }
        }
    }
    Ok(found.join(", "))
}

fn active_deadline(pod: &Value, spec: &Spec) -> Result<String, String> {
    match (pod["spec"]["activeDeadlineSeconds"].as_u64(), spec.lifecycle.active_deadline_seconds.max) {
        (Some(seconds), _) => Ok(format!("{seconds}")),
        (None, Some(max)) => Ok(format!("must be written, at most {max}")),
        (None, None) => Err("the policy sets none, so a Pod may run without end".into()),
    }
}

fn writable_volumes(pod: &Value, _: &Spec) -> Result<String, String> {
    let mut writable = Vec::new();
    for container in containers(pod) {
        let mounts = items(&container["volumeMounts"]).iter();
        for mount in mounts.filter(|mount| mount["readOnly"] != true) {
            let volumes = items(&pod["spec"]["volumes"]);
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
            let empty_dir = volume.map_or(&Value::Null, |volume| &volume["emptyDir"]);
            let path = mount["mountPath"].as_str().unwrap_or_default();
            if !empty_dir.is_object() {
                return Err(format!("{path} is writable and no emptyDir"));
            }
            let Some(limit) = empty_dir["sizeLimit"].as_str() else {
                return Err(format!("{path} is an emptyDir without a sizeLimit"));
            };
            writable.push(format!("{path} ({limit})"));
        }
    }
    if writable.is_empty() { Ok("none".into()) } else { Ok(format!("emptyDir {}", writable.join(", "))) }
}

fn secrets(_: &Value, spec: &Spec) -> Result<String, String> {
    let volumes = &spec.secrets.volumes;
    if volumes.is_empty() {
        return Ok("as environment, never as files".into());
    }
    Err(format!("the policy lets Pods mount as files: {volumes}"))
}

fn containers(pod: &Value) -> Vec<&Value> {
    let fields = ["containers", "initContainers"];
    fields.iter().flat_map(|field| items(&pod["spec"][*field])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored() -> Value {
        json!({"spec": {
            "runtimeClassName": "gvisor",
            "activeDeadlineSeconds": 3600,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [{
                "name": "main",
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"}},
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }],
        }})
    }

    #[test]
    fn a_filled_pod_has_everything() {
        for (check, _, demand) in CHECKS {
            let found = demand(&stored(), &Spec::default());
            assert!(found.is_ok(), "{}: {found:?}", check.id);
        }
    }

    #[test]
    fn each_missing_field_is_named() {
        let container = "/spec/containers/0";
        for (path, id, wanted) in [
            ("/spec/securityContext".to_owned(), "security-context", "runAsNonRoot, seccompProfile"),
            (format!("{container}/securityContext/capabilities"), "security-context", "capabilities.drop"),
            ("/spec/runtimeClassName".to_owned(), "security-context", "runtimeClassName"),
            (format!("{container}/resources/limits/memory"), "resource-limits", "memory"),
            ("/spec/volumes/0/emptyDir/sizeLimit".to_owned(), "writable-volumes", "without a sizeLimit"),
            ("/spec/volumes/0".to_owned(), "writable-volumes", "no emptyDir"),
        ] {
            let mut pod = stored();
            *pod.pointer_mut(&path).unwrap() = Value::Null;
            let (_, _, demand) = CHECKS.iter().find(|(check, ..)| check.id == id).unwrap();
            let missing = demand(&pod, &Spec::default()).unwrap_err();
            assert!(missing.contains(wanted), "{path}: {missing}");
        }
    }

    #[test]
    fn secret_volumes_and_a_policy_without_deadline_fail() {
        let mut spec = Spec::default();
        spec.secrets.volumes = serde_json::from_value(json!(["ci-*"])).unwrap();
        assert!(secrets(&stored(), &spec).unwrap_err().contains("ci-*"));
        spec.lifecycle.active_deadline_seconds.max = None;
        let mut pod = stored();
        pod["spec"]["activeDeadlineSeconds"] = Value::Null;
        assert!(active_deadline(&pod, &spec).is_err());
    }
}
