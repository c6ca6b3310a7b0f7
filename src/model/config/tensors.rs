//! Names and shapes of the tensors of a model.

use super::{Architecture, Config};

/// Name of the embedding in a Hugging Face checkpoint.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
/// Name of the head in a Hugging Face checkpoint, for a model whose head is not the embedding.
pub(crate) const HEAD: &str = "lm_head.weight";

impl Config {
    /// Returns the tensors of a Hugging Face checkpoint with their shapes: `[out, in]` for a matrix, `[len]` for a norm's
    /// weight.
    ///
    /// q, k and v of a layer are adjacent, and so are gate and up.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let c = self;
        let mut tensors = vec![(EMBEDDING.to_owned(), vec![c.vocab, c.hidden])];
        for i in 0..c.num_layers() {
            let mut add = |part: &str, shape: Vec<usize>| {
                tensors.push((format!("model.layers.{i}.{part}.weight"), shape));
            };
            add("input_layernorm", vec![c.hidden]);
            add("self_attn.q_proj", vec![c.heads * c.head_dim, c.hidden]);
            add("self_attn.k_proj", vec![c.kv_heads * c.head_dim, c.hidden]);
            add("self_attn.v_proj", vec![c.kv_heads * c.head_dim, c.hidden]);
            add("self_attn.o_proj", vec![c.hidden, c.heads * c.head_dim]);
            add("post_attention_layernorm", vec![c.hidden]);
            add("pre_feedforward_layernorm", vec![c.hidden]);
            add("mlp.gate_proj", vec![c.intermediate, c.hidden]);
            add("mlp.up_proj", vec![c.intermediate, c.hidden]);
            add("mlp.down_proj", vec![c.hidden, c.intermediate]);
            add("post_feedforward_layernorm", vec![c.hidden]);
            if c.architecture == Architecture::Gemma3 {
                add("self_attn.q_norm", vec![c.head_dim]);
                add("self_attn.k_norm", vec![c.head_dim]);
            }
        }
        tensors.push(("model.norm.weight".to_owned(), vec![c.hidden]));
        if !c.tie {
            tensors.push((HEAD.to_owned(), vec![c.vocab, c.hidden]));
        }
        tensors
    }
}
