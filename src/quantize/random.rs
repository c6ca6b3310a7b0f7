//! Models with random weights in the shape of published ones, so that comparing speed needs no real weights.
//!
//! Blocks are drawn from a small pool of quantised normal numbers. So a matrix never exists in f32, and making it
//! takes no longer than writing it.

use super::{Error, Mixture, Part, Result, Summary, encode, metadata};
use crate::kernels::Format;
use crate::model::{Architecture, Config, LayerKind};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use wmdetect::gguf::names::{self, token_type, tokenizer_key};
use wmdetect::gguf::{Array, Layout, Value};

/// How many numbers a pool has; a power of two and a multiple of every format's block.
const POOL: usize = 1 << 16;
/// Standard deviation of the matrices, as in newly initialised models.
const STD: f32 = 0.02;

/// Sizes of a published model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 2.6 billion parameters.
    Gemma2_2b,
    /// 9.2 billion parameters.
    Gemma2_9b,
    /// Not a published model: two layers, for a quick look.
    Tiny,
}

impl Shape {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gemma2_2b => "gemma2-2b",
            Self::Gemma2_9b => "gemma2-9b",
            Self::Tiny => "tiny",
        }
    }

    /// Returns the configuration with these sizes. Source: config.json of google/gemma-2-2b and google/gemma-2-9b.
    pub fn config(self) -> Config {
        let (layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, window, max_position) =
            match self {
                Self::Gemma2_2b => (26, 2304, 8, 4, 256, 9216, 256_000, 4096, 8192),
                Self::Gemma2_9b => (42, 3584, 16, 8, 256, 14_336, 256_000, 4096, 8192),
                Self::Tiny => (2, 256, 4, 2, 64, 512, 2048, 64, 512),
            };
        let kind =
            |i: usize| if i.is_multiple_of(2) { LayerKind::Local { window } } else { LayerKind::Global };
        let rope = crate::model::config::RopeBase { base: 10_000.0, factor: 1.0 };
        Config {
            architecture: Architecture::Gemma2,
            name: Some(format!("{} with random weights", self.name())),
            hidden,
            layers: (0..layers).map(kind).collect(),
            heads,
            kv_heads,
            head_dim,
            intermediate,
            vocab,
            query_pre_attn_scalar: head_dim as f64,
            attn_softcap: Some(50.0),
            final_softcap: Some(30.0),
            rms_eps: 1e-6,
            norm_offset: 0.0,
            rope_local: rope,
            rope_global: rope,
            max_position,
            tie: true,
            bos: Some(2),
            eos: vec![1],
        }
    }
}

/// A GGUF file with random weights that is not written yet.
pub struct Random {
    layout: Layout,
    parts: Vec<Part>,
    seed: u64,
}

impl Random {
    /// Prepares a file with matrices as `mixture` says. The vocabulary consists of placeholders, so that llama.cpp
    /// loads the file.
    ///
    /// # Errors
    /// Returns an error if GGUF cannot express the configuration, as [`quantize`](super::quantize) does.
    pub fn new(config: &Config, mixture: impl Into<Mixture>, seed: u64) -> Result<Self> {
        let mixture = mixture.into();
        let mut metadata = metadata(config, Path::new(""), mixture)?;
        metadata.extend(placeholders(config));
        let parts = parts(config, mixture);
        let layout = Layout::new(&metadata, parts.iter().map(Part::plan).collect());
        Ok(Self { layout, parts, seed })
    }

    /// Returns the size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.layout.file_bytes()
    }

    /// Writes the file. The same seed gives the same bytes.
    ///
    /// # Errors
    /// Returns the error of `out`.
    pub fn write(&self, out: &mut impl Write) -> Result<Summary> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut pools = BTreeMap::new();
        let mut writer = self.layout.start(out).map_err(Error::Output)?;
        for part in &self.parts {
            if let [width] = part.shape[..] {
                // Norms multiply by numbers around 1.
                let norm = normal(&mut rng, width).into_iter().flat_map(|x| (1.0 + x).to_le_bytes());
                writer.write(&norm.collect::<Vec<u8>>()).map_err(Error::Output)?;
            } else {
                let pool = match pools.entry(part.format) {
                    std::collections::btree_map::Entry::Occupied(pool) => pool.into_mut(),
                    std::collections::btree_map::Entry::Vacant(place) => {
                        place.insert(Pool::new(part.format, &mut rng)?)
                    }
                };
                let mut row = vec![0; part.bytes() / part.shape[0]];
                for _ in 0..part.shape[0] {
                    pool.fill(&mut row, &mut rng);
                    writer.write(&row).map_err(Error::Output)?;
                }
            }
        }
        writer.finish().map_err(Error::Output)?;
        Ok(Summary::new(&self.layout, self.parts.iter()))
    }
}

