//! The header of a GGUF file (versions 2 and 3): metadata and where each tensor lies.
//!
//! candle has a reader too, but it copies the vocabulary's arrays of several hundred thousand entries, overflows or
//! divides by zero on some damaged headers, and cannot say which tensor has an unknown type. This one keeps single values
//! and short arrays, skips the rest, and checks every length against the file before it reads.
//! Source: the GGUF specification, docs/gguf.md of ggml.

use crate::kernels::Format;
use crate::model::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Longer arrays (the vocabulary) are skipped.
const KEPT_ARRAY: u64 = 4096;
const MAX_DIMS: u32 = 4;
const MAX_NESTING: u32 = 8;

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text; bytes that are no UTF-8 are replaced.
    Text(String),
    /// An array of up to 4,096 entries.
    Array(Vec<Value>),
    /// A longer array, which was not kept.
    Skipped {
        /// Its number of entries.
        len: u64,
    },
}

impl Value {
    /// A whole number that is not negative.
    pub fn as_usize(&self) -> Option<usize> {
        match self {
            Self::Unsigned(v) => usize::try_from(*v).ok(),
            Self::Signed(v) => usize::try_from(*v).ok(),
            _ => None,
        }
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Unsigned(v) => Some(*v as f64),
            Self::Signed(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// An array of truth values.
    pub fn as_bools(&self) -> Option<Vec<bool>> {
        let Self::Array(list) = self else { return None };
        list.iter().map(|v| if let Self::Bool(b) = v { Some(*b) } else { None }).collect()
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(v) => v.fmt(f),
            Self::Signed(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
            Self::Bool(v) => v.fmt(f),
            Self::Text(v) => write!(f, "{v:?}"),
            Self::Array(v) => write!(f, "a list of {}", v.len()),
            Self::Skipped { len } => write!(f, "a list of {len}"),
        }
    }
}

/// Where a tensor lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Dimensions, slowest first (the file has them the other way round).
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub format: Format,
    /// First byte, from the start of the file.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

/// A GGUF header.
#[derive(Debug, Clone)]
pub struct Header {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    /// Reads the header of a whole file's bytes; `path` is for the errors.
    ///
    /// # Errors
    /// No GGUF file, an unsupported version, a truncated or damaged file, a tensor of a type that cannot be read.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut reader = Reader { bytes, at: 0, path };
        if reader.take(4, "the magic number")? != b"GGUF" {
            return Err(Error::NotAModel {
                path: path.into(),
                found: "a file that does not begin with GGUF".into(),
            });
        }
        let version = reader.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(reader.corrupt(format!("GGUF version {version}, expected 2 or 3")));
        }
        let tensor_count = reader.u64("the tensor count")?;
        let value_count = reader.u64("the metadata count")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..value_count {
            let key = reader.text("a metadata key")?;
            let kind = reader.u32(&key)?;
            let value = reader.value(kind, &key, 0)?;
            metadata.insert(key, value);
        }
        let mut raw = Vec::new();
        for _ in 0..tensor_count {
            let name = reader.text("a tensor's name")?;
            let dims = reader.u32(&name)?;
            if dims > MAX_DIMS {
                return Err(reader
                    .corrupt(format!("tensor {name:?} has {dims} dimensions, expected at most {MAX_DIMS}")));
            }
            let mut shape = Vec::new();
            for _ in 0..dims {
                let dim = reader.u64(&name)?;
                shape.push(
                    usize::try_from(dim)
                        .map_err(|_| reader.corrupt(format!("tensor {name:?} is too large")))?,
                );
            }
            shape.reverse();
            let code = reader.u32(&name)?;
            let offset = reader.u64(&name)?;
            raw.push((name, shape, code, offset));
        }
        let alignment = metadata.get("general.alignment").map_or(Some(32), Value::as_usize);
        let Some(alignment) = alignment.filter(|a| *a > 0 && a.is_multiple_of(8)) else {
            return Err(reader.corrupt("general.alignment is no multiple of 8".into()));
        };
        let data = reader.at.checked_next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for (name, shape, code, offset) in raw {
            let format = Format::from_gguf(code).ok_or_else(|| Error::Dtype {
                name: name.clone(),
                found: format!("ggml type {code}"),
                expected: "f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0 or q2_k to q8_k",
            })?;
            let place = place(&shape, format, data, offset, alignment);
            let Some((start, len)) = place else {
                return Err(reader.corrupt(format!("tensor {name:?} has an impossible shape or offset")));
            };
            if start + len > bytes.len() {
                return Err(reader.truncated(&format!("tensor {name:?}"), (start + len) as u64));
            }
            tensors.insert(name, TensorInfo { shape, format, start, len });
        }
        Ok(Self { metadata, tensors })
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A metadata text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A tensor's place.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }
}

/// First byte and number of bytes of a tensor, or `None` where the numbers do not fit each other.
fn place(
    shape: &[usize],
    format: Format,
    data: Option<usize>,
    offset: u64,
    alignment: usize,
) -> Option<(usize, usize)> {
    let row = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().rev().skip(1).try_fold(1usize, |n, d| n.checked_mul(*d))?;
    let len = format.bytes_of(row)?.checked_mul(rows)?;
    let offset = usize::try_from(offset).ok().filter(|o| o.is_multiple_of(alignment))?;
    let start = data?.checked_add(offset)?;
    start.checked_add(len)?;
    Some((start, len))
}

/// Reads little-endian values off a byte slice, never past its end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        let end = self.at.saturating_add(len);
        let Some(bytes) = self.bytes.get(self.at..end) else {
            return Err(self.truncated(what, end as u64));
        };
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn text_bytes(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.u64(what)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX), what)
    }

    fn text(&mut self, what: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(self.text_bytes(what)?).into_owned())
    }

    fn value(&mut self, kind: u32, key: &str, depth: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>(key)?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            4 => Value::Unsigned(self.u32(key)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => Value::Bool(self.array::<1>(key)?[0] != 0),
            8 => Value::Text(self.text(key)?),
            9 => self.list(key, depth)?,
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            other => return Err(self.corrupt(format!("metadata {key:?} has unknown type {other}"))),
        })
    }

    fn list(&mut self, key: &str, depth: u32) -> Result<Value> {
        if depth >= MAX_NESTING {
            return Err(self.corrupt(format!("metadata {key:?} nests more than {MAX_NESTING} lists")));
        }
        let kind = self.u32(key)?;
        let len = self.u64(key)?;
        if len <= KEPT_ARRAY {
            let mut list = Vec::new();
            for _ in 0..len {
                list.push(self.value(kind, key, depth + 1)?);
            }
            return Ok(Value::Array(list));
        }
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                for _ in 0..len {
                    self.text_bytes(key)?;
                }
                return Ok(Value::Skipped { len });
            }
            _ => return Err(self.corrupt(format!("metadata {key:?} is a long list of type {kind}"))),
        };
        let bytes = len.checked_mul(width).and_then(|b| usize::try_from(b).ok()).unwrap_or(usize::MAX);
        self.take(bytes, key)?;
        Ok(Value::Skipped { len })
    }

    fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt { path: self.path.into(), reason }
    }

    fn truncated(&self, what: &str, needed: u64) -> Error {
        Error::Truncated { path: self.path.into(), what: what.into(), needed, found: self.bytes.len() as u64 }
    }
}
