//! The builder of a detector.

use std::path::PathBuf;
use std::sync::Arc;

use super::detector::Detector;
use super::keyring::RingKey;
use super::keys::{Entry, Plans, check_channel};
use super::{DetectError, Keyring};
use crate::ignore::IgnoreList;
#[cfg(feature = "text")]
use crate::report::{Warning, WarningCode};
#[cfg(feature = "text")]
use crate::scheme::Key;
use crate::statistics::Decider;
#[cfg(feature = "text")]
use crate::text::{Tokenizer, normalise::Normaliser};
use crate::verdict::{DEFAULT_FPR, check_fpr};

/// Makes a [`Detector`]. The options may come in any order; a later one replaces an earlier one of its kind. Only
/// [`build`](Self::build) can fail.
///
/// ```
/// use wmdetect::{Detector, Key, Method};
///
/// # fn main() -> Result<(), wmdetect::DetectError> {
/// let key = Key::from_bytes(&[7; 32], "an example")?;
/// let detector = Detector::builder(key).method(Method::Llr).fpr(1e-6).build()?;
/// assert_eq!(detector.fpr(), 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct DetectorBuilder {
    keys: Keyring,
    fpr: f64,
    decider: Decider,
    channel: Option<u16>,
    ignore: Option<Ignore>,
    #[cfg(feature = "text")]
    tokenizer: Option<Arc<Tokenizer>>,
    #[cfg(feature = "text")]
    normaliser: Normaliser,
}

/// The n-grams that do not count.
#[derive(Debug)]
enum Ignore {
    List(Arc<IgnoreList>),
    File(PathBuf),
}

impl Detector {
    /// Returns a builder of a detector for one [`Key`](crate::Key) or for a [`Keyring`].
    ///
    /// Without a tokenizer it takes token ids only.
    pub fn builder(keys: impl Into<Keyring>) -> DetectorBuilder {
        DetectorBuilder {
            keys: keys.into(),
            fpr: DEFAULT_FPR,
            decider: Decider::default(),
            channel: None,
            ignore: None,
            #[cfg(feature = "text")]
            tokenizer: None,
            #[cfg(feature = "text")]
            normaliser: Normaliser::default(),
        }
    }

    /// Returns a detector for texts under one key, with every option at its default.
    ///
    /// # Errors
    /// Returns an error if the key belongs to another tokenizer.
    #[cfg(feature = "text")]
    pub fn new(key: Key, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self, DetectError> {
        Self::builder(key).tokenizer(tokenizer).build()
    }
}

impl DetectorBuilder {
    /// Splits texts with this tokenizer, which must be the one of the model that wrote them.
    #[cfg(feature = "text")]
    pub fn tokenizer(mut self, tokenizer: impl Into<Arc<Tokenizer>>) -> Self {
        self.tokenizer = Some(tokenizer.into());
        self
    }

    /// Prepares texts in another way than [`Normaliser::default`]. Prompts are never normalised.
    #[cfg(feature = "text")]
    pub fn normaliser(mut self, normaliser: Normaliser) -> Self {
        self.normaliser = normaliser;
        self
    }

    /// Sets the share of unmarked texts that may be called watermarked, at least [`LEAST_FPR`](super::LEAST_FPR) and
    /// below 1. The default is [`DEFAULT_FPR`].
    pub fn fpr(mut self, fpr: f64) -> Self {
        self.fpr = fpr;
        self
    }

    /// Sets the statistic that decides: a [`Method`](crate::Method), a [`Profile`](crate::statistics::Profile) for the
    /// likelihood ratio, or a [`Bayesian`](crate::statistics::Bayesian) detector. The default is the usual
    /// statistic of each key's scheme, which is the weighted mean for our marks.
    pub fn method(mut self, method: impl Into<Decider>) -> Self {
        self.decider = method.into();
        self
    }

    /// Sets the channel of the texts, if it is known from their receipts. By default all channels are tried, and p is
    /// corrected for their number. A key that has one channel ignores the setting.
    pub fn channel(mut self, channel: impl Into<Option<u16>>) -> Self {
        self.channel = channel.into();
        self
    }

