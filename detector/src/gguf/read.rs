//! Reads GGUF files: the metadata, and then where each tensor is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

use super::{ALIGNMENT, Array, GgufError, MAX_DEPTH, MAX_DIMS, Value};

/// Keys and values of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The keys with their values; `None` for a value that was not kept.
    entries: BTreeMap<String, Option<Value>>,
}

/// The part of a file before the tensors' bytes.
#[derive(Debug, Clone)]
pub struct Header {
    /// Keys and values.
    pub metadata: Metadata,
    /// The tensors, in the file's order.
    pub tensors: Vec<Tensor>,
}

/// A tensor's name, shape, type and place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dimensions, slowest first; the file has the reverse order. Their product is less than 2^64.
    pub shape: Vec<u64>,
    /// ggml's number for how its numbers are stored.
    pub ggml_type: u32,
    /// Its first byte, from the start of the file. In a file that is cut short it may be after the end, since a
    /// tensor's size follows from its type.
    pub start: u64,
}

impl Header {
    /// Reads the start of a file that is `len` bytes long and keeps the values of the keys that `keep` wants.
    ///
    /// # Errors
    /// Returns an error if the start of the file cannot be read or is damaged: any [`GgufError`] except `Missing` and
    /// `Kind`.
    pub fn read(reader: impl BufRead, len: u64, keep: impl Fn(&str) -> bool) -> Result<Self, GgufError> {
        let mut input = Input { reader, left: len };
        let (metadata, count) = input.metadata(keep, |_| ())?;
        // The smallest entry: an empty name (8), no dimensions (4), a type (4), an offset (8).
        input.reserve("the list of tensors", count, 24)?;
        let mut tensors = (0..count).map(|_| input.tensor()).collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
            return Err(GgufError::Duplicate { name: twice.name.clone() });
        }
        let alignment = metadata.alignment()?;
        let data = (len - input.left).checked_next_multiple_of(alignment);
        for tensor in &mut tensors {
            let offset = tensor.start;
            let start =
                data.filter(|_| offset.is_multiple_of(alignment)).and_then(|data| data.checked_add(offset));
            let wrong = || GgufError::Offset { tensor: tensor.name.clone(), alignment, found: offset };
            tensor.start = start.ok_or_else(wrong)?;
        }
        Ok(Self { metadata, tensors })
    }
}

impl Metadata {
    /// Reads the metadata from the start of a file that is `len` bytes long, and no further, and keeps the values of the
    /// keys that `keep` wants.
    ///
    /// # Errors
    /// Returns an error if the metadata cannot be read or are damaged: any [`GgufError`] except `Missing`, `Kind` and
    /// those of tensors.
    pub fn read(reader: impl BufRead, len: u64, keep: impl Fn(&str) -> bool) -> Result<Self, GgufError> {
        Self::read_entries(reader, len, keep, |_| ())
    }

    /// Reads as [`read`](Self::read) does. It calls `entry` with the key and the type of each value right before the
    /// value's bytes are read, and with `None` right after.
    pub(crate) fn read_entries(
        reader: impl BufRead,
        len: u64,
        keep: impl Fn(&str) -> bool,
        entry: impl FnMut(Option<(&str, u32)>),
    ) -> Result<Self, GgufError> {
        Ok(Input { reader, left: len }.metadata(keep, entry)?.0)
    }

