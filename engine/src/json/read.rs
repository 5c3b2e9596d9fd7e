//! Reads JSON text into a tree, with a bound on the number of values in it.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::value::{List, Member, Object, State, Value, is_same, key_bit};

/// The largest number of values in one tree: objects, lists, strings, numbers, booleans and nulls.
///
/// A tree needs memory by value, not by byte, so a bound on bytes alone lets a body of a few megabytes take a gigabyte.
/// The densest list that a Pod of 1.5 MiB (the largest that etcd takes) can hold for a purpose, environment variables
/// such as `{"name":"A1","value":"x"}`, has 181,000.
pub const MAX_VALUES: usize = 250_000;

/// The largest ratio of the memory for reading a text to the text's length, both in bytes. A list of digits (`[0,0,…]`)
/// comes closest to it.
pub const MEMORY_PER_BYTE: usize = 40;

// A digit and its comma are two bytes; a list that grows has the capacity for twice its items.
const _: () = assert!(2 * size_of::<(Value, State)>() <= 2 * MEMORY_PER_BYTE);

/// The most memory that one tree takes while it is read, in bytes, without the strings that have escapes: those are
/// copied, and no longer than their text.
pub const MAX_TREE_BYTES: usize = MAX_VALUES * 2 * MEMORY_PER_BYTE;

/// Reads a value that borrows from `text`.
///
/// # Errors
/// Returns an error if the text is not JSON, names a key twice in one object, nests deeper than 128 levels, or holds
/// more than [`MAX_VALUES`] values.
pub fn value_from_str(text: &str) -> Result<Value<'_>, serde_json::Error> {
    read(text, DocumentPart::Elsewhere)
}

/// Reads a Pod without `status` and `metadata.managedFields`, which no rule looks at.
///
/// # Errors
/// Returns the errors of [`value_from_str`].
pub fn pod_from_str(text: &str) -> Result<Value<'_>, serde_json::Error> {
    read(text, DocumentPart::Pod)
}

fn read(text: &str, place: DocumentPart) -> Result<Value<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = place.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// A Pod inside a larger document, read without `status` and `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub struct PodTree<'a>(pub Value<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for PodTree<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DocumentPart::Pod.deserialize(deserializer).map(Self)
    }
}

/// A string borrowed from the document, also where serde's own `Cow` would be copied (inside `Option`, `Vec`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self(Cow::Borrowed(""))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }

            // Kubernetes takes null for absent.
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Text::default())
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

/// The part of the document that holds a value. Parts that no rule reads are skipped.
#[derive(Clone, Copy)]
enum DocumentPart {
    Pod,
    Metadata,
    Elsewhere,
}

impl DocumentPart {
    /// Returns the place of the member `key`, or `None` if the member is to be skipped.
    fn member(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Pod, "metadata") => Some(Self::Metadata),
            (Self::Pod, "status") | (Self::Metadata, "managedFields") => None,
            _ => Some(Self::Elsewhere),
        }
    }
}

impl<'de> DeserializeSeed<'de> for DocumentPart {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Reader { place: self, open: &mut Open::default() }.deserialize(deserializer)
    }
}

/// The items and members of the lists and objects that are open, innermost last. Each list and object takes its own out
/// at its end, so it needs memory for what it holds and none for growing.
#[derive(Default)]
struct Open<'de> {
    items: Vec<(Value<'de>, State)>,
    members: Vec<Member<'de>>,
    /// The number of values read so far.
    values: usize,
}

/// Reads one value at its place.
struct Reader<'o, 'de> {
    place: DocumentPart,
    open: &'o mut Open<'de>,
}

