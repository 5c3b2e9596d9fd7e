//! Users, groups, and the fields that containers inherit from the Pod.

use super::runtime::CLASS;
use crate::{
    cel::{self, Keys, Statement},
    policy::{IdRange, Spec, SupplementalGroupsPolicy},
};

/// Returns the condition that containers with these keys may run as user id 0.
fn may_be_root(keys: Keys, spec: &Spec) -> String {
    let root = &spec.security.root;
    let classes: Vec<&String> =
        root.runtime_classes.iter().filter(|class| keys.spec.runtime_class.allowed.contains(class)).collect();
    if classes.is_empty() {
        return "false".into();
    }
    let namespace = if root.user_namespace { "v.o.?spec.?hostUsers.orValue(true) == false" } else { "true" };
    cel::all([format!("{CLASS} in {}", cel::list(classes)), namespace.into()])
}

/// Returns the checks of the effective value of a field: the Pod's, where containers inherit it, and each container's
/// own. `fits` returns the condition that the optional value of its second argument fits.
pub(super) fn inherited(
    keys: Keys,
    field: &str,
    fits: impl Fn(&Spec, &str) -> String,
    shown: impl Fn(&str) -> String,
) -> Vec<Statement> {
    let of_pod = format!("v.o.?spec.?securityContext.?{field}");
    let own = format!("c.o.?securityContext.?{field}");
    let inherited_fits = keys.of_container(|spec| fits(spec, &of_pod));
    let own_fits = keys.of_container(|spec| fits(spec, &own));
    // A value that no container inherits would hold for one that is added to the running Pod.
    let not_inherited = format!(
        "({of_pod}.hasValue() && v.all.all(c, {own}.hasValue()) && {})",
        cel::not(&fits(keys.spec, &of_pod))
    );
    let condition = cel::any([
        format!("v.all.exists(c, !{own}.hasValue() && {})", cel::not(&inherited_fits)),
        not_inherited,
    ]);
    vec![
        Statement::pod(condition, &format!("spec.securityContext.{field}"), &shown(&of_pod)),
        Statement::container(
            format!("{own}.hasValue() && {}", cel::not(&own_fits)),
            &format!("securityContext.{field}"),
            &shown(&own),
        ),
    ]
}

pub(super) fn host_users(keys: Keys) -> Vec<Statement> {
    if keys.spec.security.host_users != Some(false) {
        return Vec::new();
    }
    let field = "v.o.?spec.?hostUsers";
    vec![Statement::pod(
        format!("{field}.orValue(true) != false"),
        "spec.hostUsers",
        &cel::shown_value(field),
    )]
}

pub(super) fn run_as_non_root(keys: Keys) -> Vec<Statement> {
    let fits = |spec: &Spec, value: &str| {
        cel::any([format!("{value}.orValue(false) == true"), may_be_root(keys, spec)])
    };
    inherited(keys, "runAsNonRoot", fits, cel::shown_value)
}

fn in_range(range: IdRange, value: &str) -> String {
    format!("({value} >= {} && {value} <= {})", range.min, range.max)
}

pub(super) fn run_as_user(keys: Keys) -> Vec<Statement> {
    let fits = |spec: &Spec, value: &str| {
        let (range, root) = (spec.security.run_as_user, may_be_root(keys, spec));
        let unset = if range.contains_all_but_root() { "true".into() } else { root.clone() };
        let id = format!("{value}.orValue(-1)");
        let set = cel::any([in_range(range, &id), cel::all([format!("{id} == 0"), root])]);
        format!("({value}.hasValue() ? {set} : {unset})")
    };
    inherited(keys, "runAsUser", fits, cel::shown_value)
}

pub(super) fn run_as_group(keys: Keys) -> Vec<Statement> {
    let fits = |spec: &Spec, value: &str| {
        let range = spec.security.run_as_group;
        let unset = range.default.is_none() && range.contains(0);
        format!("({value}.hasValue() ? {} : {unset})", in_range(range, &format!("{value}.orValue(-1)")))
    };
    inherited(keys, "runAsGroup", fits, cel::shown_value)
}

pub(super) fn fs_group(keys: Keys) -> Vec<Statement> {
    let range = keys.spec.security.fs_group;
    let field = "v.o.?spec.?securityContext.?fsGroup";
    let fits = format!(
        "({field}.hasValue() ? {} : {})",
        in_range(range, &format!("{field}.orValue(-1)")),
        range.default.is_none()
    );
    vec![Statement::pod(cel::not(&fits), "spec.securityContext.fsGroup", &cel::shown_value(field))]
}

pub(super) fn supplemental_groups(keys: Keys) -> Vec<Statement> {
    let range = keys.spec.security.fs_group;
    let groups = "v.o.?spec.?securityContext.?supplementalGroups.orValue([])";
    let misfit = format!("!{}", in_range(range, "g"));
    let mut checks = vec![Statement::pod(
        format!("{groups}.exists(g, {misfit})"),
        "spec.securityContext.supplementalGroups",
        &format!("{groups}.filter(g, {misfit}).map(g, string(g)).join(', ')"),
    )];
    if let Some(SupplementalGroupsPolicy::Strict) = keys.spec.security.supplemental_groups_policy {
        let field = "v.o.?spec.?securityContext.?supplementalGroupsPolicy";
        let path = "spec.securityContext.supplementalGroupsPolicy";
        checks.push(Statement::pod(format!("{field}.orValue('') != 'Strict'"), path, &cel::shown(field)));
    }
    checks
}
