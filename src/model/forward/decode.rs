//! A decode step on the CPU: feeds the next tokens of each of several sequences through all layers, on all threads together.
//!
//! A token is a row of the activations. A sequence usually has one token. If it has several, the results are bit-identical to as many
//! single-token steps. Rows meet only in attention, where a row sees the rows before it as the cache will hold them.
//!
//! The arithmetic is that of [`tensors`](super::tensors), for models whose matrices are in [panels](crate::kernels::panels). A layer
//! has four products, each followed by a wait: queries, keys and values; attention's output; gate and up; down. Between the waits,
//! every thread computes what all of them need (norms, residuals, rounding to 8 bits) for itself. That takes less time than passing it
//! on. Attention is divided by row and key head.

use super::attend;
use crate::kernels::loops::{gated_gelu_row, rotate_head, scaled_norm_row};
use crate::kernels::panels::LANES;
use crate::kernels::team::{Exchange, Member, Work, together};
use crate::kernels::{Panels, QuantisedRows};
use crate::model::cache::{Cache, Past, Run};
use crate::model::config::{ByKind, Config};
use crate::model::error::Result;
use crate::model::gemma::Gemma;
use crate::model::logits::RawLogits;
use crate::model::packed::{PackedLayer, PackedWeights};
use crate::model::rope::{self, Angles};
use candle_core::Tensor;
use half::bf16;
use std::sync::Arc;

/// With fewer bytes of weights per thread, waiting for the thread costs more than it saves.
const MIN_BYTES_PER_THREAD: usize = 512 * 1024;

/// One sequence of a step.
pub(super) struct Sequence<'a> {
    /// Position of its first token in the step.
    pub(super) position: usize,
    /// Number of its tokens in the step.
    pub(super) tokens: usize,
    /// What the first token sees before itself, for each layer.
    pub(super) past: Vec<Past<'a>>,
}

/// One token of a step.
#[derive(Clone, Copy)]
struct Row {
    /// Index of its sequence.
    sequence: usize,
    /// Number of the sequence's tokens before it in this step. They are the rows directly before it.
    before: usize,
}

/// Results of a step.
pub(super) struct Stepped {
    /// Logits before the final soft cap, `[rows, vocab]`.
    pub(super) logits: Vec<f32>,
    /// Keys and values of the new positions, `[layers, rows, kv_heads, 2, head_dim]`.
    pub(super) kv: Vec<f32>,
}

/// Buffers through which threads exchange results.
#[derive(Debug)]
struct Exchanges {
    qkv: Exchange,
    attended: Exchange,
    projected: Exchange,
    middle: Exchange,
    logits: Exchange,
}

/// Work of a layer for the threads to take: its products, and the (row, key head) pairs of its attention.
struct LayerWork {
    qkv: Work,
    attention: Work,
    o: Work,
    middle: Work,
    down: Work,
}

/// A running step: what is the same for all threads.
struct Step<'a> {
    weights: &'a PackedWeights,
    config: &'a Config,
    sequences: &'a [Sequence<'a>],
    rows: Vec<Row>,
    /// Angles of the position of each row.
    angles: Vec<ByKind<Angles>>,
    exchanges: Exchanges,
    work: Vec<LayerWork>,
    head: Work,
}

