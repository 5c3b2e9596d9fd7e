//! What holds beyond a single verdict: order, updates, modes, and filling again.

use proptest::{collection::vec, prelude::*, sample::Index};
use sandgate_engine::{
    policy::PolicySet,
    review::{Endpoint, answer},
};
use serde_json::{Value as Json, json};

use crate::{
    apiserver::{
        UPDATES, allows_text, create, defaulted, items, policy_in_mode, policy_with, review_of, typed, update,
    },
    cases, draw,
    exhaustive::is_sound,
    generated::was_there_before,
    generator,
    generator::yaml,
    oracle,
    quantity::Nanos,
    shrink,
};

const ENDPOINTS: [Endpoint; 2] = [Endpoint::Mutate, Endpoint::Validate];

/// Never so few that a share of them says nothing.
fn fewer_cases() -> usize {
    (cases() / 10).max(200)
}

#[test]
fn order_does_not_matter() {
    let policies = PolicySet::builtin();
    for case in draw(generator::cases(), fewer_cases()) {
        let pod = case.pod();
        let turned = turned_around(&pod);
        for endpoint in ENDPOINTS {
            let (one, other) = (create(&policies, endpoint, &pod), create(&policies, endpoint, &turned));
            assert_eq!(one.allowed, other.allowed, "{:?} {:?}\n{case:?}", one.causes, other.causes);
        }
    }
}

/// Turns around the lists whose order means nothing to the policy. The order of init containers does.
fn turned_around(pod: &Json) -> Json {
    let mut pod = pod.clone();
    for list in ["containers", "volumes", "tolerations", "ephemeralContainers"] {
        if let Some(list) = pod["spec"].get_mut(list).and_then(Json::as_array_mut) {
            list.reverse();
        }
    }
    for container in items(&mut pod["spec"], "containers") {
        for list in ["env", "ports", "volumeMounts"] {
            if let Some(list) = container.get_mut(list).and_then(Json::as_array_mut) {
                list.reverse();
            }
        }
    }
    keys_reversed(pod)
}

fn keys_reversed(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            fields.into_iter().rev().map(|(key, value)| (key, keys_reversed(value))).collect()
        }
        Json::Array(list) => list.into_iter().map(keys_reversed).collect(),
        other => other,
    }
}

#[test]
fn an_update_that_changes_nothing_is_allowed() {
    let policies = PolicySet::builtin();
    for case in draw(generator::cases(), fewer_cases()) {
        let pod = case.pod();
        for way in UPDATES {
            let reply = update(&policies, way, &pod, &pod);
            assert!(reply.allowed && !reply.patches, "{:?}\n{case:?}", reply.causes);
        }
    }
}

#[test]
fn an_update_adds_no_violation() {
    let policies = PolicySet::builtin();
    let mut violations = 0;
    for (case, edit) in draw((generator::sound_cases(), generator::hostile_edit()), fewer_cases()) {
        let mutated = create(&policies, Endpoint::Mutate, &case.pod());
        if !mutated.allowed {
            continue;
        }
        let old = defaulted(&mutated.pod);
        let mut new = old.clone();
        edit.apply(&mut new);
        let Err(fault) = is_sound(&new) else { continue };
        violations += 1;
        for way in UPDATES {
            let reply = update(&policies, way, &old, &new);
            assert!(!reply.allowed, "{fault}\n{edit:?}\n{}", yaml(&new));
            assert!(!reply.patches, "an update is never filled");
        }
    }
    println!("{violations} updates that add a violation, all denied");
    assert!(violations * 5 > fewer_cases(), "only {violations} violations tried");
}

#[test]
fn an_update_of_an_unsound_pod_adds_no_violation() {
    let policies = PolicySet::builtin();
    let mut violations = 0;
    for (case, edit) in draw((generator::cases(), generator::hostile_edit()), fewer_cases()) {
        let old = defaulted(&case.pod());
        let mut new = old.clone();
        edit.apply(&mut new);
        // No webhook is called before the API server has defaulted what is sent.
        let new = defaulted(&new);
        if has_two_volumes_of_one_name(&new) || has_negative_limit(&old) {
            continue;
        }
        let Some(fault) = new_fault(&old, &new) else { continue };
        violations += 1;
        let reply = update(&policies, (Endpoint::Validate, ""), &old, &new);
        assert!(!reply.allowed, "{fault}\n{edit:?}\n{}\nbecomes\n{}", yaml(&old), yaml(&new));
    }
    println!("{violations} updates that add a violation to others, all denied");
}

