//! The texts of a calibration: each n-gram once, and for each document the positions that count.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ignore::IgnoreList;
use crate::scheme::{EvidenceStream, Piece, Prf, Share};
use crate::statistics::Scored;

/// A passage that many documents share: neighbouring n-grams, each of them in many documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its tokens, at least H + 1.
    pub tokens: Vec<u32>,
    /// In how many documents the rarest of its n-grams occurs.
    pub documents: u64,
}

/// Documents as n-grams. The positions that count depend on the texts alone and are the same for all keys of a scheme,
/// so they are found once.
#[derive(Debug)]
pub struct Corpus {
    ngram_len: usize,
    /// The distinct n-grams that count somewhere. For n-grams with shorter contexts it also has the `ngram_len` tokens
    /// that end with them.
    ngrams: Vec<Box<[u32]>>,
    /// Index of each n-gram in `ngrams`.
    index: HashMap<Box<[u32]>, u32>,
    documents: Vec<Document>,
}

/// The first documents of a corpus.
#[derive(Clone, Copy)]
pub(super) struct First<'a> {
    corpus: &'a Corpus,
    documents: &'a [Document],
}

/// What counts in a form of a text.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Indices of the n-grams, those with the largest share first.
    pub ngrams: Vec<u32>,
    /// How many of them have each share.
    pub scored: Scored,
}

#[derive(Debug)]
struct Document {
    /// What counts in each form of the text.
    forms: Vec<Form>,
    /// The text as it was given, for the search for shared passages.
    ids: Vec<u32>,
    /// The `ngram_len` tokens that end with each position that counts in it.
    longest: Vec<u32>,
    /// Positions that would count without the ignore list.
    ignored: u64,
}

/// The positions of a text that count, by their n-grams.
#[derive(Default)]
struct Counting {
    /// The n-grams as they are hashed.
    form: Form,
    /// The n-grams of full length that count with at least two thirds. None of them counts twice in a text.
    longest: Vec<u32>,
    /// Positions that would count without the ignore list.
    ignored: u64,
}

impl Corpus {
    /// Makes a corpus without documents; `ngram_len` is H + 1.
    pub fn new(ngram_len: usize) -> Self {
        Self { ngram_len, ngrams: Vec::new(), index: HashMap::new(), documents: Vec::new() }
    }

    /// Adds the token ids of a document, without what `ignore` lists. The scheme of `prf` says which positions count;
    /// its key plays no part.
    ///
    /// # Panics
    /// Panics if `prf`'s n-grams do not have the corpus's length.
    pub fn push(&mut self, prf: &Prf, ids: &[u32], ignore: Option<&IgnoreList>) {
        self.push_forms(prf, &[ids], ignore);
    }

    /// Adds a document of several forms, as [`Detector::token_forms`](crate::Detector::token_forms) gives them. A key
    /// flags it if the least p of the forms, times their number, reaches the level. Everything else is about the first
    /// form.
    ///
    /// # Panics
    /// Panics if `prf`'s n-grams do not have the corpus's length, or if there is no form.
    pub fn push_forms(&mut self, prf: &Prf, forms: &[impl AsRef<[u32]>], ignore: Option<&IgnoreList>) {
        assert_eq!(prf.scheme().ngram_len(), self.ngram_len, "one corpus has one length of n-grams");
        let mut document =
            Document { forms: Vec::new(), ids: forms[0].as_ref().to_vec(), longest: Vec::new(), ignored: 0 };
        for (form, ids) in forms.iter().enumerate() {
            let counting = self.counting(prf, ids.as_ref(), ignore);
            document.forms.push(counting.form);
            if form == 0 {
                (document.longest, document.ignored) = (counting.longest, counting.ignored);
            }
        }
        self.documents.push(document);
    }

    /// Returns the positions of a text that count.
    fn counting(&mut self, prf: &Prf, ids: &[u32], ignore: Option<&IgnoreList>) -> Counting {
        let piece = Piece::whole(prf.scheme().context_rule(), &[], ids);
        let evidence = EvidenceStream::new(prf).push(&piece);
        let mut counting = Counting::default();
        let mask = evidence.scored_mask();
        let share = |i: usize| match evidence.layers() {
            Some(values) => values.shares[i],
            None if mask[i] => Share::Full,
            None => Share::Nothing,
        };
        let mut by_share: [Vec<u32>; 4] = Default::default();
        let positions = (piece.first + 1..).zip(piece.ngrams()).zip((0..mask.len()).map(share));
        for ((end, ngram), share) in positions.filter(|(_, share)| *share != Share::Nothing) {
            if ignore.is_some_and(|list| list.contains(ngram)) {
                counting.ignored += 1;
                continue;
            }
            let place = self.place(ngram);
            by_share[usize::from(share.thirds())].push(place);
            if share < Share::TwoThirds {
                continue;
            }
            if ngram.len() == self.ngram_len {
                counting.longest.push(place);
            } else if let Some(start) = end.checked_sub(self.ngram_len) {
                counting.longest.push(self.place(&ids[start..end]));
            }
        }
        let [_, third, two_thirds, full] = by_share.each_ref().map(|places| places.len() as u64);
        counting.form.scored = Scored { full, two_thirds, third };
        counting.form.ngrams = by_share.into_iter().rev().flatten().collect();
        counting
    }

