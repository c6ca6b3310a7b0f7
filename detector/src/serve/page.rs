//! `GET /` and `POST /`: the page of the detector.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Form;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, FromRequestParts as _, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use wmdetect::render::html::ask::{Brief, Outcome, Page, SCRIPT, SHOWN, STYLE, Token, ask};
use wmdetect::service::{ApiError, Limits, RequestId, Stranger, bearer, body_bytes};

use super::Server;
use super::credentials::{Caller, Role};
use super::detect::check_length;
use super::judge::{Content, Judgement, Question};
use super::text::{EXPERT_TEXT, FORM_BODY, PUBLIC_TEXT};

/// The longest text, in bytes, that the form takes of everybody where no tokens are asked for: in the form's encoding a
/// byte can become three, and bodies may have 8 MiB.
const TEXT: usize = 2 << 20;

/// Nothing is loaded from anywhere, nothing runs but the page's own script, and no other page may show this one.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let [style, script] = [STYLE, SCRIPT].map(|text| STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

/// What the form sends.
#[derive(Deserialize, Default)]
struct Sent {
    #[serde(default)]
    text: String,
    #[serde(default)]
    token: String,
}

/// Shows the form.
pub(super) async fn form(State(server): State<Arc<Server>>) -> Response {
    with_headers(StatusCode::OK, HeaderMap::new(), server.page("", None))
}

/// Judges the text of the form.
pub(super) async fn judge(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts.clone(), body);
    let sent = if server.callers.knows(&parts) {
        read(request).await
    } else {
        let limits = parts.extensions.get::<Limits>().copied().unwrap_or_default();
        let body_bytes = limits.body_bytes.min(FORM_BODY);
        request.extensions_mut().insert(Limits { body_bytes, ..limits });
        request.extensions_mut().insert(Stranger);
        match Place::take(server.callers.address(&parts)) {
            Some(_place) => read(request).await,
            None => Err(ApiError::too_many("too many texts are being sent: try again in a second", 1)),
        }
    };
    let mut sent = match sent {
        Ok(sent) => sent,
        Err(error) => return server.refused("", error),
    };
    // Forms send every line end as two characters.
    let text = std::mem::take(&mut sent.text).replace("\r\n", "\n");
    let judged = server.judge_sent(&mut parts, &sent.token, &text).await;
    match judged {
        Ok(judgement) => with_headers(StatusCode::OK, HeaderMap::new(), server.result(&text, &judgement)),
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => {
            let message = if sent.token.is_empty() {
                "An access token is needed."
            } else {
                "Nobody has this access token."
            };
            let html = server.page(&text, Some(Outcome::Refused(message)));
            with_headers(StatusCode::UNAUTHORIZED, HeaderMap::new(), html)
        }
        Err(error) => server.refused(&text, error),
    }
}

/// Number of forms that are read at a time. Unlike senders of JSON, their senders are not known before the end, unless
/// the head has a token. A form takes only the memory of what has been sent of it, which has its own bound.
static READING: Semaphore = Semaphore::const_new(1024);
/// Number of them that one address may send.
const FORMS: u32 = 16;
/// How many each address sends.
static SENDERS: Mutex<BTreeMap<IpAddr, u32>> = Mutex::new(BTreeMap::new());

/// A place among the forms that are read; dropping it leaves.
struct Place {
    address: IpAddr,
    _permit: SemaphorePermit<'static>,
}

