//! Pods to check: a sound Pod, edited in a few places with values of the whole Pod API, good ones and near misses.

use std::{
    borrow::Cow,
    fmt::{self, Debug, Formatter},
    sync::LazyLock,
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::{Map, Value as Json, json};

use crate::{
    apiserver::create,
    edits as edit_tables,
    schema::{self, Dice, FIELDS, Field, Twist},
    shrink,
};

/// A Pod and how it came to be; the fewer edits, the easier to read.
#[derive(Clone)]
pub(crate) struct Case {
    base: Json,
    edits: Vec<Edit>,
}

impl Case {
    pub(crate) fn pod(&self) -> Json {
        let mut pod = self.base.clone();
        for edit in &self.edits {
            edit.apply(&mut pod);
        }
        pod
    }

    /// The Pod `base`, edited so.
    pub(crate) fn of(base: Json, edits: Vec<Edit>) -> Self {
        Self { base, edits }
    }

    /// The same case without the edits, and then without the parts of the Pod, that do not matter for `holds`.
    pub(crate) fn reduced(mut self, holds: impl Fn(&Json) -> bool) -> Self {
        for index in (0..self.edits.len()).rev() {
            let mut fewer = self.clone();
            fewer.edits.remove(index);
            if holds(&fewer.pod()) {
                self = fewer;
            }
        }
        Self { base: shrink::pruned(self.pod(), &holds), edits: Vec::new() }
    }
}

impl Debug for Case {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if !self.edits.is_empty() {
            writeln!(f, "{:?}", self.edits)?;
        }
        writeln!(f, "{}", yaml(&self.pod()))
    }
}

pub(crate) fn yaml(pod: &Json) -> String {
    serde_saphyr::to_string(pod).unwrap_or_else(|_| pod.to_string())
}

/// One change of a Pod.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    /// A path such as `C/image` or `spec/volumes/*/name`: see [`crate::edits`].
    place: Cow<'static, str>,
    change: Change,
    at: [Index; 2],
}

/// What an edit does at its place.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Set(Json),
    Remove,
    /// Repeats the last entry of a list.
    Repeat,
    /// Puts a value into a list, at its front.
    Insert(Json),
    /// Bends what stands there, or what could stand there.
    Bend(Twist, Json),
}

impl Edit {
    pub(crate) fn apply(&self, pod: &mut Json) {
        let [container, item] = self.at;
        let mut here = pod;
        let mut keys = self.place.split('/').peekable();
        if self.place.starts_with("C/") {
            keys.next();
            let Some(found) = pick_container(here, container) else { return };
            here = found;
        }
        let mut keys: Vec<&str> = keys.collect();
        let Some(last) = keys.pop() else { return };
        for key in keys {
            let Some(next) = step(here, key, item) else { return };
            here = next;
        }
        self.change.apply(here, last, item);
    }
}

fn pick_container(pod: &mut Json, index: Index) -> Option<&mut Json> {
    let spec = pod.get_mut("spec")?.as_object_mut()?;
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let mut all: Vec<&mut Json> = spec
        .iter_mut()
        .filter(|(key, _)| lists.contains(&key.as_str()))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .collect();
    if all.is_empty() {
        return None;
    }
    let chosen = index.index(all.len());
    Some(all.swap_remove(chosen))
}

/// Goes one key down; what is missing becomes an object, or for `#` a list with one item.
fn step<'p>(here: &'p mut Json, key: &str, item: Index) -> Option<&'p mut Json> {
    if key == "#" && (here.is_null() || here.as_array().is_some_and(Vec::is_empty)) {
        *here = json!([null]);
    }
    if matches!(key, "*" | "#") {
        let list = here.as_array_mut().filter(|list| !list.is_empty())?;
        let chosen = item.index(list.len());
        return list.get_mut(chosen);
    }
    if here.is_null() {
        *here = json!({});
    }
    let next = here.as_object_mut()?.entry(key.replace("~1", "/")).or_insert(Json::Null);
    Some(next)
}

