//! GGUF version 3, tensor after tensor: no more than a row need be in memory.
//!
//! Source: the GGUF specification, docs/gguf.md of ggml.

use crate::kernels::Format;
use candle_core::quantized::gguf_file::Value;
use std::io::{Result, Write};

/// Tensors start at multiples of this.
const ALIGNMENT: u64 = 32;

/// A tensor to come.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// llama.cpp's name.
    pub(super) name: String,
    /// Dimensions, slowest first; a matrix's rows are whole blocks of the format.
    pub(super) shape: Vec<usize>,
    pub(super) format: Format,
}

impl Plan {
    /// Numbers of the tensor.
    pub(super) fn numbers(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the tensor, without what fills up to the next one.
    pub(super) fn bytes(&self) -> u64 {
        (self.numbers() / self.format.block_len()) as u64 * self.format.block_bytes() as u64
    }
}

/// Bytes from the start of a tensor to that of the next one.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// The header for these tensors, up to where the first one's bytes begin.
pub(super) fn header(metadata: &[(String, Value)], tensors: &[Plan]) -> Result<Vec<u8>> {
    let mut out = b"GGUF".to_vec();
    out.write_all(&3u32.to_le_bytes())?;
    out.write_all(&(tensors.len() as u64).to_le_bytes())?;
    out.write_all(&(metadata.len() as u64).to_le_bytes())?;
    for (key, value) in metadata {
        text(&mut out, key)?;
        out.write_all(&code(value).to_le_bytes())?;
        write_value(&mut out, value)?;
    }
    let mut offset = 0u64;
    for tensor in tensors {
        text(&mut out, &tensor.name)?;
        out.write_all(&(tensor.shape.len() as u32).to_le_bytes())?;
        for dim in tensor.shape.iter().rev() {
            out.write_all(&(*dim as u64).to_le_bytes())?;
        }
        let format = (0..64).find(|code| Format::from_gguf(*code) == Some(tensor.format));
        out.write_all(&format.unwrap_or_default().to_le_bytes())?;
        out.write_all(&offset.to_le_bytes())?;
        offset += padded(tensor.bytes());
    }
    out.resize(padded(out.len() as u64) as usize, 0);
    Ok(out)
}

/// Bytes of all tensors, as they follow the header.
pub(super) fn body_bytes(tensors: &[Plan]) -> u64 {
    tensors.iter().map(|tensor| padded(tensor.bytes())).sum()
}

/// What follows the bytes of a tensor.
pub(super) fn pad(out: &mut impl Write, tensor: &Plan) -> Result<()> {
    let missing = padded(tensor.bytes()) - tensor.bytes();
    out.write_all(&[0; ALIGNMENT as usize][..missing as usize])
}

fn text(out: &mut impl Write, text: &str) -> Result<()> {
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// `gguf_type` of the specification.
fn code(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn write_value(out: &mut impl Write, value: &Value) -> Result<()> {
    match value {
        Value::U8(v) => out.write_all(&v.to_le_bytes()),
        Value::I8(v) => out.write_all(&v.to_le_bytes()),
        Value::U16(v) => out.write_all(&v.to_le_bytes()),
        Value::I16(v) => out.write_all(&v.to_le_bytes()),
        Value::U32(v) => out.write_all(&v.to_le_bytes()),
        Value::I32(v) => out.write_all(&v.to_le_bytes()),
        Value::F32(v) => out.write_all(&v.to_le_bytes()),
        Value::U64(v) => out.write_all(&v.to_le_bytes()),
        Value::I64(v) => out.write_all(&v.to_le_bytes()),
        Value::F64(v) => out.write_all(&v.to_le_bytes()),
        Value::Bool(v) => out.write_all(&[u8::from(*v)]),
        Value::String(v) => text(out, v),
        Value::Array(values) => {
            // An empty array has some type or other; the specification asks for one.
            out.write_all(&values.first().map_or(4, code).to_le_bytes())?;
            out.write_all(&(values.len() as u64).to_le_bytes())?;
            values.iter().try_for_each(|value| write_value(out, value))
        }
    }
}
