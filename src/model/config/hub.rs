//! Reads config.json, in the form on the hub and in the form that transformers 5 writes.

use super::{Architecture, Config, LayerKind, MAX_LAYERS, RopeBase, bad, periodic};
use crate::model::error::{Error, Result};
use serde_json::{Map, Value};

/// A JSON object whose accessors name the key in their errors. A null counts as no entry.
struct Json<'a>(&'a Map<String, Value>);

impl<'a> Json<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key)
            .map(|v| {
                v.as_u64().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| bad(key, v, "a whole number"))
            })
            .transpose()
    }

    fn required(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| bad(key, "missing", "a whole number"))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|v| v.as_f64().ok_or_else(|| bad(key, v, "a number"))).transpose()
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key).map(|v| v.as_str().ok_or_else(|| bad(key, v, "a string"))).transpose()
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key).map(|v| v.as_bool().ok_or_else(|| bad(key, v, "true or false"))).transpose()
    }

    fn object(&self, key: &str) -> Result<Option<Json<'a>>> {
        self.get(key).map(|v| v.as_object().map(Json).ok_or_else(|| bad(key, v, "an object"))).transpose()
    }

    /// Checks that a key, if it is given at all, has the value `expected`.
    fn must_be(&self, key: &str, expected: &str) -> Result<()> {
        match self.text(key)? {
            Some(v) if v != expected => Err(bad(key, v, expected)),
            _ => Ok(()),
        }
    }

    fn must_not_be_set(&self, key: &str) -> Result<()> {
        if self.flag(key)? == Some(true) {
            return Err(bad(key, "true", "false: Gemma's published models do not use it"));
        }
        Ok(())
    }
}

/// Returns the token ids of a number or a list of numbers.
pub(in crate::model) fn token_ids(key: &str, value: Option<&Value>) -> Result<Vec<u32>> {
    let id = |v: &Value| {
        v.as_u64()
            .and_then(|v| u32::try_from(v).ok())
            .ok_or_else(|| bad(key, v, "a token id or a list of them"))
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(id).collect(),
        Some(v) => Ok(vec![id(v)?]),
    }
}

pub(super) fn read(text: &str) -> Result<Config> {
    let root: Value = serde_json::from_str(text).map_err(|e| bad("config.json", e, "valid JSON"))?;
    let Value::Object(map) = root else { return Err(bad("config.json", "no object", "a JSON object")) };
    let json = &Json(&map);
    let architecture = match json.text("model_type")? {
        Some("gemma2") => Architecture::Gemma2,
        Some("gemma3_text") => Architecture::Gemma3,
        Some("gemma3") => {
            return Err(Error::Architecture { found: "gemma3 (text and images)".into() });
        }
        other => {
            let list = json.get("architectures").and_then(Value::as_array);
            let class = list.and_then(|l| l.first()).and_then(Value::as_str);
            return Err(Error::Architecture { found: other.or(class).unwrap_or("no model_type").into() });
        }
    };
    let gemma3 = architecture == Architecture::Gemma3;
    json.must_not_be_set("attention_bias")?;
    json.must_not_be_set("use_bidirectional_attention")?;
    for key in ["hidden_activation", "hidden_act"] {
        json.must_be(key, "gelu_pytorch_tanh")?;
    }
    if json.get("quantization_config").is_some() {
        return Err(bad("quantization_config", "set", "f32, f16 or bf16 weights, or a GGUF file"));
    }
    let layers = json.required("num_hidden_layers")?;
    if layers > MAX_LAYERS {
        return Err(bad("num_hidden_layers", layers, format!("at most {MAX_LAYERS}")));
    }
    // Settings that are not written out have the defaults of transformers (Gemma2Config, Gemma3TextConfig).
    let window = json.size("sliding_window")?.unwrap_or(4096);
    let (rope_local, rope_global) = hub_rope(json, gemma3)?;
    let caps = |key: &str, default: f64| -> Result<Option<f64>> {
        match json.0.get(key) {
            Some(Value::Null) => Ok(None),
            Some(_) => json.number(key),
            None => Ok((!gemma3).then_some(default)),
        }
    };
    let config = Config {
        architecture,
        name: json.text("_name_or_path")?.filter(|s| !s.is_empty()).map(Into::into),
        hidden: json.required("hidden_size")?,
        layers: hub_layers(json, architecture, layers, window)?,
        heads: json.required("num_attention_heads")?,
        kv_heads: json.required("num_key_value_heads")?,
        head_dim: json.size("head_dim")?.unwrap_or(256),
        intermediate: json.required("intermediate_size")?,
        vocab: json.required("vocab_size")?,
        query_pre_attn_scalar: json.number("query_pre_attn_scalar")?.unwrap_or(256.0),
        attn_softcap: caps("attn_logit_softcapping", 50.0)?,
        final_softcap: caps("final_logit_softcapping", 30.0)?,
        rms_eps: json.number("rms_norm_eps")?.unwrap_or(1e-6),
        norm_offset: 1.0,
        rope_local,
        rope_global,
        max_position: json.size("max_position_embeddings")?.unwrap_or(if gemma3 { 131_072 } else { 8192 }),
        tie: json.flag("tie_word_embeddings")?.unwrap_or(true),
        bos: token_ids("bos_token_id", json.get("bos_token_id"))?.first().copied(),
        eos: token_ids("eos_token_id", json.get("eos_token_id"))?,
    };
    config.validate()?;
    Ok(config)
}

