//! The options of drafts, which `wmgen generate` and `wmgen serve` share.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct DraftArgs {
    /// Guess tokens ahead, and check several in one pass over the weights; the text is the same to the bit
    ///
    /// `prompt` guesses what followed the last tokens where they stood before, in the prompt or the text: for answers that repeat
    /// their prompt. MODEL, as for --model, is a smaller model with the same tokenizer, and `default` the one that ships with wmgen.
    #[arg(long, default_value = "none", value_name = "none|prompt|MODEL")]
    pub draft: DraftArg,
    /// Tokens that are guessed ahead at most; how many are is decided by what they gain
    #[arg(long, default_value_t = 8, value_name = "TOKENS", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub draft_tokens: u8,
}

/// The value of `--draft`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DraftArg {
    None,
    Prompt,
    Model(String),
}

impl FromStr for DraftArg {
    type Err = Infallible;

    fn from_str(value: &str) -> Result<Self, Infallible> {
        Ok(match value {
            "none" => Self::None,
            "prompt" => Self::Prompt,
            model => Self::Model(model.into()),
        })
    }
}

impl DraftArgs {
    /// Returns the path of the draft model, if one is named by its path.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &self.draft {
            DraftArg::Model(model) => Some(PathBuf::from(model)).filter(|path| path.exists()),
            _ => None,
        }
    }
}
