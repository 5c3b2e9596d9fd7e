//! A deserializer for the JSON that reviews are made of: every text that it reads, `serde_json` reads with the same result.
//!
//! `serde_json` looks at each byte of a text several times, which was half of the cost of an answer. This reader looks at
//! many at once. It is no second opinion: what is rare (numbers that are no whole ones of up to 18 digits, deep nesting)
//! and all that is wrong is left to `serde_json`, which reads the text again from its start and names what is wrong with it.

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor, value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};

/// Reads a value of type `T` that borrows from `text`.
///
/// # Errors
/// Returns the errors of [`serde_json::from_str`].
pub(crate) fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, serde_json::Error> {
    read_usual(text, std::marker::PhantomData).map_or_else(|_| serde_json::from_str(text), Ok)
}

/// Reads a value by its seed, if the text has nothing that is left to `serde_json`.
///
/// # Errors
/// Returns an error if the text is left to `serde_json`.
pub(super) fn read_usual<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, Unusual> {
    // With a line break at its end, as the API server sends it.
    let text = text.trim_end_matches([' ', '\n', '\r', '\t']);
    // Every byte is looked at, so that the compiler looks at many at once.
    let has_controls = text.bytes().fold(0, |found, byte| found | u8::from(byte < b' ')) != 0;
    let mut tokens = Tokens { text, at: 0, depth: 0, has_controls };
    let value = seed.deserialize(&mut tokens)?;
    if tokens.peek().is_some() { Err(Unusual) } else { Ok(value) }
}

/// The text is left to `serde_json`.
#[derive(Debug, thiserror::Error)]
#[error("left to serde_json")]
pub(super) struct Unusual;

impl de::Error for Unusual {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The deepest nesting that is read here. It is less than that of `serde_json`.
const MAX_DEPTH: u8 = 100;

/// The most digits of a number that is read here. Every such number fits an `i64`.
const MAX_DIGITS: usize = 18;

/// A text, and the position of what is read next.
struct Tokens<'de> {
    text: &'de str,
    at: usize,
    /// The number of lists and objects that are open.
    depth: u8,
    /// True if the text has control characters, such as line breaks between values. A string must have none.
    has_controls: bool,
}

/// A string as it stands in the text.
enum Token<'de> {
    /// One without escapes, without its quotes.
    Plain(&'de str),
    /// One with escapes, in its quotes.
    Escaped(&'de str),
}

impl<'de> Tokens<'de> {
    /// Returns the next byte that is not white space, and goes to it.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte.copied(),
            }
        }
    }

    /// Goes past the next byte that is not white space, if it is `wanted`.
    fn take(&mut self, wanted: u8) -> Result<(), Unusual> {
        if self.peek() != Some(wanted) {
            return Err(Unusual);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes past a word such as `true`.
    fn word(&mut self, word: &str) -> Result<(), Unusual> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Unusual);
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a string.
    #[inline]
    fn string(&mut self) -> Result<Token<'de>, Unusual> {
        self.take(b'"')?;
        let end = first_quote_or_backslash(self.text.as_bytes(), self.at);
        if self.has_controls || self.text.as_bytes().get(end) != Some(&b'"') {
            return self.rare_string(end);
        }
        let content = self.text.get(self.at..end).ok_or(Unusual)?;
        self.at = end + 1;
        Ok(Token::Plain(content))
    }

    /// Reads a string that has escapes, or of a text that has control characters. `end` is the position of its first
    /// quote or backslash.
    #[inline(never)]
    fn rare_string(&mut self, mut end: usize) -> Result<Token<'de>, Unusual> {
        let bytes = self.text.as_bytes();
        let (start, has_escapes) = (self.at, bytes.get(end) == Some(&b'\\'));
        loop {
            match bytes.get(end..) {
                Some([b'"', ..]) => break,
                Some([b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => end += 2,
                Some([b'\\', b'u', digits @ ..])
                    if digits
                        .first_chunk::<4>()
                        .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) =>
                {
                    end += 6;
                }
                _ => return Err(Unusual),
            }
            end = first_quote_or_backslash(bytes, end);
        }
        let content = self.text.get(start..end).ok_or(Unusual)?;
        if self.has_controls && content.bytes().any(|byte| byte < b' ') {
            return Err(Unusual);
        }
        self.at = end + 1;
        match self.text.get(start - 1..self.at) {
            Some(quoted) if has_escapes => Ok(Token::Escaped(quoted)),
            _ => Ok(Token::Plain(content)),
        }
    }

    /// Reads a whole number.
    fn number(&mut self) -> Result<i64, Unusual> {
        let bytes = &self.text.as_bytes()[self.at..];
        let is_negative = bytes.first() == Some(&b'-');
        let digits = &bytes[usize::from(is_negative)..];
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let has_leading_zero = digits.first() == Some(&b'0') && (count > 1 || is_negative);
        let goes_on = matches!(digits.get(count), Some(b'.' | b'e' | b'E'));
        if count == 0 || count > MAX_DIGITS || has_leading_zero || goes_on {
            return Err(Unusual);
        }
        self.at += usize::from(is_negative) + count;
        let number = digits[..count].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Ok(if is_negative { -number } else { number })
    }

    /// Begins a list or an object.
    fn open(&mut self) -> Result<(), Unusual> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Unusual) } else { Ok(()) }
    }

    /// Ends a list or an object.
    #[inline]
    fn close(&mut self, bracket: u8) -> Result<(), Unusual> {
        self.depth -= 1;
        self.take(bracket)
    }

    /// Goes to the next item or member, or returns false at the end.
    fn next(&mut self, is_first: &mut bool, bracket: u8) -> Result<bool, Unusual> {
        if self.peek() == Some(bracket) {
            return Ok(false);
        }
        if std::mem::take(is_first) { Ok(true) } else { self.take(b',').map(|()| true) }
    }

    /// Goes past a value.
    fn skip(&mut self) -> Result<(), Unusual> {
        let mut is_first = true;
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => {
                self.open()?;
                while self.next(&mut is_first, b'}')? {
                    self.string()?;
                    self.take(b':')?;
                    self.skip()?;
                }
                self.close(b'}')
            }
            Some(b'[') => {
                self.open()?;
                while self.next(&mut is_first, b']')? {
                    self.skip()?;
                }
                self.close(b']')
            }
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number().map(drop),
        }
    }
}

