//! The gated feed-forward layer.

use super::error::Result;
use super::linear::Linear;
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
        // candle's `gelu` is the tanh form; `gelu_erf` is the exact one.
        let gate = self.gate.forward(xs)?.gelu()?;
        self.down.forward(&(gate * self.up.forward(xs)?)?)
    }
}
