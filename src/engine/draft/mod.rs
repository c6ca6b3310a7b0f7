//! Drafts: guesses at the next tokens of a response, which one pass over the weights checks all at once.
//!
//! Reading the weights takes nearly all of the time of a decode step, and a pass that computes several positions takes little more
//! than a pass for one. So the engine feeds the last token together with guesses at those that follow it. The logits after each of
//! them are to the bit those that steps of one token would give ([`LanguageModel::feed`](super::LanguageModel::feed)), and each
//! token is drawn from them as always. A guess is right where it is the token that was drawn; at the first that is wrong, what was
//! read after it is taken back. So a text, its mark, its log-probabilities and its receipt are those without drafts, whatever was
//! guessed. Only the time differs.
//!
//! | file | what it settles |
//! |---|---|
//! | `lookup` | guesses out of the prompt and the text so far |
//! | `odds` | how often guesses of a kind have been right |
//! | `pace` | how many guesses pay, by the time that passes have taken |

mod lookup;
mod odds;
mod pace;

pub(super) use lookup::{Guess, Lookup};
pub(super) use odds::Odds;
pub(super) use pace::Pace;

/// Where guesses come from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Draft {
    /// Nowhere: a pass over the weights gives a response one token.
    #[default]
    None,
    /// The prompt and the text so far: what followed the last tokens where they stood before. It pays where a text repeats its
    /// prompt, as summaries, extracts and edited texts do, or itself.
    Prompt,
}
