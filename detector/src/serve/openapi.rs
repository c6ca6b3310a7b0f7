//! The description of the interface that `/openapi.json` gives.

use serde_json::json;
use utoipa::{OpenApi, ToSchema};

use super::answer::Id;
use super::{about, compat, detect, policy};

/// The answer about each text, in order
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written")]
pub(super) struct DetectResponse {
    #[schema(min_items = 1, max_items = 256)]
    results: Vec<DetectResult>,
}

/// The answer about a text
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written")]
#[serde(untagged)]
enum DetectResult {
    Operator(OperatorReport),
    Expert(policy::ExpertReport),
    Public(policy::PublicReport),
    Failed(Failed),
}

/// The answer to operators about a text; all fields are those of `wmdetect score --json`
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written")]
struct OperatorReport {
    /// Name of the text in the request
    id: Option<Id>,
    schema_version: u32,
    #[schema(value_type = String)]
    verdict: wmdetect::Verdict,
    scheme: String,
    /// The key with the least p, even if it did not mark the text
    key_id: String,
    tokens: u64,
    scored_tokens: u64,
    p_value: Option<f64>,
    log10_p: Option<f64>,
    p_kind: String,
    fpr: f64,
}

/// A text that could not be judged
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written")]
struct Failed {
    /// Name of the text in the request
    id: Option<Id>,
    /// What was expected and found
    error: String,
}

/// An error
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written")]
struct ErrorBody {
    error: ErrorParts,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written")]
struct ErrorParts {
    /// A sentence
    message: String,
    /// The kind of error
    r#type: String,
    /// The field that it is about
    #[schema(required = true)]
    param: Option<String>,
    /// A code for programs
    #[schema(required = true)]
    code: Option<String>,
}

/// The state of the server
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written")]
struct Status {
    /// ok, loading, ready, draining or broken
    status: String,
}

/// Says that the process lives
#[utoipa::path(get, path = "/health", responses((status = 200, description = "It lives", body = Status)))]
#[allow(dead_code, reason = "the route is made where both servers share it")]
fn health() {}

/// Says whether requests are answered
#[utoipa::path(get, path = "/ready", responses(
    (status = 200, description = "They are", body = Status),
    (status = 503, description = "Loading, or told to stop", body = Status)
))]
#[allow(dead_code, reason = "the route is made where both servers share it")]
fn ready() {}

/// Metrics in the text form of OpenMetrics
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text")
))]
#[allow(dead_code, reason = "the route is made where both servers share it")]
fn metrics() {}

/// This description
#[utoipa::path(get, path = "/openapi.json", responses(
    (status = 200, description = "OpenAPI 3.1", body = std::collections::HashMap<String, serde_json::Value>)
))]
#[allow(dead_code, reason = "the route is made where both servers share it")]
fn openapi() {}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wmdetect",
        description = "Says of texts whether they carry a watermark of the server's keys. Where the server has \
                       credentials, a bearer token decides how much is told."
    ),
    paths(
        detect::detect,
        compat::vllm,
        compat::contents,
        about::keys,
        about::well_known,
        health,
        ready,
        metrics,
        openapi
    ),
    components(schemas(detect::Item, ErrorBody, compat::ContentsError))
)]
struct Api;

/// Errors of a request that has a body.
const WITH_BODY: [(&str, &str); 10] = [
    ("400", "The request cannot be answered as it is"),
    ("401", "No valid token"),
    ("403", "The token's role may not ask for this"),
    ("405", "The path has no such method"),
    ("408", "The body did not arrive in time"),
    ("413", "The body is too long"),
    ("415", "The body is not JSON by its own account"),
    ("429", "The budget is spent, or too many requests wait; Retry-After has the seconds"),
    ("500", "The fault is the server's"),
    ("503", "The audit log cannot be written"),
];

/// Returns the description as JSON.
pub(super) fn document() -> String {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    // An expert's report is also a report for the public, with more fields.
    if let Some(result) = document["components"]["schemas"]["DetectResult"].as_object_mut()
        && let Some(reports) = result.remove("oneOf")
    {
        result.insert("anyOf".into(), reports);
    }
    document["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let asks = method == "post" || path == "/v1/keys";
            let errors = WITH_BODY
                .iter()
                .filter(|(status, _)| method == "post" || *status == "500" || (asks && *status == "401"));
            let schema = if path.starts_with("/api/") { "ContentsError" } else { "ErrorBody" };
            for (status, description) in errors {
                operation["responses"][status] = json!({
                    "description": description,
                    "content": { "application/json": { "schema": {
                        "$ref": format!("#/components/schemas/{schema}")
                    } } },
                });
            }
            if asks {
                operation["security"] = json!([{ "token": [] }, {}]);
            }
        }
    }
    document.to_string()
}
