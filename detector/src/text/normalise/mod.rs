//! Turns bytes as they come into the text that is cut into tokens, and keeps the way back.
//!
//! Between a model and a detector a text passes through editors, file systems, the clipboard, and people who want the
//! mark gone. They change characters that nobody sees. [`Normaliser`] undoes that by rules that look at the text alone,
//! never at a key, so that p-values stay valid. The text may also be just as a model wrote it, so the default changes
//! only what correct writing does not have. Spaces, line ends, quotes and dashes may be either, so a detector tries
//! several [forms](Normaliser::forms):
//!
//! | step | file | default |
//! |---|---|---|
//! | bytes to characters: a byte order mark is dropped, what is not UTF-8 becomes U+FFFD | this | always |
//! | HTML or Markdown to the text that a reader sees | `markup` | off |
//! | characters that nobody sees, where they have no function | `invisible` | on |
//! | decomposed characters to composed ones | `compose` | on |
//! | look-alike letters of other scripts | `confusables` | off |
//! | typographic spaces, line ends, quotes and dashes to plain ones | `typography` | tried in addition to the text without it |
//!
//! Every step keeps a [map](Normalised::original_range) to the bytes of the original.
//!
//! ```
//! use wmdetect::text::normalise::Normaliser;
//!
//! let normalised = Normaliser::default().apply("the wa\u{200B}ter");
//! assert_eq!(normalised.text(), "the water");
//! assert_eq!(normalised.original_range(4..9), 4..12);
//! assert_eq!(normalised.changes().zero_width, 1);
//! ```

mod compose;
mod confusables;
mod invisible;
mod map;
mod markup;
mod plain;
#[cfg(test)]
mod tests;
mod typography;

use std::borrow::Cow;
use std::ops::Range;

use super::{Encoded, TextError, Tokenizer};
pub use crate::changes::Changes;
use map::{Map, Pass};
pub use typography::Typography;

/// Which changes are undone without an option of their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Invisible characters that have no function where they stand are removed, and characters that are spelled as a
    /// letter and its marks are composed. A code point that NFC itself would replace stays, such as the Devanagari
    /// letters U+0958 to U+095F or the Kelvin sign. Nothing makes one from its normal form, so its author wrote it.
    #[default]
    Default,
    /// As [`Default`](Self::Default), but the text is put in Unicode's NFC without exception.
    Nfc,
    /// No change is undone.
    None,
}

/// A markup language whose text is what readers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// Tags, comments, scripts and styles are removed, character references become characters, and white space becomes
    /// what a browser makes of it.
    Html,
    /// The marks of emphasis, headings, quotations, list items, code and links are removed.
    Markdown,
}

/// What is done to a text before it is cut into tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normaliser {
    /// What is undone by default.
    pub form: Form,
    /// Whether letters of other scripts that look like Latin ones become Latin inside Latin words.
    pub fold_confusables: bool,
    /// Whether the text is in a markup language that its readers do not see.
    pub strip: Option<Markup>,
    /// What becomes of typographic characters.
    pub typography: Typography,
}

/// A text after normalisation, with its way back to the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalised<'a> {
    text: Cow<'a, str>,
    map: Map,
    changes: Changes,
}

impl Normaliser {
    /// Returns a normaliser without any step but the decoding of bytes.
    pub fn none() -> Self {
        Self { form: Form::None, ..Self::default() }
    }

    /// Returns the forms of a text that a detector tries: typographic characters kept, spaces and line ends plain, and
    /// all plain. Returns only this form if nothing is to be undone, or if it says what becomes of these characters.
    pub fn forms(self) -> Vec<Self> {
        if self.form == Form::None || self.typography != Typography::Kept {
            return vec![self];
        }
        [Typography::Kept, Typography::PlainSpaces, Typography::Plain]
            .map(|typography| Self { typography, ..self })
            .into()
    }

