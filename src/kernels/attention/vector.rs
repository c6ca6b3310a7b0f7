//! The loops of attention in vector registers, written once on the operations of the [vectors](crate::kernels::simd).
//!
//! In plain loops the compiler kept the partial sums of a dot product in pairs, at half of this speed or less. All give the
//! same bits as the plain loops.

/// Defines `scores` and `mix` for keys and values of one type.
macro_rules! loops {
    ($features:literal, $element:ty, $load:ident, $scores:ident, $mix:ident) => {
        /// See [`attention_scores`](crate::kernels::attention::attention_scores); `dim` is a multiple of 16.
        ///
        /// # Safety
        /// The processor has the instructions.
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
            for j in 0..positions {
                let key = &k[j * stride..j * stride + dim];
                prefetch::row_ahead_of(key);
                for g in 0..group {
                    // SAFETY: `i` ends at `dim`, the length of the key and of each query.
                    let score = unsafe {
                        let (key, q) = (key.as_ptr(), q.as_ptr().add(g * dim));
                        // Two registers of partial sums, as one would wait for itself.
                        let (mut low, mut high) = (zero(), zero());
                        let mut i = 0;
                        while i + 2 * LANES <= dim {
                            low = fmadd($load(key.add(i)), singles(q.add(i)), low);
                            high = fmadd($load(key.add(i + LANES)), singles(q.add(i + LANES)), high);
                            i += 2 * LANES;
                        }
                        if i < dim {
                            low = fmadd($load(key.add(i)), singles(q.add(i)), low);
                        }
                        sum(plus(low, high))
                    };
                    scores[g * positions + j] = score;
                }
            }
        }

        /// See [`attention_mix`](crate::kernels::attention::attention_mix); `dim` is a multiple of 16.
        ///
        /// # Safety
        /// The processor has the instructions.
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
            let mut j = 0;
            while j < positions {
                // Values that are added to an output before it is written back.
                let together = if j + TOGETHER <= positions { TOGETHER } else { 1 };
                for t in 0..together {
                    prefetch::row_ahead_of(&v[(j + t) * stride..(j + t) * stride + dim]);
                }
                for g in 0..group {
                    let weights = &weights[g * positions + j..][..together];
                    let out = &mut out[g * dim..(g + 1) * dim];
                    // SAFETY: `i` ends at `dim`, the length of the output and of each value, of which `j + t` is one.
                    unsafe {
                        let (out, value) = (out.as_mut_ptr(), v.as_ptr().add(j * stride));
                        let mut i = 0;
                        while i < dim {
                            let mut sum = singles(out.add(i));
                            let mut t = 0;
                            while t < together {
                                sum = fmadd($load(value.add(t * stride + i)), splat(weights[t]), sum);
                                t += 1;
                            }
                            store(out.add(i), sum);
                            i += LANES;
                        }
                    }
                }
                j += together;
            }
        }
    };
}

/// Defines the loops for one instruction set.
macro_rules! loops_of {
    ($operations:ident, $features:literal) => {
        pub(super) mod $operations {
            use crate::kernels::panels::LANES;
            use crate::kernels::prefetch;
            use crate::kernels::simd::$operations::{bf16s, fmadd, plus, singles, splat, store, sum, zero};
            use half::bf16;

            const TOGETHER: usize = 4;

            loops! { $features, f32, singles, scores, mix }
            loops! { $features, bf16, bf16s, scores_bf16, mix_bf16 }
        }
    };
}

loops_of! { vnni, "avx512f,avx512bw,avx512vnni" }
loops_of! { avx2, "avx2,fma,f16c" }
