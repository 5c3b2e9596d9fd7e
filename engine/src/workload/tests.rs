use serde_json::{Value as Json, json};

use super::*;
use crate::{
    json::value_from_str,
    path::{FieldPath, Step},
};

/// Returns the path of a written path.
fn path(text: &str) -> FieldPath {
    crate::yaml::steps(text).map(|step| step.parse().map_or(Step::Field(step), Step::Index)).collect()
}

/// Returns where a field of the Pod is in the object.
fn located(location: &TemplateLocation, pod_path: &str) -> String {
    location.path(&path(pod_path)).unwrap().to_string()
}

fn workload(object: &Json) -> Workload {
    let text = object.to_string();
    pod_templates(&value_from_str(&text).unwrap(), "workflows").unwrap()
}

fn pods(object: &Json) -> Vec<Json> {
    workload(object).pods.iter().map(|pod| serde_json::from_str(&pod.pod).unwrap()).collect()
}

/// Each Pod's path of `spec.containers[0].image` in the object.
fn image_paths(object: &Json) -> Vec<String> {
    workload(object).pods.iter().map(|pod| located(&pod.location, "spec.containers[0].image")).collect()
}

/// Puts `value` at a path; `[*]` becomes a list of two, or a mapping for the replica specs of Kubeflow.
fn put(path: &str, value: &Json) -> Json {
    let steps: Vec<&str> = crate::yaml::steps(path).collect();
    steps.iter().rev().enumerate().fold(value.clone(), |inner, (position, step)| {
        let owner = steps.len().checked_sub(position + 2).map(|index| steps[index]);
        match *step {
            "*" if owner.is_some_and(|owner| owner.ends_with("ReplicaSpecs")) => {
                json!({"Master": inner, "Worker": inner})
            }
            "*" => json!([inner, inner]),
            key => json!({key: inner}),
        }
    })
}

fn merge(into: &mut Json, from: &Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[test]
fn every_path_of_the_table_leads_to_its_pods() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "b"}]}});
    for kind in KINDS {
        let Templates::At(paths) = &kind.templates else { continue };
        for version in kind.versions {
            let api_version =
                if kind.group.is_empty() { (*version).into() } else { format!("{}/{version}", kind.group) };
            let mut object =
                json!({"apiVersion": api_version, "kind": kind.kind, "metadata": {"name": "it"}});
            for path in *paths {
                merge(&mut object, &put(path.path, &template));
            }
            let expected: usize = paths.iter().map(|path| 1 << path.path.matches("[*]").count()).sum();
            let workload = workload(&object);
            assert_eq!(workload.pods.len(), expected, "{} {api_version}", kind.kind);
            assert!(
                workload.notes.iter().all(|note| *note == Note::Partial),
                "{} {:?}",
                kind.kind,
                workload.notes
            );
            for pod in &workload.pods {
                let located = located(&pod.location, "spec.containers[0].image");
                let pointer: String = crate::yaml::steps(&located).flat_map(|step| ["/", step]).collect();
                assert_eq!(object.pointer(&pointer), Some(&json!("b")), "{located}");
                let made: Json = serde_json::from_str(&pod.pod).unwrap();
                assert_eq!(made["metadata"]["namespace"], "workflows");
                assert!(made["metadata"]["ownerReferences"].is_array() || kind.kind == "PodTemplate");
            }
        }
    }
}

#[test]
fn a_kind_without_its_template_is_an_error_with_the_path() {
    let text = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {}}).to_string();
    let missing = pod_templates(&value_from_str(&text).unwrap(), "x");
    assert_eq!(missing, Err("spec.jobTemplate.spec.template".into()));
}

#[test]
fn a_pod_is_itself() {
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": []}});
    let mut expected = pod.clone();
    expected["metadata"]["namespace"] = json!("workflows");
    assert_eq!(pods(&pod), [expected]);
}

