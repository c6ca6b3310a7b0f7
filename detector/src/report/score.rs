//! The report on one text.

use serde::{Deserialize, Serialize};

use super::{Changes, Span, Warning};
use crate::statistics::{Method, PKind};
use crate::verdict::{Strength, Verdict};

/// What [`Detector::score`](crate::Detector::score) says of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Report {
    /// Name of the key's scheme, such as `synthid-sha256`.
    pub scheme: String,
    /// Public id of the key, 16 hexadecimal digits. With a keyring, of the key whose p is least.
    pub key_id: String,
    /// Name of the tokenizer that split the text; `None` if the input was token ids.
    pub tokenizer: Option<String>,
    /// Number of tokens of the text, without any that a tokenizer adds.
    pub tokens: u64,
    /// Number of tokens that count: their context is complete and has not come up before, and no ignore list has them.
    /// Under `synthid-sha256-v2` a context is new if no earlier position has taken it. There the mean, the likelihood
    /// ratio and the Bayesian detector also leave out a token that has already followed the same token.
    pub scored_tokens: u64,
    /// The statistic that `score`, the p-value and the verdict belong to.
    pub detector: Method,
    /// Value of that statistic over the scored tokens, `None` if there are none. Means are shares, 0.5 on average without
    /// the mark. The likelihood ratio and the Bayesian detector are in nats, mostly below 0 without the mark. On
    /// average without the mark, the Gumbel statistic is 1, and z of a green list is 0.
    pub score: Option<f64>,
    /// P(a score at least this high | the text does not depend on the key), corrected for the number of keys, channels
    /// and forms. `None` if nothing was scored; never below the smallest normal `f64`.
    pub p_value: Option<f64>,
    /// log₁₀ of the p-value, finite also where `p_value` is at its floor.
    pub log10_p: Option<f64>,
    /// What the p-value promises.
    pub p_kind: PKind,
    /// The false positive rate that the verdict compares p with.
    pub fpr: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Number of scored tokens by which the text's length is judged: each counts with the square of its share. Absent if the
    /// text is watermarked or nothing was scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_tokens: Option<u64>,
    /// Number of effective tokens from which on a marked text is found with probability 0.9. With fewer the verdict is
    /// `too_short`. Absent if the text is watermarked or nothing was scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_tokens: Option<u64>,
    /// The two means and the statistic that decides, over the positions that the scheme's reference implementation scores.
    /// Empty and absent in JSON unless the scheme is a tournament.
    #[serde(default, skip_serializing_if = "Scores::is_absent")]
    pub scores: Scores,
    /// What the reader should know before trusting the above.
    #[serde(flatten, with = "crate::warning")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::warning::Written<'static>"))]
    pub warnings: Vec<Warning>,
    /// The marked passages of the key named here, as in [`SegmentsReport`](super::SegmentsReport); absent in JSON if
    /// there are none. The report on a reader has none, since they need the whole text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// How many different keys the keyring has; `None` if the detector was made for one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_tried: Option<u64>,
    /// The channel that the report is about; absent if the key has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// How many channels of all keys together were tried; absent if each key has one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_tried: Option<u64>,
    /// How many forms of the text with different tokens were tried; they differ in their typographic characters. `None`
    /// if it is one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forms_tried: Option<u64>,
    /// What was changed in the text before it was cut into tokens; `None` if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
    /// Positions that an ignore list took out; `None` without a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_tokens: Option<u64>,
}

impl Report {
    /// Returns how strong the evidence is; `None` unless the text is called watermarked.
    pub fn strength(&self) -> Option<Strength> {
        let log10_p = self.log10_p.filter(|_| self.verdict == Verdict::Watermarked)?;
        Some(Strength::new(log10_p, self.fpr))
    }
}

/// The statistics of one text under a tournament's key; null if the reference mask leaves nothing to score. Under other
/// keys they are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Scores {
    /// Whether the key's scheme is a tournament.
    #[serde(skip, default = "present")]
    pub(crate) present: bool,
    /// [`Mean`](crate::statistics::Mean).
    pub mean: Option<f64>,
    /// [`WeightedMean`](crate::statistics::WeightedMean).
    pub weighted_mean: Option<f64>,
    /// [`Llr`](crate::statistics::Llr), in nats; absent unless it is the detector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llr: Option<f64>,
    /// Posterior probability of the mark, as in `transformers`' Bayesian detector; absent unless it is the detector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bayesian: Option<f64>,
}

