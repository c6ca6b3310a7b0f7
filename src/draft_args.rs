//! The options of drafts, which `wmgen generate` and `wmgen serve` share.

use clap::{Args, ValueEnum};
use wmgen::engine::{self, Draft};

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DraftArgs {
    /// Guess tokens ahead, and check several in one pass over the weights; the text is the same to the bit
    #[arg(long, value_enum, default_value_t = DraftArg::None)]
    pub draft: DraftArg,
    /// Tokens that are guessed ahead at most; how many are is decided by what they gain
    #[arg(long, default_value_t = 8, value_name = "TOKENS", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub draft_tokens: u8,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum DraftArg {
    /// A token at a time
    None,
    /// What followed the last tokens where they stood before, in the prompt or the text: for answers that repeat their prompt
    Prompt,
}

impl DraftArgs {
    /// Sets the engine's options.
    pub(crate) fn set(self, options: engine::Options) -> engine::Options {
        let draft = match self.draft {
            DraftArg::None => Draft::None,
            DraftArg::Prompt => Draft::Prompt,
        };
        engine::Options { draft, draft_tokens: self.draft_tokens.into(), ..options }
    }
}
