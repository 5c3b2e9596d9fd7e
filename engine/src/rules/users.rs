//! The user that processes run as.

use std::{cell::LazyCell, fmt};

use super::{
    Group, Rule,
    inherited::{cel_inherited, check_inherited, fill_inherited},
    injected::{is_filled_by_openshift, remedy},
    root::{RootFacts, cel_may_be_root},
};
use crate::{
    cel::{self, Keys, Statement},
    json::Value,
    pod::{self, Pod},
    policy::{IdRange, Profile, Spec},
    violations::{Reporter, show},
};

pub(super) static RUN_AS_USER: Rule = Rule {
    id: "run-as-user",
    group: Group::Users,
    title: "Every container runs as an allowed user id.",
    why: "The user of an image is chosen by its author. The policy's default is filled for the Pod if unset; an id \
          that is set must be in the policy's range, or 0 where security.root allows root. Without a default the id \
          must be written, unless root or every other id is allowed.",
    references: &[
        "Pod Security Standards, Restricted: Running as Non-root user",
        "CIS Kubernetes Benchmark 1.12, 5.2.7: Minimize the admission of root containers",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Non-root containers and rootless container engines",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0013: Non-root containers",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.runAsUser",
    fill: Some(fill_run_as_user),
    check: check_run_as_user,
    cel: Some(cel_run_as_user),
};

const RUN_AS_USER_FIELD: &str = "runAsUser";

fn is_allowed_user(facts: RootFacts, spec: &Spec, value: Option<&Value>) -> bool {
    let range = spec.security.run_as_user;
    match value {
        None => range.contains_all_but_root() || facts.allow_root(spec),
        Some(value) => {
            value.as_i64().is_some_and(|id| range.contains(id) || (id == 0 && facts.allow_root(spec)))
        }
    }
}

fn fill_run_as_user<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let facts = RootFacts::of(profile, pod::spec(pod));
    let wanted = |spec: &Spec| spec.security.run_as_user.default.map(i64::from);
    fill_inherited(profile, pod, RUN_AS_USER_FIELD, wanted, |spec, value| is_allowed_user(facts, spec, value))
}

fn check_run_as_user(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let facts = RootFacts::of(pod.profile, pod.spec);
    let fits = |spec: &Spec, value: Option<&Value>| is_allowed_user(facts, spec, value);
    let is_filled_by_openshift = LazyCell::new(|| is_filled_by_openshift(pod));
    check_inherited(pod, RUN_AS_USER_FIELD, fits, |path, found, spec, container| {
        let wanted = fmt::from_fn(|f| {
            let root = if facts.allow_root(spec) { "0 or " } else { "" };
            write!(f, "{root}{}", spec.security.run_as_user)
        });
        let is_root = found.and_then(Value::as_i64) == Some(0);
        let own = fmt::from_fn(|f| match found {
            Some(_) if !is_root && *is_filled_by_openshift => {
                f.write_str("OpenShift sets it: allow it (policy key security.runAsUser)")
            }
            _ => write!(f, "{}", user_remedy(spec, is_root)),
        });
        out.report(path, show(found), wanted, remedy(container, own));
    });
}

fn user_remedy(spec: &Spec, is_root: bool) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let (range, root) = (spec.security.run_as_user, &spec.security.root);
        write!(f, "{}", id_remedy(range))?;
        if is_root && root.is_allowed() {
            write!(f, ", or use runtimeClassName {} for root", root.runtime_classes.join(" or "))?;
            if root.user_namespace {
                f.write_str(" with hostUsers: false")?;
            }
        }
        let key = if is_root { "root" } else { "runAsUser" };
        write!(f, " (policy key security.{key})")
    })
}

/// Returns the remedy for an id: leaving the field out helps only if the policy has a default for it.
pub(super) fn id_remedy(range: IdRange) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "set it to {range}")?;
        if range.default.is_some() { f.write_str(" or leave it out on create") } else { Ok(()) }
    })
}

pub(super) fn cel_in_range(range: IdRange, value: &str) -> String {
    format!("({value} >= {} && {value} <= {})", range.min, range.max)
}

