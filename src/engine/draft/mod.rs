//! Drafts: guesses at the next tokens of a response, which one pass over the weights checks all at once.
//!
//! Reading the weights takes nearly all of the time of a decode step, and a pass that computes several positions takes little more
//! than a pass for one. So the engine feeds the last token together with guesses at those that follow it. The logits after each of
//! them are to the bit those that steps of one token would give ([`LanguageModel::feed`](super::LanguageModel::feed)), and each
//! token is drawn from them as always. A guess is right where it is the token that was drawn; at the first that is wrong, what was
//! read after it is taken back. So a text, its mark, its log-probabilities and its receipt are those without drafts, whatever was
//! guessed. Only the time differs.
//!
//! A draft model guesses what it would write itself: with the settings, the key and the seed of the response. The seed decides a
//! draw in such a way that two models which nearly agree on a distribution nearly always draw the same token
//! ([`Draw`](crate::sample::Draw)).
//!
//! | file | what it settles |
//! |---|---|
//! | `lookup` | guesses out of the prompt and the text so far |
//! | `models` | the model that answers and the one that guesses for it, as one |
//! | `odds` | how often guesses of a class have been right |
//! | `pace` | how many guesses pay, by the time that passes have taken |

mod lookup;
mod models;
mod odds;
mod pace;

pub(super) use lookup::Lookup;
pub(super) use models::{Caches, Models};
pub(super) use odds::{CLASSES, Odds};
pub(super) use pace::{GAIN, Pace};

/// Where guesses come from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Draft<M> {
    /// Nowhere: a pass over the weights gives a response one token.
    #[default]
    None,
    /// The prompt and the text so far: what followed the last tokens where they stood before. It pays where a text repeats its
    /// prompt, as summaries, extracts and edited texts do, or itself.
    Prompt,
    /// A smaller model with the same vocabulary.
    Model(M),
}

/// Guesses at the next tokens of a response.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Guess {
    /// The tokens, the next one first.
    pub(super) tokens: Vec<u32>,
    /// How sure each is, from 1 to [`CLASSES`]: its class of [`Odds`].
    pub(super) classes: Vec<usize>,
}

impl Guess {
    pub(super) fn clear(&mut self) {
        self.truncate(0);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.classes.truncate(len);
    }

    pub(super) fn push(&mut self, token: u32, class: usize) {
        self.tokens.push(token);
        self.classes.push(class);
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}
