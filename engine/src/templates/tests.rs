//! Reviews of objects that make Pods, as an API server would send them, and the answers.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    policy::Source,
    rules::testing::{complete_pod, plain_pod},
    workload::{KINDS, Templates as TemplateSource},
};

const FILL: &str = "templates: fill";
/// A policy under which also the Pods of a Deployment are admitted.
const SERVICES: &str =
    "templates: fill, lifecycle: {restartPolicy: {default: Never, allowed: [Never, Always]}}";

/// The same policy, with the tolerations that the controller of a `DaemonSet` adds.
fn services_and_daemons() -> String {
    let taints =
        ["not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"];
    let allowed = taints.map(|taint| format!("{{key: node.kubernetes.io/{taint}, operator: Exists}}"));
    format!("{SERVICES}, placement: {{allowedTolerations: [{}]}}", allowed.join(", "))
}

fn policies(spec: &str) -> PolicySet {
    let text = format!(
        "{{apiVersion: sandgate.dev/v1beta1, kind: SandboxPolicy, metadata: {{name: p}}, spec: {{{spec}}}}}"
    );
    PolicySet::from_sources(&[Source { name: "p.yaml".into(), text }]).unwrap()
}

fn create(object: &Json) -> Json {
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "0a1b", "resource": {"group": "any", "version": "v1", "resource": "anythings"},
        "namespace": "workflows", "operation": "CREATE", "userInfo": {"username": "jane"},
        "object": object, "oldObject": null,
    }})
}

fn update(old: &Json, new: &Json) -> Json {
    let mut review = create(new);
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = old.clone();
    review
}

struct Answered {
    response: Json,
    result: TemplateResult,
    filled: usize,
}

impl Answered {
    fn warnings(&self) -> Vec<&str> {
        let warnings = self.response.get("warnings").and_then(Json::as_array);
        warnings.into_iter().flatten().map(|warning| warning.as_str().unwrap()).collect()
    }

    fn is_patched(&self) -> bool {
        self.response.get("patch").is_some()
    }

    fn patched(&self, object: &Json) -> Json {
        assert_eq!(self.response["patchType"], "JSONPatch");
        let patch = STANDARD.decode(self.response["patch"].as_str().unwrap()).unwrap();
        let mut object = object.clone();
        json_patch::patch(&mut object, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap())
            .unwrap();
        object
    }
}

fn ask(spec: &str, review: &Json) -> Answered {
    let TemplateAnswer { body, result, filled } =
        answer(&policies(spec), None, review.to_string().as_bytes()).unwrap();
    let answer: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&answer["kind"], &answer["apiVersion"]),
        (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
    );
    let response = answer["response"].clone();
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("0a1b"), &json!(true)));
    Answered { response, result, filled }
}

fn workload(version: &str, kind: &str, template: &Json) -> Json {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "it"}, "spec": {"template": template}})
}

/// The template of a Pod that asks for nothing.
fn open_template() -> Json {
    json!({"metadata": {"labels": {"own": "label"}}, "spec": plain_pod()["spec"]})
}

fn job() -> Json {
    let mut job = workload("batch/v1", "Job", &open_template());
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    job
}

