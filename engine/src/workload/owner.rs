//! The fields that controllers add to the Pods that they create.

use super::build::{Fields, list, object, text};
use crate::json::Value;

/// The controller that owns a Pod: its version and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Controller {
    /// The version, such as `batch/v1`.
    pub(super) api_version: &'static str,
    /// The kind, such as `Job`.
    pub(super) kind: &'static str,
}

/// The fields, as far as rules check them, that a controller adds to the Pod's spec, or the API server to its
/// template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addition {
    /// The controller adds nothing.
    None,
    /// The API server sets `restartPolicy: Always` in the template.
    RestartAlways,
    /// As [`Self::RestartAlways`], and the controller tolerates nodes in trouble.
    Daemon,
    /// As [`Self::RestartAlways`], and each claim template becomes a volume of its name.
    Claims,
    /// The only container may have no name; Knative names it.
    Knative,
}

/// Returns the owner references of a controller's Pods. The name of what a controller makes in between is not known
/// yet, so the object's own name is used.
pub(super) fn owner_references<'v>(api_version: &str, kind: &str, name: &str) -> Value<'v> {
    list([object([
        ("apiVersion", text(api_version)),
        ("kind", text(kind)),
        ("name", text(name)),
        ("controller", Value::Bool(true)),
    ])])
}

impl Addition {
    /// Adds to `spec` what the controller of `workload` adds.
    pub(super) fn apply<'v>(self, workload: &Value<'v>, spec: &mut Fields<'v>) {
        match self {
            Self::None => {}
            Self::RestartAlways => restart_always(spec),
            Self::Daemon => {
                restart_always(spec);
                daemon_tolerations(spec);
            }
            Self::Claims => {
                restart_always(spec);
                claimed_volumes(workload, spec);
            }
            Self::Knative => {
                restart_always(spec);
                name_container(spec);
            }
        }
    }
}

fn restart_always(spec: &mut Fields) {
    spec.set_default("restartPolicy", text("Always"));
}

/// `kubernetes/pkg/controller/daemon/util`: a daemon stays on a node in trouble.
fn daemon_tolerations(spec: &mut Fields) {
    const TAINTS: [(&str, &str); 6] = [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ];
    for (taint, effect) in TAINTS {
        let key = format!("node.kubernetes.io/{taint}");
        spec.push(
            "tolerations",
            object([("key", text(&key)), ("operator", text("Exists")), ("effect", text(effect))]),
        );
    }
}

/// `kubernetes/pkg/controller/statefulset`: each claim template becomes a volume of its name.
fn claimed_volumes<'v>(workload: &Value<'v>, spec: &mut Fields<'v>) {
    let claims = workload.as_object().and_then(|object| object.object("spec"));
    for (_, claim) in claims.into_iter().flat_map(|spec| spec.objects("volumeClaimTemplates")) {
        let Some(name) = claim.object("metadata").and_then(|metadata| metadata.str("name")) else { continue };
        let source = object([("claimName", text(&format!("{name}-0")))]);
        spec.push("volumes", object([("name", text(name)), ("persistentVolumeClaim", source)]));
    }
}

fn name_container(spec: &mut Fields) {
    let Some(Value::List(containers)) = spec.get_mut("containers") else { return };
    for (index, container) in containers.iter_mut() {
        let name = if index == 0 { "user-container".to_string() } else { format!("user-container-{index}") };
        if let Some(container) = container.as_object_mut() {
            container.set_default("name", name);
        }
    }
}
