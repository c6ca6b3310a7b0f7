//! Tenants: who may ask, under which key and which policy.

use std::collections::HashSet;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use axum::http::HeaderMap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wmdetect::Key;
use wmdetect::key_directory::KeyDirectory;
use wmdetect::service::{ApiError, TokenHash, bearer, parse_toml};
use wmdetect::shell;
use wmdetect::text::Tokenizer;
use wmgen::respond::KeyMark;

use super::options::Options;
use super::policy::Policy;

/// The file of tenants.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct TenantsFile {
    tenant: Vec<TenantEntry>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct TenantEntry {
    name: String,
    token_sha256: TokenHash,
    key: Option<PathBuf>,
    keys: Option<PathBuf>,
    label: Option<String>,
    policy: Option<Policy>,
    #[serde(default)]
    logprobs: bool,
    requests_per_minute: Option<NonZeroU32>,
}

/// A tenant: somebody whose requests are answered.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) name: String,
    /// Number for the name. The engine uses it to take turns, and to keep each tenant's prompts
    /// apart.
    pub(super) number: u32,
    pub(super) policy: Policy,
    /// Whether the tenant may ask for log-probabilities.
    pub(super) logprobs: bool,
    /// Hash of its token; `None` if everybody is this tenant.
    token: Option<TokenHash>,
    keys: Option<Keys>,
    rate: Option<Rate>,
}

/// Limit of the requests that a tenant may send.
#[derive(Clone, Debug)]
struct Rate {
    per_minute: NonZeroU32,
    limiter: Arc<DefaultDirectRateLimiter>,
}

/// Source of a tenant's mark.
#[derive(Debug)]
enum Keys {
    One(KeyMark),
    /// The key that is active at the time, or the key derived from it for the label.
    Directory {
        keys: KeyDirectory,
        label: Option<String>,
        last: Mutex<Option<(String, KeyMark)>>,
    },
}

impl Tenant {
    /// Returns the mark of an answer that begins at `now`.
    ///
    /// # Errors
    /// Returns an error if no key is active, so that nothing is written without the mark.
    pub(super) fn mark(&self, now: SystemTime) -> Result<KeyMark, ApiError> {
        match &self.keys {
            Some(Keys::One(mark)) => Ok(mark.clone()),
            Some(Keys::Directory { keys, label, last }) => {
                let entry = keys.active(now, None).map_err(|error| {
                    tracing::error!(tenant = self.name, %error, "no key is active");
                    ApiError::unavailable("no key is active, and an answer without a mark was not asked for")
                })?;
                let id = entry.id();
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, mark)) = last.as_ref().filter(|(of, _)| *of == id) {
                    return Ok(mark.clone());
                }
                let mark = of_label(entry.key(), label.as_deref())
                    .map_err(|error| ApiError::internal(error.to_string()))?;
                *last = Some((id.to_owned(), mark.clone()));
                Ok(mark)
            }
            None => Err(ApiError::internal("the tenant has no key")),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// Returns an error if there were too many requests in the last minute.
    pub(super) fn count(&self) -> Result<(), ApiError> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.limiter.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            ApiError::too_many("too many requests in the last minute", seconds(wait))
        })
    }
}

