//! Attention of many queries by the matrix unit. Keys and values are packed into its tiles once, for all queries of a prompt.

use crate::kernels::bf16_tiles::{self as tiles, Line};
use crate::kernels::gemm::amx::{Product, configured};
use crate::kernels::loops::{attention_row, bf16_row};
use half::bf16;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Number of positions that are packed together: the inputs of one tile of values.
const BLOCK: usize = tiles::COLS;
/// Number of columns of a tile, and of its lines.
const LANES: usize = 16;

/// Keys and values of a head, padded with zeros to whole blocks of 32 positions.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    dim: usize,
    positions: usize,
    /// `[positions / 16, dim / 32, 16]`: line i of a tile has inputs 2i and 2i + 1 of 16 keys.
    keys: Vec<Line>,
    /// `[positions / 32, dim / 16, 16]`: line i of a tile has positions 2i and 2i + 1 of 16 inputs.
    values: Vec<Line>,
}

/// Buffers that calls reuse. Each call overwrites their content.
#[derive(Debug, Default)]
struct Scratch {
    queries: Vec<bf16>,
    scores: Vec<f32>,
    weights: Vec<bf16>,
    found: Vec<f32>,
}

impl Packed {
    /// Returns whether heads of this width have whole tiles.
    pub(crate) fn takes(dim: usize) -> bool {
        dim > 0 && dim.is_multiple_of(BLOCK)
    }

    /// Packs the key and the value of each position, `dim` numbers each, and replaces what was packed before.
    pub(crate) fn pack(&mut self, dim: usize, rows: &[(&[bf16], &[bf16])]) {
        debug_assert!(Self::takes(dim));
        (self.dim, self.positions) = (dim, rows.len());
        let of_block = BLOCK * dim / tiles::COLS;
        let blocks = rows.len().div_ceil(BLOCK);
        self.keys.resize(blocks * of_block, Line::ZERO);
        self.values.resize(blocks * of_block, Line::ZERO);
        let zeros = vec![bf16::ZERO; dim];
        let lines = self.keys.par_chunks_mut(of_block).zip(self.values.par_chunks_mut(of_block));
        lines.zip(rows.par_chunks(BLOCK)).for_each(|((keys, values), rows)| {
            let row = |position: usize| rows.get(position).copied().unwrap_or((&zeros, &zeros));
            for (half, lines) in keys.chunks_exact_mut(of_block / 2).enumerate() {
                for n in 0..LANES {
                    let (key, _) = row(half * LANES + n);
                    for (line, pair) in lines.iter_mut().zip(key.as_chunks::<2>().0) {
                        line.0[2 * n..2 * n + 2].copy_from_slice(pair);
                    }
                }
            }
            for (inputs, lines) in values.chunks_exact_mut(LANES).enumerate() {
                for (i, line) in lines.iter_mut().enumerate() {
                    let ((_, even), (_, odd)) = (row(2 * i), row(2 * i + 1));
                    let inputs = inputs * LANES..(inputs + 1) * LANES;
                    let pairs = even[inputs.clone()].iter().zip(&odd[inputs]);
                    for (to, (even, odd)) in line.0.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
                        *to = [*even, *odd];
                    }
                }
            }
        });
    }

    /// Computes softmax(soft cap(q · kᵀ)) · v for the queries `[queries, dim]`, which are already scaled. Writes the result to `out`, of
    /// the same shape. `seen` says which of the positions a query sees; it must be at least one.
    ///
    /// # Panics
    /// Panics if the processor lacks the unit, or a query sees positions that are not packed.
    pub(crate) fn attend(
        &self,
        out: &mut [f32],
        q: &[f32],
        softcap: Option<f32>,
        seen: impl Fn(usize) -> Range<usize>,
    ) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(|own| self.attend_with(out, q, softcap, seen, own));
    }

    fn attend_with(
        &self,
        out: &mut [f32],
        q: &[f32],
        softcap: Option<f32>,
        seen: impl Fn(usize) -> Range<usize>,
        own: &mut Scratch,
    ) {
        let dim = self.dim;
        let queries = q.len() / dim;
        assert!(q.len() == queries * dim && out.len() == q.len(), "queries and outputs are rows of a head");
        let first = (0..queries).map(|query| seen(query).start).min().unwrap_or(0);
        let end = (0..queries).map(|query| seen(query).end).max().unwrap_or(0);
        assert!(end <= self.positions, "a query sees positions that are not packed");
        // Round to whole blocks.
        let blocks = first / BLOCK..end.div_ceil(BLOCK);
        let (first, positions) = (blocks.start * BLOCK, blocks.len() * BLOCK);
        let strips = queries.div_ceil(tiles::ROWS);
        let padded = strips * tiles::ROWS;
        // The distance between rows is not a power of two, so that they do not compete for the same places in the cache.
        let width = positions + BLOCK;
        let Scratch { queries: q_rows, scores, weights, found } = own;
        q_rows.resize(padded * dim, bf16::ZERO);
        bf16_row(&mut q_rows[..q.len()], q);
        q_rows[q.len()..].fill(bf16::ZERO);
        scores.resize(padded * width, 0.0);
        let steps = dim / tiles::COLS;
        let keys = &self.keys[blocks.start * 2 * steps * LANES..blocks.end * 2 * steps * LANES];
        product(q_rows, dim, steps, keys, [steps * LANES, LANES], positions / LANES, scores, width);

        weights.resize(padded * width, bf16::ZERO);
        for (query, (scores, weights)) in
            scores.chunks_exact_mut(width).zip(weights.chunks_exact_mut(width)).take(queries).enumerate()
        {
            let Range { start, end } = seen(query);
            let (start, end) = (start - first, end - first);
            attention_row(&mut scores[start..end], softcap);
            weights[..start].fill(bf16::ZERO);
            bf16_row(&mut weights[start..end], &scores[start..end]);
            weights[end..].fill(bf16::ZERO);
        }
        weights[queries * width..].fill(bf16::ZERO);

        found.resize(padded * dim, 0.0);
        let of_step = dim / LANES * LANES;
        let values = &self.values[blocks.start * of_step..blocks.end * of_step];
        product(weights, width, blocks.len(), values, [LANES, of_step], dim / LANES, found, dim);
        out.copy_from_slice(&found[..out.len()]);
    }
}

