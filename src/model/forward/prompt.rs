//! A prompt on the CPU: feeds many positions of one sequence through all layers.
//!
//! The arithmetic is that of [`tensors`](super::tensors), for models whose matrices are in [panels](crate::kernels::panels), in strips
//! of 16 positions. Between two products, every strip goes through all operations between them (norm, residual, attention, rounding)
//! while it is in the CPU's cache.

use super::attend::{self, Packed};
use crate::kernels::gemm::STRIP;
use crate::kernels::loops::{bf16_row, rotate_head, scaled_norm_row};
use crate::kernels::{Activations, Sums};
use crate::model::cache::{LayerCache, Past, Run};
use crate::model::config::Config;
use crate::model::error::{Error, Result};
use crate::model::packed::{PackedLayer, PackedWeights};
use crate::model::rope::{self, Angles};
use half::bf16;
use rayon::prelude::*;
use std::cell::RefCell;

/// Buffers of one thread.
#[derive(Default)]
struct Own {
    /// A strip of a product's output.
    strip: Vec<f32>,
    /// One row.
    row: Vec<f32>,
    /// The queries of a key head.
    queries: Vec<f32>,
    attention: attend::Scratch,
}

thread_local! {
    static OWN: RefCell<Own> = RefCell::default();
}

/// Some positions of a sequence that go through the layers.
struct Prompt<'a> {
    config: &'a Config,
    /// The residual stream, `[positions, hidden]`.
    xs: &'a mut [f32],
    positions: usize,
    /// Input of the next product, and output of the last one.
    activations: Activations,
    sums: Sums,
    /// Queries, `[positions, heads · head_dim]`, scaled.
    queries: Vec<f32>,
    /// Keys and values, `[positions, kv_heads · head_dim]` each.
    keys: Vec<bf16>,
    values: Vec<bf16>,
    packed: Packed,
    /// Results of attention for each key head, `[kv_heads, positions, group · head_dim]`.
    found: Vec<f32>,
}

impl PackedWeights {
    /// Feeds the positions from `start` on of one sequence. Their embeddings `xs`, `[positions, hidden]`, become the output of the last
    /// layer, and each layer's cache keeps them. `activations` says how products round.
    /// # Errors
    /// Returns an error if a cache has another shape, or its [past](LayerCache::past) is not in bf16 on the CPU.
    pub(super) fn read(
        &self,
        config: &Config,
        xs: &mut [f32],
        start: usize,
        caches: &mut [LayerCache],
        activations: Activations,
    ) -> Result<()> {
        let positions = xs.len() / config.hidden;
        let angles = rope::angles(config, start, positions);
        let width = config.kv_heads * config.head_dim;
        let mut prompt = Prompt {
            config,
            xs,
            positions,
            activations,
            sums: Sums::default(),
            queries: vec![0.0; positions * config.heads * config.head_dim],
            keys: vec![bf16::ZERO; positions * width],
            values: vec![bf16::ZERO; positions * width],
            packed: Packed::default(),
            found: Vec::new(),
        };
        for (layer, cache) in self.layers.iter().zip(caches) {
            prompt.norm(&layer.input_norm);
            prompt.sums.product(&[&layer.q, &layer.k, &layer.v], &prompt.activations);
            prompt.rotate(layer, angles.of(layer.rules.kind));
            {
                let past = cache.past(start).ok_or_else(|| Error::Batch {
                    expected: "a cache of one sequence in bf16".into(),
                    found: "another".into(),
                })?;
                prompt.attend(layer, &past);
            }
            cache.push(start, &prompt.keys, &prompt.values, config.kv_heads, config.head_dim)?;
            prompt.sums.product(&[&layer.o], &prompt.activations);
            prompt.add_and_norm(&layer.post_attention_norm, &layer.pre_mlp_norm);
            prompt.sums.gated(&layer.gate, &layer.up, &prompt.activations);
            prompt.round();
            prompt.sums.product(&[&layer.down], &prompt.activations);
            prompt.add(&layer.post_mlp_norm);
        }
        Ok(())
    }
}

