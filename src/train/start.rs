//! Reads the parameters of an existing model, to continue from.

use super::error::Result;
use super::parameters::Table;
use crate::model::Config;
use crate::model::weights::{Container, Weights};
use wmdetect::gguf::names;

/// Reads a model's configuration and parameters, in f32, in the order of [`Table`]. Quantised matrices are
/// dequantised. The 1 that a GGUF file adds to norms is subtracted.
///
/// # Errors
/// Returns an error if a tensor is missing or has another shape.
pub fn parameters(weights: &Weights) -> Result<(Config, Vec<f32>)> {
    let mut config = weights.config().clone();
    let added = (1.0 - config.norm_offset) as f32;
    config.norm_offset = 1.0;
    let table = Table::new(&config);
    let mut params = vec![0f32; table.len()];
    for tensor in table.tensors() {
        let name = match weights.container() {
            Container::Safetensors => tensor.name.clone(),
            Container::Gguf => names::tensor(&tensor.name),
        };
        let out = &mut params[tensor.range.clone()];
        if let [rows, cols] = tensor.shape[..] {
            weights.matrix(&name, rows, cols)?.dequantize(0..rows, out);
        } else {
            out.copy_from_slice(&weights.vector(&name, out.len())?);
            for w in out {
                *w -= added;
            }
        }
    }
    Ok((config, params))
}