/// Multiplies rows by columns. The rows `a` are `a_line` apart and have `steps` times 32 inputs. The columns `b` are `panels` tiles wide,
/// and their tiles are `[panel, step]` lines apart. The results go to the rows `c`, which are `c_line` apart.
#[expect(clippy::too_many_arguments, reason = "three matrices and where they lie")]
fn product(
    a: &[bf16],
    a_line: usize,
    steps: usize,
    b: &[Line],
    [b_panel, b_step]: [usize; 2],
    panels: usize,
    c: &mut [f32],
    c_line: usize,
) {
    let strips = a.len() / (tiles::ROWS * a_line);
    assert!(
        steps * tiles::COLS <= a_line && panels * LANES <= c_line && c.len() >= strips * tiles::ROWS * c_line
    );
    assert!(panels > 0 && steps > 0);
    assert!((panels - 1) * b_panel + (steps - 1) * b_step + LANES <= b.len());
    configured(|| {
        for panel in (0..panels).step_by(2) {
            let b = b[panel * b_panel..].as_ptr();
            for strip in (0..strips).step_by(2) {
                let rows = strip * tiles::ROWS;
                let a = a[rows * a_line..].as_ptr();
                let product = Product {
                    a: [a, a.wrapping_add(tiles::ROWS * a_line)],
                    a_line,
                    a_step: tiles::COLS,
                    b: [b, b.wrapping_add(b_panel)],
                    b_step,
                    steps,
                    c: c[rows * c_line + panel * LANES..].as_mut_ptr(),
                    c_line,
                    c_strip: tiles::ROWS * c_line,
                    c_panel: LANES,
                    add: false,
                };
                // SAFETY: the unit is configured, and all tiles are inside the three matrices, as asserted.
                #[expect(unsafe_code, reason = "calls a kernel")]
                unsafe {
                    product.run(strips - strip, panels - panel);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::has_matrix_unit;

    /// Compares with f64 on the same bf16 numbers. The first position is not at the start of a block, there is a window, and the queries
    /// do not fill a tile. Only the weights are rounded in between, to 8 bits.
    #[test]
    fn equals_the_definition() {
        if !has_matrix_unit() {
            return;
        }
        let numbers = |n: usize, seed: f32| -> Vec<bf16> {
            (0..n).map(|i| bf16::from_f32(((i as f32 + seed) * 0.713).sin())).collect()
        };
        let cases = [(32, 1, 1, usize::MAX), (64, 40, 17, usize::MAX), (64, 130, 33, 50), (256, 70, 20, 3)];
        for (dim, positions, queries, window) in cases {
            let (keys, values) = (numbers(positions * dim, 1.0), numbers(positions * dim, 2.0));
            let q = numbers(queries * dim, 3.0);
            let rows: Vec<_> = keys.chunks_exact(dim).zip(values.chunks_exact(dim)).collect();
            let mut packed = Packed::default();
            // What was packed before must not remain visible.
            packed.pack(dim, &vec![(&keys[..dim], &values[..dim]); positions + 40]);
            packed.pack(dim, &rows);
            let seen = |query: usize| {
                let end = positions - (queries - 1 - query).min(positions - 1);
                end.saturating_sub(window)..end
            };
            for softcap in [None, Some(2.0)] {
                let floats: Vec<f32> = q.iter().map(|x| x.to_f32()).collect();
                let mut got = vec![f32::NAN; q.len()];
                packed.attend(&mut got, &floats, softcap, seen);
                for (query, got) in got.chunks_exact(dim).enumerate() {
                    let score = |position: usize| {
                        let pairs = q[query * dim..].iter().zip(rows[position].0);
                        let dot: f64 = pairs.map(|(a, b)| a.to_f64() * b.to_f64()).sum();
                        if softcap.is_some() { 2.0 * (dot / 2.0).tanh() } else { dot }
                    };
                    let max = seen(query).map(score).fold(f64::MIN, f64::max);
                    let weights: Vec<f64> =
                        seen(query).map(|position| (score(position) - max).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for (i, got) in got.iter().enumerate() {
                        let terms = seen(query).zip(&weights).map(|(p, w)| w * rows[p].1[i].to_f64());
                        let want = terms.sum::<f64>() / sum;
                        assert!(
                            (f64::from(*got) - want).abs() < 1.0 / 256.0,
                            "{dim} {query} {i}: {got} {want}"
                        );
                    }
                }
            }
        }
    }
}
