//! Schemes by what they are good for.

use std::fmt;
use std::str::FromStr;

use super::schemes::Scheme;
use super::synthid::{Sha256, Sha256V2};

/// What a new key is good at. Each preset survives fewer edits than the one before, and reveals less to people who try
/// to learn the key from many texts. `docs/guide/choosing.md` has the measurements.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Preset {
    /// Survives edits best, and reveals most to people who collect texts.
    Robust,
    /// Survives edits, and a text reveals one channel in sixteen.
    #[default]
    Balanced,
    /// Reveals least; a replaced word costs five positions.
    Secret,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 3] = [Self::Robust, Self::Balanced, Self::Secret];

    /// Returns the name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Robust => "robust",
            Self::Balanced => "balanced",
            Self::Secret => "secret",
        }
    }

    /// Returns the scheme, with all its parameters.
    pub fn scheme(self) -> Scheme {
        match self {
            Self::Robust => Sha256V2 { channels: 4, ..Sha256V2::default() }.into(),
            Self::Balanced => Sha256V2::default().into(),
            Self::Secret => Sha256::default().into(),
        }
    }
}

impl From<Preset> for Scheme {
    fn from(preset: Preset) -> Self {
        preset.scheme()
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that does not belong to any preset.
#[derive(Debug, thiserror::Error)]
#[error("expected the preset robust, balanced or secret, found {found:?}")]
pub struct UnknownPreset {
    found: String,
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == s)
            .ok_or_else(|| UnknownPreset { found: s.to_owned() })
    }
}