/// Pool of blocks to draw from.
struct Pool {
    bytes: Vec<u8>,
    /// Number of bytes that are drawn together: a block, or 32 plain numbers.
    unit: usize,
}

impl Pool {
    fn new(format: Format, rng: &mut ChaCha8Rng) -> Result<Self> {
        let bytes = encode(normal(rng, POOL), format)?;
        let unit = format.block_bytes() * 32usize.div_ceil(format.block_len());
        Ok(Self { bytes, unit })
    }

    fn fill(&self, out: &mut [u8], rng: &mut ChaCha8Rng) {
        let units = self.bytes.len() / self.unit;
        for out in out.chunks_mut(self.unit) {
            let start = rng.next_u32() as usize % units * self.unit;
            out.copy_from_slice(&self.bytes[start..start + out.len()]);
        }
    }
}

/// Draws normal numbers with standard deviation [`STD`] (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    let one = |_| {
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        STD * radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
    };
    (0..count).map(one).collect()
}

/// Returns the tensors of a tied Gemma 2, in the order of llama.cpp's converter.
fn parts(c: &Config, mixture: Mixture) -> Vec<Part> {
    let (hidden, heads, kv) = (c.hidden, c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let vector = |name: String| Part { name, shape: vec![hidden], format: Format::F32 };
    let matrix = |name: String, rows: usize, width: usize| {
        let format = mixture.format(&name, width, c);
        Part { name, shape: vec![rows, width], format }
    };
    let mut parts = vec![matrix(names::EMBEDDING.into(), c.vocab, hidden)];
    for layer in 0..c.num_layers() {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        parts.extend(
            ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"].map(|part| vector(name(part))),
        );
        parts.extend(
            [
                ("attn_q", heads, hidden),
                ("attn_k", kv, hidden),
                ("attn_v", kv, hidden),
                ("attn_output", hidden, heads),
                ("ffn_gate", c.intermediate, hidden),
                ("ffn_up", c.intermediate, hidden),
                ("ffn_down", hidden, c.intermediate),
            ]
            .map(|(part, rows, width)| matrix(name(part), rows, width)),
        );
    }
    parts.push(vector("output_norm.weight".into()));
    parts
}

/// Returns a SentencePiece vocabulary of this size: Gemma's four control tokens, the bytes, and numbered words.
fn placeholders(config: &Config) -> Vec<(String, Value)> {
    let piece = |id: usize| match id {
        0..4 => (["<pad>", "<eos>", "<bos>", "<unk>"][id].to_owned(), token_type::CONTROL),
        4..260 => (format!("<0x{:02X}>", id - 4), token_type::BYTE),
        _ => (format!("▁{id}"), token_type::NORMAL),
    };
    let (tokens, kinds): (Vec<_>, Vec<_>) = (0..config.vocab).map(piece).unzip();
    let scores = (0..config.vocab).map(|id| -(id as f32)).collect();
    [
        ("model", "llama".into()),
        ("tokens", Value::Array(Array::String(tokens))),
        ("scores", Value::Array(Array::F32(scores))),
        ("token_type", Value::Array(Array::I32(kinds))),
        ("bos_token_id", Value::U32(2)),
        ("eos_token_id", Value::U32(1)),
        ("unknown_token_id", Value::U32(3)),
        ("padding_token_id", Value::U32(0)),
    ]
    .map(|(name, value)| (tokenizer_key(name), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Gemma, LoadOptions, Weights};

    #[test]
    fn the_file_is_a_model_of_that_shape() {
        let mut config = Shape::Tiny.config();
        config.rms_eps = f64::from(1e-6f32); // as the file stores it
        for format in [Format::Q4_0, Format::Q8_0, Format::Q4K, Format::F16, Format::F32] {
            let random = Random::new(&config, format, 1).unwrap();
            let mut file = Vec::new();
            let summary = random.write(&mut file).unwrap();
            assert_eq!(summary.bytes, file.len() as u64);
            let weights = Weights::from_gguf_bytes(file, "random").unwrap();
            assert_eq!(weights.config(), &config);
            let mut values = vec![0.0; 512 * 256];
            let matrix = weights.matrix("blk.1.ffn_gate.weight", 512, 256).unwrap();
            assert_eq!(matrix.format(), format);
            matrix.dequantize(0..512, &mut values);
            let square: f32 = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
            assert!((square.sqrt() / STD - 1.0).abs() < 0.05, "{format:?} {}", square.sqrt());
            let model = Gemma::new(config.clone(), &weights, LoadOptions::default()).unwrap();
            let logits = model.forward(&[[2, 5, 300]], &mut model.new_cache(1)).unwrap();
            assert!(logits.to_vec2::<f32>().unwrap()[0].iter().all(|x| x.is_finite()));
        }
    }
}
