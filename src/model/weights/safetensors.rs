//! The header of a safetensors file: where each tensor lies. The `safetensors` crate checks it.

use super::TensorInfo;
use crate::kernels::Format;
use crate::model::error::{Error, Result};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the header of a whole file's bytes; `path` is for the errors.
///
/// # Errors
/// A truncated or damaged file, a tensor of another type than f32, f16 or bf16.
pub fn tensors(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, TensorInfo>> {
    let found = bytes.len() as u64;
    let (header_len, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| match e {
        SafeTensorError::HeaderTooSmall => {
            Error::Truncated { path: path.into(), what: "the header".into(), needed: 8, found }
        }
        SafeTensorError::InvalidHeaderLength | SafeTensorError::MetadataIncompleteBuffer => {
            let needed = bytes.first_chunk().map_or(8, |n| u64::from_le_bytes(*n).saturating_add(8));
            let what = if needed > found { "the header" } else { "the tensors" };
            Error::Truncated { path: path.into(), what: what.into(), needed: needed.max(found + 1), found }
        }
        other => Error::Corrupt { path: path.into(), reason: other.to_string() },
    })?;
    let data = header_len + 8;
    let mut out = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let format = match info.dtype {
            Dtype::F32 => Format::F32,
            Dtype::F16 => Format::F16,
            Dtype::BF16 => Format::BF16,
            other => {
                let expected = "F32, F16 or BF16";
                return Err(Error::Dtype { name, found: format!("{other:?}"), expected });
            }
        };
        let (start, end) = info.data_offsets;
        let place = data.checked_add(start).zip(end.checked_sub(start));
        let Some((start, len)) = place.filter(|(start, len)| bytes.len() - start.min(&bytes.len()) >= *len)
        else {
            return Err(Error::Corrupt {
                path: path.into(),
                reason: format!("tensor {name:?} lies outside the file"),
            });
        };
        out.insert(name, TensorInfo { shape: info.shape.clone(), format, start, len });
    }
    Ok(out)
}
