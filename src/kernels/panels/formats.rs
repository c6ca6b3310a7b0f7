//! Places of a row's numbers in the groups of its panel: one module for each format.

use super::{Format, LANES, VECTOR};
use half::f16;

/// Writes a group of row `lane`, whose bytes in the file are `row`, to the vectors of scales and numbers of a group.
pub(super) fn pack(format: Format, row: &[u8], lane: usize, scales: &mut [u8], numbers: &mut [u8]) {
    match format {
        Format::Q8_0 => q8_0::pack(row, lane, scales, numbers),
        Format::Q4_0 => q4_0::pack(row, lane, scales, numbers),
        Format::Q5_0 => q5_0::pack(row, lane, scales, numbers),
        Format::Q4K => q4_k::pack(row, lane, scales, numbers),
        Format::F16 | Format::BF16 => floats::pack(row, format, lane, numbers),
        _ => q6_k::pack(row, lane, scales, numbers),
    }
}

/// Reads a group of row `lane` from its vectors.
pub(super) fn unpack(format: Format, scales: &[u8], numbers: &[u8], lane: usize, out: &mut [f32]) {
    match format {
        Format::Q8_0 => q8_0::unpack(scales, numbers, lane, out),
        Format::Q4_0 => q4_0::unpack(scales, numbers, lane, out),
        Format::Q5_0 => q5_0::unpack(scales, numbers, lane, out),
        Format::Q4K => q4_k::unpack(scales, numbers, lane, out),
        Format::F16 | Format::BF16 => floats::unpack(numbers, format, lane, out),
        _ => q6_k::unpack(scales, numbers, lane, out),
    }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Returns the place of an input of row `lane` in its vector.
fn quad_byte(lane: usize, input: usize) -> usize {
    4 * lane + input % 4
}

mod floats {
    use super::{Format, VECTOR};

    /// Returns the first byte of input `i` of a group.
    fn place(format: Format, lane: usize, i: usize) -> usize {
        let (vector, second) = (i / 2 * VECTOR, i % 2);
        vector + if format == Format::F16 { second * VECTOR / 2 + 2 * lane } else { 4 * lane + 2 * second }
    }

    pub(super) fn pack(row: &[u8], format: Format, lane: usize, numbers: &mut [u8]) {
        for (i, number) in row.as_chunks::<2>().0.iter().enumerate() {
            let at = place(format, lane, i);
            numbers[at..at + 2].copy_from_slice(number);
        }
    }

    pub(super) fn unpack(numbers: &[u8], format: Format, lane: usize, out: &mut [f32]) {
        for (i, out) in out.iter_mut().enumerate() {
            let at = place(format, lane, i);
            format.dequantize(&numbers[at..at + 2], std::slice::from_mut(out));
        }
    }
}

mod q8_0 {
    use super::{LANES, VECTOR, half_at, quad_byte};

    /// A block of the file: f16 scale, 32 signed bytes.
    const BLOCK: usize = 34;

    pub(super) fn pack(row: &[u8], lane: usize, scales: &mut [u8], numbers: &mut [u8]) {
        for (b, block) in row.chunks_exact(BLOCK).enumerate() {
            let at = (b * LANES + lane) * 2;
            scales[at..at + 2].copy_from_slice(&block[..2]);
            let numbers = &mut numbers[b * 8 * VECTOR..][..8 * VECTOR];
            for (i, &q) in block[2..].iter().enumerate() {
                numbers[i / 4 * VECTOR + quad_byte(lane, i)] = q ^ 128;
            }
        }
    }

    pub(super) fn unpack(scales: &[u8], numbers: &[u8], lane: usize, out: &mut [f32]) {
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let d = half_at(scales, (b * LANES + lane) * 2);
            let numbers = &numbers[b * 8 * VECTOR..];
            for (i, o) in out.iter_mut().enumerate() {
                let q = (numbers[i / 4 * VECTOR + quad_byte(lane, i)] ^ 128) as i8;
                *o = f32::from(q) * d;
            }
        }
    }
}

