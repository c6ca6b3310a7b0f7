//! Storage formats of numbers and their conversion to f32, a row at a time.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K, BlockQ8_0,
    BlockQ8K, GgmlType,
};
use half::{bf16, f16};

/// Storage format of a tensor's numbers: plain floats, or blocks of quantised integers in ggml's layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Single-precision floats (IEEE 754), little-endian.
    F32,
    /// Half-precision floats (IEEE 754), little-endian.
    F16,
    /// The upper halves of f32 numbers, little-endian.
    BF16,
    /// 32 numbers in 18 bytes: 4 bits each, a scale.
    Q4_0,
    /// 32 numbers in 20 bytes: 4 bits each, a scale and a minimum.
    Q4_1,
    /// 32 numbers in 22 bytes: 5 bits each, a scale.
    Q5_0,
    /// 32 numbers in 24 bytes: 5 bits each, a scale and a minimum.
    Q5_1,
    /// 32 numbers in 34 bytes: 8 bits each, a scale.
    Q8_0,
    /// 256 numbers in 84 bytes: 2 bits each, scales of groups of 16.
    Q2K,
    /// 256 numbers in 110 bytes: 3 bits each, scales of groups of 16.
    Q3K,
    /// 256 numbers in 144 bytes: 4 bits each, scales and minima of groups of 32.
    Q4K,
    /// 256 numbers in 176 bytes: 5 bits each, scales and minima of groups of 32.
    Q5K,
    /// 256 numbers in 210 bytes: 6 bits each, scales of groups of 16.
    Q6K,
    /// 256 numbers in 292 bytes: 8 bits each, one f32 scale.
    Q8K,
}

/// Evaluates `$body` with `$T` set to the block type of a quantised format, or `$other` for a plain float format.
macro_rules! with_blocks {
    ($format:expr, $T:ident => $body:expr, $other:expr) => {
        match $format {
            $crate::kernels::Format::F32 | $crate::kernels::Format::F16 | $crate::kernels::Format::BF16 => {
                $other
            }
            $crate::kernels::Format::Q4_0 => {
                type $T = candle_core::quantized::k_quants::BlockQ4_0;
                $body
            }
            $crate::kernels::Format::Q4_1 => {
                type $T = candle_core::quantized::k_quants::BlockQ4_1;
                $body
            }
            $crate::kernels::Format::Q5_0 => {
                type $T = candle_core::quantized::k_quants::BlockQ5_0;
                $body
            }
            $crate::kernels::Format::Q5_1 => {
                type $T = candle_core::quantized::k_quants::BlockQ5_1;
                $body
            }
            $crate::kernels::Format::Q8_0 => {
                type $T = candle_core::quantized::k_quants::BlockQ8_0;
                $body
            }
            $crate::kernels::Format::Q2K => {
                type $T = candle_core::quantized::k_quants::BlockQ2K;
                $body
            }
            $crate::kernels::Format::Q3K => {
                type $T = candle_core::quantized::k_quants::BlockQ3K;
                $body
            }
            $crate::kernels::Format::Q4K => {
                type $T = candle_core::quantized::k_quants::BlockQ4K;
                $body
            }
            $crate::kernels::Format::Q5K => {
                type $T = candle_core::quantized::k_quants::BlockQ5K;
                $body
            }
            $crate::kernels::Format::Q6K => {
                type $T = candle_core::quantized::k_quants::BlockQ6K;
                $body
            }
            $crate::kernels::Format::Q8K => {
                type $T = candle_core::quantized::k_quants::BlockQ8K;
                $body
            }
        }
    };
}
pub(crate) use with_blocks;

/// Block types that [`blocks`] may reinterpret bytes as: each of their bit patterns is a valid value.
pub(crate) trait Block: GgmlType {}
impl Block for BlockQ4_0 {}
impl Block for BlockQ4_1 {}
impl Block for BlockQ5_0 {}
impl Block for BlockQ5_1 {}
impl Block for BlockQ8_0 {}
impl Block for BlockQ2K {}
impl Block for BlockQ3K {}
impl Block for BlockQ4K {}
impl Block for BlockQ5K {}
impl Block for BlockQ6K {}
impl Block for BlockQ8K {}

/// Returns the blocks that `bytes` holds. Returns none if the bytes are not aligned or not whole blocks, which
/// [`Matrix::new`](super::Matrix::new) refuses.
#[expect(unsafe_code, reason = "reads the mapped file in place")]
pub(crate) fn blocks<T: Block>(bytes: &[u8]) -> &[T] {
    // SAFETY: a `Block` is a repr(C) struct of integers and half floats, for which every bit pattern is valid;
    // `align_to` keeps alignment and length right.
    let (head, blocks, tail) = unsafe { bytes.align_to::<T>() };
    debug_assert!(head.is_empty() && tail.is_empty(), "misaligned or partial blocks");
    blocks
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 14] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Q8K,
    ];

    /// Returns how many numbers a block has; 1 for plain floats.
    pub fn block_len(self) -> usize {
        with_blocks!(self, T => T::BLCK_SIZE, 1)
    }

    /// Returns how many bytes a block has.
    pub fn block_bytes(self) -> usize {
        with_blocks!(self, T => size_of::<T>(), match self {
            Self::F32 => 4,
            _ => 2,
        })
    }

    /// Returns the alignment in bytes that the kernels need; 1 for plain floats, which are read bytewise.
    pub fn alignment(self) -> usize {
        with_blocks!(self, T => align_of::<T>(), 1)
    }

    /// Returns how many bytes `len` numbers take, or `None` if they are not whole blocks or do not fit in memory.
    pub fn bytes_of(self, len: usize) -> Option<usize> {
        if !len.is_multiple_of(self.block_len()) {
            return None;
        }
        (len / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Returns whether this is a block format.
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Returns the name that model files use: `f32`, `bf16`, `q4_k`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::Q2K => "q2_k",
            Self::Q3K => "q3_k",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
            Self::Q8K => "q8_k",
        }
    }

    /// Returns candle's name for the same format.
    pub fn ggml(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::BF16 => GgmlDType::BF16,
            _ => with_blocks!(self, T => T::DTYPE, GgmlDType::F32),
        }
    }

    /// Returns the number of the format in GGUF files.
    ///
    /// Source: `enum ggml_type` of ggml.h.
    pub fn ggml_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2K => 10,
            Self::Q3K => 11,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Q8K => 15,
            Self::BF16 => 30,
        }
    }

    /// Returns the format with this number in GGUF files, if it is one that the kernels read.
    pub fn from_ggml_type(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.ggml_type() == number)
    }

    /// Converts whole blocks to f32. `bytes` holds exactly `out.len()` numbers.
    pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
        debug_assert_eq!(self.bytes_of(out.len()), Some(bytes.len()));
        with_blocks!(self, T => T::to_float(blocks::<T>(bytes), out), match self {
            Self::F32 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *o = f32::from_le_bytes(*b);
                }
            }
            Self::F16 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *o = f16::from_le_bytes(*b).to_f32();
                }
            }
            _ => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *o = bf16::from_le_bytes(*b).to_f32();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_candle() {
        for format in Format::ALL {
            assert_eq!(format.block_len(), format.ggml().block_size(), "{}", format.name());
            assert_eq!(format.block_bytes(), format.ggml().type_size(), "{}", format.name());
        }
    }

    #[test]
    fn partial_blocks_have_no_size() {
        assert_eq!(Format::Q4K.bytes_of(256), Some(144));
        assert_eq!(Format::Q4K.bytes_of(255), None);
        assert_eq!(Format::F32.bytes_of(usize::MAX), None);
    }
}
