//! JSON patches for what is taken out, and for the atomic lists of a Pod. Values are maps, never typed objects.

use crate::{
    cel,
    policy::{Amount, NodeRequirement, Spec, Toleration},
    rules::{
        placement::{CEL_IS_EMPTY_TERM, cel_demands},
        projected::CEL_IS_API_VOLUME,
        tolerations::cel_equals,
    },
};

/// Takes out the volume with the token that the API server adds, and its mounts; `None` if Pods may have it. The last item
/// goes first, so that the positions of the others stay.
pub(super) fn without_token(spec: &Spec) -> Option<String> {
    if spec.service_account.automount_token {
        return None;
    }
    let is_token = format!("(d.name.startsWith('kube-api-access-') && {CEL_IS_API_VOLUME})");
    let tokens = format!("variables.volumes.filter(d, {is_token}).map(d, d.name)");
    let of_containers = ["containers", "initContainers"].map(|list| {
        format!(
            "object.spec.?{list}.orValue([]).transformList(i, c, c.?volumeMounts.orValue([]).transformList(j, m, \
             {tokens}.exists(t, t == m.name), JSONPatch{{op: 'remove', path: '/spec/{list}/' + string(i) + \
             '/volumeMounts/' + string(j)}})).flatten()"
        )
    });
    let volumes = format!(
        "object.spec.?volumes.orValue([]).transformList(i, d, {is_token}, \
         JSONPatch{{op: 'remove', path: '/spec/volumes/' + string(i)}})"
    );
    Some(format!("({volumes} + {}).reverse()", of_containers.join(" + ")))
}

/// Adds a toleration that is missing.
pub(super) fn toleration(wanted: &Toleration) -> String {
    let Toleration { key, operator, value, effect } = wanted;
    let mut entries = vec![("key", key.as_str()), ("operator", operator.as_str())];
    entries.extend((!value.is_empty()).then_some(("value", value.as_str())));
    entries.extend(effect.map(|effect| ("effect", effect.as_str())));
    let entries: Vec<String> =
        entries.into_iter().map(|(key, value)| format!("'{key}': {}", cel::text(value))).collect();
    let entry = format!("{{{}}}", entries.join(", "));
    format!(
        "object.spec.?tolerations.orValue([]).size() == 0 ? \
         [JSONPatch{{op: 'add', path: '/spec/tolerations', value: [{entry}]}}] : \
         object.spec.tolerations.exists(t, {}) ? [] : \
         [JSONPatch{{op: 'add', path: '/spec/tolerations/-', value: {entry}}}]",
        cel_equals(wanted)
    )
}

/// Adds a requirement on nodes to each term that lacks it, or the first term.
pub(super) fn requirement(wanted: &NodeRequirement) -> String {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let NodeRequirement { key, operator, values } = wanted;
    let values =
        if values.is_empty() { String::new() } else { format!(", 'values': dyn({})", cel::list(values)) };
    let entry =
        format!("{{'key': dyn({}), 'operator': dyn('{}'){values}}}", cel::text(key), operator.as_str());
    let required = format!("{{'nodeSelectorTerms': [{{'matchExpressions': [{entry}]}}]}}");
    let add =
        |path: &str, value: &str| format!("[JSONPatch{{op: 'add', path: '/spec/{path}', value: {value}}}]");
    let affinity = "object.spec.?affinity";
    let terms = format!("{affinity}.?nodeAffinity.?{REQUIRED}.?nodeSelectorTerms");
    format!(
        "!{affinity}.hasValue() ? {} : !{affinity}.?nodeAffinity.hasValue() ? {} : {terms}.orValue([]).size() == 0 ? {} : \
         {terms}.orValue([]).transformList(i, t, !({}) && !({}), t.?matchExpressions.orValue([]).size() > 0 ? \
         JSONPatch{{op: 'add', path: '/spec/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms/' + string(i) + \
         '/matchExpressions/-', value: {entry}}} : \
         JSONPatch{{op: 'add', path: '/spec/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms/' + string(i) + \
         '/matchExpressions', value: [{entry}]}})",
        add("affinity", &format!("{{'nodeAffinity': {{'{REQUIRED}': {required}}}}}")),
        add("affinity/nodeAffinity", &format!("{{'{REQUIRED}': {required}}}")),
        add(&format!("affinity/nodeAffinity/{REQUIRED}"), &required),
        CEL_IS_EMPTY_TERM,
        cel_demands(wanted),
    )
}

/// Adds to the capabilities of each container what it does not drop, and what it adds if it says nothing.
pub(super) fn capabilities(spec: &Spec) -> Vec<String> {
    let capabilities = &spec.security.capabilities;
    let mut patches = Vec::new();
    let mut each = |field: &str, is_lacking: &str, value: &str| {
        let of_list = ["containers", "initContainers"].map(|list| {
            let path = format!("'/spec/{list}/' + string(i) + '/securityContext/capabilities");
            format!(
                "object.spec.?{list}.orValue([]).transformList(i, c, {is_lacking}, \
                 c.?securityContext.?capabilities.hasValue() ? JSONPatch{{op: 'add', path: {path}/{field}', value: {value}}} : \
                 JSONPatch{{op: 'add', path: {path}', value: {{'{field}': {value}}}}})"
            )
        });
        patches.push(of_list.join(" + "));
    };
    if !capabilities.drop.is_empty() {
        let (wanted, dropped) =
            (cel::list(&capabilities.drop), "c.?securityContext.?capabilities.?drop.orValue([])");
        let is_lacking = format!("!('ALL' in {dropped}) && !{wanted}.all(n, n in {dropped})");
        each("drop", &is_lacking, &format!("{dropped} + {wanted}.filter(n, !(n in {dropped}))"));
    }
    if !capabilities.add.is_empty() {
        let is_lacking = "!c.?securityContext.?capabilities.?add.hasValue()";
        each("add", is_lacking, &cel::list(&capabilities.add));
    }
    patches
}

/// Gives each emptyDir without a size the least of the maximum and the budget.
pub(super) fn sizes(spec: &Spec) -> String {
    let (dir, budget) = (&spec.volumes.empty_dir, &spec.resources.pod.limits);
    let least = |one: &Amount, other: &Amount| {
        cel::text(if one.value < other.value { &one.text } else { &other.text })
    };
    let memory = least(&budget.memory, &dir.max_memory);
    let disk = least(&budget.ephemeral_storage, &dir.max_size);
    format!(
        "object.spec.?volumes.orValue([]).transformList(i, v, v.?emptyDir.hasValue() && \
         !v.emptyDir.?sizeLimit.hasValue(), JSONPatch{{op: 'add', path: '/spec/volumes/' + string(i) + \
         '/emptyDir/sizeLimit', value: v.emptyDir.?medium.orValue('') == 'Memory' ? {memory} : {disk}}})"
    )
}
