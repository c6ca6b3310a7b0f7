//! Converts a Hugging Face directory to a GGUF file that contains the tokenizer, as llama.cpp's converter and
//! `llama-quantize` do.
//!
//! GGUF has no key for some settings; readers assume values for them. A configuration with other values is refused,
//! because the file would be another model.

mod mixture;
pub mod random;
mod tokenizer;

pub use mixture::Mixture;

use crate::kernels::Format;
use crate::model::weights::{ChatTemplate, Container};
use crate::model::{Config, LayerKind, Weights};
use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use wmdetect::atomic_file::AtomicFile;
use wmdetect::gguf::{Layout, Plan, Value, names};

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error from writing a model as GGUF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// GGUF has no key for a setting.
    #[error("GGUF cannot express that {setting} is {found}: readers take {expected}; keep the safetensors")]
    Inexpressible {
        /// Name of the setting in config.json.
        setting: &'static str,
        /// Its value.
        found: String,
        /// Value that readers assume.
        expected: String,
    },
    /// The file is a GGUF file already.
    #[error(
        "{path} is a GGUF file; expected a Hugging Face directory, since rounding twice would only lose more"
    )]
    AlreadyGguf {
        /// Path that was asked for.
        path: PathBuf,
    },
    /// There is no tokenizer, or GGUF's vocabulary of scores cannot express it.
    #[error("the tokenizer cannot be put into the file: {reason}")]
    Tokenizer {
        /// What is wrong.
        reason: String,
    },
    /// The operating system reported an error.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Reason that the system gives.
        source: std::io::Error,
    },
    /// The output reported an error.
    #[error("cannot write the model: {0}")]
    Output(std::io::Error),
    /// The model reported an error.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// The tensor library reported an error.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Summary of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Number of tensors in each format.
    pub formats: BTreeMap<&'static str, usize>,
    /// Number of parameters.
    pub parameters: u64,
}

impl Summary {
    fn new<'a>(layout: &Layout, parts: impl Iterator<Item = &'a Part>) -> Self {
        let mut summary = Self { bytes: layout.file_bytes(), formats: BTreeMap::new(), parameters: 0 };
        for part in parts {
            summary.parameters += part.numbers() as u64;
            *summary.formats.entry(part.format.name()).or_default() += 1;
        }
        summary
    }
}

/// A tensor of the file.
#[derive(Debug, Clone)]
struct Part {
    /// Its name in llama.cpp.
    name: String,
    /// Dimensions, slowest first. A matrix's rows are whole blocks of the format.
    shape: Vec<usize>,
    format: Format,
}

impl Part {
    fn numbers(&self) -> usize {
        self.shape.iter().product()
    }

    fn bytes(&self) -> usize {
        self.numbers() / self.format.block_len() * self.format.block_bytes()
    }

    fn plan(&self) -> Plan {
        Plan {
            name: self.name.clone(),
            shape: self.shape.iter().map(|dim| *dim as u64).collect(),
            ggml_type: self.format.ggml_type(),
            bytes: self.bytes() as u64,
        }
    }
}

/// How many numbers are quantised at a time.
const STRIP: usize = 1 << 20;

/// Writes the model of a Hugging Face directory to `out`: matrices as `mixture` says, norms in f32.
///
/// The file is either complete or does not exist. Its tokenizer is checked first. Only a few rows of a matrix are in
/// memory at a time.
///
/// # Errors
/// Returns an error if the model cannot be written as GGUF; see [`Error`].
pub fn quantize(dir: &Path, out: &Path, mixture: impl Into<Mixture>) -> Result<Summary> {
    let mixture = mixture.into();
    let weights = Weights::open(dir)?;
    if weights.container() == Container::Gguf {
        return Err(Error::AlreadyGguf { path: dir.into() });
    }
    let config = weights.config();
    let tokenizer_json = dir.join("tokenizer.json");
    let mut metadata = metadata(config, dir, mixture)?;
    metadata.extend(tokenizer::metadata(&tokenizer_json, config)?);
    if let ChatTemplate::Given(template) = weights.chat_template() {
        metadata.push((names::CHAT_TEMPLATE.to_owned(), template.as_str().into()));
    }
    let tensors: Vec<(&str, Format, Part)> = weights
        .tensors()
        .filter(|(name, _)| !(config.tie && *name == "lm_head.weight"))
        .map(|(hub, info)| {
            let name = names::tensor(hub);
            let format = match info.shape.as_slice() {
                [_, width] => mixture.format(&name, *width, config),
                _ => Format::F32,
            };
            (hub, info.format, Part { name, shape: info.shape.clone(), format })
        })
        .collect();
    let layout = Layout::new(&metadata, tensors.iter().map(|(_, _, part)| part.plan()).collect());
    tokenizer::check(&tokenizer_json, layout.header())?;

    let write_error = |source| Error::Write { path: out.into(), source };
    let file = AtomicFile::create(out).map_err(write_error)?;
    let mut writer = layout.start(BufWriter::with_capacity(1 << 20, file)).map_err(write_error)?;
    for (name, stored, part) in &tensors {
        // llama.cpp's norms multiply by the weight alone, without adding 1.
        let plus = (part.shape.len() == 1).then_some(config.norm_offset as f32);
        let bytes = weights.bytes(name).unwrap_or_default();
        convert(bytes, *stored, part, plus, |bytes| writer.write(bytes).map_err(write_error))?;
    }
    let file = writer.finish().map_err(write_error)?;
    file.into_inner().map_err(|error| write_error(error.into_error()))?.commit().map_err(write_error)?;
    Ok(Summary::new(&layout, tensors.iter().map(|(_, _, part)| part)))
}

