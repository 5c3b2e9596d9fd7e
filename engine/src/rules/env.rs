//! The environment variables that the policy gives to containers.

use std::{collections::HashMap, hash::Hash, iter};

use super::{Group, Rule};
use crate::{
    json::{Object, Value},
    pod::{Container, Pod, each_container_mut},
    policy::Profile,
};

pub(super) static ENV: Rule = Rule {
    id: "env",
    group: Group::Secrets,
    title: "Containers have the policy's environment variables unless they set them.",
    why: "A program that runs as another user than its image expects often finds its home folder read-only; a policy \
          can set HOME and the like. A variable is filled where a container does not set it. A container with \
          envFrom is left alone, because a filled variable would win over one that comes from there. HOME is not \
          filled where it would lie on a volume that another container mounts. Nothing is denied.",
    references: &[
        "https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/",
    ],
    setting: "spec.env",
    fill: Some(fill_env),
    check: |_, _, _| {},
    cel: Some(|_| Vec::new()),
};

/// The variable of the folder that programs read their settings from.
const HOME: &str = "HOME";

fn fill_env<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let shared_homes = shared_homes(profile, pod);
    let mut filled = 0;
    let mut position = 0;
    each_container_mut(pod, profile, |_, container, spec| {
        let has_shared_home = shared_homes.get(position) == Some(&true);
        position += 1;
        if container.list("envFrom").next().is_some() {
            return;
        }
        for (name, value) in &spec.env {
            if sets(container, name) || (name == HOME && has_shared_home) {
                continue;
            }
            let Some(variables) = container.list_mut("env") else { return };
            variables.push(Object::from([("name", name.as_str()), ("value", value.as_str())]));
            filled += 1;
        }
    });
    filled
}

/// Returns for each container whether the policy's HOME would lie on a volume that another container of the Pod
/// reaches, where that one could leave settings for programs of this one. Empty if the policy has no HOME.
fn shared_homes(profile: &Profile, pod: &Value) -> Vec<bool> {
    let mut specs =
        iter::once(&profile.spec).chain(profile.exceptions.iter().map(|exception| &exception.spec));
    if !specs.any(|spec| spec.env.contains_key(HOME)) {
        return Vec::new();
    }
    let pod = Pod::of(pod, profile);
    let reached = Reached::of(&pod);
    let is_shared = |(position, container): (usize, &Container)| {
        let mount = container.spec.env.get(HOME).and_then(|home| mount_of(container, home));
        mount.is_some_and(|mount| reached.is_shared(mount, position))
    };
    pod.containers.iter().enumerate().map(is_shared).collect()
}

/// Returns the mount that `path` lies on: the innermost one.
fn mount_of<'p, 'a>(container: &Container<'p, 'a>, path: &str) -> Option<&'p Object<'a>> {
    let mounts = container.object.objects("volumeMounts").map(|(_, mount)| mount);
    let covering = mounts.filter_map(|mount| {
        let folder = mount.str("mountPath")?;
        let mut path = segments(path);
        let covers = segments(folder).all(|segment| path.next() == Some(segment));
        covers.then(|| (segments(folder).count(), mount))
    });
    covering.max_by_key(|(depth, _)| *depth).map(|(_, mount)| mount)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !matches!(*segment, "" | "."))
}

/// The containers that reach a part of a volume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    One(usize),
    Several,
}

/// The parts of volumes that containers mount: a volume as a whole, and folders of it.
#[derive(Default)]
struct Reached<'p> {
    /// Those that mount a volume in any way, by its name.
    any: HashMap<&'p str, Readers>,
    /// Those that mount more than one folder of it.
    whole: HashMap<&'p str, Readers>,
    /// Those that mount the folder, by the names of volume and folder.
    folders: HashMap<(&'p str, &'p str), Readers>,
}

