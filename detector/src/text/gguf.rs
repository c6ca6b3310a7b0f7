//! The metadata of a GGUF file, versions 2 and 3 (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! The file is untrusted: every length is compared with the bytes that are left before anything is allocated, so
//! memory stays proportional to the file's size, and a file that contradicts itself is an error, never a panic.
//! Tensors are not looked at.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// Arrays may nest this deep; the format has no use for more than one level.
const MAX_DEPTH: u32 = 4;

/// What can be wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Reading failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    /// Not GGUF at all.
    #[error("expected a GGUF file (starts with 'GGUF'), found one that starts with {found:02X?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// Written for another byte order.
    #[error("expected a little-endian GGUF file, found a big-endian one; convert the model for this machine")]
    BigEndian,
    /// A version that is too old or too new.
    #[error("expected GGUF version 2 or 3, found {found}; convert the model again with a current converter")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The file ends too early, or a length in it is wrong.
    #[error(
        "{what} takes at least {needed} bytes, but {left} are left in the file; it is truncated or damaged, download it again"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that there are.
        left: u64,
    },
    /// An unknown type number.
    #[error("expected {what} to have a type from 0 to 12, found {found}; the file is damaged")]
    ValueType {
        /// The key.
        what: String,
        /// The number in the file.
        found: u32,
    },
    /// Arrays in arrays in arrays.
    #[error("expected arrays nested at most {MAX_DEPTH} deep, found deeper ones in {what}")]
    Depth {
        /// The key.
        what: String,
    },
    /// A string that is not text.
    #[error("expected {what} to be UTF-8, found other bytes; the file is damaged")]
    Utf8 {
        /// The key, or what was being read.
        what: String,
    },
    /// A boolean other than 0 and 1.
    #[error("expected {what} to be 0 or 1, found {found}; the file is damaged")]
    Bool {
        /// The key.
        what: String,
        /// The byte in the file.
        found: u8,
    },
    /// The same key twice.
    #[error("expected each key once, found {key} twice; the file is damaged")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// A key that is needed and not there.
    #[error("expected the key {key}, found none; use a GGUF file that carries its tokenizer")]
    Missing {
        /// The key.
        key: String,
    },
    /// A key with a value of the wrong type.
    #[error("expected {key} to be {expected}, found {found}; convert the model again")]
    Kind {
        /// The key.
        key: String,
        /// The type that it should have.
        expected: &'static str,
        /// The type that it has.
        found: &'static str,
    },
}

/// A value of the metadata. Integers and floats are widened; the format's own width does not matter here.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// u8, u16, u32 or u64.
    Unsigned(u64),
    /// i8, i16, i32 or i64.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Text.
    String(String),
    /// An array of strings.
    Strings(Vec<String>),
    /// An array of floats. Those of f64 are rounded.
    Floats(Vec<f32>),
    /// An array of integers of any width.
    Integers(Vec<i64>),
    /// An array of booleans or of arrays, whose content is not kept.
    Other,
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::String(_) => "a string",
            Self::Strings(_) => "an array of strings",
            Self::Floats(_) => "an array of floats",
            Self::Integers(_) => "an array of integers",
            Self::Other => "an array of another type",
        }
    }
}

/// Keys and values of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    entries: BTreeMap<String, Value>,
}

