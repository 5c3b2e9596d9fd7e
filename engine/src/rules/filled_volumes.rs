//! The emptyDir volumes that the policy gives to containers with a read-only root.
//!
//! Unless a volume is `shared`, no container reaches what another one got. The only container of a Pod mounts the whole
//! volume; of several, each mounts the sub-path of its own name. A volume that the Pod has already is mounted only if it
//! is an emptyDir of the same size, and no container mounts it or it is used in just this way, as one that an earlier round
//! of admission filled is; else another name is taken.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    empty_dir::is_empty_dir,
    helpers::{amount, has_read_only_root},
};
use crate::{
    json::{Object, Value},
    pod::{Quantity, each_container_mut, spec, spec_mut},
    policy::{FilledVolume, Profile, is_same_path},
};

/// The longest name of a volume, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// A volume that the container of this number, in the order of [`each_container_mut`], lacks.
struct Need<'a> {
    container: usize,
    volume: &'a FilledVolume,
}

/// The name under which the volumes of one need, and of all that are equal to it, are mounted.
struct Placed<'a> {
    volume: &'a FilledVolume,
    name: Cow<'a, str>,
    /// True if the Pod had no such volume.
    is_new: bool,
}

/// Mounts the policy's volumes where a container has no mount, and adds those that the Pod lacks; returns how many
/// mounts and volumes it added.
pub(super) fn fill_volumes<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let mut needs: Vec<Need> = Vec::new();
    let mut containers = 0;
    each_container_mut(pod, profile, |_, container, spec| {
        let missing = spec.volumes.filled.iter().filter(|volume| lacks(container, volume));
        needs.extend(missing.map(|volume| Need { container: containers, volume }));
        containers += 1;
    });
    if needs.is_empty() {
        return 0;
    }
    let is_alone = containers == 1;
    let placed = place(&needs, pod, is_alone);

    let mut filled = 0;
    let mut number = 0;
    let mut needs = needs.into_iter().peekable();
    each_container_mut(pod, profile, |_, container, _| {
        while let Some(need) = needs.next_if(|need| need.container == number) {
            let place = placed.iter().find(|placed| placed.volume == need.volume);
            let is_whole = is_alone || need.volume.shared;
            filled += usize::from(place.is_some_and(|place| mount(container, place, is_whole)));
        }
        number += 1;
    });
    let Some(volumes) = spec_mut(pod).filter(|_| filled > 0).and_then(|pod| pod.list_mut("volumes")) else {
        return filled;
    };
    for Placed { volume, name, .. } in placed.into_iter().filter(|placed| placed.is_new) {
        let dir = Object::from([("sizeLimit", volume.size_limit.text.as_str())]);
        let mut added = Object::default();
        added.set("name", Value::String(name));
        added.set("emptyDir", dir);
        volumes.push(added);
        filled += 1;
    }
    filled
}

/// Returns true if the container has a read-only root and no mount at the path of `volume`. A container without a name
/// gets nothing: the API server rejects it, and its sub-path would be the whole volume.
fn lacks(container: &Object, volume: &FilledVolume) -> bool {
    let is_there = |mount: &Object| {
        mount.str("mountPath").is_some_and(|path| is_same_path(path, volume.mount_path.as_str()))
    };
    has_read_only_root(container)
        && container.str("name").is_some_and(|name| !name.is_empty())
        && !container.objects("volumeMounts").any(|(_, mount)| is_there(mount))
}

/// Mounts what was placed; returns false if the mounts of the container are no list.
fn mount<'a>(container: &mut Object<'a>, placed: &Placed<'a>, is_whole: bool) -> bool {
    let own_name = container.str("name").unwrap_or_default().to_owned();
    let Some(mounts) = container.list_mut("volumeMounts") else { return false };
    let mut mount = Object::default();
    mount.set("name", Value::String(placed.name.clone()));
    mount.set("mountPath", placed.volume.mount_path.as_str());
    if !is_whole {
        mount.set("subPath", own_name);
    }
    mounts.push(mount);
    true
}