impl<'p> Reached<'p> {
    fn of(pod: &Pod<'p, '_>) -> Self {
        let mut reached = Self::default();
        for (position, container) in pod.containers.iter().enumerate() {
            for (_, mount) in container.object.objects("volumeMounts") {
                let volume = mount.str("name").unwrap_or_default();
                add(&mut reached.any, volume, position);
                match folder_of(mount) {
                    Some(folder) => add(&mut reached.folders, (volume, folder), position),
                    None => add(&mut reached.whole, volume, position),
                }
            }
        }
        reached
    }

    /// Returns true if another container than the one at `position` reaches what `mount` mounts.
    fn is_shared(&self, mount: &Object, position: usize) -> bool {
        let volume = mount.str("name").unwrap_or_default();
        let by_others =
            |readers: Option<&Readers>| readers.is_some_and(|readers| *readers != Readers::One(position));
        match folder_of(mount) {
            Some(folder) => {
                by_others(self.whole.get(volume)) || by_others(self.folders.get(&(volume, folder)))
            }
            None => by_others(self.any.get(volume)),
        }
    }
}

fn add<K: Hash + Eq>(readers: &mut HashMap<K, Readers>, key: K, position: usize) {
    let entry = readers.entry(key).or_insert(Readers::One(position));
    if *entry != Readers::One(position) {
        *entry = Readers::Several;
    }
}

/// Returns the folder of its volume that a mount is limited to, if it is one at the top of the volume. Everything else
/// counts as the whole volume.
fn folder_of<'p>(mount: &'p Object) -> Option<&'p str> {
    let folder = mount.str("subPath").filter(|folder| !folder.is_empty())?;
    let is_plain =
        !folder.contains('/') && !matches!(folder, "." | "..") && mount.get("subPathExpr").is_none();
    is_plain.then_some(folder)
}

