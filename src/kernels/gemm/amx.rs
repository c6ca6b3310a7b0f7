//! Products for the many rows of a prompt by AMX, the matrix unit of Xeons since Sapphire Rapids. One instruction multiplies a
//! tile of 16 rows of activations by a tile of 16 rows of weights. Both have 32 inputs in bf16, and the products are added to sums
//! in f32.
//!
//! Weights in bf16 are stored in the unit's layout. Others are converted to bf16 when they are needed, two
//! [panels](crate::kernels::panels) and at most 2,048 inputs at a time, in memory that stays in the second-level cache. The
//! converted weights include their scales, so that sums stay in the unit. As 8-bit integers, sums would have to go through memory
//! for each scale, once in 32 inputs, which takes longer than the multiplication.

use crate::kernels::Format;
use crate::kernels::bf16_tiles::{self as tiles, Bf16Tiles, Line};
use crate::kernels::cpu::has_matrix_unit;
use crate::kernels::panels::{LANES, Panels, Shape, VECTOR};
use crate::kernels::prefetch::Ahead;
use crate::kernels::quantised_rows::BLOCK;
use crate::kernels::simd::for_each_block;
use crate::kernels::simd::vnni::{
    bytes, fives, fmadd, halves, halves2, mul, nibbles, nth_byte, signed, sixes, splat, unsigned,
};
use half::bf16;
use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_permutexvar_epi16, _mm512_set_epi16,
    _mm512_store_si512,
};
use std::cell::RefCell;
use std::ops::Range;

/// Number of tiles whose inputs have weights in bf16 at a time: with the activations of 256 rows they fit the second-level cache.
const STEPS: usize = 64;
/// Number of tiles in the longest group of a format.
const GROUP: usize = 8;
/// Number of lines of a tile, for activations and weights.
const LINES: usize = 16;

/// Input of `ldtilecfg` (Software Developer's Manual, "Intel AMX programming"): the rows of each tile and the bytes of a row.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles of 16 rows of 64 bytes.
static TILES: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Multiplies the rows of the panels `range` by rows of activations, and writes `[panels, 16 · strips, 16]` to `out`.
///
/// # Panics
/// Panics if the processor lacks the unit, the panels do not exist, the rows do not have the matrix's width, or `out` does not
/// have that size.
#[expect(unsafe_code, reason = "configures the matrix unit")]
pub(crate) fn multiply(panels: &Panels, range: Range<usize>, xs: &Bf16Tiles, out: &mut [[f32; LANES]]) {
    thread_local! {
        static WEIGHTS: RefCell<[Vec<Line>; 2]> = RefCell::default();
    }
    let (steps, strips) = (xs.cols() / tiles::COLS, xs.strips());
    let rows = strips * tiles::ROWS;
    assert_eq!(xs.cols(), panels.cols(), "activations of another width");
    assert_eq!(out.len(), range.len() * rows, "an output for each panel and row");
    // As many equal parts as are needed, of whole groups.
    let part = steps.div_ceil(steps.div_ceil(STEPS)).next_multiple_of(GROUP);
    let mut all_parts = |weights: &mut [Vec<Line>; 2]| {
        for weights in weights.iter_mut() {
            weights.resize(weights.len().max(part * LINES), Line::ZERO);
        }
        for first in (0..steps).step_by(part) {
            let part = first..(first + part).min(steps);
            for (pair, out) in range.clone().step_by(2).zip(out.chunks_mut(2 * rows)) {
                let pair = pair..(pair + 2).min(range.end);
                let mut b = [std::ptr::null(); 2];
                for ((panel, weights), b) in pair.clone().zip(weights.iter_mut()).zip(&mut b) {
                    *b = if panels.format() == Format::BF16 {
                        let panel = panels.panels(panel..panel + 1);
                        panel[part.start * LINES * VECTOR..part.end * LINES * VECTOR].as_ptr().cast()
                    } else {
                        // SAFETY: the processor has AVX-512 with VNNI and BF16, as `has_matrix_unit` said.
                        unsafe { unpack(panels, panel, part.clone(), weights) };
                        weights.as_ptr()
                    };
                }
                let mut strip = 0;
                while strip < strips {
                    let a = xs.lines()[(strip * steps + part.start) * LINES..].as_ptr().cast::<bf16>();
                    let c = out[strip * tiles::ROWS..].as_mut_ptr().cast::<f32>();
                    let tile = LINES * tiles::COLS;
                    let product = Product {
                        a: [a, a.wrapping_add(steps * tile)],
                        a_line: tiles::COLS,
                        a_step: tile,
                        b,
                        b_step: LINES,
                        steps: part.len(),
                        c,
                        c_line: LANES,
                        c_strip: tiles::ROWS * LANES,
                        c_panel: rows * LANES,
                        add: part.start > 0,
                    };
                    // SAFETY: the unit is configured. Each strip has `steps` tiles from its start, which include the part. The
                    // weights of each panel of the pair are there for the part. A panel has 16 outputs for each row of a strip.
                    unsafe { product.run(strips - strip, pair.len()) };
                    strip += 2;
                }
            }
        }
    };
    configured(|| WEIGHTS.with_borrow_mut(|weights| all_parts(weights)));
}

