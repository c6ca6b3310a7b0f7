//! Calibration on texts that are known to be unmarked: is the deployed key an ordinary one on this corpus?
//!
//! The p-value of one document is exact for any text. Over a corpus it is different. Documents that share passages
//! share g-bits, so the number X of documents that one key flags scatters far more than a binomial number. No interval
//! around X / documents says anything about the next corpus. What is exact is the rank of X among X_1 … X_R of R random
//! keys on the same corpus,
//!
//! p = (1 + #{r : X_r ≥ X}) / (R + 1),
//!
//! since under the null hypothesis the deployed key is one more random key (Monte Carlo test, Dwass 1957; Phipson
//! and Smyth 2010). Rates over keys have the key as their unit.
//!
//! All keys judge one document after the other, so a calibration that is stopped is one on the first documents.

mod corpus;
mod judge;
mod rates;
#[cfg(test)]
mod tests;

use corpus::First;
pub use corpus::{Corpus, Passage};
pub use judge::random_key;
use judge::{Flagged, Judge};
pub use rates::{Bucket, Rate};
use rates::{Counts, buckets, rate};

use crate::counted::counted;
use crate::scheme::{ContextRule, KeyError, Ngrams, Piece, Prf, Promise};
use crate::statistics::{Decider, Method, PValue, Sample, Scored, Statistic, UnsupportedEvidence};
use crate::verdict::{FprError, check_fpr};
use crate::warning::{Warning, WarningCode};

/// Number of random keys that a verdict needs.
pub const LEAST_KEYS: u64 = 999;

/// Rank p at or below which the deployed key is worse than chance allows. With [`LEAST_KEYS`] keys it is the least
/// possible rank p: the deployed key flags more documents than every random one.
pub const WORSE_THAN_CHANCE: f64 = 0.001;

/// Options of a calibration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The statistic that decides.
    pub decider: Decider,
    /// The level.
    pub fpr: f64,
    /// R, at least 1; it is not checked. Each takes some 60 bytes a thread.
    pub keys: u64,
    /// The seed of the random keys.
    pub seed: u64,
    /// Number of documents from which on an n-gram is listed as shared. `None` takes one document in a hundred, but at
    /// least three.
    pub least_documents: Option<u64>,
    /// Largest number of shared passages that are listed.
    pub passages: usize,
}

/// Why a corpus could not be calibrated on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The statistic cannot sum what the key's scheme gives.
    #[error(transparent)]
    Evidence(#[from] UnsupportedEvidence),
    /// The key decides which positions count, so one corpus does not fit all random keys.
    #[error(
        "{scheme}: expected a scheme under which all keys count the same positions of a text, found one whose key decides them \
         (minhash and selfhash do); score the texts under keys of your own choice instead"
    )]
    KeyedPositions {
        /// The scheme.
        scheme: &'static str,
    },
    /// The level is out of its range.
    #[error(transparent)]
    Fpr(#[from] FprError),
    /// A random key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The deployed key among random keys on one corpus.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The statistic that decides.
    pub method: Method,
    /// The level that it was asked for.
    pub fpr: f64,
    /// Number of documents judged, which the other fields are about: all of them, unless the calibration was stopped.
    pub documents: u64,
    /// Documents of the corpus.
    pub documents_given: u64,
    /// Tokens of all documents.
    pub tokens: u64,
    /// Positions that count.
    pub scored_tokens: u64,
    /// Positions that would count without the ignore list.
    pub ignored_tokens: u64,
    /// R: random keys of the same scheme.
    pub random_keys: u64,
    /// The seed of the random keys.
    pub seed: u64,
    /// X: documents that the deployed key flags.
    pub flagged: u64,
    /// X_r, in order of r: documents that each random key flags.
    pub random_flagged: Vec<u64>,
    /// Random keys with X_r ≥ X.
    pub keys_at_least: u64,
    /// (1 + `keys_at_least`) / (R + 1): exact, however the documents depend on each other.
    pub rank_p: f64,
    /// Whether the deployed key is worse than chance allows: `rank_p` ≤ [`WORSE_THAN_CHANCE`] with R ≥
    /// [`LEAST_KEYS`].
    pub worse_than_chance: bool,
    /// The false positive rate over the whole corpus.
    pub rate: Rate,
    /// The same rates by scored tokens; buckets without a document are left out.
    pub buckets: Vec<Bucket>,
    /// The n-grams that many documents share.
    pub shared: Shared,
    /// What the reader should know before trusting the above.
    pub warnings: Vec<Warning>,
}

