//! torch's generator on the CPU, MT19937 (Matsumoto and Nishimura 1998), and what torch draws with it.

const N: usize = 624;
const M: usize = 397;

/// The generator.
#[derive(Clone)]
pub(super) struct Twister {
    state: [u32; N],
    at: usize,
}

impl Twister {
    /// Makes the generator after `manual_seed(seed)`, of which the low 32 bits count.
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let previous = state[i - 1];
            state[i] = 1_812_433_253_u32.wrapping_mul(previous ^ previous >> 30).wrapping_add(i as u32);
        }
        Self { state, at: N }
    }

    /// Returns the next 32 bits.
    pub(super) fn next(&mut self) -> u32 {
        if self.at == N {
            self.twist();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }

    fn twist(&mut self) {
        let mix = |upper: u32, lower: u32| {
            let joined = upper & 0x8000_0000 | lower & 0x7fff_ffff;
            joined >> 1 ^ if joined & 1 == 1 { 0x9908_b0df } else { 0 }
        };
        let state = &mut self.state;
        for i in 0..N - M {
            state[i] = state[i + M] ^ mix(state[i], state[i + 1]);
        }
        for i in N - M..N - 1 {
            state[i] = state[i + M - N] ^ mix(state[i], state[i + 1]);
        }
        state[N - 1] = state[M - 1] ^ mix(state[N - 1], state[0]);
        self.at = 0;
    }
}

/// Returns `torch.randperm(n)` after `manual_seed(seed)`, for n below 2^32 / 20.
pub(super) fn permutation(seed: u32, n: u32) -> Vec<u32> {
    let mut twister = Twister::new(seed);
    let mut numbers: Vec<u32> = (0..n).collect();
    for i in 0..n.saturating_sub(1) {
        let other = i + twister.next() % (n - i);
        numbers.swap(i as usize, other as usize);
    }
    numbers
}

/// Returns for each of `values`, which are below `n`, whether it is among the numbers with the indices `from` to `to` −
/// 1 of [`permutation`]. It makes no array, but follows the place of each value.
pub(super) fn among(seed: u32, n: u32, [from, to]: [u32; 2], values: &[u32]) -> Vec<bool> {
    let mut twister = Twister::new(seed);
    let mut found = vec![false; values.len()];
    // The place of each value that is still under way, and its index in `values`.
    let mut places: Vec<(u32, usize)> = values.iter().enumerate().map(|(i, &value)| (value, i)).collect();
    for i in 0..to {
        if places.is_empty() {
            break;
        }
        let other = if i + 1 < n { i + twister.next() % (n - i) } else { i };
        places.retain_mut(|(place, value)| {
            if *place == other {
                found[*value] = i >= from;
                return false;
            }
            if *place == i {
                *place = other;
            }
            true
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the authors' program for the seed 5489.
    #[test]
    fn known_answers() {
        let mut twister = Twister::new(5489);
        let first: [u32; 5] = std::array::from_fn(|_| twister.next());
        assert_eq!(first, [3_499_211_612, 581_869_302, 3_890_346_734, 3_586_334_585, 545_404_204]);
        // Number 10,000, which the C++ standard gives.
        let tenth = (0..9_995).map(|_| twister.next()).last();
        assert_eq!(tenth, Some(4_123_659_995));
    }

    #[test]
    fn permutations_of_torch() {
        let table = permutation(15_485_863, 1_000_003);
        assert_eq!(table[..5], [138_280, 994_103, 467_886, 915_329, 149_437]);
        let table = permutation(2_971_215_073, 1_000_003);
        assert_eq!(table[..5], [250_534, 296_009, 268_311, 356_494, 845_733]);
        assert_eq!(permutation(5 * 15_485_863, 1000)[..5], [608, 772, 242, 938, 746]);
    }

    #[test]
    fn a_value_is_found_where_the_permutation_has_it() {
        for (seed, n) in [(1, 1), (2, 2), (3, 17), (4, 700), (5, 2000)] {
            let all = permutation(seed, n);
            let values: Vec<u32> = (0..n).rev().collect();
            for [from, to] in [[0, n / 4], [0, n], [n - n / 4, n]] {
                let part = &all[from as usize..to as usize];
                let expected: Vec<bool> = values.iter().map(|value| part.contains(value)).collect();
                assert_eq!(among(seed, n, [from, to], &values), expected, "{seed} {n} {from} {to}");
            }
        }
    }
}
