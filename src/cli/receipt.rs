//! Receipts: the lines of `wmgen generate --json`, as far as a verifier needs them.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;
use wmgen::sample::Sampling;

/// How a text was made. What else a line holds is not looked at.
#[derive(Deserialize)]
pub(super) struct Receipt {
    schema_version: u32,
    pub tokens: Vec<u32>,
    pub prompt_tokens: Vec<u32>,
    sampling: Settings,
    pub model: Model,
    watermark: Mark,
}

#[derive(Deserialize)]
struct Settings {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    repeat_penalty: f32,
}

#[derive(Deserialize)]
pub(super) struct Model {
    pub name: String,
    pub fingerprint: Option<String>,
}

#[derive(Deserialize)]
struct Mark {
    key_id: Option<String>,
}

impl Receipt {
    fn parse(line: &str) -> Result<Self, String> {
        let receipt: Self = serde_json::from_str(line).map_err(|error| {
            format!("not a receipt: {error}; expected a line of what `wmgen generate --json` prints")
        })?;
        match receipt.schema_version {
            1 => Ok(receipt),
            other => Err(format!(
                "the receipt has schema_version {other}, expected 1; use the wmgen that wrote it"
            )),
        }
    }

    /// The settings of the draws; the seed does not matter to a reader.
    pub(super) fn sampling(&self) -> Sampling {
        let Settings { temperature, top_k, top_p, repeat_penalty } = self.sampling;
        Sampling { temperature, top_k, top_p, repeat_penalty, seed: 0 }
    }

    /// The key that it says was used.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.watermark.key_id.as_deref()
    }

    /// Whether a text of `other` has the same prompt, settings, model and key.
    fn is_like(&self, other: &Self) -> bool {
        self.prompt_tokens == other.prompt_tokens
            && self.sampling() == other.sampling()
            && self.model.fingerprint == other.model.fingerprint
            && self.key_id() == other.key_id()
    }
}

/// The receipts of a file, each with its name: the path, and the line where there are several. A bad line is an entry
/// of its own.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Result<Receipt, String>)>> {
    let text = super::read_text(path)?;
    let name = path.display();
    let lines: Vec<_> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        bail!("{name} is empty; expected a line of what `wmgen generate --json` prints");
    }
    let several = lines.len() > 1;
    Ok(lines
        .into_iter()
        .map(|(index, line)| {
            let place = if several { format!("{name}:{}", index + 1) } else { name.to_string() };
            (place, Receipt::parse(line))
        })
        .collect())
}

/// The one receipt that speaks for every text of a prompt.
pub(super) fn common(receipts: Vec<(String, Result<Receipt, String>)>) -> Result<Receipt> {
    let mut first: Option<(String, Receipt)> = None;
    for (place, receipt) in receipts {
        let receipt = receipt.map_err(|error| anyhow::anyhow!("{place}: {error}"))?;
        match &first {
            Some((first, other)) if !receipt.is_like(other) => bail!(
                "{place} has another prompt, sampling, model or key than {first}, so it is open which belongs to the \
                 texts; pass a receipt of one line, or no FILE to verify the receipts' own tokens"
            ),
            Some(_) => {}
            None => first = Some((place, receipt)),
        }
    }
    Ok(first.map(|(_, receipt)| receipt).expect("a file of receipts has a line"))
}
