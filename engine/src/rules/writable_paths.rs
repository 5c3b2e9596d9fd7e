//! The paths that containers can write to.

use std::{cell::LazyCell, collections::HashMap};

use super::{Group, Rule, filled_volumes::fill_volumes, mounts::cel_of_mounts, volume_types::sources};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{Object, Value},
    pod::{Container, Pod},
    policy::{PathPattern, Spec, is_safe_path, touches_system_path},
    violations::{Reporter, show},
};

pub(super) static WRITABLE_PATHS: Rule = Rule {
    id: "writable-paths",
    group: Group::Volumes,
    title: "Containers write to the policy's paths and nowhere else.",
    why: "With a read-only root a program still needs writable paths: every container gets the policy's volumes, each \
          container its own, except at paths where it mounts one itself. A writable mount at another path is denied. A \
          read-only one may be at any path, and so may configMap, secret, downwardAPI, projected and image volumes, \
          which the kubelet never mounts writable. A container with an exception gets nothing over its programs that \
          another container can write.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Immutable container file systems",
        "https://kubernetes.io/docs/concepts/storage/volumes/",
    ],
    setting: "spec.volumes.writablePaths",
    fill: Some(fill_volumes),
    check: check_writable_paths,
    cel: Some(cel_writable_paths),
};

/// The volume types that the kubelet mounts read-only, whatever a mount asks for.
const READ_ONLY_TYPES: [&str; 5] = ["configMap", "secret", "downwardAPI", "projected", "image"];

fn check_writable_paths(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let volumes = LazyCell::new(|| volume_uses(pod));
    for (number, container) in pod.containers.iter().enumerate() {
        for (index, mount) in container.object.objects("volumeMounts") {
            let path = mount.get("mountPath");
            let Some(text) = path.and_then(Value::as_str).filter(|path| is_safe_path(path)) else {
                let wanted = "an absolute path without '..' and control characters";
                report(container, index, path, wanted, "write the path so", out);
                continue;
            };
            // Under a policy that leaves the root to the Pod, a container with a read-only one has no less than others.
            if container.spec.may_mount_writable(text, false) {
                continue;
            }
            let is_excepted = !std::ptr::eq(container.spec, &raw const pod.profile.spec);
            let is_read_only = is_read_only(mount);
            if is_read_only && !(is_excepted && touches_system_path(text)) {
                continue;
            }
            let volume = mount.str("name").and_then(|name| volumes.get(name));
            if volume.is_some_and(|volume| volume.origin == ContentOrigin::ReadOnly) {
                continue;
            }
            if !is_read_only {
                let wanted = format_args!("{}readOnly: true", Folders(container.spec));
                let remedy = "mount it there or read-only (policy key volumes.writablePaths)";
                report(container, index, path, wanted, remedy, out);
            } else if volume.is_none_or(|volume| volume.is_written_beside(number)) {
                let wanted = "beside the system paths: another container writes the volume, and this one has an exception";
                let remedy = "mount it elsewhere (policy key volumes.writablePaths)";
                report(container, index, path, wanted, remedy, out);
            }
        }
    }
}

fn report(
    container: &Container,
    index: usize,
    found: Option<&Value>,
    wanted: impl std::fmt::Display,
    remedy: &str,
    out: &mut Reporter,
) {
    let mounts = container.at("volumeMounts");
    out.report(mounts.index(index).child("mountPath"), show(found), wanted, remedy);
}

fn is_read_only(mount: &Object) -> bool {
    mount.bool("readOnly") == Some(true)
}

/// The folders that a container may write to, for a message.
struct Folders<'s>(&'s Spec);

impl std::fmt::Display for Folders<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let volumes = &self.0.volumes;
        let filled = volumes.filled.iter().map(|volume| volume.mount_path.as_str());
        let mut folders = filled.chain(volumes.writable_paths.iter().map(PathPattern::as_str)).peekable();
        if folders.peek().is_none() {
            return Ok(());
        }
        let mut separator = "in ";
        for folder in folders {
            write!(f, "{separator}{folder}")?;
            separator = " or ";
        }
        f.write_str(", or ")
    }
}

/// The source of the content of a volume, in ascending order of how many can write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ContentOrigin {
    /// The kubelet mounts it read-only.
    ReadOnly,
    /// The containers of the Pod write it.
    Pod,
    /// Others than the Pod may write it too.
    Shared,
}

/// The use of one volume.
struct VolumeUse {
    origin: ContentOrigin,
    writer: Writer,
}

/// The containers that mount a volume writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    None,
    /// The container of this number.
    One(usize),
    Several,
}

