//! Drafts: guesses at the next tokens of a response, all checked in one pass over the weights.
//!
//! Reading the weights takes nearly all the time of a decode step. A pass that computes several positions takes little more time
//! than a pass for one. So the engine feeds the last token together with guesses at the tokens after it. The logits after each of
//! them are bit-identical to those of single-token steps ([`LanguageModel::feed`](super::LanguageModel::feed)), and each token is
//! drawn from them as usual. A guess is right if it is the token that was drawn. At the first wrong guess, what was read after it
//! is taken back. So a text, its mark, its log-probabilities and its receipt are the same as without drafts, whatever was guessed.
//! Only the time differs.
//!
//! A draft model guesses what it would write itself, with the settings, the key and the seed of the response. Draws are seeded so
//! that two models that nearly agree on a distribution nearly always draw the same token ([`Draw`](crate::sample::Draw)).
//!
//!  file | what it does |
//! |---|---|
//!  `lookup` | guesses from the prompt and the text so far |
//!  `models` | combines the model that answers with the model that guesses for it |
//!  `odds` | estimates how often guesses of a class are right |
//!  `pace` | decides how many guesses pay off, from the time that passes have taken |

mod lookup;
mod models;
mod odds;
mod pace;

pub(super) use lookup::Lookup;
pub(super) use models::{Caches, Models};
pub(super) use odds::{CLASSES, Odds};
pub(super) use pace::{GAIN, Pace};

/// Source of guesses.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Draft<M> {
    /// No guesses: a pass over the weights gives a response one token.
    #[default]
    None,
    /// The prompt and the text so far: guesses what followed earlier occurrences of the last tokens. This pays off where a text
    /// repeats itself or its prompt, as summaries, extracts and edited texts do.
    Prompt,
    /// A smaller model with the same vocabulary.
    Model(M),
}

/// Guesses at the next tokens of a response.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Guess {
    /// The guessed tokens, the next one first.
    pub(super) tokens: Vec<u32>,
    /// Number of guesses that the next pass tries: the first ones. The model is not asked about the others.
    pub(super) tried: usize,
    /// Class of each guess in [`Odds`], from 1 to [`CLASSES`]: how sure it is.
    pub(super) classes: Vec<usize>,
}

impl Guess {
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.classes.clear();
        self.tried = 0;
    }

    /// Returns the guesses that the next pass tries.
    pub(super) fn tried(&self) -> &[u32] {
        &self.tokens[..self.tried]
    }

    pub(super) fn push(&mut self, token: u32, class: usize) {
        self.tokens.push(token);
        self.classes.push(class);
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}
