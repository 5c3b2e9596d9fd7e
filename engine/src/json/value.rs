//! The tree: values that borrow their text and mark what was changed.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::steps::step;

/// A JSON value that borrows from the text it was read from.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`; for Kubernetes the same as absent.
    Null,
    /// The value `true` or `false`.
    Bool(bool),
    /// A number, as exact as JSON in Rust gets: `u64`, `i64` or `f64`.
    Number(serde_json::Number),
    /// A string, borrowed unless it had escapes.
    String(Cow<'a, str>),
    /// A list of values.
    List(List<'a>),
    /// An object: values by key.
    Object(Object<'a>),
}

/// The state of a value since it was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// As it was read, with everything inside it.
    Kept,
    /// As it was read, though something inside it may have changed: only such values need to be searched for changes.
    Entered,
    /// Not there when the object was read.
    Added,
    /// There before, with another value.
    Replaced,
    /// Taken out; kept as a gap so that indices stay those of the object that was read.
    Removed,
}

impl State {
    /// Notes that the inside of the value is about to be changed.
    fn enter(&mut self) {
        if matches!(self, Self::Kept) {
            *self = Self::Entered;
        }
    }
}

impl PartialEq for State {
    /// A value that was entered is as it was read.
    fn eq(&self, other: &Self) -> bool {
        let rank = |state: &Self| match state {
            Self::Kept | Self::Entered => 0,
            Self::Added => 1,
            Self::Replaced => 2,
            Self::Removed => 3,
        };
        rank(self) == rank(other)
    }
}

/// A list; items that were removed leave a gap, so that an index always is the one the sender knows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct List<'a> {
    pub(super) items: Vec<(Value<'a>, State)>,
}

/// An object, in the order of its text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object<'a> {
    pub(super) members: Vec<Member<'a>>,
    /// The bits of all keys, by [`key_bit`]: rules look for fields that most Pods do not have.
    pub(super) keys: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: Value<'a>,
    pub(super) state: State,
}

impl<'a> Value<'a> {
    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The whole number, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&List<'a>> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// The object, to be changed.
    pub fn as_object_mut(&mut self) -> Option<&mut Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the type of the value for a message: `a string`, `a list`…
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
    }
}

impl<'a> From<Object<'a>> for Value<'a> {
    fn from(object: Object<'a>) -> Self {
        Self::Object(object)
    }
}

impl<'a, V: Into<Value<'a>>> FromIterator<V> for Value<'a> {
    fn from_iter<I: IntoIterator<Item = V>>(items: I) -> Self {
        Self::List(List { items: items.into_iter().map(|item| (item.into(), State::Kept)).collect() })
    }
}

