//! A decode step on the CPU: one token of each of several sequences through all layers, all threads together.
//!
//! The same arithmetic as [`Layer`](super::gemma) out of candle's tensors, for models whose matrices lie in
//! [panels](crate::kernels::panels). A layer has four products with a wait after each: queries, keys and values; attention's
//! output; gate and up; down. Between the waits every thread computes what all need (norms, residuals, rounding to 8 bits)
//! for itself, which takes less than handing it over. Attention is divided by sequence and key head.

use super::config::{Config, LayerKind};
use super::kv_cache::{LayerCache, Past};
use super::rope;
use crate::kernels::elementwise::{
    attention_mix, attention_row, attention_scores, gated_gelu_row, rotate_head, scaled_norm_row,
};
use crate::kernels::panels::LANES;
use crate::kernels::team::{Exchange, Member, together};
use crate::kernels::{Int8Row, Panels};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Below this many bytes of weights for a thread, waiting for it costs more than it does.
const MIN_BYTES_PER_THREAD: usize = 512 * 1024;

/// The weights of a model, all in panels.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) layers: Vec<DecoderLayer>,
    /// The last norm's weight.
    pub(super) norm: Vec<f32>,
    pub(super) head: Arc<Panels>,
}

/// The weights of a layer; norms have the 1 in them.
#[derive(Debug)]
pub(super) struct DecoderLayer {
    pub(super) kind: LayerKind,
    pub(super) input_norm: Vec<f32>,
    pub(super) q: Arc<Panels>,
    pub(super) k: Arc<Panels>,
    pub(super) v: Arc<Panels>,
    pub(super) o: Arc<Panels>,
    pub(super) q_norm: Option<Vec<f32>>,
    pub(super) k_norm: Option<Vec<f32>>,
    pub(super) post_attention_norm: Vec<f32>,
    pub(super) pre_mlp_norm: Vec<f32>,
    pub(super) gate: Arc<Panels>,
    pub(super) up: Arc<Panels>,
    pub(super) down: Arc<Panels>,
    pub(super) post_mlp_norm: Vec<f32>,
}

/// One sequence of a step.
pub(super) struct Sequence<'a> {
    /// Position of the token.
    pub(super) position: usize,
    /// What the token sees before itself, a layer each.
    pub(super) past: Vec<Past<'a>>,
}

/// What a step makes.
pub(super) struct Stepped {
    /// `[sequences, vocab]`, before the final soft cap.
    pub(super) logits: Vec<f32>,
    /// Keys and values of the new position, `[layers, sequences, kv_heads, 2, head_dim]`.
    pub(super) kv: Vec<f32>,
}

/// What threads hand each other.
struct Exchanges {
    qkv: Exchange,
    attended: Exchange,
    projected: Exchange,
    middle: Exchange,
}

/// Cosines and sines of a position.
type Table = (Vec<f32>, Vec<f32>);

/// A step while it runs: what does not change, and is the same for all threads.
struct Step<'a> {
    decoder: &'a Decoder,
    config: &'a Config,
    sequences: &'a [Sequence<'a>],
    /// For each sequence those of local and of global layers.
    angles: Vec<[Table; 2]>,
    exchanges: Exchanges,
}

impl Decoder {
    /// Feeds one token to each of `sequences`; `xs` `[sequences, hidden]` is the embedding of the tokens.
    pub(super) fn step(&self, config: &Config, xs: &[f32], sequences: &[Sequence<'_>]) -> Stepped {
        let angles = |sequence: &Sequence<'_>| {
            [config.rope_local, config.rope_global]
                .map(|base| rope::tables(base, config.head_dim, sequence.position, 1))
        };
        let threads = (self.bytes() / MIN_BYTES_PER_THREAD).clamp(1, rayon::current_num_threads());
        let step = Step {
            decoder: self,
            config,
            sequences,
            angles: sequences.iter().map(angles).collect(),
            exchanges: Exchanges {
                qkv: Exchange::new(threads),
                attended: Exchange::new(threads),
                projected: Exchange::new(threads),
                middle: Exchange::new(threads),
            },
        };
        let vocab = self.head.rows();
        let mut logits = vec![0f32; sequences.len() * vocab];
        let kv = {
            let outputs = divide(&mut logits, vocab, threads);
            together(threads, |member| step.run(member, xs.to_vec(), &outputs[member.index()]))
        };
        Stepped { logits, kv: step.in_order(&kv) }
    }

