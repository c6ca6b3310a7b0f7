//! Arguments that say how texts are prepared.

use clap::{Args, ValueEnum};

use crate::text::normalise::{Form, Markup, Normaliser};

/// How a text is prepared before it is cut into tokens.
#[derive(Args, Debug)]
pub struct TextArgs {
    /// Changes to undo. default: invisible characters without a function, and decomposed letters; nfc: also put the
    /// text in NFC; none: take the text as it is
    #[arg(long, value_enum, default_value_t = NormaliseArg::Default, value_name = "FORM")]
    pub normalise: NormaliseArg,
    /// Turn look-alikes from other scripts into Latin letters inside Latin words
    #[arg(long)]
    pub fold_confusables: bool,
    /// Read the text as HTML or Markdown, and judge what a reader sees of it
    #[arg(long, value_enum, value_name = "MARKUP")]
    pub strip: Option<StripArg>,
}

/// Values of `--normalise`.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum NormaliseArg {
    Default,
    Nfc,
    None,
}

/// Values of `--strip`.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum StripArg {
    Html,
    Markdown,
}

impl TextArgs {
    /// Returns the normaliser that the arguments ask for.
    pub fn normaliser(&self) -> Normaliser {
        Normaliser {
            form: match self.normalise {
                NormaliseArg::Default => Form::Default,
                NormaliseArg::Nfc => Form::Nfc,
                NormaliseArg::None => Form::None,
            },
            fold_confusables: self.fold_confusables,
            strip: self.strip.map(|markup| match markup {
                StripArg::Html => Markup::Html,
                StripArg::Markdown => Markup::Markdown,
            }),
            ..Normaliser::default()
        }
    }
}
