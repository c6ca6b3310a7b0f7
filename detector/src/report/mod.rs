//! The JSON contract: one object a text. `docs/json.md` describes each field.

mod attribution;
mod calibration;
mod changes;
pub mod html;
mod segments;
pub mod terminal;

use serde::{Deserialize, Serialize};

pub use attribution::{Attribution, KeyReport};
pub use calibration::{Bucket, CalibrationReport, Rate, Shared, SharedPassage};
pub use changes::Changes;
pub use segments::{SegmentsReport, Span};

use crate::statistics::{Method, PKind};
use crate::verdict::Verdict;

/// Version of every object below; it rises when a field is removed or changes its meaning, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// What `wmdetect score` says of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Where the text came from: a path, `-`, or the id of a JSON line. Empty from the library.
    pub input: String,
    /// The key's scheme, such as `synthid-sha256`.
    pub scheme: String,
    /// The key's public id. With a keyring, of the key whose p is least.
    pub key_id: String,
    /// Name of the tokenizer that split the text; null where the input was token ids.
    pub tokenizer: Option<String>,
    /// Tokens of the text, without any that a tokenizer adds.
    pub tokens: u64,
    /// Those that count: complete context, not seen before.
    pub scored_tokens: u64,
    /// Which statistic `score`, the p-value and the verdict belong to.
    pub detector: Method,
    /// Its value over the scored tokens; null where there are none.
    pub score: Option<f64>,
    /// P(a score at least this high | the text does not depend on the key); null where nothing was scored, and never
    /// below the smallest normal `f64`. With a keyring, corrected for the number of keys.
    pub p_value: Option<f64>,
    /// log₁₀ of it, finite also where `p_value` is at its floor.
    pub log10_p: Option<f64>,
    /// What the p-value promises.
    pub p_kind: PKind,
    /// The level that the verdict holds p against.
    pub fpr: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Every statistic, over the positions that the scheme's reference implementation scores.
    pub scores: Scores,
    /// What the reader should know before trusting the above.
    pub warnings: Vec<String>,
    /// The marked passages, as [`SegmentsReport`] has them, of the key named here; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// How many keys a keyring had; absent for a single key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_tried: Option<u64>,
    /// What was changed in the text before it was cut into tokens; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
    /// Positions that an ignore list took out; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_tokens: Option<u64>,
}

/// The statistics of one text; null where its reference mask leaves nothing to score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// [`Mean`](crate::statistics::Mean).
    pub mean: Option<f64>,
    /// [`WeightedMean`](crate::statistics::WeightedMean).
    pub weighted_mean: Option<f64>,
    /// [`Llr`](crate::statistics::Llr), in nats; absent unless it is the detector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llr: Option<f64>,
    /// Posterior probability of the mark, as `transformers`' Bayesian detector has it; absent unless it is the detector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bayesian: Option<f64>,
}

/// What `wmdetect train --detector bayesian` says of what it fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainBayesianReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `bayesian`.
    pub detector: String,
    /// The directory that was written.
    pub output: String,
    /// Texts read.
    pub texts: u64,
    /// Their scored tokens.
    pub tokens: u64,
    /// Of the texts, those that were held out to choose the weights.
    pub held_out_texts: u64,
    /// Layers that the detector looks at.
    pub depth: u32,
    /// The weight of Σ delta² that was chosen.
    pub l2_weight: f64,
    /// The pass over the texts, from 1, that was chosen.
    pub epoch: u32,
    /// Cross-entropy of the posterior on held-out pieces and as many unmarked ones, in nats; 0.693 is chance.
    pub held_out_loss: f64,
    /// Mean of the log likelihood ratio over the tokens, in nats.
    pub evidence: f64,
    /// Scored tokens from which on a marked text is found with probability 0.9, at the false positive rates 1e-2, 1e-3
    /// and 1e-6; null where no length is enough.
    pub required_tokens: Vec<Option<u64>>,
}

/// What `wmdetect train` says of what it fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the detector that was fitted.
    pub detector: String,
    /// The file that was written.
    pub output: String,
    /// Texts read.
    pub texts: u64,
    /// Their scored tokens.
    pub tokens: u64,
    /// Layers that the detector looks at.
    pub depth: u32,
    /// Entropy classes.
    pub classes: u32,
    /// Mean of the log likelihood ratio over the tokens, in nats.
    pub evidence: f64,
    /// The same on held-out texts, for 1, 2, … classes; empty where the number of classes was given.
    pub held_out_evidence: Vec<f64>,
    /// Scored tokens from which on a marked text is found with probability 0.9, at the false positive rates 1e-2, 1e-3
    /// and 1e-6; null where no length is enough.
    pub required_tokens: Vec<Option<u64>>,
}

/// One input that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRow {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// As in [`Report`].
    pub input: String,
    /// What was expected, what was found, what to do.
    pub error: String,
}

/// What `wmdetect gvalues` says of one text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GValuesRow {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// As in [`Report`].
    pub input: String,
    /// Context tokens and the token itself, H + 1.
    pub ngram_len: u32,
    /// Layers m.
    pub depth: u32,
    /// One string for each position from H on (H = `ngram_len` − 1): `depth` times `0` or `1`, layer 0 first.
    pub g_bits: Vec<String>,
    /// One character for each of these positions, `1` where it is scored; for the compatible schemes as the
    /// reference implementation does it.
    pub mask: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            schema_version: SCHEMA_VERSION,
            input: "a.txt".into(),
            scheme: "synthid-sha256".into(),
            key_id: "3f9a0c".into(),
            tokenizer: Some("gemma2".into()),
            tokens: 104,
            scored_tokens: 100,
            detector: Method::WeightedMean,
            score: Some(0.5625),
            p_value: Some(1e-4),
            log10_p: Some(-4.0),
            p_kind: PKind::Exact,
            fpr: 0.001,
            verdict: Verdict::Watermarked,
            scores: Scores { mean: Some(0.5), weighted_mean: Some(0.5625), llr: None, bayesian: None },
            warnings: vec![],
            spans: vec![],
            keys_tried: None,
            normalisation: None,
            ignored_tokens: None,
        }
    }

    /// Names, order and values as in the contract; a change here is a change for everybody who reads the JSON.
    #[test]
    fn report_json() {
        let json = serde_json::to_string(&report()).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"schema_version":1,"input":"a.txt","scheme":"synthid-sha256","key_id":"3f9a0c","tokenizer":"gemma2","#,
                r#""tokens":104,"scored_tokens":100,"detector":"weighted_mean","score":0.5625,"p_value":0.0001,"#,
                r#""log10_p":-4.0,"p_kind":"exact","fpr":0.001,"verdict":"watermarked","#,
                r#""scores":{"mean":0.5,"weighted_mean":0.5625},"warnings":[]}"#
            )
        );
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report());
        let ring = Report { keys_tried: Some(7), ..report() };
        assert!(serde_json::to_string(&ring).unwrap().ends_with(r#""warnings":[],"keys_tried":7}"#));
        let changes = Changes { zero_width: 2, ..Changes::default() };
        let changed = Report { normalisation: Some(changes), ..report() };
        let json = serde_json::to_string(&changed).unwrap();
        assert!(json.ends_with(r#""warnings":[],"normalisation":{"zero_width":2}}"#));
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), changed);
    }

    #[test]
    fn unknown_fields_are_refused() {
        let mut json = serde_json::to_value(report()).unwrap();
        json["more"] = 1.into();
        assert!(serde_json::from_value::<Report>(json).is_err());
        let row = r#"{"schema_version":1,"input":"x","error":"e"}"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<ErrorRow>(row).unwrap()).unwrap(), row);
    }
}
