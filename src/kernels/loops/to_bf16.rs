//! Conversion of rows to bf16.

use crate::kernels::cpu::for_each_target;
use half::bf16;

for_each_target! {
    /// Rounds numbers to the nearest bf16, ties to even; NaN stays NaN.
    pub(crate) fn bf16_row(out: &mut [bf16], xs: &[f32]) {
        for (out, x) in out.iter_mut().zip(xs) {
            let bits = x.to_bits();
            let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
            let quiet = bits >> 16 | 0x40;
            *out = bf16::from_bits(if x.is_nan() { quiet } else { rounded } as u16);
        }
    }
}
