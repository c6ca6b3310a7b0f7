//! What llama.cpp puts into GGUF files of Gemma, and what it assumes if a key is missing.
//!
//! Sources: `llama-arch.cpp`, `llama-model.cpp` and `llama.h` of llama.cpp, and `convert_hf_to_gguf.py`. Reading and
//! writing use the same rules, so a written file is read as the same model.

/// The name that a file gives itself.
pub const GENERAL_NAME: &str = "general.name";
/// The key of the model's family.
pub const GENERAL_ARCHITECTURE: &str = "general.architecture";
/// The key of the chat template, in Jinja's language; a file of a base model does not have it.
pub const CHAT_TEMPLATE: &str = "tokenizer.chat_template";
/// The number of files that a model was split into.
pub const SPLIT_COUNT: &str = "split.count";
/// Which of these files a file is, counted from 0.
pub const SPLIT_NUMBER: &str = "split.no";
/// The tensor that turns ids into vectors.
pub const EMBEDDING: &str = "token_embd.weight";
/// The tensor that turns vectors into logits. A file without it uses [`EMBEDDING`].
pub const HEAD: &str = "output.weight";

/// A family of models, `general.architecture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, text only.
    Gemma3,
}

impl Family {
    /// Returns the family that `general.architecture` names.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Gemma2, Self::Gemma3].into_iter().find(|family| family.name() == name)
    }

    /// Returns the value of `general.architecture`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
        }
    }

    /// Returns the full key of a setting: `block_count` is `gemma2.block_count`.
    pub fn key(self, setting: &str) -> String {
        format!("{}.{setting}", self.name())
    }

    /// Returns `query_pre_attn_scalar`: hidden/heads for the largest model of the family, the heads' width for others.
    pub fn query_pre_attn_scalar(self, layers: usize, hidden: usize, heads: usize, head_dim: usize) -> f64 {
        let largest = match self {
            Self::Gemma2 => 46,
            Self::Gemma3 => 62,
        };
        if layers == largest && heads > 0 { hidden as f64 / heads as f64 } else { head_dim as f64 }
    }

    /// Returns the period of the layers' pattern: the last layer of each period sees everything, the others a window.
    pub fn period(self) -> usize {
        match self {
            Self::Gemma2 => 2,
            Self::Gemma3 => 6,
        }
    }

    /// Returns the window of a file that does not name it, if a file may leave it out.
    pub fn default_window(self) -> Option<usize> {
        match self {
            Self::Gemma2 => Some(4096),
            Self::Gemma3 => None,
        }
    }

    /// Returns the soft caps of attention and of the logits of a file that does not name them, if the family has them.
    pub fn softcaps(self) -> Option<[f64; 2]> {
        match self {
            Self::Gemma2 => Some([50.0, 30.0]),
            Self::Gemma3 => None,
        }
    }

    /// Returns the rotary base of a file that does not name it.
    pub fn default_rope_base(self) -> f32 {
        match self {
            Self::Gemma2 => 10_000.0,
            Self::Gemma3 => 1_000_000.0,
        }
    }

    /// Returns the rotary base of the layers with a window, in a file that names only the `global` one.
    pub fn local_rope_base(self, global: f32) -> f32 {
        match self {
            Self::Gemma2 => global,
            Self::Gemma3 => 10_000.0,
        }
    }
}

/// The kind of a token, `llama_token_type` of llama.h.
pub mod token_type {
    /// Not stated. Converters write it for byte-level vocabularies, whose tokens are ordinary.
    pub const UNDEFINED: i32 = 0;
    /// Ordinary text.
    pub const NORMAL: i32 = 1;
    /// Stands for text that the vocabulary cannot write.
    pub const UNKNOWN: i32 = 2;
    /// Steers the model.
    pub const CONTROL: i32 = 3;
    /// Text that is cut out before the merges.
    pub const USER_DEFINED: i32 = 4;
    /// Fills up the vocabulary.
    pub const UNUSED: i32 = 5;
    /// One byte.
    pub const BYTE: i32 = 6;
}

/// Returns the full key of a part of the vocabulary: `scores` is `tokenizer.ggml.scores`.
pub fn tokenizer_key(part: &str) -> String {
    format!("tokenizer.ggml.{part}")
}

/// Returns the name of a tensor that has `name` in a Hugging Face checkpoint of Gemma.
pub fn tensor(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => EMBEDDING.into(),
        "model.norm.weight" => "output_norm.weight".into(),
        "lm_head.weight" => HEAD.into(),
        _ => {
            let inner = name.trim_start_matches("model.layers.").trim_end_matches(".weight");
            let (layer, part) = inner.split_once('.').unwrap_or((inner, ""));
            let part = match part {
                "input_layernorm" => "attn_norm",
                "post_attention_layernorm" => "post_attention_norm",
                "pre_feedforward_layernorm" => "ffn_norm",
                "post_feedforward_layernorm" => "post_ffw_norm",
                "self_attn.q_proj" => "attn_q",
                "self_attn.k_proj" => "attn_k",
                "self_attn.v_proj" => "attn_v",
                "self_attn.o_proj" => "attn_output",
                "self_attn.q_norm" => "attn_q_norm",
                "self_attn.k_norm" => "attn_k_norm",
                "mlp.gate_proj" => "ffn_gate",
                "mlp.up_proj" => "ffn_up",
                "mlp.down_proj" => "ffn_down",
                other => other,
            };
            format!("blk.{layer}.{part}.weight")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_known_by_their_names() {
        assert_eq!(Family::named("gemma3"), Some(Family::Gemma3));
        assert_eq!(Family::named("llama"), None);
        assert_eq!(Family::Gemma2.key("block_count"), "gemma2.block_count");
    }

    /// Gemma 2 27B has 46 layers of 4608 with 32 heads of 128; its config.json says 144.
    #[test]
    fn only_the_largest_model_divides_by_its_heads() {
        assert_eq!(Family::Gemma2.query_pre_attn_scalar(46, 4608, 32, 128), 144.0);
        assert_eq!(Family::Gemma2.query_pre_attn_scalar(26, 2304, 8, 256), 256.0);
        assert_eq!(Family::Gemma3.query_pre_attn_scalar(62, 5376, 32, 128), 168.0);
        assert_eq!(Family::Gemma3.query_pre_attn_scalar(46, 5376, 32, 128), 128.0);
    }

    #[test]
    fn tensors_have_the_names_of_the_converter() {
        for (checkpoint, gguf) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("lm_head.weight", "output.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("model.layers.11.mlp.down_proj.weight", "blk.11.ffn_down.weight"),
            ("model.layers.0.post_attention_layernorm.weight", "blk.0.post_attention_norm.weight"),
        ] {
            assert_eq!(tensor(checkpoint), gguf);
        }
    }
}
