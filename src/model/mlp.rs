//! The gated feed-forward layer.

use super::error::Result;
use super::linear::{Linear, takes_kernels};
use crate::kernels::GatedGelu;
use candle_core::Tensor;

/// down(gelu(gate(x)) · up(x)), with the tanh form of gelu.
#[derive(Debug, Clone)]
pub struct Mlp {
    /// `[intermediate, hidden]`.
    pub gate: Linear,
    /// `[intermediate, hidden]`.
    pub up: Linear,
    /// `[hidden, intermediate]`.
    pub down: Linear,
}

impl Mlp {
    /// `[batch, positions, hidden]` to the same.
    ///
    /// # Errors
    /// Activations of another width.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (gate, up) = (self.gate.forward(xs)?, self.up.forward(xs)?);
        let middle = if takes_kernels(&gate) {
            gate.apply_op2_no_bwd(&up, &GatedGelu)?
        } else {
            // candle's `gelu` is the tanh form; `gelu_erf` is the exact one.
            (gate.gelu()? * up)?
        };
        self.down.forward(&middle)
    }
}
