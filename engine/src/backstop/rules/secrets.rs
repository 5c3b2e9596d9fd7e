//! The Secrets that the sandbox can read.

use crate::{
    cel::{self, Keys, Statement, patterns, selected},
    policy::Names,
};

const ENVIRONMENT: [(&str, &str); 2] = [("env", "valueFrom.?secretKeyRef"), ("envFrom", "secretRef")];

/// The names of Secrets that the volume `d` has files of.
const FILES: &str = "([d.?secret].filter(r, r.hasValue()).map(r, dyn(r.value()).?secretName.orValue('')) + \
                     d.?projected.?sources.orValue([]).filter(s, s.?secret.hasValue()).map(s, s.secret.?name.orValue('')))";
/// The names of Secrets that the driver of the volume `d` reads.
const DRIVER: &str =
    "[d.?csi.?nodePublishSecretRef].filter(r, r.hasValue()).map(r, dyn(r.value()).?name.orValue(''))";

pub(super) fn secrets(keys: Keys) -> Vec<Statement> {
    let of_environment = ENVIRONMENT.into_iter().filter_map(|(list, reference)| {
        let name = format!("e.?{reference}.?name.orValue('')");
        let allowed = keys.of_container(|spec| patterns::names(&spec.secrets.environment, &name));
        let denied = cel::all([cel::not(&allowed), format!("e.?{reference}.hasValue()")]);
        let items = format!("c.o.?{list}.orValue([])");
        let found = format!(
            "'of the Secrets ' + strings.quote({items}.filter(e, {denied}).map(e, {name}).join(', '))"
        );
        (denied != "false")
            .then(|| Statement::container(format!("{items}.exists(e, {denied})"), list, &found))
    });
    of_environment.chain(of_volumes(keys)).collect()
}

fn of_volumes(keys: Keys) -> [Statement; 2] {
    let names: Vec<&Names> = keys.specs().map(|spec| &spec.secrets.volumes).collect();
    let allowed: Vec<String> = names.iter().map(|names| patterns::names(names, "n")).collect();
    // Keys of an exception count if a container that they hold for mounts the volume.
    let any_allows = cel::any(allowed.iter().enumerate().map(|(number, allowed)| {
        if number == 0 || allowed == "false" {
            return allowed.clone();
        }
        format!(
            "({allowed} && v.all.exists(w, w.x == {number} && \
             w.o.?volumeMounts.orValue([]).exists(u, u.name == d.name)))"
        )
    }));
    // Where no Secret may be mounted at all, `volume-types` reports the volumes that are made of Secrets.
    let is_closed = names.iter().all(|names| names.is_empty());
    let reported = if is_closed { DRIVER.to_string() } else { format!("({FILES} + {DRIVER})") };
    let has_secret = "(d.?secret.hasValue() || d.?csi.?nodePublishSecretRef.hasValue() || \
                      d.?projected.?sources.orValue([]).exists(s, s.?secret.hasValue()))";
    let forbidden = cel::not(&any_allows);
    let of_volume = Statement::volume(
        format!("{has_secret} && {reported}.exists(n, {forbidden})"),
        "",
        &format!("'of the Secrets ' + strings.quote({reported}.filter(n, {forbidden}).join(', '))"),
    );
    let own = selected("c.x", &allowed);
    let denied = format!(
        "v.vols.exists(d, d.name == m.name && {has_secret} && ({FILES} + {DRIVER}).exists(n, {any_allows} ? {} : c.k == 'ephemeral'))",
        cel::not(&own)
    );
    let mounts = "c.o.?volumeMounts.orValue([])";
    let of_mount = Statement::container(
        format!("v.vols.exists(d, {has_secret}) && {mounts}.exists(m, {denied})"),
        "volumeMounts",
        &format!(
            "'a mount of volumes whose Secrets it may not read: ' + {mounts}.filter(m, {denied}).map(m, m.name).join(', ')"
        ),
    );
    [of_volume, of_mount]
}

pub(super) fn file_key_ref(_: Keys) -> Vec<Statement> {
    let reads = "e.?valueFrom.?fileKeyRef.hasValue()";
    vec![Statement::container(
        format!("c.o.?env.orValue([]).exists(e, {reads})"),
        "env",
        &format!("'a file for ' + c.o.?env.orValue([]).filter(e, {reads}).map(e, e.name).join(', ')"),
    )]
}