    /// Returns the index of an n-gram.
    fn place(&mut self, ngram: &[u32]) -> u32 {
        if let Some(&place) = self.index.get(ngram) {
            return place;
        }
        let place = self.ngrams.len() as u32;
        self.ngrams.push(ngram.into());
        self.index.insert(ngram.into(), place);
        place
    }

    /// Returns the number of documents.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Returns whether the corpus is empty.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Returns the number of tokens of all documents.
    pub fn tokens(&self) -> u64 {
        self.all().tokens()
    }

    /// Returns the number of positions that count, in all documents.
    pub fn scored_tokens(&self) -> u64 {
        self.all().scored_tokens()
    }

    /// Returns the number of positions that would count without the ignore list.
    pub fn ignored_tokens(&self) -> u64 {
        self.all().ignored_tokens()
    }

    /// Returns the passages whose n-grams count in at least `least` documents each, the commonest first. Each n-gram is
    /// in one of them, and parts of a longer passage are not repeated.
    pub fn shared_passages(&self, least: u64) -> Vec<Passage> {
        self.all().shared_passages(least)
    }

    /// Returns all documents.
    pub(super) fn all(&self) -> First<'_> {
        self.first(self.len())
    }

    /// Returns the first `count` documents.
    pub(super) fn first(&self, count: usize) -> First<'_> {
        First { corpus: self, documents: &self.documents[..count] }
    }

    /// Returns an n-gram by its index.
    pub(super) fn ngram(&self, index: u32) -> &[u32] {
        &self.ngrams[index as usize]
    }
}

impl<'a> First<'a> {
    /// Returns the number of tokens.
    pub(super) fn tokens(self) -> u64 {
        self.documents.iter().map(|document| document.ids.len() as u64).sum()
    }

    /// Returns the number of positions that count.
    pub(super) fn scored_tokens(self) -> u64 {
        self.lengths().sum()
    }

    /// Returns the number of positions that would count without the ignore list.
    pub(super) fn ignored_tokens(self) -> u64 {
        self.documents.iter().map(|document| document.ignored).sum()
    }

    /// Returns the number of scored positions n of each document.
    pub(super) fn lengths(self) -> impl Iterator<Item = u64> + 'a {
        self.forms().map(|forms| forms[0].scored.tokens())
    }

    /// Returns the forms of each document.
    pub(super) fn forms(self) -> impl Iterator<Item = &'a [Form]> {
        self.documents.iter().map(|document| document.forms.as_slice())
    }

    /// Returns in how many documents each distinct n-gram of full length ends at a position that counts.
    pub(super) fn document_counts(self) -> Vec<u64> {
        let mut counts = vec![0; self.corpus.index.len()];
        for document in self.documents {
            // No n-gram counts twice in a document: its context, or the pair that ends it, would be a repetition.
            for &index in &document.longest {
                counts[index as usize] += 1;
            }
        }
        counts
    }

    /// See [`Corpus::shared_passages`].
    pub(super) fn shared_passages(self, least: u64) -> Vec<Passage> {
        let (counts, ngram_len) = (self.document_counts(), self.corpus.ngram_len);
        let mut runs: BTreeMap<&[u32], u64> = BTreeMap::new();
        for document in self.documents {
            let mut run: Option<(usize, u64)> = None;
            let windows = document.ids.windows(ngram_len);
            let ends = windows.len();
            for (at, ngram) in windows.enumerate() {
                let count = self.corpus.index.get(ngram).map_or(0, |&index| counts[index as usize]);
                // A passage and the text that follows it in only one document differ in how common they are. So do a
                // signature and the last line of a form letter above it.
                let goes_on = run
                    .is_some_and(|(_, rarest)| count >= least && count <= 2 * rarest && rarest <= 2 * count);
                if let Some((start, rarest)) = run
                    && !goes_on
                {
                    runs.insert(&document.ids[start..at + ngram_len - 1], rarest);
                    run = None;
                }
                run = match run {
                    Some((start, rarest)) => Some((start, rarest.min(count))),
                    None => (count >= least).then_some((at, count)),
                };
            }
            if let Some((start, rarest)) = run {
                runs.insert(&document.ids[start..ends + ngram_len - 1], rarest);
            }
        }
        let mut runs: Vec<_> = runs.into_iter().collect();
        // The longest first, so that its parts are found in it; then in a fixed order.
        runs.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(b.0)));
        let mut covered: HashSet<&[u32]> = HashSet::new();
        let mut passages = Vec::new();
        for (tokens, documents) in runs {
            let before = covered.len();
            covered.extend(tokens.windows(ngram_len));
            if covered.len() > before {
                passages.push(Passage { tokens: tokens.to_vec(), documents });
            }
        }
        passages.sort_by_key(|passage| std::cmp::Reverse((passage.documents, passage.tokens.len())));
        passages
    }
}
