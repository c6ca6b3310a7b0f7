//! What is known about how a text was written.

use wmdetect::scheme::Key;

use super::{SamplingSource, VerifyError};
use crate::respond::Receipt;
use crate::sample::Sampling;

/// Temperatures that are tried for a text if nothing is known about its sampling.
pub const TEMPERATURES: [f64; 4] = [0.35, 0.5, 0.7, 1.0];

/// What is known about how a text was written. A wrong origin costs power, never validity.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub(super) prompt: Vec<u32>,
    /// Sampling settings, at least one.
    pub(super) settings: Vec<Sampling>,
    pub(super) source: SamplingSource,
    /// Model and key that the receipt names.
    pub(super) made_by: Option<MadeBy>,
    /// Receipts; one of them belongs to the text.
    pub(super) receipts: Vec<Receipt>,
}

/// Model and key that a receipt names.
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

    /// Adds the receipt of another text with the same prompt, settings, model and key. The text may belong to
    /// either receipt.
    #[must_use]
    pub fn or_of(mut self, receipt: Receipt) -> Self {
        self.receipts.push(receipt);
        self
    }

    /// Takes the prompt's ids, which are empty if it is not known, and the settings of the draws. Their seed does
    /// not matter.
    pub fn given(prompt: Vec<u32>, sampling: Sampling) -> Self {
        Self {
            prompt,
            settings: vec![sampling],
            source: SamplingSource::Given,
            made_by: None,
            receipts: Vec::new(),
        }
    }

    /// Does the same as [`given`](Self::given) for an unknown temperature: the evidence at several
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

    /// Returns the channels of a key that its receipts name, at least one, or `None` if they name none.
    pub(super) fn channels(&self, key: &Key) -> Option<Vec<u16>> {
        let id = key.id();
        let of_key = self.receipts.iter().filter(|receipt| receipt.watermark.key_id.as_ref() == Some(&id));
        let channels: Option<Vec<u16>> = of_key.map(|receipt| receipt.watermark.channel).collect();
        let mut channels = channels.filter(|channels| !channels.is_empty())?;
        channels.sort_unstable();
        channels.dedup();
        channels.iter().all(|channel| *channel < key.scheme().channels()).then_some(channels)
    }

    /// Checks the settings. This needs no model.
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
