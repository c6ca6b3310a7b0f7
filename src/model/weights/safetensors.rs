//! Reads the header of a safetensors file: the place of each tensor. The `safetensors` crate checks it.

use super::TensorInfo;
use crate::kernels::Format;
use crate::model::error::{Error, Result};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads the header from the bytes of a whole file; `path` is for the errors.
///
/// # Errors
/// Returns an error if the file is truncated or damaged, names a tensor twice, or has a tensor of a type other than f32, f16
/// and bf16.
pub fn tensors(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, TensorInfo>> {
    let found = bytes.len() as u64;
    if let Some(twice) = first_twice(bytes) {
        return Err(Error::Corrupt { path: path.into(), reason: format!("tensor {twice:?} is named twice") });
    }
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

/// Returns the first name in a file's header that occurs twice. The `safetensors` crate would take the last of equal names. It
/// checks everything else in the header.
fn first_twice(file: &[u8]) -> Option<String> {
    struct Keys(Option<String>);

    impl<'de> Deserialize<'de> for Keys {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
            deserializer.deserialize_map(Self(None))
        }
    }

    impl<'de> Visitor<'de> for Keys {
        type Value = Self;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> std::result::Result<Self, A::Error> {
            let mut seen = BTreeSet::new();
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if self.0.is_none() && seen.contains(&key) {
                    self.0 = Some(key);
                } else {
                    seen.insert(key);
                }
            }
            Ok(self)
        }
    }

    let (len, rest) = file.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    serde_json::from_slice::<Keys>(header).ok()?.0
}