impl Metadata {
    /// Reads the metadata from the start of a file that is `len` bytes long and keeps the keys that `keep` wants.
    ///
    /// # Errors
    /// Any [`GgufError`] but `Missing` and `Kind`.
    pub fn read(reader: impl Read, len: u64, keep: impl Fn(&str) -> bool) -> Result<Self, GgufError> {
        let mut input = Input { reader, left: len };
        let magic = input.array::<4>("the magic number")?;
        if magic != *b"GGUF" {
            return Err(GgufError::Magic { found: magic });
        }
        let version = input.u32("the version")?;
        match version {
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 2 | 3) => return Err(GgufError::BigEndian),
            found => return Err(GgufError::Version { found }),
        }
        let _tensors = input.u64("the number of tensors")?;
        let count = input.u64("the number of keys")?;
        // The smallest entry: an empty key (8), a type (4), one byte.
        input.reserve("the metadata", count, 13)?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let key = input.string("a key")?;
            let value_type = input.u32(&key)?;
            if keep(&key) {
                let value = input.value(&key, value_type)?;
                if entries.insert(key.clone(), value).is_some() {
                    return Err(GgufError::Duplicate { key });
                }
            } else {
                input.skip_value(&key, value_type, MAX_DEPTH)?;
            }
        }
        Ok(Self { entries })
    }

    /// The value of `key`, if it was kept.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// The text of `key`.
    ///
    /// # Errors
    /// `Kind` if the value is not a string. The same holds for the methods below, each with its type.
    pub fn string(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", |value| match value {
            Value::String(s) => Some(s.as_str()),
            _ => None,
        })
    }

    /// The boolean of `key`.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a boolean", |value| match value {
            Value::Bool(b) => Some(*b),
            _ => None,
        })
    }

    /// The token id in `key`: an integer from 0 to 2^32 − 1.
    pub fn id(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.typed(key, "an unsigned 32-bit integer", |value| match value {
            Value::Unsigned(n) => u32::try_from(*n).ok(),
            Value::Signed(n) => u32::try_from(*n).ok(),
            _ => None,
        })
    }

    /// The strings of `key`.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Strings(v) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// The floats of `key`.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>, GgufError> {
        self.typed(key, "an array of floats", |value| match value {
            Value::Floats(v) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// The integers of `key`.
    pub fn integers(&self, key: &str) -> Result<Option<&[i64]>, GgufError> {
        self.typed(key, "an array of integers", |value| match value {
            Value::Integers(v) => Some(v.as_slice()),
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        self.get(key)
            .map(|value| {
                pick(value).ok_or_else(|| GgufError::Kind {
                    key: key.to_owned(),
                    expected,
                    found: value.kind(),
                })
            })
            .transpose()
    }
}

/// Bytes of each scalar type by its number; a string (8) and an array (9) have at least their counts.
const MIN_SIZE: [u64; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A reader that knows how many bytes are left.
struct Input<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Input<R> {
    /// Checks that `count` items of at least `size` bytes can follow.
    fn reserve(&self, what: &str, count: u64, size: u64) -> Result<(), GgufError> {
        let needed = count.saturating_mul(size);
        if needed > self.left {
            return Err(GgufError::Truncated { what: what.to_owned(), needed, left: self.left });
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        self.reserve(what, N as u64, 1)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.left -= N as u64;
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn string(&mut self, what: &str) -> Result<String, GgufError> {
        let len = self.u64(what)?;
        self.reserve(what, len, 1)?;
        let mut bytes = Vec::new();
        // `take` and not a buffer of `len` bytes: the file may have shrunk since its length was asked.
        (&mut self.reader).take(len).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.left -= len;
        String::from_utf8(bytes).map_err(|_| GgufError::Utf8 { what: what.to_owned() })
    }

    fn skip(&mut self, what: &str, len: u64) -> Result<(), GgufError> {
        self.reserve(what, len, 1)?;
        if io::copy(&mut (&mut self.reader).take(len), &mut io::sink())? != len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.left -= len;
        Ok(())
    }

    /// Type and number of an array's elements; the bytes for them are there.
    fn array_header(&mut self, key: &str) -> Result<(u32, u64), GgufError> {
        let element = self.u32(key)?;
        let count = self.u64(key)?;
        self.reserve(key, count, min_size(key, element)?)?;
        Ok((element, count))
    }

    fn value(&mut self, key: &str, value_type: u32) -> Result<Value, GgufError> {
        Ok(match value_type {
            STRING => Value::String(self.string(key)?),
            ARRAY => {
                let (element, count) = self.array_header(key)?;
                match element {
                    STRING => Value::Strings(self.collect(count, |input| input.string(key))?),
                    6 | 12 => Value::Floats(self.collect(count, |input| {
                        Ok(match input.scalar(key, element)? {
                            Value::Float(x) => x as f32,
                            _ => 0.0,
                        })
                    })?),
                    0..=5 | 10 | 11 => Value::Integers(self.collect(count, |input| {
                        Ok(match input.scalar(key, element)? {
                            Value::Signed(n) => n,
                            Value::Unsigned(n) => i64::try_from(n).unwrap_or(i64::MAX),
                            _ => 0,
                        })
                    })?),
                    _ => {
                        self.skip_items(key, element, count, MAX_DEPTH - 1)?;
                        Value::Other
                    }
                }
            }
            _ => self.scalar(key, value_type)?,
        })
    }

    fn collect<T>(
        &mut self,
        count: u64,
        mut item: impl FnMut(&mut Self) -> Result<T, GgufError>,
    ) -> Result<Vec<T>, GgufError> {
        (0..count).map(|_| item(self)).collect()
    }

    /// A value that is neither a string nor an array.
    fn scalar(&mut self, key: &str, value_type: u32) -> Result<Value, GgufError> {
        Ok(match value_type {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            4 => Value::Unsigned(self.u32(key)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => match self.array(key)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [found] => return Err(GgufError::Bool { what: key.to_owned(), found }),
            },
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            found => return Err(GgufError::ValueType { what: key.to_owned(), found }),
        })
    }

    fn skip_value(&mut self, key: &str, value_type: u32, depth: u32) -> Result<(), GgufError> {
        match value_type {
            STRING => {
                let len = self.u64(key)?;
                self.skip(key, len)
            }
            ARRAY => {
                let depth = depth.checked_sub(1).ok_or_else(|| GgufError::Depth { what: key.to_owned() })?;
                let (element, count) = self.array_header(key)?;
                self.skip_items(key, element, count, depth)
            }
            _ => self.skip(key, min_size(key, value_type)?),
        }
    }

    fn skip_items(&mut self, key: &str, element: u32, count: u64, depth: u32) -> Result<(), GgufError> {
        match element {
            STRING | ARRAY => (0..count).try_for_each(|_| self.skip_value(key, element, depth)),
            _ => self.skip(key, count.saturating_mul(min_size(key, element)?)),
        }
    }
}

fn min_size(key: &str, value_type: u32) -> Result<u64, GgufError> {
    MIN_SIZE
        .get(value_type as usize)
        .copied()
        .ok_or_else(|| GgufError::ValueType { what: key.to_owned(), found: value_type })
}

#[cfg(test)]
impl FromIterator<(String, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests;
