//! The model: token ids in, logits out.

use super::attention::{Attention, Masks};
use super::config::{Architecture, Config, LayerKind};
use super::decode::Decoder;
use super::error::{Error, Result};
use super::inspect;
use super::kv_cache::Cache;
use super::linear::{Embedding, Linear};
use super::logits::RawLogits;
use super::mlp::Mlp;
use super::norm::RmsNorm;
use super::rope::Angles;
use super::source::{Plain, Source, Stored};
use super::weights::{Progress, Weights};
use crate::kernels::Activations;
use candle_core::{DType, Device, Tensor};
use std::path::Path;
use std::sync::Arc;

/// Rows of activations that go through the layers at once; longer prompts are cut. It bounds the memory of attention
/// scores and of feed-forward activations, and is more than the matrix products need to run at full speed.
pub const CHUNK: usize = 256;

/// How to load a model.
pub struct LoadOptions<'a> {
    /// Where to compute.
    pub device: Device,
    /// The dtype of activations; f32 where not given, and the only one on the CPU.
    pub dtype: Option<DType>,
    /// Apply the soft caps that the configuration has. `false` drops both: another model, for comparison.
    pub softcap: bool,
    /// Round nothing, so that a decode step equals the same position of a prompt; slower, but of no effect on weights in f32.
    /// (Otherwise a decode step on quantised weights rounds activations to 8 bits; a prompt does, too, or to bf16, whatever
    /// the weights, where the processor has a matrix unit; and keys and values are kept in bf16.)
    pub exact: bool,
    /// Called while the weights are read.
    pub progress: Option<Box<dyn FnMut(Progress) + 'a>>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self { device: Device::Cpu, dtype: None, softcap: true, exact: false, progress: None }
    }
}

/// One transformer block; four norms.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) kind: LayerKind,
    pub(super) input_norm: RmsNorm,
    pub(super) attention: Attention,
    pub(super) post_attention_norm: RmsNorm,
    pub(super) pre_mlp_norm: RmsNorm,
    pub(super) mlp: Mlp,
    pub(super) post_mlp_norm: RmsNorm,
}

/// A Gemma 2 or Gemma 3 text model. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Gemma {
    pub(super) config: Config,
    pub(super) device: Device,
    pub(super) dtype: DType,
    embedding: Embedding,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: RmsNorm,
    pub(super) head: Linear,
    fingerprint: Option<String>,
    /// The same weights for [`Self::step`], where it has them in panels.
    pub(super) decoder: Option<Arc<Decoder>>,
}

impl Gemma {
    /// Loads a Hugging Face directory or a GGUF file.
    ///
    /// # Errors
    /// See [`Error`]: no such model, another architecture, a missing tensor, a wrong shape or type, a truncated file.
    pub fn load(path: impl AsRef<Path>, options: LoadOptions<'_>) -> Result<Self> {
        let weights = Weights::open(path)?;
        Self::new(weights.config().clone(), &weights, options)
    }

