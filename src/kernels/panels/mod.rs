//! Matrices in the order in which the kernels read them.
//!
//! A panel is 16 rows side by side. So one vector register holds the same four inputs of all 16 rows, and their sums need not be added up
//! across lanes. A panel consists of groups of inputs. A group has first the scales of its 16 rows, then the numbers, four inputs at a time
//! (a quad). Byte 4r + j of a 64-byte vector is input j of row r. Numbers are stored without a sign (`zero` is added), because the
//! processor multiplies unsigned by signed bytes. A vector of floats has two inputs.
//!
//! | format | inputs of a group | vectors of scales | vectors of numbers |
//! |---|---|---|---|
//! | `q8_0` | 2 x 32 | 1: f16 of the first 32 inputs, f16 of the second | 16, one a quad; zero is 128 |
//! | `q4_0` | 2 x 32 | 1, as `q8_0` | for each 32 inputs 4: quad v in the low, quad 4 + v in the high nibble; zero is 8 |
//! | `q5_0` | 2 x 32 | 1, as `q8_0` | for each 32 inputs 5: four as `q4_0`, one of fifth bits, one a quad; zero is 16 |
//! | `q4_k` | 8 x 32 | 5: f16 scale, f16 minimum, for each 32 inputs a u8 factor of either | 32, as `q4_0`, no zero |
//! | `q6_k` | 16 x 16 | 5: f16 scale, for each 16 inputs an i8 factor, 32 bytes unused | for each 16 inputs 3: two of nibbles, quad v and quad 2 + v; one of upper bits, 2 a quad; zero is 32 |
//! | `bf16` | 32 | 0 | 16, a pair of inputs of each row in turn, as matrix units take them |
//! | `f16` | 32 | 0 | 16, one input of all rows and then the next, as it is converted |
//!
//! So a product reads one stream of memory from end to end, at the rate at which the processor's prefetcher works. With all scales of a
//! panel before all of its numbers, it had half of that rate. A panel takes as many bytes as its rows did, except for 3 % more in `q4_k`,
//! whose 6-bit factors become bytes, and 1 % more in `q6_k`.

mod formats;

use super::Format;
use memmap2::MmapMut;
use rayon::prelude::*;
use std::ops::Range;

/// Number of rows of a panel: the 32-bit lanes of a vector.
pub const LANES: usize = 16;
/// Number of bytes of a vector.
pub(super) const VECTOR: usize = 64;

/// A matrix in panels.
pub struct Panels {
    memory: Aligned,
    format: Format,
    rows: usize,
    cols: usize,
    panel_bytes: usize,
}

/// Parts of a group of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Number of inputs of a group.
    pub(super) inputs: usize,
    /// Number of vectors of scales of a group.
    pub(super) scales: usize,
    /// Number of vectors of numbers of a group.
    pub(super) numbers: usize,
}

impl Shape {
    /// Returns the shape for a format, or `None` if the format has no panels.
    pub(super) const fn of(format: Format) -> Option<Self> {
        let (inputs, scales, numbers) = match format {
            Format::Q8_0 => (64, 1, 16),
            Format::Q4_0 => (64, 1, 8),
            Format::Q5_0 => (64, 1, 10),
            Format::Q4K => (256, 5, 32),
            Format::Q6K => (256, 5, 48),
            Format::F16 | Format::BF16 => (32, 0, 16),
            _ => return None,
        };
        Some(Self { inputs, scales, numbers })
    }

    /// Returns how many bytes a group has.
    pub(super) const fn bytes(self) -> usize {
        (self.scales + self.numbers) * VECTOR
    }
}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Panels({} x {} of {})", self.rows, self.cols, self.format.name())
    }
}

impl Panels {
    /// Reorders a matrix whose rows follow each other in `bytes`. Returns `None` if the format has no panels, or the shape is not whole
    /// panels. `read` is called with each range of `bytes` that is not needed any more.
    pub fn new(
        bytes: &[u8],
        format: Format,
        rows: usize,
        cols: usize,
        mut read: impl FnMut(Range<usize>),
    ) -> Option<Self> {
        /// Number of bytes that are reordered between two calls of `read`.
        const PART: usize = 16 << 20;
        let shape = Shape::of(format)?;
        let row_bytes = format.bytes_of(cols)?;
        if rows == 0
            || cols == 0
            || !cols.is_multiple_of(shape.inputs)
            || !rows.is_multiple_of(LANES)
            || bytes.len() != rows * row_bytes
        {
            return None;
        }
        let panel_bytes = cols / shape.inputs * shape.bytes();
        let mut memory = Aligned::zeroed(rows / LANES * panel_bytes).ok()?;
        let together = (PART / (LANES * row_bytes)).max(1);
        let mut start = 0;
        for panels in memory.bytes_mut().chunks_mut(together * panel_bytes) {
            let end = start + panels.len() / panel_bytes * LANES * row_bytes;
            panels
                .par_chunks_mut(panel_bytes)
                .zip(bytes[start..end].par_chunks(LANES * row_bytes))
                .for_each(|(panel, rows)| pack(panel, rows, format, shape));
            read(start..end);
            start = end;
        }
        Some(Self { memory, format, rows, cols, panel_bytes })
    }

    /// Returns the storage format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns how many numbers a row has.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns how many bytes a panel has.
    pub fn panel_bytes(&self) -> usize {
        self.panel_bytes
    }

