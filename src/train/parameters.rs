//! The parameters that are trained: one slice of f32, and a table of the tensors in it.

use crate::model::Config;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// One tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in a Hugging Face checkpoint.
    pub name: String,
    /// Its shape: `[out, in]`, or `[len]` for a norm's weight.
    pub shape: Vec<usize>,
    /// Its range in the slice.
    pub range: Range<usize>,
}

impl Tensor {
    /// Returns whether weight decay applies: it does to matrices, not to the norms' weights.
    pub fn decays(&self) -> bool {
        self.shape.len() > 1
    }
}

/// The tensors of a model, in the order of the slice.
///
/// q, k and v of a layer are adjacent, and so are gate and up: each group can be used as one matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    tensors: Vec<Tensor>,
    len: usize,
}

/// Ranges of the tensors of a layer, in order.
#[derive(Debug, Clone)]
pub(super) struct LayerRanges {
    pub(super) input_norm: Range<usize>,
    /// q, k and v: `[(heads + 2 · kv_heads) · head_dim, hidden]`.
    pub(super) qkv: Range<usize>,
    pub(super) o: Range<usize>,
    pub(super) post_attention_norm: Range<usize>,
    pub(super) pre_mlp_norm: Range<usize>,
    /// gate and up: `[2 · intermediate, hidden]`.
    pub(super) gate_up: Range<usize>,
    pub(super) down: Range<usize>,
    pub(super) post_mlp_norm: Range<usize>,
}

impl Table {
    /// Returns the table for a model of this configuration.
    pub fn new(config: &Config) -> Self {
        let mut table = Self { tensors: Vec::new(), len: 0 };
        for (name, shape) in config.tensors() {
            table.push(name, shape);
        }
        table
    }

    fn push(&mut self, name: String, shape: Vec<usize>) {
        let end = self.len + shape.iter().product::<usize>();
        self.tensors.push(Tensor { name, shape, range: self.len..end });
        self.len = end;
    }

    /// Returns the tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no parameters, which is never so.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns a tensor by its name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// Returns the ranges of the tensors of a layer of a Gemma 2.
    pub(super) fn layer(&self, i: usize) -> LayerRanges {
        // The embedding comes first, then eleven tensors for each layer.
        let t = |k: usize| self.tensors[1 + 11 * i + k].range.clone();
        LayerRanges {
            input_norm: t(0),
            qkv: t(1).start..t(3).end,
            o: t(4),
            post_attention_norm: t(5),
            pre_mlp_norm: t(6),
            gate_up: t(7).start..t(8).end,
            down: t(9),
            post_mlp_norm: t(10),
        }
    }

    /// Draws initial parameters. Matrices are normal with standard deviation `std`; those that write into the residual
    /// stream (o and down) have std / √(2 · layers). Weights of norms are 0, that is, a factor of 1.
    pub fn init(&self, config: &Config, std: f32, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let residual = std / (2.0 * config.num_layers() as f32).sqrt();
        let mut out = Vec::with_capacity(self.len);
        for tensor in &self.tensors {
            let into_stream =
                tensor.name.ends_with("o_proj.weight") || tensor.name.ends_with("down_proj.weight");
            let std = if into_stream { residual } else { std };
            let len = tensor.range.len();
            if tensor.decays() {
                out.extend((0..len).map(|_| std * normal(&mut rng)));
            } else {
                out.resize(out.len() + len, 0.0);
            }
        }
        out
    }
}

/// Draws a standard normal number with Box and Muller's method.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    use rand::Rng;
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}
