//! The weights of one layer.

use super::config::LayerRules;
use super::linear::Linear;
use super::norm::RmsNorm;
use candle_core::DType;

/// One transformer block, with four norms.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) rules: LayerRules,
    pub(super) input_norm: RmsNorm,
    pub(super) attention: Attention,
    pub(super) post_attention_norm: RmsNorm,
    pub(super) pre_mlp_norm: RmsNorm,
    pub(super) mlp: Mlp,
    pub(super) post_mlp_norm: RmsNorm,
}

/// The attention part of a layer.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    /// `[heads · head_dim, hidden]`.
    pub(super) q: Linear,
    /// `[kv_heads · head_dim, hidden]`.
    pub(super) k: Linear,
    /// `[kv_heads · head_dim, hidden]`.
    pub(super) v: Linear,
    /// `[hidden, heads · head_dim]`.
    pub(super) o: Linear,
    /// Norm of each query head (Gemma 3).
    pub(super) q_norm: Option<RmsNorm>,
    /// Norm of each key head (Gemma 3).
    pub(super) k_norm: Option<RmsNorm>,
    /// Dtype in which a cache keeps keys and values.
    pub(super) cache_dtype: DType,
}

/// The feed-forward part: down(gelu(gate(x)) · up(x)), with the tanh form of gelu.
#[derive(Debug, Clone)]
pub(super) struct Mlp {
    /// `[intermediate, hidden]`.
    pub(super) gate: Linear,
    /// `[intermediate, hidden]`.
    pub(super) up: Linear,
    /// `[hidden, intermediate]`.
    pub(super) down: Linear,
}
