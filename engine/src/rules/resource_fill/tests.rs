use serde_json::{Value as Json, json};

use super::super::{filled_resources::FILLED, testing::*};
use crate::policy::Spec;

fn limits(pod: &Json, list: &str, index: usize) -> Json {
    pod["spec"][list][index]["resources"]["limits"].clone()
}

fn amounts(cpu: &str, memory: &str, disk: &str) -> Json {
    json!({"cpu": cpu, "memory": memory, "ephemeral-storage": disk})
}

/// A Pod of containers that set nothing but a name.
fn bare(names: &[&str]) -> Json {
    let mut pod = plain_pod();
    pod["spec"]["containers"] = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
    pod
}

#[test]
fn amount_filled_beside_a_wrong_one_is_not_denied_too() {
    let mut pod = bare(&["a"]);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "-1"}});
    assert_eq!(violations(&filled(&pod)), ["resource-limits spec.containers[0].resources.limits[cpu]"]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "3"}});
    assert_eq!(violations(&filled(&pod)), ["resource-limits spec.containers[0].resources.requests[cpu]"]);
}

#[test]
fn a_single_container_gets_the_policys_requests_and_limits() {
    let pod = filled(&bare(&["a"]));
    assert_eq!(limits(&pod, "containers", 0), amounts("2", "4Gi", "10Gi"));
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], amounts("500m", "1Gi", "1Gi"));
}

#[test]
fn containers_without_limits_share_equally() {
    let pod = filled(&bare(&["a", "b", "c"]));
    for index in 0..3 {
        assert_eq!(limits(&pod, "containers", index), amounts("666m", "1365Mi", "3413Mi"));
    }
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn what_a_person_wrote_stays_and_the_others_share_the_rest() {
    let mut pod = bare(&["a", "b", "c"]);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "3Gi"}});
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0), amounts("1", "3Gi", "3413Mi"));
    assert_eq!(limits(&pod, "containers", 1), amounts("500m", "512Mi", "3413Mi"));
    assert_eq!(pod["spec"]["containers"][1]["resources"]["requests"], amounts("166m", "341Mi", "1Gi"));
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn a_limit_is_never_below_a_request_that_a_person_wrote() {
    let mut pod = bare(&["a", "b"]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "3Gi"}});
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0)["memory"], "3Gi");
    assert_eq!(limits(&pod, "containers", 1)["memory"], "1Gi");
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn requests_are_clamped_to_a_smaller_limit() {
    let mut pod = bare(&["a"]);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": amounts("100m", "64Mi", "128Mi")});
    assert_eq!(
        filled(&pod)["spec"]["containers"][0]["resources"]["requests"],
        amounts("100m", "64Mi", "128Mi")
    );
}

#[test]
fn an_init_container_may_use_the_whole_budget_and_beside_a_sidecar_the_rest() {
    let mut pod = bare(&["a"]);
    pod["spec"]["initContainers"] = json!([
        {"name": "first", "image": "i"},
        {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
        {"name": "second", "image": "i"}
    ]);
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "initContainers", 0), amounts("2", "4Gi", "10Gi"));
    assert_eq!(limits(&pod, "initContainers", 1), amounts("1", "2Gi", "5Gi"));
    assert_eq!(limits(&pod, "initContainers", 2), amounts("1", "2Gi", "5Gi"));
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn a_sidecar_that_comes_later_shares_what_was_filled() {
    let mut pod = filled(&bare(&["a"]));
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0), amounts("1", "2Gi", "5Gi"));
    assert_eq!(limits(&pod, "containers", 1), amounts("1", "2Gi", "5Gi"));
    assert_eq!(violations(&pod), Vec::<String>::new());
    assert_eq!(filled(&pod), pod);
}

#[test]
fn a_sidecar_with_limits_of_its_own_lowers_what_was_filled_requests_too() {
    let mut pod = filled(&bare(&["a"]));
    let late =
        json!({"name": "late", "image": "i", "resources": {"limits": amounts("1750m", "3584Mi", "1Gi")}});
    pod["spec"]["containers"].as_array_mut().unwrap().push(late);
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0), amounts("250m", "512Mi", "9Gi"));
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], amounts("250m", "512Mi", "1Gi"));
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn overhead_of_the_runtime_class_is_on_top_of_the_budget() {
    let mut pod = filled(&bare(&["a"]));
    pod["spec"]["overhead"] = json!({"cpu": "8", "memory": "64Gi"});
    assert_eq!(filled(&pod), pod);
    assert_eq!(violations(&pod), Vec::<String>::new());
}

