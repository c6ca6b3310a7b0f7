//! Reads GGUF metadata. What the format has no key for is filled in as llama.cpp does.

use super::{Architecture, Config, LayerKind, MAX_LAYERS, RopeBase, bad, periodic};
use crate::model::error::{Error, Result};
use wmdetect::gguf::names::{self, Family};
use wmdetect::gguf::{Array, Metadata, Value};

pub(super) fn read<'a>(metadata: &Metadata, shape: impl Fn(&str) -> Option<&'a [usize]>) -> Result<Config> {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    let name = text(names::GENERAL_ARCHITECTURE).unwrap_or("no general.architecture");
    let family = Family::named(name).ok_or_else(|| Error::Architecture { found: name.into() })?;
    let key = |name: &str| family.key(name);
    let size = |name: &str| -> Result<Option<usize>> {
        let key = key(name);
        match metadata.get(&key) {
            None => Ok(None),
            Some(v) => whole(v).map(Some).ok_or_else(|| bad(&key, v, "a whole number")),
        }
    };
    let required = |name: &str| size(name)?.ok_or_else(|| bad(&key(name), "missing", "a whole number"));
    let number = |name: &str| -> Result<Option<f64>> {
        let key = key(name);
        match metadata.get(&key) {
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
    let Some(&[vocab, _]) = shape(names::EMBEDDING) else {
        return Err(bad(names::EMBEDDING, "missing or no matrix", "[vocabulary, hidden]"));
    };
    let window = size("attention.sliding_window")?
        .or(family.default_window())
        .ok_or_else(|| bad(&key("attention.sliding_window"), "missing", "a whole number"))?;
    let query_pre_attn_scalar = family.query_pre_attn_scalar(layers, hidden, heads, head_dim);
    let default_caps = family.softcaps().map_or([None; 2], |caps| caps.map(Some));
    let cap = |name: &str, default: Option<f64>| -> Result<Option<f64>> {
        Ok(number(name)?.or(default).filter(|v| *v != 0.0))
    };
    let factor = match text(&key("rope.scaling.type")) {
        None | Some("none") => 1.0,
        Some("linear") => number("rope.scaling.factor")?.unwrap_or(1.0) as f32,
        Some(other) => return Err(bad(&key("rope.scaling.type"), other, "none or linear")),
    };
    let base = number("rope.freq_base")?.map_or(family.default_rope_base(), |base| base as f32);
    let rope_global = RopeBase { base, factor };
    let rope_local = match family {
        Family::Gemma2 => rope_global,
        Family::Gemma3 => {
            let named = number("rope.freq_base_swa")?.map(|base| base as f32);
            RopeBase { base: named.unwrap_or(family.local_rope_base(base)), factor: 1.0 }
        }
    };
    let pattern = key("attention.sliding_window_pattern");
    let layers = layer_kinds(metadata.get(&pattern), &pattern, layers, window, family)?;
    let id = |part: &str| u32::try_from(metadata.get(&names::tokenizer_key(part))?.as_u64()?).ok();
    let mut eos: Vec<u32> = ["eos_token_id", "eot_token_id"].into_iter().filter_map(id).collect();
    eos.dedup();
    let config = Config {
        architecture: match family {
            Family::Gemma2 => Architecture::Gemma2,
            Family::Gemma3 => Architecture::Gemma3,
        },
        name: text(names::GENERAL_NAME).map(Into::into),
        hidden,
        layers,
        heads,
        kv_heads: size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        intermediate: required("feed_forward_length")?,
        vocab,
        query_pre_attn_scalar,
        attn_softcap: cap("attn_logit_softcapping", default_caps[0])?,
        final_softcap: cap("final_logit_softcapping", default_caps[1])?,
        rms_eps: number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        norm_offset: 0.0,
        rope_local,
        rope_global,
        max_position: required("context_length")?,
        tie: shape(names::HEAD).is_none(),
        bos: id("bos_token_id"),
        eos,
    };
    config.validate()?;
    Ok(config)
}

fn whole(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// Returns the layer pattern of a GGUF file. Newer files state it, as a period or as one flag a layer; older ones
/// do not.
fn layer_kinds(
    value: Option<&Value>,
    key: &str,
    layers: usize,
    window: usize,
    family: Family,
) -> Result<Vec<LayerKind>> {
    let period = match value {
        None => family.period(),
        Some(value) => {
            if let Some(flags) = value.as_array().and_then(Array::as_bools) {
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
            whole(value).filter(|p| *p > 0).ok_or_else(|| bad(key, value, "a period or one flag a layer"))?
        }
    };
    Ok(periodic(layers, period, window))
}
