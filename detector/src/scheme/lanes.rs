//! SHA-256 of many messages at a time. With AVX-512 there is one in each of 16 lanes of the vector registers, and with
//! AVX2 one in each of 8. With the instructions for SHA-256 two messages take turns.
//!
//! The last blocks of the messages differ only in a few neighbouring words, which come as [`Row`]s. Rounds before the
//! first of these words, and parts of the message schedule, depend on the shared words alone. They are the same for all
//! [`Set`]s of a call, and the compiler takes them out of the loop over the sets.
//!
//! The module needs `unsafe`: it calls code for instruction sets after asking the processor for them, and moves whole
//! registers from and to memory.

#[cfg(test)]
use sha2::block_api::compress256;

/// Messages that are hashed together.
pub(super) const LANES: usize = 16;

/// One word (FIPS 180-4: big-endian) of each of the messages.
pub(super) type Row = [u32; LANES];

/// The words in which [`LANES`] messages differ, one row a word.
pub(super) type Set<const ROWS: usize> = [Row; ROWS];

/// The first two words of the digests of a set.
pub(super) type Digests = [Row; 2];

/// The way to hash on this processor. A value is proof that the processor has the instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lanes(Level);

/// The instruction sets. A processor that is not an x86 has none of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Sha,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Lanes {
    /// Returns the fastest way that the processor has, if it has any that beats one message after the other.
    pub(super) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx512f") {
                return Some(Self(Level::Avx512));
            }
            if std::is_x86_feature_detected!("sha") && std::is_x86_feature_detected!("sse4.1") {
                return Some(Self(Level::Sha));
            }
            if std::is_x86_feature_detected!("avx2") {
                return Some(Self(Level::Avx2));
            }
        }
        None
    }

    /// Returns how many of `count` messages are hashed together. The others are too few for another set, and are hashed
    /// faster one by one.
    pub(super) fn together(self, count: usize) -> usize {
        let worthwhile = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx2 => 6,
            #[cfg(target_arch = "x86_64")]
            Level::Sha => 8,
        };
        if count % LANES < worthwhile { count - count % LANES } else { count }
    }

    /// Computes the first two words of SHA-256's state after `block`, from the state `start`: one entry of `digests`
    /// for each set of messages. A set replaces the words `FIRST` to `FIRST` + `ROWS` − 1 of the block.
    #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls the build for the processor"))]
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "there is no value to call it on")
    )]
    pub(super) fn compress<const FIRST: usize, const ROWS: usize>(
        self,
        start: &[u32; 8],
        block: &[u32; 16],
        sets: &[Set<ROWS>],
        digests: &mut [Digests],
    ) {
        match self.0 {
            // SAFETY: this level is made only where the processor has AVX-512F; there is no other condition.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512::compress::<FIRST, ROWS>(start, block, sets, digests) },
            // SAFETY: this level is made only where the processor has SHA and SSE4.1; there is no other condition.
            #[cfg(target_arch = "x86_64")]
            Level::Sha => unsafe { sha::compress::<FIRST, ROWS>(start, block, sets, digests) },
            // SAFETY: this level is made only where the processor has AVX2; there is no other condition.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2::compress::<FIRST, ROWS>(start, block, sets, digests) },
        }
    }
}

