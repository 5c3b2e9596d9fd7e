//! The size and medium of emptyDir volumes.

use super::{
    Group, Rule,
    helpers::{VOLUMES, amount},
    volume_types::sources,
};
use crate::{
    cel::{Keys, Statement, patterns},
    json::{Object, Value},
    pod::{Pod, Quantity, spec_mut},
    policy::{Amount, Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static EMPTY_DIR: Rule = Rule {
    id: "empty-dir",
    group: Group::Volumes,
    title: "Every emptyDir has a size limit and is on disk or in memory.",
    why: "An emptyDir without a limit, or with 0, can fill the node's disk. An unset limit is filled with the least \
          of the largest size that the policy allows and the Pod's budget. Huge pages are denied.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Resource policies",
        "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir",
    ],
    setting: "spec.volumes.emptyDir",
    fill: Some(fill_empty_dir),
    check: check_empty_dir,
    cel: Some(cel_empty_dir),
};

fn fill_empty_dir<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let Some(Value::List(volumes)) = spec_mut(pod).and_then(|pod| pod.get_mut("volumes")) else { return 0 };
    let mut filled = 0;
    for (_, volume) in volumes.iter_mut() {
        let Some(volume) = volume.as_object_mut() else { continue };
        if !is_empty_dir(volume) {
            continue;
        }
        let in_memory = volume.object("emptyDir").and_then(|dir| dir.str("medium")) == Some("Memory");
        let limit = filled_size(spec, in_memory);
        let dir = volume.object_mut("emptyDir");
        filled += usize::from(dir.is_some_and(|dir| dir.set_default("sizeLimit", limit.text.as_str())));
    }
    filled
}

/// Returns true if the volume is an emptyDir. A volume without any source is one: the API server defaults it so.
pub(super) fn is_empty_dir(volume: &Object) -> bool {
    volume.get("emptyDir").is_some() || sources(volume).next().is_none()
}

/// Returns the size that is filled: a limit above what the Pod may use as a whole would limit nothing.
fn filled_size(spec: &Spec, in_memory: bool) -> &Amount {
    let budget = &spec.resources.pod.limits;
    let budget = if in_memory { &budget.memory } else { &budget.ephemeral_storage };
    let max = max_size(spec, in_memory);
    if budget.value < max.value { budget } else { max }
}

/// Returns the largest size that a Pod may write.
fn max_size(spec: &Spec, in_memory: bool) -> &Amount {
    if in_memory { &spec.volumes.empty_dir.max_memory } else { &spec.volumes.empty_dir.max_size }
}

fn check_empty_dir(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    for (index, volume) in pod.spec.objects("volumes").filter(|(_, volume)| is_empty_dir(volume)) {
        let dir = volume.object("emptyDir");
        let path = VOLUMES.index(index);
        let path = path.child("emptyDir");
        let medium = dir.and_then(|dir| dir.get("medium"));
        let in_memory = match medium.map(Value::as_str) {
            None | Some(Some("")) => false,
            Some(Some("Memory")) => true,
            Some(other) => {
                let found = other.map_or_else(|| show(medium), quote);
                out.report(path.child("medium"), found, "unset or Memory", "remove medium");
                false
            }
        };
        let max = max_size(spec, in_memory);
        let limit = dir.and_then(|dir| dir.get("sizeLimit"));
        if !amount(limit).is_some_and(|limit| limit > Quantity::ZERO && limit <= max.value) {
            let key = if in_memory { "maxMemory" } else { "maxSize" };
            out.report(
                path.child("sizeLimit"),
                show(limit),
                format_args!("more than 0, at most {max}"),
                format_args!(
                    "set it to at most {max} or leave it out on create (policy key volumes.emptyDir.{key})"
                ),
            );
        }
    }
}