/// Returns true for a Pod that no API server stores: which volume a container mounts is undefined.
fn has_two_volumes_of_one_name(pod: &Json) -> bool {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = volumes.filter_map(|volume| volume["name"].as_str()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Returns true for another Pod that no API server stores: one limit lowers the sum of all.
fn has_negative_limit(pod: &Json) -> bool {
    let containers =
        ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array());
    let limits = containers.flatten().filter_map(|container| container["resources"]["limits"].as_object());
    limits.flat_map(serde_json::Map::values).any(|amount| match amount {
        Json::String(text) => text.starts_with('-'),
        amount => amount.as_f64().is_some_and(|number| number < 0.0),
    })
}

/// What the oracle finds in `new` more often than in `old`. What was wrong in the Pod is reported once, however many
/// containers begin to inherit it.
fn new_fault(old: &Json, new: &Json) -> Option<String> {
    let before = oracle::faults(&typed(old).ok()?);
    let mut known = before.clone();
    oracle::faults(&typed(new).ok()?).into_iter().find(|fault| {
        let kind = fault.split(" in ").next().unwrap_or_default();
        if known.contains(&format!("Pod's {kind}")) || was_there_before(fault, &before, old, new) {
            return false;
        }
        let at = known.iter().position(|known| known == fault);
        at.map(|at| known.swap_remove(at)).is_none()
    })
}

#[test]
fn audit_and_warn_deny_nothing() {
    let (enforce, audit) = (PolicySet::builtin(), policy_in_mode("audit"));
    // A warning is then about a violation, and not about what was filled.
    let warn = policy_with(&json!({"mode": "warn", "warnings": {"filled": false}}));
    for case in draw(generator::cases(), fewer_cases()) {
        let pod = case.pod();
        for endpoint in ENDPOINTS {
            let warned = create(&warn, endpoint, &pod);
            let audited = create(&audit, endpoint, &pod);
            assert!(warned.allowed && audited.allowed, "{case:?}");
            assert!(!audited.patches && audited.warnings == 0, "audit is silent\n{case:?}");
            if endpoint == Endpoint::Mutate {
                let enforced = create(&enforce, endpoint, &pod);
                assert_eq!(
                    enforced.allowed,
                    warned.warnings == 0,
                    "warn reports what enforce denies\n{case:?}"
                );
            }
        }
    }
}

#[test]
fn filling_twice_is_filling_once() {
    let policies = PolicySet::builtin();
    let cases = draw(generator::cases(), fewer_cases());
    for case in cases {
        let once = create(&policies, Endpoint::Mutate, &case.pod());
        if once.allowed {
            for pod in [&once.pod, &defaulted(&once.pod)] {
                let twice = create(&policies, Endpoint::Mutate, pod);
                assert!(twice.allowed, "{:?}\n{case:?}", twice.causes);
                let smallest = || case.clone().reduced(|pod| is_filled_again(&policies, pod));
                assert!(!twice.patches, "{:?}", smallest());
            }
        }
    }
}

/// Returns true if what filling makes of `pod` is filled again, as it is or with the API server's defaults.
fn is_filled_again(policies: &PolicySet, pod: &Json) -> bool {
    let once = create(policies, Endpoint::Mutate, pod);
    let again = |pod: &Json| create(policies, Endpoint::Mutate, pod).patches;
    once.allowed && (again(&once.pod) || again(&defaulted(&once.pod)))
}

#[test]
fn a_sidecar_between_the_rounds_raises_nothing() {
    let policies = PolicySet::builtin();
    let drawn = (generator::sound_cases(), generator::sidecars(), proptest::bool::ANY);
    let mut admitted = 0;
    for (case, sidecar, is_first) in draw(drawn, fewer_cases()) {
        let once = create(&policies, Endpoint::Mutate, &case.pod());
        if !once.allowed {
            continue;
        }
        let before = defaulted(&once.pod);
        let injected = inject(&before, sidecar, is_first);
        let twice = create(&policies, Endpoint::Mutate, &injected);
        if !twice.allowed {
            continue;
        }
        admitted += 1;
        is_sound(&defaulted(&twice.pod)).unwrap_or_else(|fault| panic!("{fault}\n{}", yaml(&twice.pod)));
        assert_not_raised(&before, &twice.pod);
        let thrice = create(&policies, Endpoint::Mutate, &twice.pod);
        assert!(thrice.allowed && !thrice.patches, "{}\nbecomes\n{}", yaml(&twice.pod), yaml(&thrice.pod));
    }
    println!("{admitted} Pods admitted with an injected sidecar");
    assert!(admitted * 5 > fewer_cases(), "only {admitted} were admitted");
}

fn inject(pod: &Json, sidecar: Json, is_first: bool) -> Json {
    let mut pod = pod.clone();
    let list = if sidecar["restartPolicy"].is_null() { "containers" } else { "initContainers" };
    let list = &mut pod["spec"][list];
    if list.is_null() {
        *list = json!([]);
    }
    let list = list.as_array_mut().unwrap();
    let at = if is_first { 0 } else { list.len() };
    list.insert(at, sidecar);
    pod
}

/// No limit and no request of a container that was there is above what it was.
fn assert_not_raised(before: &Json, after: &Json) {
    for list in ["containers", "initContainers"] {
        for old in before["spec"][list].as_array().into_iter().flatten() {
            let same = |new: &&Json| new["name"] == old["name"];
            let new = after["spec"][list].as_array().unwrap().iter().find(same).unwrap();
            for path in ["/resources/limits", "/resources/requests"] {
                for (name, amount) in old.pointer(path).and_then(Json::as_object).into_iter().flatten() {
                    let now = new.pointer(path).and_then(|amounts| amounts.get(name));
                    let read = |amount: &Json| amount.as_str().and_then(Nanos::read);
                    assert!(
                        now.and_then(read) <= read(amount),
                        "{name}\n{}\nbecomes\n{}",
                        yaml(before),
                        yaml(after)
                    );
                }
            }
        }
    }
}

/// Two readers may each believe another of the two, so there is no right one to check.
#[test]
fn a_key_that_is_there_twice_is_denied_everywhere() {
    let policies = PolicySet::builtin();
    let pod = generator::complete();
    assert!(allows_text(&policies, Endpoint::Validate, &pod.to_string()), "as it is");
    let mut tried = 0;
    for place in objects(&pod) {
        let keys: Vec<String> =
            pod.pointer(&place).and_then(Json::as_object).unwrap().keys().cloned().collect();
        for key in keys {
            let mut twin = pod.clone();
            let object = twin.pointer_mut(&place).unwrap();
            object["@twin"] = object[&key].clone();
            let text = twin.to_string().replace("@twin", &key);
            tried += 1;
            for endpoint in ENDPOINTS {
                assert!(!allows_text(&policies, endpoint, &text), "{key} twice at {place}");
            }
        }
    }
    assert!(tried > 50, "only {tried} keys");
}

/// A pointer to every object in `pod`, and to itself.
fn objects(pod: &Json) -> impl Iterator<Item = String> {
    let inside = shrink::places(pod, String::new()).into_iter();
    inside.filter(|place| pod.pointer(place).is_some_and(Json::is_object)).chain([String::new()])
}

#[test]
fn the_patch_makes_the_object_that_was_checked() {
    let policies = PolicySet::builtin();
    let mut patched = 0;
    for case in draw(generator::cases(), fewer_cases()) {
        let pod = case.pod();
        let review = review_of(&json!({"operation": "CREATE", "object": pod}));
        let checked = answer(&policies, Endpoint::Mutate, None, review.as_bytes()).unwrap().record.object;
        let reply = create(&policies, Endpoint::Mutate, &pod);
        if reply.patches {
            patched += 1;
            assert_eq!(without_unread(reply.pod), serde_json::to_value(&checked).unwrap(), "{case:?}");
        }
    }
    println!("{patched} patches make the object that was checked");
    assert!(patched * 10 > fewer_cases(), "only {patched} patches");
}

/// What no rule reads is not in the tree.
fn without_unread(mut pod: Json) -> Json {
    for (parent, key) in [("", "status"), ("/metadata", "managedFields")] {
        pod.pointer_mut(parent).and_then(Json::as_object_mut).and_then(|object| object.remove(key));
    }
    pod
}

/// From any sender: an answer, or a reason why there is none, and never the end of the process.
#[test]
fn no_bytes_make_the_webhook_panic() {
    let policies = PolicySet::builtin();
    let reviews = (generator::cases(), vec((any::<Index>(), any::<u8>()), 0..4), any::<Index>(), any::<u8>());
    let (mut answered, mut denied) = (0, 0);
    for (case, bytes, end, how) in draw(reviews, fewer_cases()) {
        let mut review =
            review_of(&json!({"operation": "UPDATE", "object": case.pod(), "oldObject": {}})).into_bytes();
        if how % 2 == 0 {
            for (at, byte) in bytes {
                let at = at.index(review.len());
                review[at] = byte;
            }
        }
        if how % 5 == 0 {
            review.truncate(end.index(review.len()));
        }
        for endpoint in ENDPOINTS {
            match answer(&policies, endpoint, None, &review) {
                Ok(_) => answered += 1,
                Err(reason) => {
                    denied += 1;
                    assert_eq!(reason.to_string().lines().count(), 1, "{reason}");
                }
            }
        }
    }
    for bytes in draw(vec(any::<u8>(), 0..64), fewer_cases()) {
        assert!(
            answer(&policies, Endpoint::Validate, None, &bytes).is_err(),
            "noise is no review: {bytes:?}"
        );
    }
    println!("{answered} damaged reviews answered, {denied} denied");
    assert!(answered > 0 && denied > 0);
}

/// Wherever in the Pod something stands that does not belong there.
#[test]
fn nothing_in_a_pod_makes_the_webhook_panic() {
    let policies = PolicySet::builtin();
    let anything = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ]
    .prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            vec((any::<String>(), inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    });
    for (case, value, at) in draw((generator::cases(), anything, any::<Index>()), fewer_cases()) {
        let mut pod = case.pod();
        let places = shrink::places(&pod, String::new());
        *pod.pointer_mut(&places[at.index(places.len())]).unwrap() = value;
        for endpoint in ENDPOINTS {
            let reply = create(&policies, endpoint, &pod);
            assert!(reply.allowed || !reply.causes.is_empty(), "{}", yaml(&pod));
            update(&policies, (endpoint, ""), &pod, &case.pod());
        }
    }
}