/// A product of one or two strips of 16 rows in bf16 and one or two tiles' width of columns, over some inputs. Distances are
/// counted in numbers, those of the columns in lines.
pub(in crate::kernels) struct Product {
    /// The rows of each strip; then the distance from row to row, and from one 32 inputs to the next.
    pub(in crate::kernels) a: [*const bf16; 2],
    pub(in crate::kernels) a_line: usize,
    pub(in crate::kernels) a_step: usize,
    /// The tiles of the columns, 16 lines each; then the distance between them.
    pub(in crate::kernels) b: [*const Line; 2],
    pub(in crate::kernels) b_step: usize,
    /// Number of times 32 inputs.
    pub(in crate::kernels) steps: usize,
    /// Outputs; then the distances from one row, one strip and one tile of columns to the next.
    pub(in crate::kernels) c: *mut f32,
    pub(in crate::kernels) c_line: usize,
    pub(in crate::kernels) c_strip: usize,
    pub(in crate::kernels) c_panel: usize,
    /// Whether to add to the outputs that are there.
    pub(in crate::kernels) add: bool,
}

/// Emits an instruction that moves a tile from or to lines.
macro_rules! tile {
    ($operation:literal, $at:expr, $line:expr) => {
        asm!($operation, at = in(reg) $at, line = in(reg) $line, options(nostack))
    };
}

impl Product {
    /// Computes the product for `strips` and `panels`, which may be more than two; then it takes two.
    ///
    /// # Safety
    /// The unit must be [configured](configured). Strips and columns must have `steps` tiles, and the outputs a place for each of
    /// their tiles.
    #[expect(unsafe_code, reason = "a kernel for one instruction set")]
    pub(in crate::kernels) unsafe fn run(&self, strips: usize, panels: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            match (strips, panels) {
                (1, 1) => self.tiles::<1, 1>(),
                (1, _) => self.tiles::<1, 2>(),
                (_, 1) => self.tiles::<2, 1>(),
                _ => self.tiles::<2, 2>(),
            }
        }
    }

    /// Does the work of [`Self::run`], and has the same conditions.
    #[expect(unsafe_code, reason = "a kernel for one instruction set")]
    #[inline]
    unsafe fn tiles<const STRIPS: usize, const PANELS: usize>(&self) {
        let (c0, c2) = (self.c, self.c.wrapping_add(self.c_strip));
        let (c1, c3) = (c0.wrapping_add(self.c_panel), c2.wrapping_add(self.c_panel));
        let (a_line, c_line) = (self.a_line * size_of::<bf16>(), self.c_line * size_of::<f32>());
        // SAFETY: as the caller promises. No other code uses the unit's registers.
        unsafe {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            if self.add {
                tile!("tileloadd tmm0, [{at} + {line}*1]", c0, c_line);
                if PANELS == 2 {
                    tile!("tileloadd tmm1, [{at} + {line}*1]", c1, c_line);
                }
                if STRIPS == 2 {
                    tile!("tileloadd tmm2, [{at} + {line}*1]", c2, c_line);
                }
                if STRIPS == 2 && PANELS == 2 {
                    tile!("tileloadd tmm3, [{at} + {line}*1]", c3, c_line);
                }
            }
            let ([mut a, mut next_a], [mut b, mut next_b]) = (self.a, self.b);
            let mut step = 0;
            while step < self.steps {
                tile!("tileloadd tmm4, [{at} + {line}*1]", a, a_line);
                tile!("tileloadd tmm6, [{at} + {line}*1]", b, VECTOR);
                asm!("tdpbf16ps tmm0, tmm4, tmm6", options(nostack, nomem));
                if PANELS == 2 {
                    tile!("tileloadd tmm7, [{at} + {line}*1]", next_b, VECTOR);
                    asm!("tdpbf16ps tmm1, tmm4, tmm7", options(nostack, nomem));
                }
                if STRIPS == 2 {
                    tile!("tileloadd tmm5, [{at} + {line}*1]", next_a, a_line);
                    asm!("tdpbf16ps tmm2, tmm5, tmm6", options(nostack, nomem));
                }
                if STRIPS == 2 && PANELS == 2 {
                    asm!("tdpbf16ps tmm3, tmm5, tmm7", options(nostack, nomem));
                }
                (a, next_a) = (a.wrapping_add(self.a_step), next_a.wrapping_add(self.a_step));
                (b, next_b) = (b.wrapping_add(self.b_step), next_b.wrapping_add(self.b_step));
                step += 1;
            }
            tile!("tilestored [{at} + {line}*1], tmm0", c0, c_line);
            if PANELS == 2 {
                tile!("tilestored [{at} + {line}*1], tmm1", c1, c_line);
            }
            if STRIPS == 2 {
                tile!("tilestored [{at} + {line}*1], tmm2", c2, c_line);
            }
            if STRIPS == 2 && PANELS == 2 {
                tile!("tilestored [{at} + {line}*1], tmm3", c3, c_line);
            }
        }
    }
}