/// The API server has defaulted the request of such a Pod before webhooks see it.
#[test]
fn containers_share_the_limit_of_their_pod_and_need_none() {
    let mut pod = bare(&["a", "b"]);
    pod["spec"]["resources"] =
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}});
    let pod = filled(&pod);
    for index in 0..2 {
        assert_eq!(
            pod["spec"]["containers"][index]["resources"],
            json!({"limits": {"ephemeral-storage": "5Gi"}, "requests": {"ephemeral-storage": "1Gi"}})
        );
    }
    assert_eq!(violations(&pod), Vec::<String>::new());
    assert_eq!(filled(&pod), pod);
}

#[test]
fn limit_of_the_pod_leaves_open_only_its_own_resource() {
    let mut pod = bare(&["a", "b"]);
    pod["spec"]["resources"] = json!({"limits": {"memory": "1Gi", "ephemeral-storage": "1Gi"}});
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0), json!({"cpu": "1", "ephemeral-storage": "5Gi"}));
    assert_eq!(violations(&pod), Vec::<String>::new());
}

fn at_pod() -> Spec {
    spec("{resources: {fillAt: pod}}")
}

#[test]
fn pod_gets_cpu_and_memory_and_each_container_its_disk() {
    let pod = filled_by(&at_pod(), &bare(&["a", "b"]));
    assert_eq!(
        pod["spec"]["resources"],
        json!({"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}})
    );
    for index in 0..2 {
        assert_eq!(limits(&pod, "containers", index), json!({"ephemeral-storage": "5Gi"}));
    }
    assert_eq!(violations_of(&at_pod(), &pod), Vec::<String>::new());
    assert_eq!(filled_by(&at_pod(), &pod), pod);
}

/// An API server that does not know the field drops it.
#[test]
fn pod_without_the_filled_field_is_denied() {
    let mut pod = filled_by(&at_pod(), &bare(&["a"]));
    without(&mut pod["spec"], "resources");
    let expected =
        ["cpu", "memory"].map(|name| format!("resource-limits spec.containers[0].resources.limits[{name}]"));
    assert_eq!(violations_of(&at_pod(), &pod), expected);
}

#[test]
fn pod_whose_containers_are_complete_gets_nothing() {
    assert_eq!(filled_by(&at_pod(), &complete_pod()), complete_pod());
}

#[test]
fn resources_of_the_pods_own_stay() {
    let mut pod = bare(&["a"]);
    pod["spec"]["resources"] = json!({"limits": {"cpu": "1"}, "requests": {"memory": "2Gi"}});
    let pod = filled_by(&at_pod(), &pod);
    assert_eq!(
        pod["spec"]["resources"],
        json!({"limits": {"cpu": "1", "memory": "4Gi"}, "requests": {"cpu": "500m", "memory": "2Gi"}})
    );
}

/// The API server rejects a Pod that requests less than its containers.
#[test]
fn request_of_the_pod_is_no_less_than_its_containers_request() {
    let mut pod = bare(&["a", "b"]);
    for index in 0..2 {
        pod["spec"]["containers"][index]["resources"] = json!({"requests": {"cpu": "600m"}});
    }
    let mut pod = filled_by(&at_pod(), &pod);
    assert_eq!(pod["spec"]["resources"]["requests"], json!({"cpu": "1200m", "memory": "1Gi"}));
    // An autoscaler and an injector come between the rounds.
    pod["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("3Gi");
    let sidecar = json!({"name": "late", "image": "i", "resources": {"requests": {"cpu": "100m"}}});
    pod["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
    let pod = filled_by(&at_pod(), &pod);
    assert_eq!(pod["spec"]["resources"]["requests"], json!({"cpu": "1300m", "memory": "3Gi"}));
    assert_eq!(filled_by(&at_pod(), &pod), pod);
    assert_eq!(violations_of(&at_pod(), &pod), Vec::<String>::new());
}

#[test]
fn request_that_a_person_wrote_for_the_pod_is_not_raised() {
    let mut pod = bare(&["a"]);
    pod["spec"]["resources"] = json!({"requests": {"cpu": "500m"}});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    let pod = filled_by(&at_pod(), &pod);
    assert_eq!(pod["spec"]["resources"]["requests"]["cpu"], "500m");
}

#[test]
fn containers_that_request_more_than_the_budget_are_denied() {
    let mut pod = bare(&["a", "b"]);
    for index in 0..2 {
        pod["spec"]["containers"][index]["resources"] = json!({"requests": {"cpu": "2"}});
    }
    let found = violations_of(&at_pod(), &filled_by(&at_pod(), &pod));
    assert!(found.iter().any(|line| line.starts_with("pod-budget ")), "{found:?}");
}

#[test]
fn requests_of_many_small_containers_share_the_request_of_the_pod() {
    let names: Vec<String> = (0..5).map(|index| format!("c{index}")).collect();
    let pod = filled(&bare(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    for index in 0..5 {
        let requests = &pod["spec"]["containers"][index]["resources"]["requests"];
        assert_eq!(*requests, amounts("100m", "204Mi", "1Gi"));
    }
}

#[test]
fn amounts_that_an_autoscaler_raised_are_lowered_to_the_ceiling() {
    let mut pod = filled(&bare(&["a"]));
    let resources = &mut pod["spec"]["containers"][0]["resources"];
    resources["requests"] = amounts("600m", "1200Mi", "1Gi");
    resources["limits"] = amounts("2400m", "4800Mi", "10Gi");
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0), amounts("2", "4Gi", "10Gi"));
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], amounts("600m", "1200Mi", "1Gi"));
    assert_eq!(violations(&pod), Vec::<String>::new());
    assert_eq!(filled(&pod), pod);
}

#[test]
fn raised_request_is_lowered_to_the_limit() {
    let mut pod = filled(&bare(&["a", "b"]));
    let resources = &mut pod["spec"]["containers"][0]["resources"];
    resources["requests"]["cpu"] = json!("3");
    resources["limits"]["cpu"] = json!("12");
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0)["cpu"], "1");
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
    assert_eq!(pod["spec"]["containers"][1]["resources"]["requests"]["cpu"], "0");
    assert_eq!(violations(&pod), Vec::<String>::new());
    assert_eq!(filled(&pod), pod, "a second round changes nothing");
}

