//! The taints that the Pod tolerates.

use std::fmt;

use super::{Group, Rule};
use crate::{
    cel::{self, Keys, Statement},
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{Pod, spec_mut},
    policy::{Placement, Profile, Spec, TaintEffect, Toleration, TolerationOperator},
    text::quote,
    violations::{Reporter, show},
};

static TOLERATIONS_PATH: LazyPath<'static> = SPEC.child("tolerations");

pub(super) static TOLERATIONS: Rule = Rule {
    id: "tolerations",
    group: Group::Placement,
    title: "The Pod tolerates the policy's taints and none that the policy does not allow.",
    why: "Taints keep Pods off nodes that are not for them. The policy's tolerations are filled in. Besides them a \
          Pod may have those that the policy allows, each that tolerates less, and the three that the API server adds \
          itself: not-ready and unreachable, and memory-pressure on OpenShift.",
    references: &[
        "NIST SP 800-190, 4.3.4: Mixing of workload sensitivity levels",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/",
    ],
    setting: "spec.placement.allowedTolerations",
    fill: Some(fill_tolerations),
    check: check_tolerations,
    cel: Some(cel_tolerations),
};

fn fill_tolerations<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    if spec.placement.tolerations.is_empty() {
        return 0;
    }
    let Some(tolerations) = spec_mut(pod).and_then(|pod| pod.list_mut("tolerations")) else { return 0 };
    let mut filled = 0;
    for wanted in &spec.placement.tolerations {
        let stands =
            tolerations.iter().any(|(_, item)| item.as_object().is_some_and(|item| equal(item, wanted)));
        if !stands {
            tolerations.push(toleration(wanted));
            filled += 1;
        }
    }
    filled
}

fn toleration(wanted: &Toleration) -> Object<'_> {
    let Toleration { key, operator, value, effect } = wanted;
    let mut object = Object::from([("key", key.as_str()), ("operator", operator.as_str())]);
    if !value.is_empty() {
        object.set("value", value.as_str());
    }
    if let Some(effect) = effect {
        object.set("effect", effect.as_str());
    }
    object
}

fn check_tolerations(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let Placement { tolerations: required, allowed_tolerations: allowed, .. } = &spec.placement;
    for (index, item) in pod.spec.list("tolerations") {
        let admitted = item.as_object().is_some_and(|item| {
            is_api_default(item) || required.iter().chain(allowed).any(|wanted| covers(wanted, item))
        });
        if !admitted {
            let found = item.as_object().map_or_else(|| show(Some(item)), summary);
            let remedy = ForeignToleration { runtime_class: pod.spec.str("runtimeClassName") };
            out.report(TOLERATIONS_PATH.index(index), found, AllowedTolerations(&spec.placement), remedy);
        }
    }
    for wanted in required {
        if !pod.spec.objects("tolerations").any(|(_, item)| equal(item, wanted)) {
            let text = format_args!("with {}", describe_toleration(wanted));
            let remedy = format_args!("add {} (policy key placement.tolerations)", toleration_text(wanted));
            out.report(TOLERATIONS_PATH, "without it", text, remedy);
        }
    }
}

/// The action against a toleration that the policy does not allow. Often the author of the Pod did not write it.
struct ForeignToleration<'p> {
    runtime_class: Option<&'p str>,
}

impl fmt::Display for ForeignToleration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("remove it if you wrote it; if ")?;
        if let Some(class) = self.runtime_class {
            write!(f, "the RuntimeClass {} (scheduling.tolerations), ", quote(class))?;
        }
        f.write_str("the API server or a controller added it, the policy must allow it (policy key ")?;
        f.write_str("placement.allowedTolerations)")
    }
}

/// The tolerations that a Pod may have, for a message.
struct AllowedTolerations<'p>(&'p Placement);

impl fmt::Display for AllowedTolerations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut all = self.0.tolerations.iter().chain(&self.0.allowed_tolerations);
        let Some(first) = all.next() else { return f.write_str("absent") };
        write!(f, "one of the policy's ({}", describe_toleration(first))?;
        all.try_for_each(|toleration| write!(f, ", {}", describe_toleration(toleration)))?;
        f.write_str(")")
    }
}

/// The toleration as `kubectl describe` shows it.
fn describe_toleration(Toleration { key, operator, value, effect }: &Toleration) -> String {
    let value = if value.is_empty() { String::new() } else { format!("={value}") };
    let effect = effect.map(|effect| format!(":{}", effect.as_str())).unwrap_or_default();
    let exists = if *operator == TolerationOperator::Exists { " Exists" } else { "" };
    format!("{key}{value}{effect}{exists}")
}

/// The toleration as it is written in a Pod.
fn toleration_text(Toleration { key, operator, value, effect }: &Toleration) -> String {
    let value = Some(value)
        .filter(|value| !value.is_empty())
        .map(|value| format!(", value: {}", serde_json::to_string(value).unwrap_or_default()));
    let effect = effect.map(|effect| format!(", effect: {}", effect.as_str()));
    let [value, effect] = [value, effect].map(Option::unwrap_or_default);
    format!("{{key: {key}, operator: {}{value}{effect}}}", operator.as_str())
}

