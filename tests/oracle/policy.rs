//! A policy document, read a second time: its defaults, its one merge law, its profiles and its exceptions.
//!
//! Nothing here is the engine's. The defaults are those of the design, the merge works on plain JSON.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{
    oracle::{
        SECTIONS, Section,
        images::Images,
        lifecycle::Lifecycle,
        metadata::{Annotations, Labels},
        placement::{Placement, RuntimeClass},
        resources::Resources,
        secrets::Secrets,
        security::Security,
        tokens::ServiceAccount,
        volumes::Volumes,
    },
    patterns::{is_image, is_name, is_one_of},
};

/// The default of every key that profiles may set.
pub(crate) static DEFAULTS: LazyLock<Json> = LazyLock::new(|| {
    let mut defaults = json!({"containers": [], "profiles": []});
    for Section { defaults: text, .. } in SECTIONS.iter().filter(|section| !section.defaults.is_empty()) {
        let own: Json = serde_saphyr::from_str(text).expect("the defaults of a subject are one YAML mapping");
        merge(&mut defaults, &own, "");
    }
    defaults
});

/// The keys that hold for a Pod or for a container, complete.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Keys {
    pub(crate) labels: Labels,
    pub(crate) annotations: Annotations,
    pub(crate) runtime_class: RuntimeClass,
    pub(crate) service_account: ServiceAccount,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) placement: Placement,
    pub(crate) security: Security,
    pub(crate) volumes: Volumes,
    pub(crate) secrets: Secrets,
    pub(crate) resources: Resources,
    pub(crate) images: Images,
}

/// A quantity as a policy writes it: a text or a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Json")]
pub(crate) struct Amount(pub(crate) String);

impl From<Json> for Amount {
    fn from(value: Json) -> Self {
        Self(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

/// The keys that hold for some containers of a Pod.
#[derive(Debug, Clone)]
pub(crate) struct Exception {
    images: Vec<String>,
    names: Vec<String>,
    kinds: Vec<String>,
    pub(crate) keys: Keys,
}

/// The keys that hold for some Pods of a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    matcher: Matcher,
    pub(crate) keys: Keys,
    pub(crate) exceptions: Vec<Exception>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Matcher {
    users: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    owners: Option<Vec<String>>,
    service_accounts: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    runtime_classes: Option<Vec<String>>,
    extended_resources: Option<Vec<String>>,
}

/// A policy, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    base: Profile,
    profiles: Vec<Profile>,
}

/// Who creates a Pod, as the API server authenticates it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Creator<'c> {
    pub(crate) user: &'c str,
    pub(crate) groups: &'c [&'c str],
}

impl Policy {
    /// Reads the `spec` of a policy. `find` gives the `spec` of a policy that it extends.
    pub(crate) fn read(spec: &Json, find: &dyn Fn(&str) -> Json) -> Self {
        let resolved = resolved(spec, find);
        let of = |profile: &Json| overlaid(&resolved, &profile["spec"]);
        let profiles = items(&resolved["profiles"])
            .map(|profile| Profile::read(&of(profile), &profile["match"]))
            .collect();
        Self { base: Profile::read(&resolved, &json!({})), profiles }
    }

    /// Returns the profile that a Pod gets: the first that matches, or else the policy's own keys.
    pub(crate) fn profile_of(&self, pod: &Pod, creator: Option<Creator>) -> &Profile {
        let found =
            self.profiles.iter().find(|profile| profile.matcher.matches(pod, creator, &self.base.keys));
        found.unwrap_or(&self.base)
    }
}

impl Policy {
    /// Returns true if some container may share the filled volume at `path` with others.
    pub(crate) fn shares(&self, path: &str) -> bool {
        let profiles = self.profiles.iter().chain([&self.base]);
        let mut keys = profiles.flat_map(|profile| {
            profile.exceptions.iter().map(|exception| &exception.keys).chain([&profile.keys])
        });
        keys.any(|keys| keys.volumes.filled.iter().any(|volume| volume.shared && volume.mount_path == path))
    }
}

impl Profile {
    fn read(spec: &Json, matcher: &Json) -> Self {
        let exceptions = items(&spec["containers"]).map(|exception| {
            let matcher = &exception["match"];
            let words = |key: &str, unset: &[&str]| match matcher.get(key) {
                Some(list) => items(list).filter_map(Json::as_str).map(str::to_owned).collect(),
                None => unset.iter().map(|word| (*word).to_owned()).collect(),
            };
            Exception {
                images: words("images", &[]),
                names: words("names", &["*"]),
                kinds: words("kinds", &["init", "sidecar", "app"]),
                keys: keys(&overlaid(spec, &exception["spec"])),
            }
        });
        Self {
            matcher: Matcher::deserialize(matcher).expect("the loader has read it"),
            keys: keys(spec),
            exceptions: exceptions.collect(),
        }
    }

    /// Returns the keys of a container; `kind` is `init`, `sidecar`, `app`, or `ephemeral`, which no exception is for.
    pub(crate) fn keys_of(&self, kind: &str, container: &Container) -> &Keys {
        let image = container.image.as_deref().unwrap_or_default();
        let mut fitting = self.exceptions.iter().filter(|exception| {
            exception.kinds.iter().any(|known| known == kind)
                && is_one_of(&exception.names, &container.name)
                && exception.images.iter().any(|pattern| is_image(pattern, image))
        });
        fitting.next().map_or(&self.keys, |exception| &exception.keys)
    }
}

fn keys(spec: &Json) -> Keys {
    Keys::deserialize(spec).unwrap_or_else(|error| panic!("{error} in {spec}"))
}

