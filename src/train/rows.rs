//! Rows to learn from, from any source, and their order.
//!
//! A text ([`super::corpus`]), examples ([`super::examples`]) and a file of teacher targets ([`super::targets`]) are
//! [`Source`]s of [`Row`]s. Rows of a batch become [`Lesson`]s.

use super::error::{Error, Result};
use super::objective::{Goals, Lesson, ListRule};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A row of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The tokens; each but the first is predicted from those before it.
    pub ids: Vec<u32>,
    /// For each token but the first, whether it is learned.
    pub mask: Vec<bool>,
    /// Number of tokens before the last answer; `None` in a text, where any beginning can be a prompt.
    pub prompt: Option<usize>,
    /// What a teacher said about the learned tokens, if it was asked in advance.
    pub listed: Option<Listed>,
}

/// Ids with a teacher's log-probabilities, `k` for each learned token of a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listed {
    /// Number of entries for each token.
    pub k: usize,
    /// Ids, `[tokens, k]`.
    pub ids: Vec<u32>,
    /// Log-probabilities, `[tokens, k]`, in nats.
    pub logprobs: Vec<f32>,
}

impl Row {
    /// Makes a row whose tokens are all learned.
    pub fn of_text(ids: Vec<u32>) -> Self {
        let mask = vec![true; ids.len().saturating_sub(1)];
        Self { ids, mask, prompt: None, listed: None }
    }

    /// Returns the number of tokens that are learned.
    pub fn count(&self) -> usize {
        self.mask.iter().filter(|learned| **learned).count()
    }
}

/// Source of rows.
pub trait Source: std::fmt::Debug + Sync {
    /// Returns the numbers of all rows of an epoch, in a fixed order.
    fn places(&self, context: usize, epoch: u64) -> Vec<usize>;

    /// Returns a row to train on, of at most `context` + 1 tokens.
    fn row(&self, place: usize, context: usize) -> Row;

    /// Returns the first `rows` held-out rows, or all of them if there are fewer.
    fn held_out(&self, context: usize, rows: usize) -> Vec<Row>;

    /// Returns the largest token id.
    fn largest_id(&self) -> u32;

    /// Describes how much data there is, for messages.
    fn size(&self) -> String;

    /// Returns the SHA-256 of all data, in hexadecimal.
    fn fingerprint(&self) -> String;

    /// Returns how listed targets are learned from; `None` if the rows have none.
    fn rule(&self) -> Option<ListRule> {
        None
    }
}

/// A [`Source`] whose rows are all in memory and the same in every epoch.
pub trait FixedRows: std::fmt::Debug + Sync {
    /// Returns the rows to train on.
    fn train(&self) -> &[Row];

    /// Returns the held-out rows.
    fn held_out(&self) -> &[Row];

    /// Returns what the rows are called, in the plural, for messages.
    fn name(&self) -> &'static str;

    /// Returns the [`Source::fingerprint`].
    fn fingerprint(&self) -> String;

    /// Returns the [`Source::rule`].
    fn rule(&self) -> Option<ListRule> {
        None
    }
}

impl<T: FixedRows> Source for T {
    fn places(&self, _: usize, _: u64) -> Vec<usize> {
        (0..self.train().len()).collect()
    }

    fn row(&self, place: usize, _: usize) -> Row {
        self.train()[place].clone()
    }

    fn held_out(&self, _: usize, rows: usize) -> Vec<Row> {
        FixedRows::held_out(self).iter().take(rows).cloned().collect()
    }

    fn largest_id(&self) -> u32 {
        let rows = self.train().iter().chain(FixedRows::held_out(self));
        rows.flat_map(|row| &row.ids).copied().max().unwrap_or(0)
    }

    fn size(&self) -> String {
        let (train, held_out) = (self.train().len(), FixedRows::held_out(self).len());
        format!("{train} {} to train on, {held_out} held out", self.name())
    }

    fn fingerprint(&self) -> String {
        FixedRows::fingerprint(self)
    }

    fn rule(&self) -> Option<ListRule> {
        FixedRows::rule(self)
    }
}

/// Pads rows to one length. Gives each learned token its id, or its entries in a list, as the goal.
pub fn lesson(rows: &[Row], rule: Option<ListRule>) -> Lesson {
    let listed = |rule| {
        let entries = || rows.iter().flat_map(|row| &row.listed);
        Goals::Listed {
            k: entries().map(|e| e.k).next().unwrap_or(0),
            ids: entries().flat_map(|e| &e.ids).copied().collect(),
            logprobs: entries().flat_map(|e| &e.logprobs).copied().collect(),
            rule,
        }
    };
    with_goals(rows, rule.map_or(Goals::Ids, listed))
}

/// Pads rows to one length. `what` has an entry for each learned token. Padding is never learned.
pub fn with_goals(rows: &[Row], what: Goals) -> Lesson {
    let len = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let mut mask = Vec::new();
    let mut padded = Vec::new();
    for row in rows {
        let mut ids = row.ids.clone();
        ids.resize(len, super::tokenizer::PAD);
        padded.push(ids);
        mask.extend(&row.mask);
        mask.resize(padded.len() * len.saturating_sub(1), false);
    }
    Lesson::new(padded, &mask, what)
}

/// Order of the rows: a new shuffle in each epoch, which is a function of the seed.
#[derive(Debug, Clone)]
pub struct Order {
    seed: u64,
    context: usize,
    epoch: u64,
    next: usize,
    places: Vec<usize>,
}

impl Order {
    /// Returns the order from a position on: an epoch, and the number of its rows that are used up.
    ///
    /// # Errors
    /// Returns an error if there are no rows.
    pub fn new(source: &dyn Source, seed: u64, context: usize, epoch: u64, next: usize) -> Result<Self> {
        let mut order = Self { seed, context, epoch, next, places: Vec::new() };
        order.shuffle(source);
        if order.places.is_empty() {
            let expected = format!("at least one window of {context}");
            return Err(Error::Text { found: source.size(), expected });
        }
        Ok(order)
    }

    fn shuffle(&mut self, source: &dyn Source) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(1 + self.epoch);
        self.places = source.places(self.context, self.epoch);
        self.places.shuffle(&mut rng);
    }

    /// Returns the epoch, and the number of its rows that are used up.
    pub fn position(&self) -> (u64, usize) {
        (self.epoch, self.next)
    }

    /// Returns the number of the next row.
    pub fn next(&mut self, source: &dyn Source) -> usize {
        if self.next >= self.places.len() {
            self.epoch += 1;
            self.next = 0;
            self.shuffle(source);
        }
        self.next += 1;
        self.places[self.next - 1]
    }
}
