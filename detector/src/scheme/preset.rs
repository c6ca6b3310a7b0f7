//! Schemes by what they are good for.

use std::fmt;
use std::str::FromStr;

use super::family::Family as _;
use super::schemes::Scheme;
use super::synthid::{Sha256, Sha256V2};
use super::{KeyError, MAX_V2_CONTEXT};

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
        self.v2().map_or_else(|| Sha256::default().into(), Scheme::from)
    }

    /// Returns the parameters of a preset of `synthid-sha256-v2`. `None` is `synthid-sha256` with its default
    /// parameters.
    fn v2(self) -> Option<Sha256V2> {
        match self {
            Self::Robust => Some(Sha256V2 { channels: 4, ..Sha256V2::default() }),
            Self::Balanced => Some(Sha256V2::default()),
            Self::Secret => None,
        }
    }

    /// Returns the scheme with these parameters in place of its own. A parameter that is not given stays as it is.
    ///
    /// # Errors
    /// Returns an error if a parameter cannot work, or if several channels are asked of a scheme without channels.
    pub fn with_parameters(
        self,
        depth: Option<usize>,
        ngram_len: Option<usize>,
        channels: Option<usize>,
    ) -> Result<Scheme, KeyError> {
        let depth = depth.map(|depth| u8::try_from(depth).map_err(|_| KeyError::Depth { found: depth }));
        let depth = depth.transpose()?;
        let ngram = |len| u8::try_from(len).map_err(|_| KeyError::NgramLen { found: len });
        let ngram_len = ngram_len.map(ngram).transpose()?;
        let scheme: Scheme = match self.v2() {
            None => {
                let own = Sha256::default();
                if let Some(found) = channels.filter(|&channels| channels != 1) {
                    return Err(KeyError::NoChannels { scheme: Sha256::NAME, found });
                }
                let ngram_len = ngram_len.unwrap_or(own.ngram_len);
                Sha256 { depth: depth.unwrap_or(own.depth), ngram_len }.into()
            }
            Some(own) => {
                let many = |found| u16::try_from(found).map_err(|_| KeyError::Channels { found });
                if let Some(found) = ngram_len.filter(|len| !(2..=MAX_V2_CONTEXT + 1).contains(len)) {
                    return Err(KeyError::LongNgram { scheme: Sha256V2::NAME, found: found.into() });
                }
                Sha256V2 {
                    depth: depth.unwrap_or(own.depth),
                    shortest_context: own.shortest_context,
                    longest_context: ngram_len.map_or(own.longest_context, |len| len - 1),
                    channels: channels.map(many).transpose()?.unwrap_or(own.channels),
                }
                .into()
            }
        };
        scheme.check()?;
        Ok(scheme)
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
