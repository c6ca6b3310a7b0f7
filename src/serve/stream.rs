//! Answers that are sent while they are written, as server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use wmdetect::service::ApiError;
use wmgen::respond::RespondError;

use super::answer::{Answer, Numbered, Step, Unsent};

/// Body of a stream. It has a chunk for each piece of text, then the last chunk with usage and mark, then `[DONE]`. If
/// an error occurs, the stream ends with the error and without `[DONE]`.
pub(super) struct Stream {
    answer: Option<Answer>,
    events: UnboundedReceiver<Numbered>,
    include_usage: bool,
    /// The engine's first event, which arrived before the status line.
    first: Option<Numbered>,
}

impl Stream {
    /// Makes the response for an answer that has begun with the event `first`.
    pub(super) fn response(
        answer: Answer,
        events: UnboundedReceiver<Numbered>,
        first: Numbered,
        include_usage: bool,
    ) -> Response {
        let body = Self { answer: Some(answer), events, include_usage, first: Some(first) };
        let mut response = Response::new(Body::new(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Otherwise nginx would buffer the chunks.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// Takes an event, and appends what is to be sent to `out`. Returns whether the answer has ended.
    fn take(answer: &mut Answer, include_usage: bool, event: Numbered, out: &mut Vec<u8>) -> bool {
        let index = match answer.take(event) {
            Ok(Step::Grown(index)) => index,
            Ok(Step::Complete) => {
                Self::end(answer, include_usage, out);
                return true;
            }
            Ok(Step::Nothing) => return false,
            Err(error @ RespondError::Stopped) => {
                put(out, &ApiError::unavailable(error.to_string()).body());
                return true;
            }
            Err(error) => {
                tracing::error!(%error, request_id = answer.owner.request_id, "an answer failed");
                put(out, &ApiError::internal(error.to_string()).body());
                return true;
            }
        };
        // The end of the last text is sent together with the counts.
        let is_last = answer.open() == 0;
        let text = answer.text(index);
        let finish = text.finish.filter(|_| !is_last);
        let Unsent { first, piece, logprobs } = text.take_unsent();
        if first || !piece.is_empty() || logprobs.is_some() || finish.is_some() {
            put(out, &answer.head.chunk(index, first, &piece, logprobs, finish));
        }
        false
    }

    /// Appends the end of the last text, the usage if it was asked for, and the sign that the stream is complete.
    fn end(answer: &mut Answer, include_usage: bool, out: &mut Vec<u8>) {
        if answer.breaks_promise() {
            put(out, &super::policy::unmarked().body());
            return;
        }
        let (usage, mark) = answer.sum_up();
        let last = answer.last_to_end();
        let text = answer.text(last);
        let finish = text.finish;
        // What came with the end has not been sent yet.
        let Unsent { first, piece, logprobs } = text.take_unsent();
        let mut chunk = answer.head.chunk(last, first, &piece, logprobs, finish);
        if include_usage {
            put(out, &chunk);
            put(out, &answer.head.usage_chunk(usage, &mark));
        } else {
            chunk["watermark"] = serde_json::json!(mark);
            put(out, &chunk);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

fn put(out: &mut Vec<u8>, value: &Value) {
    out.extend_from_slice(b"data: ");
    // A value of strings, numbers and maps of them can always be written.
    let _ = serde_json::to_writer(&mut *out, value);
    out.extend_from_slice(b"\n\n");
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { answer: open, events, include_usage, first } = &mut *self;
        let mut out = Vec::new();
        let mut ended = false;
        while let Some(answer) = open.as_mut().filter(|_| !ended) {
            let event = match first.take() {
                Some(event) => Some(event),
                // Everything that is already there goes out in one piece.
                None if out.is_empty() => ready!(events.poll_recv(context)),
                None => match events.try_recv() {
                    Ok(event) => Some(event),
                    Err(_) => break,
                },
            };
            ended = if let Some(event) = event {
                Self::take(answer, *include_usage, event, &mut out)
            } else {
                put(&mut out, &ApiError::unavailable("the engine has stopped").body());
                true
            };
        }
        if ended {
            *open = None;
        }
        Poll::Ready((!out.is_empty()).then(|| Ok(Frame::data(out.into()))))
    }
}
