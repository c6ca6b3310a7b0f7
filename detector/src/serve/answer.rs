//! What `POST /v1/detect` answers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::to_writer;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use wmdetect::Verdict;
use wmdetect::report::{Attribution, Failure, Report, Span};
use wmdetect::statistics::PKind;

use super::Server;
use super::credentials::Role;
use super::judge::Judgement;
use super::policy::{Answer, ExpertReport, Passage, PublicReport};
use super::text::Text;

/// A caller's name for a text.
#[derive(Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Id {
    /// A name
    Name(String),
    /// A number
    Number(i128),
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = Box::<RawValue>::deserialize(deserializer)?;
        let id = id.get();
        if id.starts_with('"') {
            return serde_json::from_str(id).map(|Text(name)| Self::Name(name)).map_err(D::Error::custom);
        }
        let number = serde_json::from_str(id).map(Self::Number);
        number.map_err(|_| D::Error::custom("expected a string or an integer of at most 128 bits"))
    }
}

/// How much is said of a text
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Detail {
    /// The verdict and the numbers that it rests on
    Verdict,
    /// The whole report
    #[default]
    Full,
}

/// The answer, as it is written: a list of results, each serialized once, directly into its place.
pub(super) struct Results(Vec<u8>);

impl Results {
    /// Makes an empty answer with room for `count` results.
    pub(super) fn new(count: usize) -> Self {
        let mut json = Vec::with_capacity(64 + 1024 * count);
        json.extend_from_slice(b"{\"results\":[");
        Self(json)
    }

    /// Adds a result.
    ///
    /// # Errors
    /// Returns an error if the result has no JSON, which does not happen.
    pub(super) fn push(
        &mut self,
        server: &Server,
        id: Option<Id>,
        detail: Detail,
        result: Result<Judgement, String>,
    ) -> serde_json::Result<()> {
        if self.0.last() != Some(&b'[') {
            self.0.push(b',');
        }
        write(&mut self.0, server, id, detail, result)
    }

    /// Returns the JSON.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"]}");
        self.0
    }
}

/// A result: an id and a report.
#[derive(Serialize)]
struct Named<'a, T> {
    id: Option<Id>,
    #[serde(flatten)]
    report: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Segments<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribution: Option<&'a Attribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
}

impl<T> Named<'_, T> {
    /// Makes a result with only the report, without the parts that requests ask for in addition.
    fn new(id: Option<Id>, report: T) -> Self {
        Self { id, report, segments: None, attribution: None, signature: None }
    }
}

/// The passages of all keys.
#[derive(Serialize)]
#[serde(untagged)]
enum Segments<'a> {
    Full(&'a [Span]),
    Places(Vec<Passage>),
}

/// The part of a report that the verdict rests on.
#[derive(Serialize)]
struct Short<'a> {
    scheme: &'a str,
    key_id: &'a str,
    tokens: u64,
    scored_tokens: u64,
    p_value: Option<f64>,
    log10_p: Option<f64>,
    p_kind: PKind,
    fpr: f64,
    verdict: Verdict,
}

impl<'a> Short<'a> {
    fn new(report: &'a Report) -> Self {
        Self {
            scheme: &report.scheme,
            key_id: &report.key_id,
            tokens: report.tokens,
            scored_tokens: report.scored_tokens,
            p_value: report.p_value,
            log10_p: report.log10_p,
            p_kind: report.p_kind,
            fpr: report.fpr,
            verdict: report.verdict,
        }
    }
}

/// Writes the JSON of a result.
fn write(
    json: &mut Vec<u8>,
    server: &Server,
    id: Option<Id>,
    detail: Detail,
    result: Result<Judgement, String>,
) -> serde_json::Result<()> {
    let judgement = match result {
        Ok(judgement) => judgement,
        Err(error) => return to_writer(json, &Named::new(id, Failure::new(error))),
    };
    let found = &judgement.found;
    let (report, spans, attribution) =
        (found.report(), found.segments.as_deref(), found.attribution.as_ref());
    let signature = judgement.signature.as_deref();
    match (judgement.role, detail) {
        (Role::Operator, Detail::Full) => {
            let segments = spans.map(Segments::Full);
            to_writer(
                json,
                &Named { segments, attribution, signature, ..Named::new(id, Answer::new(report)) },
            )
        }
        (Role::Operator, Detail::Verdict) => {
            let (segments, report) = (spans.map(Segments::Full), Answer::new(Short::new(report)));
            to_writer(json, &Named { segments, attribution, signature, ..Named::new(id, report) })
        }
        (Role::Expert, _) => {
            let segments = spans.map(|spans| Segments::Places(spans.iter().map(Passage::new).collect()));
            let report = Answer::new(ExpertReport::new(report, |key_id| server.key_name(key_id)));
            to_writer(json, &Named { segments, signature, ..Named::new(id, report) })
        }
        (Role::Public, _) => to_writer(json, &Named::new(id, Answer::new(PublicReport::new(report)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was_given() {
        for id in ["\"a\"", "-1", "9223372036854775808", "18446744073709551615"] {
            let read: Id = serde_json::from_str(id).unwrap();
            let written = serde_json::to_string(&Named::new(Some(read), Failure::new("no"))).unwrap();
            assert!(written.starts_with(&format!("{{\"id\":{id},")), "{written}");
        }
        let half: Id = serde_json::from_str(r#""\ud800""#).unwrap();
        assert_eq!(serde_json::to_string(&half).unwrap(), "\"\u{fffd}\"");
        for wrong in ["1.5", "true", "[]", "{}"] {
            assert!(serde_json::from_str::<Id>(wrong).is_err(), "{wrong}");
        }
    }
}
