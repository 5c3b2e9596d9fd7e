//! Writes JSON into a buffer. A serializer would look at each byte of each text for what to escape.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::value::{Object, Value};
use crate::text::{NEEDS_ESCAPE, class};

/// Returns a value as JSON.
#[must_use]
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = Vec::with_capacity(512);
    write_value(value, &mut out);
    String::from_utf8(out).expect("the texts of a value are UTF-8")
}

/// Writes what [`serde::Serialize`] does, with fewer looks at each byte of a text.
pub(super) fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => write_string(text, out),
        Value::List(list) => {
            out.push(b'[');
            for (position, (_, item)) in list.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        Value::Object(Object { members, .. }) => {
            out.push(b'{');
            for (position, member) in members.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_string(&member.key, out);
                out.push(b':');
                write_value(&member.value, out);
            }
            out.push(b'}');
        }
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Null | Value::Number(_) => write_json(value, out),
    }
}

/// Writes a string with the escapes of JSON.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_string_content(text, out);
    out.push(b'"');
}

/// Writes a string with the escapes of JSON, without its quotes.
pub(super) fn write_string_content(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(position) = rest.iter().position(|byte| class(*byte) & NEEDS_ESCAPE != 0) {
        let (plain, after) = rest.split_at(position);
        out.extend_from_slice(plain);
        write_escape(after[0], out);
        rest = &after[1..];
    }
    out.extend_from_slice(rest);
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    if matches!(byte, b'"' | b'\\') {
        return out.extend_from_slice(&[b'\\', byte]);
    }
    let mut quoted = Vec::new();
    write_json(&char::from(byte), &mut quoted);
    out.extend_from_slice(quoted.get(1..quoted.len() - 1).unwrap_or_default());
}

/// Writes a value by its `Serialize`.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing JSON to memory cannot fail");
}

/// Writes a text with its quotes and escapes.
pub(crate) type WriteText = fn(&str, &mut Vec<u8>);

/// Writes the members of an object, whose keys need no escape.
pub(crate) struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Stands before the next key.
    separator: u8,
    write_text: WriteText,
}

impl<'o> ObjectWriter<'o> {
    /// Begins an object.
    pub(crate) fn new(out: &'o mut Vec<u8>, write_text: WriteText) -> Self {
        Self { out, separator: b'{', write_text }
    }

    /// Writes a key, and returns the buffer for its value.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(&[self.separator, b'"']);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.separator = b',';
        self.out
    }

    /// Writes a member that is a string.
    pub(crate) fn text(&mut self, key: &str, text: &str) {
        let write_text = self.write_text;
        write_text(text, self.key(key));
    }

    /// Writes a member that is a boolean.
    pub(crate) fn bool(&mut self, key: &str, truth: bool) {
        self.key(key).extend_from_slice(if truth { b"true" } else { b"false" });
    }

    /// Writes a member that is a list of strings.
    pub(crate) fn texts(&mut self, key: &str, texts: &[Cow<str>]) {
        let write_text = self.write_text;
        self.list(key, texts, |text, out| write_text(text, out));
    }

    /// Writes a member that is a list.
    pub(crate) fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&T, &mut Vec<u8>)) {
        let out = self.key(key);
        out.push(b'[');
        for (position, item) in items.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            write(item, out);
        }
        out.push(b']');
    }

    /// Ends the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes bytes as a JSON string in Base64, in which there is nothing to escape.
pub(crate) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the length is that of its Base64");
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::value_from_str;

    #[test]
    fn base64_is_that_of_the_library() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().map(|byte| byte.wrapping_mul(167)).take(800).collect();
        for length in (0..40).chain([800]) {
            let mut out = b"before".to_vec();
            write_base64(&bytes[..length], &mut out);
            let expected = format!("before\"{}\"", STANDARD.encode(&bytes[..length]));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    /// The writer looks for texts that need no escape, and only then for those that do.
    #[test]
    fn a_value_is_written_as_serde_writes_it() {
        let text = r#"{"a\"b":["\u0001\n\\","ü","\ud83d\ude00",-1,1.5,18446744073709551615,true,null,{},[]],"c":{"d":""}}"#;
        let value = value_from_str(text).unwrap();
        let mut written = Vec::new();
        write_value(&value, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&value).unwrap());
    }
}
