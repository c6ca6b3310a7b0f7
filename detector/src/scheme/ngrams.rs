//! The n-grams of a text, gathered once to be hashed under any number of keys.

use std::collections::{BTreeMap, HashSet};

use super::lanes::{LANES, Lanes, Set};

/// Tokens of the longest n-grams that are hashed side by side.
pub(super) const NGRAM_WORDS: usize = 5;

/// n-grams of one length, also laid out as `synthid-sha256` hashes them.
pub(crate) struct Ngrams<'t> {
    each: Vec<&'t [u32]>,
    /// The words after the key, in sets, of the n-grams that are hashed side by side: the first of `each`.
    sets: Vec<Set<NGRAM_WORDS>>,
}

impl<'t> Ngrams<'t> {
    /// Gathers n-grams.
    ///
    /// # Panics
    /// Panics if an n-gram does not have `len` tokens.
    pub(crate) fn new(len: usize, ngrams: impl Iterator<Item = &'t [u32]>) -> Self {
        let each: Vec<&[u32]> = ngrams.collect();
        assert!(each.iter().all(|ngram| ngram.len() == len), "n-grams of {len} tokens");
        let mut sets = Vec::new();
        if let (Some(lanes), true) = (Lanes::detect(), len <= NGRAM_WORDS) {
            // After a shorter n-gram comes the padding's first byte.
            let mut empty: Set<NGRAM_WORDS> = [[0; LANES]; NGRAM_WORDS];
            if let Some(row) = empty.get_mut(len) {
                *row = [0x8000_0000; LANES];
            }
            sets.extend(each[..lanes.together(each.len())].chunks(LANES).map(|ngrams| {
                let mut set = empty;
                for (lane, ngram) in ngrams.iter().enumerate() {
                    if let Ok(words) = <&[u32; NGRAM_WORDS]>::try_from(*ngram) {
                        // The usual length, known to the compiler.
                        for i in 0..NGRAM_WORDS {
                            set[i][lane] = words[i].swap_bytes();
                        }
                        continue;
                    }
                    for (row, token) in set.iter_mut().zip(*ngram) {
                        row[lane] = token.swap_bytes();
                    }
                }
                set
            }));
        }
        Self { each, sets }
    }

    /// Returns the number of n-grams.
    pub(crate) fn len(&self) -> usize {
        self.each.len()
    }

    /// Returns the n-grams.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'t [u32]> + '_ {
        self.each.iter().copied()
    }

    /// Returns the first n-grams, as sets of [`LANES`].
    pub(super) fn sets(&self) -> &[Set<NGRAM_WORDS>] {
        &self.sets
    }
}

/// n-grams that differ from each other, ready for hashing under any number of keys.
pub struct DistinctNgrams<'t>(Vec<Ngrams<'t>>);

impl<'t> DistinctNgrams<'t> {
    /// Gathers n-grams. One that is given twice is taken once.
    pub fn new(ngrams: impl IntoIterator<Item = &'t [u32]>) -> Self {
        let mut by_length: BTreeMap<usize, Vec<&'t [u32]>> = BTreeMap::new();
        let mut taken = HashSet::new();
        for ngram in ngrams {
            if taken.insert(ngram) {
                by_length.entry(ngram.len()).or_default().push(ngram);
            }
        }
        Self(by_length.into_iter().map(|(len, ngrams)| Ngrams::new(len, ngrams.into_iter())).collect())
    }

    /// Returns the n-grams of each length.
    pub(super) fn by_length(&self) -> &[Ngrams<'t>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{Key, SamplingTable, Scheme, Secret, synthid};

    /// One by one and all at once; n-grams of several lengths, in no order, some of them twice.
    #[test]
    fn each_input_has_one_entry() {
        type Case<'a> = (Scheme, Vec<u8>, &'a [&'a [u32]]);

        let hf = synthid::Hf {
            depth: 4,
            ngram_len: 3,
            context_history_size: 8,
            table: SamplingTable::Seeded { size: 65_536, seed: 0 },
        };
        let own = synthid::Sha256V2 { channels: 2, ..Default::default() };
        let schemes: [Case<'_>; 2] = [
            (own.into(), vec![1; 32], &[&[1, 2, 3], &[1, 5], &[4, 2, 3], &[1, 2, 3], &[1, 65_541], &[1, 5]]),
            (
                hf.into(),
                (0..32).collect(),
                &[&[1, 2, 5], &[1, 2, 65_541], &[2, 1, 5], &[1, 2, 6], &[1, 2, 5]],
            ),
        ];
        for ((scheme, secret, ngrams), expected) in schemes.into_iter().zip([
            [[1, 5].as_slice(), &[1, 65_541], &[1, 2, 3], &[4, 2, 3]],
            // The table has 2^16 entries, so ids count modulo 2^16.
            [[1, 2, 5].as_slice(), &[2, 1, 5], &[1, 2, 6], &[]],
        ]) {
            let key = Key::new(scheme, Secret::new(secret.into())).unwrap();
            for prf in key.prf().channels() {
                let g =
                    |ngram: &&[u32]| prf.context(&ngram[..ngram.len() - 1]).g_bits(ngram[ngram.len() - 1]);
                let expected: Vec<_> = expected.iter().filter(|ngram| !ngram.is_empty()).map(g).collect();
                let ngrams = DistinctNgrams::new(ngrams.iter().copied());
                assert_eq!(prf.g_bits_of_distinct(&ngrams), expected, "{}", prf.scheme().name());
            }
        }
    }
}
