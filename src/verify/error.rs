use wmdetect::scheme::KeyError;
use wmdetect::text::TextError;

use crate::model;
use crate::sample::SampleError;

/// Errors from looking for a mark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A false positive rate out of range.
    #[error("fpr is {found}, expected a rate above 0 and below 1, such as 0.001")]
    Fpr {
        /// The rate.
        found: f64,
    },
    /// Too few random keys for the false positive rate.
    #[error(
        "{found} random keys give no p below 1/{}, so an fpr of {fpr} is out of reach; expected at least {expected} keys",
        found + 1
    )]
    RandomKeys {
        /// Their number.
        found: u32,
        /// The false positive rate.
        fpr: f64,
        /// The number that is enough.
        expected: u64,
    },
    /// A temperature under which nothing is drawn.
    #[error(
        "the temperature is 0, under which no token is drawn and no text carries a mark; expected more than 0"
    )]
    Greedy,
    /// A receipt with such a temperature.
    #[error(
        "the receipt says temperature 0, under which no token is drawn and no text carries a mark; expected the receipt \
         of a marked text"
    )]
    GreedyReceipt,
    /// There is nothing to look for.
    #[error("no key was given, expected at least one")]
    NoKey,
    /// The key belongs to another tokenizer.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The text cannot be split into tokens.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A token that the model does not have.
    #[error("token id {id} is outside the vocabulary of {vocabulary}; is it another model's?")]
    Token {
        /// The first such token.
        id: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The model refused or broke.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Logits without a distribution.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The model broke down.
    #[error("the logit of token {token} after position {position} is not finite: the weights are damaged")]
    NotFinite {
        /// The first such token.
        token: usize,
        /// Where in prompt and text.
        position: usize,
    },
    /// Nothing to start from.
    #[error("there is no prompt and the vocabulary has no <bos> to start from; pass the prompt")]
    NoStart,
    /// No room for the text behind its prompt.
    #[error(
        "the prompt has {prompt} tokens, the model's context {limit}; expected room for the text in half of it"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the context.
        limit: usize,
    },
}
