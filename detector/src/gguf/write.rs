//! Writes GGUF version 3, tensor after tensor. Only the caller's piece of a tensor need be in memory.

use std::io::{Error, ErrorKind, Result, Write};

use super::{ALIGNMENT, Array, Value};

/// A tensor that is still to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Its dimensions, slowest first; the file has the reverse order.
    pub shape: Vec<u64>,
    /// ggml's number for how its numbers are stored.
    pub ggml_type: u32,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A file whose tensors are still to be written.
#[derive(Debug, Clone)]
pub struct Layout {
    header: Vec<u8>,
    tensors: Vec<Plan>,
}

impl Layout {
    /// Lays out a file of these keys and values and these tensors, both in this order.
    pub fn new(metadata: &[(String, Value)], tensors: Vec<Plan>) -> Self {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((tensors.len() as u64).to_le_bytes());
        out.extend((metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            put_text(&mut out, key);
            put_value(&mut out, value);
        }
        let mut offset = 0;
        for tensor in &tensors {
            put_text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            out.extend(tensor.shape.iter().rev().flat_map(|dim| dim.to_le_bytes()));
            out.extend(tensor.ggml_type.to_le_bytes());
            out.extend(u64::to_le_bytes(offset));
            offset += padded(tensor.bytes);
        }
        out.resize(padded(out.len() as u64) as usize, 0);
        Self { header: out, tensors }
    }

    /// Returns everything before the first tensor's bytes.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Returns the size of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.header.len() as u64 + self.tensors.iter().map(|tensor| padded(tensor.bytes)).sum::<u64>()
    }

    /// Writes the header to `out` and returns a writer of the tensors.
    ///
    /// # Errors
    /// Returns an error if `out` does.
    pub fn start<W: Write>(&self, mut out: W) -> Result<Writer<'_, W>> {
        out.write_all(&self.header)?;
        let mut writer = Writer { out, rest: &self.tensors, missing: 0 };
        writer.next();
        Ok(writer)
    }
}

/// Writes the bytes of a [`Layout`]'s tensors, in its order.
#[derive(Debug)]
pub struct Writer<'a, W> {
    out: W,
    /// The tensor that is being written, and those after it.
    rest: &'a [Plan],
    /// Number of bytes of the first of `rest` that are still to come.
    missing: u64,
}

