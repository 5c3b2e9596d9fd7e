//! Reading JSON into the tree, with its text borrowed.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::value::{List, Member, Object, State, Value, is_same};

/// Reads a value that borrows from `text`.
///
/// # Errors
/// When the text is no JSON, names a key twice in one object, or nests deeper than 128 levels.
pub fn value_from_str(text: &str) -> Result<Value<'_>, serde_json::Error> {
    read(text, Place::Elsewhere)
}

/// Reads a Pod without `status` and `metadata.managedFields`, which no rule looks at.
///
/// # Errors
/// As [`value_from_str`].
pub fn pod_from_str(text: &str) -> Result<Value<'_>, serde_json::Error> {
    read(text, Place::Pod)
}

fn read(text: &str, place: Place) -> Result<Value<'_>, serde_json::Error> {
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
        Place::Pod.deserialize(deserializer).map(Self)
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

/// Where in the document a value stands: what no rule reads is skipped there.
#[derive(Clone, Copy)]
enum Place {
    Pod,
    Metadata,
    Elsewhere,
}

impl Place {
    /// The place of the member `key`; `None` where it is to be skipped.
    fn member(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Pod, "metadata") => Some(Self::Metadata),
            (Self::Pod, "status") | (Self::Metadata, "managedFields") => None,
            _ => Some(Self::Elsewhere),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Self::Elsewhere)? {
            items.push((item, State::Kept));
        }
        Ok(Value::List(List { items }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<Member> = Vec::new();
        while let Some(Text(key)) = access.next_key()? {
            if members.is_empty() {
                // Most objects of a Pod fit, and need not grow.
                members.reserve(USUAL_MEMBERS);
            }
            let Some(place) = self.member(&key) else {
                access.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = access.next_value_seed(place)?;
            members.push(Member { key, value, state: State::Kept });
        }
        match repeated_key(&members) {
            Some(key) => Err(A::Error::custom(format_args!("duplicate key {key:?}"))),
            None => Ok(Value::Object(Object { members })),
        }
    }
}

/// So many members have room without growing.
const USUAL_MEMBERS: usize = 8;

/// Two readers may pick different ones of two members with one key, so none of them is right.
fn repeated_key<'m>(members: &'m [Member]) -> Option<&'m str> {
    const FEW: usize = 32;
    if members.len() <= FEW {
        let repeats = |(index, member): &(usize, &Member)| {
            members[..*index].iter().any(|m| is_same(&m.key, &member.key))
        };
        return members.iter().enumerate().find(repeats).map(|(_, member)| member.key.as_ref());
    }
    let mut keys: Vec<&str> = members.iter().map(|member| member.key.as_ref()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
