//! Counts how many documents of a corpus each key flags.
//!
//! Hashing costs the time. So the documents are cut, masked and turned into n-grams once ([`Corpus`]). The n-grams of
//! some documents at a time are laid out once and hashed under one key after the other, each of them once. A document
//! is flagged if its integer score is at least the least score that reaches the level for its length. The null
//! distribution gives that score once for each length. A document of several forms is flagged if one of them reaches
//! the level divided by their number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::corpus::{self, Corpus};
use super::rates::{Counts, bucket};
use super::{CalibrateError, Options};
use crate::pool;
use crate::scheme::{GBits, Key, KeyError, Ngrams, Prf, Scheme, Secret, Share};
use crate::statistics::{Sample, Scored, Statistic, UnsupportedEvidence};

/// Number of positions of the documents that are judged together. They are so many that most n-grams that documents
/// share are hashed once, and so few that their values stay in the processor's caches.
const TOGETHER: u64 = 1 << 15;

/// Positions times keys after which a run that was asked to stop has stopped: less than a second of work.
const BEFORE_STOP: u64 = 1 << 24;

/// Flags the documents of a corpus under one key after the other.
pub(super) struct Judge<'a> {
    corpus: &'a Corpus,
    statistic: &'a dyn Statistic,
    /// How many channels a key has.
    channels: usize,
    /// For the scored tokens of a form and the number of forms: the least sum of a channel with p ≤ fpr, and P(a sum ≥
    /// it | null). `None` if no sum reaches the level.
    least: BTreeMap<(Scored, usize), Option<(i64, f64)>>,
}

/// What the keys flag among the first documents of a corpus.
pub(super) struct Flagged {
    /// How many documents were judged.
    pub documents: usize,
    /// Flagged documents under the deployed key.
    pub own: Counts,
    /// Flagged documents under each random key.
    pub random: Vec<Counts>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(corpus: &'a Corpus, statistic: &'a dyn Statistic, fpr: f64, channels: usize) -> Self {
        let kinds =
            |forms: &'a [corpus::Form]| forms.iter().map(|form| (statistic.counts(form.scored), forms.len()));
        let kinds: BTreeSet<(Scored, usize)> = corpus.all().forms().flat_map(kinds).collect();
        let least = |n: Scored, forms: usize| {
            // The same comparison that makes a verdict.
            let reaches =
                |sum| statistic.p_value(n, sum).is_some_and(|p| p.corrected(forms * channels).reaches(fpr));
            let (mut below, mut top) = (statistic.smallest_sum(n), statistic.largest_sum(n));
            if !reaches(top) {
                return None;
            }
            while top - below > 1 {
                let middle = below + (top - below) / 2;
                if reaches(middle) {
                    top = middle;
                } else {
                    below = middle;
                }
            }
            Some((top, statistic.ln_tail(n, top).exp()))
        };
        let least = kinds.into_iter().map(|kind| (kind, least(kind.0, kind.1))).collect();
        Self { corpus, statistic, channels, least }
    }

    /// Returns the least sum of one of `forms` forms that is flagged, and how often a random key reaches it.
    fn least(&self, form: &corpus::Form, forms: usize) -> Option<(i64, f64)> {
        self.least.get(&(self.statistic.counts(form.scored), forms)).copied().flatten()
    }

    /// Returns how often a random key flags a document; with several forms or channels, an upper bound.
    pub(super) fn size(&self, forms: &[corpus::Form]) -> f64 {
        let sizes = forms.iter().filter_map(|form| self.least(form, forms.len())).map(|(_, size)| size);
        sizes.sum::<f64>() * self.channels as f64
    }

    /// Judges the documents under the key of `prf` and under the random keys, on all threads, as long as `go_on` says
    /// so. It is called with the number of documents that are done.
    pub(super) fn flagged(
        &self,
        prf: &Prf,
        options: &Options,
        go_on: impl Fn(u64) -> bool + Sync,
    ) -> Result<Flagged, CalibrateError> {
        let batches = self.batches(options.keys);
        let (next, done, stopped) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let work = |_| -> Result<Vec<Counts>, CalibrateError> {
            let mut counts = vec![Counts::default(); options.keys as usize + 1];
            let mut g = Vec::new();
            loop {
                if stopped.load(Ordering::Relaxed) || !go_on(done.load(Ordering::Relaxed)) {
                    stopped.store(true, Ordering::Relaxed);
                    return Ok(counts);
                }
                // The batches are given out in order, and every batch that is begun is finished. So no document is left
                // out in between.
                let Some(documents) = batches.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return Ok(counts);
                };
                let batch = Batch::new(self, documents.clone());
                let (own, random) = counts.split_at_mut(1);
                batch.count(prf, &mut g, &mut own[0])?;
                for (r, counts) in (0..).zip(random) {
                    batch.count(&random_key(prf.scheme(), options.seed, r)?.prf(), &mut g, counts)?;
                }
                done.fetch_add(documents.len() as u64, Ordering::Relaxed);
            }
        };
        let mut counts = vec![Counts::default(); options.keys as usize + 1];
        for part in pool::on_each(pool::available_threads(), work) {
            for (counts, part) in counts.iter_mut().zip(part?) {
                counts.iter_mut().zip(part).for_each(|(count, more)| *count += more);
            }
        }
        let mut counts = counts.into_iter();
        let own = counts.next().unwrap_or_default();
        let begun = next.into_inner().min(batches.len());
        let documents = batches[..begun].last().map_or(0, |batch| batch.end);
        Ok(Flagged { documents, own, random: counts.collect() })
    }

    /// Returns the documents that are judged together.
    pub(super) fn batches(&self, keys: u64) -> Vec<Range<usize>> {
        let corpus = self.corpus.all();
        // Several batches for each thread, if there are enough positions for it to matter.
        let share = corpus.scored_tokens() / (4 * pool::available_threads() as u64);
        let functions = (keys + 1) * self.channels as u64;
        let most = share.max(TOGETHER / 4).min(BEFORE_STOP / functions).clamp(1, TOGETHER);
        let mut batches = Vec::new();
        let (mut start, mut positions) = (0, 0);
        let last = self.corpus.len().saturating_sub(1);
        for (document, forms) in corpus.forms().enumerate() {
            positions += forms.iter().map(|form| form.ngrams.len() as u64).sum::<u64>();
            if positions >= most || document == last {
                batches.push(start..document + 1);
                (start, positions) = (document + 1, 0);
            }
        }
        batches
    }
}

