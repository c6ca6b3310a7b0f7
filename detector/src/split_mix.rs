//! SplitMix64 (Steele, Lea, Flood 2014): numbers from a seed for simulations, and a mixing function. It never makes a
//! secret.

/// Mixes bits: a bijection of 64-bit numbers in which every bit of the result depends on every bit of `z`.
pub fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Step by which the state grows.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns number `n` of the generator with this seed, counted from 0, without computing those before it.
pub fn nth(seed: u64, n: u64) -> u64 {
    mix(seed.wrapping_add(n.wrapping_mul(STEP)))
}

/// Returns the next number of the generator with this state.
pub fn next(state: &mut u64) -> u64 {
    let number = mix(*state);
    *state = state.wrapping_add(STEP);
    number
}

/// Returns the next number as a number in [0, 1), in steps of 2⁻⁵³.
pub fn unit(state: &mut u64) -> f64 {
    (next(state) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    /// The first numbers of the authors' splitmix64.c from seed 1234567.
    #[test]
    fn numbers_are_those_of_the_reference() {
        let mut state = 1_234_567;
        let first = [(); 3].map(|()| super::next(&mut state));
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!(first, [0, 1, 2].map(|n| super::nth(1_234_567, n)));
    }
}
