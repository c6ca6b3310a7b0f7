//! What the server says of itself: its keys, and where to ask for access.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use wmdetect::key_directory::KeyDirectory;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::service::ApiError;
use wmdetect::signed::{SigningKey, jwk_set};
use wmdetect::timestamp::Timestamp;
use wmdetect::{Detector, Keyring};

use super::credentials::{Caller, Role};
use super::{Options, Server};

/// What everybody may know of a key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct KeyFacts {
    /// Its public id
    key_id: String,
    /// The watermarking technique
    scheme: String,
    /// The tokenizer that it is bound to; null if it is bound to none
    tokenizer: Option<String>,
    /// Its label, or the name of its file; null for the public
    label: Option<String>,
    /// active, retired or leaked; null unless keys.toml says it
    status: Option<&'static str>,
    /// First moment at which texts are marked with it; null unless keys.toml says it
    #[schema(value_type = Option<String>)]
    not_before: Option<Timestamp>,
    /// Last moment at which texts are marked with it; null unless keys.toml says it
    #[schema(value_type = Option<String>)]
    not_after: Option<Timestamp>,
}

impl KeyFacts {
    /// Returns the facts about each key, in order.
    pub(super) fn of(keys: &Keyring) -> Vec<Self> {
        let facts = |key: &wmdetect::Key| Self {
            key_id: key.id(),
            scheme: key.scheme().name().into(),
            tokenizer: key.tokenizer().map(|binding| binding.name.clone()),
            label: key.label().map(str::to_owned),
            status: None,
            not_before: None,
            not_after: None,
        };
        keys.keys().map(facts).collect()
    }

    /// Adds what the `keys.toml` of their directory says of the keys.
    pub(super) fn listed(mut facts: Vec<Self>, directory: &KeyDirectory) -> Vec<Self> {
        for entry in directory.entries() {
            let Some(key) = facts.iter_mut().find(|key| key.key_id == entry.id()) else { continue };
            key.label = entry.label().map(str::to_owned).or(key.label.take());
            key.status = Some(entry.status().name());
            key.not_before = entry.not_before();
            key.not_after = entry.not_after();
        }
        facts
    }

    /// Adds the names that the keys have in a ring.
    pub(super) fn named(facts: Vec<Self>, detector: &Detector) -> Vec<Self> {
        let names = detector.key_ids().map(|(_, name)| name.map(str::to_owned));
        facts
            .into_iter()
            .zip(names)
            .map(|(facts, name)| Self { label: facts.label.or(name), ..facts })
            .collect()
    }
}

impl Server {
    /// Returns the name of the key with this id.
    pub(super) fn key_name(&self, key_id: &str) -> Option<&str> {
        self.keys.iter().find(|key| key.key_id == key_id)?.label.as_deref()
    }
}

/// The keys that texts are tried with.
#[derive(Serialize, ToSchema)]
pub(super) struct Keys {
    schema_version: u32,
    #[schema(max_items = 10_000_000)]
    keys: Vec<KeyFacts>,
}

/// Lists the keys that texts are tried with
#[utoipa::path(get, path = "/v1/keys", responses((status = 200, description = "The keys", body = Keys)))]
pub(super) async fn keys(
    State(server): State<Arc<Server>>,
    caller: Caller,
) -> Result<axum::Json<Keys>, ApiError> {
    let mut keys = server.keys.clone();
    if caller.role < Role::Expert {
        for key in &mut keys {
            key.label = None;
        }
    }
    Ok(axum::Json(Keys { schema_version: SCHEMA_VERSION, keys }))
}

/// Says who runs this detector and how to get access
#[utoipa::path(
    get, path = "/.well-known/ai-watermark.json",
    responses((status = 200, description = "The signpost", body = std::collections::HashMap<String, serde_json::Value>))
)]
pub(super) async fn well_known(State(server): State<Arc<Server>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], server.signpost.clone()).into_response()
}

/// Returns the signpost. No standard names its fields yet, so it is small and has a version.
pub(super) fn signpost(options: &Options, keys: &[KeyFacts], signing: Option<&SigningKey>) -> String {
    let signatures = signing.map(|key| jwk_set([key.verifying_key()]));
    let signatures: Option<serde_json::Value> = signatures.and_then(|set| serde_json::from_str(&set).ok());
    let access = match (&options.credentials, options.public) {
        (_, true) => "anybody may ask for a verdict; a token gives more",
        (Some(_), false) => "a token is needed: `Authorization: Bearer TOKEN`",
        (None, false) => "no token is needed on the machine itself",
    };
    let ids = |key: &KeyFacts| json!({ "key_id": key.key_id, "scheme": key.scheme });
    json!({
        "version": 1,
        "operator": { "name": options.operator, "contact": options.contact },
        "detector": { "name": "wmdetect", "version": env!("CARGO_PKG_VERSION") },
        "access": { "public": options.public, "how": access },
        "openapi": "/openapi.json",
        "keys": keys.iter().map(ids).collect::<Vec<_>>(),
        "signatures": signatures,
    })
    .to_string()
}
