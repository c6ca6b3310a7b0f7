//! Checks that a model uses all of its weights. Unused weights mean that they belong to another model than the
//! configuration describes.

use super::{Container, TensorInfo, Weights};
use crate::model::config::{EMBEDDING, HEAD};
use crate::model::error::{Error, Result};
use std::collections::BTreeSet;
use wmdetect::gguf::names;

/// How many numbers of two tensors are compared at a time; a multiple of every format's block.
const STRIP: usize = 1 << 16;
/// Maximum number of tensors that an error names.
const NAMED: usize = 3;

impl Weights {
    /// Returns the weights, if a model of their configuration uses all of them.
    pub(super) fn if_all_are_used(self) -> Result<Self> {
        let name = |name: String| match self.container {
            Container::Safetensors => name,
            Container::Gguf => names::tensor(&name),
        };
        let used: BTreeSet<String> = self.config.tensors().into_iter().map(|(hub, _)| name(hub)).collect();
        let mut unused: Vec<&str> = self.tensors().map(|(name, _)| name).collect();
        unused.retain(|name| !used.contains(*name) && !is_computed(name));
        if self.config.tie && unused.contains(&HEAD) {
            // Some programs also write the head of a tied model.
            if let (Some((_, head)), Some((_, embedding))) =
                (self.tensors.get(HEAD), self.tensors.get(EMBEDDING))
                && !self.are_equal((HEAD, head), (EMBEDDING, embedding))
            {
                return Err(Error::OtherHead { path: self.path, head: HEAD, embedding: EMBEDDING });
            }
            unused.retain(|name| *name != HEAD);
        }
        if unused.is_empty() {
            return Ok(self);
        }
        let mut named: Vec<String> = unused.iter().take(NAMED).map(|name| format!("{name:?}")).collect();
        if let more @ 1.. = unused.len().saturating_sub(NAMED) {
            named.push(format!("and {more} more"));
        }
        let named = named.join(", ");
        let architecture = self.config.architecture.name();
        Err(Error::Unused { architecture, layers: self.config.num_layers(), named, path: self.path })
    }

    /// Returns whether two tensors have the same shape and numbers.
    fn are_equal(&self, a: (&str, &TensorInfo), b: (&str, &TensorInfo)) -> bool {
        let strips = |(name, info): (&str, &TensorInfo)| {
            let format = info.format;
            let strips = self
                .bytes(name)
                .unwrap_or_default()
                .chunks(STRIP / format.block_len() * format.block_bytes());
            strips.map(move |bytes| {
                let mut numbers = vec![0_f32; bytes.len() / format.block_bytes() * format.block_len()];
                format.dequantize(bytes, &mut numbers);
                numbers
            })
        };
        a.1.shape == b.1.shape && strips(a).eq(strips(b))
    }
}

/// Returns whether a tensor only repeats what follows from the configuration. Some programs write such tensors.
fn is_computed(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}
