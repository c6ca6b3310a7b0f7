//! Routes: from a request to the engine and back.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::HeaderValue;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wmdetect::service::{self, ApiError, Health, RequestId, State as Phase};
use wmgen::engine::RequestError;
use wmgen::respond::{Client, KeyMark, RespondError};
use wmgen::sample::Sampling;
use wmgen::text::Prompt;

use super::answer::{Answer, Numbered, Owner, Step};
use super::asked::{Asked, Interface};
use super::bodies::{Head, Mark};
use super::body::Body;
use super::metrics::Metrics;
use super::queue::Queue;
use super::receipts::Receipts;
use super::stream::Stream;
use super::tenants::{Tenant, Tenants};

/// Number of tokens that could be marked after which a text without a marked one breaks the promise to mark. Fewer may
/// have left no choice.
const POSSIBLE: usize = 15;

/// State that answers requests once the model is loaded.
pub(super) struct Server {
    pub(super) client: Client,
    /// Name of the model.
    pub(super) model: Arc<str>,
    pub(super) created: u64,
    pub(super) tenants: RwLock<Arc<Tenants>>,
    pub(super) queue: Arc<Queue>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) metrics: Metrics,
    pub(super) limits: Limits,
}

/// Upper limits of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) prompt_tokens: usize,
    pub(super) max_tokens: usize,
}

/// The server, as soon as it exists.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) server: Arc<OnceLock<Server>>,
    pub(super) health: Arc<Health>,
}

impl Access {
    /// Returns the server.
    ///
    /// # Errors
    /// Returns an error while the model is being loaded, and when the server stops.
    fn server(&self) -> Result<&Server, ApiError> {
        match (self.server.get(), self.health.state()) {
            (Some(server), Phase::Ready) => Ok(server),
            (_, Phase::Loading | Phase::Ready) => Err(ApiError::unavailable("the model is being loaded")),
            (_, Phase::Draining) => Err(ApiError::unavailable("the server is stopping")),
            (_, Phase::Broken) => Err(ApiError::unavailable("the engine has stopped")),
        }
    }
}

/// The tenant of a request. It is determined before the body is read.
struct Authenticated(Arc<Tenant>);

impl FromRequestParts<Access> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, access: &Access) -> Result<Self, ApiError> {
        let server = access.server()?;
        let tenants = Arc::clone(&server.tenants.read().unwrap_or_else(PoisonError::into_inner));
        tenants.of(&parts.headers).map(Self)
    }
}

/// Returns the server's routes.
pub(super) fn routes(access: Access) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{model}", get(model))
        .with_state(access)
}

async fn chat(
    State(access): State<Access>,
    Authenticated(tenant): Authenticated,
    Extension(id): Extension<RequestId>,
    service::Json(body): service::Json<Body>,
) -> Response {
    answer(&access, tenant, id, Interface::Chat, body).await
}

async fn completions(
    State(access): State<Access>,
    Authenticated(tenant): Authenticated,
    Extension(id): Extension<RequestId>,
    service::Json(body): service::Json<Body>,
) -> Response {
    answer(&access, tenant, id, Interface::Completions, body).await
}

async fn models(State(access): State<Access>, _: Authenticated) -> Result<Json<Value>, ApiError> {
    let server = access.server()?;
    Ok(Json(json!({ "object": "list", "data": [server.describe()] })))
}

async fn model(
    State(access): State<Access>,
    _: Authenticated,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let server = access.server()?;
    server.check_model(Some(&name))?;
    Ok(Json(server.describe()))
}

/// Answers a request, and counts it if it is refused.
async fn answer(
    access: &Access,
    tenant: Arc<Tenant>,
    RequestId(id): RequestId,
    interface: Interface,
    body: Body,
) -> Response {
    let answered = async { access.server()?.answer(&tenant, id, interface, body).await };
    answered.await.unwrap_or_else(|error| {
        if let Some(server) = access.server.get() {
            server.metrics.count_refused(&tenant.name, error.status().as_u16());
        }
        error.into_response()
    })
}

impl Server {
    fn describe(&self) -> Value {
        json!({
            "id": &*self.model,
            "object": "model",
            "created": self.created,
            "owned_by": "wmgen",
            "max_model_len": self.client.info().context(),
        })
    }

    fn check_model(&self, name: Option<&str>) -> Result<(), ApiError> {
        match name {
            Some(name) if name != &*self.model => {
                let message = format!("there is no model {name:?} here; expected {:?}", self.model);
                Err(ApiError::not_found(message).with_param("model").with_code("model_not_found"))
            }
            _ => Ok(()),
        }
    }

