//! The loops of attention in vector registers, written once with the operations of the [vectors](crate::kernels::simd).
//!
//! A tile of some keys by one or two queries is computed at a time. Each key is loaded and converted to f32 once for both queries,
//! and their sums do not wait for each other. In plain loops the compiler kept the partial sums of a dot product in pairs, at half
//! of this speed or less. All versions give the same bits as the plain loops.

/// Defines `scores` and `mix` for keys and values of one type.
macro_rules! loops {
    ($features:literal, $element:ty, $load:ident, $scores:ident, $mix:ident, $add_products:ident, $score_tile:ident,
     $mix_tile:ident) => {
        /// Adds the products of 16 numbers of Q queries, which are `dim` apart, and K keys, which are `stride` apart, to their sums.
        ///
        /// # Safety
        /// The processor must have the instructions, and each query and key must have that many numbers.
        #[expect(unsafe_code, reason = "a kernel for one instruction set")]
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $add_products<const Q: usize, const K: usize>(
            sums: &mut [[Floats; Q]; K],
            q: *const f32,
            k: *const $element,
            stride: usize,
            dim: usize,
        ) {
            // SAFETY: reads 16 numbers of each.
            unsafe {
                let mut queries = [zero(); Q];
                for g in 0..Q {
                    queries[g] = singles(q.add(g * dim));
                }
                for t in 0..K {
                    let key = $load(k.add(t * stride));
                    for g in 0..Q {
                        sums[t][g] = fmadd(key, queries[g], sums[t][g]);
                    }
                }
            }
        }

        /// Computes the scores of Q queries, `dim` numbers each, with K keys, which are `stride` apart. The score of query g with
        /// key t goes to `scores[g · positions + t]`.
        ///
        /// # Safety
        /// The processor must have the instructions, `dim` must be a multiple of 16, and each query, key and score must be in its
        /// buffer.
        #[expect(unsafe_code, reason = "a kernel for one instruction set")]
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $score_tile<const Q: usize, const K: usize>(
            scores: *mut f32,
            positions: usize,
            q: *const f32,
            k: *const $element,
            stride: usize,
            dim: usize,
        ) {
            // SAFETY: `i` ends at `dim`, the length of each key and query.
            unsafe {
                // Two registers of partial sums for each, as in the plain loop.
                let (mut low, mut high) = ([[zero(); Q]; K], [[zero(); Q]; K]);
                let mut i = 0;
                while i + 2 * LANES <= dim {
                    $add_products(&mut low, q.add(i), k.add(i), stride, dim);
                    $add_products(&mut high, q.add(i + LANES), k.add(i + LANES), stride, dim);
                    i += 2 * LANES;
                }
                if i < dim {
                    $add_products(&mut low, q.add(i), k.add(i), stride, dim);
                }
                for t in 0..K {
                    for g in 0..Q {
                        *scores.add(g * positions + t) = sum(plus(low[t][g], high[t][g]));
                    }
                }
            }
        }

        /// Adds K values, which are `stride` apart, to Q outputs, `dim` numbers each: value t times `weights[g · positions + t]` to
        /// output g.
        ///
        /// # Safety
        /// The processor must have the instructions, `dim` must be a multiple of 16, and each output, value and weight must be in
        /// its buffer.
        #[expect(unsafe_code, reason = "a kernel for one instruction set")]
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $mix_tile<const Q: usize, const K: usize>(
            out: *mut f32,
            weights: *const f32,
            positions: usize,
            v: *const $element,
            stride: usize,
            dim: usize,
        ) {
            // SAFETY: `i` ends at `dim`, the length of each output and value.
            unsafe {
                let mut factors = [[zero(); K]; Q];
                for g in 0..Q {
                    for t in 0..K {
                        factors[g][t] = splat(*weights.add(g * positions + t));
                    }
                }
                let mut i = 0;
                while i < dim {
                    let mut sums = [zero(); Q];
                    for g in 0..Q {
                        sums[g] = singles(out.add(g * dim + i));
                    }
                    for t in 0..K {
                        let value = $load(v.add(t * stride + i));
                        for g in 0..Q {
                            sums[g] = fmadd(value, factors[g][t], sums[g]);
                        }
                    }
                    for g in 0..Q {
                        store(out.add(g * dim + i), sums[g]);
                    }
                    i += LANES;
                }
            }
        }

        /// Computes [`attention_scores`](crate::kernels::attention::attention_scores); `dim` must be a multiple of 16.
        ///
        /// # Safety
        /// The processor must have the instructions.
        #[expect(unsafe_code, reason = "a kernel for one instruction set")]
        #[target_feature(enable = $features)]
        pub(in super::super) unsafe fn $scores(
            scores: &mut [f32],
            q: &[f32],
            k: &[$element],
            stride: usize,
            dim: usize,
        ) {
            let group = q.len() / dim;
            let positions = scores.len() / group;
            assert!(dim.is_multiple_of(LANES) && q.len() == group * dim && scores.len() == group * positions);
            assert!(positions == 0 || (positions - 1) * stride + dim <= k.len());
            let ahead = Ahead::here();
            for_each_tile(group, positions, SCORES, |g, j, queries, keys| {
                for t in j..j + keys {
                    ahead.ask_row(&k[t * stride..t * stride + dim]);
                }
                let scores = &mut scores[g * positions + j..];
                let (q, k) = (&q[g * dim..], &k[j * stride..]);
                let (scores, q, k) = (scores.as_mut_ptr(), q.as_ptr(), k.as_ptr());
                // SAFETY: a tile ends at the last query and the last key, and both have all the numbers, as asserted above.
                unsafe {
                    match (queries, keys) {
                        (2, 1) => $score_tile::<2, 1>(scores, positions, q, k, stride, dim),
                        (2, _) => $score_tile::<2, { SCORES / 2 }>(scores, positions, q, k, stride, dim),
                        (_, 1) => $score_tile::<1, 1>(scores, positions, q, k, stride, dim),
                        _ => $score_tile::<1, SCORES>(scores, positions, q, k, stride, dim),
                    }
                }
            });
        }

        /// Computes [`attention_mix`](crate::kernels::attention::attention_mix); `dim` must be a multiple of 16.
        ///
        /// # Safety
        /// The processor must have the instructions.
        #[expect(unsafe_code, reason = "a kernel for one instruction set")]
        #[target_feature(enable = $features)]
        pub(in super::super) unsafe fn $mix(
            out: &mut [f32],
            weights: &[f32],
            v: &[$element],
            stride: usize,
            dim: usize,
        ) {
            let group = out.len() / dim;
            let positions = weights.len() / group;
            assert!(dim.is_multiple_of(LANES) && out.len() == group * dim);
            assert!(weights.len() == group * positions);
            assert!(positions == 0 || (positions - 1) * stride + dim <= v.len());
            let ahead = Ahead::here();
            for_each_tile(group, positions, VALUES, |g, j, queries, values| {
                for t in j..j + values {
                    ahead.ask_row(&v[t * stride..t * stride + dim]);
                }
                let out = &mut out[g * dim..];
                let (weights, v) = (&weights[g * positions + j..], &v[j * stride..]);
                let (out, weights, v) = (out.as_mut_ptr(), weights.as_ptr(), v.as_ptr());
                // SAFETY: as for the scores.
                unsafe {
                    match (queries, values) {
                        (2, 1) => $mix_tile::<2, 1>(out, weights, positions, v, stride, dim),
                        (2, _) => $mix_tile::<2, { VALUES / 2 }>(out, weights, positions, v, stride, dim),
                        (_, 1) => $mix_tile::<1, 1>(out, weights, positions, v, stride, dim),
                        _ => $mix_tile::<1, VALUES>(out, weights, positions, v, stride, dim),
                    }
                }
            });
        }
    };
}