    /// Normalises a text.
    pub fn apply(self, text: &str) -> Normalised<'_> {
        self.steps(Normalised { text: Cow::Borrowed(text), map: Map::default(), changes: Changes::default() })
    }

    /// Normalises the content of a file. A byte order mark in front is dropped. Each maximal run of bytes that is not
    /// UTF-8 becomes U+FFFD, as Unicode recommends and `String::from_utf8_lossy` does.
    pub fn apply_bytes(self, bytes: &[u8]) -> Normalised<'_> {
        self.steps(decode(bytes))
    }

    /// Normalises the content of a file and cuts it into tokens in each of its [`forms`](Self::forms). The form of the
    /// file as it was given comes first. Their number depends on the text alone, so the least of their p-values times
    /// that number is a p-value.
    ///
    /// # Errors
    /// Returns an error if the tokenizer does.
    pub fn encode(self, tokenizer: &Tokenizer, bytes: &[u8]) -> Result<Vec<Cut>, TextError> {
        Self::encode_forms(&self.forms(), tokenizer, bytes, true)
    }

    /// Returns the offsets of the file's tokens in this one form.
    pub(crate) fn offsets(self, tokenizer: &Tokenizer, bytes: &[u8]) -> Result<Vec<Range<usize>>, TextError> {
        Ok(self.apply_bytes(bytes).encode(tokenizer, true)?.offsets)
    }

    /// Cuts the content of a file into tokens in each of `forms`, which differ in their typography alone, plainer
    /// ones later. Forms with the same tokens are together; the first of them says what was changed. Without `offsets`,
    /// which take four times as much memory as the ids, it returns only the ids.
    pub(crate) fn encode_forms(
        forms: &[Self],
        tokenizer: &Tokenizer,
        bytes: &[u8],
        offsets: bool,
    ) -> Result<Vec<Cut>, TextError> {
        let mut text = forms[0].apply_bytes(bytes);
        let cut = |form, text: &Normalised<'_>| {
            let encoded = text.encode(tokenizer, offsets)?;
            Ok(Cut { forms: vec![form], encoded, changes: text.changes() })
        };
        let mut cuts = vec![cut(forms[0], &text)?];
        let mut same = 0;
        for &form in &forms[1..] {
            if text.typography(form.typography) {
                let cut = cut(form, &text)?;
                let known = cuts.iter().position(|other| other.encoded.ids == cut.encoded.ids);
                same = known.unwrap_or(cuts.len());
                if same == cuts.len() {
                    cuts.push(cut);
                    continue;
                }
            }
            cuts[same].forms.push(form);
        }
        Ok(cuts)
    }

    fn steps(self, text: Normalised<'_>) -> Normalised<'_> {
        let mut text = self.steps_before_typography(text);
        text.typography(self.typography);
        text
    }

    fn steps_before_typography(self, mut text: Normalised<'_>) -> Normalised<'_> {
        match self.strip {
            Some(Markup::Html) => text.step(markup::html),
            Some(Markup::Markdown) => text.step(markup::markdown),
            None => {}
        }
        // Most texts consist of characters that neither of the two steps changes.
        let plain = !self.fold_confusables && plain::plain_prefix(&text.text) == text.text.len();
        if plain {
            return text;
        }
        if self.form != Form::None {
            text.step(invisible::strip);
        }
        let compose = match self.form {
            Form::Default => Some(compose::compose as Step),
            Form::Nfc => Some(compose::nfc as Step),
            Form::None => None,
        };
        if let Some(step) = compose {
            text.step(step);
        }
        if self.fold_confusables {
            text.step(confusables::fold);
            // A look-alike may have been kept apart from its accent.
            if let Some(step) = compose {
                text.step(step);
            }
        }
        text
    }
}

/// The tokens that some forms of a text have in common.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cut {
    /// The forms, at least one.
    pub forms: Vec<Normaliser>,
    /// The tokens, each with the bytes of the file that it covers; see [`Normalised::original_range`].
    pub encoded: Encoded,
    /// What was changed in the first of the forms.
    pub changes: Changes,
}

/// Walks through a text, replaces parts of it and counts them.
type Step = fn(&str, &mut Pass<'_>, &mut Changes);

/// Turns bytes into characters.
fn decode(bytes: &[u8]) -> Normalised<'_> {
    let start = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut changes = Changes::default();
    let mut map = Map::default();
    if start > 0 {
        map.push(0..0, 0..start);
    }
    if let Ok(text) = std::str::from_utf8(&bytes[start..]) {
        return Normalised { text: Cow::Borrowed(text), map, changes };
    }
    let (mut text, mut old) = (String::with_capacity(bytes.len()), start);
    for chunk in bytes[start..].utf8_chunks() {
        text.push_str(chunk.valid());
        old += chunk.valid().len();
        let invalid = chunk.invalid().len();
        if invalid > 0 {
            let new = text.len();
            text.push('\u{FFFD}');
            map.push(new..text.len(), old..old + invalid);
            old += invalid;
            changes.invalid_utf8 += 1;
        }
    }
    Normalised { text: Cow::Owned(text), map, changes }
}

impl Normalised<'_> {
    /// Returns the text to cut into tokens.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns what was changed.
    pub fn changes(&self) -> Changes {
        self.changes
    }

    /// Returns the bytes of the original that a byte range of [`text`](Self::text) stands for.
    ///
    /// They go from the first byte of what its first character came from to the last byte of what its last character
    /// came from. What was removed inside the range is covered, what was removed at its ends is not. A range that cuts
    /// through something that was replaced as a whole covers all of it. Positions beyond the end are taken as the end.
    pub fn original_range(&self, range: Range<usize>) -> Range<usize> {
        let len = self.text.len();
        self.map.original(range.start.min(len)..range.end.min(len))
    }

    /// Returns the tokens, each with the bytes of the original that it covers, or only the ids.
    fn encode(&self, tokenizer: &Tokenizer, offsets: bool) -> Result<Encoded, TextError> {
        if !offsets {
            return Ok(Encoded { ids: tokenizer.encode_ids(self.text())?, offsets: Vec::new() });
        }
        let mut encoded = tokenizer.encode(self.text())?;
        if !self.map.is_empty() {
            for range in &mut encoded.offsets {
                *range = self.original_range(range.clone());
            }
        }
        Ok(encoded)
    }

    /// Makes typographic characters plain, and returns whether there were any.
    fn typography(&mut self, typography: Typography) -> bool {
        let any = typography::changes(&self.text, typography);
        if any {
            self.step(if typography == Typography::Plain { typography::all } else { typography::spaces });
        }
        any
    }

    fn step(&mut self, step: Step) {
        let mut pass = Pass::new(&self.text, &self.map);
        step(&self.text, &mut pass, &mut self.changes);
        if let Some((text, map)) = pass.finish() {
            self.text = Cow::Owned(text);
            self.map = map;
        }
    }
}