fn cel_empty_dir(keys: Keys) -> Vec<Statement> {
    let bounds = &keys.spec.volumes.empty_dir;
    let is_empty_dir = "(d.?emptyDir.hasValue() || dyn(d).all(f, f == 'name'))";
    let medium = "d.?emptyDir.?medium.orValue('')";
    let limit = "d.?emptyDir.?sizeLimit";
    let fits = format!(
        "({medium} == 'Memory' ? {} : {})",
        patterns::is_within(limit, &bounds.max_memory),
        patterns::is_within(limit, &bounds.max_size)
    );
    vec![
        Statement::volume(
            format!("{is_empty_dir} && !({medium} in ['', 'Memory'])"),
            ".emptyDir.medium",
            &format!("strings.quote({medium})"),
        ),
        Statement::volume(
            format!("{is_empty_dir} && !{fits}"),
            ".emptyDir.sizeLimit",
            &format!("{limit}.orValue('unset')"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    fn add(pod: &mut Json, volume: Json) {
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }

    fn filled_size(spec: &str, dir: &Json) -> Json {
        let mut pod = complete_pod();
        add(&mut pod, json!({"name": "x", "emptyDir": dir}));
        filled_by(&super::super::testing::spec(spec), &pod)["spec"]["volumes"][2]["emptyDir"]["sizeLimit"]
            .clone()
    }

    #[test]
    fn unset_size_is_the_least_of_maximum_and_budget() {
        let small = "{volumes: {filled: [], emptyDir: {maxSize: 5Gi, maxMemory: 512Mi}}}";
        let large = "{volumes: {emptyDir: {maxSize: 50Gi, maxMemory: 16Gi}}}";
        assert_eq!(filled_size("{}", &json!({})), "10Gi");
        assert_eq!(filled_size("{}", &json!({"medium": "Memory"})), "1Gi");
        assert_eq!(filled_size("{}", &json!({"sizeLimit": null, "medium": ""})), "10Gi");
        assert_eq!(filled_size(small, &json!({})), "5Gi");
        assert_eq!(filled_size(small, &json!({"medium": "Memory"})), "512Mi");
        assert_eq!(filled_size(large, &json!({})), "10Gi");
        assert_eq!(filled_size(large, &json!({"medium": "Memory"})), "4Gi");
        fills("empty-dir spec.volumes[1].emptyDir.sizeLimit", |pod| {
            pod["spec"]["volumes"][1]["emptyDir"] = json!({})
        });
    }

    #[test]
    fn volume_without_a_source_is_an_empty_dir() {
        for volume in [json!({"name": "x"}), json!({"name": "x", "emptyDir": null})] {
            let mut pod = complete_pod();
            add(&mut pod, volume);
            assert_eq!(
                filled(&pod)["spec"]["volumes"][2],
                json!({"name": "x", "emptyDir": {"sizeLimit": "10Gi"}})
            );
        }
    }

    #[test]
    fn explicit_size_above_the_maximum_is_denied_and_not_lowered() {
        for size in [
            json!("0"),
            json!("-1"),
            json!("10737418241"),
            json!("11Gi"),
            json!("x"),
            json!("1e999999999"),
            json!(0),
        ] {
            rejects("empty-dir spec.volumes[0].emptyDir.sizeLimit", |pod| {
                pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] = size
            });
        }
        for size in [json!("10Gi"), json!("10737418240"), json!(1024), json!("1n")] {
            accepts(|pod| pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] = size);
        }
        // The name of a filled volume brings no bound of its own.
        accepts(|pod| pod["spec"]["volumes"][1]["emptyDir"]["sizeLimit"] = json!("2Gi"));
    }

    #[test]
    fn memory_is_bounded_by_its_own_maximum() {
        for (size, fits) in [("1Gi", true), ("1025Mi", false)] {
            let change = |pod: &mut Json| {
                add(pod, json!({"name": "x", "emptyDir": {"medium": "Memory", "sizeLimit": size}}));
            };
            if fits {
                accepts(change);
            } else {
                rejects("empty-dir spec.volumes[2].emptyDir.sizeLimit", change);
            }
        }
    }

    #[test]
    fn other_medium_is_denied_and_hides_no_wrong_size() {
        rejects("empty-dir spec.volumes[2].emptyDir.medium", |pod| {
            add(pod, json!({"name": "x", "emptyDir": {"medium": "HugePages-2Mi", "sizeLimit": "1Gi"}}));
        });
        let mut pod = complete_pod();
        add(&mut pod, json!({"name": "x", "emptyDir": {"medium": "HugePages-2Mi", "sizeLimit": "1Ti"}}));
        let both = ["medium", "sizeLimit"].map(|field| format!("empty-dir spec.volumes[2].emptyDir.{field}"));
        assert_eq!(violations(&pod), both);
    }
}
