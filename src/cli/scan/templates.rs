//! Workload templates beside their Pods: what the next Pods of an object would be denied for.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    cluster::{ApiResource, Cluster, Cursor, Labels, Page, Scope, ServedKind},
    policy_of,
    tally::{Line, Tally},
};
use crate::cli::CliError;
use sandgate_engine::{
    json::pod_from_str,
    policy::{Level, PolicySet},
    review::LeveledViolations,
    templates::{StoredTemplates, check_stored},
    workload::{KINDS, Templates, WorkloadKind},
};

/// A workload whose Pods would be denied, or warned of, or recorded.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TemplateFinding {
    pub(super) namespace: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) policy: String,
    /// True if a Pod would be denied; else it would be warned of or recorded.
    pub(super) is_denied: bool,
    /// The violations, at the paths of the workload.
    pub(super) violations: Vec<Line>,
}

/// The part of an object that is read beside its tree.
#[derive(Deserialize)]
struct Head<'o> {
    #[serde(borrow)]
    metadata: HeadMetadata<'o>,
    #[serde(default)]
    status: HeadStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMetadata<'o> {
    #[serde(borrow)]
    name: Cow<'o, str>,
    #[serde(borrow)]
    namespace: Cow<'o, str>,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerReference {
    #[serde(default)]
    controller: bool,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

impl OwnerReference {
    /// Returns true if the owner is listed too, and has the template itself.
    fn has_template(&self) -> bool {
        self.controller
            && WorkloadKind::of_version(&self.api_version, &self.kind).is_some_and(has_own_templates)
    }
}

#[derive(Default, Deserialize)]
struct HeadStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
}

impl Head<'_> {
    /// Returns true if the object makes Pods of its own accord: no object that is listed too has the template, and it has not
    /// ended.
    fn is_origin(&self) -> bool {
        let has_ended = |condition: &Condition| {
            matches!(&*condition.kind, "Complete" | "Failed") && condition.status == "True"
        };
        !self.metadata.owner_references.iter().any(OwnerReference::has_template)
            && !self.status.conditions.iter().any(has_ended)
    }
}

/// Adds the workloads of every kind that the cluster serves.
pub(super) async fn add(
    cluster: &Cluster,
    scope: Scope<'_>,
    policies: &PolicySet,
    labels: &Labels,
    tally: &mut Tally,
) -> Result<(), CliError> {
    for ServedKind { kind, resource, is_namespaced } in served_kinds(cluster).await? {
        if !is_namespaced {
            tally.kinds_of_cluster.insert(kind);
            continue;
        }
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let Page { pods: objects, next: following, .. } =
                cluster.objects(&resource, scope, "", cursor).await?;
            for object in &objects {
                add_object(&kind, &resource, object, policies, labels, tally)?;
            }
            next = following;
        }
    }
    Ok(())
}

/// Returns true if the objects of a kind have Pod templates.
fn has_own_templates(kind: &WorkloadKind) -> bool {
    !matches!(kind.templates, Templates::Whole | Templates::Reference(..))
}

/// Returns the kinds with Pod templates that the cluster serves, each in one version: a known one if it is served, else the
/// one that the API server prefers.
async fn served_kinds(cluster: &Cluster) -> Result<Vec<ServedKind>, CliError> {
    let served = cluster.groups().await?;
    let mut of_versions: BTreeMap<(&str, &str), Vec<ServedKind>> = BTreeMap::new();
    let mut found = Vec::new();
    for known in KINDS.iter().filter(|known| has_own_templates(known)) {
        let Some(versions) = served.get(known.group) else { continue };
        let is_known = |version: &&String| known.versions.contains(&version.as_str());
        let in_order = versions.iter().filter(is_known).chain(versions.iter().filter(|v| !is_known(v)));
        for version in in_order {
            let of_version = match of_versions.entry((known.group, version)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(cluster.kinds(known.group, version).await?),
            };
            if let Some(of_kind) = of_version.iter().find(|of_kind| of_kind.kind == known.kind) {
                found.push(of_kind.clone());
                break;
            }
        }
    }
    Ok(found)
}

fn add_object(
    kind: &str,
    resource: &ApiResource,
    object: &RawValue,
    policies: &PolicySet,
    labels: &Labels,
    tally: &mut Tally,
) -> Result<(), CliError> {
    let unreadable = |error: serde_json::Error| {
        CliError::new(format_args!(
            "a {kind} cannot be read: {error}; report it with the version of the API server"
        ))
    };
    let head: Head = serde_json::from_str(object.get()).map_err(unreadable)?;
    let HeadMetadata { name, namespace, .. } = &head.metadata;
    if !head.is_origin() {
        return Ok(());
    }
    let Some(policy) = policy_of(policies, labels, namespace) else {
        tally.add_template_without_policy(namespace);
        return Ok(());
    };
    // Items of a list do not have them.
    let ApiResource { group, version, .. } = resource;
    let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    let mut whole: Value = serde_json::from_str(object.get()).map_err(unreadable)?;
    whole["apiVersion"] = api_version.into();
    whole["kind"] = kind.into();
    let text = whole.to_string();
    let tree = pod_from_str(&text).map_err(unreadable)?;
    let StoredTemplates { violations, unchecked } = check_stored(policy, &tree, namespace);
    if unchecked.is_empty() {
        tally.templates_checked += 1;
    } else {
        tally.add_unchecked_template(&format!("{kind} {namespace}/{name}"), &unchecked);
    }
    let all = violations.iter().flat_map(LeveledViolations::with_level);
    let (mut lines, mut is_denied): (Vec<Line>, bool) = (Vec::new(), false);
    for (level, violation) in all {
        is_denied |= level == Level::Enforce;
        let line = Line::of(violation);
        if !lines.iter().any(|known| known.rule == line.rule && known.path == line.path) {
            lines.push(line);
        }
    }
    if !lines.is_empty() {
        tally.add_template(TemplateFinding {
            namespace: namespace.to_string(),
            kind: kind.to_owned(),
            name: name.to_string(),
            policy: policy.name.clone(),
            is_denied,
            violations: lines,
        });
    }
    Ok(())
}

impl TemplateFinding {
    /// Returns what becomes of the next Pods.
    pub(super) fn verdict(&self) -> &'static str {
        if self.is_denied {
            "its next Pods would be denied"
        } else {
            "its next Pods would be warned of or recorded"
        }
    }
}
