//! What a violation asks of a policy: the key that would let it through, with the smallest value.

use serde_json::{Value as Json, json};

use crate::pod::Quantity;

/// A violation as a source of openings. From a Pod it has the value at its path; from an audit record only what its text
/// shows.
#[derive(Debug)]
pub(super) struct Evidence<'e> {
    pub(super) rule: &'e str,
    pub(super) path: String,
    /// The value at the path.
    pub(super) value: Json,
    /// The text of what was found.
    pub(super) found: &'e str,
    /// The text of what to do, which names the policy key.
    pub(super) remedy: &'e str,
    /// The inline CSI volume that the path leads into.
    pub(super) csi_volume: Option<Json>,
    /// The runtime class of the Pod.
    pub(super) runtime_class: &'e str,
}

/// An opening that lets a violation through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// An item that is appended to a list.
    Add(&'static str, Json),
    /// A value that is set.
    Set(&'static str, Json),
    /// An id that a range has to include.
    Include(&'static str, i64),
    /// A number of seconds that a ceiling has to reach.
    Seconds(&'static str, u32),
    /// An amount that a ceiling has to reach: the key, and the name of the resource if the key has one for each.
    Amount(&'static str, Option<String>, Quantity, String),
    /// So many of an extended resource, under a runtime class.
    Device { resource: String, count: u32, class: String },
}

/// The label that is required instead of one that the Pods use for something else.
const LABEL: &str = "sandgate.dev/sandbox";

/// The capabilities that reach beyond the container, so that opening them is left to a person.
const HOST_CAPABILITIES: [&str; 12] = [
    "ALL",
    "BPF",
    "DAC_READ_SEARCH",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "PERFMON",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
];

/// The annotations that the runtime of the node obeys, so that opening them is left to a person.
const RUNTIME_ANNOTATIONS: [&str; 6] =
    ["io.katacontainers.", "io.kubernetes.cri-o.", "crio.io", "nri.io/", "nri.containerd.io/", "cdi.k8s.io/"];

/// Returns the openings that let a violation through; none if no policy should.
///
/// Privileged containers, privilege escalation, namespaces and folders of the host, other runtime classes, and whatever
/// has no key are never opened.
pub(super) fn asks_of(evidence: &Evidence) -> Vec<Ask> {
    let Evidence { rule, path, value, .. } = evidence;
    match *rule {
        "labels" if !evidence.remedy.contains("labels.forbidden") => {
            vec![Ask::Set("labels.required", json!({LABEL: "true"}))]
        }
        "annotations" => annotation(path),
        "tolerations" => toleration(value),
        "scheduler" => name("placement.schedulerNames", value),
        "priority-class" if !value.as_str().is_some_and(|class| class.starts_with("system-")) => {
            name("placement.priorityClassNames", value)
        }
        "service-account" => name("serviceAccount.allowed", value),
        "token-volumes" => token(evidence),
        "restart-policy" => restart_policy(value),
        "container-restart-rules" => vec![Ask::Set("lifecycle.containerRestartRules", json!(true))],
        "active-deadline" => seconds("lifecycle.activeDeadlineSeconds.max", value),
        "grace-period" => seconds("lifecycle.terminationGracePeriodSeconds.max", value),
        "host-users" => vec![Ask::Set("security.hostUsers", Json::Null)],
        "run-as-non-root" => root(evidence.runtime_class),
        "run-as-user" if value.as_i64() == Some(0) => root(evidence.runtime_class),
        "run-as-user" => id("security.runAsUser", value),
        "run-as-group" => id("security.runAsGroup", value),
        "supplemental-groups" if path.ends_with("supplementalGroupsPolicy") => {
            vec![Ask::Set("security.supplementalGroupsPolicy", Json::Null)]
        }
        "fs-group" | "supplemental-groups" => id("security.fsGroup", value),
        "capabilities" => capability(value),
        "read-only-root" => vec![Ask::Set("security.readOnlyRootFilesystem", json!(false))],
        "seccomp" => seccomp(value),
        "selinux" if is_field(path, "level") => vec![Ask::Set("security.seLinuxLevel", json!(true))],
        "sysctls" => match value.get("name").unwrap_or(value) {
            Json::String(sysctl) => vec![Ask::Add("security.sysctls", json!(sysctl))],
            _ => Vec::new(),
        },
        "shared-process-namespace" => vec![Ask::Set("security.shareProcessNamespace", json!(true))],
        "termination-message-path" => name("volumes.terminationMessagePaths", value),
        "writable-paths" => writable_path(evidence),
        "volume-types" => volume(evidence),
        "secrets" if path.contains(".env") => name("secrets.environment", value),
        "secrets" if !path.contains("volumeMounts") => name("secrets.volumes", value),
        "empty-dir" if path.ends_with("sizeLimit") => {
            let in_memory = evidence.remedy.contains("maxMemory");
            amount(
                if in_memory { "volumes.emptyDir.maxMemory" } else { "volumes.emptyDir.maxSize" },
                None,
                value,
            )
        }
        "resource-limits" => amount("resources.container.limits", key_in(path), value),
        "pod-budget" => pod_budget(evidence),
        "resource-kinds" => device(evidence),
        "resource-claims" => claims(value),
        "images" if evidence.remedy.contains("requireDigest") => {
            vec![Ask::Set("images.requireDigest", json!(false))]
        }
        "images" => image(value),
        _ => Vec::new(),
    }
}

fn name(key: &'static str, value: &Json) -> Vec<Ask> {
    value
        .as_str()
        .filter(|name| !name.is_empty())
        .map(|name| Ask::Add(key, json!(name)))
        .into_iter()
        .collect()
}

fn id(key: &'static str, value: &Json) -> Vec<Ask> {
    value.as_i64().map(|id| Ask::Include(key, id)).into_iter().collect()
}

fn seconds(key: &'static str, value: &Json) -> Vec<Ask> {
    let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(|seconds| Ask::Seconds(key, seconds)).into_iter().collect()
}

fn amount(key: &'static str, resource: Option<&str>, value: &Json) -> Vec<Ask> {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        _ => return Vec::new(),
    };
    let quantity = Quantity::parse(&text).ok().filter(|quantity| *quantity > Quantity::ZERO);
    let ask = |quantity| Ask::Amount(key, resource.map(str::to_owned), quantity, text.clone());
    quantity.map(ask).into_iter().collect()
}

/// Returns true if a path ends in this field.
fn is_field(path: &str, field: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, last)| last == field)
}

/// Returns what stands in the last brackets of a path: the key of a label, an annotation or a resource.
fn key_in(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("annotations[").or_else(|| path.rsplit_once('['))?;
    rest.strip_suffix(']')
}

fn root(class: &str) -> Vec<Ask> {
    let class = Some(class).filter(|class| !class.is_empty());
    class.map(|class| Ask::Add("security.root.runtimeClasses", json!(class))).into_iter().collect()
}

fn annotation(path: &str) -> Vec<Ask> {
    let is_of_runtime = |key: &&str| RUNTIME_ANNOTATIONS.iter().any(|family| key.contains(family));
    let key = key_in(path).filter(|key| !is_of_runtime(key));
    key.map(|key| Ask::Add("annotations.allowed", json!(key))).into_iter().collect()
}

/// A toleration without a key tolerates every taint, so it is not opened.
fn toleration(value: &Json) -> Vec<Ask> {
    let Some(object) = value.as_object() else { return Vec::new() };
    let is_of_key = object.get("key").and_then(Json::as_str).is_some_and(|key| !key.is_empty());
    let known = ["key", "operator", "value", "effect"];
    let kept = object.iter().filter(|(field, _)| known.contains(&field.as_str()));
    let toleration: serde_json::Map<String, Json> =
        kept.map(|(field, value)| (field.clone(), value.clone())).collect();
    if is_of_key { vec![Ask::Add("placement.allowedTolerations", toleration.into())] } else { Vec::new() }
}

fn token(evidence: &Evidence) -> Vec<Ask> {
    let Evidence { path, value, .. } = evidence;
    let of_api = || vec![Ask::Set("serviceAccount.automountToken", json!(true))];
    if path.ends_with("automountServiceAccountToken") {
        return of_api();
    }
    if !is_field(path, "serviceAccountToken") {
        return Vec::new();
    }
    let expiration = value.get("expirationSeconds").and_then(Json::as_u64).unwrap_or(3600);
    match value.get("audience").and_then(Json::as_str).filter(|audience| !audience.is_empty()) {
        Some(audience) => {
            let token = json!({"audience": audience, "maxExpirationSeconds": expiration});
            vec![Ask::Add("serviceAccount.tokens", token)]
        }
        None if value.is_object() => of_api(),
        None => Vec::new(),
    }
}

/// A Pod that restarts for ever would be ended by a deadline, which is not what its author wants.
fn restart_policy(value: &Json) -> Vec<Ask> {
    let policy = value.as_str().unwrap_or("Always");
    let mut asks = vec![Ask::Add("lifecycle.restartPolicy.allowed", json!(policy))];
    if policy == "Always" {
        asks.push(Ask::Set("lifecycle.activeDeadlineSeconds.default", Json::Null));
        asks.push(Ask::Set("lifecycle.activeDeadlineSeconds.max", Json::Null));
        // Without a deadline the engine allows no restarts to Jobs alone, since every Pod can claim to be one's.
        asks.push(Ask::Set("lifecycle.restartPolicy.allowedForJobs", json!([])));
    }
    asks
}

fn capability(value: &Json) -> Vec<Ask> {
    let allowed = value.as_str().filter(|name| {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        !HOST_CAPABILITIES.contains(&name)
    });
    allowed.map(|name| Ask::Add("security.capabilities.allowedAdd", json!(name))).into_iter().collect()
}

fn seccomp(value: &Json) -> Vec<Ask> {
    let is_local = value.get("type").and_then(Json::as_str) == Some("Localhost");
    let profile = value.get("localhostProfile").and_then(Json::as_str).filter(|_| is_local);
    let add = |profile| Ask::Add("security.seccompProfiles", json!(format!("Localhost/{profile}")));
    profile.map(add).into_iter().collect()
}

fn writable_path(evidence: &Evidence) -> Vec<Ask> {
    if !evidence.remedy.contains("writablePaths") {
        return Vec::new();
    }
    let segments: Vec<&str> =
        evidence.value.as_str().unwrap_or_default().split('/').filter(|part| !part.is_empty()).collect();
    if segments.is_empty() {
        return Vec::new();
    }
    vec![Ask::Add("volumes.writablePaths", json!(format!("/{}", segments.join("/"))))]
}

fn volume(evidence: &Evidence) -> Vec<Ask> {
    let Evidence { path, value, .. } = evidence;
    if let Some(csi) = &evidence.csi_volume {
        return csi_driver(csi);
    }
    let field = |key: &str| value.get(key).unwrap_or(&Json::Null);
    let own_or = |key: &str| if value.is_string() { value } else { field(key) };
    let has_step = |kind: &str| path.split(['.', '[']).any(|step| step == kind);
    if has_step("configMap") {
        return name("volumes.configMap.names", own_or("name"));
    }
    if has_step("persistentVolumeClaim") {
        return name("volumes.persistentVolumeClaim.names", own_or("claimName"));
    }
    if has_step("secret") {
        let of_source = field("name");
        return name("secrets.volumes", if of_source.is_string() { of_source } else { own_or("secretName") });
    }
    if is_field(path, "downwardAPI") {
        return vec![Ask::Set("volumes.downwardAPI", json!(true))];
    }
    if is_field(path, "image") {
        return vec![Ask::Set("volumes.image", json!(true))];
    }
    if has_step("clusterTrustBundle") {
        let of_bundle = if field("name").is_string() { field("name") } else { own_or("signerName") };
        return name("volumes.projected.clusterTrustBundles", of_bundle);
    }
    if has_step("podCertificate") {
        return name("volumes.projected.podCertificateSigners", field("signerName"));
    }
    if has_step("ephemeral") {
        return ephemeral(evidence);
    }
    Vec::new()
}

fn ephemeral(evidence: &Evidence) -> Vec<Ask> {
    let Evidence { path, value, .. } = evidence;
    if path.ends_with("[storage]") {
        return amount("volumes.ephemeral.maxSize", None, value);
    }
    let class = match value {
        Json::String(class) => class.as_str(),
        Json::Object(_) => {
            let claim = value.get("volumeClaimTemplate").and_then(|template| template.get("spec"));
            claim.and_then(|claim| claim.get("storageClassName")).and_then(Json::as_str).unwrap_or_default()
        }
        // The cluster's default class, which the list has as the empty name.
        Json::Null if path.ends_with("storageClassName") => "",
        _ => return Vec::new(),
    };
    vec![Ask::Add("volumes.ephemeral.storageClasses", json!(class))]
}

fn csi_driver(csi: &Json) -> Vec<Ask> {
    let Some(driver) = csi.get("driver").and_then(Json::as_str) else { return Vec::new() };
    let attributes = csi.get("volumeAttributes").and_then(Json::as_object);
    let attributes: serde_json::Map<String, Json> =
        attributes.into_iter().flatten().map(|(key, value)| (key.clone(), json!([value]))).collect();
    let driver = if attributes.is_empty() {
        json!({"driver": driver})
    } else {
        json!({"driver": driver, "attributes": attributes})
    };
    vec![Ask::Add("volumes.csi", driver)]
}

/// The total is only in the text: `4500m cpu in total`.
fn pod_budget(evidence: &Evidence) -> Vec<Ask> {
    let total = evidence.found.strip_suffix(" in total").and_then(|total| total.split_once(' '));
    match total {
        Some((total, resource)) => amount("resources.pod.limits", Some(resource), &json!(total)),
        None => amount("resources.pod.limits", key_in(&evidence.path), &evidence.value),
    }
}

fn device(evidence: &Evidence) -> Vec<Ask> {
    let Evidence { path, value, found, runtime_class: class, .. } = evidence;
    let total = found.strip_suffix(" in total").and_then(|total| total.split_once(' '));
    let (resource, count) = if let Some((total, resource)) = total {
        (Some(resource), total.parse().ok())
    } else {
        let count = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        (key_in(path), count.and_then(|count| u32::try_from(count).ok()))
    };
    let (Some(resource), Some(count)) = (resource, count) else { return Vec::new() };
    if class.is_empty() || !evidence.remedy.contains("resources.extended") {
        return Vec::new();
    }
    vec![Ask::Device { resource: resource.into(), count, class: (*class).into() }]
}

fn claims(value: &Json) -> Vec<Ask> {
    const KEY: &str = "resources.resourceClaimTemplates";
    let templates = |claim: &Json| claim.get("resourceClaimTemplateName").cloned().unwrap_or_default();
    match value {
        Json::Array(claims) => claims.iter().flat_map(|claim| name(KEY, &templates(claim))).collect(),
        value => name(KEY, value),
    }
}

/// Returns the repository of an image, without tag and digest.
fn image(value: &Json) -> Vec<Ask> {
    let Some(image) = value.as_str() else { return Vec::new() };
    let image = image.split('@').next().unwrap_or_default();
    let repository = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    };
    name("images.allowed", &json!(repository))
}
