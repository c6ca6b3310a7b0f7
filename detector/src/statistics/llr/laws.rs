//! The laws of one token's lattice score, and the check of laws that a file claims.
//!
//! A file's law decides p-values, and the author of the file may have made it up. Neither a checksum nor a moment tells
//! the right law from one that is a little off, and over a long text a little is enough. So the law of a file is
//! counted again from the numbers that the scores are made of. That takes seconds at 30 layers. A [`Cache`] remembers
//! which laws were counted and found right.

use sha2::{Digest, Sha256};

use crate::cache::{Cache, Kind};

/// The laws of one token's lattice score.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Laws {
    /// The score of the first entry of both tables.
    pub first: i32,
    /// How many of the 2^depth patterns have each score.
    pub null: Vec<u64>,
    /// P(score) if the bits follow the alternative.
    pub marked: Vec<f64>,
}

/// The first place where the law in a file differs from the counted law.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LawError {
    /// Other scores are possible.
    #[error("expected scores from {} to {}, found {} to {}", expected.0, expected.1, found.0, found.1)]
    Scores {
        /// The least and the largest counted score.
        expected: (i64, i64),
        /// The value in the file.
        found: (i64, i64),
    },
    /// A score has another number of patterns.
    #[error("expected {expected} patterns of g-bits with the score {score}, found {found}")]
    Null {
        /// The first score where they differ.
        score: i64,
        /// The counted value.
        expected: u64,
        /// The value in the file.
        found: u64,
    },
    /// A score has another probability in marked text.
    #[error("expected the probability {expected} of the score {score} in marked text, found {found}")]
    Marked {
        /// The first score where they differ.
        score: i64,
        /// The counted value.
        expected: f64,
        /// The value in the file.
        found: f64,
    },
}

/// How far a probability of the marked law may be off: files have it in units of 2^-40, and sums depend on their order.
const MARKED_ERROR: f64 = 1e-9;

impl Laws {
    /// Checks the laws that a file claims against those that `count` counts. `digest` identifies the laws and the
    /// numbers they belong to. If `cache` remembers it, nothing is counted.
    pub(crate) fn check(
        &self,
        digest: &[u8],
        cache: Option<&Cache>,
        count: impl FnOnce() -> Self,
    ) -> Result<(), LawError> {
        let key = key(digest);
        if cache.is_some_and(|cache| cache.open(Kind::Law, &key).is_some()) {
            return Ok(());
        }
        self.differs_from(&count()).map_or(Ok(()), Err)?;
        remember(digest, cache);
        Ok(())
    }

    fn differs_from(&self, counted: &Self) -> Option<LawError> {
        let ends = |laws: &Self| {
            let first = i64::from(laws.first);
            (first, first + laws.null.len() as i64 - 1)
        };
        if ends(self) != ends(counted) || self.null.len() != self.marked.len() {
            return Some(LawError::Scores { expected: ends(counted), found: ends(self) });
        }
        let scores = i64::from(self.first)..;
        let null = self.null.iter().zip(&counted.null).zip(scores.clone());
        let mut null = null.filter(|((found, expected), _)| found != expected);
        if let Some(((&found, &expected), score)) = null.next() {
            return Some(LawError::Null { score, expected, found });
        }
        let marked = self.marked.iter().zip(&counted.marked).zip(scores);
        // A NaN is never near.
        let is_near = |found: f64, expected: f64| (found - expected).abs() <= MARKED_ERROR;
        let mut marked = marked.filter(|((found, expected), _)| !is_near(**found, **expected));
        let ((&found, &expected), score) = marked.next()?;
        Some(LawError::Marked { score, expected, found })
    }
}

/// Lets `cache` remember that the laws with this digest were counted.
pub(crate) fn remember(digest: &[u8], cache: Option<&Cache>) {
    if let Some(cache) = cache {
        cache.save(Kind::Law, &key(digest), &[]);
    }
}

/// Returns the cache's key for a digest. Its number changes with the rules of counting.
fn key(digest: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"wmdetect law 1\0").chain_update(digest).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laws() -> Laws {
        Laws { first: -1, null: vec![5, 2, 1], marked: vec![0.25, 0.25, 0.5] }
    }

    #[test]
    fn any_difference_is_found_and_said() {
        let difference = |change: &dyn Fn(&mut Laws)| {
            let mut claimed = laws();
            change(&mut claimed);
            claimed.differs_from(&laws()).unwrap().to_string()
        };
        assert_eq!(laws().differs_from(&laws()), None);
        assert_eq!(difference(&|l| l.first = -2), "expected scores from -1 to 1, found -2 to 0");
        assert_eq!(
            difference(&|l| l.null = vec![5, 1, 2]),
            "expected 2 patterns of g-bits with the score 0, found 1"
        );
        let marked = difference(&|l| l.marked[2] = 0.500_001);
        assert_eq!(marked, "expected the probability 0.5 of the score 1 in marked text, found 0.500001");
        assert!(difference(&|l| l.marked[0] = f64::NAN).contains("NaN"));
        assert!(difference(&|l| l.marked.truncate(2)).contains("scores"));
    }

    #[test]
    fn right_laws_are_counted_once_and_wrong_ones_every_time() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let mut counts = 0;
        let mut check = |laws_of_file: &Laws, digest: &[u8], cache| {
            laws_of_file.check(digest, cache, || {
                counts += 1;
                laws()
            })
        };
        let wrong = Laws { null: vec![4, 3, 1], ..laws() };
        assert!(check(&wrong, b"a", Some(&cache)).is_err() && check(&wrong, b"a", Some(&cache)).is_err());
        check(&laws(), b"b", Some(&cache)).unwrap();
        check(&laws(), b"b", Some(&cache)).unwrap();
        check(&laws(), b"b", None).unwrap();
        assert_eq!(counts, 4);
    }
}
