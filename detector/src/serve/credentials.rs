//! The people who ask, and their roles.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::Deserialize;
use wmdetect::service::{ApiError, Limits, Peer, Stranger, TokenHash, bearer, is_loopback, parse_toml};
use wmdetect::shell::Hinted;

use super::Server;
use super::text::PUBLIC_BODY;

/// A caller's role, which decides what it is told; see [`policy`](super::policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Somebody without a token. No credential has this role.
    #[serde(skip)]
    Public,
    /// A verified fact-checker or an authority.
    Expert,
    /// The people who run the keys.
    Operator,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Expert => "expert",
            Self::Operator => "operator",
        }
    }
}

/// The default budget of an expert.
const EXPERT_QUERIES: u32 = 1000;

/// A person or program with a token.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    /// Number of fresh texts in a day; `None` is any number.
    pub(super) queries_per_day: Option<u32>,
    token: TokenHash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    credential: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    token_sha256: TokenHash,
    role: Role,
    queries_per_day: Option<u32>,
}

/// Reads a file of credentials.
///
/// # Errors
/// Returns an error if the file cannot be read, has no credential, or has a name or a token twice.
pub(super) fn read(path: &Path) -> Result<Vec<Credential>> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the credentials {name}"))?;
    parse(&text).with_context(|| format!("the credentials {name} cannot be used"))
}

fn parse(text: &str) -> Result<Vec<Credential>> {
    let File { credential: tables } = parse_toml(text).map_err(anyhow::Error::msg)?;
    let mut credentials: Vec<Credential> = Vec::new();
    for Table { name, token_sha256: token, role, queries_per_day } in tables {
        if name.is_empty() || name.len() > 100 {
            bail!("expected a name of 1 to 100 bytes for each credential, found one of {} bytes", name.len());
        }
        if queries_per_day == Some(0) {
            bail!(
                "queries_per_day of {name}: expected at least 1, found 0; leave the credential out instead"
            );
        }
        if let Some(other) = credentials.iter().find(|other| *other.name == *name || other.token == token) {
            let what = if *other.name == *name { "name" } else { "token" };
            bail!("expected different credentials, found {name} with the same {what} as {}", other.name);
        }
        let default = (role == Role::Expert).then_some(EXPERT_QUERIES);
        let queries_per_day = queries_per_day.or(default);
        credentials.push(Credential { name: name.into(), role, queries_per_day, token });
    }
    if credentials.is_empty() {
        bail!("expected at least one [[credential]], found none");
    }
    Ok(credentials)
}

/// The account whose budget a text is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// No account: there are no credentials, and everybody is an operator.
    Open,
    /// The credential with this number.
    Credential(usize),
    /// A client without a token.
    Client(IpAddr),
}

/// The sender of a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) role: Role,
    /// The credential's name, for the audit log.
    pub(super) name: Arc<str>,
    pub(super) account: Account,
}

impl FromRequestParts<Arc<Server>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, ApiError> {
        let caller = server.callers.find(&parts.headers, peer(parts))?;
        // A body of JSON is read after this, and a form before.
        if caller.role == Role::Public {
            let limits = parts.extensions.get::<Limits>().copied().unwrap_or_default();
            let body_bytes = limits.body_bytes.min(PUBLIC_BODY);
            parts.extensions.insert(Limits { body_bytes, ..limits });
            parts.extensions.insert(Stranger);
        }
        Ok(caller)
    }
}

fn peer(parts: &Parts) -> IpAddr {
    parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
}

/// Everybody who may ask.
#[derive(Debug)]
pub(super) struct Callers {
    /// `None` if everybody is an operator.
    pub(super) credentials: Option<Vec<Credential>>,
    /// Whether people without a token may ask.
    pub(super) public: bool,
    pub(super) behind_proxy: bool,
}