fn cel_run_as_user(keys: Keys) -> Vec<Statement> {
    let fits = |spec: &Spec, value: &str| {
        let (range, root) = (spec.security.run_as_user, cel_may_be_root(keys, spec));
        let unset = if range.contains_all_but_root() { "true".into() } else { root.clone() };
        let id = format!("{value}.orValue(-1)");
        let set = cel::any([cel_in_range(range, &id), cel::all([format!("{id} == 0"), root])]);
        format!("({value}.hasValue() ? {set} : {unset})")
    };
    cel_inherited(keys, "runAsUser", fits, cel::shown_value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    const POD_USER: &str = "run-as-user spec.securityContext.runAsUser";

    const POD_GROUP: &str = "run-as-group spec.securityContext.runAsGroup";

    const POD_NON_ROOT: &str = "run-as-non-root spec.securityContext.runAsNonRoot";

    const MAIN_USER: &str = "run-as-user spec.containers[0].securityContext.runAsUser";

    const NONE: [&str; 0] = [];

    fn security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["securityContext"]
    }

    fn main_security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["securityContext"]
    }

    #[test]
    fn ids_of_the_pod_are_filled() {
        let pod = filled(&plain_pod());
        for (field, value) in [
            ("runAsNonRoot", json!(true)),
            ("runAsUser", json!(1000)),
            ("runAsGroup", json!(1000)),
            ("fsGroup", json!(1000)),
        ] {
            assert_eq!(pod["spec"]["securityContext"][field], value, "{field}");
        }
    }

    #[test]
    fn what_is_unset_is_reported_for_the_pod_once() {
        for (rule, field) in [
            ("run-as-non-root", "runAsNonRoot"),
            ("run-as-user", "runAsUser"),
            ("run-as-group", "runAsGroup"),
            ("fs-group", "fsGroup"),
        ] {
            let path = format!("{rule} spec.securityContext.{field}");
            fills(&path, |pod| without(security(pod), field));
            fills(&path, |pod| security(pod)[field] = json!(null));
        }
    }

    #[test]
    fn root_is_denied_for_the_pod_and_for_a_container() {
        rejects(POD_NON_ROOT, |pod| security(pod)["runAsNonRoot"] = json!(false));
        rejects("run-as-non-root spec.containers[0].securityContext.runAsNonRoot", |pod| {
            main_security(pod)["runAsNonRoot"] = json!(false);
        });
        for (rule, field) in [("run-as-user", "runAsUser"), ("run-as-group", "runAsGroup")] {
            for id in [json!(0), json!(999), json!(1001), json!(-1), json!(4_294_968_296_u64)] {
                rejects(&format!("{rule} spec.securityContext.{field}"), |pod| {
                    security(pod)[field] = id.clone();
                });
                rejects(&format!("{rule} spec.containers[0].securityContext.{field}"), |pod| {
                    main_security(pod)[field] = id.clone();
                });
            }
        }
    }

    #[test]
    fn ephemeral_container_is_held_to_the_same_ids() {
        let mut pod = complete_pod();
        let mut debugger = pod["spec"]["containers"][0].clone();
        without(&mut debugger, "resources");
        pod["spec"]["ephemeralContainers"] = json!([debugger]);
        assert_eq!(violations(&pod), NONE);
        pod["spec"]["ephemeralContainers"][0]["securityContext"]["runAsUser"] = json!(0);
        assert_eq!(violations(&pod), ["run-as-user spec.ephemeralContainers[0].securityContext.runAsUser"]);
    }

    #[test]
    fn range_admits_its_ends_and_nothing_beyond() {
        let spec = spec(
            "{security: {runAsUser: {default: 1000, min: 1000, max: 2000}, runAsGroup: {default: 0, min: 0, max: 5}}}",
        );
        for (user, group, expected) in [
            (1000, 0, vec![]),
            (2000, 5, vec![]),
            (999, 0, vec![POD_USER]),
            (2001, 0, vec![POD_USER]),
            (1000, 6, vec![POD_GROUP]),
        ] {
            let violations = violations_once_filled(&spec, |pod| {
                *security(pod) = json!({"runAsUser": user, "runAsGroup": group});
            });
            assert_eq!(violations, expected, "{user}:{group}");
        }
    }

    #[test]
    fn user_without_a_default_is_to_be_written() {
        let spec = spec("{security: {runAsUser: {default: null, min: 1000, max: 2000}}}");
        assert_eq!(violations_once_filled(&spec, |_| {}), [POD_USER]);
        assert_eq!(violations_once_filled(&spec, |pod| security(pod)["runAsUser"] = json!(1500)), NONE);
        assert_eq!(violations_once_filled(&spec, |pod| main_security(pod)["runAsUser"] = json!(1500)), NONE);
        assert_eq!(violations_once_filled(&spec, |pod| security(pod)["runAsUser"] = json!(0)), [POD_USER]);
        assert_eq!(filled_by(&spec, &plain_pod())["spec"]["securityContext"]["runAsUser"], Json::Null);
    }

    #[test]
    fn user_may_be_the_images_if_every_id_but_root_is_allowed() {
        let any = spec("{security: {runAsUser: {default: null, min: 1, max: 2147483647}}}");
        assert_eq!(violations_once_filled(&any, |_| {}), NONE);
        assert_eq!(violations_once_filled(&any, |pod| main_security(pod)["runAsUser"] = json!(1)), NONE);
        assert_eq!(
            violations_once_filled(&any, |pod| main_security(pod)["runAsUser"] = json!(0)),
            [MAIN_USER]
        );
        assert_eq!(filled_by(&any, &plain_pod())["spec"]["securityContext"]["runAsNonRoot"], json!(true));
        for range in ["min: 2, max: 2147483647", "min: 1, max: 2147483646"] {
            let most = spec(&format!("{{security: {{runAsUser: {{default: null, {range}}}}}}}"));
            assert_eq!(violations_once_filled(&most, |_| {}), [POD_USER], "{range}");
        }
    }

    #[test]
    fn profile_has_ids_of_its_own() {
        let policy = policy(
            "{profiles: [{name: worker, match: {labels: {role: worker}}, spec: {security: \
             {runAsUser: {default: 50000, min: 50000, max: 50000}, fsGroup: {default: 0, min: 0, max: 0}}}}]}",
        );
        let worker = &policy.profiles()[0];
        let pod = filled_under(worker, &plain_pod());
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], json!(50000));
        assert_eq!(pod["spec"]["securityContext"]["fsGroup"], json!(0));
        assert_eq!(violations_under(worker, &pod), NONE);
        let under_base = violations_under(policy.base(), &pod);
        assert_eq!(under_base, [POD_USER, "fs-group spec.securityContext.fsGroup"]);
    }
}