/// Finds a name for each volume that is needed.
fn place<'a>(needs: &[Need<'a>], pod: &Value<'a>, is_alone: bool) -> Vec<Placed<'a>> {
    let mut uses = volume_uses(pod);
    let mut placed: Vec<Placed> = Vec::new();
    for &Need { volume, .. } in needs {
        if placed.iter().any(|placed| placed.volume == volume) {
            continue;
        }
        // Names end, since the Pod's volumes do.
        let taken = |name: &Cow<str>| match uses.get(name.as_ref()) {
            None => false,
            Some(found) => !found.can_be(volume, is_alone),
        };
        let Some(name) = (0..=uses.len()).map(|attempt| candidate(volume, attempt)).find(|name| !taken(name))
        else {
            continue;
        };
        let is_new = !uses.contains_key(name.as_ref());
        // What is placed under a name is no volume for another need.
        uses.insert(name.clone(), MountedVolume::default());
        placed.push(Placed { volume, name, is_new });
    }
    placed
}

/// Returns the name of the policy, then others; they differ in their first bytes, so that cutting keeps them apart.
fn candidate(volume: &FilledVolume, attempt: usize) -> Cow<'_, str> {
    let mut name = match attempt {
        0 => return Cow::Borrowed(&volume.name),
        1 => format!("sandgate-{}", volume.name),
        _ => format!("sandgate-{attempt}-{}", volume.name),
    };
    name.truncate(MAX_NAME_BYTES);
    name.truncate(name.trim_end_matches('-').len());
    Cow::Owned(name)
}

/// The mount of a volume of the Pod.
#[derive(Default)]
struct MountedVolume<'p> {
    /// The size, if it is an emptyDir on disk.
    size: Option<Quantity>,
    /// True if a container mounts something else of it than the sub-path of its own name.
    is_mixed: bool,
    /// True if a container mounts a sub-path of it.
    has_sub_paths: bool,
    /// The places where it is mounted: none, one, or several.
    path: Option<&'p str>,
    has_several_paths: bool,
}

impl MountedVolume<'_> {
    /// Returns true if the volume is used as the fill would use it, so that mounting it hands nothing over.
    fn can_be(&self, volume: &FilledVolume, is_alone: bool) -> bool {
        if self.size != Some(volume.size_limit.value) {
            return false;
        }
        // Nothing reaches it. So is a template whose containers were written anew after a fill, which kept its volumes.
        if self.path.is_none() {
            return true;
        }
        if volume.shared {
            let is_there = self.path.is_some_and(|path| is_same_path(path, volume.mount_path.as_str()));
            return is_there && !self.has_sub_paths && !self.has_several_paths;
        }
        // The only container takes the whole volume: that is its own already, however it is mounted.
        self.path.is_some() && !self.is_mixed && !is_alone
    }
}