    /// Builds the model from opened weights and a configuration, usually the weights' own.
    ///
    /// # Errors
    /// As [`Self::load`].
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
        // Before the matrices are copied: afterwards it would bring pages of the file back that nobody reads any more.
        let fingerprint = inspect::fingerprint(weights);
        let mut source = Stored { weights, device: &options.device, dtype, exact: options.exact };
        let model = Self::build(config, &mut source, options.device.clone(), dtype)?;
        Ok(Self { fingerprint: Some(fingerprint), ..model })
    }

    /// Builds the model from plain tensors, such as variables to be trained: `get` is asked for each tensor by the name
    /// that a Hugging Face checkpoint gives it (`model.layers.0.mlp.up_proj.weight`), with its shape.
    ///
    /// # Errors
    /// What `get` says, and a tensor of another shape than asked for.
    pub fn from_tensors(
        config: Config,
        device: &Device,
        dtype: DType,
        get: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        Self::build(config, &mut Plain { get }, device.clone(), dtype)
    }

    fn build(config: Config, source: &mut dyn Source, device: Device, dtype: DType) -> Result<Self> {
        config.validate()?;
        let c = &config;
        let (hidden, heads, kv) = (c.hidden, c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let mut layers = Vec::with_capacity(c.num_layers());
        for (i, kind) in c.layers.iter().enumerate() {
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
                heads: c.heads,
                kv_heads: c.kv_heads,
                head_dim: c.head_dim,
                scale: c.query_pre_attn_scalar.powf(-0.5),
                softcap: c.attn_softcap,
                window: kind.window(),
                cache_dtype: dtype,
            };
            let mlp = Mlp {
                gate: linear("mlp.gate_proj", c.intermediate, hidden)?,
                up: linear("mlp.up_proj", c.intermediate, hidden)?,
                down: linear("mlp.down_proj", hidden, c.intermediate)?,
            };
            layers.push(Layer {
                kind: *kind,
                input_norm,
                attention,
                post_attention_norm,
                pre_mlp_norm,
                mlp,
                post_mlp_norm,
            });
        }
        let norm = RmsNorm::new(source.vector("model.norm.weight", hidden)?, c.norm_offset, c.rms_eps)?;
        let table = "model.embed_tokens.weight";
        let embedding = source.embedding(table, c.vocab, hidden)?;
        let head = source.linear(if c.tie { table } else { "lm_head.weight" }, c.vocab, hidden)?;
        let mut model =
            Self { config, device, dtype, embedding, layers, norm, head, fingerprint: None, decoder: None };
        model.decoder = model.decoder()?.map(Arc::new);
        if model.decoder.is_some() {
            model.keep_as(DType::BF16);
        }
        Ok(model)
    }

    /// The configuration in force, after [`LoadOptions::softcap`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The dtype of activations.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The digest of the weights' files, see [`inspect::fingerprint`]; none for a model built from tensors.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// The same model, sharing the weights, with [`LoadOptions::exact`] set anew.
    pub fn with_exact(&self, exact: bool) -> Self {
        let mut model = self.clone();
        for layer in &mut model.layers {
            let (a, m) = (&mut layer.attention, &mut layer.mlp);
            for linear in [&mut a.q, &mut a.k, &mut a.v, &mut a.o, &mut m.gate, &mut m.up, &mut m.down] {
                *linear = linear.with_exact(exact);
            }
        }
        model.head = model.head.with_exact(exact);
        if exact {
            // It would round.
            model.decoder = None;
            model.keep_as(self.dtype);
        }
        model
    }

    /// Sets how caches keep keys and values.
    fn keep_as(&mut self, dtype: DType) {
        for layer in &mut self.layers {
            layer.attention.cache_dtype = dtype;
        }
    }

    /// The memory on the CPU that one step reads: all matrices, in the order in which they are read.
    pub fn matrix_memory(&self) -> Vec<&[u8]> {
        let layers = self
            .layers
            .iter()
            .flat_map(|Layer { attention: a, mlp: m, .. }| [&a.q, &a.k, &a.v, &a.o, &m.gate, &m.up, &m.down]);
        layers.chain([&self.head]).map(Linear::memory).collect()
    }

    /// An empty cache for `batch` sequences.
    pub fn new_cache(&self, batch: usize) -> Cache {
        Cache::new(&self.config, batch)
    }

    /// Feeds the next tokens of each sequence, `rows` of one length, and returns the logits after the last one:
    /// `[batch, vocab]`, f32. Used for a prompt as well as for a single step.
    ///
    /// # Errors
    /// Rows that do not fit the cache or the context, an id outside the vocabulary.
    pub fn forward<R: AsRef<[u32]>>(&self, rows: &[R], cache: &mut Cache) -> Result<Tensor> {
        self.forward_raw(rows, cache)?.capped()
    }

    /// As [`Self::forward`], before the final soft cap: a sampler that keeps few of the logits need not cap the others.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_raw<R: AsRef<[u32]>>(&self, rows: &[R], cache: &mut Cache) -> Result<RawLogits> {
        let mut last = None;
        self.visit_hidden(rows, cache, |hidden| {
            last = Some(hidden.narrow(1, hidden.dim(1)? - 1, 1)?);
            Ok::<(), Error>(())
        })?;
        // `visit_hidden` refuses empty rows, so there has been a last one.
        let last = last.ok_or_else(|| Error::Batch { expected: "tokens".into(), found: "none".into() })?;
        Ok(RawLogits::new(self.head.forward(&last.squeeze(1)?)?.to_dtype(DType::F32)?, &self.config))
    }

    /// As [`Self::forward`], with the logits after each token: `[batch, positions, vocab]`, f32. A long text takes
    /// 4 · vocab bytes a token; see [`Self::visit_logits`]. Texts are scored with this, so it never rounds activations
    /// ([`LoadOptions::exact`]).
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_all<R: AsRef<[u32]>>(&self, rows: &[R], cache: &mut Cache) -> Result<Tensor> {
        let (model, mut parts) = (self.with_exact(true), Vec::new());
        model.visit_hidden(rows, cache, |hidden| {
            parts.push(model.logits(hidden)?);
            Ok::<(), Error>(())
        })?;
        Ok(Tensor::cat(&parts, 1)?)
    }

    /// As [`Self::forward_all`], `chunk` positions at a time: `visit` gets the index in `rows` of the first token of the
    /// chunk and the logits after each token of it, `[batch, at most chunk, vocab]`, f32.
    ///
    /// # Errors
    /// As [`Self::forward`], and whatever `visit` returns.
    pub fn visit_logits<R: AsRef<[u32]>, E: From<Error>>(
        &self,
        rows: &[R],
        cache: &mut Cache,
        chunk: usize,
        mut visit: impl FnMut(usize, &Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let (model, mut at) = (self.with_exact(true), 0);
        model.visit_hidden(rows, cache, |hidden| {
            let len = hidden.dim(1).map_err(Error::from)?;
            for start in (0..len).step_by(chunk.max(1)) {
                let part = hidden.narrow(1, start, chunk.max(1).min(len - start)).map_err(Error::from)?;
                visit(at + start, &model.logits(&part)?)?;
            }
            at += len;
            Ok(())
        })
    }

    /// The logits after each token of `rows`, `[batch, positions, vocab]`, without a cache and in one piece; gradients
    /// flow to the tensors of [`Self::from_tensors`].
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_train<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Tensor> {
        let len = self.check(rows, rows.len(), 0)?;
        let hidden = self.chunk(rows, 0..len, None, 0)?;
        self.logits(&hidden)
    }

    /// Length of the rows, if they are all of one length that fits.
    pub(super) fn check<R: AsRef<[u32]>>(&self, rows: &[R], batch: usize, start: usize) -> Result<usize> {
        let len = rows.first().map_or(0, |r| r.as_ref().len());
        if rows.len() != batch || len == 0 || rows.iter().any(|r| r.as_ref().len() != len) {
            let lengths: Vec<_> = rows.iter().map(|r| r.as_ref().len()).collect();
            let expected = format!("{batch} rows of tokens of one length, at least 1");
            return Err(Error::Batch { expected, found: format!("rows of {lengths:?}") });
        }
        let (needed, limit) = (start + len, self.config.max_position);
        if needed > limit {
            return Err(Error::Context { needed, limit });
        }
        // Before anything is written to the cache.
        let vocab = self.config.vocab;
        for row in rows {
            if let Some(&id) = row.as_ref().iter().find(|id| **id as usize >= vocab) {
                return Err(Error::Token { id, vocab });
            }
        }
        Ok(len)
    }

    /// Runs the layers over `rows` in chunks and hands the normalised residual stream of each to `visit`,
    /// `[batch, positions, hidden]`.
    fn visit_hidden<R: AsRef<[u32]>, E: From<Error>>(
        &self,
        rows: &[R],
        cache: &mut Cache,
        mut visit: impl FnMut(&Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let len = self.check(rows, cache.batch(), cache.len())?;
        let step = (CHUNK / rows.len()).max(1);
        for at in (0..len).step_by(step) {
            let end = (at + step).min(len);
            let start = cache.len();
            let hidden = self.chunk(rows, at..end, Some(cache), start)?;
            cache.len = start + (end - at);
            visit(&hidden)?;
        }
        Ok(())
    }

    /// The residual stream at its start, `[batch, positions, hidden]`.
    pub(super) fn embed(&self, ids: &[u32], (batch, len): (usize, usize)) -> Result<Tensor> {
        let xs = self.embedding.forward(ids, &self.device, self.dtype)?;
        // The reference rounds the factor to the compute dtype.
        let factor = (self.config.hidden as f64).sqrt() as f32;
        let factor = Tensor::new(&[factor], &self.device)?.to_dtype(self.dtype)?;
        Ok(xs.broadcast_mul(&factor)?.reshape((batch, len, self.config.hidden))?)
    }

    /// Runs the layers over the tokens `range` of each row, which stand at positions from `start` on.
    pub(super) fn chunk<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        range: std::ops::Range<usize>,
        mut cache: Option<&mut Cache>,
        start: usize,
    ) -> Result<Tensor> {
        let c = &self.config;
        let (batch, len) = (rows.len(), range.len());
        let ids: Vec<u32> = rows.iter().flat_map(|r| r.as_ref()[range.clone()].iter().copied()).collect();
        let mut xs = self.embed(&ids, (batch, len))?;
        if let (Some(decoder), Some(cache), 2..) = (&self.decoder, &mut cache, len)
            && batch == 1
            && cache.layers.iter().all(|layer| layer.past(start).is_some())
        {
            let mut numbers = xs.flatten_all()?.to_vec1()?;
            decoder.read(c, &mut numbers, start, &mut cache.layers, Activations::new())?;
            return self.norm.forward(&Tensor::from_vec(numbers, xs.shape(), &self.device)?);
        }
        let angles =
            |rope| -> Result<Angles> { Angles::new(rope, c.head_dim, start, len, &self.device, self.dtype) };
        let (local, global) = (angles(c.rope_local)?, angles(c.rope_global)?);
        let mut masks = Masks::default();
        for (i, layer) in self.layers.iter().enumerate() {
            let angles = if layer.kind == LayerKind::Global { &global } else { &local };
            let cache = cache.as_mut().map(|c| &mut c.layers[i]);
            xs = layer.around(&xs, |xs| layer.attention.forward(xs, angles, &mut masks, cache, start))?;
        }
        self.norm.forward(&xs)
    }

    /// `[batch, positions, hidden]` to `[batch, positions, vocab]` in f32, soft-capped.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        RawLogits::new(self.head.forward(hidden)?.to_dtype(DType::F32)?, &self.config).capped()
    }
}

impl Layer {
    /// The layer around its attention.
    pub(super) fn around(
        &self,
        xs: &Tensor,
        attention: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let ys = attention(&self.input_norm.forward(xs)?)?;
        let xs = (xs + self.post_attention_norm.forward(&ys)?)?;
        let ys = self.mlp.forward(&self.pre_mlp_norm.forward(&xs)?)?;
        Ok((&xs + self.post_mlp_norm.forward(&ys)?)?)
    }
}

/// The index of the first NaN or infinity, for callers that would rather stop than sample from such logits.
pub fn first_non_finite(logits: &[f32]) -> Option<usize> {
    logits.iter().position(|v| !v.is_finite())
}