/// Calls `work` with the unit configured.
///
/// # Panics
/// Panics if the processor lacks the unit.
#[expect(unsafe_code, reason = "configures the matrix unit")]
pub(in crate::kernels) fn configured(work: impl FnOnce()) {
    assert!(has_matrix_unit(), "no matrix unit");
    // SAFETY: the processor and the system have the unit, as just asserted, and the configuration is valid.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const TILES, options(nostack, readonly)) };
    work();
    // SAFETY: the unit is configured.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Converts weights of a panel to bf16, for the tiles `steps` of 32 inputs. Line i of a tile has inputs 2i and 2i + 1 of each of
/// the 16 rows.
///
/// # Safety
/// The processor must have AVX-512 VNNI and BF16; `to` must have 16 lines a tile.
#[expect(unsafe_code, reason = "a kernel for one instruction set")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512bf16")]
unsafe fn unpack(panels: &Panels, panel: usize, steps: Range<usize>, to: &mut [Line]) {
    let format = panels.format();
    let Some(shape) = Shape::of(format) else { return };
    let of_group = shape.inputs / BLOCK;
    assert!(to.len() >= steps.len() * LINES && steps.end * BLOCK <= panels.cols());
    assert!(steps.start.is_multiple_of(of_group) && steps.end.is_multiple_of(of_group));
    let all = panels.panels(panel..panel + 1);
    let (order, ahead) = (order(), Ahead::here());
    let mut tile = steps.start;
    while tile < steps.end {
        let lines = &mut to[(tile - steps.start) * LINES..][..LINES];
        let (group, block) = (tile / of_group, tile % of_group);
        let group = &all[group * shape.bytes()..(group + 1) * shape.bytes()];
        let (scales, numbers) = group.split_at(shape.scales * VECTOR);
        let (scales, numbers) = (scales.as_ptr(), numbers.as_ptr());
        // SAFETY: reads the vectors of scales and numbers that the format has in a group, and writes the 16 lines.
        unsafe {
            match format {
                Format::F16 => {
                    let mut v = 0;
                    while v < LINES {
                        let [a, b] = halves2(numbers.add(v * VECTOR), ahead);
                        _mm512_store_si512(lines.as_mut_ptr().add(v).cast(), pairs(a, b, order));
                        v += 1;
                    }
                }
                _ => {
                    for_each_block!(
                        format,
                        scales,
                        numbers,
                        block..block + 1,
                        ahead,
                        |first, quads, scale, zero| {
                            write(&mut lines[(first - BLOCK * block) / 2..], &quads, scale, zero, order);
                        }
                    );
                }
            }
        }
        tile += 1;
    }
}

/// Returns the order that interleaves the two halves of a vector's words.
#[target_feature(enable = "avx512f,avx512bw")]
fn order() -> __m512i {
    _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18,
        2, 17, 1, 16, 0,
    )
}

/// Writes quads times a scale for each row, plus the contribution of their zero, two lines for each quad.
///
/// # Safety
/// The processor must have AVX-512 VNNI and BF16.
#[expect(unsafe_code, reason = "a kernel for one instruction set")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512bf16")]
unsafe fn write(lines: &mut [Line], quads: &[__m512i], scale: __m512, zero: __m512, order: __m512i) {
    assert!(lines.len() >= 2 * quads.len());
    let mut q = 0;
    while q < quads.len() {
        let quad = quads[q];
        // SAFETY: computes, and writes two lines of 64 bytes at a multiple of 64, which exist, as asserted.
        unsafe {
            let a = fmadd(nth_byte::<0>(quad), scale, zero);
            let b = fmadd(nth_byte::<8>(quad), scale, zero);
            let c = fmadd(nth_byte::<16>(quad), scale, zero);
            let d = fmadd(nth_byte::<24>(quad), scale, zero);
            let line = lines.as_mut_ptr().add(2 * q).cast::<__m512i>();
            _mm512_store_si512(line, pairs(a, b, order));
            _mm512_store_si512(line.add(1), pairs(c, d, order));
        }
        q += 1;
    }
}