    fn bytes(&self) -> usize {
        let layer = |l: &DecoderLayer| {
            [&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down]
                .iter()
                .map(|panels| panels.bytes())
                .sum::<usize>()
        };
        self.head.bytes() + self.layers.iter().map(layer).sum::<usize>()
    }
}

/// A thread's columns of each row of an output.
type Columns<'a> = Mutex<Vec<&'a mut [f32]>>;

/// Divides the columns of `out` `[rows, width]` among `threads`, whole panels each.
fn divide(out: &mut [f32], width: usize, threads: usize) -> Vec<Columns<'_>> {
    let mut parts: Vec<Vec<&mut [f32]>> = (0..threads).map(|_| Vec::new()).collect();
    for mut row in out.chunks_exact_mut(width) {
        for (index, part) in parts.iter_mut().enumerate() {
            let panels = width / LANES;
            let len = ((index + 1) * panels / threads - index * panels / threads) * LANES;
            let (mine, rest) = row.split_at_mut(len);
            part.push(mine);
            row = rest;
        }
    }
    parts.into_iter().map(Mutex::new).collect()
}

/// A thread's own numbers.
#[derive(Default)]
struct Scratch {
    /// Activations rounded to 8 bits, a row each.
    rounded: Vec<Int8Row>,
    /// What was read from an exchange, `[sequences, width]`.
    gathered: Vec<f32>,
    /// One row.
    row: Vec<f32>,
    /// The outputs of a run of panels.
    sums: [Vec<[f32; LANES]>; 2],
    attention: AttentionScratch,
}

#[derive(Default)]
struct AttentionScratch {
    scores: Vec<f32>,
    part: Vec<f32>,
}

