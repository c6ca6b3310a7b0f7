//! The last stage: one token out of a distribution.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use wmdetect::scheme::Distribution;

/// Returns the number that chooses the channel of sequence number `sequence` under `seed`, uniform and independent of the
/// sequence's draws.
pub fn channel_number(seed: u64, sequence: u64) -> u64 {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    // Streams are counted up for draws, and down from the last for channels.
    rng.set_stream(!sequence);
    rng.random()
}

/// Draws tokens from a seed. ChaCha12, so that a seed gives the same text on every platform and with every release.
#[derive(Clone, Debug)]
pub struct Draw(ChaCha12Rng);

impl Draw {
    /// The draws of sequence number `sequence` under `seed`; different sequences are independent.
    pub fn new(seed: u64, sequence: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(sequence);
        Self(rng)
    }

    /// One token.
    pub fn token(&mut self, distribution: &Distribution) -> u32 {
        distribution.draw(self.0.random::<f64>())
    }
}