/// Returns a number for a name, which the name keeps when the file is read again.
fn number_of(name: &str) -> u32 {
    let digest = Sha256::digest(name.as_bytes());
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Returns a time in whole seconds, at least one.
fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

fn of_label(key: &Key, label: Option<&str>) -> Result<KeyMark> {
    Ok(match label {
        Some(label) => KeyMark::new(&key.derive(label)?)?,
        None => KeyMark::new(key)?,
    })
}

/// All tenants.
#[derive(Debug)]
pub(super) struct Tenants(Vec<Arc<Tenant>>);

impl Tenants {
    /// Makes everybody one tenant, whose answers are marked with the key at `path`.
    pub(super) fn one(path: &Path, policy: Policy, tokenizer: &Tokenizer) -> Result<Self> {
        let place = if path.is_dir() { (None, Some(path)) } else { (Some(path), None) };
        Ok(Self(vec![Arc::new(Tenant::everybody(policy, Some(open(place, None, tokenizer)?)))]))
    }

    /// Makes everybody one tenant, whose answers are not marked.
    pub(super) fn unmarked() -> Self {
        Self(vec![Arc::new(Tenant::everybody(Policy::Off, None))])
    }

    /// Reads a file of tenants. Paths in it are relative to its directory.
    pub(super) fn read(path: &Path, tokenizer: &Tokenizer) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: TenantsFile = parse_toml(&text)
            .map_err(|error| anyhow!("{} is not a file of tenants: {error}", path.display()))?;
        if file.tenant.is_empty() {
            bail!("{} has no [[tenant]]; expected at least one", path.display());
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        let (mut names, mut tokens, mut tenants) = (HashSet::new(), Vec::new(), Vec::new());
        for entry in file.tenant {
            let name = entry.name.clone();
            if !names.insert(name.clone()) {
                bail!("two tenants of {} are called {name}", path.display());
            }
            if entry.token_sha256.find(tokens.iter().copied()).is_some() {
                bail!("tenant {name} of {} has the token of another tenant", path.display());
            }
            tokens.push(entry.token_sha256);
            let tenant = Tenant::new(entry, directory, tokenizer);
            tenants.push(Arc::new(tenant.with_context(|| format!("tenant {name} of {}", path.display()))?));
        }
        Ok(Self(tenants))
    }

    /// Returns the tenant of a request.
    ///
    /// # Errors
    /// Returns an error if no tenant has its token.
    pub(super) fn of(&self, headers: &HeaderMap) -> Result<Arc<Tenant>, ApiError> {
        if let [tenant] = &self.0[..]
            && tenant.token.is_none()
        {
            return Ok(Arc::clone(tenant));
        }
        let hash = bearer(headers).ok_or_else(ApiError::unauthorized)?;
        let place = hash.find(self.0.iter().filter_map(|tenant| tenant.token));
        place.map(|place| Arc::clone(&self.0[place])).ok_or_else(ApiError::unauthorized)
    }

    /// Takes over the counts of `before`, for tenants whose limit is the same.
    pub(super) fn count_on_from(&mut self, before: &Self) {
        for tenant in self.0.iter_mut().filter_map(Arc::get_mut) {
            let rate =
                before.0.iter().find(|other| other.name == tenant.name).and_then(|other| other.rate.as_ref());
            if let (Some(now), Some(rate)) = (&tenant.rate, rate)
                && now.per_minute == rate.per_minute
            {
                tenant.rate = Some(rate.clone());
            }
        }
    }

    /// Returns the number of tenants.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Tenant {
    /// Returns the only tenant of a server without tokens.
    fn everybody(policy: Policy, keys: Option<Keys>) -> Self {
        Self { name: "default".into(), number: 0, policy, logprobs: true, token: None, keys, rate: None }
    }

    fn new(entry: TenantEntry, directory: &Path, tokenizer: &Tokenizer) -> Result<Self> {
        let has_key = entry.key.is_some() || entry.keys.is_some();
        let policy = entry.policy.unwrap_or(Policy::Require);
        let keys = match (policy, has_key) {
            (Policy::Off, true) => {
                bail!("policy \"off\" has no use for a key; leave out the key or change the policy")
            }
            (Policy::Off, false) => None,
            (_, false) => bail!("expected `key` (a file) or `keys` (a directory), or policy = \"off\""),
            (_, true) => {
                let [key, keys] =
                    [&entry.key, &entry.keys].map(|path| path.as_ref().map(|path| directory.join(path)));
                Some(open((key.as_deref(), keys.as_deref()), entry.label, tokenizer)?)
            }
        };
        Ok(Self {
            number: number_of(&entry.name),
            name: entry.name,
            policy,
            logprobs: entry.logprobs,
            token: Some(entry.token_sha256),
            keys,
            rate: entry.requests_per_minute.map(|per_minute| Rate {
                per_minute,
                limiter: Arc::new(RateLimiter::direct(Quota::per_minute(per_minute))),
            }),
        })
    }
}

/// Opens a key file or a directory of keys.
fn open(
    (key, keys): (Option<&Path>, Option<&Path>),
    label: Option<String>,
    tokenizer: &Tokenizer,
) -> Result<Keys> {
    match (key, keys) {
        (Some(_), Some(_)) => bail!("`key` and `keys` are both given; expected one of them"),
        (Some(path), None) => {
            let key = shell::read_key(path)?;
            tokenizer.check_key(&key)?;
            Ok(Keys::One(of_label(&key, label.as_deref())?))
        }
        (None, Some(path)) => {
            let keys = KeyDirectory::open(path)?;
            for entry in keys.entries() {
                tokenizer.check_key(entry.key())?;
                of_label(entry.key(), label.as_deref())?;
            }
            keys.active(SystemTime::now(), None)?;
            Ok(Keys::Directory { keys, label, last: Mutex::new(None) })
        }
        (None, None) => bail!("expected a key"),
    }
}

/// State of a file that changes with it: its path, time and length.
pub(super) type State = (PathBuf, Option<SystemTime>, u64);

/// Returns the state of all files that tenants and keys are read from.
pub(super) fn files(options: &Options) -> Vec<State> {
    let mut paths: Vec<PathBuf> = options.key.iter().chain(&options.tenants).cloned().collect();
    if let Some(path) = &options.tenants
        && let Some(file) =
            fs::read_to_string(path).ok().and_then(|text| parse_toml::<TenantsFile>(&text).ok())
    {
        let directory = path.parent().unwrap_or(Path::new(""));
        let entries = file.tenant.iter().flat_map(|entry| entry.key.iter().chain(&entry.keys));
        paths.extend(entries.map(|path| directory.join(path)));
    }
    for path in paths.clone() {
        let inside = fs::read_dir(path).into_iter().flatten().flatten();
        paths.extend(inside.map(|entry| entry.path()));
    }
    paths.sort();
    let state = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok();
        let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        (path, changed, metadata.map_or(0, |metadata| metadata.len()))
    };
    paths.into_iter().map(state).collect()
}
