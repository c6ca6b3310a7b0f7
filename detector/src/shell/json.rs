//! Values inside a line of JSON, as they were written.
//!
//! Only the values that are asked for are built, so a long line costs no more memory than its bytes. Numbers keep their
//! digits, and strings may hold what UTF-8 cannot.

use std::borrow::Cow;
use std::io::{self, Read};

use serde::de::IgnoredAny;

/// White space in JSON.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// A value of valid JSON, as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Takes a text that is one JSON value.
    ///
    /// # Errors
    /// Returns an error if it is not.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok(Self(text.trim_matches(SPACE)))
    }

    /// Returns the value as it was written.
    pub fn as_written(self) -> &'a str {
        self.0
    }

    /// Returns what kind of value it is, with its article.
    pub fn kind(self) -> &'static str {
        match self.0.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    /// Returns whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Returns the member with this name. If an object has no member `a.b`, it is the member `b` of its member `a`. In
    /// an array a number counts from 0. If several members have one name, the last counts.
    pub fn get(self, name: &str) -> Option<Self> {
        let (mut whole, mut starts) = (None, Vec::new());
        for (key, value) in self.members() {
            match name.strip_prefix(&*key) {
                Some("") => whole = Some(value),
                Some(rest) if rest.starts_with('.') => {
                    // A name of the same length is the same name again.
                    starts.retain(|&(len, _)| len != key.len());
                    starts.push((key.len(), value));
                }
                _ => {}
            }
        }
        starts.sort_by_key(|&(len, _)| len);
        let inside = |(len, value): (usize, Self)| value.get(&name[len + 1..]);
        whole.or_else(|| starts.into_iter().rev().find_map(inside))
    }

    /// Returns the members of an object or an array with their names; an array's are named by their numbers.
    pub fn members(self) -> Members<'a> {
        match self.0.as_bytes().first() {
            Some(b'{') => Members { rest: &self.0[1..], number: None },
            Some(b'[') => Members { rest: &self.0[1..], number: Some(0) },
            _ => Members { rest: "", number: None },
        }
    }

    /// Returns a reader of the string, or `None` for another value. Half of a surrogate pair is read as U+FFFD. Python
    /// and JavaScript write one where a text was cut inside a character.
    pub fn reader(self) -> Option<Unescaped<'a>> {
        let inside = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(Unescaped { rest: inside.as_bytes(), pending: [0; 4], from: 0, to: 0 })
    }

    /// Returns the string as [`reader`](Self::reader) reads it, or `None` for another value.
    pub fn string(self) -> Option<Cow<'a, str>> {
        let inside = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if !inside.contains('\\') {
            return Some(Cow::Borrowed(inside));
        }
        let mut text = String::with_capacity(inside.len());
        // The reader reads from memory, and whole characters.
        self.reader()?.read_to_string(&mut text).ok()?;
        Some(Cow::Owned(text))
    }

    /// Returns an array of token ids.
    ///
    /// # Errors
    /// Returns an error if the value is not an array of numbers from 0 to 2^32 − 1.
    pub fn ids(self) -> Result<Vec<u32>, serde_json::Error> {
        serde_json::from_str(self.0)
    }
}

/// Members of an object or an array, in their order.
pub struct Members<'a> {
    /// The text after the opening bracket or the last member.
    rest: &'a str,
    /// The number of the next member of an array.
    number: Option<usize>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.trim_start_matches(SPACE).trim_start_matches(',').trim_start_matches(SPACE);
        if matches!(rest.as_bytes().first(), None | Some(b'}' | b']')) {
            return None;
        }
        let key = if let Some(number) = &mut self.number {
            *number += 1;
            Cow::Owned((*number - 1).to_string())
        } else {
            let (key, behind) = rest.split_at(value_len(rest));
            rest = behind.trim_start_matches(SPACE).trim_start_matches(':').trim_start_matches(SPACE);
            Json(key).string()?
        };
        let (value, behind) = rest.split_at(value_len(rest));
        self.rest = behind;
        Some((key, Json(value)))
    }
}

/// Returns the length of the value that valid JSON starts with.
fn value_len(json: &str) -> usize {
    let bytes = json.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += string_len(&bytes[at..]),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            // A number or a name ends where something else begins.
            b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// Returns the length of the string that valid JSON starts with, quotes included.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A string of JSON as UTF-8, read in pieces.
pub struct Unescaped<'a> {
    rest: &'a [u8],
    /// A character that did not fit into the reader's buffer: `pending[from..to]`.
    pending: [u8; 4],
    from: usize,
    to: usize,
}