impl Change {
    fn apply(&self, parent: &mut Json, key: &str, item: Index) {
        if parent.is_null() {
            *parent = json!({});
        }
        let Some(place) = step(parent, key, item) else { return };
        match self {
            Self::Set(value) => *place = value.clone(),
            Self::Bend(twist, instead) => {
                *place = twist.of(if place.is_null() { instead } else { place });
            }
            Self::Remove => remove(parent, key, item),
            Self::Repeat => {
                if let Some(list) = place.as_array_mut() {
                    list.extend(list.last().cloned());
                }
            }
            Self::Insert(value) => {
                if place.is_null() {
                    *place = json!([]);
                }
                if let Some(list) = place.as_array_mut() {
                    list.insert(0, value.clone());
                }
            }
        }
    }
}

fn remove(parent: &mut Json, key: &str, item: Index) {
    match parent {
        Json::Array(list) => drop(list.remove(item.index(list.len()))),
        Json::Object(fields) => drop(fields.remove(&key.replace("~1", "/"))),
        _ => {}
    }
}

/// Pods of every kind, mostly nearly sound.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let edits = prop_oneof![
        8 => vec(sound_edit(), 0..6),
        9 => (vec(sound_edit(), 0..4), vec(hostile_edit(), 1..3)).prop_map(joined),
        5 => (vec(sound_edit(), 0..3), vec(schema_edit(), 1..3)).prop_map(joined),
    ];
    (select(BASES.as_slice()), edits).prop_map(|(base, edits)| Case { base, edits })
}

/// Each field of the Pod API set once, in a Pod that is sound without it.
pub(crate) fn one_for_each_field() -> impl Strategy<Value = Vec<Case>> {
    (any::<u64>(), any::<[Index; 2]>()).prop_map(|(seed, at)| {
        let mut dice = Dice(seed);
        let mut set = |field: &'static Field| {
            let change = Change::Set(field.value(&mut dice));
            Case { base: complete(), edits: vec![Edit { place: Cow::Borrowed(&field.path), change, at }] }
        };
        FIELDS.iter().map(&mut set).collect()
    })
}

/// `edits` of a table in its own notation.
pub(crate) fn edits(table: edit_tables::Table) -> impl Iterator<Item = impl Fn([Index; 2]) -> Edit> {
    changes(table)
        .into_iter()
        .map(|(place, change)| move |at| Edit { place: Cow::Borrowed(place), change: change.clone(), at })
}

/// What other policies open: places, changes.
pub(crate) static OPENINGS: LazyLock<Vec<(&str, Change)>> = LazyLock::new(|| {
    let table = OPENING_VALUES.iter().map(|(place, values)| (place.as_str(), values.clone()));
    changes(table.collect())
});

static OPENING_VALUES: LazyLock<std::collections::BTreeMap<String, Vec<Json>>> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("openings.yaml")).expect("the openings are one YAML document")
});

static OPENING_NUMBERS: LazyLock<Vec<usize>> = LazyLock::new(|| (0..OPENINGS.len()).collect());

/// An edit that some policies open, with its number.
fn opening_edit() -> impl Strategy<Value = (usize, Edit)> {
    (select(OPENING_NUMBERS.as_slice()), any::<[Index; 2]>()).prop_map(|(number, at)| {
        let (place, change) = &OPENINGS[number];
        (number, Edit { place: Cow::Borrowed(place), change: change.clone(), at })
    })
}

/// Pods for policies that open something, each with the numbers of the openings that it uses.
pub(crate) fn opened_cases() -> impl Strategy<Value = (Case, Vec<usize>)> {
    let other = prop_oneof![
        8 => vec(sound_edit(), 0..3),
        1 => vec(hostile_edit(), 1..2),
        1 => vec(schema_edit(), 1..2),
    ];
    (select(BASES.as_slice()), other, vec(opening_edit(), 0..4)).prop_map(|(base, mut edits, openings)| {
        let (numbers, openings): (Vec<usize>, Vec<Edit>) = openings.into_iter().unzip();
        edits.extend(openings);
        (Case { base, edits }, numbers)
    })
}

