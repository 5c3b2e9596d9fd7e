//! Small pieces for putting a Pod together.

use std::borrow::Cow;

use crate::{
    json::{Object, Value},
    path::{FieldPath, SPEC, Step},
};

/// The members of an object that is being put together, in their order.
#[derive(Debug, Default)]
pub(super) struct Fields<'v>(Vec<(Cow<'v, str>, Value<'v>)>);

impl<'v> Fields<'v> {
    /// Copies the members of an object; anything else has none.
    pub(super) fn of(value: Option<&Value<'v>>) -> Self {
        let members = value.and_then(Value::as_object).into_iter().flat_map(Object::iter);
        Self(members.map(|(key, value)| (Cow::Owned(key.to_string()), value.clone())).collect())
    }

    /// Keeps only the members that `keeps` returns true for.
    pub(super) fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.0.retain(|(key, _)| keeps(key));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value<'v>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Value<'v>> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets `key` if it is absent or null, and returns whether it did.
    pub(super) fn set_default(&mut self, key: &str, value: Value<'v>) -> bool {
        let is_open = self.get_mut(key).is_none_or(|value| matches!(value, Value::Null));
        if is_open {
            self.0.retain(|(name, _)| name != key);
            self.0.push((Cow::Owned(key.to_string()), value));
        }
        is_open
    }

    /// Appends to the list at `key`, made if absent, and returns the index. Anything but a list stays as it is.
    pub(super) fn push(&mut self, key: &str, item: Value<'v>) -> Option<usize> {
        self.set_default(key, list([]));
        let Some(Value::List(items)) = self.get_mut(key) else { return None };
        items.push(item);
        Some(items.len() - 1)
    }

    pub(super) fn into_value(self) -> Value<'v> {
        Value::Object(self.0.into_iter().collect())
    }
}

pub(super) fn object<'v, const N: usize>(members: [(&'static str, Value<'v>); N]) -> Value<'v> {
    Value::Object(members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
}

pub(super) fn list<const N: usize>(items: [Value<'_>; N]) -> Value<'_> {
    items.into_iter().collect()
}

pub(super) fn text<'v>(text: &str) -> Value<'v> {
    Value::String(Cow::Owned(text.to_string()))
}

/// Returns the path of a field that is written with dots, such as `spec.workflowSpec`, a constant of this program.
pub(super) fn fields(path: &str) -> FieldPath {
    path.split('.').map(Step::Field).collect()
}

/// Returns the path of a field of the Pod's spec.
pub(super) fn of_spec(field: &str) -> FieldPath {
    SPEC.child(field).into()
}

/// Returns the path of an item of a list of the Pod's spec.
pub(super) fn item_of_spec(list: &str, index: usize) -> FieldPath {
    SPEC.child(list).index(index).into()
}

/// Returns the value at a path without lists, such as `spec.workflowSpec`.
pub(super) fn at<'o, 'v>(value: &'o Value<'v>, path: &str) -> Option<&'o Value<'v>> {
    crate::yaml::steps(path).try_fold(value, |value, key| child(value, key))
}

/// Returns the member or the item that a step leads to.
pub(super) fn child<'o, 'v>(value: &'o Value<'v>, step: &str) -> Option<&'o Value<'v>> {
    match value {
        Value::List(items) => {
            let wanted = step.parse::<usize>().ok()?;
            items.iter().find(|(index, _)| *index == wanted).map(|(_, item)| item)
        }
        Value::Object(object) => object.get(step),
        _ => None,
    }
}

/// The fields of a container in the Pod API, for kinds whose containers have fields of their own beside them.
pub(super) fn container<'v>(value: &Value<'v>) -> Fields<'v> {
    const FIELDS: [&str; 24] = [
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ];
    let mut fields = Fields::of(Some(value));
    fields.retain(|key| FIELDS.contains(&key));
    fields
}
