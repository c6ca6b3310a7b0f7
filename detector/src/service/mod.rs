//! What the servers of both crates share: the accept loop with its limits, tokens, errors, health, metrics, the log and
//! the way to stop. It is not part of the library's promise.
//!
//! A server makes its own [`axum::Router`], lets [`About::routes`] add what every server has, and hands it to
//! [`Listener::serve`].

mod about;
mod config;
mod error;
mod health;
mod json;
mod limits;
mod listen;
mod log;
mod metrics;
mod stall;
#[cfg(test)]
mod tests;
mod token;

pub use about::About;
pub use config::{is_loopback, parse_toml};
pub use error::ApiError;
pub use health::{Health, State};
pub use json::{Json, Stranger, body_bytes};
pub use limits::Limits;
pub use listen::{Listener, Peer, stop_signal};
pub use log::{LogFormat, RequestId, start_log};
pub use metrics::HttpMetrics;
pub use token::{TokenHash, TokenHashError, bearer};
