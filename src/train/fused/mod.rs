//! Computes loss and gradients of a Gemma 2 on the CPU with hand-written code.
//!
//! Candle's autograd keeps every intermediate result, copies keys and masks, and adds each gradient to a tensor of zeros.
//! Here the backward pass of each part is one loop over rows besides the matrix products. Attention is recomputed in
//! blocks instead of being kept, and only a few hundred positions have logits at a time. [`crate::model`] is the
//! definition: a test compares the loss and every gradient with candle's autograd through [`crate::model::Gemma`].
//!
//! One call works on one thread; the caller spreads batches over threads.

mod attention;

use super::error::{Error, Result};
use super::objective::{Lesson, Scratch};
use super::parameters::{LayerRanges, Table};
use crate::kernels::gemm::dense::{View, ViewMut, product};
use crate::kernels::loops;
use crate::model::config::{ByKind, LayerRules};
use crate::model::rope::{self, Angles};
use crate::model::{Architecture, Config};
use attention::Attention;

/// Number of positions whose logits are in memory at once.
const HEAD_ROWS: usize = 256;

/// Computes loss and gradients of one model.
#[derive(Debug, Clone)]
pub struct Fused {
    config: Config,
    layers: Vec<LayerRanges>,
    embedding: std::ops::Range<usize>,
    norm: std::ops::Range<usize>,
    rules: Vec<LayerRules>,
    /// Angles of all positions.
    angles: ByKind<Angles>,
}

/// What the forward pass of a layer saves for the backward pass; `n` is the number of rows.
#[derive(Debug, Default, Clone)]
struct Saved {
    /// The residual stream before the layer, `[n, hidden]`.
    xs: Vec<f32>,
    /// Normalised input of attention, `[n, hidden]`.
    normed: Vec<f32>,
    /// Rotated queries and keys, and values, `[n, (heads + 2 · kv_heads) · head_dim]`.
    qkv: Vec<f32>,
    /// Result of attention before its output projection, `[n, heads · head_dim]`.
    mixed: Vec<f32>,
    /// Output of attention, `[n, hidden]`.
    attended: Vec<f32>,
    /// The residual stream after attention, `[n, hidden]`.
    middle: Vec<f32>,
    /// Normalised input of the feed-forward layer, `[n, hidden]`.
    mlp_in: Vec<f32>,
    /// Gate and up projections, `[n, 2 · intermediate]`.
    gate_up: Vec<f32>,
    /// gelu(gate) · up, `[n, intermediate]`.
    gated: Vec<f32>,
    /// Output of the feed-forward layer, `[n, hidden]`.
    mlp_out: Vec<f32>,
    /// 1/rms of the four norms' inputs, `[4, n]`.
    scales: Vec<f32>,
}

/// Memory that passes reuse.
#[derive(Debug, Default)]
pub struct Workspace {
    layers: Vec<Saved>,
    stream: Vec<f32>,
    hidden: Vec<f32>,
    grad: Vec<f32>,
    small: Vec<f32>,
    wide: Vec<f32>,
    qkv: Vec<f32>,
    logits: Vec<f32>,
    scratch: Scratch,
    scales: Vec<f32>,
    attention: attention::Scratch,
}

/// Returns a slice of exactly this length, with arbitrary content.
fn room(vec: &mut Vec<f32>, len: usize) -> &mut [f32] {
    vec.resize(len, 0.0);
    &mut vec[..]
}

impl Fused {
    /// Prepares a model of this configuration, with parameters as in its [`Table`].
    ///
    /// # Errors
    /// Returns [`Error::NotFused`] for anything except a Gemma 2 with a tied head.
    pub fn new(config: &Config) -> Result<Self> {
        config.validate()?;
        if config.architecture != Architecture::Gemma2 {
            return Err(Error::NotFused { found: config.architecture.name().into() });
        }
        if !config.tie || config.norm_offset != 1.0 {
            return Err(Error::NotFused { found: "a separate head, or norms in GGUF's form".into() });
        }
        let table = Table::new(config);
        let range = |name: &str| {
            let missing = || Error::NotFused { found: format!("no {name}") };
            table.get(name).map(|t| t.range.clone()).ok_or_else(missing)
        };
        Ok(Self {
            layers: (0..config.num_layers()).map(|i| table.layer(i)).collect(),
            embedding: range("model.embed_tokens.weight")?,
            norm: range("model.norm.weight")?,
            rules: config.layer_rules().collect(),
            angles: rope::angles(config, 0, config.max_position),
            config: config.clone(),
        })
    }

