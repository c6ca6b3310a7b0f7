//! Chooses the format of each matrix of a file.

use crate::kernels::Format;
use crate::model::Config;

/// Recipe for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixture {
    /// One format for all matrices, with two exceptions. A tied embedding, which is also the head, gets at least 6 bits:
    /// `q6_k`, or `q8_0` if its width is not a multiple of 256. A matrix whose width is not a multiple of the format's
    /// block stays in f16.
    One(Format),
    /// llama.cpp's `Q4_K_M`: `q4_k`, but `q6_k` for the values and the down projections of half of the layers.
    Q4KM,
}

impl From<Format> for Mixture {
    fn from(format: Format) -> Self {
        Self::One(format)
    }
}

impl Mixture {
    /// Returns the format of the matrix `name` (llama.cpp's name) with this width.
    pub(super) fn format(self, name: &str, width: usize, config: &Config) -> Format {
        let mut format = match self {
            Self::One(format) => format,
            Self::Q4KM if has_more_bits(name, config.num_layers()) => Format::Q6K,
            Self::Q4KM => Format::Q4K,
        };
        let few_bits = matches!(
            format,
            Format::Q4_0
                | Format::Q4_1
                | Format::Q5_0
                | Format::Q5_1
                | Format::Q2K
                | Format::Q3K
                | Format::Q4K
                | Format::Q5K
        );
        if config.tie && name == "token_embd.weight" && few_bits {
            format = if width.is_multiple_of(256) { Format::Q6K } else { Format::Q8_0 };
        }
        if width.is_multiple_of(format.ggml().block_size()) { format } else { Format::F16 }
    }

    /// Returns llama.cpp's number for this kind of file (`llama_ftype`).
    pub(super) fn file_type(self) -> u32 {
        match self {
            Self::Q4KM => 15,
            Self::One(format) => match format {
                Format::F32 => 0,
                Format::F16 => 1,
                Format::Q4_0 => 2,
                Format::Q4_1 => 3,
                Format::Q8_0 | Format::Q8K => 7,
                Format::Q5_0 => 8,
                Format::Q5_1 => 9,
                Format::Q2K => 10,
                Format::Q3K => 11,
                Format::Q4K => 14,
                Format::Q5K => 16,
                Format::Q6K => 18,
                Format::BF16 => 32,
            },
        }
    }
}

/// Returns whether a matrix is one of those to which the mixtures named M give more bits. These are the first and the last
/// eighth of the layers, and every third layer between. Source: `use_more_bits` of llama-quant.cpp.
fn has_more_bits(name: &str, layers: usize) -> bool {
    let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let Ok(layer) = layer.parse::<usize>() else { return false };
    let first = layers / 8;
    let more = layer < first || layer >= 7 * layers / 8 || (layer - first) % 3 == 2;
    more && matches!(part, "attn_v.weight" | "ffn_down.weight")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::random::Shape;

    /// Gemma 2 2B's 26 layers, as in a file made by llama.cpp.
    #[test]
    fn q4_k_m_has_six_bits_where_llama_cpp_has() {
        let config = Shape::Gemma2_2b.config();
        let format = |name: &str| Mixture::Q4KM.format(name, 2304, &config);
        let six: Vec<usize> =
            (0..26).filter(|i| format(&format!("blk.{i}.attn_v.weight")) == Format::Q6K).collect();
        assert_eq!(six, [0, 1, 2, 5, 8, 11, 14, 17, 20, 22, 23, 24, 25]);
        assert_eq!(format("blk.0.ffn_down.weight"), Format::Q6K);
        assert_eq!(format("blk.0.ffn_up.weight"), Format::Q4K);
        assert_eq!(format("blk.3.ffn_down.weight"), Format::Q4K);
        assert_eq!(format("token_embd.weight"), Format::Q6K);
        assert_eq!(Mixture::Q4KM.format("blk.0.ffn_up.weight", 100, &config), Format::F16);
    }
}