impl<W: Write> Writer<'_, W> {
    /// Writes the next bytes of the current tensor, in pieces of any length. Its last byte ends it.
    ///
    /// # Errors
    /// Returns an error if the output does, or if the tensor does not have this many bytes left.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(missing) = self.missing.checked_sub(bytes.len() as u64) else {
            let name = self.rest.first().map_or("that is not there", |tensor| &tensor.name);
            let (found, expected) = (bytes.len(), self.missing);
            let message = format!("tensor {name}: expected at most {expected} bytes more, found {found}");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        self.out.write_all(bytes)?;
        self.missing = missing;
        if let [tensor, rest @ ..] = self.rest
            && missing == 0
        {
            let padding = padded(tensor.bytes) - tensor.bytes;
            self.out.write_all(&[0; ALIGNMENT as usize][..padding as usize])?;
            self.rest = rest;
            self.next();
        }
        Ok(())
    }

    /// Goes to the first tensor of `rest` that has bytes.
    fn next(&mut self) {
        while let [tensor, rest @ ..] = self.rest
            && tensor.bytes == 0
        {
            self.rest = rest;
        }
        self.missing = self.rest.first().map_or(0, |tensor| tensor.bytes);
    }

    /// Returns the output after the last tensor.
    ///
    /// # Errors
    /// Returns an error if bytes of a tensor are missing: `InvalidInput`.
    pub fn finish(self) -> Result<W> {
        match self.rest.first() {
            None => Ok(self.out),
            Some(tensor) => {
                let message = format!("tensor {}: {} bytes are missing", tensor.name, self.missing);
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

/// Returns the number of bytes from the start of a tensor to the start of the next.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Writes the type (`gguf_metadata_value_type` of the specification) and the value.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut scalar = |kind: u32, bytes: &[u8]| {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::U8(n) => scalar(0, &n.to_le_bytes()),
        Value::I8(n) => scalar(1, &n.to_le_bytes()),
        Value::U16(n) => scalar(2, &n.to_le_bytes()),
        Value::I16(n) => scalar(3, &n.to_le_bytes()),
        Value::U32(n) => scalar(4, &n.to_le_bytes()),
        Value::I32(n) => scalar(5, &n.to_le_bytes()),
        Value::F32(x) => scalar(6, &x.to_le_bytes()),
        Value::Bool(b) => scalar(7, &[u8::from(*b)]),
        Value::String(text) => {
            scalar(8, &[]);
            put_text(out, text);
        }
        Value::Array(array) => {
            scalar(9, &[]);
            put_array(out, array);
        }
        Value::U64(n) => scalar(10, &n.to_le_bytes()),
        Value::I64(n) => scalar(11, &n.to_le_bytes()),
        Value::F64(x) => scalar(12, &x.to_le_bytes()),
    }
}

/// Writes the elements' type, their number and the elements.
fn put_array(out: &mut Vec<u8>, array: &Array) {
    fn head(out: &mut Vec<u8>, kind: u32, len: usize) {
        out.extend(kind.to_le_bytes());
        out.extend((len as u64).to_le_bytes());
    }
    fn numbers<T: Copy, const N: usize>(out: &mut Vec<u8>, kind: u32, values: &[T], bytes: fn(T) -> [u8; N]) {
        head(out, kind, values.len());
        out.extend(values.iter().flat_map(|&value| bytes(value)));
    }
    match array {
        Array::U8(v) => numbers(out, 0, v, u8::to_le_bytes),
        Array::I8(v) => numbers(out, 1, v, i8::to_le_bytes),
        Array::U16(v) => numbers(out, 2, v, u16::to_le_bytes),
        Array::I16(v) => numbers(out, 3, v, i16::to_le_bytes),
        Array::U32(v) => numbers(out, 4, v, u32::to_le_bytes),
        Array::I32(v) => numbers(out, 5, v, i32::to_le_bytes),
        Array::F32(v) => numbers(out, 6, v, f32::to_le_bytes),
        Array::Bool(v) => numbers(out, 7, v, |b| [u8::from(b)]),
        Array::String(v) => {
            head(out, 8, v.len());
            for text in v {
                put_text(out, text);
            }
        }
        Array::Array(v) => {
            head(out, 9, v.len());
            for array in v {
                put_array(out, array);
            }
        }
        Array::U64(v) => numbers(out, 10, v, u64::to_le_bytes),
        Array::I64(v) => numbers(out, 11, v, i64::to_le_bytes),
        Array::F64(v) => numbers(out, 12, v, f64::to_le_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Header;
    use super::*;

    fn plan(name: &str, shape: &[u64], bytes: u64) -> Plan {
        Plan { name: name.into(), shape: shape.into(), ggml_type: 0, bytes }
    }

    fn values() -> Vec<(String, Value)> {
        let nested =
            Array::Array(vec![Array::Array(vec![Array::Bool(vec![true, false])]), Array::U8(vec![])]);
        [
            Value::U8(1),
            Value::I8(-1),
            Value::U16(2),
            Value::I16(-2),
            Value::U32(3),
            Value::I32(-3),
            Value::F32(0.5),
            Value::Bool(true),
            Value::from("naïve"),
            Value::U64(u64::MAX),
            Value::I64(i64::MIN),
            Value::F64(1e300),
            Value::Array(Array::U8(vec![1])),
            Value::Array(Array::I8(vec![-1, 1])),
            Value::Array(Array::U16(vec![2])),
            Value::Array(Array::I16(vec![-2])),
            Value::Array(Array::U32(vec![3])),
            Value::Array(Array::I32(vec![-3])),
            Value::Array(Array::F32(vec![0.5, f32::INFINITY])),
            Value::Array(Array::String(vec!["a".into(), String::new()])),
            Value::Array(Array::U64(vec![u64::MAX])),
            Value::Array(Array::I64(vec![i64::MIN])),
            Value::Array(Array::F64(vec![1e300])),
            Value::Array(nested),
        ]
        .into_iter()
        .enumerate()
        .map(|(i, value)| (format!("key.{i}"), value))
        .collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let plans =
            vec![plan("a", &[2, 3], 24), plan("none", &[0], 0), plan("b", &[32], 32), plan("c", &[1], 4)];
        let layout = Layout::new(&values(), plans);
        let mut writer = layout.start(Vec::new()).unwrap();
        for piece in [&[1; 20][..], &[1; 4], &[], &[2; 32], &[3; 4]] {
            writer.write(piece).unwrap();
        }
        let file = writer.finish().unwrap();
        assert_eq!(file.len() as u64, layout.file_bytes());
        let header = Header::read(file.as_slice(), file.len() as u64, |_| true).unwrap();
        for (key, value) in values() {
            assert_eq!(header.metadata.get(&key), Some(&value), "{key}");
        }
        for (tensor, shape, bytes) in
            [("a", vec![2, 3], [1; 24].as_slice()), ("b", vec![32], &[2; 32]), ("c", vec![1], &[3; 4])]
        {
            let found = header.tensors.iter().find(|found| found.name == tensor).unwrap();
            assert_eq!(found.shape, shape, "{tensor}");
            assert!(file[found.start as usize..].starts_with(bytes), "{tensor}");
            assert!(found.start.is_multiple_of(ALIGNMENT), "{tensor}");
        }
        assert_eq!(header.tensors.len(), 4);
    }

    #[test]
    fn a_tensor_gets_exactly_its_bytes() {
        let layout = Layout::new(&[], vec![plan("a", &[2], 8), plan("b", &[1], 4)]);
        let mut writer = layout.start(Vec::new()).unwrap();
        writer.write(&[0; 6]).unwrap();
        let error = writer.write(&[0; 3]).unwrap_err().to_string();
        assert_eq!(error, "tensor a: expected at most 2 bytes more, found 3");
        writer.write(&[0; 2]).unwrap();
        writer.write(&[0; 1]).unwrap();
        assert_eq!(writer.finish().unwrap_err().to_string(), "tensor b: 3 bytes are missing");
    }
}