/// One to three edits of any kind.
pub(crate) fn any_edits() -> impl Strategy<Value = Vec<Edit>> {
    let one =
        prop_oneof![3 => opening_edit().prop_map(|(_, edit)| edit), 1 => hostile_edit(), 1 => sound_edit()];
    vec(one, 1..4)
}

/// Pods that are meant to be admitted.
pub(crate) fn sound_cases() -> impl Strategy<Value = Case> {
    (select(BASES.as_slice()), vec(sound_edit(), 0..4)).prop_map(|(base, edits)| Case { base, edits })
}

fn joined((mut sound, hostile): (Vec<Edit>, Vec<Edit>)) -> Vec<Edit> {
    sound.extend(hostile);
    sound
}

/// An edit that the policy allows, most of the time.
pub(crate) fn sound_edit() -> impl Strategy<Value = Edit> {
    edit(select(SOUND.as_slice()))
}

/// An edit that violates a rule, or nearly does.
pub(crate) fn hostile_edit() -> impl Strategy<Value = Edit> {
    let anywhere: Vec<&'static str> = HOSTILE.iter().chain(SOUND.iter()).map(|(place, _)| *place).collect();
    let odd = (select(anywhere), select(odd_values())).prop_map(|(place, value)| (place, Change::Set(value)));
    prop_oneof![7 => edit(select(HOSTILE.as_slice())), 1 => edit(odd)]
}

/// An edit at any field of the Pod API: a good value, a wrong one, or none.
pub(crate) fn schema_edit() -> impl Strategy<Value = Edit> {
    (any::<u64>(), any::<[Index; 2]>()).prop_map(|(seed, at)| {
        let mut dice = Dice(seed);
        if dice.one_in(5) {
            let place = Cow::Borrowed(dice.pick(&STANDING));
            return Edit { place, change: Change::Remove, at };
        }
        // Half of all fields are those of volumes that no policy allows.
        let fields = if dice.one_in(3) { &ALL_FIELDS } else { &LIKELY_FIELDS };
        let (place, kind) = dice.pick(fields).place(&mut dice);
        let name = place.rsplit('/').find(|key| *key != "#").unwrap_or_default().to_string();
        let value = schema::value(kind, &name, 0, &mut dice);
        let change =
            if dice.one_in(3) { Change::Bend(dice.pick(&Twist::ALL), value) } else { Change::Set(value) };
        Edit { place: Cow::Owned(place), change, at }
    })
}

static ALL_FIELDS: LazyLock<Vec<&Field>> = LazyLock::new(|| FIELDS.iter().collect());
static LIKELY_FIELDS: LazyLock<Vec<&Field>> = LazyLock::new(|| {
    let rare = ["spec/volumes/#/", "spec/initContainers/", "spec/ephemeralContainers/"];
    let is_likely = |field: &&Field| {
        !rare.iter().any(|rare| field.path.starts_with(rare)) || field.path.contains("emptyDir")
    };
    FIELDS.iter().filter(is_likely).collect()
});

/// The fields that some Pod of those that edits start from has.
static STANDING: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut standing = std::collections::BTreeSet::new();
    for base in &*BASES {
        schema::fields_set(base, &mut standing);
    }
    standing.into_iter().map(|number| FIELDS[number].path.as_str()).collect()
});