fn deployment() -> Json {
    let mut deployment = workload("apps/v1", "Deployment", &open_template());
    deployment["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    deployment
}

fn privileged_job() -> Json {
    let mut job = job();
    job["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    job
}

#[test]
fn a_person_is_warned_of_what_the_pods_will_be_denied_for() {
    let answered = ask("", &create(&privileged_job()));
    assert_eq!(answered.result, TemplateResult::Violates);
    let warnings = answered.warnings();
    let wanted = "sandgate will deny its Pods: spec.template.spec.containers[0].securityContext.privileged is true, must be ";
    assert!(warnings.iter().any(|line| line.starts_with(wanted)), "{warnings:?}");
    assert!(!answered.is_patched());
}

#[test]
fn an_open_template_conforms_and_is_left_as_it_is_by_default() {
    let answered = ask("", &create(&job()));
    assert_eq!(
        (answered.result, answered.warnings(), answered.is_patched()),
        (TemplateResult::Conforms, vec![], false)
    );
}

#[test]
fn a_template_is_filled_where_the_policy_says_so() {
    let answered = ask(FILL, &create(&job()));
    assert_eq!((answered.result, answered.filled), (TemplateResult::Conforms, 1));
    let stored = answered.patched(&job());
    let template = &stored["spec"]["template"];
    assert_eq!(template["spec"]["runtimeClassName"], "gvisor");
    assert_eq!(template["metadata"]["labels"], json!({"own": "label", "app": "workflow-runner"}));
    let annotations = template["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(
        annotations.keys().collect::<Vec<_>>(),
        ["sandgate.dev/filled-resources"],
        "no policy is named"
    );
    assert_eq!(answered.warnings().len(), 1);
    assert!(answered.warnings()[0].starts_with("sandgate: filled "), "{:?}", answered.warnings());
    assert!(answered.warnings()[0].ends_with(" fields in spec.template for policy p"));

    let again = ask(FILL, &create(&stored));
    assert_eq!((again.result, again.filled, again.is_patched()), (TemplateResult::Conforms, 0, false));
}

#[test]
fn a_template_that_would_be_denied_is_not_filled() {
    for object in [privileged_job(), deployment()] {
        let answered = ask(FILL, &create(&object));
        assert_eq!((answered.result, answered.is_patched()), (TemplateResult::Violates, false));
    }
    let answered = ask(FILL, &create(&deployment()));
    assert!(answered.warnings()[0].contains("spec.template.spec.restartPolicy is \"Always\""));
}

#[test]
fn a_deadline_is_not_filled_where_the_api_denies_it_in_templates() {
    for (version, kind) in [("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"), ("apps/v1", "StatefulSet")] {
        let mut object = deployment();
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        let policy = services_and_daemons();
        let stored = ask(&policy, &create(&object)).patched(&object);
        let spec = &stored["spec"]["template"]["spec"];
        assert_eq!(
            (&spec["activeDeadlineSeconds"], &spec["runtimeClassName"]),
            (&Json::Null, &json!("gvisor"))
        );
        assert_eq!(spec["restartPolicy"], "Always");
        assert!(!ask(&policy, &create(&stored)).is_patched(), "{kind}");
    }
    let stored = ask(FILL, &create(&job())).patched(&job());
    assert_eq!(stored["spec"]["template"]["spec"]["activeDeadlineSeconds"], 3600);
}

#[test]
fn tolerations_that_only_the_pods_of_a_daemon_have_are_not_written_into_its_template() {
    let mut daemon = deployment();
    daemon["kind"] = json!("DaemonSet");
    let spec = services_and_daemons();
    let stored = ask(&spec, &create(&daemon)).patched(&daemon);
    let tolerations = stored["spec"]["template"]["spec"]["tolerations"].as_array().unwrap();
    assert_eq!(tolerations.len(), 1);
    assert_eq!(tolerations[0]["key"], "sandbox.gke.io/runtime");
}

/// Puts `value` at a path; `[*]` becomes a list of two, or a mapping for the replica specs of Kubeflow.
fn put(object: &mut Json, path: &str, value: &Json) {
    let mut places = vec![object];
    let steps: Vec<&str> = crate::yaml::steps(path).collect();
    for (position, step) in steps.iter().enumerate() {
        let inner = |place| match *step {
            "*" if steps[position - 1].ends_with("ReplicaSpecs") => {
                let map: &mut Json = place;
                if map.is_null() {
                    *map = json!({"Master": null, "Worker": null});
                }
                map.as_object_mut().unwrap().values_mut().collect::<Vec<_>>()
            }
            "*" => {
                let list: &mut Json = place;
                if list.is_null() {
                    *list = json!([null, null]);
                }
                list.as_array_mut().unwrap().iter_mut().collect()
            }
            key => vec![&mut place[key]],
        };
        places = places.into_iter().flat_map(inner).collect();
    }
    for place in places {
        *place = value.clone();
    }
}

#[test]
fn every_kind_with_a_template_is_filled_once_and_its_pods_are_then_admitted_as_they_are() {
    let mut kinds = 0;
    for kind in KINDS.iter().filter(|kind| kind.fillable_fields() != FillableFields::None) {
        let TemplateSource::At(paths) = &kind.templates else { continue };
        kinds += 1;
        let version = kind.versions[0];
        let version =
            if kind.group.is_empty() { version.into() } else { format!("{}/{version}", kind.group) };
        let mut object = json!({"apiVersion": version, "kind": kind.kind, "metadata": {"name": "it"}});
        let mut template = open_template();
        template["spec"]["restartPolicy"] = json!("Never");
        if kind.fillable_fields() == FillableFields::WithoutDeadline {
            template["spec"]["restartPolicy"] = json!("Always");
        }
        for path in *paths {
            put(&mut object, path.path, &template);
        }
        let spec = &services_and_daemons();
        let answered = ask(spec, &create(&object));
        assert_eq!(answered.result, TemplateResult::Conforms, "{}: {:?}", kind.kind, answered.warnings());
        let stored = answered.patched(&object);
        assert!(!ask(spec, &create(&stored)).is_patched(), "{} is filled once", kind.kind);

        // The Pods of the stored object need nothing more than what a template must not have.
        let text = stored.to_string();
        let made = pod_templates(&crate::json::value_from_str(&text).unwrap(), "workflows").unwrap();
        assert_eq!(made.pods.len(), answered.filled, "{}", kind.kind);
        let policies = policies(spec);
        for pod in &made.pods {
            let mut tree = pod_from_str(&pod.pod).unwrap();
            let findings = evaluate(&policies.policies()[0], &mut tree, None, Defaults::Fill);
            assert!(findings.violations.is_empty(), "{}", kind.kind);
            let mut left: Vec<String> =
                crate::pod::changed_paths(&tree).iter().map(ToString::to_string).collect();
            left.retain(|path| !path.contains("sandgate.dev/") && path != "spec.activeDeadlineSeconds");
            assert_eq!(left, Vec::<String>::new(), "{}", kind.kind);
        }
    }
    assert!(kinds > 25, "{kinds}");
}

#[test]
fn an_update_is_reviewed_if_it_changes_a_template() {
    let before = deployment();
    let mut scaled = before.clone();
    scaled["spec"]["replicas"] = json!(5);
    let answered = ask(SERVICES, &update(&before, &scaled));
    assert_eq!((answered.result, answered.is_patched()), (TemplateResult::Skipped, false));

    let mut changed = before.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    let answered = ask(SERVICES, &update(&before, &changed));
    assert_eq!((answered.result, answered.filled), (TemplateResult::Conforms, 1));
    assert_eq!(answered.patched(&changed)["spec"]["template"]["spec"]["runtimeClassName"], "gvisor");
}

/// As a merge patch does, which replaces lists whole: `kubectl apply` of a custom resource.
#[test]
fn a_template_whose_containers_are_replaced_is_filled_to_what_it_was() {
    let before = ask(SERVICES, &create(&deployment())).patched(&deployment());
    let mut replaced = before.clone();
    let spec = &mut replaced["spec"]["template"]["spec"];
    spec["containers"] = deployment()["spec"]["template"]["spec"]["containers"].clone();
    let answered = ask(SERVICES, &update(&before, &replaced));
    assert_eq!(answered.patched(&replaced), before);
}

#[test]
fn an_update_of_a_job_is_warned_of_and_not_filled() {
    let mut suspended = job();
    suspended["spec"]["template"]["spec"]["nodeSelector"] = json!({"pool": "a"});
    let answered = ask(FILL, &update(&job(), &suspended));
    assert_eq!((answered.result, answered.is_patched()), (TemplateResult::Conforms, false));
    let answered = ask(FILL, &update(&job(), &privileged_job()));
    assert_eq!(answered.result, TemplateResult::Violates);
}

#[test]
fn a_template_that_cannot_change_is_only_filled_to_what_it_was() {
    let template = json!({"spec": {"template": job()["spec"]["template"]}});
    let job_set = json!({"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "it"},
        "spec": {"replicatedJobs": [{"name": "a", "template": template}]}});
    let before = ask(FILL, &create(&job_set)).patched(&job_set);
    assert_eq!(ask(FILL, &update(&before, &job_set)).patched(&job_set), before);
    let mut other = job_set.clone();
    other["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["nodeSelector"] =
        json!({"a": "b"});
    assert!(!ask(FILL, &update(&before, &other)).is_patched());
    assert!(!ask(FILL, &update(&job_set, &other)).is_patched());
}

#[test]
fn controllers_get_fills_and_no_warnings() {
    let by = |user: &str, object: &Json| {
        let mut review = create(object);
        review["request"]["userInfo"]["username"] = json!(user);
        ask(FILL, &review)
    };
    for user in ["system:serviceaccount:agents:controller", "system:kube-controller-manager", "system:node:n"]
    {
        let answered = by(user, &privileged_job());
        assert_eq!((answered.result, answered.warnings()), (TemplateResult::Violates, vec![]));
        let answered = by(user, &job());
        assert_eq!((answered.filled, answered.warnings()), (1, vec![]), "{user}");
    }
    assert!(!by("system:admin", &privileged_job()).warnings().is_empty(), "a person, on some distributions");
}

#[test]
fn an_object_whose_controller_compares_its_template_is_left_alone() {
    let mut replica_set = deployment();
    replica_set["kind"] = json!("ReplicaSet");
    assert!(ask(SERVICES, &create(&replica_set)).is_patched());
    replica_set["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "it", "uid": "1", "controller": true}]);
    assert_eq!(ask(SERVICES, &create(&replica_set)).result, TemplateResult::Skipped);
}

#[test]
fn lines_are_few_and_short() {
    let mut job = privileged_job();
    let containers = job["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
    let container = containers[0].clone();
    for index in 0..30 {
        let mut container = container.clone();
        container["name"] = json!(format!("{}-{index}", "x".repeat(400)));
        container["image"] = json!(format!("i{index}"));
        container["securityContext"]["runAsUser"] = json!(index + 2000);
        containers.push(container);
    }
    let answered = ask("", &create(&job));
    let warnings = answered.warnings();
    assert_eq!(warnings.len(), 11);
    assert!(warnings.iter().all(|line| line.chars().count() <= 250), "{warnings:#?}");
    let last = warnings[10];
    assert!(last.starts_with("sandgate: and ") && last.ends_with(" more: run sandgate check"), "{last}");
}

#[test]
fn a_policy_that_does_not_enforce_says_would_and_one_that_records_says_nothing() {
    let warned = ask("mode: warn", &create(&privileged_job()));
    assert!(warned.warnings().iter().all(|line| line.starts_with("sandgate would deny its Pods: ")));
    assert!(!warned.warnings().is_empty());
    let recorded = ask("mode: audit", &create(&privileged_job()));
    assert_eq!((recorded.result, recorded.warnings()), (TemplateResult::Violates, vec![]));
    assert!(
        !ask("mode: warn, templates: fill", &create(&job())).is_patched(),
        "such a Pod is not filled either"
    );
    assert!(ask("mode: warn, fill: always, templates: fill", &create(&job())).is_patched());
    assert!(!ask("fill: never, templates: fill", &create(&job())).is_patched());
}

#[test]
fn nothing_is_reviewed_without_a_policy_or_where_templates_are_off() {
    assert_eq!(ask("templates: off", &create(&privileged_job())).result, TemplateResult::Skipped);
    let mut elsewhere = create(&privileged_job());
    elsewhere["request"]["namespace"] = json!("elsewhere");
    assert_eq!(ask(FILL, &elsewhere).result, TemplateResult::Skipped);
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}});
    assert_eq!(ask(FILL, &create(&other)).result, TemplateResult::Skipped);
}

#[test]
fn of_a_workflow_only_what_is_written_counts() {
    let workflow = |context: Json| {
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "w-"}, "spec": {
            "activeDeadlineSeconds": 100_000,
            "templates": [{"name": "a", "container": {"image": "i", "securityContext": context}}],
        }})
    };
    let answered =
        ask("templates: fill, resources: {container: {limits: {cpu: '1'}}}", &create(&workflow(json!({}))));
    assert_eq!(
        (answered.result, answered.warnings(), answered.is_patched()),
        (TemplateResult::Conforms, vec![], false)
    );
    let answered = ask(FILL, &create(&workflow(json!({"privileged": true}))));
    let wanted =
        "sandgate will deny its Pods: spec.templates[0].container.securityContext.privileged is true";
    assert!(answered.warnings().iter().any(|line| line.starts_with(wanted)), "{:?}", answered.warnings());
}

