//! What a detector's files must hold.

/// Largest number of layers of a detector: the bits of a [`GBits`](crate::scheme::GBits).
pub const MAX_DEPTH: usize = crate::scheme::MAX_DEPTH;

/// Size of the largest file of a detector. A larger file is something else.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// The tensors of the weights.
pub(super) const BETA: &str = "likelihood_model_watermarked.beta";
pub(super) const DELTA: &str = "likelihood_model_watermarked.delta";
pub(super) const PRIOR: &str = "prior";