    /// Returns the value of `key`, if it was kept.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)?.as_ref()
    }

    /// Returns the text of `key`; `None` if it was not kept.
    ///
    /// # Errors
    /// Returns an error if the value is not a string: `Kind`.
    pub fn string(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// Returns the boolean of `key`; `None` if it was not kept.
    ///
    /// # Errors
    /// Returns an error if the value is not a boolean.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a boolean", Value::as_bool)
    }

    /// Returns the token id in `key`: an integer from 0 to 2^32 − 1; `None` if it was not kept.
    ///
    /// # Errors
    /// Returns an error if the value is not such an integer.
    pub fn id(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.typed(key, "an unsigned 32-bit integer", |value| u32::try_from(value.as_u64()?).ok())
    }

    /// Returns the strings of `key`; `None` if it was not kept.
    ///
    /// # Errors
    /// Returns an error if the value is not an array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.typed(key, "an array of strings", |value| value.as_array()?.as_strings())
    }

    /// Returns the floats of `key`; `None` if it was not kept.
    ///
    /// # Errors
    /// Returns an error if the value is not an array of floats.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, GgufError> {
        self.typed(key, "an array of floats", |value| value.as_array()?.to_floats())
    }

    /// Returns the integers of `key`; `None` if it was not kept.
    ///
    /// # Errors
    /// Returns an error if the value is not an array of integers.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, GgufError> {
        self.typed(key, "an array of integers", |value| value.as_array()?.to_integers())
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let wrong = |found: &Value| GgufError::Kind { key: key.to_owned(), expected, found: found.kind() };
        self.get(key).map(|value| pick(value).ok_or_else(|| wrong(value))).transpose()
    }

    /// Returns the alignment: tensors start at multiples of it.
    fn alignment(&self) -> Result<u64, GgufError> {
        match self.get(KEY_OF_ALIGNMENT) {
            None => Ok(ALIGNMENT),
            Some(value) => value
                .as_u64()
                .filter(|&alignment| alignment > 0 && alignment.is_multiple_of(8))
                .ok_or_else(|| GgufError::Alignment { found: value.to_string() }),
        }
    }
}

/// The key whose value is always kept.
const KEY_OF_ALIGNMENT: &str = "general.alignment";