impl Step<'_> {
    /// One thread's share of the step. Returns keys and values of its attention tasks, layer by layer.
    fn run(&self, member: &Member<'_>, mut xs: Vec<f32>, logits: &Columns<'_>) -> Vec<f32> {
        let rows = self.sequences.len();
        let hidden = self.config.hidden;
        let (mut own, mut kv) = (Scratch::default(), Vec::new());
        own.rounded.resize_with(rows, Int8Row::default);
        let Exchanges { qkv, projected, middle, .. } = &self.exchanges;
        for (index, layer) in self.decoder.layers.iter().enumerate() {
            self.round_normed(&xs, &layer.input_norm, &mut own);
            let parts = [&layer.q, &layer.k, &layer.v];
            product(member, &parts, &mut own, qkv);
            member.wait();

            gather(member, qkv, parts.iter().map(|p| p.rows()).sum(), rows, &mut own.gathered);
            self.attend(member, index, layer, &mut own, &mut kv);
            member.wait();

            self.gather_attended(member, &mut own.gathered);
            round(&own.gathered, &mut own.rounded);
            product(member, &[&layer.o], &mut own, projected);
            member.wait();

            gather(member, projected, hidden, rows, &mut own.gathered);
            self.add_normed(&mut xs, &layer.post_attention_norm, &mut own);
            self.round_normed(&xs, &layer.pre_mlp_norm, &mut own);
            gated(member, layer, &mut own, middle);
            member.wait();

            gather(member, middle, layer.gate.rows(), rows, &mut own.gathered);
            round(&own.gathered, &mut own.rounded);
            // Everyone has read attention's output before the wait above.
            product(member, &[&layer.down], &mut own, projected);
            member.wait();

            gather(member, projected, hidden, rows, &mut own.gathered);
            self.add_normed(&mut xs, &layer.post_mlp_norm, &mut own);
        }
        self.round_normed(&xs, &self.decoder.norm, &mut own);
        let head = &self.decoder.head;
        let mut logits = logits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = 0;
        for panels in runs(member.share(head.rows() / LANES)) {
            let sums = &mut own.sums[0];
            sums.resize(panels.len() * rows, [0.0; LANES]);
            head.multiply(panels, &own.rounded, sums);
            for sums in sums.chunks_exact(rows) {
                for (logits, sums) in logits.iter_mut().zip(sums) {
                    logits[at..at + LANES].copy_from_slice(sums);
                }
                at += LANES;
            }
        }
        kv
    }

    /// The norm of each row of `xs`, rounded.
    fn round_normed(&self, xs: &[f32], weight: &[f32], own: &mut Scratch) {
        own.row.resize(weight.len(), 0.0);
        for (x, rounded) in xs.chunks_exact(weight.len()).zip(&mut own.rounded) {
            scaled_norm_row(&mut own.row, x, weight, self.config.rms_eps as f32);
            rounded.set(&own.row);
        }
    }

    /// Adds the norm of what was gathered to the residual stream.
    fn add_normed(&self, xs: &mut [f32], weight: &[f32], own: &mut Scratch) {
        own.row.resize(weight.len(), 0.0);
        let width = weight.len();
        for (x, y) in xs.chunks_exact_mut(width).zip(own.gathered.chunks_exact(width)) {
            scaled_norm_row(&mut own.row, y, weight, self.config.rms_eps as f32);
            for (x, y) in x.iter_mut().zip(&own.row) {
                *x += *y;
            }
        }
    }

    /// Attention of this thread's (sequence, key head) pairs, from gathered queries, keys and values.
    fn attend(
        &self,
        member: &Member<'_>,
        index: usize,
        layer: &DecoderLayer,
        own: &mut Scratch,
        kv: &mut Vec<f32>,
    ) {
        let c = self.config;
        let (dim, group) = (c.head_dim, c.heads / c.kv_heads);
        let width = (c.heads + 2 * c.kv_heads) * dim;
        let global = usize::from(layer.kind == LayerKind::Global);
        let scale = c.query_pre_attn_scalar.powf(-0.5) as f32;
        let tasks = member.share(self.sequences.len() * c.kv_heads);
        self.exchanges.attended.write(member, |out| {
            out.clear();
            out.resize(tasks.len() * group * dim, 0.0);
            for (task, out) in tasks.zip(out.chunks_exact_mut(group * dim)) {
                let (s, head) = (task / c.kv_heads, task % c.kv_heads);
                let row = &mut own.gathered[s * width..(s + 1) * width];
                let (q, rest) = row.split_at_mut(c.heads * dim);
                let (k, v) = rest.split_at_mut(c.kv_heads * dim);
                let q = &mut q[head * group * dim..(head + 1) * group * dim];
                let (k, v) = (&mut k[head * dim..(head + 1) * dim], &v[head * dim..(head + 1) * dim]);
                let (cos, sin) = &self.angles[s][global];
                for q in q.chunks_exact_mut(dim) {
                    self.norm_head(q, layer.q_norm.as_deref(), &mut own.row);
                    rotate_head(q, cos, sin);
                    for q in q {
                        *q *= scale;
                    }
                }
                self.norm_head(k, layer.k_norm.as_deref(), &mut own.row);
                rotate_head(k, cos, sin);
                kv.extend_from_slice(k);
                kv.extend_from_slice(v);
                let past = self.sequences[s].past[index].head(head);
                let softcap = c.attn_softcap.map_or(0.0, |cap| cap as f32);
                attend_head(out, q, past.chain([(&*k, v)]), dim, softcap, &mut own.attention);
            }
        });
    }

    /// The norm that Gemma 3 has on each head.
    fn norm_head(&self, head: &mut [f32], weight: Option<&[f32]>, row: &mut Vec<f32>) {
        if let Some(weight) = weight {
            row.clear();
            row.extend_from_slice(head);
            scaled_norm_row(head, row, weight, self.config.rms_eps as f32);
        }
    }

    /// Attention's output from the order of tasks, which is that of sequences and heads.
    fn gather_attended(&self, member: &Member<'_>, out: &mut Vec<f32>) {
        out.clear();
        let tasks = self.sequences.len() * self.config.kv_heads;
        for (_, part) in self.exchanges.attended.read(member, tasks) {
            out.extend_from_slice(&part);
        }
    }

    /// The threads' keys and values, each layer by layer, as layers, sequences and heads.
    fn in_order(&self, threads: &[Vec<f32>]) -> Vec<f32> {
        let layers = self.decoder.layers.len();
        let mut out = Vec::with_capacity(threads.iter().map(Vec::len).sum());
        for layer in 0..layers {
            for part in threads {
                let len = part.len() / layers;
                out.extend_from_slice(&part[layer * len..(layer + 1) * len]);
            }
        }
        out
    }
}