#[test]
fn a_controller_adds_what_it_adds() {
    let template = json!({"spec": {"containers": [{"name": "a"}]}});
    let of = |version: &str, kind: &str| {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "it"},
            "spec": {"template": template, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
        pods(&object).remove(0)
    };
    assert_eq!(of("apps/v1", "DaemonSet")["spec"]["tolerations"].as_array().unwrap().len(), 6);
    assert_eq!(
        of("apps/v1", "StatefulSet")["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"],
        "data-0"
    );
    assert_eq!(of("apps/v1", "Deployment")["spec"]["restartPolicy"], "Always");
    assert_eq!(of("apps/v1", "Deployment")["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(of("batch/v1", "Job")["spec"]["restartPolicy"], Json::Null);
    assert_eq!(of("batch/v1", "Job")["metadata"]["generateName"], "it-");
    assert_eq!(of("serving.knative.dev/v1", "Service")["spec"]["containers"][0]["name"], "a");
}

#[test]
fn an_argo_workflow_has_a_pod_for_each_template_with_a_container() {
    let workflow = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "hello-"},
    "spec": {
        "serviceAccountName": "runner", "hostNetwork": true, "volumes": [{"name": "shared", "emptyDir": {}}],
        "podMetadata": {"labels": {"app": "mine"}},
        "templates": [
            {"name": "main", "steps": [[{"name": "a", "template": "b"}]]},
            {"name": "one", "container": {"image": "b", "securityContext": {"privileged": true}},
             "sidecars": [{"name": "s", "image": "c", "mirrorVolumeMounts": true}],
             "volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
            {"name": "two", "script": {"image": "b", "source": "echo"}, "serviceAccountName": "own"},
            {"name": "three", "containerSet": {"containers": [{"name": "x", "image": "b"}]}, "podSpecPatch": "{}"},
        ],
    }});
    assert_eq!(
        image_paths(&workflow),
        [
            "spec.templates[1].container.image",
            "spec.templates[2].script.image",
            "spec.templates[3].containerSet.containers[0].image"
        ]
    );
    let made = pods(&workflow);
    assert_eq!(made[0]["spec"]["containers"][0]["securityContext"]["privileged"], true);
    assert_eq!(made[0]["spec"]["containers"][1], json!({"name": "s", "image": "c"}));
    assert_eq!(made[0]["spec"]["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&made[0]["spec"]["hostNetwork"], &made[0]["spec"]["restartPolicy"]),
        (&json!(true), &json!("Never"))
    );
    assert_eq!(made[0]["metadata"]["labels"]["app"], "mine");
    assert_eq!(made[1]["spec"]["containers"][0], json!({"name": "main", "image": "b"}));
    assert_eq!(made[1]["spec"]["serviceAccountName"], "own");
    let found = workload(&workflow);
    assert_eq!(
        located(&found.pods[0].location, "spec.volumes[1].hostPath"),
        "spec.templates[1].volumes[0].hostPath"
    );
    assert_eq!(located(&found.pods[0].location, "spec.hostNetwork"), "spec.hostNetwork");
    assert_eq!(
        found.notes,
        [Note::Unreadable { path: path("spec.templates[3].podSpecPatch") }, Note::Partial]
    );
}

#[test]
fn templates_that_a_workflow_takes_from_elsewhere_are_named() {
    let of_cluster = json!({"name": "shared", "template": "t", "clusterScope": true});
    let workflow = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"},
    "spec": {
        "hooks": {"exit": {"templateRef": {"name": "ends", "template": "t"}}},
        "templates": [
            {"name": "main", "steps": [[{"name": "a", "templateRef": {"name": "builds", "template": "t"}}]]},
            {"name": "dag", "dag": {"tasks": [{"name": "b", "templateRef": of_cluster}]}},
            {"name": "create", "resource": {"action": "create", "manifest": "kind: Pod"}},
        ],
    }});
    let reference = |kind: &str, name: &str| Note::Reference { kind: kind.into(), name: name.into() };
    assert_eq!(
        workload(&workflow).notes,
        [
            reference("WorkflowTemplate", "builds"),
            reference("ClusterWorkflowTemplate", "shared"),
            Note::Unreadable { path: path("spec.templates[2].resource") },
            reference("WorkflowTemplate", "ends"),
        ]
    );
}

