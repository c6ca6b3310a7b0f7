//! The interfaces of other detectors: vLLM's example server, and the guardrails of the FMS stack.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wmdetect::Verdict;
use wmdetect::report::Span;
use wmdetect::service::{ApiError, Json, RequestId};

use super::Server;
use super::credentials::{Caller, Role};
use super::detect::{TEXTS, check_length};
use super::judge::{Content, Question};
use super::policy::allow;
use super::text::Text;

/// A text to judge
#[derive(Deserialize, ToSchema)]
pub(super) struct VllmRequest {
    /// The text
    #[schema(value_type = String, max_length = 8_000_000)]
    text: Text,
}

/// The answer of vLLM's example server about a text
#[derive(Serialize, ToSchema)]
pub(super) struct VllmResponse {
    /// The statistic; null if nothing was scored
    score: Option<f64>,
    /// Its p-value; null if nothing was scored
    p_value: Option<f64>,
    num_scored_tokens: u64,
    is_watermarked: bool,
}

/// Answers as vLLM's example server does; operators only
#[utoipa::path(
    post, path = "/detect", request_body = VllmRequest,
    responses((status = 200, description = "What was found", body = VllmResponse))
)]
pub(super) async fn vllm(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Extension(request): Extension<RequestId>,
    Json(body): Json<VllmRequest>,
) -> Result<axum::Json<VllmResponse>, ApiError> {
    allow(caller.role, Role::Operator, "/detect")?;
    let question = Question::new(Content::Text(body.text.0));
    let judgement = server.judge(&caller, &request, question).await?;
    let report = judgement.found.report();
    Ok(axum::Json(VllmResponse {
        score: report.score,
        p_value: report.p_value,
        num_scored_tokens: report.scored_tokens,
        is_watermarked: judgement.verdict == Verdict::Watermarked,
    }))
}

/// Texts to look for passages in
#[derive(Deserialize, ToSchema)]
pub(super) struct ContentsRequest {
    /// The texts
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 256)]
    contents: Vec<Text>,
    /// Accepted and ignored: there is nothing to set
    #[serde(default)]
    #[allow(dead_code, reason = "it is checked to be an object")]
    detector_params: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A marked passage
#[allow(clippy::struct_field_names, reason = "the names are those of the interface")]
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Detection {
    /// Its first character
    start: u64,
    /// The character after its last
    end: u64,
    /// `watermark`
    detection: &'static str,
    /// `watermark`
    detection_type: &'static str,
    /// 1 − p for operators, 1 for others
    #[schema(minimum = 0, maximum = 1)]
    score: f64,
    /// The passage
    text: String,
}

/// An error of this interface
#[derive(Serialize, ToSchema)]
pub(super) struct ContentsError {
    code: u16,
    message: String,
}

impl IntoResponse for ContentsError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(self)).into_response()
    }
}

/// Returns the same error with the body of this interface and its own headers.
fn contents_error(error: ApiError) -> Response {
    let body = ContentsError { code: error.status().as_u16(), message: error.message().to_owned() };
    let headers = error.into_response().headers().clone();
    let mut response = body.into_response();
    for name in ["retry-after", "www-authenticate"] {
        if let Some(value) = headers.get(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Says that only `POST` is allowed.
pub(super) async fn method_not_allowed() -> Response {
    contents_error(ApiError::method_not_allowed())
}

/// Finds marked passages, as the FMS guardrails' detectors do
///
/// Positions are characters. The header `detector-id`, or `detector_id` in the query, is accepted and ignored.
#[utoipa::path(
    post, path = "/api/v1/text/contents", request_body = ContentsRequest,
    params(
        ("detector-id" = Option<String>, Header, description = "Any"),
        ("detector_id" = Option<String>, Query, description = "Any")
    ),
    responses((status = 200, description = "The passages of each text", body = Vec<Vec<Detection>>))
)]
pub(super) async fn contents(
    State(server): State<Arc<Server>>,
    caller: Result<Caller, ApiError>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Response {
    match detections(&server, caller, &request_id, request).await {
        Ok(found) => axum::Json(found).into_response(),
        Err(error) => contents_error(error),
    }
}

async fn detections(
    server: &Arc<Server>,
    caller: Result<Caller, ApiError>,
    request_id: &RequestId,
    request: Request,
) -> Result<Vec<Vec<Detection>>, ApiError> {
    let caller = caller?;
    allow(caller.role, Role::Expert, "/api/v1/text/contents")?;
    let Json(ContentsRequest { contents, .. }) = Json::from_request(request, &()).await?;
    if contents.is_empty() || contents.len() > TEXTS {
        let message = format!("contents: expected 1 to {TEXTS} texts, found {}", contents.len());
        return Err(ApiError::field("contents", message));
    }
    let question = |text: &Text| Question { segments: true, ..Question::new(Content::Text(text.0.clone())) };
    let questions: Vec<Question> = contents.iter().map(question).collect();
    for question in &questions {
        check_length(caller.role, question)?;
    }
    let judged = server.judge_all(&caller, request_id, questions).await?;
    let mut found = Vec::with_capacity(contents.len());
    for (Text(text), judged) in contents.iter().zip(judged) {
        let judgement = judged?;
        let spans = judgement.found.segments.as_deref().unwrap_or_default();
        found.push(in_characters(text, spans, caller.role));
    }
    Ok(found)
}

/// Returns the passages of a text with their places in characters.
fn in_characters(text: &str, spans: &[Span], role: Role) -> Vec<Detection> {
    // Number of characters before a byte, counted on from the last passage's start.
    let (mut byte, mut characters) = (0, 0);
    let mut count = |to: usize| {
        if to < byte {
            (byte, characters) = (0, 0);
        }
        characters += text[byte..to].chars().count();
        byte = to;
        characters as u64
    };
    let detection = |span: &Span| -> Option<Detection> {
        let [start, end] = span.bytes?.map(|at| (at as usize).min(text.len()));
        // A token may be a part of a character.
        let start = (0..=start).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let end = (end..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
        let first = count(start);
        Some(Detection {
            start: first,
            end: first + text[start..end].chars().count() as u64,
            detection: "watermark",
            detection_type: "watermark",
            score: if role == Role::Operator { 1.0 - span.p_value } else { 1.0 },
            text: text[start..end].to_owned(),
        })
    };
    spans.iter().filter_map(detection).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_characters() {
        let text = "é日本 abc 🚀x";
        let span = |start: u64, end: u64| -> Span {
            let json = serde_json::json!({
                "bytes": [start, end], "tokens": [0, 1], "scored_tokens": 1, "score": 1.0, "p_value": 0.25,
                "log10_p": -0.6, "profile": "", "key_id": "",
            });
            serde_json::from_value(json).unwrap()
        };
        // The second begins and ends within a character; the third lies before it.
        let spans = [span(2, 8), span(13, 14), span(0, 2), span(0, 99)];
        let found = in_characters(text, &spans, Role::Operator);
        let places: Vec<_> =
            found.iter().map(|found| (found.start, found.end, found.text.as_str())).collect();
        assert_eq!(places, [(1, 3, "日本"), (8, 9, "🚀"), (0, 1, "é"), (0, 10, text)]);
        assert_eq!((found[0].score, in_characters(text, &spans, Role::Expert)[0].score), (0.75, 1.0));
    }
}
