//! From a Hugging Face directory to a GGUF file with the tokenizer inside, as llama.cpp's converter and `llama-quantize`
//! make it.
//!
//! GGUF has no key for some settings; readers fill them in. A configuration whose settings are not what a reader would
//! fill in is refused, because the file would be another model.

mod mixture;
pub mod random;
mod tokenizer;
mod writer;

pub use mixture::Mixture;

use crate::kernels::Format;
use crate::model::weights::Container;
use crate::model::{Architecture, Config, LayerKind, Weights, gguf_name};
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// The result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model cannot be written as GGUF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that GGUF has no key for.
    #[error("GGUF cannot express that {setting} is {found}: readers take {expected}; keep the safetensors")]
    Inexpressible {
        /// The setting in config.json.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What readers take.
        expected: String,
    },
    /// A file that is GGUF already.
    #[error(
        "{path} is a GGUF file; expected a Hugging Face directory, since rounding twice would only lose more"
    )]
    AlreadyGguf {
        /// The path asked for.
        path: PathBuf,
    },
    /// A tokenizer that GGUF's vocabulary of scores cannot express, or none.
    #[error("the tokenizer cannot be put into the file: {reason}")]
    Tokenizer {
        /// What is wrong.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Of the model.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// Of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Size of the file.
    pub bytes: u64,
    /// Tensors of each format.
    pub formats: BTreeMap<&'static str, usize>,
    /// Parameters.
    pub parameters: u64,
}

/// Writes the model of a Hugging Face directory to `out`, matrices as `mixture` says, norms in f32.
///
/// The file is written beside its place, checked by reading its tokenizer back, and renamed.
///
/// # Errors
/// See [`Error`].
pub fn quantize(dir: &Path, out: &Path, mixture: impl Into<Mixture>) -> Result<Summary> {
    let mixture = mixture.into();
    let weights = Weights::open(dir)?;
    if weights.container() == Container::Gguf {
        return Err(Error::AlreadyGguf { path: dir.into() });
    }
    let config = weights.config();
    let mut metadata = metadata(config, dir, mixture)?;
    metadata.extend(tokenizer::metadata(&dir.join("tokenizer.json"), config)?);

    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    let mut summary = Summary { bytes: 0, formats: BTreeMap::new(), parameters: 0 };
    for (name, info) in weights.tensors() {
        if config.tie && name == "lm_head.weight" {
            continue;
        }
        let format = match info.shape.as_slice() {
            [_, width] => mixture.format(&gguf_name(name), *width, config),
            _ => Format::F32,
        };
        let mut values = vec![0f32; info.shape.iter().product()];
        info.format.dequantize(weights.bytes(name).unwrap_or_default(), &mut values);
        if info.shape.len() == 1 {
            // llama.cpp's norms multiply by the weight alone.
            for v in &mut values {
                *v += config.norm_offset as f32;
            }
        }
        summary.parameters += values.len() as u64;
        *summary.formats.entry(format.name()).or_default() += 1;
        let tensor = Tensor::from_vec(values, info.shape.as_slice(), &Device::Cpu)?;
        tensors.push((gguf_name(name), QTensor::quantize(&tensor, format.ggml())?));
    }
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(k, t)| (k.as_str(), t)).collect();

    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = out.with_file_name(name);
    let write_error = |source| Error::Write { path: out.into(), source };
    let mut file = BufWriter::new(File::create(&temporary).map_err(write_error)?);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    let file = file.into_inner().map_err(|e| write_error(e.into_error()))?;
    file.sync_all().map_err(write_error)?;
    summary.bytes = file.metadata().map_err(write_error)?.len();
    drop(file);
    let checked = tokenizer::check(&dir.join("tokenizer.json"), &temporary);
    if let Err(error) = checked {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, out).map_err(write_error)?;
    Ok(summary)
}

