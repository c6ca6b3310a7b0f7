//! Exports a trained model as a Hugging Face directory.

use super::checkpoint::to_bytes;
use super::error::{Error, Result};
use super::parameters::Table;
use super::tokenizer::PAD;
use crate::model::config::RopeBase;
use crate::model::{Architecture, Config};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use wmdetect::atomic_file;

/// Returns config.json, with the rotary embedding in two spellings: that of transformers 5 and that of earlier
/// versions.
pub fn config_json(config: &Config) -> Value {
    let c = config;
    let gemma3 = c.architecture == Architecture::Gemma3;
    let kinds: Vec<&str> = c
        .layers
        .iter()
        .map(|kind| if kind.window().is_some() { "sliding_attention" } else { "full_attention" })
        .collect();
    let rope = |rope: RopeBase| {
        if rope.factor == 1.0 {
            json!({"rope_type": "default", "rope_theta": rope.base})
        } else {
            json!({"rope_type": "linear", "rope_theta": rope.base, "factor": rope.factor})
        }
    };
    let mut json = json!({
        "architectures": [if gemma3 { "Gemma3ForCausalLM" } else { "Gemma2ForCausalLM" }],
        "model_type": c.architecture.name(),
        "dtype": "float32",
        "hidden_size": c.hidden,
        "num_hidden_layers": c.num_layers(),
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_dim,
        "intermediate_size": c.intermediate,
        "vocab_size": c.vocab,
        "max_position_embeddings": c.max_position,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": false,
        "attention_dropout": 0.0,
        "query_pre_attn_scalar": c.query_pre_attn_scalar,
        "attn_logit_softcapping": c.attn_softcap,
        "final_logit_softcapping": c.final_softcap,
        "rms_norm_eps": c.rms_eps,
        "sliding_window": c.window().unwrap_or(c.max_position),
        "layer_types": kinds,
        "tie_word_embeddings": c.tie,
        "bos_token_id": c.bos,
        "eos_token_id": c.eos,
        "pad_token_id": PAD,
        "use_cache": true,
    });
    // Whole numbers are written as integers, because transformers' Gemma2Config checks the type.
    if c.query_pre_attn_scalar.fract() == 0.0 {
        json["query_pre_attn_scalar"] = json!(c.query_pre_attn_scalar as u64);
    }
    if let [eos] = c.eos.as_slice() {
        json["eos_token_id"] = json!(eos);
    }
    json["rope_parameters"] = if gemma3 {
        json!({"sliding_attention": rope(c.rope_local), "full_attention": rope(c.rope_global)})
    } else {
        rope(c.rope_global)
    };
    json["rope_theta"] = json!(c.rope_global.base);
    if gemma3 {
        json["rope_local_base_freq"] = json!(c.rope_local.base);
    }
    json
}

/// Writes model.safetensors, config.json, generation_config.json, tokenizer.json and tokenizer_config.json, each
/// atomically.
///
/// # Errors
/// Returns the errors of the file system.
pub fn write(dir: &Path, config: &Config, params: &[f32], tokenizer_json: &str) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::write(dir))?;
    let table = Table::new(config);
    let bytes = to_bytes(params);
    let library = |e: safetensors::SafeTensorError| Error::write(dir)(std::io::Error::other(e.to_string()));
    let mut views = Vec::new();
    for tensor in table.tensors() {
        let data = &bytes[tensor.range.start * 4..tensor.range.end * 4];
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data).map_err(library)?;
        views.push((tensor.name.as_str(), view));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let weights = safetensors::serialize(views, Some(metadata)).map_err(library)?;
    let config_json = config_json(config);
    let generation = json!({
        "bos_token_id": config_json["bos_token_id"],
        "eos_token_id": config_json["eos_token_id"],
        "pad_token_id": PAD,
        "do_sample": true,
    });
    let tokenizer = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
        "add_bos_token": true, "add_eos_token": false,
        "clean_up_tokenization_spaces": false,
        "model_max_length": config.max_position,
    });
    let pretty = |value: &Value| format!("{value:#}\n").into_bytes();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        atomic_file::write(&path, bytes).map_err(Error::write(path))
    };
    write("config.json", &pretty(&config_json))?;
    write("generation_config.json", &pretty(&generation))?;
    write("tokenizer_config.json", &pretty(&tokenizer))?;
    write("tokenizer.json", tokenizer_json.as_bytes())?;
    write("model.safetensors", &weights)
}