impl Gemma {
    /// Does the same as [`Self::step_of_tensors`](super::tensors), by [`PackedWeights::step`]. Returns `None` if the weights or a
    /// cache are not in the form that this needs.
    pub(super) fn step_of_packed(
        &self,
        xs: &Tensor,
        tokens: &[&[u32]],
        caches: &mut [&mut Cache],
    ) -> Result<Option<RawLogits>> {
        let Some(packed) = &self.packed else { return Ok(None) };
        let stepped = {
            let sequences: Option<Vec<_>> = caches
                .iter()
                .zip(tokens)
                .map(|(cache, tokens)| {
                    let past =
                        cache.layers.iter().map(|layer| layer.past(cache.len)).collect::<Option<_>>()?;
                    Some(Sequence { position: cache.len, tokens: tokens.len(), past })
                })
                .collect();
            let Some(sequences) = sequences else { return Ok(None) };
            packed.step(&self.config, &xs.flatten_all()?.to_vec1()?, &sequences)
        };
        let (kv_heads, dim) = (self.config.kv_heads, self.config.head_dim);
        let rows: usize = tokens.iter().map(|tokens| tokens.len()).sum();
        let places = || (0..tokens.len()).flat_map(|i| (0..tokens[i].len()).map(move |before| (i, before)));
        let layers = 0..self.layers.len();
        let places = layers.flat_map(|layer| places().map(move |place| (layer, place)));
        for (kv, (layer, (sequence, before))) in stepped.kv.chunks_exact(2 * kv_heads * dim).zip(places) {
            let cache = &mut *caches[sequence];
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for head in kv.chunks_exact(2 * dim) {
                let (key, value) = head.split_at(dim);
                keys.extend(key.iter().map(|x| bf16::from_f32(*x)));
                values.extend(value.iter().map(|x| bf16::from_f32(*x)));
            }
            cache.layers[layer].push(cache.len + before, &keys, &values, kv_heads, dim)?;
        }
        for (cache, tokens) in caches.iter_mut().zip(tokens) {
            cache.len += tokens.len();
        }
        let logits = Tensor::from_vec(stepped.logits, (rows, self.config.vocab), &self.device)?;
        Ok(Some(RawLogits::new(logits, &self.config)))
    }
}

impl PackedWeights {
    /// Feeds each of `sequences` its tokens. `xs`, `[rows, hidden]`, are their embeddings, sequence by sequence.
    pub(super) fn step(&self, config: &Config, xs: &[f32], sequences: &[Sequence<'_>]) -> Stepped {
        let of_sequence = |(sequence, of): (usize, &Sequence<'_>)| {
            (0..of.tokens).map(move |before| Row { sequence, before })
        };
        let rows: Vec<Row> = sequences.iter().enumerate().flat_map(of_sequence).collect();
        let count = rows.len();
        let angles = |row: &Row| rope::angles(config, sequences[row.sequence].position + row.before, 1);
        let threads = (self.bytes() / MIN_BYTES_PER_THREAD).clamp(1, rayon::current_num_threads());
        let panels =
            |matrices: &[&Arc<Panels>]| Work::new(matrices.iter().map(|panels| panels.rows() / LANES).sum());
        let work = |l: &PackedLayer| LayerWork {
            qkv: panels(&[&l.q, &l.k, &l.v]),
            attention: Work::new(count * config.kv_heads),
            o: panels(&[&l.o]),
            middle: panels(&[&l.gate]),
            down: panels(&[&l.down]),
        };
        let exchange = || Exchange::new(threads);
        let step = Step {
            weights: self,
            config,
            sequences,
            angles: rows.iter().map(angles).collect(),
            rows,
            exchanges: Exchanges {
                qkv: exchange(),
                attended: exchange(),
                projected: exchange(),
                middle: exchange(),
                logits: exchange(),
            },
            work: self.layers.iter().map(work).collect(),
            head: panels(&[&self.head]),
        };
        let mut kv = together(threads, |member| step.run(member, xs.to_vec()));
        let mut logits = vec![0.0; step.rows.len() * self.head.rows()];
        gather(&step.exchanges.logits, step.rows.len(), &mut logits);
        // All threads have read the same numbers.
        Stepped { logits, kv: kv.swap_remove(0) }
    }
}

/// Buffers of one thread.
#[derive(Default)]
struct Own {
    /// Activations of a product.
    rows: QuantisedRows,
    /// Numbers that were read from an exchange, `[rows, width]`.
    gathered: Vec<f32>,
    /// One row.
    row: Vec<f32>,
    /// A key.
    key: Vec<f32>,
    /// Keys of new positions, followed by their values.
    kept: Vec<bf16>,
    /// Outputs of a run of panels.
    sums: [Vec<[f32; LANES]>; 2],
    attention: attend::Scratch,
}

impl Step<'_> {
    /// Does one thread's part of the step. Returns the keys and values of the new positions, in the layout of [`Stepped::kv`].
    fn run(&self, member: &Member<'_>, mut xs: Vec<f32>) -> Vec<f32> {
        let rows = self.rows.len();
        let c = self.config;
        let (mut own, mut kv) = (Own::default(), Vec::new());
        let Exchanges { qkv, projected, middle, logits, .. } = &self.exchanges;
        for (index, (layer, work)) in self.weights.layers.iter().zip(&self.work).enumerate() {
            self.take_normed(&xs, &layer.input_norm, &mut own);
            product(member, &work.qkv, &[&layer.q, &layer.k, &layer.v], &own.rows, qkv);
            member.wait();

            own.gathered.resize(rows * (c.heads + 2 * c.kv_heads) * c.head_dim, 0.0);
            gather(qkv, rows, &mut own.gathered);
            self.attend(member, &work.attention, index, layer, &mut own);
            member.wait();

            own.rows.write(rows, c.heads * c.head_dim, |out| self.gather_attended(out, &mut kv));
            product(member, &work.o, &[&layer.o], &own.rows, projected);
            member.wait();

            own.gathered.resize(rows * c.hidden, 0.0);
            gather(projected, rows, &mut own.gathered);
            self.add_normed(&mut xs, &layer.post_attention_norm, &mut own);
            self.take_normed(&xs, &layer.pre_mlp_norm, &mut own);
            gated(member, &work.middle, layer, &mut own, middle);
            member.wait();

            own.rows.write(rows, c.intermediate, |out| gather(middle, rows, out));
            // All threads have read attention's output before the wait above.
            product(member, &work.down, &[&layer.down], &own.rows, projected);
            member.wait();

            own.gathered.resize(rows * c.hidden, 0.0);
            gather(projected, rows, &mut own.gathered);
            self.add_normed(&mut xs, &layer.post_mlp_norm, &mut own);
        }
        self.take_normed(&xs, &self.weights.norm, &mut own);
        product(member, &self.head, &[&self.weights.head], &own.rows, logits);
        kv
    }