impl Prompt<'_> {
    /// Makes the norm of the residual stream the activations of the next product.
    fn norm(&mut self, weight: &[f32]) {
        let (hidden, eps) = (self.config.hidden, self.config.rms_eps as f32);
        self.activations.fill(self.positions, hidden, self.xs, |_, xs, out| {
            for (x, out) in xs.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)) {
                scaled_norm_row(out, x, weight, eps);
            }
        });
    }

    /// Adds the norm of the last product's output to the residual stream.
    fn add(&mut self, weight: &[f32]) {
        let (hidden, eps, sums) = (self.config.hidden, self.config.rms_eps as f32, &self.sums);
        let strips = self.xs.par_chunks_mut(STRIP * hidden).enumerate();
        strips.for_each(|(index, xs)| add_normed(xs, index * STRIP, weight, eps, sums));
    }

    /// Does [`Self::add`] and then [`Self::norm`], in one pass.
    fn add_and_norm(&mut self, weight: &[f32], next: &[f32]) {
        let (hidden, eps, sums) = (self.config.hidden, self.config.rms_eps as f32, &self.sums);
        self.activations.fill(self.positions, hidden, self.xs, |rows, xs, out| {
            add_normed(xs, rows.start, weight, eps, sums);
            for (x, out) in xs.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)) {
                scaled_norm_row(out, x, next, eps);
            }
        });
    }

    /// Makes the last product's output the activations of the next product.
    fn round(&mut self) {
        let sums = &self.sums;
        self.activations.fill(self.positions, sums.width(), self.xs, |rows, _, out| sums.read(rows, out));
    }

    /// Takes queries, keys and values from the last product: normalised, rotated, scaled.
    fn rotate(&mut self, layer: &PackedLayer, angles: &Angles) {
        let c = self.config;
        let (dim, eps) = (c.head_dim, c.rms_eps as f32);
        let (of_q, of_kv) = (c.heads * dim, c.kv_heads * dim);
        let scale = layer.rules.scale_f32();
        let sums = &self.sums;
        let kept = self.keys.par_chunks_mut(STRIP * of_kv).zip(self.values.par_chunks_mut(STRIP * of_kv));
        self.queries.par_chunks_mut(STRIP * of_q).zip(kept).enumerate().for_each(
            |(index, (queries, (keys, values)))| {
                let rows = index * STRIP..index * STRIP + queries.len() / of_q;
                OWN.with_borrow_mut(|own| {
                    own.strip.resize(rows.len() * sums.width(), 0.0);
                    sums.read(rows.clone(), &mut own.strip);
                    let kept = keys.chunks_exact_mut(of_kv).zip(values.chunks_exact_mut(of_kv));
                    let places = rows.zip(queries.chunks_exact_mut(of_q).zip(kept));
                    for ((row, (queries, (keys, values))), numbers) in
                        places.zip(own.strip.chunks_exact_mut(sums.width()))
                    {
                        let (cos, sin) = angles.at(row);
                        let mut place = |head: &mut [f32], norm: Option<&[f32]>| {
                            if let Some(weight) = norm {
                                own.row.clear();
                                own.row.extend_from_slice(head);
                                scaled_norm_row(head, &own.row, weight, eps);
                            }
                            rotate_head(head, cos, sin);
                        };
                        let (q, kv) = numbers.split_at_mut(of_q);
                        let (k, v) = kv.split_at_mut(of_kv);
                        q.chunks_exact_mut(dim).for_each(|head| place(head, layer.q_norm.as_deref()));
                        k.chunks_exact_mut(dim).for_each(|head| place(head, layer.k_norm.as_deref()));
                        for (to, q) in queries.iter_mut().zip(q) {
                            *to = *q * scale;
                        }
                        bf16_row(keys, k);
                        bf16_row(values, v);
                    }
                });
            },
        );
    }

    /// Makes attention's output the activations of the next product.
    fn attend(&mut self, layer: &PackedLayer, past: &Past<'_>) {
        let c = self.config;
        let rules = &layer.rules;
        let (dim, group) = (rules.head_dim, rules.group());
        let (of_q, of_kv) = (c.heads * dim, c.kv_heads * dim);
        let softcap = rules.softcap_f32();
        let (keys, values, queries) = (&self.keys, &self.values, &self.queries);
        // Keys and values of a head: those in the cache, then those of this part up to `end`.
        let runs = |head: usize, end: usize| {
            let place = head * dim..(end - 1) * of_kv + (head + 1) * dim;
            let own = Run { keys: &keys[place.clone()], values: &values[place], stride: of_kv };
            past.head(head).chain([own])
        };
        self.packed.pack(&self.activations, c.kv_heads, dim, |head| runs(head, self.positions));
        let packed = &self.packed;
        let of_head = group * dim;
        self.found.resize(self.positions * of_q, 0.0);
        let strips =
            self.found.par_chunks_mut(self.positions * of_head).enumerate().flat_map(|(head, found)| {
                found
                    .par_chunks_mut(STRIP * of_head)
                    .enumerate()
                    .map(move |(strip, found)| (head, strip * STRIP, found))
            });
        strips.for_each(|(head, start, found)| {
            OWN.with_borrow_mut(|own| {
                let rows = start..start + found.len() / of_head;
                own.queries.clear();
                for row in queries[rows.start * of_q..rows.end * of_q].chunks_exact(of_q) {
                    own.queries.extend_from_slice(&row[head * of_head..(head + 1) * of_head]);
                }
                let seen = |query: usize| rules.seen(past.len() + rows.start + query / group);
                if !packed.attend(head, found, &own.queries, softcap, seen) {
                    let runs = runs(head, rows.end);
                    attend::attend(found, &own.queries, runs, dim, softcap, seen, &mut own.attention);
                }
            });
        });
        let found = &self.found;
        self.activations.fill(self.positions, of_q, self.xs, |rows, _, out| {
            for (row, out) in rows.zip(out.chunks_exact_mut(of_q)) {
                for (head, out) in out.chunks_exact_mut(of_head).enumerate() {
                    let at = (head * self.positions + row) * of_head;
                    out.copy_from_slice(&found[at..at + of_head]);
                }
            }
        });
    }
}

