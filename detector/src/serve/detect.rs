//! `POST /v1/detect`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use wmdetect::service::{ApiError, Json, RequestId};
use wmdetect::shell;
use wmdetect::verdict::check_fpr;

use super::Server;
use super::answer::{Detail, Id, Results};
use super::credentials::{Caller, Role};
use super::judge::{Content, Judgement, Question, Refused};
use super::policy::allow;
use super::text::{EXPERT_TEXT, PUBLIC_TEXT, Prompt, Text};

/// Largest number of texts in a request.
pub(super) const TEXTS: usize = 256;

/// A text to judge, or up to 256 of them
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DetectRequest {
    /// The text; leave it out if there are `inputs`
    #[schema(value_type = Option<String>, max_length = 8_000_000)]
    text: Option<Text>,
    /// Token ids instead of a text; operators only
    #[schema(max_items = 4_000_000)]
    tokens: Option<Vec<u32>>,
    /// The prompt that the text answers; operators only
    prompt: Option<Prompt>,
    /// The channel of a key that has several, as the text's receipt names it; operators only
    channel: Option<u16>,
    /// Name of the text in the answer
    id: Option<Id>,
    /// Texts to judge
    #[schema(value_type = Option<Vec<Item>>, min_items = 1, max_items = 256)]
    inputs: Option<Vec<Box<RawValue>>>,
    /// Amount of detail in the answer about each text
    #[serde(default)]
    detail: Detail,
    /// Add the marked passages, of all keys
    #[serde(default)]
    segments: bool,
    /// Add the keys that marked the text; operators only
    #[serde(default)]
    attribute: bool,
    /// Add the signed verdict, as `wmdetect score --sign` does
    #[serde(default)]
    sign: bool,
    /// The false positive rate; operators only
    #[schema(minimum = 1e-300, exclusive_maximum = 1)]
    fpr: Option<f64>,
}

/// One text of several
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    /// The text
    #[schema(value_type = Option<String>, max_length = 8_000_000)]
    text: Option<Text>,
    /// Token ids instead of a text; operators only
    #[schema(max_items = 4_000_000)]
    tokens: Option<Vec<u32>>,
    /// The prompt that the text answers; operators only
    prompt: Option<Prompt>,
    /// The channel of a key that has several, as the text's receipt names it; operators only
    channel: Option<u16>,
    /// Name of the text in the answer
    id: Option<Id>,
}

impl Item {
    /// Returns an error if the caller may not ask like this. `at` says where the item stands.
    fn allow(&self, role: Role, at: &str) -> Result<(), ApiError> {
        let given = [
            (self.tokens.is_some(), "tokens"),
            (self.prompt.is_some(), "prompt"),
            (self.channel.is_some(), "channel"),
        ];
        for name in given.into_iter().filter_map(|(given, name)| given.then_some(name)) {
            allow(role, Role::Operator, format!("{at}{name}"))?;
        }
        Ok(())
    }

    fn question(self, sign: bool) -> Result<Question, String> {
        let content = match (self.text, self.tokens) {
            (Some(Text(text)), None) => Content::Text(text),
            (None, Some(_)) if sign => return Err("sign: expected a text, found token ids".into()),
            (None, Some(ids)) => Content::Tokens(ids),
            (None, None) => return Err("expected text or tokens, found neither".into()),
            (Some(_), Some(_)) => return Err("expected text or tokens, found both".into()),
        };
        let prompt = self.prompt.map(|prompt| match prompt {
            Prompt::Text(text) => Content::Text(text),
            Prompt::Tokens(ids) => Content::Tokens(ids),
        });
        Ok(Question { prompt, channel: self.channel, sign, ..Question::new(content) })
    }
}

/// The options of a request, for each of its texts.
#[derive(Clone, Copy)]
struct Options {
    detail: Detail,
    segments: bool,
    attribute: bool,
    sign: bool,
    fpr: Option<f64>,
}

impl DetectRequest {
    fn options(&self, role: Role, can_sign: bool) -> Result<Options, ApiError> {
        for (given, needed, name) in [
            (self.fpr.is_some(), Role::Operator, "fpr"),
            (self.attribute, Role::Operator, "attribute"),
            (self.segments, Role::Expert, "segments"),
            (self.sign, Role::Expert, "sign"),
            (self.inputs.is_some(), Role::Expert, "inputs"),
        ] {
            if given {
                allow(role, needed, name)?;
            }
        }
        if let Some(Err(error)) = self.fpr.map(check_fpr) {
            return Err(ApiError::field("fpr", format!("fpr: {error}")));
        }
        if self.sign && !can_sign {
            return Err(ApiError::field("sign", "sign: the server was started without --sign"));
        }
        let Self { detail, segments, attribute, sign, fpr, .. } = *self;
        Ok(Options { detail, segments, attribute, sign, fpr })
    }
}

/// An item of a request: its id, and a question or what is wrong with it.
struct Asked {
    id: Option<Id>,
    question: Result<Question, String>,
}