/// softmax(soft cap(q · kᵀ)) · v for the queries `[group, head_dim]` of a key head, over runs of keys and values.
fn attend_head<'a>(
    out: &mut [f32],
    q: &[f32],
    runs: impl Iterator<Item = (&'a [f32], &'a [f32])> + Clone,
    dim: usize,
    softcap: f32,
    own: &mut AttentionScratch,
) {
    let group = q.len() / dim;
    let positions: usize = runs.clone().map(|(k, _)| k.len() / dim).sum();
    let AttentionScratch { scores, part } = own;
    scores.resize(group * positions, 0.0);
    let places = runs.clone().scan(0, |at, (k, _)| {
        let start = *at;
        *at += k.len() / dim;
        Some(start..*at)
    });
    for ((k, _), place) in runs.clone().zip(places.clone()) {
        part.resize(group * place.len(), 0.0);
        attention_scores(part, q, k, dim, dim);
        if place.is_empty() {
            continue;
        }
        for (scores, part) in scores.chunks_exact_mut(positions).zip(part.chunks_exact(place.len())) {
            scores[place.clone()].copy_from_slice(part);
        }
    }
    for scores in scores.chunks_exact_mut(positions) {
        attention_row(scores, softcap);
    }
    out.fill(0.0);
    for ((_, v), place) in runs.zip(places) {
        part.clear();
        for scores in scores.chunks_exact(positions) {
            part.extend_from_slice(&scores[place.clone()]);
        }
        attention_mix(out, part, v, dim, dim);
    }
}

/// Rounds each row of `xs`.
fn round(xs: &[f32], rounded: &mut [Int8Row]) {
    let width = xs.len() / rounded.len();
    for (x, rounded) in xs.chunks_exact(width).zip(rounded) {
        rounded.set(x);
    }
}

/// This thread's share of the panels of `matrices`, one after the other, times the rounded rows: a panel's
/// outputs for all rows, then the next panel's.
fn product(member: &Member<'_>, matrices: &[&Arc<Panels>], own: &mut Scratch, to: &Exchange) {
    let rows = own.rounded.len();
    let counts = matrices.iter().map(|panels| panels.rows() / LANES);
    let share = member.share(counts.clone().sum());
    to.write(member, |out| {
        out.resize(share.len() * rows * LANES, 0.0);
        let mut rest = out.as_chunks_mut::<LANES>().0;
        let mut first = 0;
        for (panels, count) in matrices.iter().zip(counts) {
            let range = share.start.clamp(first, first + count) - first
                ..share.end.clamp(first, first + count) - first;
            let outs = rest.split_off_mut(..range.len() * rows).unwrap_or_default();
            panels.multiply(range, &own.rounded, outs);
            first += count;
        }
    });
}

/// As [`product`], gelu(gate) · up.
fn gated(member: &Member<'_>, layer: &DecoderLayer, own: &mut Scratch, to: &Exchange) {
    let rows = own.rounded.len();
    let share = member.share(layer.gate.rows() / LANES);
    let [gate, up] = &mut own.sums;
    to.write(member, |out| {
        out.resize(share.len() * rows * LANES, 0.0);
        for (panels, out) in runs(share).zip(out.chunks_mut(RUN * rows * LANES)) {
            gate.resize(panels.len() * rows, [0.0; LANES]);
            up.resize(panels.len() * rows, [0.0; LANES]);
            layer.gate.multiply(panels.clone(), &own.rounded, gate);
            layer.up.multiply(panels, &own.rounded, up);
            gated_gelu_row(out, gate.as_flattened(), up.as_flattened());
        }
    });
}

