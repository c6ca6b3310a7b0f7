//! Bodies of JSON, with errors that say where they are.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};
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

/// Marks a request, among its extensions, as one by somebody without a token. A quarter of the memory for bodies is
/// not for such requests.
#[derive(Clone, Copy, Debug)]
pub struct Stranger;

/// Reads the whole body of a request, within the server's [`Limits`].
///
/// # Errors
/// Returns an error if the body is too long, comes too slowly, or ends early.
pub async fn body_bytes(request: Request) -> Result<Bytes, ApiError> {
    let limits = request.extensions().get::<Limits>().copied().unwrap_or_default();
    let stranger = request.extensions().get::<Stranger>().is_some();
    let body = read(request.into_body(), limits.body_bytes, stranger);
    timeout(limits.body, body).await.unwrap_or_else(|_| Err(ApiError::too_slow(limits.body.as_secs())))
}

/// All bodies that are being read may have 256 MiB together, counted in blocks.
static BLOCKS: Semaphore = Semaphore::const_new(1 << 16);
/// The bodies of strangers may have three quarters of these.
static STRANGERS: Semaphore = Semaphore::const_new(3 << 14);
const BLOCK: usize = 4 << 10;

fn take(from: &'static Semaphore, blocks: u32) -> Result<SemaphorePermit<'static>, ApiError> {
    let full = |_| ApiError::too_many("too many bodies are being read; try again", 1);
    from.try_acquire_many(blocks).map_err(full)
}

async fn read(mut body: Body, limit: usize, stranger: bool) -> Result<Bytes, ApiError> {
    let (mut read, mut len) = (Vec::new(), 0_usize);
    let mut held = take(&BLOCKS, 1)?;
    let mut share = stranger.then(|| take(&STRANGERS, 1)).transpose()?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad_request("the body ended before its end"))?;
        let Ok(data) = frame.into_data() else { continue };
        len = len.saturating_add(data.len());
        if len <= limit {
            let missing = (len / BLOCK + 1).saturating_sub(held.num_permits()) as u32;
            if let Some(share) = &mut share {
                share.merge(take(&STRANGERS, missing)?);
            }
            held.merge(take(&BLOCKS, missing)?);
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
    let body = str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        ApiError::bad_request(format!("the body cannot be read: expected UTF-8, found another byte at {at}"))
    })?;
    let mut reader = serde_json::Deserializer::from_str(body);
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
        let error = parse::<Body>(b"{\"n\": 1, \"\xed\xc3\xa9\": 1}").unwrap_err();
        assert!(error.message().contains("expected UTF-8, found another byte at 10"), "{}", error.message());
    }

    #[tokio::test]
    async fn strangers_leave_memory_for_others() {
        let _all = take(&STRANGERS, 3 << 14).unwrap();
        let of = |stranger: bool| {
            let mut request = Request::new(axum::body::Body::from("1"));
            if stranger {
                request.extensions_mut().insert(Stranger);
            }
            body_bytes(request)
        };
        assert!(of(false).await.is_ok());
        assert_eq!(of(true).await.unwrap_err().status().as_u16(), 429);
    }
}