#[test]
fn request_that_was_raised_above_an_unchanged_limit_is_lowered_once() {
    let mut pod = filled(&bare(&["a", "b"]));
    pod["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("4G");
    let pod = filled(&pod);
    let resources = &pod["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"]["memory"], resources["limits"]["memory"]);
    assert_eq!(violations(&pod), Vec::<String>::new());
    assert_eq!(filled(&pod), pod, "a second round changes nothing");
}

#[test]
fn amount_that_was_not_filled_is_not_lowered_when_it_is_too_high() {
    let mut pod = filled(&bare(&["a"]));
    pod["metadata"]["annotations"] = json!({});
    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("2400m");
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0)["cpu"], "2400m");
}

/// The API server takes the sum that some containers request for the request of the Pod, and then rejects more.
#[test]
fn requests_stay_within_the_request_of_the_pod() {
    let mut pod = bare(&["a", "b", "c"]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "250m", "memory": "512Mi"}});
    pod["spec"]["initContainers"] = json!([
        {"name": "first", "image": "i"},
        {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
        {"name": "second", "image": "i"}
    ]);
    pod["spec"]["resources"] = json!({"requests": {"cpu": "550m", "memory": "512Mi"}});
    let pod = filled(&pod);
    let requests = |list: &str, index: usize| pod["spec"][list][index]["resources"]["requests"].clone();
    assert_eq!(requests("containers", 0), amounts("250m", "512Mi", "1Gi"));
    assert_eq!(requests("containers", 1), amounts("100m", "0", "1Gi"));
    assert_eq!(requests("containers", 2), amounts("100m", "0", "1Gi"));
    assert_eq!(requests("initContainers", 0), amounts("500m", "512Mi", "1Gi"));
    assert_eq!(requests("initContainers", 1), amounts("100m", "0", "1Gi"));
    assert_eq!(requests("initContainers", 2), amounts("450m", "512Mi", "1Gi"));
    assert_eq!(violations(&pod), Vec::<String>::new());
    assert_eq!(filled(&pod), pod);
}