    /// Makes the norm of each row of `xs` the activations of the next product.
    fn take_normed(&self, xs: &[f32], weight: &[f32], own: &mut Own) {
        let width = weight.len();
        own.rows.write(self.rows.len(), width, |out| {
            for (out, x) in out.chunks_exact_mut(width).zip(xs.chunks_exact(width)) {
                scaled_norm_row(out, x, weight, self.config.rms_eps as f32);
            }
        });
    }

    /// Adds the norm of the gathered rows to the residual stream.
    fn add_normed(&self, xs: &mut [f32], weight: &[f32], own: &mut Own) {
        own.row.resize(weight.len(), 0.0);
        let width = weight.len();
        for (x, y) in xs.chunks_exact_mut(width).zip(own.gathered.chunks_exact(width)) {
            scaled_norm_row(&mut own.row, y, weight, self.config.rms_eps as f32);
            for (x, y) in x.iter_mut().zip(&own.row) {
                *x += *y;
            }
        }
    }

    /// Returns how many numbers a (row, key head) pair has: the results of its query heads, its key and its value.
    fn pair_width(&self) -> usize {
        (self.config.heads / self.config.kv_heads + 2) * self.config.head_dim
    }

    /// Computes attention for (row, key head) pairs, from gathered queries, keys and values.
    fn attend(&self, member: &Member<'_>, work: &Work, index: usize, layer: &PackedLayer, own: &mut Own) {
        let c = self.config;
        let rules = &layer.rules;
        let (dim, group) = (rules.head_dim, rules.group());
        let width = (c.heads + 2 * c.kv_heads) * dim;
        let (scale, softcap) = (rules.scale_f32(), rules.softcap_f32());
        let pair_width = self.pair_width();
        self.exchanges.attended.fill(member, work, pair_width, |pairs, out| {
            for (pair, out) in pairs.zip(out.chunks_exact_mut(pair_width)) {
                let (row, head) = (pair / c.kv_heads, pair % c.kv_heads);
                let Row { sequence, before } = self.rows[row];
                let (found, kv) = out.split_at_mut(group * dim);
                // Keys and values of the sequence's tokens up to this one, as the cache will hold them.
                let first = row - before;
                let of_keys = (before + 1) * dim;
                own.kept.resize(2 * of_keys, bf16::ZERO);
                for (place, row) in (first..=row).enumerate() {
                    let numbers = &own.gathered[row * width + (c.heads + head) * dim..];
                    own.key.clear();
                    own.key.extend_from_slice(&numbers[..dim]);
                    self.norm_head(&mut own.key, layer.k_norm.as_deref(), &mut own.row);
                    let (cos, sin) = self.angles[row].of(rules.kind).at(0);
                    rotate_head(&mut own.key, cos, sin);
                    kv[..dim].copy_from_slice(&own.key);
                    kv[dim..].copy_from_slice(&numbers[c.kv_heads * dim..][..dim]);
                    for (part, start) in [(0, place * dim), (dim, of_keys + place * dim)] {
                        for (kept, x) in own.kept[start..start + dim].iter_mut().zip(&kv[part..part + dim]) {
                            *kept = bf16::from_f32(*x);
                        }
                    }
                }
                let q = &mut own.gathered[row * width + head * group * dim..][..group * dim];
                let (cos, sin) = self.angles[row].of(rules.kind).at(0);
                for q in q.chunks_exact_mut(dim) {
                    self.norm_head(q, layer.q_norm.as_deref(), &mut own.row);
                    rotate_head(q, cos, sin);
                    for q in q {
                        *q *= scale;
                    }
                }
                let past = &self.sequences[sequence].past[index];
                let (keys, values) = own.kept.split_at(of_keys);
                let runs = past.head(head).chain([Run { keys, values, stride: dim }]);
                let seen = past.len() + before + 1;
                let unseen = rules.kind.window().map_or(0, |window| seen.saturating_sub(window));
                attend::attend(found, q, runs, dim, softcap, |_| unseen..seen, &mut own.attention);
            }
        });
    }

