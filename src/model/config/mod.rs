//! The configuration of a Gemma model, read from config.json or from GGUF metadata.

mod gguf;
mod hub;
mod rules;
mod tensors;

use super::error::{Error, Result};
pub(super) use hub::token_ids;
pub(crate) use rules::{ByKind, LayerRules};
pub(super) use tensors::{EMBEDDING, HEAD};
use wmdetect::gguf::Metadata;
use wmdetect::gguf::names::Family;

/// Model family that the layers follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Gemma 2: soft caps, no norm on queries and keys, alternating local and global layers.
    Gemma2,
    /// Gemma 3, text only: norms on queries and keys, two RoPE bases, five local layers to one global.
    Gemma3,
}

impl Architecture {
    /// Returns the name in config.json (`model_type`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3_text",
        }
    }

    /// Returns the family in GGUF files.
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Gemma2 => Family::Gemma2,
            Self::Gemma3 => Family::Gemma3,
        }
    }
}

/// Positions that the queries of a layer see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Itself and the `window` − 1 positions before it.
    Local {
        /// Number of positions seen, at least 1.
        window: usize,
    },
    /// Every position so far.
    Global,
}

impl LayerKind {
    /// Returns the window of a local layer.
    pub fn window(self) -> Option<usize> {
        match self {
            Self::Local { window } => Some(window),
            Self::Global => None,
        }
    }
}

/// A rotary embedding: angle of pair i at position p is p / (factor · base^(2i/head_dim)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeBase {
    /// The base, `rope_theta`.
    pub base: f32,
    /// Linear scaling: the divisor of positions, or 1 for none.
    pub factor: f32,
}

/// Everything that distinguishes one Gemma from another. The fields are public, so that variants can be built by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The model family.
    pub architecture: Architecture,
    /// The name that the file gives the model, if any.
    pub name: Option<String>,
    /// Width of the residual stream.
    pub hidden: usize,
    /// What each layer sees, layer 0 first. Its length is the number of layers.
    pub layers: Vec<LayerKind>,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Number of entries of the embedding.
    pub vocab: usize,
    /// Queries are multiplied by this number to the power −1/2.
    pub query_pre_attn_scalar: f64,
    /// Attention logits x become cap · tanh(x / cap), before the mask.
    pub attn_softcap: Option<f64>,
    /// The same for the final logits.
    pub final_softcap: Option<f64>,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f64,
    /// Number that is added to the stored norm weights: 1 for checkpoints, 0 for GGUF, whose converter has added the 1.
    pub norm_offset: f64,
    /// Rotary embedding of the local layers.
    pub rope_local: RopeBase,
    /// Rotary embedding of the global layers.
    pub rope_global: RopeBase,
    /// Number of positions that the model was made for.
    pub max_position: usize,
    /// Whether the embedding also serves as the head.
    pub tie: bool,
    /// The token that starts a text.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

/// Maximum number of layers. No model has more; a file that says so is damaged.
const MAX_LAYERS: usize = 1024;
/// Maximum size of a dimension. Products of two still fit in 64 bits.
const MAX_DIM: usize = 1 << 30;

fn bad(field: &str, found: impl std::fmt::Display, expected: impl Into<String>) -> Error {
    Error::Config { field: field.into(), found: found.to_string(), expected: expected.into() }
}

impl Config {
    /// Reads a config.json, in the form on the hub or in the form that transformers 5 writes.
    ///
    /// # Errors
    /// Returns an error if the JSON cannot be read, the architecture is not a supported one, or a setting is missing,
    /// unsupported or impossible.
    pub fn from_json(text: &str) -> Result<Self> {
        hub::read(text)
    }

    /// Reads a GGUF file's metadata. `shape` returns the shape of a tensor by its name, or `None` if the file does not have
    /// the tensor. The size of the vocabulary is the first dimension of the embedding. In a file without a head, the
    /// embedding is the head.
    ///
    /// # Errors
    /// Returns an error if the architecture is not a supported one, or a setting is missing, unsupported or impossible.
    pub fn from_gguf<'a>(metadata: &Metadata, shape: impl Fn(&str) -> Option<&'a [usize]>) -> Result<Self> {
        gguf::read(metadata, shape)
    }

    /// Returns the number of layers.
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// Returns the window of the local layers, if there are any.
    pub fn window(&self) -> Option<usize> {
        self.layers.iter().find_map(|k| k.window())
    }

    /// Checks that the model can be computed. The rest of the code relies on it.
    ///
    /// # Errors
    /// Returns an error that names the first impossible field.
    pub fn validate(&self) -> Result<()> {
        let dims = [
            ("hidden_size", self.hidden),
            ("num_hidden_layers", self.layers.len()),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.intermediate),
            ("vocab_size", self.vocab),
            ("max_position_embeddings", self.max_position),
        ];
        for (name, value) in dims {
            if value == 0 || value > MAX_DIM {
                return Err(bad(name, value, format!("1 to {MAX_DIM}")));
            }
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(bad("num_hidden_layers", self.layers.len(), format!("at most {MAX_LAYERS}")));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(bad(
                "num_key_value_heads",
                self.kv_heads,
                format!("a divisor of {} heads", self.heads),
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(bad("head_dim", self.head_dim, "an even number, for the rotary embedding"));
        }
        if self.layers.iter().any(|k| k.window() == Some(0)) {
            return Err(bad("sliding_window", 0, "at least 1"));
        }
        let positive = [
            ("query_pre_attn_scalar", Some(self.query_pre_attn_scalar)),
            ("attn_logit_softcapping", self.attn_softcap),
            ("final_logit_softcapping", self.final_softcap),
            ("rms_norm_eps", Some(self.rms_eps)),
            ("rope_theta", Some(self.rope_global.base.into())),
            ("rope_theta of local layers", Some(self.rope_local.base.into())),
            ("rope scaling factor", Some(self.rope_global.factor.into())),
            ("rope scaling factor of local layers", Some(self.rope_local.factor.into())),
        ];
        for (name, value) in positive {
            if let Some(v) = value
                && !(v.is_finite() && v > 0.0)
            {
                return Err(bad(name, v, "a positive number"));
            }
        }
        Ok(())
    }
}

/// Makes every `period`-th layer global, and the others local.
fn periodic(layers: usize, period: usize, window: usize) -> Vec<LayerKind> {
    (1..=layers)
        .map(|i| if i.is_multiple_of(period) { LayerKind::Global } else { LayerKind::Local { window } })
        .collect()
}