impl Callers {
    /// Returns who sent a request.
    ///
    /// # Errors
    /// Returns an error if the token is unknown, or if it is missing and needed.
    fn find(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, ApiError> {
        let Some(credentials) = &self.credentials else {
            return Ok(Caller { role: Role::Operator, name: "".into(), account: Account::Open });
        };
        if self.public && !headers.contains_key(AUTHORIZATION) {
            let account = Account::Client(self.client(headers, peer));
            return Ok(Caller { role: Role::Public, name: "".into(), account });
        }
        let number = bearer(headers)
            .and_then(|token| token.find(credentials.iter().map(|credential| credential.token)))
            .ok_or_else(ApiError::unauthorized)?;
        let Credential { name, role, .. } = &credentials[number];
        Ok(Caller { role: *role, name: Arc::clone(name), account: Account::Credential(number) })
    }

    /// Returns whether the head of a request has the token of a credential, or needs none. A form can have it later.
    pub(super) fn knows(&self, parts: &Parts) -> bool {
        self.find(&parts.headers, peer(parts)).is_ok_and(|caller| caller.role != Role::Public)
    }

    /// Returns the address that a request counts for.
    pub(super) fn address(&self, parts: &Parts) -> IpAddr {
        self.client(&parts.headers, peer(parts))
    }

    /// Returns the address that a budget belongs to. For IPv6 it has only the first 48 bits, since one customer of a
    /// provider can have all addresses behind them.
    fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let forwarded = || {
            // Only the last entry comes from the proxy; the client may have made up those before it.
            let value = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
            value.rsplit(',').next()?.trim().parse().ok()
        };
        let address = self.behind_proxy.then(forwarded).flatten().unwrap_or(peer);
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
            }
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// Refuses to make everybody who reaches this machine an operator.
///
/// # Errors
/// Returns an error if others can reach `host` and there are no credentials.
pub(super) fn check_host(host: &str, has_credentials: bool) -> Result<()> {
    if is_loopback(host) || has_credentials {
        return Ok(());
    }
    let message = format!(
        "without --credentials everybody who reaches the server is told p and all else, so it listens on this machine \
         only: expected --host 127.0.0.1 or ::1, found {host}"
    );
    Err(Hinted::new(message, "name who may ask in a file, and pass it with --credentials").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn table(name: &str, role: &str, rest: &str) -> String {
        format!("[[credential]]\nname = \"{name}\"\ntoken_sha256 = \"{HASH}\"\nrole = \"{role}\"\n{rest}\n")
    }

    #[test]
    fn credentials_are_read_and_mistakes_are_named_without_the_secret() {
        let read = parse(&table("desk", "expert", "")).unwrap();
        assert_eq!((read[0].role, read[0].queries_per_day), (Role::Expert, Some(EXPERT_QUERIES)));
        let read = parse(&table("us", "operator", "")).unwrap();
        assert_eq!(read[0].queries_per_day, None);
        for (text, found) in [
            (table("a", "public", ""), "line 4"),
            (table("a", "expert", "queries = 1"), "line 5"),
            (table("a", "expert", "queries_per_day = 0"), "at least 1"),
            (table("a", "expert", "") + &table("a", "operator", ""), "same name"),
            (table("a", "expert", "") + &table("b", "operator", ""), "same token"),
            (String::new(), "at least one"),
            (table("a", "expert", "").replace(HASH, "hunter2"), "64 hexadecimal digits"),
        ] {
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(error.contains(found) && !error.contains("hunter2") && !error.contains(HASH), "{error}");
        }
    }

    #[test]
    fn a_client_is_its_address_or_its_network() {
        let of = |behind_proxy, header: &str, peer: &str| {
            let callers = Callers { credentials: None, public: true, behind_proxy };
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", header.parse().unwrap());
            callers.client(&headers, peer.parse().unwrap()).to_string()
        };
        assert_eq!(of(false, "9.9.9.9", "10.0.0.1"), "10.0.0.1");
        assert_eq!(of(true, "9.9.9.9, 8.8.8.8", "10.0.0.1"), "8.8.8.8");
        assert_eq!(of(true, "what", "10.0.0.1"), "10.0.0.1");
        assert_eq!(of(false, "", "2001:db8:1:2:3:4:5:6"), "2001:db8:1::");
        assert_eq!(of(false, "", "::ffff:10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn an_open_server_stays_on_the_machine() {
        for host in ["127.0.0.1", "127.9.0.1", "::1", "localhost"] {
            check_host(host, false).unwrap();
        }
        for host in ["0.0.0.0", "::", "10.0.0.1", "example.org"] {
            assert!(check_host(host, false).unwrap_err().to_string().contains(host));
            check_host(host, true).unwrap();
        }
    }
}