/// Returns the position of the first quote or backslash at or behind `at`; the length if there is none. It looks at eight
/// bytes at once.
#[inline]
fn first_quote_or_backslash(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH_BITS: u64 = ONES * 0x80;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let (quotes, backslashes) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
        // A zero byte sets its highest bit, and perhaps those of zero bytes and ones behind it.
        let found = (quotes.wrapping_sub(ONES) | backslashes.wrapping_sub(ONES)) & !word & HIGH_BITS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len())
}

/// Returns the text of a string with escapes.
fn unescaped(quoted: &str) -> Result<String, Unusual> {
    serde_json::from_str(quoted).map_err(|_| Unusual)
}

impl<'de> Deserializer<'de> for &mut Tokens<'de> {
    type Error = Unusual;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        match self.peek() {
            Some(b'"') => match self.string()? {
                Token::Plain(text) => visitor.visit_borrowed_str(text),
                Token::Escaped(quoted) => visitor.visit_str(&unescaped(quoted)?),
            },
            Some(b'{') => {
                self.open()?;
                let value = visitor.visit_map(Items { tokens: self, is_first: true })?;
                self.close(b'}')?;
                Ok(value)
            }
            Some(b'[') => {
                self.open()?;
                let value = visitor.visit_seq(Items { tokens: self, is_first: true })?;
                self.close(b']')?;
                Ok(value)
            }
            Some(b't') => {
                self.word("true")?;
                visitor.visit_bool(true)
            }
            Some(b'f') => {
                self.word("false")?;
                visitor.visit_bool(false)
            }
            Some(b'n') => {
                self.word("null")?;
                visitor.visit_unit()
            }
            _ => {
                let number = self.number()?;
                match u64::try_from(number) {
                    Ok(number) => visitor.visit_u64(number),
                    Err(_) => visitor.visit_i64(number),
                }
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        if self.peek() != Some(b'n') {
            return visitor.visit_some(self);
        }
        self.word("null")?;
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unusual> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusual> {
        self.skip()?;
        visitor.visit_unit()
    }

    // An enum has no value that is read here, so that it is left to `serde_json`.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// The items of the list or the members of the object that is open.
struct Items<'t, 'de> {
    tokens: &'t mut Tokens<'de>,
    is_first: bool,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Unusual;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Unusual> {
        if !self.tokens.next(&mut self.is_first, b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.tokens).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Unusual;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Unusual> {
        if !self.tokens.next(&mut self.is_first, b'}')? {
            return Ok(None);
        }
        let key = match self.tokens.string()? {
            Token::Plain(key) => seed.deserialize(BorrowedStrDeserializer::new(key))?,
            Token::Escaped(quoted) => {
                seed.deserialize(de::value::StringDeserializer::new(unescaped(quoted)?))?
            }
        };
        self.tokens.take(b':')?;
        Ok(Some(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Unusual> {
        seed.deserialize(&mut *self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Value;

    /// Reads a text here alone.
    fn usual(text: &str) -> Option<serde_json::Value> {
        read_usual(text, std::marker::PhantomData).ok()
    }

    #[test]
    fn first_quote_or_backslash_is_found_wherever_it_stands() {
        let usual = |position: usize| [b'x', b'!', b'#', b'[', b']', b' ', 0x7f, 0x80, 0xff][position % 9];
        for found in [b'"', b'\\'] {
            for before in 0..30 {
                for behind in [b'x', b'"', b'#', b'\\', b']', 0x80, 0xff] {
                    let bytes: Vec<u8> = (0..before).map(usual).collect();
                    assert_eq!(first_quote_or_backslash(&bytes, before / 2), before);
                    let bytes = [bytes, vec![found], vec![behind; before % 11]].concat();
                    assert_eq!(first_quote_or_backslash(&bytes, before / 2), before, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn usual_texts_are_read_here() {
        for text in [
            "{}",
            "[]",
            " [ 1 , -2,0 ,\n123456789012345678\t, true,false,null ] ",
            r#"{"a":{"b":[{"c":"d"},{}]},"ü":"a long text of usual characters, and ü"}"#,
            r#"{"a\"b":"\" \\ \/ \b \f \n \r \t \u00e9 \ud83d\ude00"}"#,
            r#""""#,
        ] {
            assert_eq!(usual(text), Some(serde_json::from_str(text).unwrap()), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(usual(&deep).is_some());
    }

    #[test]
    fn unusual_texts_are_left_to_serde_json() {
        for text in ["1.5", "1e3", "-0", "1234567890123456789", "18446744073709551615"] {
            assert!(
                usual(text).is_none() && serde_json::from_str::<serde_json::Value>(text).is_ok(),
                "{text}"
            );
            assert!(from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        assert!(usual(&deep).is_none());
    }

    #[test]
    fn wrong_texts_are_errors_of_serde_json() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "[1 2]",
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":}"#,
            "{a:1}",
            r#"{"a":1"b":2}"#,
            "01",
            "-",
            "--1",
            "+1",
            "tru",
            "nul",
            "truefalse",
            "1 2",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"a\nb\"",
            "\"a\u{0}b\"",
            "[1}",
            "{\"a\":1]",
            "\u{feff}1",
            "1\u{c}",
            "\u{a0}1",
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(text).unwrap_err().to_string();
            assert_eq!(from_str::<serde_json::Value>(text).unwrap_err().to_string(), expected, "{text}");
            assert!(usual(text).is_none(), "{text}");
        }
    }

    #[test]
    fn skipped_values_are_read_as_strictly() {
        for text in
            [r#"{"status":{"a":[1,]}}"#, r#"{"status":"a\x"}"#, r#"{"status":[}}"#, r#"{"status":01}"#]
        {
            assert!(crate::json::pod_from_str(text).is_err(), "{text}");
        }
    }

    /// A text of JSON, of which some bytes were exchanged.
    fn texts() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just(" "),
            Just("\"a\""),
            Just("\"name\""),
            Just("\""),
            Just("\\"),
            Just("\\u00"),
            Just("ü"),
            Just("\\\""),
            Just("null"),
            Just("true"),
            Just("0"),
            Just("17"),
            Just("-"),
            Just("1.5"),
            Just("e1"),
            Just("\n"),
            Just("\"a text of more than eight bytes\""),
        ];
        proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_here_serde_json_reads_with_the_same_result(text in texts()) {
            if let Some(value) = usual(&text) {
                prop_assert_eq!(Some(value), serde_json::from_str(&text).ok(), "{}", text);
            }
            let is_skipped = read_usual(&text, std::marker::PhantomData::<de::IgnoredAny>).is_ok();
            prop_assert!(!is_skipped || serde_json::from_str::<de::IgnoredAny>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn tree_of_any_value_is_the_same(value in "[\\PC\"\\\\\n]{0,20}", count in 0..20usize) {
            let text = serde_json::json!({"a": value, "b": vec![value.clone(); count], value.clone(): {"c": count}}).to_string();
            let tree: Value = crate::json::value_from_str(&text).unwrap();
            prop_assert_eq!(&serde_json::to_string(&tree).unwrap(), &text);
            prop_assert!(usual(&text).is_some());
        }
    }
}