#[test]
fn a_tekton_task_has_one_pod_of_its_steps() {
    let run = json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "build"}, "spec": {
    "serviceAccountName": "builder", "podTemplate": {"hostNetwork": true, "securityContext": {"runAsUser": 0}},
    "taskSpec": {
        "stepTemplate": {"image": "base"},
        "steps": [{"script": "echo", "computeResources": {"limits": {"cpu": "9"}}}, {"name": "b", "image": "b"}],
        "sidecars": [{"name": "docker", "image": "dind", "securityContext": {"privileged": true}}],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    }}});
    let made = pods(&run).remove(0);
    assert_eq!(
        made["spec"]["containers"],
        json!([
            {"resources": {"limits": {"cpu": "9"}}, "image": "base", "name": "unnamed-0"},
            {"name": "b", "image": "b"},
            {"name": "docker", "image": "dind", "securityContext": {"privileged": true}},
        ])
    );
    assert_eq!(made["spec"]["serviceAccountName"], "builder");
    let location = &workload(&run).pods[0].location;
    assert_eq!(located(location, "spec.containers[2].image"), "spec.taskSpec.sidecars[0].image");
    assert_eq!(located(location, "spec.hostNetwork"), "spec.podTemplate.hostNetwork");

    let named = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "p"},
        "spec": {"pipelineRef": {"name": "ci"}}});
    assert_eq!(
        workload(&named),
        Workload {
            pods: vec![],
            notes: vec![Note::Reference { kind: "Pipeline".into(), name: "ci".into() }]
        }
    );
}

#[test]
fn a_spark_application_has_a_driver_and_an_executor() {
    let spark = json!({"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": {"name": "pi"},
        "spec": {"image": "spark", "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
            "driver": {"serviceAccount": "spark", "securityContext": {"privileged": true}, "labels": {"a": "b"}},
            "executor": {"podSecurityContext": {"runAsUser": 0}, "hostNetwork": true}}});
    let made = pods(&spark);
    assert_eq!(made[0]["spec"]["containers"][0]["image"], "spark");
    assert_eq!(made[0]["spec"]["serviceAccountName"], "spark");
    assert_eq!(made[1]["spec"]["securityContext"]["runAsUser"], 0);
    let found = workload(&spark);
    assert_eq!(
        located(&found.pods[0].location, "spec.containers[0].securityContext.privileged"),
        "spec.driver.securityContext.privileged"
    );
    assert_eq!(
        located(&found.pods[1].location, "spec.securityContext.runAsUser"),
        "spec.executor.podSecurityContext.runAsUser"
    );
    assert_eq!(located(&found.pods[1].location, "spec.volumes[0].hostPath"), "spec.volumes[0].hostPath");
}

#[test]
fn a_pod_template_of_spark_is_the_ground_of_the_roles_pod() {
    let template = json!({"metadata": {"annotations": {"dev.gvisor.x": "y"}}, "spec": {
        "hostPID": true, "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        "containers": [{"securityContext": {"privileged": true}, "image": "other"}, {"name": "s", "image": "c"}],
    }});
    let of = |template: &Json| {
        json!({"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": {"name": "pi"},
            "spec": {"image": "spark", "driver": {"template": template}}})
    };
    let spark = of(&template);
    let [driver] = pods(&spark).try_into().unwrap();
    assert_eq!(driver["metadata"]["annotations"], json!({"dev.gvisor.x": "y"}));
    assert_eq!(
        driver["spec"]["containers"],
        json!([
            {"image": "spark", "securityContext": {"privileged": true}, "name": "spark-kubernetes"},
            {"name": "s", "image": "c"},
        ])
    );
    assert_eq!(
        (&driver["spec"]["hostPID"], &driver["spec"]["restartPolicy"]),
        (&json!(true), &json!("Never"))
    );
    let location = &workload(&spark).pods[0].location;
    for (path, in_object) in [
        (
            "spec.containers[0].securityContext.privileged",
            "spec.driver.template.spec.containers[0].securityContext.privileged",
        ),
        ("spec.containers[1].image", "spec.driver.template.spec.containers[1].image"),
        ("spec.volumes[0].hostPath", "spec.driver.template.spec.volumes[0].hostPath"),
        ("spec.hostPID", "spec.driver.template.spec.hostPID"),
    ] {
        assert_eq!(located(location, path), in_object);
    }
    for strange in [json!("x"), json!({"spec": 1}), json!({"spec": {"volumes": {}}}), json!({"metadata": []})]
    {
        let unread = Note::Unreadable { path: path("spec.driver.template") };
        assert!(workload(&of(&strange)).notes.contains(&unread), "{strange}");
    }
}