fn edit(what: impl Strategy<Value = (&'static str, Change)>) -> impl Strategy<Value = Edit> {
    (what, any::<[Index; 2]>()).prop_map(|((place, change), at)| Edit {
        place: Cow::Borrowed(place),
        change,
        at,
    })
}

static SOUND: LazyLock<Vec<(&str, Change)>> = LazyLock::new(|| changes(edit_tables::sound()));
static HOSTILE: LazyLock<Vec<(&str, Change)>> = LazyLock::new(|| changes(edit_tables::hostile()));

/// `!remove` and `!repeat` are changes; at the name of a list, an object is put into it.
fn changes(table: Vec<(&'static str, Vec<Json>)>) -> Vec<(&'static str, Change)> {
    let change = |place: &str, value: Json| match (value.as_str(), place.strip_suffix('+')) {
        (Some("!remove"), _) => Change::Remove,
        (Some("!repeat"), _) => Change::Repeat,
        (_, Some(_)) => Change::Insert(value),
        (_, None) => Change::Set(value),
    };
    let each = |(place, values): (&'static str, Vec<Json>)| {
        let name = place.trim_end_matches('+');
        values.into_iter().map(move |value| (name, change(place, value)))
    };
    table.into_iter().flat_map(each).collect()
}

/// Values that are wrong nearly everywhere.
fn odd_values() -> Vec<Json> {
    vec![
        json!(null),
        json!(""),
        json!("0"),
        json!("1000"),
        json!(" "),
        json!("..\u{2215}"),
        json!(0),
        json!(-1),
        json!(1000),
        // The API server reads most numbers into 32 bits and denies what is more.
        json!(i32::MAX),
        json!(0.5),
        json!(true),
        json!(false),
        json!({}),
        json!([]),
        json!([null]),
        json!([{}]),
        json!({"": ""}),
        json!("ALL"),
    ]
}

/// What the edits start from.
static BASES: LazyLock<Vec<Json>> = LazyLock::new(|| {
    let complete = complete();
    let filled = create(&PolicySet::builtin(), Endpoint::Mutate, &several()).pod;
    vec![plain(), complete.clone(), several(), filled, of_a_job(complete.clone()), under_debug(complete)]
});

/// The complete Pod of the examples.
pub(crate) fn complete() -> Json {
    serde_saphyr::from_str(include_str!("../../examples/pods/complete.yaml")).unwrap()
}

fn plain() -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain", "namespace": "workflows"},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]},
    })
}

/// Two app containers, an init container and a sidecar; half of them say their limits.
fn several() -> Json {
    let named = |name: &str| json!({"name": name, "image": "registry.example.com/runner:1"});
    let mut sidecar = named("proxy");
    sidecar["restartPolicy"] = json!("Always");
    let mut second = named("second");
    second["resources"] = json!({"limits": {"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "1Gi"}});
    let mut pod = plain();
    pod["spec"]["containers"] = json!([named("main"), second]);
    pod["spec"]["initContainers"] = json!([named("prepare"), sidecar]);
    pod
}

fn of_a_job(mut pod: Json) -> Json {
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true}]);
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    pod
}

fn under_debug(mut pod: Json) -> Json {
    pod["spec"]["ephemeralContainers"] = json!([{
        "name": "debugger",
        "image": "registry.example.com/tools:1",
        "targetContainerName": "main",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    }]);
    pod
}

/// A sidecar as another webhook would inject it, with limits of its own or with none.
pub(crate) fn sidecars() -> impl Strategy<Value = Json> {
    let limits = select(vec![
        json!(null),
        json!({}),
        json!({"limits": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "1Gi"}}),
        json!({"limits": {"cpu": "1"}}),
        json!({"requests": {"memory": "64Mi"}}),
        json!({"limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"}}),
        json!({"limits": {"cpu": "2001m"}}),
    ]);
    (limits, any::<bool>()).prop_map(|(resources, native)| {
        let mut sidecar = Map::new();
        sidecar.insert("name".into(), json!("injected"));
        sidecar.insert("image".into(), json!("registry.example.com/proxy:1"));
        sidecar.insert("resources".into(), resources);
        if native {
            sidecar.insert("restartPolicy".into(), json!("Always"));
        }
        Json::Object(sidecar)
    })
}
