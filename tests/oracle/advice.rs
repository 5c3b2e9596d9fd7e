//! The wording of remedies, read as a person reads it, together with the path and what is wanted.

use sandgate_engine::violations::Violation;
use serde_json::{Value as Json, json};

use crate::{apiserver::items, exhaustive::keys};

/// One of the ways that a remedy offers.
pub(crate) struct Advice {
    pub(crate) text: String,
    pub(crate) change: Box<dyn Fn(&mut Json)>,
    /// Whether it counts on the webhook to fill in what is left out.
    pub(crate) is_for_a_create: bool,
}

/// Every way that a remedy offers; an error if it offers none.
pub(crate) fn of(violation: &Violation) -> Result<Vec<Advice>, String> {
    let texts = instruction(&violation.remedy).split(" or ");
    let texts = texts.filter(|text| !NOT_OF_THE_POD.iter().any(|start| text.starts_with(start)));
    texts.map(|text| read(text, violation)).collect()
}

/// How remedies begin that name something else than the Pod to change: a command, another program, a whole claim.
const NOT_OF_THE_POD: [&str; 12] = [
    "use kubectl debug",
    "use this runtime class",
    "use the volume in this Pod only",
    "set storageClassName",
    "set automountServiceAccountToken",
    "ask for less",
    "write a number",
    "name a ResourceClaimTemplate",
    "OpenShift sets it",
    "EKS adds it",
    "Istio adds it",
    "switch off",
];

/// The remedy without what follows a comma, a colon or a semicolon outside of braces: a reason, or another case.
fn instruction(remedy: &str) -> &str {
    let remedy = remedy.split(" (policy key ").next().unwrap_or(remedy);
    let from = remedy.rfind('}').unwrap_or(0);
    let end = remedy[from..].find([',', ':', ';']).map_or(remedy.len(), |at| from + at);
    &remedy[..end]
}

fn read(text: &str, violation: &Violation) -> Result<Advice, String> {
    let plain = text.strip_suffix(" on create").unwrap_or(text);
    let change = meaning(plain, violation).ok_or_else(|| format!("no change follows {text:?}"))?;
    Ok(Advice { text: text.into(), change, is_for_a_create: plain.starts_with("leave ") })
}

type Change = Box<dyn Fn(&mut Json)>;

fn meaning(text: &str, violation: &Violation) -> Option<Change> {
    let Violation { path, wanted, .. } = violation;
    let path = &path.to_string();
    let first = first_of(wanted);
    Some(match text {
        "remove it"
        | "remove the annotation"
        | "remove the field"
        | "leave it out"
        | "remove the label"
        | "remove the level"
        | "remove the annotations"
        | "remove it from seLinuxOptions"
        | "change this attribute"
        | "leave the overhead to the runtime class" => removal(path),
        _ if text.starts_with("remove it if you ") => removal(path),
        "use an allowed driver" => setting(path, json!(first)),
        "use an emptyDir volume" => another_source(path, "emptyDir"),
        "mount it elsewhere" | "write the path so" => setting(path, json!("/workspace/elsewhere")),
        _ if text.starts_with("name an allowed ") => setting(path, json!(first.replace('*', "x"))),
        "set it" | "set a limit" => setting(path, yaml(first)),
        "send a Pod" => setting(path, json!("Pod")),
        "write it as the Pod API defines it" => setting(path, example(path, wanted)?),
        "add a container" => push(path, container()),
        "use an allowed type" => another_source(path, first),
        "mount it there" => setting(path, json!(format!("{}/x", first.replace('*', "x")))),
        "use an image from an allowed place" => setting(path, json!(first.replace("**", "x"))),
        "read-only" | "mount it read-only" => setting(&sibling(path, "readOnly"), json!(true)),
        "name a folder of the volume" => setting(path, json!("a/b")),
        "add @sha256" => setting(path, json!(format!("x@sha256:{}", "0".repeat(64)))),
        "run it as a Job" => Box::new(run_as_job),
        "lower the containers' limits and requests" => lower_amounts(wanted)?,
        _ => of_one_verb(text, path)?,
    })
}

fn of_one_verb(text: &str, path: &str) -> Option<Change> {
    if text.starts_with("remove this ") {
        return Some(removal(&path[..=path.rfind(']')?]));
    }
    if let Some(name) = text.strip_prefix("remove ") {
        return Some(removal(&up_to(path, name)?));
    }
    if let Some(name) = text.strip_prefix("leave ").and_then(|text| text.strip_suffix(" out")) {
        return Some(removal(&up_to(path, name.trim_start_matches("the "))?));
    }
    if let Some(value) = text.strip_prefix("set it to at most ").or_else(|| text.strip_prefix("set it to ")) {
        // Of a range the first.
        let value = value.split_once(" to ").map_or(value, |(first, _)| first);
        return Some(setting(path, yaml(value)));
    }
    if text.starts_with("set restartPolicy") {
        return Some(setting(path, json!("Never")));
    }
    if let Some(folder) = text.strip_prefix("mount it in ") {
        return Some(setting(path, json!(format!("{folder}/x"))));
    }
    let item = text.strip_prefix("add ")?;
    Some(match item.rsplit_once(" to its ") {
        Some((item, list)) => push(&format!("{path}.{list}"), yaml(item)),
        None => push(path, yaml(item)),
    })
}

