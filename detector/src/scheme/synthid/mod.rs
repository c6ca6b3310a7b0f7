//! SynthID: tournament sampling (Dathathri et al. 2024).

pub(super) mod sha256;
mod tournament;
