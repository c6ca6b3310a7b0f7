//! Opens a GGUF file as weights. [`wmdetect::gguf`] is the reader. This module maps ggml's types to formats, and checks
//! that each tensor's bytes are inside the file.

use super::TensorInfo;
use crate::kernels::Format;
use crate::model::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use wmdetect::gguf::{self, GgufError, Metadata, Tensor, Value, names};

/// A GGUF header.
#[derive(Debug, Clone)]
pub struct Header {
    /// The keys and values, except those of the vocabulary.
    pub metadata: Metadata,
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    /// Reads the header from the bytes of a whole file; `path` is for the errors.
    ///
    /// # Errors
    /// Returns an error if it is not a GGUF file, is truncated or damaged, or has a tensor of a type that cannot be read.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let len = bytes.len() as u64;
        let header = gguf::Header::read(bytes, len, is_needed).map_err(|error| match error {
            GgufError::Magic { .. } => {
                let found = "a file that does not begin with GGUF".into();
                Error::NotAModel { path: path.into(), found }
            }
            GgufError::Truncated { what, needed, left } => {
                let needed = (len - left).saturating_add(needed);
                Error::Truncated { path: path.into(), what, needed, found: len }
            }
            reason => Error::Gguf { path: path.into(), reason },
        })?;
        check_whole(&header.metadata, path)?;
        let place = |tensor: Tensor| Ok((tensor.name.clone(), place(tensor, bytes.len(), path)?));
        let tensors = header.tensors.into_iter().map(place).collect::<Result<_>>()?;
        check_apart(&tensors, path)?;
        Ok(Self { metadata: header.metadata, tensors })
    }
}

/// Returns whether a key is needed. The tokenizer's keys are not, except for the ids of single tokens.
fn is_needed(key: &str) -> bool {
    !key.starts_with(&names::tokenizer_key("")) || key.ends_with("_token_id")
}

/// Refuses a part of a split file. Only the first part says what the model is, and no part has all tensors.
fn check_whole(metadata: &Metadata, path: &Path) -> Result<()> {
    let number = |key| metadata.get(key).and_then(Value::as_u64);
    match number(names::SPLIT_COUNT) {
        Some(parts @ 2..) => {
            let part = number(names::SPLIT_NUMBER).unwrap_or(0).saturating_add(1);
            Err(Error::Shard { path: path.into(), part, parts })
        }
        _ => Ok(()),
    }
}

/// Refuses tensors that share bytes.
fn check_apart(tensors: &BTreeMap<String, TensorInfo>, path: &Path) -> Result<()> {
    let mut in_order: Vec<_> = tensors.iter().filter(|(_, info)| info.len > 0).collect();
    in_order.sort_by_key(|(_, info)| info.start);
    let overlap = in_order.windows(2).find(|pair| pair[1].1.start < pair[0].1.start + pair[0].1.len);
    overlap.map_or(Ok(()), |pair| {
        let (a, b) = (pair[0].0, pair[1].0);
        let reason = format!("expected tensors that share no bytes, found that {a:?} and {b:?} overlap");
        Err(Error::Corrupt { path: path.into(), reason })
    })
}

fn place(tensor: Tensor, file: usize, path: &Path) -> Result<TensorInfo> {
    let Tensor { name, shape, ggml_type, start } = tensor;
    let format = Format::from_ggml_type(ggml_type).ok_or_else(|| Error::Dtype {
        name: name.clone(),
        found: format!("ggml type {ggml_type}"),
        expected: "f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0 or q2_k to q8_k",
    })?;
    let size = |n: u64| usize::try_from(n).ok();
    let sizes = shape.iter().map(|dim| size(*dim)).collect::<Option<Vec<usize>>>();
    let rows_fit = |shape: &[usize]| {
        let row = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().rev().skip(1).try_fold(1_usize, |n, dim| n.checked_mul(*dim))?;
        format.bytes_of(row)?.checked_mul(rows)
    };
    let info = sizes.and_then(|shape| {
        let len = rows_fit(&shape)?;
        let start = size(start)?;
        start.checked_add(len)?;
        Some(TensorInfo { shape, format, start, len })
    });
    let info = info.ok_or_else(|| Error::Corrupt {
        path: path.into(),
        reason: format!("tensor {name:?} of type {} has the impossible shape {shape:?}", format.name()),
    })?;
    let end = info.start + info.len;
    if end > file {
        let (needed, found) = (end as u64, file as u64);
        return Err(Error::Truncated { path: path.into(), what: format!("tensor {name:?}"), needed, found });
    }
    Ok(info)
}