    /// Returns the sum of −ln p(token | tokens before it) over `rows`, in nats. All tokens of a row except the first are
    /// predicted, so a row has one token more than positions.
    ///
    /// # Errors
    /// Returns the errors of [`Self::learn`].
    pub fn loss(
        &self,
        params: &[f32],
        rows: &[&[u32]],
        grads: Option<(&mut [f32], f32)>,
        work: &mut Workspace,
    ) -> Result<f64> {
        self.learn(params, &Lesson::of_ids(rows), grads, work)
    }

    /// Returns the sum of a lesson's losses, in nats.
    ///
    /// With `grads`, the gradients are increased by the gradient of `factor` times that sum.
    ///
    /// # Errors
    /// Returns an error if rows have different lengths, are longer than the context, or have an id outside the
    /// vocabulary.
    pub fn learn(
        &self,
        params: &[f32],
        lesson: &Lesson,
        grads: Option<(&mut [f32], f32)>,
        work: &mut Workspace,
    ) -> Result<f64> {
        let rows = &lesson.rows();
        let len = self.check(rows)?;
        let n = rows.len() * len;
        self.forward(params, rows, len, work);
        let Some((grads, factor)) = grads else {
            return Ok(self.head(params, lesson, n, None, work));
        };
        let loss = self.head(params, lesson, n, Some((&mut *grads, factor)), work);
        for i in (0..self.layers.len()).rev() {
            self.layer_backward(i, params, grads, rows.len(), len, work);
        }
        // The gradient of the embedding as a table; that of the head is added elsewhere.
        let hidden = self.config.hidden;
        let factor = self.config.embedding_factor();
        let table = &mut grads[self.embedding.clone()];
        let ids = rows.iter().flat_map(|row| &row[..len]);
        for (id, g) in ids.zip(work.grad[..n * hidden].chunks_exact(hidden)) {
            let start = *id as usize * hidden;
            loops::add_scaled(&mut table[start..start + hidden], g, factor);
        }
        Ok(loss)
    }

    /// Returns the number of positions of a row, if the rows fit.
    fn check(&self, rows: &[&[u32]]) -> Result<usize> {
        let (vocab, limit) = (self.config.vocab, self.config.max_position);
        let len = rows.first().map_or(0, |row| row.len()).saturating_sub(1);
        if len == 0 || rows.iter().any(|row| row.len() != len + 1) {
            let found = format!("rows of {:?}", rows.iter().map(|row| row.len()).collect::<Vec<_>>());
            let expected = "rows of one length, at least 2".into();
            return Err(crate::model::Error::Batch { expected, found }.into());
        }
        if len > limit {
            return Err(crate::model::Error::Context { needed: len, limit }.into());
        }
        match rows.iter().flat_map(|row| row.iter()).find(|id| **id as usize >= vocab) {
            Some(&id) => Err(crate::model::Error::Token { id, vocab }.into()),
            None => Ok(len),
        }
    }