impl<'de> Reader<'_, 'de> {
    /// Returns the reader of a value inside this one.
    fn at(&mut self, place: DocumentPart) -> Reader<'_, 'de> {
        Reader { place, open: self.open }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_, 'de> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.open.values += 1;
        if self.open.values > MAX_VALUES {
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_, 'de> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let number = serde_json::Number::from_f64(number);
        number.map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Self::Value, A::Error> {
        let start = self.open.items.len();
        while let Some(item) = access.next_element_seed(self.at(DocumentPart::Elsewhere))? {
            self.open.items.push((item, State::Kept));
        }
        Ok(Value::List(List { items: self.open.items.split_off(start) }))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Self::Value, A::Error> {
        let start = self.open.members.len();
        let (mut keys, mut may_repeat) = (0, false);
        while let Some(Text(key)) = access.next_key()? {
            let Some(place) = self.place.member(&key) else {
                access.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = access.next_value_seed(self.at(place))?;
            let bit = key_bit(&key);
            may_repeat |= keys & bit != 0;
            keys |= bit;
            self.open.members.push(Member { key, value, state: State::Kept });
        }
        let members = &mut self.open.members;
        if may_repeat && let Some(key) = repeated_key(&members[start..]) {
            return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
        }
        Ok(Value::Object(Object { members: members.split_off(start), keys }))
    }
}

/// Two readers may pick different ones of two members with one key, so none of them is right.
fn repeated_key<'m>(members: &'m [Member]) -> Option<&'m str> {
    const MAX_COMPARED_KEYS: usize = 32;
    if members.len() <= MAX_COMPARED_KEYS {
        let mut seen = 0u64;
        let repeats = |(index, member): &(usize, &Member)| {
            // Equal keys have the same bit; most keys have one of their own.
            let bit = key_bit(&member.key);
            let may_repeat = seen & bit != 0;
            seen |= bit;
            may_repeat && members[..*index].iter().any(|m| is_same(&m.key, &member.key))
        };
        return members.iter().enumerate().find(repeats).map(|(_, member)| member.key.as_ref());
    }
    let mut keys: Vec<&str> = members.iter().map(|member| member.key.as_ref()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of `count` copies of `item`.
    fn list(item: &str, count: usize) -> String {
        format!("[{}]", vec![item; count].join(","))
    }

    #[test]
    fn too_many_values_are_an_error_whatever_they_are() {
        for item in ["{}", "[]", "0", "null", "\"\"", "true", "{\"a\":0}"] {
            let values_per_item = if item.contains(':') { 2 } else { 1 };
            let fits = (MAX_VALUES - 1) / values_per_item;
            assert!(value_from_str(&list(item, fits)).is_ok(), "{item}");
            let problem = value_from_str(&list(item, fits + 1)).unwrap_err().to_string();
            assert!(problem.contains("more than 250000 values"), "{item}: {problem}");
        }
    }

    #[test]
    fn a_repeated_key_is_an_error_wherever_it_stands() {
        // They differ in the middle only, so that a look at length, first and last letter does not tell them apart.
        let keys = |count: usize| (0..count).map(|number| format!("x{number}x")).collect::<Vec<_>>();
        let object = |keys: &[String]| {
            let members: Vec<String> = keys.iter().map(|key| format!("{key:?}:0")).collect();
            format!("{{{}}}", members.join(","))
        };
        for count in [1, 2, 10, 32, 33, 100] {
            let keys = keys(count);
            assert!(value_from_str(&object(&keys)).is_ok(), "{count} keys");
            for repeated in [0, count / 2, count - 1] {
                let keys = [keys.as_slice(), &keys[repeated..=repeated]].concat();
                let problem = value_from_str(&object(&keys)).unwrap_err().to_string();
                assert!(problem.starts_with(&format!("duplicate key \"x{repeated}x\"")), "{problem}");
            }
        }
    }

    #[test]
    fn the_largest_real_pod_is_read() {
        let variable = r#"{"name":"A1","value":"x"}"#;
        let pod = format!(r#"{{"spec":{{"containers":[{{"env":{}}}]}}}}"#, list(variable, 64_000));
        assert!(pod.len() > 3 << 19, "{} bytes", pod.len());
        assert!(pod_from_str(&pod).is_ok());
    }

    #[test]
    fn skipped_members_are_not_counted() {
        let pod =
            format!(r#"{{"status":{0},"metadata":{{"managedFields":{0}}}}}"#, list("0", 2 * MAX_VALUES));
        assert!(pod_from_str(&pod).is_ok());
    }
}
