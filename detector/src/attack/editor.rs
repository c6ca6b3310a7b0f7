//! Edits by their names.

use super::edit::{Edit, Kind, Random};
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

    /// Edits a text, with the random numbers for a seed and the text's name. If the text is one of the human texts, `own`
    /// is its number there.
    ///
    /// An edit that finds nothing to work on leaves the text as it is. That happens if it needs human words and there
    /// are none, or synonyms that the table does not have. An edit by an external program is the caller's, and leaves
    /// the text as it is, too.
    pub fn apply(&self, edit: &Edit, text: &str, own: Option<usize>, seed: u64, name: &str) -> String {
        let Edit::Share { kind, rate } = *edit else { return text.to_owned() };
        let random = &mut Random::new(seed, name, edit);
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
