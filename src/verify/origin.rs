//! What is known of how a text was made.

use wmdetect::scheme::Key;

use super::{SamplingSource, VerifyError};
use crate::respond::Receipt;
use crate::sample::Sampling;

/// The temperatures that a text is tried at if nothing is known of its sampling.
pub const TEMPERATURES: [f64; 4] = [0.35, 0.5, 0.7, 1.0];

/// What is known of how a text was made. A wrong origin costs power, never validity.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub(super) prompt: Vec<u32>,
    /// At least one.
    pub(super) settings: Vec<Sampling>,
    pub(super) source: SamplingSource,
    /// The model and the key that the receipt names.
    pub(super) made_by: Option<MadeBy>,
    /// The receipts, one of which is the text's.
    pub(super) receipts: Vec<Receipt>,
}

/// The model and the key that a receipt names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MadeBy {
    pub(super) model: String,
    pub(super) fingerprint: Option<String>,
    pub(super) key_id: Option<String>,
}

impl Origin {
    /// Takes everything from the text's receipt.
    pub fn of_receipt(receipt: &Receipt) -> Self {
        Self {
            prompt: receipt.prompt_tokens.clone(),
            settings: vec![receipt.sampling],
            source: SamplingSource::Receipt,
            made_by: Some(MadeBy {
                model: receipt.model.name.clone(),
                fingerprint: receipt.model.fingerprint.clone(),
                key_id: receipt.watermark.key_id.clone(),
            }),
            receipts: vec![receipt.clone()],
        }
    }

    /// Adds the receipt of another text of the same prompt, settings, model and key: the text may be either's.
    #[must_use]
    pub fn or_of(mut self, receipt: Receipt) -> Self {
        self.receipts.push(receipt);
        self
    }

    /// Takes the prompt's ids, none if it is not known, and the settings of the draws. Their seed does not matter.
    pub fn given(prompt: Vec<u32>, sampling: Sampling) -> Self {
        Self {
            prompt,
            settings: vec![sampling],
            source: SamplingSource::Given,
            made_by: None,
            receipts: Vec::new(),
        }
    }

    /// As [`given`](Self::given), but for the temperature, of which nothing is known: the evidence at several
    /// [`TEMPERATURES`] is averaged.
    pub fn of_any_temperature(prompt: Vec<u32>, sampling: Sampling) -> Self {
        let settings = TEMPERATURES.map(|temperature| Sampling { temperature, ..sampling });
        Self {
            prompt,
            settings: settings.to_vec(),
            source: SamplingSource::Mixed,
            made_by: None,
            receipts: Vec::new(),
        }
    }

    /// The channels of a key that its receipts name, at least one; none if they do not say.
    pub(super) fn channels(&self, key: &Key) -> Option<Vec<u16>> {
        let id = key.id();
        let of_key = self.receipts.iter().filter(|receipt| receipt.watermark.key_id.as_ref() == Some(&id));
        let channels: Option<Vec<u16>> = of_key.map(|receipt| receipt.watermark.channel).collect();
        let mut channels = channels.filter(|channels| !channels.is_empty())?;
        channels.sort_unstable();
        channels.dedup();
        channels.iter().all(|channel| *channel < key.scheme().channels()).then_some(channels)
    }

    /// Checks the settings, which needs no model.
    ///
    /// # Errors
    /// Returns an error if a setting is out of range or draws no token.
    pub fn check(&self) -> Result<(), VerifyError> {
        for setting in &self.settings {
            if setting.temperature == 0.0 {
                return Err(match self.source {
                    SamplingSource::Receipt => VerifyError::GreedyReceipt,
                    SamplingSource::Given | SamplingSource::Mixed => VerifyError::Greedy,
                });
            }
            setting.check(true)?;
        }
        Ok(())
    }
}