/// Panels that are multiplied in one go where something is done with the outputs.
const RUN: usize = 16;

/// A share of panels in runs of [`RUN`], the last one shorter.
fn runs(share: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    share.clone().step_by(RUN).map(move |start| start..(start + RUN).min(share.end))
}

/// The outputs of a [`product`] of `width` columns, `[rows, width]`.
fn gather(member: &Member<'_>, from: &Exchange, width: usize, rows: usize, out: &mut Vec<f32>) {
    out.resize(rows * width, 0.0);
    for (share, part) in from.read(member, width / LANES) {
        let at = |panel: usize| -> Range<usize> { panel * LANES..(panel + 1) * LANES };
        for (panel, outputs) in share.zip(part.chunks_exact(rows * LANES)) {
            for (row, outputs) in out.chunks_exact_mut(width).zip(outputs.chunks_exact(LANES)) {
                row[at(panel)].copy_from_slice(outputs);
            }
        }
    }
}

impl LayerCache {
    /// Adds the keys and values of one position; see [`LayerCache::extend`].
    pub(super) fn push(&mut self, position: usize, kv: &[f32], dim: usize) -> super::Result<()> {
        use candle_core::{Device, Tensor};
        let pick = |which: usize| -> super::Result<Tensor> {
            let heads = kv.chunks_exact(2 * dim);
            let count = heads.len();
            let values: Vec<f32> =
                heads.flat_map(|head| head[which * dim..(which + 1) * dim].iter().copied()).collect();
            Ok(Tensor::from_vec(values, (1, count, 1, dim), &Device::Cpu)?)
        };
        self.extend(position, &pick(0)?, &pick(1)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::kernels::Format;
    use crate::model::{Cache, Gemma, LoadOptions, Weights};
    use crate::quantize::random::{Random, Shape};

    /// Sequences of different lengths, across the end of the window's ring, against the same step by candle's operations
    /// (over the same panels). Both round activations to 8 bits, so a last bit of f32 can become a step of 1/127.
    #[test]
    fn equals_the_step_of_candles_operations() {
        let mut config = Shape::Tiny.config();
        config.layers = config.layers.repeat(2);
        for format in [Format::Q8_0, Format::Q4_0, Format::Q4K] {
            let mut file = Vec::new();
            Random::new(&config, format, 7).unwrap().write(&mut file).unwrap();
            let weights = Weights::from_gguf_bytes(file, "random").unwrap();
            // Random weights give small scores; these are large enough for the cap to matter.
            let mut config = config.clone();
            (config.query_pre_attn_scalar, config.attn_softcap) = (0.05, Some(0.5));
            let fast = Gemma::new(config, &weights, LoadOptions::default()).unwrap();
            if fast.decoder.is_none() {
                return; // A processor without the integer kernels.
            }
            let mut slow = fast.clone();
            slow.decoder = None;
            let prompts: Vec<Vec<u32>> = [3u32, 62, 130]
                .iter()
                .map(|len| (0..*len).map(|i| (i * 37 + len) % 2048).collect())
                .collect();
            let start = || -> Vec<Cache> {
                let read = |prompt| {
                    let mut cache = fast.new_cache(1);
                    fast.forward(&[prompt], &mut cache).unwrap();
                    cache
                };
                prompts.iter().map(read).collect()
            };
            let mut caches = [start(), start()];
            let (mut error, mut size) = (0f64, 0f64);
            for step in 0..70u32 {
                let tokens = [step * 29 % 2048, step * 31 % 2048, step * 41 % 2048];
                let [got, want] = [(&fast, 0), (&slow, 1)].map(|(model, i)| {
                    let mut caches: Vec<&mut Cache> = caches[i].iter_mut().collect();
                    let logits = model.step(&tokens, &mut caches).unwrap().capped().unwrap();
                    logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                });
                for (got, want) in got.iter().zip(&want) {
                    error += f64::from(got - want).powi(2);
                    size += f64::from(*want).powi(2);
                }
            }
            let relative = (error / size).sqrt();
            assert!(relative < 0.02, "{}: {relative}", format.name());
        }
    }
}