#[test]
fn what_a_person_wrote_is_not_lowered() {
    let mut pod = complete_pod();
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0), amounts("2", "4Gi", "10Gi"));
    let found = violations(&pod);
    assert!(
        found.contains(&"resource-limits spec.containers[1].resources.limits[cpu]".to_string()),
        "{found:?}"
    );
}

#[test]
fn what_a_person_wrote_over_a_fill_is_not_lowered() {
    let mut pod = filled(&bare(&["a"]));
    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("1500m");
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 0), amounts("1500m", "2Gi", "5Gi"));
    assert_eq!(limits(&pod, "containers", 1), amounts("500m", "2Gi", "5Gi"));
}

#[test]
fn what_a_person_wrote_for_an_init_container_is_not_lowered() {
    let mut pod = bare(&["a"]);
    let resources = json!({"limits": amounts("2", "4Gi", "10Gi")});
    pod["spec"]["initContainers"] = json!([
        {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
        {"name": "init", "image": "i", "resources": resources}
    ]);
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "initContainers", 1), amounts("2", "4Gi", "10Gi"));
    assert_eq!(violations(&pod), ["pod-budget spec.containers"; 3]);
}

#[test]
fn where_nothing_is_left_no_limit_is_made_up() {
    let mut pod = complete_pod();
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
    assert_eq!(limits(&filled(&pod), "containers", 1), Json::Null);
}

#[test]
fn requests_alone_get_their_limits() {
    let mut pod = bare(&["a"]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": amounts("1", "1Gi", "1Gi")});
    assert_eq!(limits(&filled(&pod), "containers", 0), amounts("2", "4Gi", "10Gi"));
}

#[test]
fn a_wish_for_an_equal_share_changes_no_share() {
    let mut pod = bare(&["a", "b", "c"]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "666m"}});
    let pod = filled(&pod);
    for index in 0..3 {
        assert_eq!(limits(&pod, "containers", index)["cpu"], "666m");
    }
}

#[test]
fn shares_are_whole_numbers_that_people_read() {
    let mut pod = bare(&["a", "b", "c"]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1001m", "memory": "3071Mi"}});
    pod["spec"]["resources"] = json!({"requests": {"cpu": "1502m", "memory": "3584Mi"}});
    let pod = filled(&pod);
    assert_eq!(limits(&pod, "containers", 1), amounts("499m", "512Mi", "3413Mi"));
    let requests = &pod["spec"]["containers"][1]["resources"]["requests"];
    assert_eq!(*requests, amounts("250m", "256Mi", "1Gi"));
}

#[test]
fn what_was_filled_is_remembered_of_every_container() {
    let names: Vec<String> = (0..99).map(|index| format!("c{index}")).collect();
    let mut pod = filled(&bare(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
    let pod = filled(&pod);
    for index in 0..100 {
        assert_eq!(limits(&pod, "containers", index), amounts("20m", "40Mi", "102Mi"), "{index}");
    }
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn a_forged_memory_of_what_was_filled_raises_nothing() {
    let mut pod = complete_pod();
    pod["spec"]["containers"][0]["resources"]["limits"] = amounts("1", "1Gi", "1Gi");
    let forged = json!({"main": {"limits": amounts("1", "1Gi", "1Gi")}}).to_string();
    pod["metadata"]["annotations"] = json!({FILLED: forged});
    assert_eq!(filled(&pod), pod);
    for nonsense in ["", "{", "[1]", r#"{"main":{"limits":{"cpu":1}}}"#, r#"{"main":7}"#] {
        pod["metadata"]["annotations"] = json!({FILLED: nonsense});
        assert_eq!(filled(&pod), pod);
    }
}