#[test]
fn a_pod_that_some_users_may_create_is_not_warned_of() {
    let profile = "profiles: [{name: privileged, match: {users: ['system:serviceaccount:agents:*']}, spec: {security: {runAsUser: {default: 2000, min: 2000, max: 2000}}}}]";
    let mut job = job();
    job["spec"]["template"]["spec"]["securityContext"] = json!({"runAsUser": 2000});
    assert_eq!(ask(FILL, &create(&job)).result, TemplateResult::Violates);
    let answered = ask(&format!("{FILL}, {profile}"), &create(&job));
    assert_eq!((answered.warnings(), answered.is_patched()), (vec![], false));
}

#[test]
fn a_template_whose_fill_depends_on_the_creator_of_its_pods_is_not_filled() {
    let of_users = "match: {users: ['system:serviceaccount:agents:*']}";
    let other_user = "spec: {security: {runAsUser: {default: 2000, min: 2000, max: 2000}}}";
    for keys in [
        format!("profiles: [{{name: a, {of_users}, {other_user}}}]"),
        "exempt: {users: ['system:serviceaccount:kube-system:job-controller']}".to_owned(),
        "exempt: {users: [a, 'system:serviceaccount:agents:controller']}".to_owned(),
    ] {
        let answered = ask(&format!("{FILL}, {keys}"), &create(&job()));
        assert_eq!((answered.result, answered.is_patched()), (TemplateResult::Conforms, false), "{keys}");
    }
    // A profile that cannot be that of the Pod, and people who create no Pods of templates, make no difference.
    for keys in [
        format!("profiles: [{{name: a, match: {{users: [a], labels: {{x: 'y'}}}}, {other_user}}}]"),
        "exempt: {groups: [admins]}".to_owned(),
    ] {
        assert!(ask(&format!("{FILL}, {keys}"), &create(&job())).is_patched(), "{keys}");
    }
}