impl Matcher {
    fn matches(&self, pod: &Pod, creator: Option<Creator>, base: &Keys) -> bool {
        let spec = pod.spec.clone().unwrap_or_default();
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let label = |key: &String| labels.get(key).or_else(|| base.labels.required.get(key));
        let class = spec.runtime_class_name.clone().filter(|name| !name.is_empty());
        let class = class.unwrap_or_else(|| base.runtime_class.default.clone());
        let account =
            spec.service_account_name.clone().filter(|name| !matches!(name.as_str(), "" | "default"));
        let account = account.or_else(|| base.service_account.default.clone());
        let account = account.unwrap_or_else(|| "default".into());
        let mut controllers =
            pod.metadata.owner_references.iter().flatten().filter(|owner| owner.controller == Some(true));
        let controller = controllers.next().map(|owner| match owner.api_version.split_once('/') {
            Some((group, _)) => format!("{}.{group}", owner.kind),
            None => owner.kind.clone(),
        });
        let asked = asked_for(pod);
        let holds = [
            self.users.as_ref().map(|users| creator.is_some_and(|creator| is_one_of(users, creator.user))),
            self.groups.as_ref().map(|groups| {
                creator.is_some_and(|creator| creator.groups.iter().any(|group| is_one_of(groups, group)))
            }),
            self.owners.as_ref().map(|owners| controller.is_some_and(|kind| owners.contains(&kind))),
            self.service_accounts.as_ref().map(|accounts| is_one_of(accounts, &account)),
            self.labels.as_ref().map(|wanted| {
                wanted.iter().all(|(key, pattern)| label(key).is_some_and(|value| is_name(pattern, value)))
            }),
            self.runtime_classes.as_ref().map(|classes| is_one_of(classes, &class)),
            self.extended_resources.as_ref().map(|names| names.iter().any(|name| asked.contains(name))),
        ];
        holds.into_iter().flatten().all(|holds| holds)
    }
}

/// The resources that a Pod or one of its containers names.
fn asked_for(pod: &Pod) -> Vec<String> {
    fn collect(value: &Json, names: &mut Vec<String>) {
        for kind in ["limits", "requests"] {
            names
                .extend(value["resources"][kind].as_object().into_iter().flat_map(|all| all.keys().cloned()));
        }
    }
    let pod = serde_json::to_value(pod).expect("a Pod is JSON");
    let mut names = Vec::new();
    collect(&pod["spec"], &mut names);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        items(&pod["spec"][list]).for_each(|container| collect(container, &mut names));
    }
    names
}

/// What a policy does not inherit.
const OWN_KEYS: [&str; 8] =
    ["extends", "add", "namespaces", "namespaceSelector", "mode", "rules", "candidate", "exempt"];

/// The mappings with keys of the policy's own: a value takes the place of the whole mapping.
pub(crate) const REPLACED: [&str; 3] = ["labels.required", "env", "resources.extended"];

fn resolved(spec: &Json, find: &dyn Fn(&str) -> Json) -> Json {
    let base = match spec["extends"].as_str() {
        Some(name) if !name.is_empty() => resolved(&find(name), find),
        _ => DEFAULTS.clone(),
    };
    overlaid(&base, spec)
}

/// `base`, with what `own` writes instead, and what it adds at the end.
fn overlaid(base: &Json, own: &Json) -> Json {
    let mut merged = base.clone();
    let mut written = own.clone();
    if let Some(written) = written.as_object_mut() {
        for key in OWN_KEYS {
            written.remove(key);
        }
        merge(&mut merged, &Json::Object(written.clone()), "");
    }
    add(&mut merged, &own["add"]);
    merged
}

fn merge(base: &mut Json, own: &Json, path: &str) {
    let (Json::Object(fields), Json::Object(own_fields)) = (&mut *base, own) else {
        *base = own.clone();
        return;
    };
    if REPLACED.contains(&path) {
        *base = own.clone();
        return;
    }
    for (key, value) in own_fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        merge(fields.entry(key).or_insert(Json::Null), value, &path);
    }
}

fn add(base: &mut Json, more: &Json) {
    match (base, more) {
        (Json::Array(list), Json::Array(more)) => {
            for item in more {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
        }
        (Json::Object(fields), Json::Object(more)) => {
            for (key, value) in more {
                add(fields.entry(key).or_insert(Json::Null), value);
            }
        }
        _ => {}
    }
}

fn items(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

/// The default policy.
pub(crate) static DEFAULT: LazyLock<Policy> = LazyLock::new(|| Policy::read(&json!({}), &|_| json!({})));

#[test]
fn mappings_merge_and_lists_are_replaced_or_appended() {
    let presets = |_: &str| json!({"volumes": {"writablePaths": ["/a"]}, "labels": {"required": {"x": "1"}}});
    let spec = |own: Json| Policy::read(&own, &presets).base.keys;
    let replaced = spec(json!({"extends": "p", "volumes": {"writablePaths": ["/b"]}}));
    assert_eq!(replaced.volumes.writable_paths, ["/b"]);
    assert_eq!(replaced.volumes.empty_dir.max_size.0, "10Gi", "what is beside it stays");
    let appended = spec(json!({"extends": "p", "add": {"volumes": {"writablePaths": ["/b", "/a"]}}}));
    assert_eq!(appended.volumes.writable_paths, ["/a", "/b"]);
    let without = spec(json!({"extends": "p", "labels": {"required": {}}}));
    assert!(without.labels.required.is_empty(), "a mapping with keys of one's own is replaced");
}