#[test]
fn what_holds_for_the_pods_of_another_object_is_named() {
    let pod = json!({"hostNetwork": true});
    let unread = |at: &str| Note::Unreadable { path: path(at) };
    let run = json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "t"},
        "spec": {"taskRef": {"name": "build"}, "podTemplate": pod}});
    assert_eq!(workload(&run).notes[1..], [unread("spec.podTemplate")]);
    let run = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "p"},
        "spec": {"pipelineRef": {"name": "ci"}, "taskRunSpecs": [{"podTemplate": pod}]}});
    assert_eq!(workload(&run).notes[1..], [unread("spec.taskRunSpecs[0].podTemplate")]);
    let workflow = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"},
        "spec": {"workflowTemplateRef": {"name": "shared"}, "hostNetwork": true}});
    assert_eq!(workload(&workflow).notes[1..], [unread("spec.hostNetwork")]);
}

#[test]
fn what_may_make_pods_is_named() {
    let unknown = |object: Json| workload(&object).notes;
    let containers = json!({"containers": [{"image": "x"}]});
    for (object, path) in [
        (json!({"kind": "A", "spec": {"l": [{"template": {"spec": containers}}]}}), "spec.l[*].template"),
        (json!({"kind": "A", "spec": containers}), "spec"),
        (json!({"kind": "A", "spec": {"steps": [{"image": "x", "script": "y"}]}}), "spec.steps[*]"),
        (
            json!({"apiVersion": "extensions/v1beta1", "kind": "DaemonSet", "spec": {"template": {"spec": containers}}}),
            "spec.template",
        ),
    ] {
        assert_eq!(unknown(object), [Note::UnknownKind { paths: vec![path.into()] }]);
    }
    let two = json!({"kind": "A", "spec": {"head": {"template": {"spec": containers}}, "workers": [containers, containers]}});
    let paths = vec!["spec.head.template".into(), "spec.workers[*]".into()];
    assert_eq!(unknown(two), [Note::UnknownKind { paths }]);
    assert_eq!(unknown(json!({"kind": "A", "spec": {"containers": 1, "image": "x"}})), []);
    assert_eq!(unknown(json!({"kind": "ConfigMap", "data": {"image": "x", "args": "y"}})), []);
    let pool = json!({"apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxWarmPool",
        "spec": {"sandboxTemplateRef": {"name": "python"}}});
    assert_eq!(unknown(pool), [Note::Reference { kind: "SandboxTemplate".into(), name: "python".into() }]);
    let newer = json!({"apiVersion": "batch/v9", "kind": "Job", "spec": {"template": {"spec": containers}}});
    assert_eq!(unknown(newer), [Note::UnknownVersion]);
}

#[test]
fn a_runtime_class_adds_overhead_selector_and_tolerations() {
    let class =
        json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "gvisor"},
        "overhead": {"podFixed": {"cpu": "100m"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "x"}, {"key": "y"}]}})
        .to_string();
    let pod = json!({"metadata": {}, "spec": {"nodeSelector": {"c": "d"}, "tolerations": [{"key": "x"}]}})
        .to_string();
    let class = RuntimeClass::read(&value_from_str(&class).unwrap()).unwrap();
    let made: Json = serde_json::from_str(&class.add_to(&value_from_str(&pod).unwrap())).unwrap();
    assert_eq!(
        made["spec"],
        json!({"nodeSelector": {"c": "d", "a": "b"}, "tolerations": [{"key": "x"}, {"key": "y"}],
            "runtimeClassName": "gvisor", "overhead": {"cpu": "100m"}})
    );
    let other = value_from_str(r#"{"kind": "Pod"}"#).unwrap();
    assert_eq!(
        RuntimeClass::read(&other).unwrap_err(),
        "it is Pod of unset, must be RuntimeClass of node.k8s.io/v1"
    );
}

#[test]
fn hostile_objects_do_not_panic() {
    for value in [json!(null), json!(1), json!("x"), json!([]), json!([null, 1, {"spec": []}]), json!({})] {
        for kind in KINDS {
            for path in [
                "spec",
                "spec.template",
                "spec.template.spec",
                "spec.templates[*]",
                "spec.taskSpec.steps[*]",
                "spec.driver",
            ] {
                let mut object =
                    json!({"apiVersion": format!("{}/v1", kind.group), "kind": kind.kind, "metadata": value});
                merge(&mut object, &put(path, &value));
                let text = object.to_string();
                let _ = pod_templates(&value_from_str(&text).unwrap(), "n");
            }
        }
    }
}