fn present() -> bool {
    true
}

impl Scores {
    fn is_absent(&self) -> bool {
        !self.present
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::{Failure, Row, WarningCode};

    pub(in crate::report) fn report() -> Report {
        Report {
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
            effective_tokens: None,
            required_tokens: None,
            scores: Scores {
                present: true,
                mean: Some(0.5),
                weighted_mean: Some(0.5625),
                llr: None,
                bayesian: None,
            },
            warnings: vec![],
            spans: vec![],
            keys_tried: None,
            channel: None,
            channels_tried: None,
            forms_tried: None,
            normalisation: None,
            ignored_tokens: None,
        }
    }

    /// Names, order and values as in the contract; a change here is a change for everybody who reads the JSON.
    #[test]
    fn report_json() {
        let row = Row::new("a.txt", report());
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"schema_version":1,"input":"a.txt","scheme":"synthid-sha256","key_id":"3f9a0c","tokenizer":"gemma2","#,
                r#""tokens":104,"scored_tokens":100,"detector":"weighted_mean","score":0.5625,"p_value":0.0001,"#,
                r#""log10_p":-4.0,"p_kind":"exact","fpr":0.001,"verdict":"watermarked","#,
                r#""scores":{"mean":0.5,"weighted_mean":0.5625},"warnings":[],"warning_codes":[]}"#
            )
        );
        assert_eq!(serde_json::from_str::<Row<Report>>(&json).unwrap(), row);
        let other = Report { detector: Method::Gumbel, scores: Scores::default(), ..report() };
        let json = serde_json::to_string(&other).unwrap();
        assert!(!json.contains("scores") && json.contains(r#""detector":"gumbel""#));
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), other);
        let nothing =
            Report { scores: Scores { mean: None, weighted_mean: None, ..report().scores }, ..report() };
        let json = serde_json::to_string(&nothing).unwrap();
        assert!(json.contains(r#""scores":{"mean":null,"weighted_mean":null}"#));
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), nothing);
        let ring = Report { keys_tried: Some(7), ..report() };
        assert!(serde_json::to_string(&ring).unwrap().ends_with(r#""warning_codes":[],"keys_tried":7}"#));
        let changes = Changes { zero_width: 2, ..Changes::default() };
        let changed = Report { normalisation: Some(changes), ..report() };
        let json = serde_json::to_string(&changed).unwrap();
        assert!(json.ends_with(r#""warning_codes":[],"normalisation":{"zero_width":2}}"#));
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), changed);
        let failed = serde_json::to_string(&Row::new("x", Failure::new("e"))).unwrap();
        assert_eq!(failed, r#"{"schema_version":1,"input":"x","error":"e"}"#);
    }

    #[test]
    fn warnings_are_sentences_with_their_codes_beside_them() {
        let warning = Warning::new(WarningCode::InvalidUtf8, "it is not UTF-8");
        let report = Report { warnings: vec![warning], ..report() };
        let mut json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["warnings"], serde_json::json!(["it is not UTF-8"]));
        assert_eq!(json["warning_codes"], serde_json::json!(["invalid_utf8"]));
        assert_eq!(serde_json::from_value::<Report>(json.clone()).unwrap(), report);
        // JSON of an older program, and of a newer one.
        json.as_object_mut().unwrap().remove("warning_codes");
        let code = |json| serde_json::from_value::<Report>(json).unwrap().warnings[0].code;
        assert_eq!(code(json.clone()), WarningCode::Unknown);
        json["warning_codes"] = serde_json::json!(["of_tomorrow"]);
        assert_eq!(code(json), WarningCode::Unknown);
    }

    #[test]
    fn a_row_of_a_later_program_can_be_read() {
        let mut json = serde_json::to_value(Row::new("a", report())).unwrap();
        json["more"] = 1.into();
        json["scores"]["more"] = 1.into();
        assert_eq!(serde_json::from_value::<Row<Report>>(json).unwrap().report, report());
    }
}
