use wmdetect::scheme::KeyError;
use wmdetect::text::TextError;
use wmdetect::verdict::FprError;

use crate::model;
use crate::sample::SampleError;

/// Errors from looking for a mark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The false positive rate is out of range.
    #[error(transparent)]
    Fpr(#[from] FprError),
    /// There are too few random keys for the false positive rate.
    #[error(
        "{found} random keys give no p below 1/{}, so an fpr of {fpr} is out of reach; expected at least {expected} keys",
        found + 1
    )]
    RandomKeys {
        /// Number of random keys.
        found: u32,
        /// False positive rate.
        fpr: f64,
        /// Sufficient number of random keys.
        expected: u64,
    },
    /// The temperature is one at which nothing is drawn.
    #[error(
        "the temperature is 0, under which no token is drawn and no text carries a mark; expected more than 0"
    )]
    Greedy,
    /// The receipt has such a temperature.
    #[error(
        "the receipt says temperature 0, under which no token is drawn and no text carries a mark; expected the receipt \
         of a marked text"
    )]
    GreedyReceipt,
    /// There is no key to look for.
    #[error("no key was given, expected at least one")]
    NoKey,
    /// The key belongs to another tokenizer.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The text cannot be split into tokens.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The model does not have a token.
    #[error("token id {id} is outside the vocabulary of {vocabulary}; is it another model's?")]
    Token {
        /// The first such token.
        id: u32,
        /// Size of the model's vocabulary.
        vocabulary: usize,
    },
    /// The model cannot be used, or failed.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The logits do not define a distribution.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The model gave a logit that is not finite.
    #[error("the logit of token {token} after position {position} is not finite: the weights are damaged")]
    NotFinite {
        /// The first such token.
        token: usize,
        /// Position in prompt and text.
        position: usize,
    },
    /// There is nothing to start from.
    #[error("there is no prompt and the vocabulary has no <bos> to start from; pass the prompt")]
    NoStart,
    /// There is no room for the text after its prompt.
    #[error(
        "the prompt has {prompt} tokens, the model's context {limit}; expected room for the text in half of it"
    )]
    PromptTooLong {
        /// Number of tokens in the prompt.
        prompt: usize,
        /// Number of tokens in the context.
        limit: usize,
    },
}