/// Returns the byte and the shift of input i among the nibbles of 32 inputs in 4 vectors. It is in the low half of its
/// byte for i < 16, else in the high half.
fn nibble(lane: usize, i: usize) -> (usize, u32) {
    (i % 16 / 4 * VECTOR + quad_byte(lane, i), if i < 16 { 0 } else { 4 })
}

mod q4_0 {
    use super::{LANES, VECTOR, half_at, nibble};

    /// A block of the file: f16 scale, 16 bytes with input i in the low half of byte i and input 16 + i in the high one.
    const BLOCK: usize = 18;

    pub(super) fn pack(row: &[u8], lane: usize, scales: &mut [u8], numbers: &mut [u8]) {
        for (b, block) in row.chunks_exact(BLOCK).enumerate() {
            let at = (b * LANES + lane) * 2;
            scales[at..at + 2].copy_from_slice(&block[..2]);
            let numbers = &mut numbers[b * 4 * VECTOR..][..4 * VECTOR];
            for (i, &q) in block[2..].iter().enumerate() {
                numbers[nibble(lane, i).0] = q;
            }
        }
    }

    pub(super) fn unpack(scales: &[u8], numbers: &[u8], lane: usize, out: &mut [f32]) {
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let d = half_at(scales, (b * LANES + lane) * 2);
            let numbers = &numbers[b * 4 * VECTOR..];
            for (i, o) in out.iter_mut().enumerate() {
                let (byte, shift) = nibble(lane, i);
                *o = ((numbers[byte] >> shift & 15) as i32 - 8) as f32 * d;
            }
        }
    }
}

mod q5_0 {
    use super::{LANES, VECTOR, half_at, nibble, quad_byte};

    /// A block of the file: f16 scale, 32 fifth bits, 16 bytes of nibbles as in `q4_0`.
    const BLOCK: usize = 22;
    /// Number of vectors for 32 inputs.
    const VECTORS: usize = 5;

    pub(super) fn pack(row: &[u8], lane: usize, scales: &mut [u8], numbers: &mut [u8]) {
        for (b, block) in row.chunks_exact(BLOCK).enumerate() {
            let at = (b * LANES + lane) * 2;
            scales[at..at + 2].copy_from_slice(&block[..2]);
            let numbers = &mut numbers[b * VECTORS * VECTOR..][..VECTORS * VECTOR];
            for (i, &q) in block[6..].iter().enumerate() {
                numbers[nibble(lane, i).0] = q;
            }
            for i in 0..32 {
                let bit = block[2 + i / 8] >> (i % 8) & 1;
                numbers[4 * VECTOR + quad_byte(lane, i)] |= bit << (i / 4);
            }
        }
    }

    pub(super) fn unpack(scales: &[u8], numbers: &[u8], lane: usize, out: &mut [f32]) {
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let d = half_at(scales, (b * LANES + lane) * 2);
            let numbers = &numbers[b * VECTORS * VECTOR..];
            for (i, o) in out.iter_mut().enumerate() {
                let (byte, shift) = nibble(lane, i);
                let fifth = numbers[4 * VECTOR + quad_byte(lane, i)] >> (i / 4) & 1;
                *o = ((numbers[byte] >> shift & 15 | fifth << 4) as i32 - 16) as f32 * d;
            }
        }
    }
}

mod q4_k {
    use super::{LANES, VECTOR, half_at, nibble};

    /// A block of the file: f16 scale, f16 minimum, 12 bytes of 6-bit factors, 128 bytes of nibbles.
    const BLOCK: usize = 144;
    /// Returns the factors of scale and minimum of group `j`, as `get_scale_min_k4` of ggml-quants.c does.
    fn factors(packed: &[u8], j: usize) -> (u8, u8) {
        if j < 4 {
            (packed[j] & 63, packed[j + 4] & 63)
        } else {
            ((packed[j + 4] & 15) | (packed[j - 4] >> 6 << 4), (packed[j + 4] >> 4) | (packed[j] >> 6 << 4))
        }
    }

