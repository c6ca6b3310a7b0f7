//! torch's random numbers on the CPU.

/// `torch.randint(0, 2, (size,))` on the CPU after `manual_seed(seed)`: the low bit of each 32-bit output of MT19937
/// (Matsumoto and Nishimura 1998), seeded with the seed's low 32 bits.
pub(super) fn random_bits(seed: u64, size: usize) -> Vec<u8> {
    const N: usize = 624;
    const M: usize = 397;
    let mut state = [0u32; N];
    state[0] = seed as u32;
    for i in 1..N {
        let previous = state[i - 1];
        state[i] = 1_812_433_253u32.wrapping_mul(previous ^ previous >> 30).wrapping_add(i as u32);
    }
    let mut bits = Vec::with_capacity(size);
    while bits.len() < size {
        for i in 0..N {
            let joined = state[i] & 0x8000_0000 | state[(i + 1) % N] & 0x7fff_ffff;
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            state[i] = state[(i + M) % N] ^ joined >> 1 ^ twist;
        }
        bits.extend(state.iter().take(size - bits.len()).map(|&word| {
            let mut y = word;
            y ^= y >> 11;
            y ^= y << 7 & 0x9d2c_5680;
            y ^= y << 15 & 0xefc6_0000;
            ((y ^ y >> 18) & 1) as u8
        }));
    }
    bits
}