impl<'a, V: Into<Value<'a>>, const N: usize> From<[(&'a str, V); N]> for Object<'a> {
    fn from(members: [(&'a str, V); N]) -> Self {
        members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value.into())).collect()
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(members: I) -> Self {
        let mut object = Self::EMPTY;
        for (key, value) in members {
            object.push(key, value, State::Kept);
        }
        object
    }
}

impl<'a> List<'a> {
    /// The items that stand, each with the index the sender of the object knows it by.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Value<'a>)> {
        let standing = self.items.iter().enumerate().inspect(|_| step());
        let standing = standing.filter(|(_, (_, state))| *state != State::Removed);
        standing.map(|(index, (value, _))| (index, value))
    }

    /// The items that stand, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Value<'a>)> {
        let standing = self.items.iter_mut().enumerate().inspect(|_| step());
        let standing = standing.filter(|(_, (_, state))| *state != State::Removed);
        standing.map(|(index, (value, state))| {
            state.enter();
            (index, value)
        })
    }

    /// Returns the number of items, those that were removed included: the index of the next one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether the list has no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Appends an item to the list.
    pub fn push(&mut self, value: impl Into<Value<'a>>) {
        self.items.push((value.into(), State::Added));
    }

    /// Takes out every item for which `unwanted` holds. It is asked once for each item, in order.
    pub fn remove_where(&mut self, mut unwanted: impl FnMut(&Value<'a>) -> bool) {
        // What was added a moment ago simply goes; what was read stays as a gap.
        self.items.retain_mut(|(value, state)| {
            if *state == State::Removed || !unwanted(value) {
                return true;
            }
            let was_added = *state == State::Added;
            *state = State::Removed;
            !was_added
        });
    }
}

impl<'a> Object<'a> {
    /// An object without members.
    pub const EMPTY: Self = Self { members: Vec::new(), keys: 0 };

    /// The value of `key`, unless it is absent or null.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        if !self.may_have(key) {
            return None;
        }
        self.position(key)
            .map(|index| &self.members[index].value)
            .filter(|value| !matches!(value, Value::Null))
    }

    /// Returns false if the object has no such key. Where the key is a constant, so is its bit.
    #[inline]
    fn may_have(&self, key: &str) -> bool {
        self.keys & key_bit(key) != 0
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.members.iter().inspect(|_| step()).position(|member| is_same(&member.key, key))
    }

    /// Adds a member whose key the object does not have.
    pub(super) fn push(&mut self, key: Cow<'a, str>, value: Value<'a>, state: State) {
        self.keys |= key_bit(&key);
        self.members.push(Member { key, value, state });
    }

    /// The string at `key`.
    #[must_use]
    #[inline]
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The boolean at `key`.
    #[must_use]
    #[inline]
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// The whole number at `key`.
    #[must_use]
    #[inline]
    pub fn i64(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    /// The object at `key`.
    #[must_use]
    #[inline]
    pub fn object(&self, key: &str) -> Option<&Object<'a>> {
        self.get(key)?.as_object()
    }

    /// The items of the list at `key`; none if there is no list.
    #[inline]
    pub fn list(&self, key: &str) -> impl Iterator<Item = (usize, &Value<'a>)> {
        self.get(key).and_then(Value::as_list).into_iter().flat_map(List::iter)
    }

    /// The items of the list at `key` that are objects.
    #[inline]
    pub fn objects(&self, key: &str) -> impl Iterator<Item = (usize, &Object<'a>)> {
        self.list(key).filter_map(|(index, item)| Some((index, item.as_object()?)))
    }

    /// The members that are not null.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        let standing = self.members.iter().inspect(|_| step());
        let standing = standing.filter(|member| !matches!(member.value, Value::Null));
        standing.map(|member| (member.key.as_ref(), &member.value))
    }

    /// Returns whether every member is null.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Sets `key`, whatever stands there.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let (key, value) = (key.into(), value.into());
        match self.find_mut(&key) {
            Some(member) => member.replace(value),
            None => self.push(key, value, State::Added),
        }
    }

    /// Sets `key` if it is absent or null; returns whether it did.
    pub fn set_default(&mut self, key: &'a str, value: impl Into<Value<'a>>) -> bool {
        match self.find_mut(key) {
            Some(member) if !matches!(member.value, Value::Null) => return false,
            Some(member) => member.replace(value.into()),
            None => self.push(Cow::Borrowed(key), value.into(), State::Added),
        }
        true
    }

    /// The object at `key`, made if absent; `None` if something else stands there.
    pub fn object_mut(&mut self, key: &'a str) -> Option<&mut Object<'a>> {
        match self.entry(key, || Value::Object(Object::default())) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The list at `key`, made if absent; `None` if something else stands there.
    pub fn list_mut(&mut self, key: &'a str) -> Option<&mut List<'a>> {
        match self.entry(key, || Value::List(List::default())) {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The value at `key`, to be changed in its inside, if it is there.
    #[inline]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value<'a>> {
        self.find_mut(key).filter(|member| !matches!(member.value, Value::Null)).map(Member::enter)
    }

    fn find_mut(&mut self, key: &str) -> Option<&mut Member<'a>> {
        if !self.may_have(key) {
            return None;
        }
        self.members.iter_mut().find(|member| is_same(&member.key, key))
    }

    fn entry(&mut self, key: &'a str, make: impl FnOnce() -> Value<'a>) -> &mut Value<'a> {
        let found = if self.may_have(key) { self.position(key) } else { None };
        let index = found.unwrap_or_else(|| {
            self.push(Cow::Borrowed(key), Value::Null, State::Added);
            self.members.len() - 1
        });
        let member = &mut self.members[index];
        if matches!(member.value, Value::Null) {
            member.replace(make());
        }
        member.enter()
    }
}

impl<'a> Member<'a> {
    fn replace(&mut self, value: Value<'a>) {
        if !matches!(self.state, State::Added) {
            self.state = State::Replaced;
        }
        self.value = value;
    }

    fn enter(&mut self) -> &mut Value<'a> {
        self.state.enter();
        &mut self.value
    }
}

/// Returns a number with one bit set, which depends on nothing but the key.
#[inline]
pub(super) const fn key_bit(key: &str) -> u64 {
    let (first, last) = match key.as_bytes() {
        [] => (0, 0),
        [only] => (*only, *only),
        [first, .., last] => (*first, *last),
    };
    1 << ((key.len() + 3 * first as usize + 5 * last as usize) % 64)
}

/// Returns whether two keys are equal. Most are not, and differ in length or first letter: seeing that here is several
/// times faster than a call that compares memory.
pub(crate) fn is_same(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.as_bytes().first() == right.as_bytes().first() && left == right
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::List(list) => list.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = serializer.serialize_seq(None)?;
        for (_, item) in self.iter() {
            items.serialize_element(item)?;
        }
        items.end()
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for member in &self.members {
            members.serialize_entry(&member.key, &member.value)?;
        }
        members.end()
    }
}