/// The constants of the rounds (FIPS 180-4, section 4.2.2).
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
#[expect(clippy::unreadable_literal, reason = "as the standard prints them")]
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Defines the compression for one instruction set from the operations on its registers: a module with the operations
/// and `compress`.
#[cfg(target_arch = "x86_64")]
macro_rules! compression {
    ($module:ident, $feature:literal, $vector:ident, $operations:ident) => {
        mod $module {
            use std::arch::x86_64::$vector;

            use super::{Digests, K, LANES, Row, Set};

            /// Lanes of a register.
            const WIDTH: usize = size_of::<$vector>() / size_of::<u32>();

            $operations! { $feature, $vector }

            #[target_feature(enable = $feature)]
            pub(super) fn compress<const FIRST: usize, const ROWS: usize>(
                start: &[u32; 8],
                block: &[u32; 16],
                sets: &[Set<ROWS>],
                digests: &mut [Digests],
            ) {
                let (mut start_lanes, mut block_lanes) = ([splat(0); 8], [splat(0); 16]);
                for (lanes, word) in start_lanes.iter_mut().zip(start) {
                    *lanes = splat(*word);
                }
                for (lanes, word) in block_lanes.iter_mut().zip(block) {
                    *lanes = splat(*word);
                }
                for (set, digests) in sets.iter().zip(digests) {
                    for part in 0..LANES / WIDTH {
                        let mut w = block_lanes;
                        for (lanes, row) in w[FIRST..FIRST + ROWS].iter_mut().zip(set) {
                            *lanes = load(row, part);
                        }
                        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = start_lanes;
                        // Round t (FIPS 180-4, section 6.2.2). Two of the eight variables change; the others only
                        // pass on their values, so the next round renames them in place of moving them. w is a window
                        // over the message schedule.
                        macro_rules! round {
                            ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident $t:expr) => {
                                if $t >= 16 {
                                    let (w15, w2) = (w[($t + 1) % 16], w[($t + 14) % 16]);
                                    let s0 = xor3(rotate::<7>(w15), rotate::<18>(w15), shift::<3>(w15));
                                    let s1 = xor3(rotate::<17>(w2), rotate::<19>(w2), shift::<10>(w2));
                                    w[$t % 16] = add(s1, add(add(w[$t % 16], s0), w[($t + 9) % 16]));
                                }
                                let s1 = xor3(rotate::<6>($e), rotate::<11>($e), rotate::<25>($e));
                                let word = add(w[$t % 16], splat(K[$t]));
                                let t1 = add(add($h, word), add(s1, choose($e, $f, $g)));
                                let s0 = xor3(rotate::<2>($a), rotate::<13>($a), rotate::<22>($a));
                                $d = add($d, t1);
                                $h = add(t1, add(s0, majority($a, $b, $c)));
                            };
                        }
                        macro_rules! eight_rounds {
                            ($t:literal) => {
                                round!(a b c d e f g h $t);
                                round!(h a b c d e f g $t + 1);
                                round!(g h a b c d e f $t + 2);
                                round!(f g h a b c d e $t + 3);
                                round!(e f g h a b c d $t + 4);
                                round!(d e f g h a b c $t + 5);
                                round!(c d e f g h a b $t + 6);
                                round!(b c d e f g h a $t + 7);
                            };
                        }
                        eight_rounds!(0);
                        eight_rounds!(8);
                        eight_rounds!(16);
                        eight_rounds!(24);
                        eight_rounds!(32);
                        eight_rounds!(40);
                        eight_rounds!(48);
                        eight_rounds!(56);
                        let _ = (c, d, e, f, g, h);
                        store(&mut digests[0], part, add(a, start_lanes[0]));
                        store(&mut digests[1], part, add(b, start_lanes[1]));
                    }
                }
            }
        }
    };
}