    async fn answer(
        &self,
        tenant: &Arc<Tenant>,
        request_id: String,
        interface: Interface,
        body: Body,
    ) -> Result<Response, ApiError> {
        tenant.count()?;
        let mut asked = Asked::new(interface, body)?;
        self.check_model(asked.model.as_deref())?;
        if asked.options.logprobs.is_some() && !tenant.logprobs {
            return Err(
                ApiError::forbidden("logprobs: this token may not ask for them").with_param("logprobs")
            );
        }
        let marked = tenant.policy.decide(asked.watermarking, &asked.options.sampling)?;
        asked.options.mark = marked.is_ok().then(|| tenant.mark(SystemTime::now())).transpose()?;
        asked.options.tenant = tenant.number;
        asked.options.tenant_name = Some(tenant.name.clone());
        asked.options.request_id = Some(request_id.clone());
        asked.options.unmarked_because = marked.err().map(|reason| reason.name().to_owned());
        let seed = asked.seed.unwrap_or_else(wmgen::sample::random_seed);
        let places = self.queue.take(tenant.number, asked.prompts.len() * asked.options.n)?;

        let (sender, mut events) = mpsc::unbounded_channel();
        let (mut exchanges, mut prompt_tokens) = (Vec::new(), 0);
        let demanded = tenant.policy.demands(asked.watermarking);
        let least = asked.options.mark.as_ref().map_or(0, KeyMark::least_tokens);
        for (index, prompt) in asked.prompts.iter().enumerate() {
            let ids = self.prompt_ids(interface, prompt)?;
            prompt_tokens += ids.len();
            let room = (self.client.info().context() + 1).saturating_sub(ids.len());
            asked.options.max_tokens =
                asked.max_tokens.unwrap_or(usize::MAX).min(self.limits.max_tokens).min(room);
            if demanded && asked.options.max_tokens < least {
                let message =
                    format!("max_tokens: expected at least {least}, since a shorter text cannot be marked");
                return Err(ApiError::field("max_tokens", message).with_code("cannot_be_marked"));
            }
            // Prompts with the same seed would draw alike.
            asked.options.sampling =
                Sampling { seed: seed.wrapping_add(index as u64), ..asked.options.sampling };
            let sender = sender.clone();
            let exchange = self.client.submit_to(&Prompt::Tokens(ids), &asked.options, move |event| {
                // A reader that is gone has cancelled.
                let _ = sender.send((index, event));
            });
            exchanges.push(exchange.map_err(|error| refusal(interface, error))?);
        }
        drop(sender);
        let model = Arc::clone(&self.model);
        let mut answer = Answer::new(
            Head::new(interface, &request_id, model, Arc::clone(self.client.info().tokenizer())),
            Owner {
                tenant: Arc::clone(tenant),
                request_id,
                reason: marked.err(),
                demanded: demanded.then_some(least + POSSIBLE - 1),
                receipts: Arc::clone(&self.receipts),
                metrics: self.metrics.clone(),
            },
            exchanges,
            asked.options.n,
            asked.options.logprobs.is_some(),
            prompt_tokens,
            places,
        );
        // Waits for the first event before the status line, so that a prompt that fails gives an
        // error and not a broken stream.
        let first = next(&mut events).await?;
        if let wmgen::engine::Event::Failed { error, .. } = &first.1 {
            return Err(ApiError::internal(error.to_string()));
        }
        if asked.stream {
            let mark = Mark::header(marked.err().map(super::policy::Reason::name));
            return Ok(with_mark(Stream::response(answer, events, first, asked.include_usage), &mark));
        }
        let mut event = first;
        loop {
            match answer.take(event) {
                Ok(Step::Complete) => break,
                Ok(Step::Grown(_) | Step::Nothing) => {}
                Err(error @ RespondError::Stopped) => return Err(ApiError::unavailable(error.to_string())),
                Err(error) => return Err(ApiError::internal(error.to_string())),
            }
            event = next(&mut events).await?;
        }
        if answer.breaks_promise() {
            return Err(super::policy::unmarked());
        }
        let (usage, mark) = answer.sum_up();
        let choices = answer.choices();
        let header = Mark::header(mark.reason);
        Ok(with_mark(Json(answer.head.whole(choices, usage, &mark)).into_response(), &header))
    }

    /// Returns the ids of a prompt.
    fn prompt_ids(&self, interface: Interface, prompt: &Prompt) -> Result<Vec<u32>, ApiError> {
        let ids = self.client.info().prompt_ids(prompt).map_err(|error| refusal(interface, error))?;
        let limit = self.limits.prompt_tokens.min(self.client.info().context());
        if ids.len() > limit {
            let message = format!("the prompt has {} tokens, expected at most {limit}", ids.len());
            return Err(ApiError::field(field_of(interface), message).with_code("context_length_exceeded"));
        }
        Ok(ids)
    }
}

/// Returns the name of the field that holds the prompt.
fn field_of(interface: Interface) -> &'static str {
    if interface == Interface::Chat { "messages" } else { "prompt" }
}

async fn next(events: &mut mpsc::UnboundedReceiver<Numbered>) -> Result<Numbered, ApiError> {
    events.recv().await.ok_or_else(|| ApiError::unavailable("the engine has stopped"))
}

/// Returns the error for a prompt that the engine does not accept.
fn refusal(interface: Interface, error: RespondError) -> ApiError {
    match &error {
        RespondError::Request(RequestError::Draining) | RespondError::Stopped => {
            ApiError::unavailable(error.to_string())
        }
        RespondError::Request(RequestError::Memory { .. }) => {
            ApiError::field("max_tokens", error.to_string())
        }
        _ => ApiError::field(field_of(interface), error.to_string()),
    }
}

fn with_mark(mut response: Response, mark: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(mark) {
        response.headers_mut().insert("x-watermark", value);
    }
    response
}
