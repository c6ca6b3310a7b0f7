//! Draft options, which `wmgen generate` and `wmgen serve` share.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use wmdetect::shell;

#[derive(Args, Clone, Debug)]
pub(crate) struct DraftArgs {
    /// Guess tokens ahead, and check several in one pass over the weights; the text stays the same to the bit
    ///
    /// `prompt` looks for earlier occurrences of the last tokens, in the prompt or the text, and guesses what followed there. It
    /// suits answers that repeat their prompt. MODEL, as for --model, is a smaller model with the same tokenizer; `default` is the
    /// one that ships with wmgen.
    #[arg(long, default_value = "none", value_name = "none|prompt|MODEL")]
    pub draft: DraftArg,
    /// Maximum number of tokens to guess ahead; how many are guessed depends on what they gain
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
            DraftArg::Model(model) => {
                Some(PathBuf::from(model)).filter(|path| path.exists() && !shell::is_default(path))
            }
            _ => None,
        }
    }
}
