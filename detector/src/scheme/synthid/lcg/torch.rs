//! The sampling table that torch draws on the CPU.

use crate::scheme::twister::Twister;

/// Returns `torch.randint(0, 2, (size,))` on the CPU after `manual_seed(seed)`: the low bit of each 32-bit output of
/// MT19937, seeded with the seed's low 32 bits.
pub(super) fn random_bits(seed: u64, size: usize) -> Vec<u8> {
    let mut twister = Twister::new(seed as u32);
    (0..size).map(|_| (twister.next() & 1) as u8).collect()
}
