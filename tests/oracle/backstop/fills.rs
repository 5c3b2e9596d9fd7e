//! Without any webhook: MutatingAdmissionPolicies fill, ValidatingAdmissionPolicies decide, and both are compared with the
//! engine.

use std::time::Duration;

use sandgate_engine::{
    backstop::{FILLS_MINOR, Settings, fills},
    review::Endpoint,
};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use super::{agreement::can_be_compared, fixture::Fixture, pods};
use crate::{apiserver::create_as, draw, generator, policy::Creator};
use testbed::eventually;

/// The API server gives no answer at all to some drawn Pods, whatever namespace they are for: these count as not asked.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Pods that leave different things open; each is filled to the same object by the engine and in CEL.
fn open_pods() -> Vec<(&'static str, Json)> {
    let with = |change: Json| {
        let mut spec = json!({"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]});
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open"}, "spec": spec})
    };
    let main = |change: Json| {
        let mut container = json!({"name": "main", "image": "registry.example.com/runner:1"});
        container.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        container
    };
    let plain = |name: &str| json!({"name": name, "image": "registry.example.com/tools:1"});
    let term =
        |expressions: Json, fields: Json| json!({"matchExpressions": expressions, "matchFields": fields});
    let zone = json!([{"key": "zone", "operator": "In", "values": ["a"]}]);
    let of_field = json!([{"key": "metadata.name", "operator": "In", "values": ["n"]}]);
    let required = json!({"nodeSelectorTerms": [term(zone, json!([])), term(json!([]), of_field)]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    let sidecar = json!({"name": "s", "image": "registry.example.com/s:1", "restartPolicy": "Always"});
    vec![
        ("plain", with(json!({}))),
        (
            "two containers and an init container",
            with(json!({
                "containers": [main(json!({})), plain("b")],
                "initContainers": [plain("first")],
            })),
        ),
        (
            "seven containers",
            with(json!({
                "containers": (0..7).map(|number| plain(&format!("c{number}"))).collect::<Vec<_>>(),
            })),
        ),
        ("a sidecar before an init container", with(json!({"initContainers": [sidecar, plain("i")]}))),
        ("node affinity of its own", with(json!({"affinity": affinity}))),
        (
            "a capability dropped",
            with(json!({
                "containers": [main(json!({"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}}))],
            })),
        ),
        (
            "one container requests more than its share",
            with(json!({
                "containers": [main(json!({"resources": {"requests": {"memory": "3Gi"}}})), plain("b")],
            })),
        ),
        (
            "only a limit",
            with(json!({
                "containers": [main(json!({"resources": {"limits": {"memory": "512Mi"}}}))],
            })),
        ),
        (
            "emptyDir volumes without a size",
            with(json!({
                "volumes": [{"name": "d", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}],
            })),
        ),
        (
            "a workspace of its own",
            with(json!({
                "volumes": [{"name": "w", "emptyDir": {"sizeLimit": "1Gi"}}],
                "containers": [main(json!({"volumeMounts": [{"name": "w", "mountPath": "/workspace/"}]}))],
            })),
        ),
        (
            "a volume of the name of a filled one",
            with(json!({
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "3Gi"}}],
                "containers": [main(json!({"volumeMounts": [{"name": "tmp", "mountPath": "/workspace/x"}]}))],
            })),
        ),
        (
            "a user of the container",
            with(json!({
                "containers": [main(json!({"securityContext": {"runAsUser": 1000}}))],
            })),
        ),
        ("a deadline of its own", with(json!({"activeDeadlineSeconds": 60, "restartPolicy": "Never"}))),
    ]
}

/// A fixture whose namespace fills in CEL.
async fn fixture(name: &str) -> Fixture {
    let mut fixture = Fixture::new(name, &json!({})).await;
    let settings = Settings { kubernetes_minor: FILLS_MINOR, ..Settings::default() };
    let objects = fills(fixture.guarded_policies(), &settings).expect("the default policy can be filled");
    fixture.add(objects);
    fixture.arm().await;
    let (_, plain) = open_pods().swap_remove(0);
    eventually("Pods are filled", async || Ok(fixture.send(&fixture.guarded, &plain).await.ok()))
        .await
        .expect("a plain Pod is filled");
    fixture
}

/// Leaves what the author and the fills wrote, in an order that does not depend on who wrote it.
fn essence(mut pod: Json) -> Json {
    let annotations = pod["metadata"]["annotations"].take();
    pod["metadata"] = json!({
        "labels": pod["metadata"]["labels"],
        "policy": annotations["sandgate.dev/policy"],
    });
    pod["status"] = Json::Null;
    let sort = |list: &mut Json, key: &str| {
        if let Some(items) = list.as_array_mut() {
            items.sort_by_key(|item| item[key].to_string());
        }
    };
    sort(&mut pod["spec"]["volumes"], "name");
    sort(&mut pod["spec"]["tolerations"], "key");
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            sort(&mut container["volumeMounts"], "mountPath");
        }
    }
    pod
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: MutatingAdmissionPolicy v1")]
async fn pods_are_filled_in_cel_as_the_engine_fills_them() {
    let fixture = fixture("fills").await;
    let mut differences = Vec::new();
    for (name, pod) in open_pods() {
        let stored = fixture.send_open(&pod).await.expect("the API server takes it");
        let groups = fixture.groups();
        let creator = Creator { user: fixture.user(), groups: &groups };
        let filled = create_as(creator, fixture.policies(), Endpoint::Mutate, &stored);
        assert!(filled.causes.is_empty(), "{name}: {:?}", filled.causes);
        // As the API server writes quantities.
        let mut wanted = fixture.send_open(&cleaned(filled.pod)).await.expect("it takes the filled Pod");
        wanted["metadata"]["annotations"] = json!({"sandgate.dev/policy": "fills"});
        match fixture.send(&fixture.guarded, &pod).await {
            Ok(found) if essence(found.clone()) == essence(wanted.clone()) => {}
            Ok(found) => differences.push(format!("{name}\n{}", changes(&essence(wanted), &essence(found)))),
            Err(denial) => differences.push(format!("{name}: {denial}")),
        }
    }
    fixture.disarm().await;
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Takes out what only the API server writes.
fn cleaned(mut pod: Json) -> Json {
    for key in ["uid", "creationTimestamp", "managedFields", "namespace", "resourceVersion", "generation"] {
        pod["metadata"].as_object_mut().unwrap().remove(key);
    }
    pod
}

fn changes(wanted: &Json, found: &Json) -> String {
    let text = |value: &Json| serde_json::to_string_pretty(value).unwrap();
    similar::TextDiff::from_lines(text(wanted), text(found)).unified_diff().context_radius(2).to_string()
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: MutatingAdmissionPolicy v1")]
async fn whatever_is_stored_without_a_webhook_violates_nothing() {
    let fixture = fixture("stored").await;
    let (mut stored, mut denied, mut stricter) = (0, 0, 0);
    let mut escapes = Vec::new();
    let groups = fixture.groups();
    for pod in draw(generator::cases(), pods() / 2).map(|case| case.pod()).filter(can_be_compared) {
        let Ok(Ok(open)) = timeout(ANSWER_TIMEOUT, fixture.send_open(&pod)).await else { continue };
        let creator = || Creator { user: fixture.user(), groups: &groups };
        let engine = create_as(creator(), fixture.policies(), Endpoint::Mutate, &open);
        match fixture.send(&fixture.guarded, &pod).await {
            Ok(found) => {
                stored += 1;
                let checked = create_as(creator(), fixture.policies(), Endpoint::Validate, &found);
                if !checked.causes.is_empty() {
                    escapes.push(format!("{:?}\n{found}", checked.causes));
                }
            }
            Err(_) if engine.causes.is_empty() => stricter += 1,
            Err(_) => denied += 1,
        }
    }
    fixture.disarm().await;
    println!(
        "fills: {stored} stored, {denied} denied by both, {stricter} denied here and filled by the engine"
    );
    assert!(escapes.is_empty(), "{}", escapes.join("\n"));
    assert!(stored > 0 && denied > 0, "{stored} stored, {denied} denied");
}
