//! Reads a text again with the model that may have written it. This is a source for [`wmdetect::model_ratio`].
//!
//! A pass over the text gives the logits of all positions. Each position yields one distribution for each sampling
//! setting, as the generator would have drawn from it, and is dropped. So only the model's cache grows with the text, and
//! the cost is that of reading a prompt of this length.

use std::ops::ControlFlow;

use wmdetect::model_ratio::NextTokens;
use wmdetect::scheme::Distribution;

use super::VerifyError;
use crate::logits::Logits;
use crate::model::{self, Gemma, first_non_finite};
use crate::sample::{History, Sampler, Sampling};

/// Number of positions whose logits are held at once, 1 MB each for 256,000 entries. The head's weights are converted
/// once for all of them, which costs as much as some 40 positions.
const CHUNK: usize = 128;
/// A [`Gemma`] as a source of next-token distributions.
pub struct Reader {
    model: Gemma,
    bos: Option<u32>,
    settings: Vec<Sampling>,
    never: Vec<u32>,
}

/// Reason for the end of a pass: an error, or enough evidence.
enum End {
    Enough,
    Error(VerifyError),
}

impl From<VerifyError> for End {
    fn from(error: VerifyError) -> Self {
        Self::Error(error)
    }
}

impl From<model::Error> for End {
    fn from(error: model::Error) -> Self {
        Self::Error(error.into())
    }
}

impl Reader {
    /// Reads with `model`, whose texts begin with `bos`, and returns one distribution for each of `settings`.
    ///
    /// # Errors
    /// Returns an error if settings are out of range, or the temperature is 0, at which no token is drawn.
    pub fn new(model: &Gemma, bos: Option<u32>, settings: Vec<Sampling>) -> Result<Self, VerifyError> {
        for setting in &settings {
            setting.check(true)?;
        }
        Ok(Self { model: model.unrounded(), bos, settings, never: Vec::new() })
    }

    /// Excludes tokens that the generator never drew, such as the ends of a text.
    pub fn never(mut self, tokens: Vec<u32>) -> Self {
        self.never = tokens;
        self
    }

    /// Runs one pass over `start` and `ids`. Visits the positions of `ids` from `from` on, and adds their tokens to
    /// `history`.
    fn pass(
        &self,
        start: &[u32],
        ids: &[u32],
        from: usize,
        offset: usize,
        history: &mut History,
        visit: &mut dyn FnMut(usize, &[Distribution]) -> ControlFlow<()>,
    ) -> Result<(), End> {
        let all = [start, ids].concat();
        // The logits after a token are for the next one, so the last token need not be read.
        let first_row = start.len() + from - 1;
        let (mut sampler, mut next) = (Sampler::default(), Vec::new());
        let mut cache = self.model.new_cache(1);
        if first_row > 0 {
            self.model.forward(&[&all[..first_row]], &mut cache)?;
        }
        let rest = &all[first_row..all.len() - 1];
        self.model.visit_logits(&[rest], &mut cache, CHUNK, |at, logits| -> Result<(), End> {
            let mut rows =
                logits.squeeze(0).and_then(|logits| logits.to_vec2::<f32>()).map_err(model::Error::from)?;
            for (row, logits) in rows.iter_mut().enumerate() {
                let position = first_row + at + row;
                if let Some(token) = first_non_finite(logits) {
                    return Err(VerifyError::NotFinite { token, position }.into());
                }
                for &token in &self.never {
                    if let Some(logit) = logits.get_mut(token as usize) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
                sampler
                    .distributions(&self.settings, Logits::capped(logits), history, &mut next)
                    .map_err(VerifyError::from)?;
                if visit(offset + position + 1 - start.len(), &next).is_break() {
                    return Err(End::Enough);
                }
                history.push(all[position + 1]);
            }
            Ok(())
        })
    }
}

impl NextTokens for Reader {
    type Error = VerifyError;

    fn settings(&self) -> usize {
        self.settings.len()
    }

    /// Reads a text longer than the context in overlapping parts. Each token has at least half a context before it. Only
    /// the first part follows the prompt.
    fn for_each(
        &mut self,
        prompt: &[u32],
        ids: &[u32],
        visit: &mut dyn FnMut(usize, &[Distribution]) -> ControlFlow<()>,
    ) -> Result<(), VerifyError> {
        let limit = self.model.config().max_position;
        let bos: Vec<u32> = self.bos.into_iter().collect();
        let start = if prompt.is_empty() { &bos } else { prompt };
        if start.is_empty() {
            return Err(VerifyError::NoStart);
        }
        if start.len() > limit / 2 && start.len() + ids.len() > limit + 1 {
            return Err(VerifyError::PromptTooLong { prompt: start.len(), limit });
        }
        let mut history = History::new(&self.settings, start);
        let mut done = 0;
        while done < ids.len() {
            // `begin` to `end` is read; `done` to `end` is new.
            let (start, begin) = if done == 0 { (start, 0) } else { (&bos[..], done - limit / 2) };
            let end = (begin + limit + 1 - start.len()).min(ids.len());
            match self.pass(start, &ids[begin..end], done - begin, begin, &mut history, visit) {
                Ok(()) => done = end,
                Err(End::Enough) => return Ok(()),
                Err(End::Error(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::LoadOptions;

    /// Computed from the model's probabilities; these settings change them only by a factor for each token.
    #[test]
    fn penalties_and_min_p_are_those_of_the_generator() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-gemma2");
        let model = Gemma::load(Path::new(path), LoadOptions::default()).unwrap();
        let own = Sampling { top_k: 0, ..Sampling::default() };
        let asked = Sampling { frequency_penalty: -0.7, presence_penalty: 1.9, min_p: 0.02, ..own };
        let mut reader = Reader::new(&model, None, vec![own, asked]).unwrap();
        let (prompt, ids) = ([2, 9, 9, 40], [9, 17, 9, 9, 300, 17, 40, 5]);
        let mut positions = 0;
        let mut visit = |at: usize, next: &[Distribution]| {
            assert_eq!(at, positions);
            positions += 1;
            let weight = |(token, p): (&u32, &f64)| {
                let count = ids[..at].iter().filter(|id| *id == token).count();
                let logit = if count > 0 { 0.7 * count as f64 - 1.9 } else { 0.0 };
                (*token, p * logit.exp())
            };
            let mut want: Vec<(u32, f64)> =
                next[0].tokens().iter().zip(next[0].probabilities()).map(weight).collect();
            let most = want.iter().map(|entry| entry.1).fold(0.0, f64::max);
            want.retain(|entry| entry.1 >= 0.02 * most);
            let total: f64 = want.iter().map(|entry| entry.1).sum();
            assert_eq!(next[1].tokens().len(), want.len());
            for ((token, p), found) in want.iter().zip(next[1].tokens().iter().zip(next[1].probabilities())) {
                assert!(token == found.0 && (p / total - found.1).abs() < 1e-5, "{at}: {token} {found:?}");
            }
            ControlFlow::Continue(())
        };
        reader.for_each(&prompt, &ids, &mut visit).unwrap();
        assert_eq!(positions, ids.len());
    }
}