    fn attention(&self, i: usize, batch: usize, len: usize) -> Attention<'_> {
        let rules = &self.rules[i];
        Attention { batch, len, rules, angles: self.angles.of(rules.kind) }
    }

    /// Runs the layers. Leaves the residual stream in `work.stream`, and saves what each layer needs.
    fn forward(&self, params: &[f32], rows: &[&[u32]], len: usize, work: &mut Workspace) {
        let c = &self.config;
        let (n, h, f) = (rows.len() * len, c.hidden, c.intermediate);
        let (mixed, wide) = (c.heads * c.head_dim, (c.heads + 2 * c.kv_heads) * c.head_dim);
        let eps = c.rms_eps as f32;
        let factor = c.embedding_factor();
        let table = &params[self.embedding.clone()];
        let stream = room(&mut work.stream, n * h);
        for (id, out) in rows.iter().flat_map(|row| &row[..len]).zip(stream.chunks_exact_mut(h)) {
            let start = *id as usize * h;
            for (o, v) in out.iter_mut().zip(&table[start..start + h]) {
                *o = v * factor;
            }
        }
        work.layers.resize_with(self.layers.len(), Saved::default);
        for (i, (ranges, saved)) in self.layers.iter().zip(&mut work.layers).enumerate() {
            let p = |range: &std::ops::Range<usize>| &params[range.clone()];
            let scales = room(&mut saved.scales, 4 * n);
            let (attention_scales, mlp_scales) = scales.split_at_mut(2 * n);
            let (r1, r2) = attention_scales.split_at_mut(n);
            let (r3, r4) = mlp_scales.split_at_mut(n);
            room(&mut saved.xs, n * h).copy_from_slice(stream);

            let normed = room(&mut saved.normed, n * h);
            norm(normed, stream, p(&ranges.input_norm), eps, r1);
            let qkv = room(&mut saved.qkv, n * wide);
            linear(qkv, normed, p(&ranges.qkv), n, h, wide);
            let out = room(&mut saved.mixed, n * mixed);
            self.attention(i, rows.len(), len).forward(qkv, out, &mut work.attention);
            let attended = room(&mut saved.attended, n * h);
            linear(attended, out, p(&ranges.o), n, mixed, h);
            norm_add(stream, attended, p(&ranges.post_attention_norm), eps, r2);
            room(&mut saved.middle, n * h).copy_from_slice(stream);

            let mlp_in = room(&mut saved.mlp_in, n * h);
            norm(mlp_in, stream, p(&ranges.pre_mlp_norm), eps, r3);
            let gate_up = room(&mut saved.gate_up, n * 2 * f);
            linear(gate_up, mlp_in, p(&ranges.gate_up), n, h, 2 * f);
            let gated = room(&mut saved.gated, n * f);
            for (row, out) in gate_up.chunks_exact(2 * f).zip(gated.chunks_exact_mut(f)) {
                loops::gated_gelu_row(out, &row[..f], &row[f..]);
            }
            let mlp_out = room(&mut saved.mlp_out, n * h);
            linear(mlp_out, gated, p(&ranges.down), n, f, h);
            norm_add(stream, mlp_out, p(&ranges.post_mlp_norm), eps, r4);
        }
    }

    /// Computes the last norm, the head and the loss. With `grads`, sets `work.grad` to the gradient of the residual
    /// stream.
    fn head(
        &self,
        params: &[f32],
        lesson: &Lesson,
        n: usize,
        mut grads: Option<(&mut [f32], f32)>,
        work: &mut Workspace,
    ) -> f64 {
        let c = &self.config;
        let (h, vocab) = (c.hidden, c.vocab);
        let softcap = c.final_softcap.map(|cap| cap as f32);
        let table = &params[self.embedding.clone()];
        let weight = &params[self.norm.clone()];
        let scales = room(&mut work.scales, n);
        let hidden = room(&mut work.hidden, n * h);
        norm(hidden, &work.stream, weight, c.rms_eps as f32, scales);
        let small = room(&mut work.small, n * h);
        let mut loss = 0f64;
        for start in (0..n).step_by(HEAD_ROWS) {
            let m = HEAD_ROWS.min(n - start);
            let part = &hidden[start * h..(start + m) * h];
            let logits = room(&mut work.logits, m * vocab);
            linear(logits, part, table, m, h, vocab);
            let factor = grads.as_ref().map_or(0.0, |(_, factor)| *factor);
            for (row, position) in logits.chunks_exact_mut(vocab).zip(start..) {
                loss += lesson.learn(position, row, &mut work.scratch, softcap, factor);
            }
            if let Some((grads, _)) = &mut grads {
                let out = &mut small[start * h..(start + m) * h];
                linear_grad(
                    Some((out, false)),
                    &mut grads[self.embedding.clone()],
                    logits,
                    part,
                    table,
                    [m, h, vocab],
                );
            }
        }
        if let Some((grads, _)) = grads {
            let out = room(&mut work.grad, n * h);
            norm_grad(out, &mut grads[self.norm.clone()], small, &work.stream, weight, scales, false);
        }
        loss
    }

    /// Turns `work.grad` from the gradient after the layer into the gradient before it.
    fn layer_backward(
        &self,
        i: usize,
        params: &[f32],
        grads: &mut [f32],
        batch: usize,
        len: usize,
        work: &mut Workspace,
    ) {
        let c = &self.config;
        let (n, h, f) = (batch * len, c.hidden, c.intermediate);
        let (mixed, wide) = (c.heads * c.head_dim, (c.heads + 2 * c.kv_heads) * c.head_dim);
        let ranges = &self.layers[i];
        let p = |range: &std::ops::Range<usize>| &params[range.clone()];
        let saved = &mut work.layers[i];
        let (r12, r34) = saved.scales.split_at(2 * n);
        let ((r1, r2), (r3, r4)) = (r12.split_at(n), r34.split_at(n));
        let grad = &mut work.grad[..n * h];
        let small = room(&mut work.small, n * h);

        norm_grad(
            small,
            &mut grads[ranges.post_mlp_norm.clone()],
            grad,
            &saved.mlp_out,
            p(&ranges.post_mlp_norm),
            r4,
            false,
        );
        let gated = room(&mut work.wide, n * f);
        linear_grad(
            Some((&mut *gated, false)),
            &mut grads[ranges.down.clone()],
            small,
            &saved.gated,
            p(&ranges.down),
            [n, f, h],
        );
        for (row, g) in saved.gate_up.chunks_exact_mut(2 * f).zip(gated.chunks_exact(f)) {
            let (gate, up) = row.split_at_mut(f);
            loops::gated_gelu_grad_row(gate, up, g);
        }
        linear_grad(
            Some((&mut *small, false)),
            &mut grads[ranges.gate_up.clone()],
            &saved.gate_up,
            &saved.mlp_in,
            p(&ranges.gate_up),
            [n, h, 2 * f],
        );
        norm_grad(
            grad,
            &mut grads[ranges.pre_mlp_norm.clone()],
            small,
            &saved.middle,
            p(&ranges.pre_mlp_norm),
            r3,
            true,
        );

        norm_grad(
            small,
            &mut grads[ranges.post_attention_norm.clone()],
            grad,
            &saved.attended,
            p(&ranges.post_attention_norm),
            r2,
            false,
        );
        let out = room(&mut work.wide, n * mixed);
        linear_grad(
            Some((&mut *out, false)),
            &mut grads[ranges.o.clone()],
            small,
            &saved.mixed,
            p(&ranges.o),
            [n, mixed, h],
        );
        let qkv = room(&mut work.qkv, n * wide);
        self.attention(i, batch, len).backward(&saved.qkv, out, qkv, &mut work.attention);
        linear_grad(
            Some((&mut *small, false)),
            &mut grads[ranges.qkv.clone()],
            qkv,
            &saved.normed,
            p(&ranges.qkv),
            [n, h, wide],
        );
        norm_grad(
            grad,
            &mut grads[ranges.input_norm.clone()],
            small,
            &saved.xs,
            p(&ranges.input_norm),
            r1,
            true,
        );
    }
}