/// N-grams that many documents share.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// Number of documents from which on an n-gram is listed.
    pub least_documents: u64,
    /// Distinct n-grams that are listed.
    pub ngrams: u64,
    /// Share of all scored positions that they fill, 0 to 1.
    pub scored_share: f64,
    /// Number of passages that they form.
    pub passages_found: u64,
    /// The commonest of these passages.
    pub passages: Vec<SharedPassage>,
}

/// A passage that many documents share, under the deployed key.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedPassage {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// In how many documents the rarest of its n-grams counts.
    pub documents: u64,
    /// Where its sum lies between the least and the largest possible one, 0 to 1.
    pub score: f64,
    /// The p-value of that passage alone.
    pub p: PValue,
}

/// Returns the default of the least number of documents that makes an n-gram a shared one.
pub fn default_least_documents(documents: usize) -> u64 {
    (documents as u64).div_ceil(100).max(3)
}

/// Ranks the key of `prf` among random keys on `corpus`.
///
/// # Errors
/// Returns an error if the level is out of its range, or if the statistic cannot sum what the key's scheme gives. Random
/// keys have the key's parameters, so they can be made.
///
/// # Panics
/// Panics if the n-grams of `prf` have another length than those of the corpus.
pub fn calibrate(corpus: &Corpus, prf: &Prf, options: &Options) -> Result<Calibration, CalibrateError> {
    calibrate_while(corpus, prf, options, |_| true)
}

/// Ranks the key as [`calibrate`] does, as long as `go_on` says so. All threads call it now and then, with the number
/// of documents that are done. After it has said no, no further document is begun. The result is that of the documents
/// that were begun, with the warning [`Interrupted`](WarningCode::Interrupted). It is as valid as the whole, since
/// `go_on` does not see what the keys flag.
///
/// # Errors
/// Returns an error if [`calibrate`] would.
pub fn calibrate_while(
    corpus: &Corpus,
    prf: &Prf,
    options: &Options,
    go_on: impl Fn(u64) -> bool + Sync,
) -> Result<Calibration, CalibrateError> {
    check_fpr(options.fpr)?;
    let scheme = prf.scheme();
    if scheme.positions_depend_on_key() {
        return Err(CalibrateError::KeyedPositions { scheme: scheme.name() });
    }
    let statistic = options.decider.statistic(scheme.evidence_kind())?;
    let judge = Judge::new(corpus, &*statistic, options.fpr, scheme.channels().into());
    let Flagged { documents, own, random } = judge.flagged(prf, options, go_on)?;
    let given = corpus.len();
    let corpus = corpus.first(documents);

    let total = |counts: &Counts| counts.iter().sum::<u64>();
    let flagged = total(&own);
    let random_flagged: Vec<u64> = random.iter().map(total).collect();
    let keys_at_least = random_flagged.iter().filter(|&&x| x >= flagged).count() as u64;
    let rank_p = (1 + keys_at_least) as f64 / (options.keys + 1) as f64;

    let expected = corpus.forms().map(|forms| (forms[0].scored.tokens(), judge.size(forms)));
    let expected: Vec<(u64, f64)> = expected.collect();
    let rate = rate(flagged, &random_flagged, documents as u64, expected.iter().map(|(_, size)| size).sum());
    let buckets = buckets(&own, &random, &expected);
    let shared = shared(corpus, &*statistic, prf, options)?;

    let mut warnings = Vec::new();
    if let Promise::Approximate { reason } = scheme.promise() {
        let message = format!(
            "{reason}, so the rates over keys may lie above the level; the rank is exact all the same"
        );
        warnings.push(Warning::new(WarningCode::ApproximateP, message));
    }
    if documents < given {
        let message = format!("it was interrupted: the report is of the first {documents} of {given} texts");
        warnings.push(Warning::new(WarningCode::Interrupted, message));
    }
    if options.keys < LEAST_KEYS {
        let message = format!(
            "{} random keys are too few to call a key worse than chance; {LEAST_KEYS} are needed",
            options.keys
        );
        warnings.push(Warning::new(WarningCode::FewKeys, message));
    }
    if (documents as f64) * options.fpr < 1.0 {
        let message = format!(
            "a corpus of {} is small for a rate of {}: most keys flag none",
            counted(documents as u64, "document"),
            options.fpr
        );
        warnings.push(Warning::new(WarningCode::FewDocuments, message));
    }
    Ok(Calibration {
        method: statistic.method(),
        fpr: options.fpr,
        documents: documents as u64,
        documents_given: given as u64,
        tokens: corpus.tokens(),
        scored_tokens: corpus.scored_tokens(),
        ignored_tokens: corpus.ignored_tokens(),
        random_keys: options.keys,
        seed: options.seed,
        flagged,
        random_flagged,
        keys_at_least,
        rank_p,
        worse_than_chance: rank_p <= WORSE_THAN_CHANCE && options.keys >= LEAST_KEYS,
        rate,
        buckets,
        shared,
        warnings,
    })
}