fn volume_uses<'p, 'a>(pod: &'p Value<'a>) -> BTreeMap<Cow<'a, str>, MountedVolume<'p>> {
    let pod_spec = spec(pod);
    let mut uses: BTreeMap<Cow<str>, MountedVolume> = BTreeMap::new();
    for (_, volume) in pod_spec.objects("volumes") {
        let Some(name) = volume.str("name") else { continue };
        let dir = volume.object("emptyDir").filter(|dir| dir.get("medium").is_none());
        let size = dir.filter(|_| is_empty_dir(volume)).and_then(|dir| amount(dir.get("sizeLimit")));
        uses.insert(Cow::Owned(name.to_owned()), MountedVolume { size, ..MountedVolume::default() });
    }
    for container in crate::pod::containers(pod) {
        let own_name = container.str("name");
        for (_, mount) in container.objects("volumeMounts") {
            let Some(name) = mount.str("name") else { continue };
            // A name that is mounted and not declared is taken too: a volume of that name would come under this mount.
            let found = uses.entry(Cow::Owned(name.to_owned())).or_default();
            let sub_path = mount.str("subPath").filter(|path| !path.is_empty());
            let has_expression = mount.get("subPathExpr").is_some();
            found.is_mixed |= has_expression || sub_path.is_none() || sub_path != own_name;
            found.has_sub_paths |= has_expression || sub_path.is_some();
            let path = mount.str("mountPath").unwrap_or_default();
            found.has_several_paths |= found.path.is_some_and(|known| !is_same_path(known, path));
            found.path = found.path.or(Some(path));
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    fn bare(names: &[&str]) -> Json {
        let mut pod = plain_pod();
        pod["spec"]["containers"] = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        pod
    }

    #[test]
    fn name_that_is_mounted_and_not_declared_is_taken() {
        let mut pod = bare(&["user", "sidecar"]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "tmp", "mountPath": "/tmp/all"}]);
        let pod = filled(&pod);
        assert!(mounts(&pod, "containers", 1).contains(&"sandgate-tmp/sidecar:/tmp".to_string()), "{pod}");
        let declared: Vec<&str> = pod["spec"]["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|volume| volume["name"].as_str())
            .collect();
        assert!(!declared.contains(&"tmp"), "nothing comes under the mount of that name: {declared:?}");
    }

    /// The mounts of a container, as `volume:path` or `volume/sub-path:path`.
    fn mounts(pod: &Json, list: &str, index: usize) -> Vec<String> {
        let mounts = pod["spec"][list][index]["volumeMounts"].as_array().cloned().unwrap_or_default();
        let text = |mount: &Json| {
            let sub_path = mount["subPath"].as_str().map(|path| format!("/{path}")).unwrap_or_default();
            format!("{}{sub_path}:{}", mount["name"].as_str().unwrap(), mount["mountPath"].as_str().unwrap())
        };
        mounts.iter().map(text).collect()
    }

    fn volumes(pod: &Json) -> Vec<&str> {
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        volumes.iter().map(|volume| volume["name"].as_str().unwrap()).collect()
    }

    fn only_tmp(more: &str) -> Spec {
        spec(&format!("{{volumes: {{filled: [{{name: tmp, mountPath: /tmp, sizeLimit: 1Gi{more}}}]}}}}"))
    }

    fn with_volume(pod: &mut Json, volume: &Json) {
        pod["spec"]["volumes"] = json!([volume]);
    }

    #[test]
    fn only_container_gets_the_whole_volume() {
        let pod = filled(&bare(&["a"]));
        assert_eq!(mounts(&pod, "containers", 0), ["workspace:/workspace", "tmp:/tmp"]);
        assert_eq!(
            pod["spec"]["volumes"],
            json!([
                {"name": "workspace", "emptyDir": {"sizeLimit": "10Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}
            ])
        );
    }

    #[test]
    fn of_several_containers_each_gets_a_sub_path_of_its_own() {
        let mut pod = bare(&["a", "b"]);
        pod["spec"]["initContainers"] = json!([{"name": "c", "image": "i"}]);
        let pod = filled(&pod);
        assert_eq!(mounts(&pod, "containers", 0), ["workspace/a:/workspace", "tmp/a:/tmp"]);
        assert_eq!(mounts(&pod, "containers", 1), ["workspace/b:/workspace", "tmp/b:/tmp"]);
        assert_eq!(mounts(&pod, "initContainers", 0), ["workspace/c:/workspace", "tmp/c:/tmp"]);
        assert_eq!(volumes(&pod), ["workspace", "tmp"]);
        assert_eq!(violations(&pod), Vec::<String>::new());
        assert_eq!(filled(&pod), pod);
    }

    #[test]
    fn container_that_comes_later_reaches_nothing_of_the_others() {
        let late = |pod: &Json, name: &str| {
            let mut pod = pod.clone();
            pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": name, "image": "i"}));
            let pod = filled(&pod);
            assert_eq!(violations(&pod), Vec::<String>::new());
            assert_eq!(filled(&pod), pod);
            pod
        };
        let pod = late(&late(&filled(&bare(&["a"])), "b"), "c");
        assert_eq!(mounts(&pod, "containers", 0), ["workspace:/workspace", "tmp:/tmp"]);
        assert_eq!(mounts(&pod, "containers", 1), ["sandgate-workspace/b:/workspace", "sandgate-tmp/b:/tmp"]);
        assert_eq!(mounts(&pod, "containers", 2), ["sandgate-workspace/c:/workspace", "sandgate-tmp/c:/tmp"]);
        let pod = late(&filled(&bare(&["a", "b"])), "c");
        assert_eq!(mounts(&pod, "containers", 2), ["workspace/c:/workspace", "tmp/c:/tmp"]);
        assert_eq!(volumes(&pod), ["workspace", "tmp"]);
    }

    #[test]
    fn volume_of_the_pods_own_is_never_mounted() {
        let secret = json!({"name": "tmp", "secret": {"secretName": "s3"}});
        let dir = json!({"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}});
        let memory = json!({"name": "tmp", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}});
        let larger = json!({"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}});
        for (volume, mount) in [
            (&secret, json!({"name": "tmp", "mountPath": "/creds", "subPath": "b"})),
            (&dir, json!({"name": "tmp", "mountPath": "/creds"})),
            (&dir, json!({"name": "tmp", "mountPath": "/tmp", "subPath": "a"})),
            (&dir, json!({"name": "tmp", "mountPath": "/tmp", "subPath": "b", "subPathExpr": "$(X)"})),
            (&dir, json!({"name": "tmp", "mountPath": "/tmp/b"})),
            (&memory, json!({"name": "tmp", "mountPath": "/tmp", "subPath": "b"})),
            (&larger, json!({"name": "tmp", "mountPath": "/tmp", "subPath": "b"})),
        ] {
            for more in ["", ", shared: true"] {
                let mut pod = bare(&["a", "b"]);
                with_volume(&mut pod, volume);
                pod["spec"]["containers"][1]["volumeMounts"] = json!([mount]);
                let pod = filled_by(&only_tmp(more), &pod);
                let found = mounts(&pod, "containers", 0);
                assert!(found[0].starts_with("sandgate-tmp"), "{volume} {mount}: {found:?}");
            }
        }
    }

    #[test]
    fn volume_of_the_pods_own_that_nothing_mounts_is_not_mounted() {
        for names in [&["a"][..], &["a", "b"]] {
            for more in ["", ", shared: true"] {
                let mut pod = bare(names);
                with_volume(&mut pod, &json!({"name": "tmp", "persistentVolumeClaim": {"claimName": "c"}}));
                let pod = filled_by(&only_tmp(more), &pod);
                assert!(mounts(&pod, "containers", 0)[0].starts_with("sandgate-tmp"), "{names:?}{more}");
            }
        }
    }

    #[test]
    fn volume_that_was_filled_is_mounted_again_after_the_containers_were_replaced() {
        for names in [&["a"][..], &["a", "b"]] {
            for more in ["", ", shared: true"] {
                let once = filled_by(&only_tmp(more), &bare(names));
                let mut replaced = once.clone();
                replaced["spec"]["containers"] = bare(names)["spec"]["containers"].clone();
                assert_eq!(filled_by(&only_tmp(more), &replaced)["spec"], once["spec"], "{names:?}{more}");
            }
        }
    }

    #[test]
    fn further_names_are_found_where_all_are_taken() {
        let mut pod = bare(&["a"]);
        pod["spec"]["volumes"] = ["tmp", "sandgate-tmp", "sandgate-2-tmp"]
            .iter()
            .map(|name| json!({"name": name, "secret": {"secretName": "s"}}))
            .collect();
        let pod = filled_by(&only_tmp(""), &pod);
        assert_eq!(mounts(&pod, "containers", 0), ["sandgate-3-tmp:/tmp"]);
    }

    #[test]
    fn long_name_is_cut_and_stays_a_name() {
        let name = format!("{}-{}", "a".repeat(40), "b".repeat(12));
        let spec =
            spec(&format!("{{volumes: {{filled: [{{name: {name}, mountPath: /x, sizeLimit: 1Gi}}]}}}}"));
        let mut pod = bare(&["a"]);
        pod["spec"]["volumes"] = [name.clone(), format!("sandgate-{name}"), "x".into()]
            .iter()
            .map(|name| json!({"name": name, "secret": {"secretName": "s"}}))
            .collect();
        let pod = filled_by(&spec, &pod);
        let found = pod["spec"]["volumes"][3]["name"].as_str().unwrap();
        assert!(found.len() <= 63 && found.starts_with("sandgate-2-aaa"), "{found}");
    }

    #[test]
    fn shared_volume_is_one_for_all_containers() {
        let spec = only_tmp(", shared: true");
        let pod = filled_by(&spec, &bare(&["a", "b"]));
        for index in 0..2 {
            assert_eq!(mounts(&pod, "containers", index), ["tmp:/tmp"]);
        }
        let mut later = pod.clone();
        later["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "c", "image": "i"}));
        let later = filled_by(&spec, &later);
        assert_eq!(mounts(&later, "containers", 2), ["tmp:/tmp"]);
        assert_eq!(volumes(&later), ["tmp"]);
    }

    #[test]
    fn mount_of_the_containers_own_stays() {
        for path in ["/workspace/", "//workspace", "/./workspace"] {
            accepts(|pod| {
                pod["spec"]["volumes"][0]["name"] = json!("mine");
                pod["spec"]["containers"][0]["volumeMounts"][0] = json!({"name": "mine", "mountPath": path});
            });
        }
    }

    #[test]
    fn container_with_a_writable_root_gets_nothing() {
        let open = spec("{security: {readOnlyRootFilesystem: false}}");
        let pod = filled_by(&open, &bare(&["a"]));
        assert_eq!(mounts(&pod, "containers", 0), Vec::<String>::new());
        assert_eq!(pod["spec"].get("volumes"), None);
        let mut pod = bare(&["a", "b"]);
        pod["spec"]["containers"][1]["securityContext"] = json!({"readOnlyRootFilesystem": true});
        let pod = filled_by(&open, &pod);
        assert_eq!(mounts(&pod, "containers", 0), Vec::<String>::new());
        assert_eq!(mounts(&pod, "containers", 1), ["workspace/b:/workspace", "tmp/b:/tmp"]);
    }

    #[test]
    fn exception_has_filled_volumes_of_its_own() {
        let policy = policy(
            "{containers: [{name: agent, match: {images: [registry.example.com/agent]}, spec: {volumes: {filled: \
             [{name: tmp, mountPath: /tmp, sizeLimit: 2Gi}, {name: agent, mountPath: /agent, sizeLimit: 1Gi}]}}}]}",
        );
        let mut pod = bare(&["a", "agent"]);
        pod["spec"]["containers"][1]["image"] = json!("registry.example.com/agent:1");
        let text = pod.to_string();
        let mut tree = crate::json::pod_from_str(&text).unwrap();
        crate::rules::fill(policy.base(), &mut tree);
        let pod = serde_json::to_value(&tree).unwrap();
        assert_eq!(mounts(&pod, "containers", 0), ["workspace/a:/workspace", "tmp/a:/tmp"]);
        assert_eq!(mounts(&pod, "containers", 1), ["sandgate-tmp/agent:/tmp", "agent/agent:/agent"]);
        assert!(crate::rules::check(policy.base(), &tree).is_empty());
    }

    /// A container of some name with mounts of some volumes: all that the fill could take for its own.
    fn containers() -> impl Strategy<Value = Vec<Json>> {
        let mount = (0..3usize, 0..2usize, 0..5usize).prop_map(|(volume, path, sub_path)| {
            let name = ["tmp", "sandgate-tmp", "other"][volume];
            let mut mount = json!({"name": name, "mountPath": (["/tmp", "/x"][path])});
            if let Some(sub_path) = ["a", "b", "c", "late"].get(sub_path) {
                mount["subPath"] = json!(sub_path);
            }
            mount
        });
        let mounts = prop::collection::vec(mount, 0..3);
        prop::collection::vec(mounts, 1..4).prop_map(|all| {
            let name = |index: usize| ["a", "b", "c"][index];
            let container =
                |(index, mounts)| json!({"name": name(index), "image": "i", "volumeMounts": mounts});
            all.into_iter().enumerate().map(container).collect()
        })
    }

    /// The parts of volumes that the containers mount: container, volume, sub-path.
    fn parts(pod: &Json) -> Vec<(String, String, String)> {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let containers = pod["spec"]["containers"].as_array().unwrap().iter();
        let of_container = |container: &Json| {
            let name = text(&container["name"]);
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            mounts
                .iter()
                .map(|mount| (name.clone(), text(&mount["name"]), text(&mount["subPath"])))
                .collect::<Vec<_>>()
        };
        containers.flat_map(of_container).collect()
    }

    proptest! {
        #[test]
        fn nothing_that_is_filled_is_reached_by_another_container(containers in containers(), is_dir in any::<bool>()) {
            let mut pod = plain_pod();
            let source = if is_dir { "emptyDir" } else { "persistentVolumeClaim" };
            let volume = |name: &str| json!({"name": name, source: {"sizeLimit": "1Gi"}});
            pod["spec"]["volumes"] = ["tmp", "sandgate-tmp"].into_iter().map(volume).collect();
            pod["spec"]["containers"] = containers.into();
            let spec = only_tmp("");
            let mut filled = Vec::new();
            for name in ["late", "later"] {
                let before = parts(&pod);
                pod = filled_by(&spec, &pod);
                filled.extend(parts(&pod).into_iter().filter(|part| !before.contains(part)));
                pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": name, "image": "i"}));
            }
            pod = filled_by(&spec, &pod);
            filled.extend(parts(&pod).into_iter().filter(|(container, ..)| container == "later"));
            prop_assert!(filled.len() >= 2, "the late containers get a volume: {:?}", filled);
            let all = parts(&pod);
            for (container, volume, part) in &filled {
                for (other, of, mounted) in &all {
                    let meets = part.is_empty() || mounted.is_empty() || part == mounted;
                    prop_assert!(other == container || of != volume || !meets, "{} {:?}", pod, filled);
                }
            }
        }
    }
}