/// Adds the norm of a product's rows from `first` on to the same rows of the residual stream, `xs`.
fn add_normed(xs: &mut [f32], first: usize, weight: &[f32], eps: f32, sums: &Sums) {
    let hidden = weight.len();
    OWN.with_borrow_mut(|own| {
        own.strip.resize(xs.len(), 0.0);
        own.row.resize(hidden, 0.0);
        sums.read(first..first + xs.len() / hidden, &mut own.strip);
        for (x, y) in xs.chunks_exact_mut(hidden).zip(own.strip.chunks_exact(hidden)) {
            scaled_norm_row(&mut own.row, y, weight, eps);
            for (x, y) in x.iter_mut().zip(&own.row) {
                *x += *y;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Format, QuantisedRows};
    use crate::model::random;

    /// Compares prompts in parts of many lengths, over the end of the window's ring and beyond, with the unrounded path. They may
    /// differ by no more than rounding allows. A key too many or too few would differ by ten times that.
    #[test]
    fn equals_the_unrounded_path_but_for_rounding() {
        let mut config = random::config();
        // Random weights give small scores; these are large enough for the cap to matter.
        (config.query_pre_attn_scalar, config.attn_softcap) = (0.05, Some(0.5));
        // Maximum for products in bf16, and for those of a decode step. Measured: 0.010 and 0.021 for Q8_0, 0.007 and 0.0034 for BF16.
        for (format, most) in [(Format::Q8_0, [0.013, 0.025]), (Format::BF16, [0.009, 0.0045])] {
            stays_near_the_unrounded_path(&config, format, most);
        }
    }

    fn stays_near_the_unrounded_path(config: &Config, format: Format, most: [f64; 2]) {
        let model = random::model(config.clone(), format);
        let Some(packed) = &model.packed else { return }; // This processor has no kernels for panels.
        let unrounded = model.unrounded();
        let tokens: Vec<u32> = (0..300).map(|i| i * 37 % 2048).collect();
        let kinds: [fn() -> Activations; 2] =
            [Activations::new, || Activations::Rows(QuantisedRows::default())];
        for kind in kinds {
            let most = most[usize::from(matches!(kind(), Activations::Rows(_)))];
            let (mut cache, mut unrounded_cache) = (model.new_cache(1), unrounded.new_cache(1));
            let mut at = 0;
            for len in [3, 16, 45, 2, 70, 33, 131] {
                let part = &tokens[at..at + len];
                let mut xs = model.embed(part, (1, len)).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                packed.read(config, &mut xs, at, &mut cache.layers, kind()).unwrap();
                cache.len += len;
                at += len;
                let want = unrounded.chunk(&[part], 0..len, Some(&mut unrounded_cache), at - len).unwrap();
                unrounded_cache.len += len;
                let want = want.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let mut got = vec![0.0; xs.len()];
                for (got, xs) in got.chunks_exact_mut(config.hidden).zip(xs.chunks_exact(config.hidden)) {
                    scaled_norm_row(got, xs, &packed.norm, config.rms_eps as f32);
                }
                let of = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
                let off: Vec<f32> = got.iter().zip(&want).map(|(a, b)| a - b).collect();
                let relative = (of(&off) / of(&want)).sqrt();
                assert!(relative < most, "{len} from {}: {relative}", at - len);
            }
        }
    }
}
