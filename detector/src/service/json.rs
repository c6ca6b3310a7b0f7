//! Bodies of JSON, with errors that say where they are.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{ApiError, Limits};

/// A JSON body. The server's [`Limits`] bound its length and the time that it may take to arrive.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = |value: &str| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
        };
        // A body without a type is taken as JSON.
        let kind = request.headers().get(CONTENT_TYPE);
        if kind.is_some_and(|kind| !kind.to_str().is_ok_and(is_json)) {
            return Err(ApiError::not_json());
        }
        parse(&body_bytes(request).await?)
    }
}

/// Of a body over the limit, this many times the limit is read and thrown away, so that its sender goes on to read the
/// answer.
const DISCARDED: usize = 4;

/// Reads the whole body of a request, within the server's [`Limits`].
///
/// # Errors
/// Returns an error if the body is too long, comes too slowly, or ends early.
pub async fn body_bytes(request: Request) -> Result<Bytes, ApiError> {
    let limits = request.extensions().get::<Limits>().copied().unwrap_or_default();
    let body = read(request.into_body(), limits.body_bytes);
    timeout(limits.body, body).await.unwrap_or_else(|_| Err(ApiError::too_slow(limits.body.as_secs())))
}

/// All bodies that are being read may have 256 MiB together, counted in blocks.
static BLOCKS: Semaphore = Semaphore::const_new(1 << 16);
const BLOCK: usize = 4 << 10;

async fn read(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let (mut read, mut len) = (Vec::new(), 0_usize);
    let full = || ApiError::too_many("too many bodies are being read; try again", 1);
    let mut held = BLOCKS.try_acquire().map_err(|_| full())?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad_request("the body ended before its end"))?;
        let Ok(data) = frame.into_data() else { continue };
        len = len.saturating_add(data.len());
        if len <= limit {
            let missing = (len / BLOCK + 1).saturating_sub(held.num_permits());
            held.merge(BLOCKS.try_acquire_many(missing as u32).map_err(|_| full())?);
            read.extend_from_slice(&data);
        } else {
            read = Vec::new();
            if len / DISCARDED > limit {
                break;
            }
        }
    }
    if len > limit { Err(ApiError::too_large(limit)) } else { Ok(read.into()) }
}

/// Parses a body; an error names the field.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<Json<T>, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        // If no value was begun, the path is a dot.
        if !cause.is_data() || path == "." {
            let message = cause.to_string();
            // Serde puts the name of a missing field between backquotes.
            return match message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                Some(field) => ApiError::field(field, format!("{field} is missing")),
                None => ApiError::bad_request(format!("the body cannot be read: {message}")),
            };
        }
        ApiError::field(&path, format!("{path}: {cause}"))
    })?;
    reader.end().map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))?;
    Ok(Json(value))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[allow(dead_code)]
        n: u8,
        #[serde(default)]
        #[allow(dead_code)]
        list: Vec<u8>,
    }

    #[test]
    fn an_error_names_the_field() {
        let param = |body: &str| parse::<Body>(body.as_bytes()).unwrap_err().body()["error"]["param"].clone();
        assert_eq!(param(r#"{"n": "x"}"#), "n");
        assert_eq!(param(r#"{"n": 1, "list": [1, 2, -3]}"#), "list[2]");
        assert_eq!(param(r#"{"n": 1, "m": 1}"#), "m");
        assert_eq!(param("{}"), "n");
        for broken in ["", "{", "[]", r#"{"n": 1} 2"#, "\u{fffd}"] {
            assert!(param(broken).is_null(), "{broken}");
        }
    }
}