/// Documents that are judged together.
struct Batch<'a> {
    judge: &'a Judge<'a>,
    /// Their distinct n-grams, by length.
    ngrams: Vec<Ngrams<'a>>,
    documents: Vec<Document>,
}

struct Document {
    bucket: usize,
    /// The forms that can be flagged.
    forms: Vec<Form>,
}

struct Form {
    /// The least sum that is flagged.
    least: i64,
    /// Places of its n-grams in the batch, those with the largest share first.
    places: Vec<u32>,
    scored: Scored,
}

impl<'a> Batch<'a> {
    fn new(judge: &'a Judge<'a>, documents: Range<usize>) -> Self {
        let corpus = judge.corpus;
        let inside = || corpus.first(documents.end).forms().skip(documents.start);
        let mut distinct: Vec<u32> = inside().flatten().flat_map(|form| &form.ngrams).copied().collect();
        let rank = |index: &u32| (corpus.ngram(*index).len(), *index);
        distinct.sort_unstable_by_key(rank);
        distinct.dedup();
        let place = |index: &u32| distinct.partition_point(|other| rank(other) < rank(index)) as u32;
        let document = |forms: &[corpus::Form]| {
            let form = |form: &corpus::Form| {
                let (least, _) = judge.least(form, forms.len())?;
                Some(Form { least, places: form.ngrams.iter().map(place).collect(), scored: form.scored })
            };
            Document {
                bucket: bucket(forms[0].scored.tokens()),
                forms: forms.iter().filter_map(form).collect(),
            }
        };
        let documents = inside().map(document).collect();
        let of_length = |indices: &[u32]| {
            let each = indices.iter().map(|&index| corpus.ngram(index));
            Ngrams::new(corpus.ngram(indices[0]).len(), each)
        };
        let same = |a: &u32, b: &u32| corpus.ngram(*a).len() == corpus.ngram(*b).len();
        let ngrams = distinct.chunk_by(same).map(of_length).collect();
        Self { judge, ngrams, documents }
    }

    /// Adds the documents that this key flags.
    fn count(&self, prf: &Prf, g: &mut Vec<GBits>, counts: &mut Counts) -> Result<(), UnsupportedEvidence> {
        let mut flagged = vec![false; self.documents.len()];
        let mut values = Vec::new();
        for prf in prf.channels() {
            values.clear();
            for ngrams in &self.ngrams {
                prf.g_bits_of(ngrams, g);
                values.extend(self.judge.statistic.values(Sample::bits(prf.scheme().evidence_kind(), g))?);
            }
            for (document, flagged) in self.documents.iter().zip(&mut flagged) {
                let is_flagged = |form: &Form| {
                    let Scored { full, two_thirds, .. } = form.scored;
                    let (whole, rest) = form.places.split_at(full as usize);
                    let (two_thirds, third) = rest.split_at(two_thirds as usize);
                    let sum = |places: &[u32], share| {
                        let sum = places.iter().map(|&place| i64::from(values[place as usize])).sum();
                        self.judge.statistic.at_share(sum, share)
                    };
                    let parts = [(whole, Share::Full), (two_thirds, Share::TwoThirds), (third, Share::Third)];
                    parts.map(|(places, share)| sum(places, share)).iter().sum::<i64>() >= form.least
                };
                *flagged |= document.forms.iter().any(is_flagged);
            }
        }
        for (document, flagged) in self.documents.iter().zip(flagged) {
            counts[document.bucket] += u64::from(flagged);
        }
        Ok(())
    }
}

/// Returns key number `r` from `seed`, by SHA-256 in counter mode. It marks nothing, so it may be known.
///
/// # Errors
/// Returns an error if the scheme's parameters cannot work.
pub fn random_key(scheme: &Scheme, seed: u64, r: u64) -> Result<Key, KeyError> {
    let len = scheme.secret_shape().len;
    let mut secret = Zeroizing::new(Vec::with_capacity(len + 32));
    for block in 0_u64.. {
        if secret.len() >= len {
            break;
        }
        let mut hash = Sha256::new_with_prefix(b"wmdetect/calibrate/random-key/");
        for number in [seed, r, block] {
            hash.update(number.to_le_bytes());
        }
        secret.extend_from_slice(&hash.finalize());
    }
    secret.truncate(len);
    Key::new(scheme.clone(), Secret::new(secret))
}
