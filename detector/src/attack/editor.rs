//! Edits by their names.

use super::edit::{Kind, Random};
use super::material::{Material, Synonyms};
use super::{letters, passages, single_words};

/// Edits texts with the words and passages of human texts and a table of synonyms.
#[derive(Debug)]
pub struct Editor(Material);

impl Editor {
    /// Returns an editor with these human texts and synonyms.
    pub fn new(human: Vec<String>, synonyms: Synonyms) -> Self {
        Self(Material::new(human, synonyms))
    }

    /// Returns whether there is a human text with a word, which [`Kind::Replace`], [`Kind::Insert`] and
    /// [`Kind::Dilution`] need.
    pub fn has_words(&self) -> bool {
        self.0.has_words()
    }

    /// Edits a text at a rate. If the text is one of the human texts, `own` is its number there.
    ///
    /// An edit that finds nothing to work on leaves the text as it is. That happens if it needs human words and there
    /// are none, or synonyms that the table does not have.
    pub fn apply(
        &self,
        kind: Kind,
        rate: f64,
        text: &str,
        own: Option<usize>,
        random: &mut Random,
    ) -> String {
        match kind {
            Kind::Delete => single_words::delete(text, rate, random),
            Kind::Replace => single_words::replace(text, rate, &self.0, random),
            Kind::Insert => single_words::insert(text, rate, &self.0, random),
            Kind::Synonyms => single_words::synonyms(text, rate, &self.0, random),
            Kind::Sentences => passages::swap(text, rate, random),
            Kind::Case => single_words::case(text, rate, random),
            Kind::Typography => letters::typography(text, rate, random),
            Kind::Homoglyphs => letters::homoglyphs(text, rate, random),
            Kind::Dilution => passages::dilute(text, rate, &self.0, own, random),
            Kind::Crop => passages::crop(text, rate, random),
        }
    }
}
