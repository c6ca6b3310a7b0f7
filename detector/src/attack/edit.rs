//! Which edits there are, and the random numbers of each.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::split_mix;

/// An edit that has a rate, a share from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Each word is deleted with this probability.
    Delete,
    /// Each word is replaced by a random word of the human texts with this probability.
    Replace,
    /// A random word of the human texts is put before each word with this probability.
    Insert,
    /// Each word that the table of synonyms has is replaced by a synonym with this probability.
    Synonyms,
    /// Each pair of neighbouring sentences changes places with this probability.
    Sentences,
    /// Each word is written in another case with this probability: in small letters, in capitals or with a capital
    /// first letter.
    Case,
    /// Each quote, dash, ellipsis and space becomes a typographic one with this probability.
    Typography,
    /// Each Latin letter that has a Cyrillic look-alike becomes the look-alike with this probability.
    Homoglyphs,
    /// Human text is put around the text, so that this share of the words is human.
    Dilution,
    /// This share of the words is cut off at the ends, and a passage remains.
    Crop,
}

impl Kind {
    /// All edits, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Delete,
        Self::Replace,
        Self::Insert,
        Self::Synonyms,
        Self::Sentences,
        Self::Case,
        Self::Typography,
        Self::Homoglyphs,
        Self::Dilution,
        Self::Crop,
    ];

    /// Returns the name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Replace => "replace",
            Self::Insert => "insert",
            Self::Synonyms => "synonyms",
            Self::Sentences => "sentences",
            Self::Case => "case",
            Self::Typography => "typography",
            Self::Homoglyphs => "homoglyphs",
            Self::Dilution => "dilution",
            Self::Crop => "crop",
        }
    }

    /// Returns the largest rate. Nothing would be left of a text that is wholly cropped or diluted.
    fn most(self) -> f64 {
        if matches!(self, Self::Dilution | Self::Crop) { 0.99 } else { 1.0 }
    }
}

/// A name that does not belong to any edit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind {
    /// The name.
    pub found: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| UnknownKind { found: name.into() })
    }
}

/// A rate that an edit cannot have.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the rate of {}: expected a share above 0 and up to {}, found {found}", kind.name(), kind.most())]
pub struct ShareError {
    /// The edit.
    pub kind: Kind,
    /// The rate.
    pub found: f64,
}

/// An edit of a text, with its rate.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Edit {
    /// No edit.
    None,
    /// An edit at a rate.
    Share {
        /// The edit.
        kind: Kind,
        /// The rate.
        rate: f64,
    },
    /// An external program.
    Program {
        /// The name of the program.
        name: String,
    },
}

impl Edit {
    /// Returns an edit at a rate.
    ///
    /// # Errors
    /// Returns an error if the rate is not above 0, or is above 1. The rates of dilution and crop are at most 0.99.
    pub fn share(kind: Kind, rate: f64) -> Result<Self, ShareError> {
        if rate > 0.0 && rate <= kind.most() {
            Ok(Self::Share { kind, rate })
        } else {
            Err(ShareError { kind, found: rate })
        }
    }

    /// Returns the name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Share { kind, .. } => kind.name(),
            Self::Program { .. } => "program",
        }
    }

    /// Returns the rate, if the edit has one.
    pub fn rate(&self) -> Option<f64> {
        match self {
            Self::Share { rate, .. } => Some(*rate),
            _ => None,
        }
    }

    /// Returns the name of the external program, if the edit is one.
    pub fn program(&self) -> Option<&str> {
        match self {
            Self::Program { name } => Some(name),
            _ => None,
        }
    }
}

/// Writes it for people: `none`, `delete 0.1` or `program mt`.
impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Share { kind, rate } => write!(f, "{} {rate}", kind.name()),
            Self::Program { name } => write!(f, "program {name}"),
        }
    }
}

/// The random numbers of one edit of one text.
///
/// They depend only on the seed, the text's name and the edit with its rate. So they are the same whatever other texts
/// and edits there are. Edits of words and letters change the start of a text in the same way with and without the rest
/// of it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes the numbers for a seed, the text's name, and an edit.
    pub fn new(seed: u64, text: &str, edit: &Edit) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"wmdetect attack 1\0");
        hash.update(seed.to_le_bytes());
        // Lengths keep the end of one name apart from the start of the next.
        for part in [text, &edit.to_string()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(digest.iter().take(8).fold(0, |state, &byte| state << 8 | u64::from(byte)))
    }

    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        split_mix::next(&mut self.0)
    }

    /// Returns true with this probability.
    pub(super) fn hits(&mut self, probability: f64) -> bool {
        split_mix::unit(&mut self.0) < probability
    }

    /// Returns a number from 0 to `limit` − 1, where `limit` is at least 1.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        // Among 2^64 numbers the surplus of some does not matter.
        (self.next_u64() % limit.max(1) as u64) as usize
    }
}
