//! JSON of `wmgen compare`.

use serde::Serialize;
use wmdetect::report::Explanation;
use wmdetect::verdict::Verdict;

use super::rationales::Group;
use super::summary::{Position, Share, Wins};

/// Report of a comparison.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CompareReport {
    /// Version of this structure: 1.
    pub schema_version: u32,
    /// Names of A and B.
    pub models: [String; 2],
    /// Number of rows of A and of B that have no counterpart and were left out.
    pub unpaired: [usize; 2],
    /// Source of the ratings; null without ratings.
    pub judge: Option<JudgeReport>,
    /// Wins in all examples.
    pub overall: Wins,
    /// p-value of the hypothesis that exchanging the models makes no difference; null without ratings.
    pub p_value: Option<f64>,
    /// Wins in the examples of each tag, the most frequent first.
    pub tags: Vec<TagReport>,
    /// Whether the order of the responses decides.
    pub position: Position,
    /// Share of examples won by the longer response, among examples with a winner.
    pub longer_wins: Share,
    /// Groups of reasons.
    pub rationales: Vec<Group>,
    /// What a key's detector found; null without a key.
    pub watermark: Option<MarkReport>,
    /// What to know before using the numbers.
    pub warnings: Vec<String>,
}

/// Source of ratings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JudgeReport {
    /// Name of the judge, or the file of ratings.
    pub name: String,
    /// Digest of the judge's files; null for a server and for a file of ratings.
    pub fingerprint: Option<String>,
    /// Number of repeats of each example; null for a file of ratings.
    pub repeats: Option<usize>,
    /// Number of ratings that were read.
    pub ratings: usize,
    /// Number of replies without a verdict.
    pub unread: usize,
    /// Number of prompts that do not fit into the judge's context.
    pub too_long: usize,
    /// Number of prompts that a server refused.
    pub refused: usize,
}

/// Wins in the examples of a tag.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TagReport {
    /// The tag.
    pub tag: String,
    /// The wins.
    #[serde(flatten)]
    pub wins: Wins,
}

/// What a key's detector found in all responses.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MarkReport {
    /// Public id of the key.
    pub key_id: String,
    /// Scheme of the key.
    pub scheme: String,
    /// False positive rate.
    pub fpr: f64,
    /// Numbers of verdicts on A's responses.
    pub a: Verdicts,
    /// Numbers of verdicts on B's responses.
    pub b: Verdicts,
}

/// Numbers of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verdicts {
    /// Number of responses with the mark.
    pub watermarked: usize,
    /// Number of responses without the mark.
    pub not_detected: usize,
    /// Number of responses that are too short to tell.
    pub too_short: usize,
}

impl MarkReport {
    /// Counts the verdicts. Returns `None` if there are no examples.
    pub fn of(marks: &[[Explanation; 2]]) -> Option<Self> {
        let first = &marks.first()?[0].report;
        let count = |side: usize| {
            let mut verdicts = Verdicts::default();
            for marks in marks {
                *match marks[side].report.verdict {
                    Verdict::Watermarked => &mut verdicts.watermarked,
                    Verdict::NotDetected => &mut verdicts.not_detected,
                    _ => &mut verdicts.too_short,
                } += 1;
            }
            verdicts
        };
        Some(Self {
            key_id: first.key_id.clone(),
            scheme: first.scheme.clone(),
            fpr: first.fpr,
            a: count(0),
            b: count(1),
        })
    }
}