/// The metadata of the model itself, or why GGUF cannot express it.
fn metadata(config: &Config, dir: &Path, mixture: Mixture) -> Result<Vec<(String, Value)>> {
    let c = config;
    check_expressible(c)?;
    let gemma3 = c.architecture == Architecture::Gemma3;
    let architecture = if gemma3 { "gemma3" } else { "gemma2" };
    let place = || {
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
        absolute.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
    };
    let size = |value: usize| Value::U32(u32::try_from(value).unwrap_or(u32::MAX));
    let mut out = vec![
        ("general.architecture".to_owned(), Value::String(architecture.into())),
        ("general.type".to_owned(), Value::String("model".into())),
        ("general.name".to_owned(), Value::String(c.name.clone().unwrap_or_else(place))),
        ("general.file_type".to_owned(), Value::U32(mixture.file_type())),
        ("general.quantization_version".to_owned(), Value::U32(2)),
    ];
    let mut add = |key: &str, value: Value| out.push((format!("{architecture}.{key}"), value));
    add("context_length", size(c.max_position));
    add("embedding_length", size(c.hidden));
    add("block_count", size(c.num_layers()));
    add("feed_forward_length", size(c.intermediate));
    add("attention.head_count", size(c.heads));
    add("attention.head_count_kv", size(c.kv_heads));
    add("attention.key_length", size(c.head_dim));
    add("attention.value_length", size(c.head_dim));
    add("attention.layer_norm_rms_epsilon", Value::F32(c.rms_eps as f32));
    add("rope.freq_base", Value::F32(c.rope_global.base));
    // A window that no position reaches does no harm where there is none.
    add("attention.sliding_window", size(c.window().unwrap_or(c.max_position)));
    for (key, cap) in
        [("attn_logit_softcapping", c.attn_softcap), ("final_logit_softcapping", c.final_softcap)]
    {
        if let Some(cap) = cap {
            add(key, Value::F32(cap as f32));
        }
    }
    Ok(out)
}

/// Refuses the settings that have no key and are not what llama.cpp fills in.
fn check_expressible(c: &Config) -> Result<()> {
    let refuse =
        |setting, found: String, expected: String| Err(Error::Inexpressible { setting, found, expected });
    let gemma3 = c.architecture == Architecture::Gemma3;
    let largest = if gemma3 { 62 } else { 46 };
    let scalar = if c.num_layers() == largest { c.hidden as f64 / c.heads as f64 } else { c.head_dim as f64 };
    if c.query_pre_attn_scalar != scalar {
        let expected = format!("{scalar} for these sizes");
        return refuse("query_pre_attn_scalar", c.query_pre_attn_scalar.to_string(), expected);
    }
    let period = if gemma3 { 6 } else { 2 };
    let usual = |(i, kind): (usize, &LayerKind)| {
        kind.window() == if (i + 1).is_multiple_of(period) { None } else { c.window() }
    };
    if !c.layers.iter().enumerate().all(usual) {
        let expected = format!("every {period}th layer global and the others local, with one window");
        return refuse("layer_types", format!("{:?}", c.layers), expected);
    }
    if !c.tie {
        return refuse("tie_word_embeddings", "false".into(), "the embedding as the head".into());
    }
    for (setting, cap) in
        [("attn_logit_softcapping", c.attn_softcap), ("final_logit_softcapping", c.final_softcap)]
    {
        match cap {
            None if !gemma3 => return refuse(setting, "null".into(), "50 and 30 where there is none".into()),
            Some(cap) if gemma3 => return refuse(setting, cap.to_string(), "none".into()),
            _ => {}
        }
    }
    let local = if gemma3 { 10_000.0 } else { c.rope_global.base };
    if c.rope_local.base != local {
        return refuse("the local rope_theta", c.rope_local.base.to_string(), local.to_string());
    }
    for rope in [c.rope_local, c.rope_global] {
        if rope.factor != 1.0 {
            return refuse("rope scaling", rope.factor.to_string(), "1, reliably".into());
        }
    }
    Ok(())
}