impl VolumeUse {
    /// Returns true if anybody but the container `number` can write the volume.
    fn is_written_beside(&self, number: usize) -> bool {
        match self.writer {
            _ if self.origin == ContentOrigin::Shared => true,
            Writer::None => false,
            Writer::One(writer) => writer != number,
            Writer::Several => true,
        }
    }
}

/// Returns how each volume is used, by name, in one walk over the Pod.
fn volume_uses<'p>(pod: &Pod<'p, '_>) -> HashMap<&'p str, VolumeUse> {
    let mut uses: HashMap<&str, VolumeUse> = HashMap::new();
    for (_, volume) in pod.spec.objects("volumes") {
        let Some(name) = volume.str("name") else { continue };
        let origin = origin(volume);
        let known = uses.entry(name).or_insert(VolumeUse { origin, writer: Writer::None });
        known.origin = known.origin.max(origin);
    }
    for (number, container) in pod.containers.iter().enumerate() {
        for (_, mount) in container.object.objects("volumeMounts").filter(|(_, mount)| !is_read_only(mount)) {
            let Some(volume) = mount.str("name").and_then(|name| uses.get_mut(name)) else { continue };
            volume.writer = match volume.writer {
                Writer::None => Writer::One(number),
                Writer::One(writer) if writer == number => Writer::One(number),
                _ => Writer::Several,
            };
        }
    }
    uses
}

fn origin(volume: &Object) -> ContentOrigin {
    let of_type = |kind: &str| match kind {
        kind if READ_ONLY_TYPES.contains(&kind) => ContentOrigin::ReadOnly,
        "emptyDir" | "ephemeral" => ContentOrigin::Pod,
        _ => ContentOrigin::Shared,
    };
    // A volume without a source is an emptyDir.
    sources(volume).map(|(kind, _)| of_type(kind)).max().unwrap_or(ContentOrigin::Pod)
}

