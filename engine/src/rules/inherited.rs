//! Fields of a security context that containers inherit from the Pod, unless an exception wants another value for them.

use std::ptr;

use super::helpers::SECURITY_CONTEXT;
use crate::{
    cel::{self, Keys, Statement},
    json::{Object, Value},
    path::LazyPath,
    pod::{self, Container, Pod, each_container_mut, spec_mut},
    policy::{Profile, Spec},
};

/// Checks the effective value of a field: a container's own, or else the Pod's. `fits` gets the keys of the container and
/// the value, `None` if it is unset. `report` gets what does not fit: the Pod's value once, however many containers
/// inherit it, and each container's own, with that container.
pub(super) fn check_inherited(
    pod: &Pod,
    field: &str,
    fits: impl Fn(&Spec, Option<&Value>) -> bool,
    mut report: impl FnMut(LazyPath, Option<&Value>, &Spec, Option<&Container>),
) {
    let of_pod = pod.security.get(field);
    let mut is_inherited = false;
    let mut misfit = None;
    for container in pod.containers.iter().filter(|container| container.security.get(field).is_none()) {
        is_inherited = true;
        if !fits(container.spec, of_pod) {
            misfit = Some(container.spec);
            break;
        }
    }
    // A value that no container inherits would hold for one that is added to the running Pod.
    if !is_inherited && of_pod.is_some() && !fits(&pod.profile.spec, of_pod) {
        misfit = Some(&pod.profile.spec);
    }
    if let Some(spec) = misfit {
        report(SECURITY_CONTEXT.child(field), of_pod, spec, None);
    }
    for container in &pod.containers {
        let own = container.security.get(field);
        if own.is_some() && !fits(container.spec, own) {
            report(container.at("securityContext").child(field), own, container.spec, Some(container));
        }
    }
}

/// Fills a field where it is unset, and returns how many fields it set. The Pod gets the value, and containers inherit it.
/// A container gets a value of its own if its exception wants another one, or if what it would inherit does not fit. If a
/// container is to be left open, the Pod is left open and every other container gets its own value.
pub(super) fn fill_inherited<'a, V>(
    profile: &'a Profile,
    pod: &mut Value<'a>,
    field: &'static str,
    wanted: impl Fn(&'a Spec) -> Option<V>,
    fits: impl Fn(&Spec, Option<&Value>) -> bool,
) -> usize
where
    V: Copy + PartialEq + Into<Value<'a>>,
{
    let for_pod = wanted(&profile.spec);
    if profile.exceptions.is_empty() {
        return for_pod.is_some_and(|value| fill_of_pod(pod, field, value)).into();
    }
    let written = pod::spec(pod).object("securityContext").and_then(|security| security.get(field)).cloned();
    let for_pod = for_pod.filter(|_| written.is_none() && !is_left_open(profile, pod, field, &wanted));
    let mut filled = usize::from(for_pod.is_some_and(|value| fill_of_pod(pod, field, value)));
    each_container_mut(pod, profile, |_, container, spec| {
        let inherits_well = match &written {
            Some(written) => ptr::eq(spec, &raw const profile.spec) || fits(spec, Some(written)),
            None => wanted(spec) == for_pod,
        };
        if inherits_well {
            return;
        }
        let Some(value) = wanted(spec) else { return };
        let security = container.object_mut("securityContext");
        filled += usize::from(security.is_some_and(|security| security.set_default(field, value)));
    });
    filled
}

/// Fills a field of `spec.securityContext`, and returns true if it was unset.
pub(super) fn fill_of_pod<'a>(pod: &mut Value<'a>, field: &'static str, value: impl Into<Value<'a>>) -> bool {
    let security = spec_mut(pod).and_then(|pod| pod.object_mut("securityContext"));
    security.is_some_and(|security| security.set_default(field, value))
}

/// Returns true if a container without a value of its own is to have none.
fn is_left_open<'a, V>(
    profile: &'a Profile,
    pod: &mut Value<'a>,
    field: &str,
    wanted: impl Fn(&'a Spec) -> Option<V>,
) -> bool {
    let mut found = false;
    each_container_mut(pod, profile, |_, container, spec| {
        found = found || (!has_own(container, field) && wanted(spec).is_none());
    });
    found
}

fn has_own(container: &Object, field: &str) -> bool {
    container.object("securityContext").is_some_and(|security| security.get(field).is_some())
}