    /// Normalises a head if the model does so (Gemma 3).
    fn norm_head(&self, head: &mut [f32], weight: Option<&[f32]>, row: &mut Vec<f32>) {
        if let Some(weight) = weight {
            row.clear();
            row.extend_from_slice(head);
            scaled_norm_row(head, row, weight, self.config.rms_eps as f32);
        }
    }

    /// Writes attention's output, `[rows, heads · head_dim]`, into `out`, and adds keys and values to the end of `kv`.
    fn gather_attended(&self, out: &mut [f32], kv: &mut Vec<f32>) {
        let (width, of_kv) = (self.pair_width(), 2 * self.config.head_dim);
        let pairs = self.rows.len() * self.config.kv_heads;
        let start = kv.len();
        kv.resize(start + pairs * of_kv, 0.0);
        self.exchanges.attended.for_each(width, |pair, numbers| {
            let (found, pushed) = numbers.split_at(width - of_kv);
            out[pair * found.len()..][..found.len()].copy_from_slice(found);
            kv[start + pair * of_kv..][..of_kv].copy_from_slice(pushed);
        });
    }
}

/// Multiplies the panels of `matrices`, one matrix after the other, by the rows. Each panel gives outputs for all rows.
fn product(member: &Member<'_>, work: &Work, matrices: &[&Arc<Panels>], xs: &QuantisedRows, to: &Exchange) {
    to.fill(member, work, xs.rows() * LANES, |run, out| {
        let mut rest = out.as_chunks_mut::<LANES>().0;
        let mut first = 0;
        for panels in matrices {
            let end = first + panels.rows() / LANES;
            let range = run.start.clamp(first, end) - first..run.end.clamp(first, end) - first;
            let outs = rest.split_off_mut(..range.len() * xs.rows()).unwrap_or_default();
            panels.multiply(range, xs, outs);
            first = end;
        }
    });
}