fn summary(toleration: &Object) -> String {
    let parts = [
        toleration.str("key"),
        Some(operator(toleration)),
        toleration.str("value"),
        toleration.str("effect"),
    ];
    let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    quote(&parts.join(" "))
}

/// An absent operator means Equal.
fn operator<'o>(toleration: &'o Object) -> &'o str {
    toleration.str("operator").filter(|operator| !operator.is_empty()).unwrap_or("Equal")
}

/// Returns true for the two tolerations that the plugin `DefaultTolerationSeconds` adds to every Pod, and for the one
/// that
/// `PodTolerationRestriction`, on `OpenShift`, adds to every Pod with requests.
fn is_api_default(toleration: &Object) -> bool {
    let has_seconds = toleration.get("tolerationSeconds").is_some();
    let is_number = toleration.i64("tolerationSeconds").is_some();
    operator(toleration) == "Exists"
        && match toleration.str("key").unwrap_or_default() {
            "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable" => {
                effect(toleration) == Some("NoExecute") && is_number
            }
            "node.kubernetes.io/memory-pressure" => effect(toleration) == Some("NoSchedule") && !has_seconds,
            _ => false,
        }
}

fn equal(found: &Object, wanted: &Toleration) -> bool {
    found.str("key") == Some(&wanted.key)
        && operator(found) == wanted.operator.as_str()
        && found.str("value").unwrap_or_default() == wanted.value
        && effect(found) == wanted.effect.map(TaintEffect::as_str)
        && found.get("tolerationSeconds").is_none()
}

/// Returns true if `wanted` tolerates every taint that `found` does.
fn covers(wanted: &Toleration, found: &Object) -> bool {
    let value = match wanted.operator {
        TolerationOperator::Exists => true,
        TolerationOperator::Equal => {
            operator(found) == "Equal" && found.str("value").unwrap_or_default() == wanted.value
        }
    };
    let effect_fits = wanted.effect.is_none_or(|wanted| effect(found) == Some(wanted.as_str()));
    found.str("key") == Some(&wanted.key) && value && effect_fits
}

fn effect<'o>(toleration: &'o Object) -> Option<&'o str> {
    toleration.str("effect").filter(|effect| !effect.is_empty())
}

const CEL_OPERATOR: &str = "(t.?operator.orValue('') == '' ? 'Equal' : t.operator)";

fn cel_tolerations(keys: Keys) -> Vec<Statement> {
    let placement = &keys.spec.placement;
    let api_default = format!(
        "({CEL_OPERATOR} == 'Exists' && ((t.?key.orValue('') in ['node.kubernetes.io/not-ready', \
         'node.kubernetes.io/unreachable'] && t.?effect.orValue('') == 'NoExecute' && t.?tolerationSeconds.hasValue()) || \
         (t.?key.orValue('') == 'node.kubernetes.io/memory-pressure' && t.?effect.orValue('') == 'NoSchedule' && \
         !t.?tolerationSeconds.hasValue())))"
    );
    let all = placement.tolerations.iter().chain(&placement.allowed_tolerations).map(cel_covers);
    let admitted = cel::any(std::iter::once(api_default).chain(all));
    let found = format!(
        "strings.quote([t.?key.orValue(''), {CEL_OPERATOR}, t.?value.orValue(''), t.?effect.orValue('')].join(' '))"
    );
    let foreign = Statement::toleration(cel::not(&admitted), &found);
    let missing = placement.tolerations.iter().map(|wanted| {
        let condition = format!("!v.o.?spec.?tolerations.orValue([]).exists(t, {})", cel_equals(wanted));
        Statement::pod(condition, "spec.tolerations", &cel::text(&format!("without {}", wanted.key)))
    });
    std::iter::once(foreign).chain(missing).collect()
}

fn cel_covers(wanted: &Toleration) -> String {
    let Toleration { key, operator, value, effect } = wanted;
    cel::all([
        format!("t.?key.orValue('') == {}", cel::text(key)),
        match operator {
            TolerationOperator::Exists => "true".into(),
            TolerationOperator::Equal => {
                format!("({CEL_OPERATOR} == 'Equal' && t.?value.orValue('') == {})", cel::text(value))
            }
        },
        effect.map_or("true".into(), |effect| format!("t.?effect.orValue('') == '{}'", effect.as_str())),
    ])
}

