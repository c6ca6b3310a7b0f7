//! What each role is told.
//!
//! If a detector answers with p, or gives a verdict on every text, an attacker learns after each small change whether
//! it helped to remove or forge the mark. So:
//!
//! | role | is told | may choose |
//! |---|---|---|
//! | operator | everything | the rate, token ids, a prompt, attribution |
//! | expert | the verdict, the key, the passages without p, the strength in words, what the technique can and cannot show | passages of all keys |
//! | public | the verdict and one sentence | nothing |
//!
//! Only operators choose the rate, since bisecting it gives p. Only they may send token ids and a prompt, which move
//! the positions that count. An expert's text with fewer than [`LEAST_TOKENS`] tokens that count is never called
//! unmarked. The public is told only that such a text is too short, since a verdict on a snippet says something about
//! each of its tokens. Only tokens that count matter here, because a snippet can be made longer with repetitions, which
//! do not count.

use serde::Serialize;
use utoipa::ToSchema;
use wmdetect::Verdict;
use wmdetect::report::{Report, SCHEMA_VERSION, Span, WarningCode};
use wmdetect::service::ApiError;
use wmdetect::verdict::Strength;

use super::credentials::Role;

/// Number of tokens that must count before anyone but an operator is told that a text is unmarked.
pub(super) const LEAST_TOKENS: u64 = 200;

/// Returns the verdict that a role is told.
pub(super) fn told(role: Role, report: &Report) -> Verdict {
    let short = report.scored_tokens < LEAST_TOKENS;
    match (role, report.verdict) {
        (Role::Public, _) | (Role::Expert, Verdict::NotDetected) if short => Verdict::TooShort,
        (_, verdict) => verdict,
    }
}

/// Returns an error for the field `name`, which was given, unless the role is at least `needed`.
///
/// # Errors
/// Returns an error if the role is below `needed`.
pub(super) fn allow(role: Role, needed: Role, name: impl Into<String>) -> Result<(), ApiError> {
    if role >= needed {
        return Ok(());
    }
    let name = name.into();
    let message =
        format!("{name} is for the role {}, and this request has the role {}", needed.name(), role.name());
    Err(ApiError::forbidden(message).with_param(name))
}

/// A marked passage in the answer to an expert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Passage {
    /// First byte of the text and the one after the last
    #[schema(min_items = 2, max_items = 2)]
    pub(super) bytes: Option<[u64; 2]>,
    /// The key that marked it
    pub(super) key_id: String,
}

impl Passage {
    pub(super) fn new(span: &Span) -> Self {
        Self { bytes: span.bytes, key_id: span.key_id.clone() }
    }
}

/// The report on a text for an expert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ExpertReport {
    /// watermarked, not_detected or too_short
    #[schema(value_type = String)]
    verdict: Verdict,
    /// How strong the evidence is: weak, moderate, strong or very_strong; null unless the verdict is watermarked
    strength: Option<&'static str>,
    /// The key that marked the text; null unless the verdict is watermarked
    key_id: Option<String>,
    /// Its label or the name of its file
    key_name: Option<String>,
    /// The watermarking technique that was looked for
    scheme: String,
    /// The marked passages
    #[schema(max_items = 1_000_000)]
    spans: Vec<Passage>,
    /// What the verdict means
    meaning: String,
    /// What the verdict does not show
    limits: &'static str,
    /// What to know before trusting the verdict, as sentences
    warnings: Vec<String>,
    /// The code of each warning
    #[schema(value_type = Vec<String>)]
    warning_codes: Vec<WarningCode>,
}

impl ExpertReport {
    /// Makes the report. `name` gives the name of a key.
    pub(super) fn new<'a>(report: &Report, name: impl FnOnce(&str) -> Option<&'a str>) -> Self {
        let verdict = told(Role::Expert, report);
        let marked = verdict == Verdict::Watermarked;
        let strength = report.strength().map(|strength| match strength {
            Strength::Weak => "weak",
            Strength::Moderate => "moderate",
            Strength::Strong => "strong",
            _ => "very_strong",
        });
        Self {
            verdict,
            strength,
            key_id: marked.then(|| report.key_id.clone()),
            key_name: marked.then(|| name(&report.key_id).map(str::to_owned)).flatten(),
            scheme: report.scheme.clone(),
            spans: report.spans.iter().map(Passage::new).collect(),
            meaning: meaning(verdict, report),
            warnings: report.warnings.iter().map(|warning| warning.message.clone()).collect(),
            warning_codes: report.warnings.iter().map(|warning| warning.code).collect(),
            limits: "The mark shows which operator's key a text was written with. It does not show who asked for the \
                     text, and says nothing of texts by other models. Paraphrase and translation remove it, and few \
                     words of a text can be exchanged without removing it.",
        }
    }
}

/// The report on a text for everybody.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PublicReport {
    /// watermarked, not_detected or too_short
    #[schema(value_type = String)]
    verdict: Verdict,
    /// What the verdict means
    meaning: String,
}

impl PublicReport {
    pub(super) fn new(report: &Report) -> Self {
        let verdict = told(Role::Public, report);
        Self { verdict, meaning: meaning(verdict, report) }
    }
}

/// Says what a verdict means.
pub(super) fn meaning(verdict: Verdict, report: &Report) -> String {
    let fpr = report.fpr;
    let leaked = report.warnings.iter().any(|warning| warning.code == WarningCode::LeakedKey);
    match verdict {
        Verdict::Watermarked if leaked => {
            "The text carries a watermark that others can make too, since its key has \
                                           become known: it does not show who wrote the text."
                .into()
        }
        Verdict::Watermarked => format!(
            "The text, or a large part of it, carries the watermark of this operator's models; of texts without it, at \
             most a share of {fpr:?} is called watermarked by chance."
        ),
        Verdict::NotDetected => {
            "The watermark of this operator's models was not found; the text may still come from \
                                 another model, or have been rewritten."
                .into()
        }
        _ => "The text is too short to say anything of it.".into(),
    }
}

/// The line of JSON around a report in an answer.
#[derive(Serialize)]
pub(super) struct Answer<T> {
    schema_version: u32,
    #[serde(flatten)]
    report: T,
}

impl<T> Answer<T> {
    pub(super) fn new(report: T) -> Self {
        Self { schema_version: SCHEMA_VERSION, report }
    }
}