/// Returns the passages that many documents share, under the deployed key.
fn shared(
    corpus: First<'_>,
    statistic: &dyn Statistic,
    prf: &Prf,
    options: &Options,
) -> Result<Shared, UnsupportedEvidence> {
    let documents = corpus.lengths().count();
    let least = options.least_documents.unwrap_or_else(|| default_least_documents(documents));
    let counts = corpus.document_counts();
    let common = || counts.iter().filter(|&&documents| documents >= least);
    let passages = corpus.shared_passages(least);
    let (rule, kind) = (prf.scheme().context_rule(), prf.scheme().evidence_kind());
    let describe = |passage: &Passage| {
        // The rule for a passage inside a text: nothing stands before it.
        let whole = match rule {
            ContextRule::Whole { .. } | ContextRule::Shortest { .. } => rule,
            ContextRule::Padded { len } | ContextRule::Spanning { len } => ContextRule::Whole { len },
        };
        let piece = Piece::whole(whole, &[], &passage.tokens);
        let mask = match whole {
            ContextRule::Shortest { .. } => piece.scored(),
            _ => vec![true; piece.shares.len()],
        };
        let ngrams = piece.selected(&mask);
        let n = Scored::full(ngrams.iter().map(Ngrams::len).sum::<usize>() as u64);
        let mut g = Vec::new();
        let mut sum = i64::MIN;
        for prf in prf.channels() {
            let mut of_channel = 0;
            for ngrams in &ngrams {
                prf.g_bits_of(ngrams, &mut g);
                of_channel += statistic.sum(Sample::bits(kind, &g))?;
            }
            sum = sum.max(of_channel);
        }
        let (smallest, largest) = (statistic.smallest_sum(n), statistic.largest_sum(n));
        let p = statistic.p_value(n, sum).unwrap_or(PValue::ONE);
        Ok(SharedPassage {
            tokens: passage.tokens.clone(),
            documents: passage.documents,
            score: (sum - smallest) as f64 / (largest - smallest) as f64,
            p: p.corrected(prf.scheme().channels().into()),
        })
    };
    Ok(Shared {
        least_documents: least,
        ngrams: common().count() as u64,
        scored_share: common().sum::<u64>() as f64 / corpus.scored_tokens().max(1) as f64,
        passages_found: passages.len() as u64,
        passages: passages.iter().take(options.passages).map(describe).collect::<Result<_, _>>()?,
    })
}
