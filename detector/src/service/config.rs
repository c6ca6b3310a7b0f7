//! The parts of the configuration that both servers read in the same way.

use std::net::IpAddr;

use serde::de::DeserializeOwned;

/// Returns whether only this machine can reach a server that listens at `host`. Names other than `localhost` are not
/// looked up.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Parses a file of TOML.
///
/// # Errors
/// Returns an error if the text is not such a file. It names the line but does not quote it, since that may hold a
/// secret.
pub fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })
}
