//! The model: token ids in, logits out.

use super::cache::Cache;
use super::config::{Architecture, Config, EMBEDDING, HEAD};
use super::error::{Error, Result};
use super::inspect;
use super::layer::{Attention, Layer, Mlp};
use super::linear::{Embedding, Linear};
use super::norm::RmsNorm;
use super::packed::PackedWeights;
use super::source::{Plain, Stored, TensorSource};
use super::weights::{Progress, Weights};
use candle_core::{DType, Device, Tensor};
use std::path::Path;
use std::sync::Arc;

/// Options of loading a model.
pub struct LoadOptions<'a> {
    /// Device to compute on.
    pub device: Device,
    /// Dtype of activations. The default is f32, the only one on the CPU.
    pub dtype: Option<DType>,
    /// Whether to apply the soft caps of the configuration. `false` drops both, for comparison; this makes it another model.
    pub softcap: bool,
    /// Whether to compute without rounding, so that a decode step equals the same position of a prompt. By default, activations
    /// that meet quantised weights are rounded to 8 bits. Those of a prompt are rounded to bf16 if the processor has a matrix
    /// unit. The cache is kept in bf16, which is faster. f32 weights are never rounded.
    pub unrounded: bool,
    /// Called while the weights are read.
    pub progress: Option<Box<dyn FnMut(Progress) + 'a>>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self { device: Device::Cpu, dtype: None, softcap: true, unrounded: false, progress: None }
    }
}

/// A Gemma 2 or Gemma 3 text model. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Gemma {
    pub(super) config: Config,
    pub(super) device: Device,
    pub(super) dtype: DType,
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: RmsNorm,
    pub(super) head: Linear,
    fingerprint: Option<String>,
    /// The same weights in panels, if all of them are.
    pub(super) packed: Option<Arc<PackedWeights>>,
}

impl Gemma {
    /// Loads a Hugging Face directory or a GGUF file.
    ///
    /// # Errors
    /// Returns an error if there is no model, it has an unsupported architecture, a tensor is missing or has a wrong shape or
    /// type, or a file is truncated.
    pub fn load(path: impl AsRef<Path>, options: LoadOptions<'_>) -> Result<Self> {
        let weights = Weights::open(path)?;
        Self::new(weights.config().clone(), &weights, options)
    }

    /// Builds the model from opened weights and a configuration, usually that of the weights.
    ///
    /// # Errors
    /// Returns an error if a tensor is missing or has a wrong shape or type, or the device cannot hold it.
    pub fn new(mut config: Config, weights: &Weights, mut options: LoadOptions<'_>) -> Result<Self> {
        let dtype = options.dtype.unwrap_or(DType::F32);
        if options.device.is_cpu() && dtype != DType::F32 {
            return Err(Error::Device {
                found: format!("dtype {} on the CPU", dtype.as_str()),
                expected: "the CPU computes in f32, whatever the dtype of the file".into(),
            });
        }
        if !options.softcap {
            config.attn_softcap = None;
            config.final_softcap = None;
        }
        if let Some(progress) = options.progress.as_mut() {
            weights.prefault(progress);
        }
        // Computed before the matrices are copied: later it would read pages of the file again that nobody else needs.
        let fingerprint = inspect::fingerprint(weights);
        let mut source = Stored { weights, device: &options.device, dtype, unrounded: options.unrounded };
        let model = Self::build(config, &mut source, options.device.clone(), dtype)?;
        Ok(Self { fingerprint: Some(fingerprint), ..model })
    }

    /// Builds the model from plain tensors, such as variables to be trained. `get` is called for each tensor with its shape and
    /// its name in a Hugging Face checkpoint (`model.layers.0.mlp.up_proj.weight`).
    ///
    /// # Errors
    /// Returns the errors of `get`, and an error if a tensor does not have the shape asked for.
    pub fn from_tensors(
        config: Config,
        device: &Device,
        dtype: DType,
        get: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        Self::build(config, &mut Plain { get }, device.clone(), dtype)
    }