    /// Leaves the n-grams of `list` out of every text. The choice of n-grams must not depend on the key, or p is not
    /// valid. A list for other lengths of n-grams or another tokenizer leaves nothing out.
    pub fn ignore(mut self, list: impl Into<Arc<IgnoreList>>) -> Self {
        self.ignore = Some(Ignore::List(list.into()));
        self
    }

    /// Leaves out what an [ignore file](crate::ignore) lists; [`build`](Self::build) reads it. Replaces an earlier
    /// [`ignore`](Self::ignore).
    pub fn ignore_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ignore = Some(Ignore::File(path.into()));
        self
    }

    /// Returns the detector.
    ///
    /// # Errors
    /// Returns an error if the rate is out of its range, if the statistic cannot judge a key's scheme, or if the
    /// ignore file cannot be used. Also returns an error if a key with several channels does not have the channel, or if
    /// a key belongs to a tokenizer other than the detector's. A detector for token ids has no tokenizer and does not
    /// check the latter.
    pub fn build(self) -> Result<Detector, DetectError> {
        check_fpr(self.fpr)?;
        let Keyring { keys, ring } = self.keys;
        #[cfg(feature = "text")]
        let remarks = match &self.tokenizer {
            Some(tokenizer) => {
                for RingKey { key, .. } in &keys {
                    tokenizer.check_key(key)?;
                }
                remarks(&keys, ring, tokenizer)
            }
            None => Vec::new(),
        };
        #[cfg(not(feature = "text"))]
        let remarks = Vec::new();
        let ignore = match self.ignore {
            None => None,
            Some(Ignore::List(list)) => Some(list),
            Some(Ignore::File(path)) => {
                let ngram_lens = keys.iter().flat_map(|entry| entry.key.scheme().ngram_lens());
                #[cfg(feature = "text")]
                let list = match &self.tokenizer {
                    Some(tokenizer) => {
                        IgnoreList::read_with_tokenizer(path, ngram_lens, tokenizer, self.normaliser)
                    }
                    None => IgnoreList::read(path, ngram_lens),
                };
                #[cfg(not(feature = "text"))]
                let list = IgnoreList::read(path, ngram_lens);
                Some(Arc::new(list?))
            }
        };
        let entry = |RingKey { key, name, leaked }| Entry { prf: key.prf(), id: key.id(), name, leaked };
        let keys: Arc<[Entry]> = keys.into_iter().map(entry).collect();
        check_channel(&keys, self.channel)?;
        Ok(Detector {
            plans: Arc::new(Plans::new(&keys, &self.decider, None)?),
            keys,
            ring,
            fpr: self.fpr,
            channel: self.channel,
            ignore,
            #[cfg(feature = "text")]
            tokenizer: self.tokenizer,
            #[cfg(feature = "text")]
            normaliser: self.normaliser,
            remarks,
        })
    }
}

/// Returns the remarks about keys that do not name a tokenizer, or name only its vocabulary.
#[cfg(feature = "text")]
fn remarks(keys: &[RingKey], ring: bool, tokenizer: &Tokenizer) -> Vec<Warning> {
    let subject = |which: &dyn Fn(&Key) -> bool, [one, many]: [&str; 2]| {
        let mut found = keys.iter().map(|entry| &*entry.key).filter(|key| which(key));
        let first = found.next()?;
        Some(if ring {
            format!("{} of {} keys {many}", found.count() + 1, keys.len())
        } else {
            format!("key {} {one}", first.id())
        })
    };
    let unbound = subject(&|key| key.tokenizer().is_none(), ["names no tokenizer", "name no tokenizer"]);
    let weak = subject(
        &|key| key.tokenizer().is_some_and(|binding| binding.rules.is_none()),
        ["is bound to its tokenizer's vocabulary alone", "are bound to their tokenizers' vocabularies alone"],
    );
    let name = tokenizer.name();
    let unbound = unbound.map(|subject| {
        let message = format!(
            "{subject}; if the texts were written with another one than {name}, their mark is not found"
        );
        Warning::new(WarningCode::UnboundKey, message)
    });
    let weak = weak.map(|subject| {
        let message = format!(
            "{subject}, not to its merges and other rules; if {name} cuts texts in another way, their mark is not \
             found; bind it again"
        );
        Warning::new(WarningCode::WeakBinding, message)
    });
    unbound.into_iter().chain(weak).collect()
}