/// Returns the layer pattern: the one that is given, or the family's default.
fn hub_layers(
    json: &Json<'_>,
    architecture: Architecture,
    layers: usize,
    window: usize,
) -> Result<Vec<LayerKind>> {
    let Some(types) = json.get("layer_types") else {
        let period = match architecture {
            Architecture::Gemma2 => 2,
            Architecture::Gemma3 => match json.size("sliding_window_pattern")? {
                Some(n) => n,
                None => json.size("_sliding_window_pattern")?.unwrap_or(6),
            },
        };
        if period == 0 {
            return Err(bad("sliding_window_pattern", 0, "at least 1"));
        }
        return Ok(periodic(layers, period, window));
    };
    let names = types.as_array().ok_or_else(|| bad("layer_types", types, "a list"))?;
    if names.len() != layers {
        return Err(bad("layer_types", format!("{} entries", names.len()), format!("{layers}, one a layer")));
    }
    names
        .iter()
        .map(|name| match name.as_str() {
            Some("sliding_attention") => Ok(LayerKind::Local { window }),
            Some("full_attention") => Ok(LayerKind::Global),
            _ => Err(bad("layer_types", name, "sliding_attention or full_attention")),
        })
        .collect()
}

/// Returns the rotary embeddings of local and global layers.
fn hub_rope(json: &Json<'_>, gemma3: bool) -> Result<(RopeBase, RopeBase)> {
    let default = if gemma3 { 1_000_000.0 } else { 10_000.0 };
    if let Some(parameters) = json.object("rope_parameters")? {
        let by_kind = (parameters.object("sliding_attention"), parameters.object("full_attention"));
        if let (Ok(Some(local)), Ok(Some(global))) = by_kind {
            return Ok((rope_of(&local, 10_000.0)?, rope_of(&global, default)?));
        }
        if gemma3 {
            return Err(bad("rope_parameters", "one for all layers", "sliding_attention and full_attention"));
        }
        let rope = rope_of(&parameters, default)?;
        return Ok((rope, rope));
    }
    let base = json.number("rope_theta")?.unwrap_or(default) as f32;
    let factor = match json.object("rope_scaling")? {
        Some(scaling) => rope_of(&scaling, default)?.factor,
        None => 1.0,
    };
    let global = RopeBase { base, factor };
    if gemma3 {
        // The scaling applies only to the global layers (transformers' Gemma3 before version 5).
        let base = json.number("rope_local_base_freq")?.unwrap_or(10_000.0) as f32;
        return Ok((RopeBase { base, factor: 1.0 }, global));
    }
    Ok((global, global))
}

/// Returns the rotary embedding of an entry of `rope_parameters`, or of a `rope_scaling`.
fn rope_of(json: &Json<'_>, default: f64) -> Result<RopeBase> {
    let kind = match json.text("rope_type")? {
        Some(kind) => kind,
        None => json.text("type")?.unwrap_or("default"),
    };
    let factor = match kind {
        "default" => 1.0,
        "linear" => json.number("factor")?.ok_or_else(|| bad("rope factor", "missing", "a number"))?,
        other => return Err(bad("rope_type", other, "default or linear")),
    };
    Ok(RopeBase { base: json.number("rope_theta")?.unwrap_or(default) as f32, factor: factor as f32 })
}