fn cel_writable_paths(keys: Keys) -> Vec<Statement> {
    let path = "m.?mountPath.orValue('')";
    let normal = patterns::normalized(path);
    let read_only_types = "['configMap', 'secret', 'downwardAPI', 'projected', 'image']";
    let of_mount = "v.vols.exists(d, d.name == m.name";
    // All sources of the volume are ones that the kubelet mounts read-only.
    let is_read_only_volume =
        format!("{of_mount} && dyn(d).size() > 1 && dyn(d).all(f, f == 'name' || f in {read_only_types}))");
    let is_read_only = "m.?readOnly.orValue(false)";
    let may_write = keys.of_container(|spec| patterns::may_mount_writable(spec, &normal));
    let excepted = keys.profile.exceptions.len();
    let over_programs = if excepted == 0 {
        "false".into()
    } else {
        // Only where another container, or another user, can write what lies over the programs of an exception.
        let is_shared = format!(
            "{of_mount} && dyn(d).exists(f, f != 'name' && !(f in {read_only_types}) && !(f in ['emptyDir', 'ephemeral'])))"
        );
        let is_written = "v.all.exists(other, other.o.name != c.o.name && \
                          other.o.?volumeMounts.orValue([]).exists(n, n.name == m.name && !n.?readOnly.orValue(false)))";
        format!(
            "(c.x > 0 && {} && (!{of_mount}) || {is_shared} || {is_written}))",
            patterns::touches_system_path(&normal)
        )
    };
    let denied = cel::any([
        cel::not(&patterns::is_safe_path(path)),
        cel::all(
            [
                cel::not(&may_write),
                format!("!{is_read_only} || {over_programs}"),
                cel::not(&is_read_only_volume),
            ]
            .map(|condition| format!("({condition})")),
        ),
    ]);
    vec![cel_of_mounts(&denied, path)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::{json::pod_from_str, policy::Policy};

    const AT: &str = "writable-paths spec.containers[0].volumeMounts[2].mountPath";

    fn mount_at(pod: &mut Json, mount: Json) {
        pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    }

    /// The writable-paths violations of the complete Pod, changed so, under a policy that opens volumes and has an
    /// exception for the image of the container `agent`.
    fn paths(policy: &Policy, change: impl FnOnce(&mut Json)) -> Vec<String> {
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("registry.example.com/agent:2");
        change(&mut pod);
        let text = pod.to_string();
        let found = crate::rules::check(policy.base(), &pod_from_str(&text).unwrap());
        let found = found.iter().filter(|violation| violation.rule.id == "writable-paths");
        found.map(|violation| violation.path.to_string()).collect()
    }

    fn with_exception(spec: &str) -> Policy {
        policy(&format!(
            "{{volumes: {{configMap: {{names: [c]}}}}, \
             containers: [{{name: agent, match: {{images: [registry.example.com/agent]}}, spec: {spec}}}]}}"
        ))
    }

    #[test]
    fn writable_mount_elsewhere_is_denied_however_it_is_spelled() {
        for path in [
            "/etc",
            "/",
            "/workspaces",
            "//workspace/../etc",
            "/workspace/..",
            "/tmp/../workspace",
            "workspace",
            "",
            "/Workspace",
            "/workspace/./../x",
            "/workspace/\u{7}",
        ] {
            rejects(AT, |pod| mount_at(pod, json!({"name": "tmp", "mountPath": path})));
        }
        for path in ["/workspace/cache", "//tmp//x/", "/tmp/./y"] {
            accepts(|pod| mount_at(pod, json!({"name": "tmp", "mountPath": path})));
        }
        rejects(AT, |pod| mount_at(pod, json!({"name": "tmp", "mountPath": "/data", "readOnly": null})));
    }

    #[test]
    fn read_only_mount_may_be_anywhere_but_not_climb() {
        for path in ["/data", "/etc", "/usr/bin"] {
            accepts(|pod| mount_at(pod, json!({"name": "tmp", "mountPath": path, "readOnly": true})));
        }
        for path in ["/data/../etc", "data", "/a\nb"] {
            rejects(AT, |pod| mount_at(pod, json!({"name": "tmp", "mountPath": path, "readOnly": true})));
        }
    }

    #[test]
    fn types_that_are_read_only_by_nature_may_be_mounted_anywhere() {
        let open = spec(
            "{volumes: {configMap: {names: [c]}, downwardAPI: true, image: true}, secrets: {volumes: [s]}}",
        );
        for source in [
            json!({"configMap": {"name": "c"}}),
            json!({"secret": {"secretName": "s"}}),
            json!({"downwardAPI": {"items": []}}),
            json!({"projected": {"sources": [{"configMap": {"name": "c"}}]}}),
            json!({"image": {"reference": "registry.example.com/data:1"}}),
        ] {
            let volume = |pod: &mut Json| {
                let mut volume = source.clone();
                volume["name"] = json!("x");
                pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
            };
            accepts_under(&open, |pod| {
                volume(pod);
                mount_at(pod, json!({"name": "x", "mountPath": "/etc/app"}));
            });
            rejects_under(&open, AT, |pod| {
                volume(pod);
                mount_at(pod, json!({"name": "x", "mountPath": "/etc/../app"}));
            });
        }
    }

    #[test]
    fn claim_is_writable_unless_the_mount_is_read_only() {
        let open = spec("{volumes: {persistentVolumeClaim: {names: [data]}}}");
        for (read_only, fits) in [(false, false), (true, true)] {
            let change = |pod: &mut Json| {
                let claim = json!({"name": "x", "persistentVolumeClaim": {"claimName": "data"}});
                pod["spec"]["volumes"].as_array_mut().unwrap().push(claim);
                mount_at(pod, json!({"name": "x", "mountPath": "/data", "readOnly": read_only}));
            };
            if fits { accepts_under(&open, change) } else { rejects_under(&open, AT, change) }
        }
    }

    #[test]
    fn writable_paths_of_the_policy_are_open_below_and_nowhere_else() {
        let open = spec("{volumes: {writablePaths: [/argo, '/scripts-*', /etc/app/cache]}}");
        for path in ["/argo", "/argo/staging", "/scripts-1", "/etc/app/cache"] {
            accepts_under(&open, |pod| mount_at(pod, json!({"name": "tmp", "mountPath": path})));
        }
        for path in ["/argo-2", "/scripts", "/etc/app", "/etc"] {
            rejects_under(&open, AT, |pod| mount_at(pod, json!({"name": "tmp", "mountPath": path})));
        }
        let any = spec("{volumes: {writablePaths: ['*']}}");
        accepts_under(&any, |pod| mount_at(pod, json!({"name": "tmp", "mountPath": "/opt/x"})));
        for path in ["/", "/usr", "/usr/bin", "/var", "/etc/app", "/var/run/secrets/x"] {
            rejects_under(&any, AT, |pod| mount_at(pod, json!({"name": "tmp", "mountPath": path})));
        }
    }

    #[test]
    fn where_the_root_may_be_written_own_volumes_may_be_anywhere_but_on_system_paths() {
        let open = spec("{security: {readOnlyRootFilesystem: false}}");
        for root in [true, false] {
            let at = |path: &'static str| {
                move |pod: &mut Json| {
                    pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = json!(root);
                    mount_at(pod, json!({"name": "tmp", "mountPath": path}));
                }
            };
            accepts_under(&open, at("/var/run/argo"));
            for path in ["/etc/x", "/usr/local", "/var", "/"] {
                rejects_under(&open, AT, at(path));
            }
        }
    }

    #[test]
    fn writable_paths_of_an_exception_are_its_containers_alone() {
        let policy = with_exception("{volumes: {writablePaths: [/agent]}}");
        let mount = json!({"name": "tmp", "mountPath": "/agent"});
        let at = |list: &'static str, index: usize| {
            let mount = mount.clone();
            paths(&policy, move |pod| {
                pod["spec"][list][index]["volumeMounts"].as_array_mut().unwrap().push(mount);
            })
        };
        assert_eq!(at("containers", 1), Vec::<String>::new());
        assert_eq!(at("containers", 0), ["spec.containers[0].volumeMounts[2].mountPath"]);
        let debugger = paths(&policy, |pod| {
            let mut debugger = pod["spec"]["containers"][1].clone();
            debugger["name"] = json!("debugger");
            debugger["volumeMounts"] = json!([mount]);
            pod["spec"]["ephemeralContainers"] = json!([debugger]);
        });
        assert_eq!(debugger, ["spec.ephemeralContainers[0].volumeMounts[0].mountPath"]);
    }

    /// Else the untrusted container writes the program that the trusted one runs with its token.
    #[test]
    fn volume_that_another_container_writes_is_not_over_the_programs_of_an_excepted_one() {
        let policy = with_exception("{serviceAccount: {automountToken: true}}");
        let push = |pod: &mut Json, index: usize, mount: Json| {
            pod["spec"]["containers"][index]["volumeMounts"].as_array_mut().unwrap().push(mount);
        };
        let own = |source: Json| {
            move |pod: &mut Json| {
                let mut volume = source;
                volume["name"] = json!("x");
                pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
            }
        };
        let over = |path: &str| json!({"name": "x", "mountPath": path, "readOnly": true});
        let dir = || own(json!({"emptyDir": {"sizeLimit": "1Gi"}}));
        let writer = json!({"name": "x", "mountPath": "/tmp/x"});
        let denied = ["spec.containers[1].volumeMounts[2].mountPath"];

        for path in ["/usr/local/bin", "/usr", "/var", "/etc/x"] {
            let found = paths(&policy, |pod| {
                dir()(pod);
                push(pod, 0, writer.clone());
                push(pod, 1, over(path));
            });
            assert_eq!(found, denied, "{path}");
        }
        let elsewhere = paths(&policy, |pod| {
            dir()(pod);
            push(pod, 0, writer.clone());
            push(pod, 1, over("/data"));
        });
        assert_eq!(elsewhere, Vec::<String>::new());
        let unwritten = paths(&policy, |pod| {
            dir()(pod);
            push(pod, 0, over("/data"));
            push(pod, 1, over("/usr/local/bin"));
            push(pod, 1, writer.clone());
        });
        assert_eq!(unwritten, Vec::<String>::new());
        let settings = paths(&policy, |pod| {
            own(json!({"configMap": {"name": "c"}}))(pod);
            push(pod, 1, over("/etc/app"));
        });
        assert_eq!(settings, Vec::<String>::new());
        let claim = paths(&policy, |pod| {
            own(json!({"persistentVolumeClaim": {"claimName": "data"}}))(pod);
            push(pod, 1, over("/usr/local/bin"));
        });
        assert_eq!(claim, denied, "other Pods may write a claim");
    }

    #[test]
    fn message_names_the_folders_and_the_key() {
        let mut pod = complete_pod();
        mount_at(&mut pod, json!({"name": "tmp", "mountPath": "/data"}));
        let text = pod.to_string();
        let found = crate::rules::check(&crate::policy::Profile::default(), &pod_from_str(&text).unwrap());
        assert_eq!(
            found.lines().concat(),
            "spec.containers[0].volumeMounts[2].mountPath is \"/data\", must be in /workspace or /tmp, or readOnly: true: \
             mount it there or read-only (policy key volumes.writablePaths) (writable-paths)"
        );
    }

    /// Volumes are looked up by name: a Pod of many volumes and mounts costs what it is long.
    #[test]
    fn many_mounts_of_many_volumes_are_all_checked() {
        let mut pod = complete_pod();
        let names: Vec<String> = (0..2000).map(|index| format!("v{index}")).collect();
        for name in &names {
            pod["spec"]["volumes"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": name, "emptyDir": {"sizeLimit": "1"}}));
            mount_at(&mut pod, json!({"name": name, "mountPath": format!("/{name}")}));
        }
        assert_eq!(violations(&pod).len(), 1000, "the most that are kept");
    }
}