/// Returns the condition that the toleration `t` is the wanted one.
pub(crate) fn cel_equals(wanted: &Toleration) -> String {
    let Toleration { key, operator, value, effect } = wanted;
    let effect = effect.map_or("", |effect| effect.as_str());
    format!(
        "(t.?key.orValue('') == {} && {CEL_OPERATOR} == '{}' && t.?value.orValue('') == {} && \
         t.?effect.orValue('') == '{effect}' && !t.?tolerationSeconds.hasValue())",
        cel::text(key),
        operator.as_str(),
        cel::text(value)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    #[test]
    fn the_toleration_is_filled_once_whatever_its_spelling() {
        let pod = fills("tolerations spec.tolerations", |pod| pod["spec"]["tolerations"] = json!([]));
        assert_eq!(pod["spec"]["tolerations"], complete_pod()["spec"]["tolerations"]);
        accepts(|pod| without(&mut pod["spec"]["tolerations"][0], "operator"));
    }

    #[test]
    fn the_api_servers_own_tolerations_are_admitted() {
        accepts(|pod| {
            let list = pod["spec"]["tolerations"].as_array_mut().unwrap();
            for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
                list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
            }
        });
    }

    #[test]
    fn every_other_toleration_is_denied() {
        for other in [
            json!({"operator": "Exists"}),
            json!({"key": "", "operator": "Exists"}),
            json!({"key": "sandbox.gke.io/runtime", "operator": "Exists"}),
            json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor"}),
            json!({"key": "sandbox.gke.io/runtime", "value": "gvisor", "effect": "NoExecute"}),
            json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}),
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}),
            json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}),
            json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoExecute"}),
            json!({"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"}),
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}),
        ] {
            rejects("tolerations spec.tolerations[1]", |pod| {
                pod["spec"]["tolerations"].as_array_mut().unwrap().push(other);
            });
        }
    }

    #[test]
    fn toleration_that_openshift_adds_is_admitted() {
        accepts(|pod| {
            let added = json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"});
            pod["spec"]["tolerations"].as_array_mut().unwrap().push(added);
        });
    }

    /// An entry with `Exists` covers every value, and one without an effect covers every effect.
    #[test]
    fn allowed_toleration_covers_what_tolerates_less() {
        let any = spec("{placement: {allowedTolerations: [{key: gpu, operator: Exists}]}}");
        let one = spec("{placement: {allowedTolerations: [{key: gpu, value: a, effect: NoSchedule}]}}");
        for (toleration, by_any, by_one) in [
            (json!({"key": "gpu", "operator": "Exists"}), true, false),
            (json!({"key": "gpu", "value": "a", "effect": "NoSchedule"}), true, true),
            (json!({"key": "gpu", "operator": "Equal", "value": "a", "effect": "NoSchedule"}), true, true),
            (json!({"key": "gpu", "operator": "", "value": "a", "effect": "NoSchedule"}), true, true),
            (json!({"key": "gpu", "value": "a"}), true, false),
            (json!({"key": "gpu", "value": "a", "effect": ""}), true, false),
            (json!({"key": "gpu", "value": "b", "effect": "NoSchedule"}), true, false),
            (json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}), true, false),
            (json!({"key": "gpu", "value": "a", "effect": "NoExecute", "tolerationSeconds": 5}), true, false),
            (json!({"key": "gpu", "operator": "Gt", "value": "1", "effect": "NoSchedule"}), true, false),
            (json!({"key": "gpus", "operator": "Exists"}), false, false),
            (json!({"operator": "Exists"}), false, false),
            (json!({"key": null, "operator": "Exists"}), false, false),
        ] {
            for (spec, admitted) in [(&any, by_any), (&one, by_one)] {
                let add = |pod: &mut Json| {
                    pod["spec"]["tolerations"].as_array_mut().unwrap().push(toleration.clone());
                };
                if admitted {
                    accepts_under(spec, add);
                } else {
                    rejects_under(spec, "tolerations spec.tolerations[1]", add);
                }
            }
        }
    }

    #[test]
    fn allowed_toleration_is_not_filled() {
        let spec = spec("{placement: {tolerations: [], allowedTolerations: [{key: gpu, operator: Exists}]}}");
        assert!(filled_by(&spec, &plain_pod())["spec"].get("tolerations").is_none());
    }

    #[test]
    fn required_toleration_that_ends_early_does_not_count() {
        let spec = spec("{placement: {tolerations: [{key: k, operator: Exists, effect: NoExecute}]}}");
        let mut pod = complete_pod();
        pod["spec"]["tolerations"] =
            json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
        assert_eq!(violations_of(&spec, &pod), ["tolerations spec.tolerations"]);
        let filled = filled_by(&spec, &pod);
        assert_eq!(
            filled["spec"]["tolerations"][1],
            json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})
        );
    }

    #[test]
    fn denied_toleration_names_the_runtime_class_and_the_key_of_the_policy() {
        let mut pod = complete_pod();
        pod["spec"]["tolerations"].as_array_mut().unwrap().push(json!({"key": "x", "operator": "Exists"}));
        let spec = spec("{placement: {allowedTolerations: [{key: gpu, operator: Exists}]}}");
        assert_eq!(
            lines_of(&spec, &pod),
            [
                "spec.tolerations[1] is \"x Exists\", must be one of the policy's (sandbox.gke.io/runtime=gvisor:NoSchedule, gpu Exists): remove it if you wrote it; if the RuntimeClass \"gvisor\" (scheduling.tolerations), the API server or a controller added it, the policy must allow it (policy key placement.allowedTolerations) (tolerations)"
            ]
        );
    }
}
