//! What a detector's files must hold.

/// Layers that a detector may have: the bits of a [`GBits`](crate::scheme::GBits).
pub const MAX_DEPTH: usize = 64;

/// Files of a detector are small; a larger one is something else.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// The tensors of the weights.
pub(super) const BETA: &str = "likelihood_model_watermarked.beta";
pub(super) const DELTA: &str = "likelihood_model_watermarked.delta";
pub(super) const PRIOR: &str = "prior";
