//! The detector and its options.

use std::sync::Arc;

use super::DetectError;
use super::keys::{Entry, Plan, Plans, check_channel};
use crate::ignore::IgnoreList;
use crate::report::Warning;
use crate::statistics::{Decider, Method};
#[cfg(feature = "text")]
use crate::text::Tokenizer;
#[cfg(feature = "text")]
use crate::text::normalise::{Cut, Normaliser};
use crate::verdict::check_fpr;

/// Looks for the mark of one key, or of any key of a ring, in texts.
///
/// [`Detector::builder`] makes one. The questions that it answers are [`score`](Self::score),
/// [`segments`](Self::segments), [`attribute`](Self::attribute) and [`explain`](Self::explain). Each takes an
/// [`Input`](crate::Input).
///
/// Clones are cheap. So are the siblings that [`with_fpr`](Self::with_fpr) and the other `with_` methods return: they
/// share the keys and the tokenizer. All methods may be called from several threads at once.
#[derive(Clone, Debug)]
pub struct Detector {
    pub(super) keys: Arc<[Entry]>,
    /// Whether `keys` is a ring, whose reports say how many keys it has.
    pub(super) ring: bool,
    pub(super) plans: Arc<Plans>,
    pub(super) fpr: f64,
    /// The channel of the texts, if it is known.
    pub(super) channel: Option<u16>,
    /// N-grams that do not count.
    pub(super) ignore: Option<Arc<IgnoreList>>,
    #[cfg(feature = "text")]
    pub(super) tokenizer: Option<Arc<Tokenizer>>,
    #[cfg(feature = "text")]
    pub(super) normaliser: Normaliser,
    /// Remarks on every text, such as that some keys do not name a tokenizer.
    pub(super) remarks: Vec<Warning>,
}

impl Detector {
    /// Returns this detector with another false positive rate. It takes well under a microsecond.
    ///
    /// # Errors
    /// Returns an error if [`check_fpr`] refuses `fpr`.
    pub fn with_fpr(&self, fpr: f64) -> Result<Self, DetectError> {
        check_fpr(fpr)?;
        Ok(Self { fpr, ..self.clone() })
    }

    /// Returns this detector with another statistic that decides: a [`Method`], a
    /// [`Profile`](crate::statistics::Profile) or a [`Bayesian`](crate::statistics::Bayesian) detector.
    ///
    /// # Errors
    /// Returns an error if the statistic cannot judge the scheme of one of the keys.
    pub fn with_method(&self, method: impl Into<Decider>) -> Result<Self, DetectError> {
        let plans = Plans::new(&self.keys, &method.into(), Some(&self.plans))?;
        Ok(Self { plans: Arc::new(plans), ..self.clone() })
    }

    /// Returns this detector for texts whose channel is known from their receipts, or for texts of unknown channels.
    /// For unknown channels all are tried, and p is corrected for their number. A key that has one channel ignores the
    /// setting.
    ///
    /// # Errors
    /// Returns an error if a key with several channels does not have this one.
    pub fn with_channel(&self, channel: Option<u16>) -> Result<Self, DetectError> {
        check_channel(&self.keys, channel)?;
        Ok(Self { channel, ..self.clone() })
    }

    /// Returns this detector with another list of n-grams that do not count. The choice of n-grams must not depend on
    /// the key, or p is not valid.
    #[must_use]
    pub fn with_ignore(&self, list: impl Into<Arc<IgnoreList>>) -> Self {
        Self { ignore: Some(list.into()), ..self.clone() }
    }

    /// Returns this detector with another way to prepare texts. Prompts are never normalised.
    #[cfg(feature = "text")]
    #[must_use]
    pub fn with_normaliser(&self, normaliser: Normaliser) -> Self {
        Self { normaliser, ..self.clone() }
    }

    /// Returns the share of unmarked texts that may be called watermarked.
    pub fn fpr(&self) -> f64 {
        self.fpr
    }

    /// Returns which statistic decides for the first key.
    pub fn method(&self) -> Method {
        self.plans.of(&self.keys[0]).statistic.method()
    }

    /// Returns the n-grams that do not count, if any are ignored.
    pub fn ignore_list(&self) -> Option<&IgnoreList> {
        self.ignore.as_deref()
    }

    /// Returns the tokenizer that splits the texts. A detector for token ids has none.
    #[cfg(feature = "text")]
    pub fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        self.tokenizer.as_ref()
    }

    /// Returns the public id of each key, and its name if it has one. In a ring of
    /// [`Keyring::derived`](crate::Keyring::derived) the name is its label. In a ring of
    /// [`Keyring::open`](crate::Keyring::open) it is the label in `keys.toml` or the file's name.
    pub fn key_ids(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> {
        self.keys.iter().map(|entry| (entry.id.as_str(), entry.name.as_deref()))
    }

    pub(super) fn plan(&self, entry: &Entry) -> &Plan {
        self.plans.of(entry)
    }

    /// Normalises and tokenizes a text, or a block of one, in each of `forms`; without `offsets`, returns only the ids.
    #[cfg(feature = "text")]
    pub(super) fn cut(
        &self,
        forms: &[Normaliser],
        bytes: &[u8],
        offsets: bool,
    ) -> Result<Vec<Cut>, DetectError> {
        Ok(Normaliser::encode_forms(forms, self.needed_tokenizer()?, bytes, offsets)?)
    }

    #[cfg(feature = "text")]
    pub(super) fn needed_tokenizer(&self) -> Result<&Tokenizer, DetectError> {
        self.tokenizer.as_deref().ok_or(DetectError::NoTokenizer)
    }
}