/// Reads an item. A fault concerns only the item, unless it asks for something that the role may not have.
fn asked(item: &RawValue, role: Role, sign: bool, at: usize) -> Result<Asked, ApiError> {
    Ok(match serde_json::from_str::<Item>(item.get()) {
        Ok(mut item) => {
            item.allow(role, &format!("inputs[{at}]."))?;
            let id = item.id.take();
            let question = item.question(sign).and_then(|question| {
                let checked = check_length(role, &question);
                checked.map(|()| question).map_err(|error| error.message().to_owned())
            });
            Asked { id, question }
        }
        Err(error) => {
            let id = shell::Json::parse(item.get()).ok().and_then(|item| item.get("id"));
            let id = id.and_then(|id| serde_json::from_str(id.as_written()).ok());
            Asked { id, question: Err(format!("the item cannot be read: {error}")) }
        }
    })
}

/// Says of each text whether it is marked
///
/// The answer has a result for each text, in order. A text that cannot be judged has an `error` instead of a report and
/// does not affect the others. The content of a report depends on the role of the token.
#[utoipa::path(
    post, path = "/v1/detect", request_body = DetectRequest,
    responses((status = 200, description = "A result for each text", body = super::openapi::DetectResponse))
)]
pub(super) async fn detect(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Extension(request): Extension<RequestId>,
    Json(body): Json<DetectRequest>,
) -> Result<Response, ApiError> {
    let options = body.options(caller.role, server.signing.is_some())?;
    let DetectRequest { text, tokens, prompt, channel, id, inputs, .. } = body;
    let alone = Item { text, tokens, prompt, channel, id };
    let single = inputs.is_none();
    let items = match inputs {
        None => {
            alone.allow(caller.role, "")?;
            let (id, question) =
                (alone.id.clone(), alone.question(options.sign).map_err(ApiError::bad_request)?);
            check_length(caller.role, &question)?;
            vec![Asked { id, question: Ok(question) }]
        }
        Some(_)
            if alone.text.is_some()
                || alone.tokens.is_some()
                || alone.prompt.is_some()
                || alone.channel.is_some()
                || alone.id.is_some() =>
        {
            let message =
                "inputs: expected either inputs, or one text with prompt, channel and id, found both";
            return Err(ApiError::field("inputs", message));
        }
        Some(inputs) if inputs.is_empty() || inputs.len() > TEXTS => {
            let message = format!("inputs: expected 1 to {TEXTS} texts, found {}", inputs.len());
            return Err(ApiError::field("inputs", message));
        }
        Some(inputs) => {
            let numbered = inputs.iter().enumerate();
            numbered.map(|(at, item)| asked(item, caller.role, options.sign, at)).collect::<Result<_, _>>()?
        }
    };
    let Options { segments, attribute, fpr, .. } = options;
    // An item that cannot be read keeps its place, with its id and what is wrong with it.
    let mut readable = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    for Asked { id, question } in items {
        match question {
            Ok(question) => {
                readable.push(Question { fpr, segments, attribute, ..question });
                places.push((id, None));
            }
            Err(message) => places.push((id, Some(message))),
        }
    }
    let judged = server.judge_all(&caller, &request, readable).await?;
    if let Some(refused) = refused_as_a_whole(&judged, single) {
        return Err(refused.into());
    }
    let mut judged = judged.into_iter();
    let mut results = Results::new(places.len());
    for (id, wrong) in places {
        let result = match wrong {
            None => judged.next().unwrap_or(Err(Refused::Panicked)).map_err(|refused| refused.message()),
            Some(message) => Err(message),
        };
        results
            .push(&server, id, options.detail, result)
            .map_err(|_| ApiError::internal("the answer has no JSON"))?;
    }
    Ok(([(CONTENT_TYPE, "application/json")], results.finish()).into_response())
}

/// Checks that the text is not longer than the role may ask about.
///
/// # Errors
/// Returns an error if it is longer.
pub(super) fn check_length(role: Role, question: &Question) -> Result<(), ApiError> {
    let limit = match role {
        Role::Public => PUBLIC_TEXT,
        Role::Expert => EXPERT_TEXT,
        Role::Operator => return Ok(()),
    };
    match &question.content {
        Content::Text(text) if text.len() > limit => Err(ApiError::text_too_large(limit, text.len())),
        _ => Ok(()),
    }
}

/// Returns why the whole request is refused: it has one text, or none of its texts could be paid for or logged.
fn refused_as_a_whole(judged: &[Result<Judgement, Refused>], single: bool) -> Option<Refused> {
    let refused = judged.first()?.as_ref().err()?;
    let all = judged.iter().all(|judged| matches!(judged, Err(Refused::Budget(_) | Refused::Unlogged)));
    (single || all).then(|| refused.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_but_operators_has_a_longest_text() {
        let question = |len: usize| Question::new(Content::Text("a".repeat(len)));
        for (role, limit) in [(Role::Public, PUBLIC_TEXT), (Role::Expert, EXPERT_TEXT)] {
            assert!(check_length(role, &question(limit)).is_ok());
            let error = check_length(role, &question(limit + 1)).unwrap_err();
            assert_eq!(error.status().as_u16(), 413);
            assert!(error.message().contains(&format!("found {}", limit + 1)), "{}", error.message());
        }
        assert!(check_length(Role::Operator, &question(EXPERT_TEXT + 1)).is_ok());
    }
}