    pub(super) fn pack(block: &[u8], lane: usize, scales: &mut [u8], numbers: &mut [u8]) {
        debug_assert_eq!(block.len(), BLOCK);
        scales[2 * lane..2 * lane + 2].copy_from_slice(&block[..2]);
        scales[32 + 2 * lane..32 + 2 * lane + 2].copy_from_slice(&block[2..4]);
        for j in 0..8 {
            let (scale, minimum) = factors(&block[4..16], j);
            scales[64 + 2 * LANES * j + lane] = scale;
            scales[64 + 2 * LANES * j + LANES + lane] = minimum;
            // Two times 32 inputs share 32 bytes in the file.
            let bytes = &block[16 + j / 2 * 32..][..32];
            let numbers = &mut numbers[j * 4 * VECTOR..][..4 * VECTOR];
            for (i, &byte) in bytes.iter().enumerate() {
                let q = byte >> (4 * (j % 2)) & 15;
                let (at, shift) = nibble(lane, i);
                numbers[at] |= q << shift;
            }
        }
    }

    pub(super) fn unpack(scales: &[u8], numbers: &[u8], lane: usize, out: &mut [f32]) {
        for (j, out) in out.chunks_exact_mut(32).enumerate() {
            let d = half_at(scales, 2 * lane) * f32::from(scales[64 + 2 * LANES * j + lane]);
            let m = half_at(scales, 32 + 2 * lane) * f32::from(scales[64 + 2 * LANES * j + LANES + lane]);
            let numbers = &numbers[j * 4 * VECTOR..];
            for (i, o) in out.iter_mut().enumerate() {
                let (byte, shift) = nibble(lane, i);
                *o = d * f32::from(numbers[byte] >> shift & 15) - m;
            }
        }
    }
}

mod q6_k {
    use super::{LANES, VECTOR, half_at, quad_byte};

    /// A block of the file: 128 bytes of lower halves, 64 bytes of upper bits, 16 i8 factors, f16 scale.
    const BLOCK: usize = 210;
    /// Returns input `i` of a block, 0 to 63, as `dequantize_row_q6_K` of ggml-quants.c does.
    fn number(block: &[u8], i: usize) -> u8 {
        let (half, part, l) = (i / 128, i % 128 / 32, i % 32);
        let low = block[half * 64 + part % 2 * 32 + l] >> (part / 2 * 4) & 15;
        let high = block[128 + half * 32 + l] >> (2 * part) & 3;
        low | high << 4
    }

    /// Returns where input `i` of 16 is: its nibble's byte and shift, and its upper bits' byte and shift.
    fn place(lane: usize, i: usize) -> (usize, u32, usize, u32) {
        let (quad, byte) = (i / 4, quad_byte(lane, i));
        (quad % 2 * VECTOR + byte, (quad / 2 * 4) as u32, 2 * VECTOR + byte, 2 * quad as u32)
    }

    pub(super) fn pack(block: &[u8], lane: usize, scales: &mut [u8], numbers: &mut [u8]) {
        debug_assert_eq!(block.len(), BLOCK);
        scales[2 * lane..2 * lane + 2].copy_from_slice(&block[208..210]);
        for j in 0..16 {
            scales[32 + LANES * j + lane] = block[192 + j];
            let numbers = &mut numbers[j * 3 * VECTOR..][..3 * VECTOR];
            for i in 0..16 {
                let q = number(block, 16 * j + i);
                let (low, low_shift, high, high_shift) = place(lane, i);
                numbers[low] |= (q & 15) << low_shift;
                numbers[high] |= q >> 4 << high_shift;
            }
        }
    }

    pub(super) fn unpack(scales: &[u8], numbers: &[u8], lane: usize, out: &mut [f32]) {
        let d = half_at(scales, 2 * lane);
        for (j, out) in out.chunks_exact_mut(16).enumerate() {
            let factor = f32::from(scales[32 + LANES * j + lane] as i8);
            let numbers = &numbers[j * 3 * VECTOR..];
            for (i, o) in out.iter_mut().enumerate() {
                let (low, low_shift, high, high_shift) = place(lane, i);
                let q = numbers[low] >> low_shift & 15 | (numbers[high] >> high_shift & 3) << 4;
                *o = d * factor * (i32::from(q) - 32) as f32;
            }
        }
    }
}