/// Converts the numbers of a tensor from the format `stored` to that of `part`, with `plus` added to each. Passes them to
/// `write`, some rows at a time.
fn convert(
    bytes: &[u8],
    stored: Format,
    part: &Part,
    plus: Option<f32>,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let width = part.shape.last().copied().unwrap_or(1).max(1);
    let strip = (STRIP / width).max(1) * width;
    let (block_len, block_bytes) = (stored.block_len(), stored.block_bytes());
    for bytes in bytes.chunks(strip / block_len * block_bytes) {
        let mut values = vec![0_f32; bytes.len() / block_bytes * block_len];
        stored.dequantize(bytes, &mut values);
        if let Some(plus) = plus {
            for value in &mut values {
                *value += plus;
            }
        }
        write(&encode(values, part.format)?)?;
    }
    Ok(())
}

/// Encodes whole blocks of numbers in a format.
fn encode(values: Vec<f32>, format: Format) -> Result<Vec<u8>> {
    let len = values.len();
    let values = Tensor::from_vec(values, len, &Device::Cpu)?;
    Ok(QTensor::quantize(&values, format.ggml())?.data()?.into_owned())
}

/// Returns the metadata of the model itself, or an error if GGUF cannot express it.
fn metadata(config: &Config, dir: &Path, mixture: Mixture) -> Result<Vec<(String, Value)>> {
    let c = config;
    check_expressible(c)?;
    let family = c.architecture.family();
    let place = || {
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
        absolute.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
    };
    let size = |value: usize| Value::U32(u32::try_from(value).unwrap_or(u32::MAX));
    let mut out = vec![
        (names::GENERAL_ARCHITECTURE.to_owned(), family.name().into()),
        ("general.type".to_owned(), "model".into()),
        (names::GENERAL_NAME.to_owned(), Value::String(c.name.clone().unwrap_or_else(place))),
        ("general.file_type".to_owned(), Value::U32(mixture.file_type())),
        ("general.quantization_version".to_owned(), Value::U32(2)),
    ];
    let mut add = |key: &str, value: Value| out.push((family.key(key), value));
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
    // If there is no window, a window that no position reaches does no harm.
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

/// Refuses settings that have no key and differ from what llama.cpp assumes.
fn check_expressible(c: &Config) -> Result<()> {
    let refuse =
        |setting, found: String, expected: String| Err(Error::Inexpressible { setting, found, expected });
    let family = c.architecture.family();
    let scalar = family.query_pre_attn_scalar(c.num_layers(), c.hidden, c.heads, c.head_dim);
    if c.query_pre_attn_scalar != scalar {
        let expected = format!("{scalar} for these sizes");
        return refuse("query_pre_attn_scalar", c.query_pre_attn_scalar.to_string(), expected);
    }
    let period = family.period();
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
        match (cap, family.softcaps()) {
            (None, Some([attention, logits])) => {
                let expected = format!("{attention} and {logits} if there is none");
                return refuse(setting, "null".into(), expected);
            }
            (Some(cap), None) => return refuse(setting, cap.to_string(), "none".into()),
            _ => {}
        }
    }
    let local = family.local_rope_base(c.rope_global.base);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_in_strips_is_the_matrix_as_a_whole() {
        let (rows, width) = (STRIP / 256 + 3, 256);
        let values: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin() - 0.1).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        for format in [Format::F32, Format::BF16, Format::Q8_0, Format::Q4K] {
            let part = Part { name: "matrix".into(), shape: vec![rows, width], format };
            let (mut found, mut pieces) = (Vec::new(), 0);
            let write = |bytes: &[u8]| {
                found.extend_from_slice(bytes);
                pieces += 1;
                Ok(())
            };
            convert(&bytes, Format::F32, &part, None, write).unwrap();
            assert_eq!(pieces, 2);
            assert_eq!(found.len(), part.bytes());
            assert!(found == encode(values.clone(), format).unwrap(), "{}", format.name());
        }
    }
}
