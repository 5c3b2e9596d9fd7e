//! Tests of the profile for a create, an update and a Binding, and of what a path names.

use super::*;

/// A long deadline for Pods of the user ci, another user id for Pods with a label.
const PROFILES: &str = "lifecycle: {activeDeadlineSeconds: {default: 600, max: 600}}, profiles: [\
    {name: long, match: {users: [ci]}, spec: {lifecycle: {activeDeadlineSeconds: {default: 7200, max: 7200}}}},\
    {name: builder, match: {labels: {role: builder}}, spec: {security: {runAsUser: {min: 1000, max: 2000}}}}]";

fn created_by(user: &str, pod: &Json) -> Json {
    let mut review = create(pod);
    review["request"]["userInfo"]["username"] = json!(user);
    review
}

/// The Pod as the policy with [`PROFILES`] fills it for a user.
fn filled_for(user: &str, pod: &Json) -> Json {
    patched(pod, &ask(&policies_of(PROFILES), Endpoint::Mutate, &created_by(user, pod)))
}

fn labelled(mut pod: Json, role: &str) -> Json {
    pod["metadata"]["labels"]["role"] = json!(role);
    pod
}

/// A Pod that only the profile builder admits.
fn builder() -> Json {
    let mut pod = filled_for("jane", &labelled(plain_pod(), "builder"));
    pod["spec"]["securityContext"]["runAsUser"] = json!(2000);
    pod
}

#[test]
fn a_profile_by_user_holds_for_the_creates_of_that_user() {
    assert_eq!(filled_for("ci", &plain_pod())["spec"]["activeDeadlineSeconds"], 7200);
    assert_eq!(filled_for("jane", &plain_pod())["spec"]["activeDeadlineSeconds"], 600);
    let long = filled_for("ci", &plain_pod());
    let policies = policies_of(PROFILES);
    for (user, allowed) in [("ci", true), ("jane", false)] {
        for endpoint in Endpoint::ALL {
            let answered = ask(&policies, endpoint, &created_by(user, &long));
            assert_eq!(answered.response["allowed"], allowed, "{user}");
            let profile = if allowed { json!("long") } else { Json::Null };
            assert_eq!(answered.record["profile"], profile, "{user}");
        }
    }
}

#[test]
fn a_profile_by_user_matches_no_update_and_the_pod_keeps_what_it_had() {
    let old = filled_for("ci", &plain_pod());
    let mut new = old.clone();
    new["metadata"]["labels"]["team"] = json!("a");
    for user in ["ci", "jane", "system:node:n"] {
        let mut review = update(&old, &new);
        review["request"]["userInfo"]["username"] = json!(user);
        let policies = policies_of(PROFILES);
        let answered = ask(&policies, Endpoint::Validate, &review);
        assert_eq!(answered.response["allowed"], true, "{user}");
        assert_eq!(answered.record["profile"], Json::Null, "{user}");
        assert_eq!(rules_of(&answered.record["forgiven"]), ["active-deadline"]);
    }
}

#[test]
fn a_pod_that_its_creator_was_allowed_is_no_escape() {
    let is_escape = |old: &Json| {
        let (policies, text) = (policies_of(PROFILES), update(old, old).to_string());
        answer(&policies, Endpoint::Validate, None, text.as_bytes()).unwrap().record.is_escape()
    };
    let mut old = filled_for("ci", &plain_pod());
    old["spec"]["nodeName"] = json!("n");
    assert!(!is_escape(&old));
    old["spec"]["activeDeadlineSeconds"] = json!(9000);
    assert!(is_escape(&old), "no user may have it");
}

#[test]
fn a_pod_that_stays_in_its_profile_is_denied_for_new_violations_only() {
    let policies = policies_of(PROFILES);
    let mut old = builder();
    old["spec"]["securityContext"]["runAsUser"] = json!(0);
    let mut new = old.clone();
    new["metadata"]["labels"]["team"] = json!("a");
    assert_eq!(ask(&policies, Endpoint::Validate, &update(&old, &new)).response["allowed"], true);
    new["spec"]["hostPID"] = json!(true);
    let answered = ask(&policies, Endpoint::Validate, &update(&old, &new));
    assert_eq!(rules_of(&answered.record["violations"]), ["host-namespaces"]);
}

#[test]
fn a_pod_that_leaves_its_profile_is_forgiven_nothing() {
    let policies = policies_of(PROFILES);
    let mut old = builder();
    old["spec"]["nodeName"] = json!("node-1");
    let new = labelled(old.clone(), "plain");
    let answered = ask(&policies, Endpoint::Validate, &update(&old, &new));
    assert_eq!(answered.response["allowed"], false);
    assert_eq!(rules_of(&answered.record["violations"]), ["run-as-user"], "the scheduler has set the node");
    assert_eq!(answered.record["forgiven"], json!([]));
}