/// Least number of bytes of each type by its number; a string (8) and an array (9) have at least their counts.
const MIN_SIZE: [u64; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A reader that knows how many bytes are left.
struct Input<R> {
    reader: R,
    left: u64,
}

impl<R: BufRead> Input<R> {
    /// Returns the metadata and the number of tensors.
    fn metadata(
        &mut self,
        keep: impl Fn(&str) -> bool,
        mut entry: impl FnMut(Option<(&str, u32)>),
    ) -> Result<(Metadata, u64), GgufError> {
        let magic = self.array::<4>("the magic number")?;
        if magic != *b"GGUF" {
            return Err(GgufError::Magic { found: magic });
        }
        match self.u32("the version")? {
            2 | 3 => {}
            found if matches!(found.swap_bytes(), 2 | 3) => return Err(GgufError::BigEndian),
            found => return Err(GgufError::Version { found }),
        }
        let tensors = self.u64("the number of tensors")?;
        let count = self.u64("the number of keys")?;
        // The smallest entry: an empty key (8), a type (4), one byte.
        self.reserve("the metadata", count, 13)?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let key = self.string("a key")?;
            let value_type = self.u32(&key)?;
            entry(Some((&key, value_type)));
            let value = if keep(&key) || key == KEY_OF_ALIGNMENT {
                Some(self.value(&key, value_type)?)
            } else {
                self.skip_value(&key, value_type, MAX_DEPTH)?;
                None
            };
            entry(None);
            if entries.insert(key.clone(), value).is_some() {
                return Err(GgufError::Duplicate { name: key });
            }
        }
        Ok((Metadata { entries }, tensors))
    }

    /// Returns a tensor with its offset in place of its start.
    fn tensor(&mut self) -> Result<Tensor, GgufError> {
        let name = self.string("a tensor's name")?;
        let dims = self.u32(&name)?;
        if dims > MAX_DIMS {
            return Err(GgufError::Dimensions { tensor: name, found: dims });
        }
        let mut shape = (0..dims).map(|_| self.u64(&name)).collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        if shape.iter().try_fold(1_u64, |n, &dim| n.checked_mul(dim)).is_none() {
            return Err(GgufError::Shape { tensor: name, found: shape });
        }
        let ggml_type = self.u32(&name)?;
        let start = self.u64(&name)?;
        Ok(Tensor { name, shape, ggml_type, start })
    }

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
        // This uses `take` and not a buffer of `len` bytes, since the file may have shrunk in the meantime.
        (&mut self.reader).take(len).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.left -= len;
        String::from_utf8(bytes).map_err(|_| GgufError::Utf8 { what: what.to_owned() })
    }

    fn bool(&mut self, what: &str) -> Result<bool, GgufError> {
        match self.array(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [found] => Err(GgufError::Bool { what: what.to_owned(), found }),
        }
    }

    fn value(&mut self, key: &str, value_type: u32) -> Result<Value, GgufError> {
        Ok(match value_type {
            0 => Value::U8(u8::from_le_bytes(self.array(key)?)),
            1 => Value::I8(i8::from_le_bytes(self.array(key)?)),
            2 => Value::U16(u16::from_le_bytes(self.array(key)?)),
            3 => Value::I16(i16::from_le_bytes(self.array(key)?)),
            4 => Value::U32(self.u32(key)?),
            5 => Value::I32(i32::from_le_bytes(self.array(key)?)),
            6 => Value::F32(f32::from_le_bytes(self.array(key)?)),
            7 => Value::Bool(self.bool(key)?),
            STRING => Value::String(self.string(key)?),
            ARRAY => Value::Array(self.elements(key, MAX_DEPTH - 1)?),
            10 => Value::U64(self.u64(key)?),
            11 => Value::I64(i64::from_le_bytes(self.array(key)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(key)?)),
            found => return Err(GgufError::ValueType { what: key.to_owned(), found }),
        })
    }

    /// Returns an array, which may hold arrays `depth` deep.
    fn elements(&mut self, key: &str, depth: u32) -> Result<Array, GgufError> {
        let (element, count) = self.array_header(key)?;
        Ok(match element {
            0 => Array::U8(self.numbers(key, count, u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(key, count, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(key, count, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(key, count, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(key, count, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(key, count, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(key, count, f32::from_le_bytes)?),
            7 => Array::Bool((0..count).map(|_| self.bool(key)).collect::<Result<_, _>>()?),
            STRING => Array::String((0..count).map(|_| self.string(key)).collect::<Result<_, _>>()?),
            ARRAY => {
                let depth = deeper(key, depth)?;
                Array::Array((0..count).map(|_| self.elements(key, depth)).collect::<Result<_, _>>()?)
            }
            10 => Array::U64(self.numbers(key, count, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(key, count, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(key, count, f64::from_le_bytes)?),
            found => return Err(GgufError::ValueType { what: key.to_owned(), found }),
        })
    }

    fn numbers<T, const N: usize>(
        &mut self,
        key: &str,
        count: u64,
        from: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, GgufError> {
        (0..count).map(|_| Ok(from(self.array(key)?))).collect()
    }

    /// Returns the type and number of an array's elements, and checks that the file has enough bytes for them.
    fn array_header(&mut self, key: &str) -> Result<(u32, u64), GgufError> {
        let element = self.u32(key)?;
        let count = self.u64(key)?;
        self.reserve(key, count, min_size(key, element)?)?;
        Ok((element, count))
    }

    fn skip(&mut self, what: &str, len: u64) -> Result<(), GgufError> {
        self.reserve(what, len, 1)?;
        let mut rest = len;
        while rest > 0 {
            let some = rest.min(self.reader.fill_buf()?.len() as u64);
            if some == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.reader.consume(some as usize);
            rest -= some;
        }
        self.left -= len;
        Ok(())
    }

    fn skip_value(&mut self, key: &str, value_type: u32, depth: u32) -> Result<(), GgufError> {
        match value_type {
            STRING => {
                let len = self.u64(key)?;
                self.skip(key, len)
            }
            ARRAY => {
                let depth = deeper(key, depth)?;
                let (element, count) = self.array_header(key)?;
                match element {
                    STRING | ARRAY => (0..count).try_for_each(|_| self.skip_value(key, element, depth)),
                    _ => self.skip(key, count.saturating_mul(min_size(key, element)?)),
                }
            }
            _ => self.skip(key, min_size(key, value_type)?),
        }
    }
}

fn deeper(key: &str, depth: u32) -> Result<u32, GgufError> {
    depth.checked_sub(1).ok_or_else(|| GgufError::Depth { what: key.to_owned() })
}

fn min_size(key: &str, value_type: u32) -> Result<u64, GgufError> {
    let size = MIN_SIZE.get(value_type as usize).copied();
    size.ok_or_else(|| GgufError::ValueType { what: key.to_owned(), found: value_type })
}

#[cfg(test)]
impl FromIterator<(String, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().map(|(key, value)| (key, Some(value))).collect() }
    }
}

#[cfg(test)]
mod tests;
