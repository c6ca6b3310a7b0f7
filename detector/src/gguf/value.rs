//! The values of the metadata, each with the width that it has in the file.

use std::fmt;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of the metadata. All elements have one type.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<Array>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Value {
    /// Returns the value if it is an integer of any width and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U64(n) => Some(n),
            _ => self.as_i64().and_then(|n| u64::try_from(n).ok()),
        }
    }

    /// Returns the value if it is an integer of any width that an i64 can hold.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::U8(n) => n.into(),
            Self::I8(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::U64(n) => i64::try_from(n).ok()?,
            Self::I64(n) => n,
            _ => return None,
        })
    }

    /// Returns the value if it is a number of any kind. A number of 64 bits may be rounded.
    pub fn as_f64(&self) -> Option<f64> {
        Some(match *self {
            Self::F32(x) => x.into(),
            Self::F64(x) => x,
            Self::U64(n) => n as f64,
            _ => self.as_i64()? as f64,
        })
    }

    /// Returns the value if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = *self { Some(value) } else { None }
    }

    /// Returns the value if it is a text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Returns the value if it is an array.
    pub fn as_array(&self) -> Option<&Array> {
        if let Self::Array(array) = self { Some(array) } else { None }
    }

    /// Returns what the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::F32(_) | Self::F64(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::String(_) => "a string",
            Self::Array(Array::String(_)) => "an array of strings",
            Self::Array(Array::F32(_) | Array::F64(_)) => "an array of floats",
            Self::Array(Array::Bool(_)) => "an array of booleans",
            Self::Array(Array::Array(_)) => "an array of arrays",
            Self::Array(_) => "an array of integers",
            _ => "an integer",
        }
    }
}

impl Array {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::String(v) => v.len(),
            Self::Array(v) => v.len(),
            Self::U64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements if they are integers of any width that an i64 can hold.
    pub fn to_integers(&self) -> Option<Vec<i64>> {
        fn widen<T: Copy + Into<i64>>(values: &[T]) -> Vec<i64> {
            values.iter().map(|&n| n.into()).collect()
        }
        Some(match self {
            Self::U8(v) => widen(v),
            Self::I8(v) => widen(v),
            Self::U16(v) => widen(v),
            Self::I16(v) => widen(v),
            Self::U32(v) => widen(v),
            Self::I32(v) => widen(v),
            Self::I64(v) => v.clone(),
            Self::U64(v) => v.iter().map(|&n| i64::try_from(n).ok()).collect::<Option<_>>()?,
            _ => return None,
        })
    }

    /// Returns the elements if they are floats of either width. Floats of 64 bits are rounded.
    pub fn to_floats(&self) -> Option<Vec<f32>> {
        match self {
            Self::F32(v) => Some(v.clone()),
            Self::F64(v) => Some(v.iter().map(|&x| x as f32).collect()),
            _ => None,
        }
    }

    /// Returns the elements if they are booleans.
    pub fn as_bools(&self) -> Option<&[bool]> {
        if let Self::Bool(values) = self { Some(values) } else { None }
    }

    /// Returns the elements if they are texts.
    pub fn as_strings(&self) -> Option<&[String]> {
        if let Self::String(values) = self { Some(values) } else { None }
    }
}

/// Writes the value for messages: a number as it is, a text in quotes, an array by its length.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32(x) => x.fmt(f),
            Self::F64(x) => x.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Array(array) => write!(f, "a list of {}", array.len()),
            Self::U64(n) => n.fmt(f),
            _ => self.as_i64().unwrap_or_default().fmt(f),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