#[test]
fn a_pod_that_moves_into_a_wider_profile_that_it_fits_is_admitted() {
    let policies = policies_of(PROFILES);
    let old = filled_for("jane", &plain_pod());
    let new = labelled(old.clone(), "builder");
    let answered = ask(&policies, Endpoint::Validate, &update(&old, &new));
    assert_eq!(answered.response["allowed"], true, "it could have been created so");
    assert_eq!(answered.record["profile"], "builder");
}

#[test]
fn finalizers_of_a_deleted_pod_are_removed_under_a_profile_too() {
    let policies = policies_of(PROFILES);
    let mut old = builder();
    old["spec"]["securityContext"]["runAsUser"] = json!(0);
    old["metadata"]["deletionTimestamp"] = json!("2026-11-24T12:00:00Z");
    old["metadata"]["finalizers"] = json!(["example.com/f"]);
    let mut new = old.clone();
    new["metadata"].as_object_mut().unwrap().remove("finalizers");
    assert_eq!(ask(&policies, Endpoint::Validate, &update(&old, &new)).response["allowed"], true);
}

#[test]
fn a_binding_cannot_move_a_pod_into_another_profile() {
    let policies = policies_of(PROFILES);
    let bind = |labels: Json| {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "labels": labels},
            "target": {"kind": "Node", "name": "n"}});
        let mut review = create(&binding);
        review["request"]["subResource"] = json!("binding");
        ask(&policies, Endpoint::Validate, &review)
    };
    let answered = bind(json!({"role": "builder"}));
    assert_eq!(answered.response["allowed"], false);
    let message = answered.response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("metadata.labels[role]") && message.contains("profile \"builder\""),
        "{message}"
    );
    assert_eq!(bind(json!({"team": "a"})).response["allowed"], true);
}

/// The API server's plugin `PodTopologyLabels` writes them into each Binding to a node that has them.
#[test]
fn the_topology_labels_of_a_binding_count_for_nothing() {
    let policies = policies_of("labels: {forbidden: ['topology.kubernetes.io/*']}");
    let binding = |labels: Json| {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "labels": labels},
            "target": {"kind": "Node", "name": "n"}});
        let mut review = create(&binding);
        review["request"]["subResource"] = json!("binding");
        review
    };
    let of_node = json!({"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "b"});
    let answered = ask(&policies, Endpoint::Validate, &binding(of_node));
    assert_eq!(answered.response["allowed"], true, "{}", answered.response);
}

#[test]
fn a_binding_cannot_rewrite_the_provenance_of_a_pod() {
    let binding = json!({"apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": "p", "annotations": {"sandgate.dev/policy": "approved"}},
        "target": {"kind": "Node", "name": "n"}});
    let mut review = create(&binding);
    review["request"]["subResource"] = json!("binding");
    assert_eq!(rules_of(&validate(&review).record["violations"]), ["provenance"]);
}

#[test]
fn the_record_names_the_exceptions_that_hold() {
    let policies = policies_of(
        "containers: [{name: agent, match: {images: [registry.example.com/agent]}, spec: {readOnlyRoot: x}}]"
            .replace("{readOnlyRoot: x}", "{security: {readOnlyRootFilesystem: false}}")
            .as_str(),
    );
    let answered = ask(&policies, Endpoint::Mutate, &create(&plain_pod()));
    assert_eq!(answered.record["exceptions"], json!([]));
    let mut pod = plain_pod();
    let agents = json!([
        {"name": "main", "image": "registry.example.com/runner:1"},
        {"name": "a", "image": "registry.example.com/agent:1"},
        {"name": "b", "image": "registry.example.com/agent:2"}
    ]);
    pod["spec"]["containers"] = agents;
    let answered = ask(&policies, Endpoint::Mutate, &create(&pod));
    assert_eq!(answered.record["exceptions"], json!(["agent"]));
}

#[test]
fn the_path_names_the_policy_of_a_namespace_that_is_selected_by_labels() {
    let text = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: labelled}\nspec: {namespaces: [], namespaceSelector: {matchLabels: {sandbox: 'true'}}}\n";
    let policies = PolicySet::from_sources(&[Source { name: "p.yaml".into(), text: text.into() }]).unwrap();
    let mut review = create(&plain_pod());
    review["request"]["namespace"] = json!("elsewhere");
    let text = review.to_string();
    let ask = |path| answer(&policies, Endpoint::Mutate, path, text.as_bytes()).unwrap().record;
    let record = ask(Some("labelled"));
    assert_eq!((record.outcome, record.policy.unwrap().name.as_str()), (Outcome::Admitted, "labelled"));
    let record = ask(None);
    assert_eq!((record.outcome, record.rules().as_str()), (Outcome::Denied, "namespace-policy"));
    let record = ask(Some("gone"));
    assert_eq!(record.outcome, Outcome::Denied);
    assert!(record.message().contains("policy \"gone\" may not be loaded yet"), "{}", record.message());
}