fn sets(container: &Object, name: &str) -> bool {
    container.objects("env").any(|(_, variable)| variable.str("name") == Some(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    const POLICY: &str = "{env: {HOME: /tmp, TMPDIR: /tmp}}";

    fn container(pod: &Json) -> &Json {
        &pod["spec"]["containers"][0]
    }

    /// The environment of the complete Pod's container after the fill.
    fn env_after(change: impl FnOnce(&mut Json)) -> Json {
        let mut pod = complete_pod();
        change(&mut pod["spec"]["containers"][0]);
        let filled = filled_by(&spec(POLICY), &pod);
        assert_eq!(filled_by(&spec(POLICY), &filled), filled, "filling twice is filling once");
        assert_eq!(violations_of(&spec(POLICY), &pod), Vec::<String>::new(), "nothing is denied before");
        assert_eq!(violations_of(&spec(POLICY), &filled), Vec::<String>::new(), "nothing is denied after");
        container(&filled)["env"].clone()
    }

    #[test]
    fn variable_that_is_unset_is_filled() {
        let both = json!([{"name": "HOME", "value": "/tmp"}, {"name": "TMPDIR", "value": "/tmp"}]);
        assert_eq!(env_after(|_| {}), both);
        assert_eq!(env_after(|container| container["env"] = json!(null)), both);
        assert_eq!(env_after(|container| container["envFrom"] = json!(null)), both);
    }

    #[test]
    fn variable_that_is_set_stays() {
        for own in [
            json!({"name": "HOME", "value": "/data"}),
            json!({"name": "HOME"}),
            json!({"name": "HOME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        ] {
            let env = env_after(|container| container["env"] = json!([own]));
            assert_eq!(env, json!([own, {"name": "TMPDIR", "value": "/tmp"}]));
        }
    }

    #[test]
    fn container_with_env_from_is_left_alone() {
        let env = env_after(|container| {
            container["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
            container["env"] = json!([{"name": "A", "value": "b"}]);
        });
        assert_eq!(env, json!([{"name": "A", "value": "b"}]));
    }

    #[test]
    fn exception_has_variables_of_its_own() {
        let policy = policy(
            "{env: {HOME: /home/app}, containers: [{name: agent, match: {images: [ghcr.io/example/agent]}, \
             spec: {env: {AGENT_HOME: /workspace}}}]}",
        );
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        let filled = filled_under(policy.base(), &pod);
        for (place, name, value) in [
            ("/spec/initContainers/0", "HOME", "/home/app"),
            ("/spec/containers/0", "HOME", "/home/app"),
            ("/spec/containers/1", "AGENT_HOME", "/workspace"),
        ] {
            let env = filled.pointer(place).unwrap()["env"].clone();
            assert_eq!(env, json!([{"name": name, "value": value}]), "{place}");
        }
    }

    /// Returns whether HOME is filled into `main` and into `second`, if each has this mount and the policy has this
    /// HOME.
    fn homes(home: &str, main: &Json, second: &Json) -> [bool; 2] {
        let mut pod = complete_pod_of_three();
        pod["spec"].as_object_mut().unwrap().remove("initContainers");
        pod["spec"]["containers"][0]["volumeMounts"] = json!([main]);
        pod["spec"]["containers"][1]["volumeMounts"] = json!([second]);
        // The fill of the volumes is another rule's; this one is tried with the mounts as they are.
        let spec = spec(&format!("{{env: {{HOME: {home}}}, volumes: {{filled: []}}}}"));
        let filled = filled_by(&spec, &pod);
        [0, 1].map(|position| filled["spec"]["containers"][position]["env"].is_array())
    }

    #[test]
    fn home_is_not_filled_on_a_volume_that_another_container_mounts() {
        let mount = |volume: &str, path: &str| json!({"name": volume, "mountPath": path});
        let folder = |path: &str, folder: &str| json!({"name": "a", "mountPath": path, "subPath": folder});
        for (home, main, second, expected) in [
            ("/tmp", mount("a", "/tmp"), mount("b", "/tmp"), [true, true]),
            ("/tmp", mount("a", "/tmp"), mount("a", "/tmp"), [false, false]),
            ("/tmp/home", mount("a", "//tmp/./"), mount("a", "/elsewhere"), [false, true]),
            ("/tmp", mount("a", "/tmp/home"), mount("a", "/tmp2"), [true, true]),
            ("/tmp", folder("/tmp", "main"), folder("/tmp", "second"), [true, true]),
            ("/tmp", folder("/tmp", "main"), folder("/tmp", "main"), [false, false]),
            ("/tmp", folder("/tmp", "main"), mount("a", "/all"), [false, true]),
            ("/tmp", folder("/tmp", "main/x"), folder("/tmp", "second"), [false, false]),
            ("/tmp", folder("/tmp", ".."), folder("/tmp", "second"), [false, false]),
        ] {
            assert_eq!(homes(home, &main, &second), expected, "{home} {main} {second}");
        }
    }

    #[test]
    fn home_lies_on_the_innermost_mount() {
        let mut pod = complete_pod_of_three();
        pod["spec"].as_object_mut().unwrap().remove("initContainers");
        let mounts = json!([{"name": "a", "mountPath": "/data"}, {"name": "own", "mountPath": "/data/home"}]);
        pod["spec"]["containers"][0]["volumeMounts"] = mounts;
        pod["spec"]["containers"][1]["volumeMounts"] = json!([{"name": "a", "mountPath": "/data"}]);
        let filled = filled_by(&spec("{env: {HOME: /data/home}, volumes: {filled: []}}"), &pod);
        assert!(filled["spec"]["containers"][0]["env"].is_array());
        assert!(!filled["spec"]["containers"][1]["env"].is_array());
    }

    #[test]
    fn ephemeral_container_is_not_filled() {
        let mut pod = complete_pod();
        pod["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": "busybox"}]);
        let filled = filled_by(&spec(POLICY), &pod);
        assert_eq!(filled["spec"]["ephemeralContainers"], pod["spec"]["ephemeralContainers"]);
    }

    #[test]
    fn env_of_a_wrong_type_is_left_to_the_schema() {
        let mut pod = complete_pod();
        pod["spec"]["containers"][0]["env"] = json!("HOME=/data");
        assert_eq!(filled_by(&spec(POLICY), &pod), pod);
    }
}
