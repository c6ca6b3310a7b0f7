//! The JSON of `wmgen compare`.

use serde::Serialize;
use wmdetect::report::Explanation;
use wmdetect::verdict::Verdict;

use super::rationales::Group;
use super::summary::{Position, Share, Wins};

/// What was compared, and what came out.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    /// 1.
    pub schema_version: u32,
    /// The names of A and B.
    pub models: [String; 2],
    /// Rows of A and of B without another half, which were left out.
    pub unpaired: [usize; 2],
    /// Where the ratings come from; null without any.
    pub judge: Option<JudgeReport>,
    /// Wins in all examples.
    pub overall: Wins,
    /// p-value of the hypothesis that it makes no difference which model is which; null without ratings.
    pub p_value: Option<f64>,
    /// Wins in the examples of each tag, the most frequent first.
    pub tags: Vec<TagReport>,
    /// Whether the order of the responses decided.
    pub position: Position,
    /// Among examples that somebody has won: those that the longer response has won.
    pub longer_wins: Share,
    /// Groups of reasons.
    pub rationales: Vec<Group>,
    /// What a key's detector finds; null without a key.
    pub watermark: Option<MarkReport>,
    /// What to know before the numbers are used.
    pub warnings: Vec<String>,
}

/// Where ratings come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgeReport {
    /// The judge's name, or the file of ratings.
    pub name: String,
    /// Digest of its files; null for a server and a file.
    pub fingerprint: Option<String>,
    /// Repeats of each example; null for a file.
    pub repeats: Option<usize>,
    /// Ratings that were read.
    pub ratings: usize,
    /// Replies without a verdict.
    pub unread: usize,
    /// Prompts that do not fit into the judge's context.
    pub too_long: usize,
    /// Prompts that a server refused.
    pub refused: usize,
}

/// Wins in the examples of a tag.
#[derive(Clone, Debug, Serialize)]
pub struct TagReport {
    /// The tag.
    pub tag: String,
    /// The wins.
    #[serde(flatten)]
    pub wins: Wins,
}

/// What a key's detector finds in all responses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkReport {
    /// The key's public id.
    pub key_id: String,
    /// Its scheme.
    pub scheme: String,
    /// The false positive rate.
    pub fpr: f64,
    /// Numbers of verdicts in A's responses.
    pub a: Verdicts,
    /// Numbers of verdicts in B's responses.
    pub b: Verdicts,
}

/// Numbers of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Responses with the mark.
    pub watermarked: usize,
    /// Responses without it.
    pub not_detected: usize,
    /// Responses that are too short to tell.
    pub too_short: usize,
}

impl MarkReport {
    /// Counts; none of no examples.
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
