//! A live teacher: any Gemma with the student's vocabulary.

use super::error::{Error, Result};
use super::objective::{Divergence, Goals, Lesson};
use super::rows::{Row, with_goals};
use crate::model::Gemma;

/// Number of positions whose logits the model computes at once.
const POSITIONS: usize = 256;

/// A model whose distributions are learned.
#[derive(Debug, Clone)]
pub struct Teacher {
    model: Gemma,
}

impl Teacher {
    /// Takes a model as the teacher of students with a vocabulary of `vocab` entries.
    ///
    /// # Errors
    /// Returns an error if the vocabularies differ in size. The caller, which has the tokenizers, must check that the
    /// vocabularies are the same.
    pub fn new(model: Gemma, vocab: usize) -> Result<Self> {
        let expected = model.config().vocab;
        if expected != vocab {
            return Err(Error::OtherVocabulary { expected, found: vocab });
        }
        Ok(Self { model })
    }

    /// Returns the fingerprint of the weights; empty for a model that was not read from files.
    pub fn fingerprint(&self) -> &str {
        self.model.fingerprint().unwrap_or_default()
    }

    /// Returns the length of the longest row that it can read, in positions.
    pub fn context(&self) -> usize {
        self.model.config().max_position
    }

    /// Returns the size of its vocabulary.
    pub fn vocab(&self) -> usize {
        self.model.config().vocab
    }

    /// Returns the final logits, including the soft cap, before each learned token of a row, `[learned, vocab]`.
    ///
    /// # Errors
    /// Returns the errors of the model.
    pub fn logits(&self, row: &Row) -> Result<Vec<f32>> {
        let vocab = self.vocab();
        let mut all = Vec::with_capacity(row.count() * vocab);
        let ids = &row.ids[..row.ids.len() - 1];
        let mut cache = self.model.new_cache(1);
        self.model.visit_logits(&[ids], &mut cache, POSITIONS, |at, logits| {
            let values = logits.flatten_all()?.to_vec1::<f32>()?;
            for (values, learned) in values.chunks_exact(vocab).zip(&row.mask[at..]) {
                if *learned {
                    all.extend(values);
                }
            }
            Ok::<(), Error>(())
        })?;
        Ok(all)
    }

    /// Makes a lesson of rows with this teacher's distributions as goals.
    ///
    /// # Errors
    /// Returns the errors of the model.
    pub fn lesson(&self, rows: &[Row], divergence: Divergence) -> Result<Lesson> {
        let mut logits = Vec::new();
        for row in rows {
            logits.extend(self.logits(row)?);
        }
        Ok(with_goals(rows, Goals::Teacher { logits, divergence }))
    }
}