    pub(super) fn build(
        config: Config,
        source: &mut dyn TensorSource,
        device: Device,
        dtype: DType,
    ) -> Result<Self> {
        config.validate()?;
        let c = &config;
        let (hidden, heads, kv) = (c.hidden, c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let mut layers = Vec::with_capacity(c.num_layers());
        for (i, rules) in c.layer_rules().enumerate() {
            let name = |part: &str| format!("model.layers.{i}.{part}.weight");
            let mut norm = |part: &str, len: usize| -> Result<RmsNorm> {
                RmsNorm::new(source.vector(&name(part), len)?, c.norm_offset, c.rms_eps)
            };
            let input_norm = norm("input_layernorm", hidden)?;
            let post_attention_norm = norm("post_attention_layernorm", hidden)?;
            let pre_mlp_norm = norm("pre_feedforward_layernorm", hidden)?;
            let post_mlp_norm = norm("post_feedforward_layernorm", hidden)?;
            let (q_norm, k_norm) = match c.architecture {
                Architecture::Gemma2 => (None, None),
                Architecture::Gemma3 => {
                    (Some(norm("self_attn.q_norm", c.head_dim)?), Some(norm("self_attn.k_norm", c.head_dim)?))
                }
            };
            let mut linear = |part: &str, out: usize, inp: usize| source.linear(&name(part), out, inp);
            let attention = Attention {
                q: linear("self_attn.q_proj", heads, hidden)?,
                k: linear("self_attn.k_proj", kv, hidden)?,
                v: linear("self_attn.v_proj", kv, hidden)?,
                o: linear("self_attn.o_proj", hidden, heads)?,
                q_norm,
                k_norm,
                cache_dtype: dtype,
            };
            let mlp = Mlp {
                gate: linear("mlp.gate_proj", c.intermediate, hidden)?,
                up: linear("mlp.up_proj", c.intermediate, hidden)?,
                down: linear("mlp.down_proj", hidden, c.intermediate)?,
            };
            layers.push(Layer {
                rules,
                input_norm,
                attention,
                post_attention_norm,
                pre_mlp_norm,
                mlp,
                post_mlp_norm,
            });
        }
        let norm = RmsNorm::new(source.vector("model.norm.weight", hidden)?, c.norm_offset, c.rms_eps)?;
        let embedding = source.embedding(EMBEDDING, c.vocab, hidden)?;
        let head = source.linear(if c.tie { EMBEDDING } else { HEAD }, c.vocab, hidden)?;
        let mut model =
            Self { config, device, dtype, embedding, layers, norm, head, fingerprint: None, packed: None };
        model.packed = PackedWeights::new(&model.layers, &model.norm, &model.head)?.map(Arc::new);
        if model.packed.is_some() {
            model.keep_as(DType::BF16);
        }
        Ok(model)
    }

    /// Returns the configuration in force, after [`LoadOptions::softcap`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the device on which the model computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the dtype of activations.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the [fingerprint](inspect::fingerprint) of the weights' files; `None` for a model built from tensors.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Returns the same model as loaded with [`LoadOptions::unrounded`]. The two share the weights.
    pub fn unrounded(&self) -> Self {
        let mut model = self.clone();
        for layer in &mut model.layers {
            let (a, m) = (&mut layer.attention, &mut layer.mlp);
            for linear in [&mut a.q, &mut a.k, &mut a.v, &mut a.o, &mut m.gate, &mut m.up, &mut m.down] {
                *linear = linear.unrounded();
            }
        }
        model.head = model.head.unrounded();
        // The code for packed weights rounds.
        model.packed = None;
        model.keep_as(self.dtype);
        model
    }

    /// Sets the dtype in which caches keep keys and values.
    fn keep_as(&mut self, dtype: DType) {
        for layer in &mut self.layers {
            layer.attention.cache_dtype = dtype;
        }
    }

    /// Returns the CPU memory that one step reads: all matrices, in the order in which they are read.
    pub fn matrix_memory(&self) -> Vec<&[u8]> {
        let layers = self
            .layers
            .iter()
            .flat_map(|Layer { attention: a, mlp: m, .. }| [&a.q, &a.k, &a.v, &a.o, &m.gate, &m.up, &m.down]);
        layers.chain([&self.head]).map(Linear::memory).collect()
    }

    /// Makes an empty cache for `batch` sequences.
    pub fn new_cache(&self, batch: usize) -> Cache {
        Cache::new(&self.config, batch)
    }

    /// Returns how many bytes the cache of one sequence of this many positions takes at worst.
    pub fn cache_bytes(&self, positions: usize) -> usize {
        let stored = self.layers.first().map_or(self.dtype, |layer| layer.attention.cache_dtype);
        Cache::bytes_at_worst(&self.config, positions, stored)
    }
}

/// Returns the index of the first NaN or infinity. Such logits cannot be sampled from.
pub fn first_non_finite(logits: &[f32]) -> Option<usize> {
    logits.iter().position(|v| !v.is_finite())
}