/// Computes gelu(gate) · up in the way [`product`] computes a product.
fn gated(member: &Member<'_>, work: &Work, layer: &PackedLayer, own: &mut Own, to: &Exchange) {
    let rows = own.rows.rows();
    let [gate, up] = &mut own.sums;
    to.fill(member, work, rows * LANES, |run, out| {
        gate.resize(run.len() * rows, [0.0; LANES]);
        up.resize(run.len() * rows, [0.0; LANES]);
        layer.gate.multiply(run.clone(), &own.rows, gate);
        layer.up.multiply(run, &own.rows, up);
        gated_gelu_row(out, gate.as_flattened(), up.as_flattened());
    });
}

/// Collects the outputs of a [`product`] into `[rows, width]`.
fn gather(from: &Exchange, rows: usize, out: &mut [f32]) {
    let width = out.len() / rows;
    from.for_each(rows * LANES, |panel, outputs| {
        // The head has sixteen thousand panels: iterators over the rows would take as long as the copy.
        for row in 0..rows {
            let at = row * width + panel * LANES;
            out[at..at + LANES].copy_from_slice(&outputs[row * LANES..(row + 1) * LANES]);
        }
    });
}

#[cfg(test)]
mod tests {
    use crate::kernels::Format;
    use crate::model::{Cache, random};

    /// Compares sequences of different lengths, across the end of the window's ring, with the same step by candle's operations over
    /// the same panels. Both round activations to 8 bits, so a difference in a last bit of f32 can become a step of 1/127.
    #[test]
    fn equals_the_step_of_candles_operations() {
        for format in [Format::Q8_0, Format::Q4_0, Format::Q4K, Format::BF16] {
            // Random weights give small scores; these are large enough for the cap to matter.
            let mut config = random::config();
            (config.query_pre_attn_scalar, config.attn_softcap) = (0.05, Some(0.5));
            let fast = random::model(config, format);
            if fast.packed.is_none() {
                return; // This processor has no kernels for panels.
            }
            let mut slow = fast.clone();
            slow.packed = None;
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

    /// Runs across the end of the window's ring, with sequences that get one token, and after some tokens were taken back.
    #[test]
    fn several_tokens_are_as_many_steps() {
        for format in [Format::Q8_0, Format::Q4_0, Format::Q4K, Format::BF16, Format::F32] {
            let model = random::model(random::config(), format);
            let start = |len: u32| {
                let prompt: Vec<u32> = (0..len).map(|i| (i * 37 + len) % 2048).collect();
                let mut cache = model.new_cache(1);
                model.forward(&[prompt], &mut cache).unwrap();
                cache
            };
            let numbers = |logits: crate::model::RawLogits| -> Vec<f32> {
                logits.capped().unwrap().flatten_all().unwrap().to_vec1().unwrap()
            };
            let (mut one_by_one, mut together) = ([3, 60, 130].map(start), [3, 60, 130].map(start));
            for (round, counts) in [[1, 4, 9], [5, 1, 1], [2, 6, 3], [9, 9, 9]].into_iter().enumerate() {
                let ids: Vec<Vec<u32>> = counts
                    .iter()
                    .map(|count| (0..*count).map(|i| (i * 29 + round as u32 * 31 + count) % 2048).collect())
                    .collect();
                let mut want = Vec::new();
                for (cache, ids) in one_by_one.iter_mut().zip(&ids) {
                    want.extend(ids.iter().flat_map(|id| numbers(model.step(&[*id], &mut [cache]).unwrap())));
                }
                let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
                let mut caches: Vec<&mut Cache> = together.iter_mut().collect();
                let got = numbers(model.steps(&tokens, &mut caches).unwrap());
                assert!(got == want, "{}, round {round}", format.name());
                for (a, b) in one_by_one.iter_mut().zip(&mut together) {
                    let len = a.len() - usize::from(counts.contains(&9) && a.len() > 60) * 3;
                    assert!(a.truncate(len).unwrap() && b.truncate(len).unwrap());
                }
            }
        }
    }
}