/// Calls `tile(first query, first position, queries, positions)` for tiles that cover `group` queries by `positions`. A tile has two
/// queries and half of `most` positions, or one query and `most`; at the end it has one position. All tiles of the same positions
/// come one after the other, while they are in the cache, and positions come in order.
#[inline]
fn for_each_tile(
    group: usize,
    positions: usize,
    most: usize,
    mut tile: impl FnMut(usize, usize, usize, usize),
) {
    let at_once = if group == 1 { most } else { most / 2 };
    let mut j = 0;
    while j < positions {
        let together = if j + at_once <= positions { at_once } else { 1 };
        let mut g = 0;
        while g < group {
            let queries = (group - g).min(2);
            // With an odd number of queries, the last one is alone with half of the positions that it could take.
            if queries == 1 && group > 1 {
                for j in j..j + together {
                    tile(g, j, 1, 1);
                }
            } else {
                tile(g, j, queries, together);
            }
            g += queries;
        }
        j += together;
    }
}

/// Defines the loops for one instruction set. `$scores` and `$values` are the numbers of scores, and of values times outputs, for
/// which its registers have room.
macro_rules! loops_of {
    ($operations:ident, $features:literal, $scores:literal, $values:literal) => {
        pub(super) mod $operations {
            use super::for_each_tile;
            use crate::kernels::panels::LANES;
            use crate::kernels::prefetch::Ahead;
            use crate::kernels::simd::$operations::{
                Floats, bf16s, fmadd, plus, singles, splat, store, sum, zero,
            };
            use half::bf16;

            const SCORES: usize = $scores;
            const VALUES: usize = $values;

            loops! { $features, f32, singles, scores, mix, add_products, score_tile, mix_tile }
            loops! { $features, bf16, bf16s, scores_bf16, mix_bf16, add_products_bf16, score_tile_bf16, mix_tile_bf16 }
        }
    };
}

loops_of! { vnni, "avx512f,avx512bw,avx512vnni", 8, 16 }
loops_of! { avx2, "avx2,fma,f16c", 2, 8 }