/// Computes out `[n, outs]` = xs `[n, ins]` · weightᵀ, with weight `[outs, ins]`.
fn linear(out: &mut [f32], xs: &[f32], weight: &[f32], n: usize, ins: usize, outs: usize) {
    product(ViewMut::new(out, n, outs), View::new(xs, n, ins), View::new(weight, outs, ins).t(), 1.0, false);
}

/// Computes the gradients of [`linear`] for `[n, ins, outs]`. That of `xs` is written (or added), that of the weight is
/// added.
fn linear_grad(
    dx: Option<(&mut [f32], bool)>,
    dw: &mut [f32],
    grad: &[f32],
    xs: &[f32],
    weight: &[f32],
    [n, ins, outs]: [usize; 3],
) {
    if let Some((dx, accumulate)) = dx {
        let (g, w) = (View::new(grad, n, outs), View::new(weight, outs, ins));
        product(ViewMut::new(dx, n, ins), g, w, 1.0, accumulate);
    }
    product(ViewMut::new(dw, outs, ins), View::new(grad, n, outs).t(), View::new(xs, n, ins), 1.0, true);
}

fn norm(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32, scales: &mut [f32]) {
    let h = weight.len();
    for ((out, xs), r) in out.chunks_exact_mut(h).zip(xs.chunks_exact(h)).zip(scales) {
        *r = loops::rms_norm_row(out, xs, weight, eps);
    }
}

fn norm_add(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32, scales: &mut [f32]) {
    let h = weight.len();
    for ((out, xs), r) in out.chunks_exact_mut(h).zip(xs.chunks_exact(h)).zip(scales) {
        *r = loops::rms_norm_add_row(out, xs, weight, eps);
    }
}

fn norm_grad(
    dx: &mut [f32],
    dw: &mut [f32],
    grad: &[f32],
    xs: &[f32],
    weight: &[f32],
    scales: &[f32],
    accumulate: bool,
) {
    let h = weight.len();
    let rows = dx.chunks_exact_mut(h).zip(grad.chunks_exact(h)).zip(xs.chunks_exact(h)).zip(scales);
    for (((dx, grad), xs), r) in rows {
        loops::rms_norm_grad_row(dx, dw, grad, xs, weight, *r, accumulate);
    }
}