/// Returns the checks of the effective value of a field: the Pod's, where containers inherit it, and each container's
/// own. `fits` returns the condition that the optional value of its second argument fits.
pub(super) fn cel_inherited(
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

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Policy;

    const POD_USER: &str = "run-as-user spec.securityContext.runAsUser";

    const POD_NON_ROOT: &str = "run-as-non-root spec.securityContext.runAsNonRoot";

    const MAIN_USER: &str = "run-as-user spec.containers[0].securityContext.runAsUser";

    const NONE: [&str; 0] = [];

    const ROOT: &str = "runAsUser: {default: null, min: 1000, max: 1000}, root: {runtimeClasses: [gvisor]}";

    fn security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["securityContext"]
    }

    fn main_security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["securityContext"]
    }

    fn with_agent(security: &str) -> Policy {
        policy(&format!(
            "{{containers: [{{name: agent, match: {{images: [ghcr.io/example/agent]}}, spec: {{security: {{{security}}}}}}}]}}"
        ))
    }

    /// A Pod of `main`, the excepted `second` and `init`, without ids.
    fn pod_with_agent() -> Json {
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        for field in ["runAsNonRoot", "runAsUser", "runAsGroup"] {
            without(security(&mut pod), field);
        }
        pod
    }

    /// The value of a field of the Pod, of `init`, `main` and the excepted `second`.
    fn values(pod: &Json, field: &str) -> [Json; 4] {
        ["/spec", "/spec/initContainers/0", "/spec/containers/0", "/spec/containers/1"]
            .map(|place| pod.pointer(place).unwrap()["securityContext"][field].clone())
    }

    const OTHER_USER: &str = "runAsUser: {default: 8737, min: 8737, max: 8737}";

    #[test]
    fn container_of_an_exception_gets_an_id_of_its_own() {
        let policy = with_agent(OTHER_USER);
        let pod = filled_under(policy.base(), &pod_with_agent());
        assert_eq!(values(&pod, "runAsUser"), [json!(1000), json!(null), json!(null), json!(8737)]);
        assert_eq!(values(&pod, "runAsGroup"), [json!(1000), json!(null), json!(null), json!(null)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
        assert_eq!(filled_under(policy.base(), &pod), pod, "filling twice is filling once");
    }

    #[test]
    fn container_of_an_exception_gets_its_id_beside_one_of_the_pod() {
        let policy = with_agent(OTHER_USER);
        let mut pod = pod_with_agent();
        security(&mut pod)["runAsUser"] = json!(1000);
        let pod = filled_under(policy.base(), &pod);
        assert_eq!(values(&pod, "runAsUser"), [json!(1000), json!(null), json!(null), json!(8737)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
    }

    #[test]
    fn id_of_the_pod_that_an_exception_allows_is_inherited() {
        let policy = with_agent("runAsUser: {default: 8737, min: 1000, max: 8737}");
        let mut pod = pod_with_agent();
        security(&mut pod)["runAsUser"] = json!(1000);
        let pod = filled_under(policy.base(), &pod);
        assert_eq!(values(&pod, "runAsUser"), [json!(1000), json!(null), json!(null), json!(null)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
    }

    #[test]
    fn exception_holds_for_its_containers_alone() {
        let policy = with_agent(OTHER_USER);
        let violations_with = |pod_user: Json, users: [Json; 3]| {
            let mut pod = pod_with_agent();
            security(&mut pod)["runAsUser"] = pod_user;
            let places = ["/spec/initContainers/0", "/spec/containers/0", "/spec/containers/1"];
            for (place, user) in places.iter().zip(users) {
                pod.pointer_mut(place).unwrap()["securityContext"]["runAsUser"] = user;
            }
            violations_under(policy.base(), &filled_under(policy.base(), &pod))
        };
        let (own, other, open, root) = (json!(1000), json!(8737), json!(null), json!(0));
        let second = "run-as-user spec.containers[1].securityContext.runAsUser";
        assert_eq!(violations_with(open.clone(), [open.clone(), other.clone(), open.clone()]), [MAIN_USER]);
        assert_eq!(violations_with(open.clone(), [open.clone(), open.clone(), own.clone()]), [second]);
        assert_eq!(violations_with(open.clone(), [open.clone(), open.clone(), root.clone()]), [second]);
        assert_eq!(violations_with(other.clone(), [own.clone(), own.clone(), open.clone()]), NONE);
        assert_eq!(violations_with(other.clone(), [open.clone(), own.clone(), open.clone()]), [POD_USER]);
        assert_eq!(violations_with(other.clone(), [own.clone(), own.clone(), other]), [POD_USER]);
        assert_eq!(violations_with(root, [own.clone(), own, open]), [POD_USER]);
    }

    #[test]
    fn ephemeral_container_gets_no_exception() {
        let policy = with_agent(OTHER_USER);
        let mut pod = filled_under(policy.base(), &pod_with_agent());
        let mut debugger = pod["spec"]["containers"][1].clone();
        without(&mut debugger, "resources");
        pod["spec"]["ephemeralContainers"] = json!([debugger]);
        let path = "run-as-user spec.ephemeralContainers[0].securityContext.runAsUser";
        assert_eq!(violations_under(policy.base(), &pod), [path]);
    }

    #[test]
    fn root_of_an_exception_leaves_the_pod_open_and_fills_the_other_containers() {
        let policy = with_agent(ROOT);
        let pod = filled_under(policy.base(), &pod_with_agent());
        assert_eq!(values(&pod, "runAsUser"), [json!(null), json!(1000), json!(1000), json!(null)]);
        assert_eq!(values(&pod, "runAsNonRoot"), [json!(null), json!(true), json!(true), json!(null)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
        assert_eq!(filled_under(policy.base(), &pod), pod, "filling twice is filling once");
        let mut debugged = pod.clone();
        debugged["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "ghcr.io/example/agent:1"}]);
        let violations = violations_under(policy.base(), &debugged);
        assert!(
            violations.contains(&POD_NON_ROOT.into()) && violations.contains(&POD_USER.into()),
            "{violations:?}"
        );
    }

    #[test]
    fn root_of_an_exception_holds_for_its_containers_alone() {
        let policy = with_agent(ROOT);
        let mut pod = pod_with_agent();
        pod["spec"]["containers"][1]["securityContext"]["runAsUser"] = json!(0);
        assert_eq!(violations_under(policy.base(), &filled_under(policy.base(), &pod)), NONE);
        main_security(&mut pod)["runAsUser"] = json!(0);
        assert_eq!(violations_under(policy.base(), &filled_under(policy.base(), &pod)), [MAIN_USER]);
    }

    #[test]
    fn value_of_the_pod_that_no_container_inherits_is_denied() {
        rejects(POD_USER, |pod| {
            security(pod)["runAsUser"] = json!(0);
            main_security(pod)["runAsUser"] = json!(1000);
        });
        accepts(|pod| {
            without(security(pod), "runAsGroup");
            security(pod)["runAsGroup"] = json!(1000);
            main_security(pod)["runAsGroup"] = json!(1000);
        });
    }
}