/// Converts a and b to bf16, and interleaves their numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[expect(unsafe_code, reason = "a vector of bf16 is one of words")]
fn pairs(a: __m512, b: __m512, order: __m512i) -> __m512i {
    // SAFETY: both are 64 bytes of any value.
    let words = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a)) };
    _mm512_permutexvar_epi16(order, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::Level;
    use crate::kernels::panels::tests::{FORMATS, matrix};

    /// Runs on every processor that converts to bf16, even if it has no tiles. A weight and its place are right if it is within a
    /// step of bf16 of what is stored.
    #[test]
    #[expect(unsafe_code, reason = "calls a kernel for one instruction set")]
    fn unpacked_weights_are_those_of_the_panel() {
        if !(Level::Vnni.is_available() && std::is_x86_feature_detected!("avx512bf16")) {
            return;
        }
        let cols = 512;
        for format in FORMATS.into_iter().filter(|format| *format != Format::BF16) {
            let matrix = matrix(format, LANES, cols);
            let panels = Panels::new(matrix.bytes(), format, LANES, cols, |_| {}).unwrap();
            let mut weights = vec![0f32; LANES * cols];
            matrix.dequantize(0..LANES, &mut weights);
            // The second half; it begins at a whole group in every format.
            let steps = 8..16;
            let mut lines = vec![Line::ZERO; steps.len() * LINES];
            // SAFETY: the processor has the instructions, as just checked, and there are 16 lines a tile.
            unsafe { unpack(&panels, 0, steps.clone(), &mut lines) };
            for (i, line) in lines.iter().enumerate() {
                for (n, got) in line.0.iter().enumerate() {
                    let want = weights[n / 2 * cols + BLOCK * steps.start + 2 * i + n % 2];
                    let off = (got.to_f32() - want).abs();
                    assert!(off <= want.abs() / 128.0 + 1e-6, "{} line {i} {n}: {got} {want}", format.name());
                }
            }
        }
    }

    /// Compares with weights and activations, each rounded to bf16, in f64.
    #[test]
    fn equals_the_product_in_bf16() {
        if !has_matrix_unit() {
            return;
        }
        let rows = 80;
        for (format, cols) in
            FORMATS.into_iter().flat_map(|format| [(format, 512_usize), (format, 1280), (format, 640)])
        {
            if !cols.is_multiple_of(Shape::of(format).unwrap().inputs) {
                continue;
            }
            let matrix = matrix(format, rows, cols);
            let panels = Panels::new(matrix.bytes(), format, rows, cols, |_| {}).unwrap();
            let mut weights = vec![0f32; rows * cols];
            matrix.dequantize(0..rows, &mut weights);
            for m in [2, 16, 33, 50, 64] {
                let x = |r: usize, i: usize| ((i * (r + 3)) as f32 * 0.37).sin() * 3.0;
                let mut xs = Bf16Tiles::default();
                xs.fill(m, cols, &mut vec![0.0; m], |range, _, numbers| {
                    for (r, row) in range.zip(numbers.chunks_exact_mut(cols)) {
                        row.iter_mut().enumerate().for_each(|(i, v)| *v = x(r, i));
                    }
                });
                let padded = m.next_multiple_of(tiles::ROWS);
                let mut out = vec![[f32::NAN; LANES]; padded * rows / LANES];
                multiply(&panels, 0..rows / LANES, &xs, &mut out);
                let round = |x: f32| f64::from(half::bf16::from_f32(x).to_f32());
                for (r, w) in (0..m).flat_map(|r| (0..rows).map(move |w| (r, w))) {
                    let got = out[w / LANES * padded + r][w % LANES];
                    let row = weights[w * cols..(w + 1) * cols].iter().enumerate();
                    let terms = row.map(|(i, w)| round(*w) * round(x(r, i)));
                    let size: f64 = terms.clone().map(f64::abs).sum();
                    let error = (f64::from(got) - terms.sum::<f64>()).abs() / size;
                    assert!(error < 2e-6, "{} m {m} row {r}: {error}", format.name());
                }
            }
        }
    }
}