#[test]
fn what_cannot_be_read_is_allowed() {
    let mut broken = create(&job());
    broken["request"]["object"] = json!(vec![0; 300_000]);
    assert_eq!(ask(FILL, &broken).result, TemplateResult::Unread);

    let job_template = json!({"template": {"spec": {"template": open_template()}}});
    let job_set = json!({"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "it"},
        "spec": {"replicatedJobs": vec![job_template; 101]}});
    let answered = ask(FILL, &create(&job_set));
    assert_eq!(answered.result, TemplateResult::Unread);
    assert_eq!(answered.warnings(), [warnings::TOO_LARGE]);

    let head = Head::read(br#"{"kind":"AdmissionReview","request":{"uid":"0a1b","object":{"#).unwrap();
    let answer = answer_head(head, Unread::NotEvaluated);
    assert_eq!(answer.result, TemplateResult::Unread);
    let body: Json = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["response"], json!({"uid": "0a1b", "allowed": true}));
    assert!(super::answer(&PolicySet::builtin(), None, b"{}").is_err());
}

#[test]
fn a_template_that_is_no_template_is_left_to_the_api_server() {
    for template in
        [json!(null), json!([]), json!("x"), json!({"spec": []}), json!({"spec": {"containers": "x"}})]
    {
        let answered = ask(FILL, &create(&workload("batch/v1", "Job", &template)));
        assert!(!answered.is_patched(), "{template}");
    }
    let complete = complete_pod();
    let template = json!({"metadata": {"labels": complete["metadata"]["labels"]}, "spec": complete["spec"]});
    assert!(!ask(FILL, &create(&workload("batch/v1", "Job", &template))).is_patched(), "nothing is open");
}

