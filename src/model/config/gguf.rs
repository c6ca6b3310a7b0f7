//! GGUF metadata. What the format has no key for is filled in as llama.cpp does.

use super::{Architecture, Config, LayerKind, MAX_LAYERS, RopeBase, bad, periodic};
use crate::model::error::{Error, Result};
use crate::model::weights::gguf::Header;

pub(super) fn read(header: &Header) -> Result<Config> {
    let architecture = match header.text("general.architecture") {
        Some("gemma2") => Architecture::Gemma2,
        Some("gemma3") => Architecture::Gemma3,
        other => {
            return Err(Error::Architecture { found: other.unwrap_or("no general.architecture").into() });
        }
    };
    let gemma3 = architecture == Architecture::Gemma3;
    let key = |name: &str| format!("{}.{name}", if gemma3 { "gemma3" } else { "gemma2" });
    let size = |name: &str| -> Result<Option<usize>> {
        let key = key(name);
        match header.get(&key) {
            None => Ok(None),
            Some(v) => v.as_usize().map(Some).ok_or_else(|| bad(&key, v, "a whole number")),
        }
    };
    let required = |name: &str| size(name)?.ok_or_else(|| bad(&key(name), "missing", "a whole number"));
    let number = |name: &str| -> Result<Option<f64>> {
        let key = key(name);
        match header.get(&key) {
            None => Ok(None),
            Some(v) => v.as_f64().map(Some).ok_or_else(|| bad(&key, v, "a number")),
        }
    };

    let hidden = required("embedding_length")?;
    let layers = required("block_count")?;
    if layers > MAX_LAYERS {
        return Err(bad(&key("block_count"), layers, format!("at most {MAX_LAYERS}")));
    }
    let heads = required("attention.head_count")?;
    let head_dim = required("attention.key_length")?;
    if let Some(v) = size("attention.value_length")?
        && v != head_dim
    {
        return Err(bad(&key("attention.value_length"), v, format!("{head_dim}, as the keys")));
    }
    let embedding = "token_embd.weight";
    let vocab = match header.tensor(embedding) {
        Some(t) if t.shape.len() == 2 => t.shape[0],
        _ => return Err(bad(embedding, "missing or no matrix", "[vocabulary, hidden]")),
    };
    let window = match size("attention.sliding_window")? {
        Some(w) => w,
        None if gemma3 => return Err(bad(&key("attention.sliding_window"), "missing", "a whole number")),
        None => 4096,
    };
    // No key: llama.cpp takes hidden/heads for the largest model of each family and the head's width for the others.
    let largest = if gemma3 { 62 } else { 46 };
    let query_pre_attn_scalar =
        if layers == largest && heads > 0 { hidden as f64 / heads as f64 } else { head_dim as f64 };
    let caps = |name: &str, default: f64| -> Result<Option<f64>> {
        Ok(number(name)?.or((!gemma3).then_some(default)).filter(|v| *v != 0.0))
    };
    let factor = match header.text(&key("rope.scaling.type")) {
        None | Some("none") => 1.0,
        Some("linear") => number("rope.scaling.factor")?.unwrap_or(1.0) as f32,
        Some(other) => return Err(bad(&key("rope.scaling.type"), other, "none or linear")),
    };
    let base = number("rope.freq_base")?.unwrap_or(if gemma3 { 1e6 } else { 1e4 }) as f32;
    let rope_global = RopeBase { base, factor };
    let rope_local = if gemma3 {
        RopeBase { base: number("rope.freq_base_swa")?.unwrap_or(10_000.0) as f32, factor: 1.0 }
    } else {
        rope_global
    };
    let layers = gguf_layers(header, &key("attention.sliding_window_pattern"), layers, window, gemma3)?;
    let id = |key: &str| header.get(key).and_then(|v| u32::try_from(v.as_usize()?).ok());
    let mut eos: Vec<u32> =
        ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"].iter().filter_map(|k| id(k)).collect();
    eos.dedup();
    let config = Config {
        architecture,
        name: header.text("general.name").map(Into::into),
        hidden,
        layers,
        heads,
        kv_heads: size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        intermediate: required("feed_forward_length")?,
        vocab,
        query_pre_attn_scalar,
        attn_softcap: caps("attn_logit_softcapping", 50.0)?,
        final_softcap: caps("final_logit_softcapping", 30.0)?,
        rms_eps: number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        norm_offset: 0.0,
        rope_local,
        rope_global,
        max_position: required("context_length")?,
        tie: header.tensor("output.weight").is_none(),
        bos: id("tokenizer.ggml.bos_token_id"),
        eos,
    };
    config.validate()?;
    Ok(config)
}

/// The layer pattern of a GGUF file: newer files spell it out (a period, or one flag a layer), older ones do not.
fn gguf_layers(
    header: &Header,
    key: &str,
    layers: usize,
    window: usize,
    gemma3: bool,
) -> Result<Vec<LayerKind>> {
    let period = match header.get(key) {
        None => {
            if gemma3 {
                6
            } else {
                2
            }
        }
        Some(value) => {
            if let Some(flags) = value.as_bools() {
                if flags.len() != layers {
                    return Err(bad(
                        key,
                        format!("{} entries", flags.len()),
                        format!("{layers}, one a layer"),
                    ));
                }
                let kind =
                    |local: &bool| if *local { LayerKind::Local { window } } else { LayerKind::Global };
                return Ok(flags.iter().map(kind).collect());
            }
            value
                .as_usize()
                .filter(|p| *p > 0)
                .ok_or_else(|| bad(key, value, "a period or one flag a layer"))?
        }
    };
    Ok(periodic(layers, period, window))
}
