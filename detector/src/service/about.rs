//! What every server has in addition to its own routes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::log::log_request;
use super::{ApiError, Health, HttpMetrics, Limits, State};

/// The health and the metrics of a server.
pub struct About {
    /// Whether the server can take requests.
    pub health: Arc<Health>,
    /// Its metrics; empty once the [routes](Self::routes) are made.
    pub registry: Registry,
    pub(super) http: HttpMetrics,
}

impl About {
    /// Makes a server that is loading, without further metrics. The names of its metrics begin with `prefix`.
    pub fn new(prefix: &'static str) -> Self {
        let mut registry = Registry::with_prefix(prefix);
        let http = HttpMetrics::new(&mut registry);
        Self { health: Arc::default(), registry, http }
    }

    /// Adds to the server's own routes what every server has: `/health`, `/ready`, `/metrics` and `/openapi.json`,
    /// errors for all other paths, and an answer if a handler panics. Each request gets a name, a line in the log, and
    /// `limits` for [`Json`](super::Json). Metrics must be registered before.
    pub fn routes(&mut self, own: Router, openapi: String, limits: Limits) -> Router {
        let (health, http) = (Arc::clone(&self.health), self.http.clone());
        let registry = Arc::new(std::mem::take(&mut self.registry));
        let openapi: Arc<str> = openapi.into();
        let description = move || async move { ([(CONTENT_TYPE, "application/json")], openapi.to_string()) };
        own.route("/health", get(|| async { ([(CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}") }))
            .route("/ready", get(move || async move { ready(&health) }))
            .route("/metrics", get(move || async move { metrics(&registry) }))
            .route("/openapi.json", get(description))
            .fallback(|| async {
                ApiError::not_found("there is no such path; /openapi.json lists what there is")
            })
            .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
            .layer(from_fn(answer_for_panics))
            .layer(Extension(limits))
            .layer(from_fn(move |request, next| log_request(http.clone(), request, next)))
    }
}

/// Answers 200 if requests are answered, else 503. This is for load balancers; `/health` is for supervisors that
/// restart the process.
fn ready(health: &Health) -> Response {
    let state = health.state();
    let status = if state == State::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = format!("{{\"status\":\"{}\"}}", state.name());
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn metrics(registry: &Registry) -> Response {
    let mut text = String::new();
    if encode(&mut text, registry).is_err() {
        return ApiError::internal("the metrics cannot be written").into_response();
    }
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

/// Answers with 500 if a handler panics; the connection stays.
async fn answer_for_panics(request: Request, next: Next) -> Response {
    let mut answer = pin!(next.run(request));
    let caught = std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    });
    let mut response = caught.await.unwrap_or_else(|| {
        tracing::error!("a request made the server panic");
        ApiError::internal("the server failed at this request; its log has the cause").into_response()
    });
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
