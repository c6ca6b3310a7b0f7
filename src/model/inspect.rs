//! Describes a model without loading it.

use super::config::{Config, LayerKind};
use super::error::Result;
use super::weights::{Container, Weights};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Summary of a model, for `wmgen inspect`.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The configuration.
    pub config: Config,
    /// The kind of files.
    pub container: Container,
    /// Number of parameters in all tensors of the files; a tied head counts once.
    pub parameters: u64,
    /// Number of tensors, and of parameters in them, for each storage format.
    pub formats: BTreeMap<&'static str, (usize, u64)>,
    /// Number of local layers.
    pub local_layers: usize,
    /// Number of global layers.
    pub global_layers: usize,
    /// Number of bytes of the weight files.
    pub file_bytes: u64,
    /// Digest of the weights; see [`fingerprint`].
    pub fingerprint: String,
}

impl Summary {
    /// Reads the headers of the model at `path`, and a sample of each tensor for the fingerprint.
    ///
    /// # Errors
    /// Returns the errors of [`Weights::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::of(&Weights::open(path)?))
    }

    /// Summarises weights that are open.
    pub fn of(weights: &Weights) -> Self {
        let config = weights.config().clone();
        let mut formats: BTreeMap<_, (usize, u64)> = BTreeMap::new();
        for (_, info) in weights.tensors() {
            let entry = formats.entry(info.format.name()).or_default();
            entry.0 += 1;
            entry.1 += info.shape.iter().map(|d| *d as u64).product::<u64>();
        }
        let global_layers = config.layers.iter().filter(|k| **k == LayerKind::Global).count();
        Self {
            container: weights.container(),
            parameters: formats.values().map(|(_, n)| n).sum(),
            formats,
            local_layers: config.num_layers() - global_layers,
            global_layers,
            file_bytes: weights.file_bytes(),
            fingerprint: fingerprint(weights),
            config,
        }
    }
}

/// Number of bytes at each tensor's beginning and end that the fingerprint reads.
const SAMPLE: usize = 4096;

/// Returns a digest that identifies a model, in 64 hexadecimal digits. It is SHA-256 over the settings that decide the logits,
/// and over the tensors in the order of their names. Of each tensor, it takes the name, format, shape, and first and last 4 KiB.
///
/// It does not depend on where the tensors are stored: a model has the same fingerprint sharded or whole. It identifies a model
/// but does not prove anything: it misses a change in the middle of a large tensor.
pub fn fingerprint(weights: &Weights) -> String {
    let mut hash = Sha256::new();
    let c = weights.config();
    let kinds: Vec<usize> = c.layers.iter().map(|k| k.window().unwrap_or(0)).collect();
    hash.update(format!(
        "wmgen model 1\n{} hidden={} layers={kinds:?} heads={}/{}x{} mlp={} vocab={} scalar={} caps={:?}/{:?} eps={} \
         rope={}/{}:{}/{} tie={}\n",
        c.architecture.name(),
        c.hidden,
        c.heads,
        c.kv_heads,
        c.head_dim,
        c.intermediate,
        c.vocab,
        c.query_pre_attn_scalar,
        c.attn_softcap,
        c.final_softcap,
        c.rms_eps,
        c.rope_local.base,
        c.rope_local.factor,
        c.rope_global.base,
        c.rope_global.factor,
        c.tie,
    ));
    for (name, info) in weights.tensors() {
        hash.update(format!("{name:?} {} {:?}\n", info.format.name(), info.shape));
        let bytes = weights.bytes(name).unwrap_or_default();
        hash.update(&bytes[..bytes.len().min(SAMPLE)]);
        hash.update(&bytes[bytes.len().saturating_sub(SAMPLE)..]);
    }
    wmdetect::hex::encode(&hash.finalize())
}
