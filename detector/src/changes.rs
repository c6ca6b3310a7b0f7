//! What was changed in a text before it was cut into tokens.

use serde::{Deserialize, Serialize};

/// How many changes of each kind were made. In the report, kinds without a change are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Changes {
    /// Removed zero-width spaces, joiners and non-joiners, byte order marks inside the text, and invisible operators.
    #[serde(skip_serializing_if = "is_zero")]
    pub zero_width: u64,
    /// Soft hyphens removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub soft_hyphens: u64,
    /// Controls of writing direction removed from lines without right-to-left letters.
    #[serde(skip_serializing_if = "is_zero")]
    pub bidi_controls: u64,
    /// Variation selectors removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub variation_selectors: u64,
    /// Tag characters outside flags removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub tags: u64,
    /// Control characters that are not white space removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub controls: u64,
    /// Characters that were composed, or put in NFC.
    #[serde(skip_serializing_if = "is_zero")]
    pub composed: u64,
    /// Spaces of other kinds that became spaces.
    #[serde(skip_serializing_if = "is_zero")]
    pub spaces: u64,
    /// Line ends of other kinds that became line feeds.
    #[serde(skip_serializing_if = "is_zero")]
    pub line_ends: u64,
    /// Typographic quotes that became those of a keyboard.
    #[serde(skip_serializing_if = "is_zero")]
    pub quotes: u64,
    /// Dashes that became hyphens.
    #[serde(skip_serializing_if = "is_zero")]
    pub dashes: u64,
    /// Ellipses that became three full stops.
    #[serde(skip_serializing_if = "is_zero")]
    pub ellipses: u64,
    /// Look-alikes that became Latin.
    #[serde(skip_serializing_if = "is_zero")]
    pub confusables: u64,
    /// Pieces of markup removed or replaced.
    #[serde(skip_serializing_if = "is_zero")]
    pub markup: u64,
    /// Sequences of bytes that are not UTF-8, each replaced by U+FFFD.
    #[serde(skip_serializing_if = "is_zero")]
    pub invalid_utf8: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Changes {
    /// Returns the name of one change of each kind, and their number.
    fn all(&mut self) -> [(&'static str, &mut u64); 15] {
        [
            ("zero-width character", &mut self.zero_width),
            ("soft hyphen", &mut self.soft_hyphens),
            ("direction control", &mut self.bidi_controls),
            ("variation selector", &mut self.variation_selectors),
            ("tag character", &mut self.tags),
            ("control character", &mut self.controls),
            ("composed character", &mut self.composed),
            ("space", &mut self.spaces),
            ("line end", &mut self.line_ends),
            ("quote", &mut self.quotes),
            ("dash", &mut self.dashes),
            ("ellipsis", &mut self.ellipses),
            ("look-alike", &mut self.confusables),
            ("piece of markup", &mut self.markup),
            ("invalid byte", &mut self.invalid_utf8),
        ]
    }

    /// Returns the name of one change of each kind that occurred, and their number.
    pub fn kinds(mut self) -> impl Iterator<Item = (&'static str, u64)> {
        self.all().map(|(kind, count)| (kind, *count)).into_iter().filter(|&(_, count)| count > 0)
    }

    /// Returns the number of changes of all kinds together.
    pub fn total(mut self) -> u64 {
        self.all().into_iter().map(|(_, count)| *count).sum()
    }

    /// Returns whether nothing was changed.
    pub fn is_empty(self) -> bool {
        self.total() == 0
    }

    /// Adds the changes of another part of the same text.
    pub fn add(&mut self, mut other: Self) {
        for ((_, sum), (_, count)) in self.all().into_iter().zip(other.all()) {
            *sum += *count;
        }
    }
}