impl Place {
    /// Takes a place, unless all of them, or all of the address, are taken.
    fn take(address: IpAddr) -> Option<Self> {
        let permit = READING.try_acquire().ok()?;
        let mut senders = SENDERS.lock().unwrap_or_else(PoisonError::into_inner);
        let forms = senders.entry(address).or_default();
        if *forms >= FORMS {
            return None;
        }
        *forms += 1;
        Some(Self { address, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut senders = SENDERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(forms) = senders.get_mut(&self.address) {
            *forms -= 1;
            if *forms == 0 {
                senders.remove(&self.address);
            }
        }
    }
}

/// Reads the form.
async fn read(request: Request) -> Result<Sent, ApiError> {
    let body = body_bytes(request).await?;
    let mut form = Request::new(Body::from(body));
    *form.method_mut() = Method::POST;
    form.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    // The length has been checked already.
    DefaultBodyLimit::disable().apply(&mut form);
    let sent = Form::<Sent>::from_request(form, &()).await;
    sent.map(|Form(sent)| sent).map_err(|rejection| ApiError::bad_request(rejection.body_text()))
}

impl Server {
    async fn judge_sent(
        self: &Arc<Self>,
        parts: &mut Parts,
        token: &str,
        text: &str,
    ) -> Result<Judgement, ApiError> {
        // Credentials that a proxy asks for are not for this server.
        if bearer(&parts.headers).is_none() {
            parts.headers.remove(AUTHORIZATION);
        }
        if !token.is_empty() {
            let value =
                HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ApiError::unauthorized())?;
            parts.headers.insert(AUTHORIZATION, value);
        }
        let caller = Caller::from_request_parts(parts, self).await?;
        if text.trim().is_empty() {
            return Err(ApiError::bad_request("there is no text in the form"));
        }
        let explain = caller.role == Role::Operator && text.len() <= SHOWN;
        let question = Question { explain, ..Question::new(Content::Text(text.to_owned())) };
        check_length(caller.role, &question)?;
        let request = parts.extensions.get::<RequestId>().cloned();
        let request = request.ok_or_else(|| ApiError::internal("the request has no name"))?;
        self.judge(&caller, &request, question).await
    }

    /// Shows what the caller is told.
    fn result(&self, text: &str, judgement: &Judgement) -> String {
        let (verdict, report) = (judgement.verdict, judgement.found.report());
        let brief = match judgement.role {
            Role::Operator => return self.page(text, Some(Outcome::Full(&judgement.found.explanation))),
            Role::Expert => {
                let name = self.key_name(&report.key_id);
                let key = name.map_or_else(|| format!("key {}", report.key_id), str::to_owned);
                Brief { verdict, ..Brief::with_passages(report, key) }
            }
            Role::Public => Brief::verdict(verdict, report.fpr),
        };
        self.page(text, Some(Outcome::Brief(&brief)))
    }

    fn page(&self, text: &str, outcome: Option<Outcome<'_>>) -> String {
        let (token, limit) = match (&self.callers.credentials, self.callers.public) {
            (None, _) => (Token::None, TEXT),
            (Some(_), true) => (Token::Optional { limit_without: PUBLIC_TEXT }, EXPERT_TEXT),
            (Some(_), false) => (Token::Required, EXPERT_TEXT),
        };
        ask(Page { text, token, limit, audited: self.audit.is_some(), outcome })
    }

    /// Shows why a text is not judged, with the status and the waiting time of `error`.
    fn refused(&self, text: &str, error: ApiError) -> Response {
        let message = error.message();
        let mut sentence: String = message.chars().take(1).flat_map(char::to_uppercase).collect();
        sentence.extend(message.chars().skip(1));
        sentence.push('.');
        let html = self.page(text, Some(Outcome::Refused(&sentence)));
        let (head, _) = error.into_response().into_parts();
        with_headers(head.status, head.headers, html)
    }
}

fn with_headers(status: StatusCode, mut headers: HeaderMap, html: String) -> Response {
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    (status, headers, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_the_style_and_the_script_of_the_page_and_no_other() {
        let html = ask(Page { text: "", token: Token::None, limit: TEXT, audited: false, outcome: None });
        let policy = POLICY.to_str().unwrap();
        for element in ["style", "script"] {
            let parts: Vec<&str> = html.split(&format!("<{element}>")).collect();
            let [_, inside] = parts[..] else { panic!("one {element}") };
            let inside = inside.split(&format!("</{element}>")).next().unwrap();
            let hash = STANDARD.encode(Sha256::digest(inside));
            assert!(policy.contains(&format!("{element}-src 'sha256-{hash}';")), "{element}");
        }
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        assert!(!html.contains(" style=") && !html.contains(" onclick="));
    }

    #[test]
    fn one_address_does_not_take_all_places() {
        let [one, other] = [[10_u8, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let places: Vec<Place> = (0..100).map_while(|_| Place::take(one)).collect();
        assert_eq!(places.len(), FORMS as usize);
        assert!(Place::take(other).is_some());
        drop(places);
        assert!(Place::take(one).is_some());
        assert!(SENDERS.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_form_is_read_up_to_its_limit() {
        let of = |body: String| {
            let mut request = Request::new(Body::from(body));
            request.extensions_mut().insert(Limits { body_bytes: 4 << 20, ..Limits::default() });
            read(request)
        };
        let sent = of("text=caf%C3%A9+%3C%0D%0A&token=t&more=1".into()).await.unwrap_or_default();
        assert_eq!((&*sent.text, &*sent.token), ("café <\r\n", "t"));
        let long = of(format!("text={}", "x".repeat(3 << 20))).await.unwrap_or_default();
        assert_eq!(long.text.len(), 3 << 20);
        let Err(error) = of(format!("text={}", "x".repeat(4 << 20))).await else { panic!("too long") };
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
