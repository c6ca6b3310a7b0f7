//! A Gemma model as data, read from config.json or from GGUF metadata.

use super::error::{Error, Result};
use super::weights::gguf::Header;
use serde_json::{Map, Value};

/// Which published model family the layers follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Gemma 2: soft caps, no norm on queries and keys, local and global layers alternate.
    Gemma2,
    /// Gemma 3, text only: queries and keys are normalised, two RoPE bases, five local layers to one global.
    Gemma3,
}

impl Architecture {
    /// The name in config.json (`model_type`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3_text",
        }
    }
}

/// What a layer's queries see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Itself and the `window` − 1 positions before it.
    Local {
        /// Positions seen, at least 1.
        window: usize,
    },
    /// Every position so far.
    Global,
}

impl LayerKind {
    /// The window of a local layer.
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
    /// Linear scaling: positions are divided by it. 1 for none.
    pub factor: f32,
}

/// Everything that tells one Gemma from another. Fields are public so that a variant can be built by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The model family.
    pub architecture: Architecture,
    /// The name that the file gives the model, if any.
    pub name: Option<String>,
    /// Width of the residual stream.
    pub hidden: usize,
    /// What each layer sees, layer 0 first; its length is the number of layers.
    pub layers: Vec<LayerKind>,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Entries of the embedding.
    pub vocab: usize,
    /// Queries are scaled by this to the power −1/2.
    pub query_pre_attn_scalar: f64,
    /// Attention logits x become cap · tanh(x / cap), before the mask.
    pub attn_softcap: Option<f64>,
    /// The same for the final logits.
    pub final_softcap: Option<f64>,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f64,
    /// What is added to the stored norm weights: 1 for checkpoints, 0 for GGUF, whose converter has added it already.
    pub norm_offset: f64,
    /// Rotary embedding of the local layers.
    pub rope_local: RopeBase,
    /// Rotary embedding of the global layers.
    pub rope_global: RopeBase,
    /// Positions that the model was made for.
    pub max_position: usize,
    /// Whether the head is the embedding.
    pub tie: bool,
    /// The token that starts a text.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

/// No model has more layers; a file that says so is damaged.
const MAX_LAYERS: usize = 1024;
/// No dimension is larger; products of two still fit in 64 bits.
const MAX_DIM: usize = 1 << 30;

fn bad(field: &str, found: impl std::fmt::Display, expected: impl Into<String>) -> Error {
    Error::Config { field: field.into(), found: found.to_string(), expected: expected.into() }
}

impl Config {
    /// Reads a config.json: both the form on the hub and the one that transformers 5 writes.
    ///
    /// # Errors
    /// JSON that cannot be read, another architecture, a missing, unsupported or impossible setting.
    pub fn from_json(text: &str) -> Result<Self> {
        let root: Value = serde_json::from_str(text).map_err(|e| bad("config.json", e, "valid JSON"))?;
        let Value::Object(map) = root else { return Err(bad("config.json", "no object", "a JSON object")) };
        from_hub(&Json(&map))
    }

    /// Reads a GGUF file's metadata; the vocabulary's size comes from the embedding's shape.
    ///
    /// # Errors
    /// Another architecture, a missing, unsupported or impossible setting.
    pub fn from_gguf(header: &Header) -> Result<Self> {
        from_gguf(header)
    }

    /// Number of layers.
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// The window of the local layers, if there are any.
    pub fn window(&self) -> Option<usize> {
        self.layers.iter().find_map(|k| k.window())
    }

    /// The rotary embedding of a layer.
    pub fn rope(&self, kind: LayerKind) -> RopeBase {
        match kind {
            LayerKind::Local { .. } => self.rope_local,
            LayerKind::Global => self.rope_global,
        }
    }

    /// Refuses what cannot be computed, so that the rest of the code need not look.
    ///
    /// # Errors
    /// Names the first impossible field.
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

/// A JSON object whose accessors name the key in their errors. A null is as good as no entry.
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

    /// A key whose value must be `expected` where it is given at all.
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

/// The token ids of a number or a list of numbers.
pub(crate) fn token_ids(key: &str, value: Option<&Value>) -> Result<Vec<u32>> {
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

fn from_hub(json: &Json<'_>) -> Result<Config> {
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
    // transformers' defaults (Gemma2Config, Gemma3TextConfig) stand in for the settings that it does not write out.
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

/// The layer pattern: spelled out, or the family's own.
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

/// Every `period`-th layer is global, the others local.
fn periodic(layers: usize, period: usize, window: usize) -> Vec<LayerKind> {
    (1..=layers)
        .map(|i| if i.is_multiple_of(period) { LayerKind::Global } else { LayerKind::Local { window } })
        .collect()
}

/// The rotary embeddings of local and global layers.
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
        // The scaling is for the global layers only (transformers' Gemma3 before version 5).
        let base = json.number("rope_local_base_freq")?.unwrap_or(10_000.0) as f32;
        return Ok((RopeBase { base, factor: 1.0 }, global));
    }
    Ok((global, global))
}

/// One entry of `rope_parameters`, or a `rope_scaling`.
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

fn from_gguf(header: &Header) -> Result<Config> {
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