#[test]
fn what_cannot_be_checked_of_a_stored_object_is_named() {
    let policies = policies("templates: warn");
    let policy = &policies.policies()[0];
    let check = |object: &Json| {
        let text = object.to_string();
        let StoredTemplates { violations, unchecked } =
            check_stored(policy, &crate::json::value_from_str(&text).unwrap(), "workflows");
        (violations.len(), unchecked)
    };
    let job = |spec: Json| json!({"apiVersion": "batch/v1", "kind": "Job", "spec": spec});
    let host =
        json!({"spec": {"hostNetwork": true, "restartPolicy": "Never", "containers": [{"image": "a"}]}});
    assert_eq!(check(&job(json!({"template": host}))), (1, vec![]));
    assert_eq!(check(&job(json!({}))), (0, vec!["it has no Pod template at spec.template".into()]));

    let workflow = |spec: Json| json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}, "spec": spec});
    let many = vec![json!({"name": "a", "container": {"image": "a"}}); 101];
    let too_many = (0, vec!["its templates are too large, or too many".to_owned()]);
    assert_eq!(check(&workflow(json!({"templates": many}))), too_many);
    let patched = json!({"hostNetwork": true, "podSpecPatch": "{}", "templates": [
        {"name": "a", "container": {"image": "a"}},
        {"name": "b", "steps": [[{"templateRef": {"name": "known", "template": "t"}}]]},
        {"name": "c", "steps": [[{"templateRef": {"name": "all", "template": "t", "clusterScope": true}}]]},
    ]});
    let (violations, unchecked) = check(&workflow(patched));
    assert_eq!(violations, 1, "what can be seen is checked all the same");
    assert_eq!(
        unchecked,
        [
            "it makes Pods from the ClusterWorkflowTemplate all, which is not checked",
            "it changes its Pods by spec.podSpecPatch, which cannot be read",
        ]
    );
    let newer = json!({"apiVersion": "jobset.x-k8s.io/v9", "kind": "JobSet", "metadata": {"name": "s"},
        "spec": {"replicatedJobs": [{"template": {"spec": {"template": host}}}]}});
    let unknown = vec!["the version of its API is not known, and may have more Pods".to_owned()];
    assert_eq!(check(&newer), (1, unknown));
}
