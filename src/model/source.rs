//! Where a model's tensors come from: mapped files, or whatever a caller hands over.

use super::error::{Error, Result};
use super::linear::{Embedding, Linear};
use super::weights::{Container, Weights};
use candle_core::{DType, Device, Tensor};

/// Where tensors come from: names are those of a Hugging Face checkpoint.
pub(super) trait Source {
    fn linear(&mut self, name: &str, out: usize, inp: usize) -> Result<Linear>;
    fn embedding(&mut self, name: &str, rows: usize, cols: usize) -> Result<Embedding>;
    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor>;
}

/// Tensors of mapped files.
pub(super) struct Stored<'a> {
    pub(super) weights: &'a Weights,
    pub(super) device: &'a Device,
    pub(super) dtype: DType,
    pub(super) unrounded: bool,
}

impl Stored<'_> {
    fn name(&self, name: &str) -> String {
        match self.weights.container() {
            Container::Safetensors => name.into(),
            Container::Gguf => gguf_name(name),
        }
    }
}

impl Source for Stored<'_> {
    fn linear(&mut self, name: &str, out: usize, inp: usize) -> Result<Linear> {
        let name = self.name(name);
        let matrix = self.weights.matrix(&name, out, inp)?;
        // What was copied need not stay in memory twice.
        Linear::place(matrix, self.device, self.dtype, self.unrounded, |read| {
            self.weights.release(&name, read)
        })
    }

    fn embedding(&mut self, name: &str, rows: usize, cols: usize) -> Result<Embedding> {
        Ok(Embedding::Stored(self.weights.matrix(&self.name(name), rows, cols)?))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor> {
        let values = self.weights.vector(&self.name(name), len)?;
        Ok(Tensor::from_vec(values, len, self.device)?)
    }
}

/// llama.cpp's name of a checkpoint's tensor.
pub(crate) fn gguf_name(name: &str) -> String {
    let part = |part: &str| match part {
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
        _ => "ffn_down",
    };
    match name {
        "model.embed_tokens.weight" => "token_embd.weight".into(),
        "model.norm.weight" => "output_norm.weight".into(),
        "lm_head.weight" => "output.weight".into(),
        _ => {
            let inner = name.trim_start_matches("model.layers.").trim_end_matches(".weight");
            let (layer, inner) = inner.split_once('.').unwrap_or((inner, ""));
            format!("blk.{layer}.{}.weight", part(inner))
        }
    }
}

/// Tensors from a caller.
pub(super) struct Plain<F> {
    pub(super) get: F,
}

impl<F: FnMut(&str, &[usize]) -> Result<Tensor>> Plain<F> {
    fn checked(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = (self.get)(name, shape)?;
        if tensor.dims() != shape {
            let (expected, found) = (shape.to_vec(), tensor.dims().to_vec());
            return Err(Error::Shape { name: name.into(), expected, found });
        }
        Ok(tensor)
    }
}

impl<F: FnMut(&str, &[usize]) -> Result<Tensor>> Source for Plain<F> {
    fn linear(&mut self, name: &str, out: usize, inp: usize) -> Result<Linear> {
        Ok(Linear::Dense(self.checked(name, &[out, inp])?))
    }

    fn embedding(&mut self, name: &str, rows: usize, cols: usize) -> Result<Embedding> {
        Ok(Embedding::Dense(self.checked(name, &[rows, cols])?))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor> {
        self.checked(name, &[len])
    }
}
