//! Fixtures of the tests of all rules: two Pods, and helpers that fill and check them.

use serde_json::{Value as Json, json};

use crate::{
    json,
    policy::{Policy, PolicySet, Profile, Source, Spec},
};

/// A Pod that sets everything as the default policy wants it: the README's.
pub(crate) fn complete_pod() -> Json {
    serde_saphyr::from_str(include_str!("../../../examples/pods/complete.yaml")).unwrap()
}

/// A Pod that asks for nothing.
pub(crate) fn plain_pod() -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain", "namespace": "workflows"},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]}
    })
}

/// The complete Pod with a second container and an init container, all of them complete.
pub(crate) fn complete_pod_of_three() -> Json {
    let mut pod = complete_pod();
    let mut container = pod["spec"]["containers"][0].clone();
    container["resources"]["limits"] = json!({"cpu": "1", "memory": "2Gi", "ephemeral-storage": "5Gi"});
    let named = |name: &str| {
        let mut container = container.clone();
        container["name"] = json!(name);
        container
    };
    pod["spec"]["containers"] = json!([named("main"), named("second")]);
    pod["spec"]["initContainers"] = json!([named("init")]);
    pod
}

/// `pod` after the fill of the default policy.
pub(crate) fn filled(pod: &Json) -> Json {
    filled_by(&Spec::default(), pod)
}

/// `pod` after the fill of `spec`.
pub(crate) fn filled_by(spec: &Spec, pod: &Json) -> Json {
    filled_under(&Profile::of_spec(spec.clone()), pod)
}

/// `pod` after the fill of `profile`, its exceptions included.
pub(crate) fn filled_under(profile: &Profile, pod: &Json) -> Json {
    let text = pod.to_string();
    let mut tree = json::pod_from_str(&text).unwrap();
    super::fill(profile, &mut tree);
    let patch = json::write_patch(&tree);
    let mut patched = pod.clone();
    if !patch.is_empty() {
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
    }
    let mut expected = patched.clone();
    // The reader skips these fields.
    for (parent, key) in [("", "status"), ("/metadata", "managedFields")] {
        expected.pointer_mut(parent).and_then(Json::as_object_mut).map(|object| object.remove(key));
    }
    assert_eq!(expected, serde_json::to_value(&tree).unwrap(), "the patch makes the filled object");
    patched
}

/// The violations of `pod`, each as `rule path`.
pub(crate) fn violations(pod: &Json) -> Vec<String> {
    violations_of(&Spec::default(), pod)
}

/// The violations of `pod` under `spec`, each as `rule path`.
pub(crate) fn violations_of(spec: &Spec, pod: &Json) -> Vec<String> {
    violations_under(&Profile::of_spec(spec.clone()), pod)
}

/// The violations of `pod` under `profile`, its exceptions included, each as `rule path`.
pub(crate) fn violations_under(profile: &Profile, pod: &Json) -> Vec<String> {
    let text = pod.to_string();
    let violations = super::check(profile, &json::pod_from_str(&text).unwrap());
    violations.iter().map(|violation| format!("{} {}", violation.rule.id, violation.path)).collect()
}

/// The violations of the plain Pod with empty security contexts, changed so, after the fill of `spec`.
pub(crate) fn violations_once_filled(spec: &Spec, change: impl FnOnce(&mut Json)) -> Vec<String> {
    let mut pod = plain_pod();
    pod["spec"]["securityContext"] = json!({});
    pod["spec"]["containers"][0]["securityContext"] = json!({});
    change(&mut pod);
    violations_of(spec, &filled_by(spec, &pod))
}

/// The violations of `pod` under `spec`, as people read them.
pub(crate) fn lines_of(spec: &Spec, pod: &Json) -> Vec<String> {
    let text = pod.to_string();
    super::check(&Profile::of_spec(spec.clone()), &json::pod_from_str(&text).unwrap()).lines()
}

/// The complete Pod, changed so, violates just this, filled or not.
pub(crate) fn rejects(expected: &str, change: impl FnOnce(&mut Json)) {
    rejects_under(&Spec::default(), expected, change);
}

/// The complete Pod, changed so, violates just this under `spec`.
pub(crate) fn rejects_under(spec: &Spec, expected: &str, change: impl FnOnce(&mut Json)) {
    let mut pod = complete_pod();
    change(&mut pod);
    assert_eq!(violations_of(spec, &pod), [expected], "as it is");
    assert_eq!(violations_of(spec, &filled_by(spec, &pod)), [expected], "after the fill");
}

/// The complete Pod, changed so, is complete all the same: nothing is filled, nothing is denied.
pub(crate) fn accepts(change: impl FnOnce(&mut Json)) {
    accepts_under(&Spec::default(), change);
}

/// The complete Pod, changed so, is complete under `spec`.
pub(crate) fn accepts_under(spec: &Spec, change: impl FnOnce(&mut Json)) {
    let mut pod = complete_pod();
    change(&mut pod);
    assert_eq!(violations_of(spec, &pod), Vec::<String>::new());
    assert_eq!(filled_by(spec, &pod), pod);
}

/// The complete Pod, changed so, violates this before the fill, and nothing after it.
pub(crate) fn fills(expected: &str, change: impl FnOnce(&mut Json)) -> Json {
    let mut pod = complete_pod();
    change(&mut pod);
    assert_eq!(violations(&pod), [expected]);
    let filled = filled(&pod);
    assert_eq!(violations(&filled), Vec::<String>::new());
    filled
}

/// Takes `key` out of an object.
pub(crate) fn without(object: &mut Json, key: &str) {
    object.as_object_mut().unwrap().remove(key).unwrap();
}

/// The policy whose document has this `spec`, as YAML on one line.
pub(crate) fn policy(spec: &str) -> Policy {
    let text = format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
    );
    let set = PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text }]).unwrap();
    set.policies()[0].clone()
}

/// The keys for every Pod of the policy with this `spec`.
pub(crate) fn spec(text: &str) -> Spec {
    policy(text).base().spec.clone()
}
