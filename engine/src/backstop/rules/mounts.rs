//! The mounts of containers.

use super::super::{
    cel,
    check::{Check, Keys},
    patterns,
};

const MOUNTS: &str = "c.o.?volumeMounts.orValue([])";

/// Returns the check of the mounts `m` of each container for which `denied` holds.
fn of_mounts(denied: &str, shown: &str) -> Check {
    Check::container(
        format!("{MOUNTS}.exists(m, {denied})"),
        "volumeMounts",
        &format!("strings.quote({MOUNTS}.filter(m, {denied}).map(m, {shown}).join(', '))"),
    )
}

pub(super) fn writable_paths(keys: Keys) -> Vec<Check> {
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
    vec![of_mounts(&denied, path)]
}

pub(super) fn sub_paths(_: Keys) -> Vec<Check> {
    let climbs = |field: &str| {
        format!("m.?{field}.orValue('').startsWith('/') || '..' in m.?{field}.orValue('').split('/')")
    };
    let denied = format!("({} || {})", climbs("subPath"), climbs("subPathExpr"));
    vec![of_mounts(&denied, "m.?subPath.orValue('') + ' ' + m.?subPathExpr.orValue('')")]
}

pub(super) fn volume_devices(_: Keys) -> Vec<Check> {
    let devices = "c.o.?volumeDevices.orValue([])";
    let found = format!("strings.quote({devices}.map(m, m.?name.orValue('')).join(', '))");
    vec![Check::container(format!("{devices}.size() > 0"), "volumeDevices", &found)]
}

pub(super) fn mount_propagation(_: Keys) -> Vec<Check> {
    let denied = "!(m.?mountPropagation.orValue('None') in ['None', 'HostToContainer'])";
    vec![of_mounts(denied, "m.mountPath + ' ' + m.?mountPropagation.orValue('')")]
}