impl Unescaped<'_> {
    /// Takes the escape at the start.
    fn escape(&mut self) -> char {
        let (&kind, len) = (self.rest.get(1).unwrap_or(&b'\\'), self.rest.len().min(2));
        if kind == b'u' {
            return self.unit_pair();
        }
        self.rest = &self.rest[len..];
        match kind {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            other => char::from(other),
        }
    }

    /// Takes a `\u` with its four digits, and the second half of the pair if it is there.
    fn unit_pair(&mut self) -> char {
        let first = self.unit().unwrap_or_default();
        self.rest = &self.rest[self.rest.len().min(6)..];
        let second = self
            .unit()
            .filter(|second| (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(second));
        if second.is_some() {
            self.rest = &self.rest[6..];
        }
        char::decode_utf16([first].into_iter().chain(second))
            .next()
            .and_then(Result::ok)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Returns the number of the `\u` at the start, if there is one.
    fn unit(&self) -> Option<u16> {
        let digits = self.rest.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

impl Read for Unescaped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < buffer.len() {
            let free = &mut buffer[written..];
            let source = if self.from < self.to {
                &self.pending[self.from..self.to]
            } else {
                // Look only as far as there is room, or each read would search a long string again.
                let ahead = &self.rest[..self.rest.len().min(free.len())];
                let run = ahead.iter().position(|&byte| byte == b'\\').unwrap_or(ahead.len());
                &ahead[..run]
            };
            let len = source.len().min(free.len());
            free[..len].copy_from_slice(&source[..len]);
            written += len;
            if self.from < self.to {
                self.from += len;
            } else if len > 0 {
                self.rest = &self.rest[len..];
            } else if self.rest.is_empty() {
                break;
            } else {
                let c = self.escape();
                (self.from, self.to) = (0, c.encode_utf8(&mut self.pending).len());
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get<'a>(line: &'a str, name: &str) -> Option<&'a str> {
        Json::parse(line).unwrap().get(name).map(Json::as_written)
    }

    #[test]
    fn a_dotted_name_is_a_path_unless_a_field_has_that_name() {
        let line =
            r#" {"a": {"b": 1, "c": {"d": [2, {"e": "x}"}]}}, "a.c": {"d": 3}, "f.g": 4, "f": {"g": 5}} "#;
        for (name, found) in [
            ("a.b", Some("1")),
            ("f.g", Some("4")),
            ("a.c.d", Some("3")),
            ("a.c.d.1.e", Some(r#""x}""#)),
            ("a.c.d.2", None),
            ("a.x", None),
            ("a.", None),
            ("", None),
        ] {
            assert_eq!(get(line, name), found, "{name}");
        }
    }

    #[test]
    fn values_are_as_they_were_written() {
        let line = r#"{"id":18446744073709551617,"x" : 1.50e+3 , "i\u0064": null, "e":{ }, "e":[ ]}"#;
        assert_eq!(get(line, "x"), Some("1.50e+3"));
        assert_eq!(get(line, "id"), Some("null"), "the last one counts, however it is spelt");
        assert_eq!(get(line, "e"), Some("[ ]"));
        assert_eq!(get(r#"{"a":{"b":1},"a":{"c":2}}"#, "a.b"), None);
        assert_eq!(get(r#"{"id":18446744073709551617}"#, "id"), Some("18446744073709551617"));
    }

    #[test]
    fn half_a_pair_is_one_replacement() {
        for (json, text) in [
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\u{fffd}😀\u{fffd}"),
            (r#""\ud83d\n\u0041\/\\\"""#, "\u{fffd}\nA/\\\""),
        ] {
            assert_eq!(Json::parse(json).unwrap().string().unwrap(), text, "{json}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_read_as_serde_reads_them(text in "[\\x00-\\x7f😀é\\\\\"]{0,40}", ascii: bool, len in 1..9_usize) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = json.replace('😀', "\\ud83d\\uDE00").replace('é', "\\u00e9");
            }
            let value = Json::parse(&json).unwrap();
            prop_assert_eq!(value.string().unwrap(), text.as_str());
            let (mut reader, mut bytes) = (value.reader().unwrap(), Vec::new());
            let mut buffer = vec![0; len];
            while let read @ 1.. = reader.read(&mut buffer).unwrap() {
                bytes.extend_from_slice(&buffer[..read]);
            }
            prop_assert_eq!(bytes, text.as_bytes());
        }

        #[test]
        fn members_are_those_that_serde_finds(keys in proptest::collection::vec("[a-c\\\\\"]{0,2}", 0..5), value in "[\\[\\]{}\",: ]{0,6}") {
            let object: serde_json::Map<_, _> =
                keys.into_iter().map(|key| (key, serde_json::json!([{ "v": value, "w": [value] }]))).collect();
            for json in [serde_json::to_string(&object).unwrap(), serde_json::to_string_pretty(&object).unwrap()] {
                let found: serde_json::Map<_, _> = Json::parse(&json)
                    .unwrap()
                    .members()
                    .map(|(key, value)| (key.into_owned(), serde_json::from_str(value.as_written()).unwrap()))
                    .collect();
                prop_assert_eq!(&found, &object);
            }
        }
    }
}
