//! One line for each request on standard error: never a text, a token or a secret.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::fmt;

use super::HttpMetrics;

/// The format of the log.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line
    Json,
    /// Lines for people
    Text,
    /// No log
    Off,
}

/// Starts the log of this process on standard error. Later calls change nothing.
pub fn start_log(format: LogFormat) {
    let log = fmt().with_writer(std::io::stderr).with_max_level(Level::INFO).with_target(false);
    // An error says that there is a log already.
    let _ = match format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text => log.try_init(),
        LogFormat::Off => Ok(()),
    };
}

/// The name of a request in logs, receipts and the header `x-request-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

impl RequestId {
    /// Returns a name that is unique among the requests of this process and of processes that started at another time.
    fn new() -> Self {
        static START: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_micros() as u64
        });
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(format!("{:x}-{:x}", *START, NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Returns the path as the router knows it, so that no part of a request reaches labels.
fn route(request: &Request) -> String {
    let path = request.extensions().get::<MatchedPath>();
    path.map_or("other", MatchedPath::as_str).to_owned()
}

/// Names a request, answers it, and writes its line.
pub(super) async fn log_request(metrics: HttpMetrics, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = RequestId::new();
    let (method, route) = (request.method().clone(), route(&request));
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let seconds = start.elapsed().as_secs_f64();
    metrics.count(&method, &route, status, seconds);
    let milliseconds = (seconds * 1e6).round() / 1e3;
    tracing::info!(request_id = id.0, method = method.as_str(), route, status, milliseconds, "request");
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