    /// Returns how many bytes all panels have.
    pub fn bytes(&self) -> usize {
        self.memory.len
    }

    /// Returns the groups of some panels.
    pub(super) fn panels(&self, range: Range<usize>) -> &[u8] {
        &self.memory.bytes()[range.start * self.panel_bytes..range.end * self.panel_bytes]
    }

    /// Converts a row to f32, to the same numbers as [`Format::dequantize`] gives for it.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        let lane = row % LANES;
        let Some(shape) = Shape::of(self.format) else { return };
        let groups = self.panels(row / LANES..row / LANES + 1).chunks_exact(shape.bytes());
        for (group, out) in groups.zip(out.chunks_exact_mut(shape.inputs)) {
            let (scales, numbers) = group.split_at(shape.scales * VECTOR);
            formats::unpack(self.format, scales, numbers, lane, out);
        }
    }
}

/// Fills a panel from its rows.
fn pack(panel: &mut [u8], rows: &[u8], format: Format, shape: Shape) {
    let group_bytes = shape.inputs / format.block_len() * format.block_bytes();
    for (lane, row) in rows.chunks_exact(rows.len() / LANES).enumerate() {
        for (group, row) in panel.chunks_exact_mut(shape.bytes()).zip(row.chunks_exact(group_bytes)) {
            let (scales, numbers) = group.split_at_mut(shape.scales * VECTOR);
            formats::pack(format, row, lane, scales, numbers);
        }
    }
}

/// Zeroed bytes at a multiple of 64, on huge pages if the system has them: with pages of 4 KiB the processor's prefetching stops every 4
/// KiB. The system provides pages as they are written, so that a large matrix does not take twice its memory while it is copied.
struct Aligned {
    memory: MmapMut,
    start: usize,
    len: usize,
}

impl Aligned {
    fn zeroed(len: usize) -> std::io::Result<Self> {
        /// Size of a huge page, to a multiple of which the start is aligned. The bytes skipped before it are never touched.
        const HUGE: usize = 2 << 20;
        let skip = if len < HUGE { 0 } else { HUGE };
        let memory = MmapMut::map_anon(len + skip)?;
        let start = memory.as_ptr().addr().next_multiple_of(skip.max(VECTOR)) - memory.as_ptr().addr();
        // This is advice: if it is refused, the pages are small.
        #[cfg(target_os = "linux")]
        let _ = memory.advise_range(memmap2::Advice::HugePage, start, len);
        Ok(Self { memory, start, len })
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::{Bytes, Matrix};
    use half::f16;
    use std::sync::Arc;

    pub(in super::super) const FORMATS: [Format; 7] =
        [Format::Q8_0, Format::Q4_0, Format::Q5_0, Format::Q4K, Format::Q6K, Format::F16, Format::BF16];

    /// Makes blocks of arbitrary bits, except that their f16 scales are finite. Floats are moderate numbers.
    pub(in super::super) fn matrix(format: Format, rows: usize, cols: usize) -> Matrix {
        let mut bytes: Vec<u8> = (0..format.bytes_of(cols).unwrap() * rows)
            .map(|i| ((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8)
            .collect();
        let halves: &[usize] = match format {
            Format::Q4K => &[0, 2],
            Format::Q6K => &[208],
            Format::F16 | Format::BF16 => &[],
            _ => &[0],
        };
        let floats = matches!(format, Format::F16 | Format::BF16);
        for (b, block) in bytes.chunks_exact_mut(format.block_bytes()).enumerate() {
            if floats {
                // An exponent near that of 1, in either format.
                block[1] = block[1] & 0x83 | 0x3C;
            }
            for &at in halves {
                let scale = f16::from_f32(((b % 17) as f32 - 8.0) * 0.01);
                block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
        let len = bytes.len();
        Matrix::new(Bytes::new(Arc::new(bytes), 0..len).unwrap(), format, rows, cols).unwrap()
    }

    /// Compares bit by bit, so that a packed matrix is the same matrix.
    #[test]
    fn a_row_of_a_panel_is_the_row() {
        for format in FORMATS {
            let (rows, cols) = (32, 512);
            let matrix = matrix(format, rows, cols);
            let panels = Panels::new(matrix.bytes(), format, rows, cols, |_| {}).unwrap();
            let (mut want, mut got) = (vec![0f32; cols], vec![0f32; cols]);
            for row in 0..rows {
                matrix.dequantize(row..row + 1, &mut want);
                panels.dequantize_row(row, &mut got);
                assert_eq!(got, want, "{} row {row}", format.name());
            }
            let per_weight =
                panels.panel_bytes() as f64 / matrix.bytes().len() as f64 * (rows / LANES) as f64;
            assert!(per_weight < 1.04, "{}: {per_weight}", format.name());
        }
    }

    #[test]
    fn other_shapes_have_no_panels() {
        let q8 = matrix(Format::Q8_0, 16, 64);
        assert!(Panels::new(q8.bytes(), Format::Q8_0, 16, 64, |_| {}).is_some());
        let half = matrix(Format::Q8_0, 16, 96);
        assert!(Panels::new(half.bytes(), Format::Q8_0, 16, 96, |_| {}).is_none());
        let odd = matrix(Format::Q8_0, 17, 64);
        assert!(Panels::new(odd.bytes(), Format::Q8_0, 17, 64, |_| {}).is_none());
        assert!(Panels::new(&[0; 16 * 4 * 64], Format::F32, 16, 64, |_| {}).is_none());
    }
}