/// The first of what a violation names as right.
fn first_of(wanted: &str) -> &str {
    let words = ["one of ", "in ", "from ", "more than 0, at most ", "at most "];
    let rest = words.iter().find_map(|word| wanted.strip_prefix(word)).unwrap_or(wanted);
    rest.split([',']).next().and_then(|rest| rest.split(" or ").next()).unwrap_or(rest)
}

fn yaml(text: &str) -> Json {
    serde_saphyr::from_str(text).unwrap_or_else(|_| json!(text))
}

fn container() -> Json {
    json!({"name": "new", "image": "registry.example.com/runner:1"})
}

/// A value as the Pod API has it.
fn example(path: &str, wanted: &str) -> Option<Json> {
    Some(match wanted {
        "a list" if path == "spec.containers" => json!([container()]),
        "a list" => json!([]),
        "an object" => json!({}),
        "a string" => json!("x"),
        "true or false" => json!(false),
        "a quantity" => json!("1"),
        "an integer" | "an integer or a string" => json!(1),
        _ => return None,
    })
}

/// `path` up to the field `name`, or what `name` says where it is a path itself.
fn up_to(path: &str, name: &str) -> Option<String> {
    if name.starts_with("spec.") {
        return Some(name.into());
    }
    let parts: Vec<&str> = path.split('.').collect();
    let at = parts.iter().rposition(|part| part.split('[').next() == Some(name))?;
    Some(parts[..=at].join("."))
}

fn sibling(path: &str, name: &str) -> String {
    let (parent, _) = path.rsplit_once('.').unwrap_or_default();
    format!("{parent}.{name}")
}

fn removal(path: &str) -> Change {
    let keys = keys(path);
    Box::new(move |pod| remove(pod, &keys))
}

/// Where something of the wrong kind stands on the way, that is what goes.
fn remove(here: &mut Json, keys: &[String]) {
    let Some((key, rest)) = keys.split_first() else { return };
    let is_last = |next: &Json| rest.is_empty() || !(next.is_object() || next.is_array());
    match here {
        Json::Object(fields) => match fields.get_mut(key) {
            Some(next) if is_last(next) => drop(fields.remove(key)),
            Some(next) => remove(next, rest),
            None => {}
        },
        Json::Array(list) => match key.parse::<usize>().ok().filter(|index| *index < list.len()) {
            Some(index) if is_last(&list[index]) => drop(list.remove(index)),
            Some(index) => remove(&mut list[index], rest),
            None => list.clear(),
        },
        _ => {}
    }
}

fn setting(path: &str, value: Json) -> Change {
    let keys = keys(path);
    Box::new(move |pod| *at(pod, &keys) = value.clone())
}

fn push(path: &str, value: Json) -> Change {
    let keys = keys(path);
    Box::new(move |pod| match at(pod, &keys) {
        Json::Array(list) => list.push(value.clone()),
        other => *other = json!([value]),
    })
}

/// The value at a path; what is missing or of the wrong kind on the way becomes an object.
fn at<'p>(here: &'p mut Json, keys: &[String]) -> &'p mut Json {
    let Some((key, rest)) = keys.split_first() else { return here };
    let index = key.parse::<usize>().ok().filter(|index| here.get(index).is_some());
    if let Some(index) = index {
        return at(&mut here[index], rest);
    }
    if !here.is_object() {
        *here = json!({});
    }
    at(&mut here[key.as_str()], rest)
}

fn another_source(path: &str, kind: &str) -> Change {
    let (old, new) = (keys(path), keys(&sibling(path, kind)));
    Box::new(move |pod| {
        remove(pod, &old);
        *at(pod, &new) = json!({});
    })
}

fn run_as_job(pod: &mut Json) {
    for owner in pod["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
        owner["apiVersion"] = json!("batch/v1");
        owner["kind"] = json!("Job");
    }
}

fn lower_amounts(wanted: &str) -> Option<Change> {
    let resource = wanted.strip_suffix(" for the Pod")?.rsplit_once(' ')?.1.to_string();
    Some(Box::new(move |pod| {
        for list in ["initContainers", "containers"] {
            for container in items(&mut pod["spec"], list) {
                for kind in ["limits", "requests"] {
                    let amounts = container.pointer_mut(&format!("/resources/{kind}"));
                    if let Some(amounts) = amounts.and_then(Json::as_object_mut) {
                        amounts.insert(resource.clone(), json!("1m"));
                    }
                }
            }
        }
    }))
}
