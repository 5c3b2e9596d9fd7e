//! Makes a Pod small that shows something.

use serde_json::Value as Json;

/// `pod` without every part that can be taken away while `holds` stays true: the largest parts first.
pub(crate) fn pruned(mut pod: Json, holds: &impl Fn(&Json) -> bool) -> Json {
    if !holds(&pod) {
        return pod;
    }
    let mut depth = 1;
    loop {
        let places: Vec<String> =
            places(&pod, String::new()).into_iter().filter(|place| depth_of(place) == depth).collect();
        if places.is_empty() {
            return pod;
        }
        // From the last on, so that the indices before stay what they are.
        for place in places.iter().rev() {
            let smaller = without(&pod, place);
            if holds(&smaller) {
                pod = smaller;
            }
        }
        depth += 1;
    }
}

fn depth_of(place: &str) -> usize {
    place.matches('/').count()
}

/// A pointer to everything inside `value`.
pub(crate) fn places(value: &Json, at: String) -> Vec<String> {
    let children: Vec<(String, &Json)> = match value {
        Json::Object(fields) => {
            let escape = |key: &String| key.replace('~', "~0").replace('/', "~1");
            fields.iter().map(|(key, value)| (escape(key), value)).collect()
        }
        Json::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    let mut all: Vec<String> =
        children.into_iter().flat_map(|(key, value)| places(value, format!("{at}/{key}"))).collect();
    if !at.is_empty() {
        all.push(at);
    }
    all
}

fn without(pod: &Json, place: &str) -> Json {
    let mut pod = pod.clone();
    let (parent, key) = place.rsplit_once('/').unwrap();
    match pod.pointer_mut(parent) {
        Some(Json::Object(fields)) => drop(fields.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Some(Json::Array(list)) => drop(list.remove(key.parse().unwrap())),
        _ => {}
    }
    pod
}

#[test]
fn what_does_not_matter_is_pruned() {
    let pod = serde_json::json!({"a": [1, {"b/c": 2, "d": 3}, 4], "e": {"f": 5}});
    let holds = |pod: &Json| pod["a"].as_array().is_some_and(|a| a.iter().any(|item| item["b/c"] == 2));
    assert_eq!(pruned(pod, &holds), serde_json::json!({"a": [{"b/c": 2}]}));
}
