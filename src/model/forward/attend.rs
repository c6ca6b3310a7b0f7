//! Computes attention of some queries over keys and values in bf16. A decode step reads them in place. A prompt, on a processor
//! with a matrix unit, uses the unit's tiles.

use crate::kernels::Activations;
#[cfg(target_arch = "x86_64")]
use crate::kernels::attention::amx;
use crate::kernels::attention::{attention_mix_bf16, attention_scores_bf16};
use crate::kernels::loops::attention_row;
use crate::model::cache::Run;
use std::ops::Range;

/// Buffers that calls reuse. Each call overwrites their content.
#[derive(Default)]
pub(super) struct Scratch {
    scores: Vec<f32>,
    part: Vec<f32>,
}

/// Computes softmax(soft cap(q · kᵀ)) · v for the queries `[queries, dim]` of a key head, which are already scaled. Writes the
/// result to `out`, of the same shape. `seen` says which positions a query sees, counted through the runs; their starts do not
/// decrease from query to query.
pub(super) fn attend<'a>(
    out: &mut [f32],
    q: &[f32],
    runs: impl Iterator<Item = Run<'a>> + Clone,
    dim: usize,
    softcap: Option<f32>,
    seen: impl Fn(usize) -> Range<usize>,
    own: &mut Scratch,
) {
    let queries = q.len() / dim;
    let Scratch { scores, part } = own;
    // Positions that no query sees are not read.
    let first = (0..queries).map(|query| seen(query).start).min().unwrap_or(0);
    let runs = runs.scan(first, |skip, run| {
        let skipped = (*skip).min(run.len(dim));
        *skip -= skipped;
        Some(run.skip(skipped))
    });
    let places = runs.clone().scan(0, |at, run| {
        let start = *at;
        *at += run.len(dim);
        Some(start..*at)
    });
    let positions = places.clone().last().map_or(0, |place| place.end);
    scores.resize(queries * positions, 0.0);
    for (run, place) in runs.clone().zip(places.clone()) {
        if place.is_empty() {
            continue;
        }
        part.resize(queries * place.len(), 0.0);
        attention_scores_bf16(part, q, run.keys, run.stride, dim);
        for (scores, part) in scores.chunks_exact_mut(positions).zip(part.chunks_exact(place.len())) {
            scores[place.clone()].copy_from_slice(part);
        }
    }
    for (query, scores) in scores.chunks_exact_mut(positions).enumerate() {
        let Range { start, end } = seen(query);
        let (start, end) = (start - first, end - first);
        scores[..start].fill(0.0);
        scores[end..].fill(0.0);
        attention_row(&mut scores[start..end], softcap);
    }
    out.fill(0.0);
    for (run, place) in runs.zip(places) {
        part.clear();
        for scores in scores.chunks_exact(positions) {
            part.extend_from_slice(&scores[place.clone()]);
        }
        attention_mix_bf16(out, part, run.values, run.stride, dim);
    }
}

/// Keys and values of a layer in tiles, one entry per head; empty where the processor has no matrix unit.
#[derive(Default)]
pub(super) struct Packed {
    #[cfg(target_arch = "x86_64")]
    heads: Vec<amx::Packed>,
}

impl Packed {
    /// Packs the keys and values of each head, if products are computed in tiles and the unit can take heads of this width.
    pub(super) fn pack<'a, I: Iterator<Item = Run<'a>>>(
        &mut self,
        activations: &Activations,
        heads: usize,
        dim: usize,
        runs: impl Fn(usize) -> I,
    ) {
        #[cfg(target_arch = "x86_64")]
        if matches!(activations, Activations::Tiles(_)) && amx::Packed::takes(dim) {
            self.heads.resize_with(heads, amx::Packed::default);
            for (head, packed) in self.heads.iter_mut().enumerate() {
                let rows: Vec<_> = runs(head).flat_map(|run| run.rows(dim)).collect();
                packed.pack(dim, &rows);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (activations, heads, dim, runs);
    }

    /// Does the same as [`attend`] over everything that was packed of a head. Returns false if nothing was packed.
    pub(super) fn attend(
        &self,
        head: usize,
        out: &mut [f32],
        q: &[f32],
        softcap: Option<f32>,
        seen: impl Fn(usize) -> Range<usize>,
    ) -> bool {
        #[cfg(target_arch = "x86_64")]
        if let Some(packed) = self.heads.get(head) {
            packed.attend(out, q, softcap, seen);
            return true;
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (head, out, q, softcap, seen);
        false
    }
}