/// Defines functions that are compiled into `compress`.
#[cfg(target_arch = "x86_64")]
macro_rules! inlined {
    ($feature:literal $($(#[$doc:meta])* fn $name:ident $(<const $n:ident: $of:ty>)? ($($arg:ident: $ty:ty),*) $(-> $ret:ty)? $body:block)*) => {
        $(
            $(#[$doc])*
            #[inline]
            #[target_feature(enable = $feature)]
            fn $name $(<const $n: $of>)? ($($arg: $ty),*) $(-> $ret)? $body
        )*
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! avx512_operations {
    ($feature:literal, $v:ident) => {
        use std::arch::x86_64::{
            _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_srli_epi32,
            _mm512_storeu_si512, _mm512_ternarylogic_epi32,
        };

        inlined! { $feature
            fn splat(word: u32) -> $v { _mm512_set1_epi32(word as i32) }
            fn add(x: $v, y: $v) -> $v { _mm512_add_epi32(x, y) }
            fn rotate<const BITS: i32>(x: $v) -> $v { _mm512_ror_epi32::<BITS>(x) }
            fn shift<const BITS: u32>(x: $v) -> $v { _mm512_srli_epi32::<BITS>(x) }
            // The number lists the results for x y z = 000, 001, …, 111, last one first.
            fn xor3(x: $v, y: $v, z: $v) -> $v { _mm512_ternarylogic_epi32::<0b1001_0110>(x, y, z) }
            fn choose(x: $v, y: $v, z: $v) -> $v { _mm512_ternarylogic_epi32::<0b1100_1010>(x, y, z) }
            fn majority(x: $v, y: $v, z: $v) -> $v { _mm512_ternarylogic_epi32::<0b1110_1000>(x, y, z) }
            #[expect(unsafe_code, reason = "reads a whole register")]
            fn load(row: &Row, part: usize) -> $v {
                let lanes = &row.as_chunks::<WIDTH>().0[part];
                // SAFETY: `lanes` are as many bytes as a register has; the load asks for no alignment.
                unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
            }
            #[expect(unsafe_code, reason = "writes a whole register")]
            fn store(row: &mut Row, part: usize, x: $v) {
                let lanes = &mut row.as_chunks_mut::<WIDTH>().0[part];
                // SAFETY: as in `load`.
                unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), x) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! avx2_operations {
    ($feature:literal, $v:ident) => {
        use std::arch::x86_64::{
            _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_or_si256, _mm256_set1_epi32,
            _mm256_sllv_epi32, _mm256_srli_epi32, _mm256_srlv_epi32, _mm256_storeu_si256, _mm256_xor_si256,
        };

        inlined! { $feature
            fn splat(word: u32) -> $v { _mm256_set1_epi32(word as i32) }
            fn add(x: $v, y: $v) -> $v { _mm256_add_epi32(x, y) }
            fn rotate<const BITS: i32>(x: $v) -> $v {
                let right = _mm256_srlv_epi32(x, _mm256_set1_epi32(BITS));
                _mm256_or_si256(right, _mm256_sllv_epi32(x, _mm256_set1_epi32(32 - BITS)))
            }
            fn shift<const BITS: i32>(x: $v) -> $v { _mm256_srli_epi32::<BITS>(x) }
            fn xor3(x: $v, y: $v, z: $v) -> $v { _mm256_xor_si256(_mm256_xor_si256(x, y), z) }
            fn choose(x: $v, y: $v, z: $v) -> $v {
                _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
            }
            fn majority(x: $v, y: $v, z: $v) -> $v {
                _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
            }
            #[expect(unsafe_code, reason = "reads a whole register")]
            fn load(row: &Row, part: usize) -> $v {
                let lanes = &row.as_chunks::<WIDTH>().0[part];
                // SAFETY: `lanes` are as many bytes as a register has; the load asks for no alignment.
                unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
            }
            #[expect(unsafe_code, reason = "writes a whole register")]
            fn store(row: &mut Row, part: usize, x: $v) {
                let lanes = &mut row.as_chunks_mut::<WIDTH>().0[part];
                // SAFETY: as in `load`.
                unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), x) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
compression! { avx512, "avx512f", __m512i, avx512_operations }
#[cfg(target_arch = "x86_64")]
compression! { avx2, "avx2", __m256i, avx2_operations }

/// The compression with the processor's instructions for SHA-256.
#[cfg(target_arch = "x86_64")]
mod sha {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_sha256msg1_epu32,
        _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi32,
    };

    use super::{Digests, K, LANES, Set};

    /// Messages that take turns. The rounds of one message wait for each other, and those of another fill the gaps.
    const TURNS: usize = 2;

    /// Returns four words, the first of them lowest.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn load(words: &[u32; 4]) -> __m128i {
        let [a, b, c, d] = words.map(|word| word as i32);
        _mm_set_epi32(d, c, b, a)
    }

    /// Computes four rounds with the words `w` of the message schedule. The state is a, b, e, f and c, d, g, h, the
    /// first of them highest.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn four_rounds(state: &mut [__m128i; 2], w: __m128i, four: usize) {
        let words = _mm_add_epi32(w, load(&K.as_chunks().0[four]));
        state[1] = _mm_sha256rnds2_epu32(state[1], state[0], words);
        state[0] = _mm_sha256rnds2_epu32(state[0], state[1], _mm_shuffle_epi32::<0b1110>(words));
    }

    #[target_feature(enable = "sha,sse4.1")]
    pub(super) fn compress<const FIRST: usize, const ROWS: usize>(
        start: &[u32; 8],
        block: &[u32; 16],
        sets: &[Set<ROWS>],
        digests: &mut [Digests],
    ) {
        let [a, b, c, d, e, f, g, h] = start.map(|word| word as i32);
        let mut state = [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)];
        let shared = block.as_chunks().0;
        // These words, and so the rounds with them, are the same for all messages.
        let fours = FIRST / 4;
        for (four, words) in shared[..fours].iter().enumerate() {
            four_rounds(&mut state, load(words), four);
        }
        let mut blocks = [[[0; 4]; 4]; LANES];
        for words in &mut blocks {
            words[fours..].copy_from_slice(&shared[fours..]);
        }
        for (set, digests) in sets.iter().zip(digests) {
            for (lane, words) in blocks.iter_mut().enumerate() {
                for (word, row) in words.as_flattened_mut()[FIRST..].iter_mut().zip(set) {
                    *word = row[lane];
                }
            }
            for (pair, words) in blocks.as_chunks::<TURNS>().0.iter().enumerate() {
                let mut states = [state; TURNS];
                let mut w = [[load(&[0; 4]); 4]; TURNS];
                for (w, words) in w.iter_mut().zip(words) {
                    for (four, w) in w.iter_mut().enumerate() {
                        *w = load(if four < fours { &shared[four] } else { &words[four] });
                    }
                }
                for four in fours..4 {
                    for (state, w) in states.iter_mut().zip(&w) {
                        four_rounds(state, w[four], four);
                    }
                }
                for four in 4..16 {
                    for (state, w) in states.iter_mut().zip(&mut w) {
                        let [w0, w1, w2, w3] = *w;
                        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                        let next = _mm_sha256msg2_epu32(sum, w3);
                        *w = [w1, w2, w3, next];
                        four_rounds(state, next, four);
                    }
                }
                for (turn, [state, _]) in states.iter().enumerate() {
                    let lane = TURNS * pair + turn;
                    digests[0][lane] = start[0].wrapping_add(_mm_extract_epi32::<3>(*state) as u32);
                    digests[1][lane] = start[1].wrapping_add(_mm_extract_epi32::<2>(*state) as u32);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all ways that this processor has, not only the one that it takes.
    fn all() -> Vec<Lanes> {
        let mut all: Vec<Lanes> = Lanes::detect().into_iter().collect();
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            all.push(Lanes(Level::Avx2));
        }
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("sha") && std::is_x86_feature_detected!("sse4.1") {
            all.push(Lanes(Level::Sha));
        }
        all
    }

    fn check<const FIRST: usize, const ROWS: usize>(lanes: Lanes) {
        let mut z = 1u64;
        let mut word = || {
            z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (z >> 32) as u32
        };
        for count in 0..4 {
            let start: [u32; 8] = std::array::from_fn(|_| word());
            let block: [u32; 16] = std::array::from_fn(|_| word());
            let sets: Vec<Set<ROWS>> =
                (0..count).map(|_| [[0; LANES]; ROWS].map(|row| row.map(|_| word()))).collect();
            let mut digests = vec![[[0; LANES]; 2]; count];
            lanes.compress::<FIRST, ROWS>(&start, &block, &sets, &mut digests);
            for (set, digests) in sets.iter().zip(&digests) {
                for lane in 0..LANES {
                    let mut words = block;
                    for (row, word) in set.iter().zip(&mut words[FIRST..]) {
                        *word = row[lane];
                    }
                    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                    let mut expected = start;
                    compress256(&mut expected, bytes.as_chunks().0);
                    let found = digests.map(|row| row[lane]);
                    assert_eq!(
                        found,
                        expected[..2],
                        "{lanes:?}, words from {FIRST}, {ROWS} rows, lane {lane}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_lane_is_sha256() {
        for lanes in all() {
            check::<12, 1>(lanes);
            check::<8, 5>(lanes);
            check::<0, 16>(lanes);
        }
    }
}
