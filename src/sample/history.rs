//! The tokens before a position, as the penalties count them.

use super::Sampling;
use super::filter::{penalised, penalised_by_count};

/// The tokens before a position, as the penalties count them; empty if the settings have no penalty.
#[derive(Clone, Debug, Default)]
pub struct History {
    repeats: bool,
    counts: bool,
    /// Distinct tokens of prompt and response in ascending order, for the repeat penalty.
    seen: Vec<u32>,
    /// Distinct tokens of the response in ascending order, and how often each occurred, for the frequency and the
    /// presence penalty.
    counted: Vec<(u32, u32)>,
}

impl History {
    /// Starts a response to `prompt` whose tokens are drawn under any of `settings`.
    pub fn new<'a>(settings: impl IntoIterator<Item = &'a Sampling>, prompt: &[u32]) -> Self {
        let mut history = Self::default();
        for Penalties { repeat, frequency, presence } in settings.into_iter().map(Sampling::penalties) {
            history.repeats |= repeat != 1.0;
            history.counts |= frequency != 0.0 || presence != 0.0;
        }
        if history.repeats {
            history.seen.extend_from_slice(prompt);
            history.seen.sort_unstable();
            history.seen.dedup();
        }
        history
    }

    /// Appends a token of the response.
    pub fn push(&mut self, token: u32) {
        if self.repeats
            && let Err(place) = self.seen.binary_search(&token)
        {
            self.seen.insert(place, token);
        }
        if self.counts {
            match self.counted.binary_search_by_key(&token, |entry| entry.0) {
                Ok(place) => self.counted[place].1 += 1,
                Err(place) => self.counted.insert(place, (token, 1)),
            }
        }
    }
}

/// Settings that make logits depend on the tokens before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Penalties {
    pub(super) repeat: f32,
    pub(super) frequency: f64,
    pub(super) presence: f64,
}

impl Penalties {
    pub(super) const NONE: Self = Self { repeat: 1.0, frequency: 0.0, presence: 0.0 };

    /// Writes the tokens whose logits change to `changed`, in the order of their ids, with their logits after the
    /// penalties. Tokens for which `logit` returns `None` are left out.
    pub(super) fn apply(
        self,
        history: &History,
        logit: impl Fn(u32) -> Option<f32>,
        changed: &mut Vec<(u32, f32)>,
    ) {
        let Self { repeat, frequency, presence } = self;
        changed.clear();
        if repeat != 1.0 {
            let known = history.seen.iter().filter_map(|&token| Some((token, logit(token)?)));
            changed.extend(known.map(|(token, logit)| (token, penalised(logit, repeat))));
        }
        if frequency != 0.0 || presence != 0.0 {
            let counted = history.counted.iter();
            if repeat == 1.0 {
                let known = counted.clone().filter_map(|&(token, _)| Some((token, logit(token)?)));
                changed.extend(known);
            }
            // Every counted token was also seen, so it is among them.
            let mut counted = counted.peekable();
            for (token, logit) in changed {
                while counted.next_if(|entry| entry.0 < *token).is_some() {}
                if let Some((_, count)) = counted.next_if(|entry| entry.0 == *token) {
                    *logit = penalised_by_count(*logit, *count, frequency, presence);
                }
            }
        }
    }
}
