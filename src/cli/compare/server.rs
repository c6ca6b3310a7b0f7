//! A judge behind a server with OpenAI's API.

use std::env::VarError;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use ureq::http::HeaderValue;
use ureq::{Agent, Body, http::Response};
use wmdetect::shell::{Hinted, OneLine};

use super::super::args::CompareArgs;
use super::asked::{Asked, Job, Outcome};

/// Time limit of a reply.
const PATIENCE: Duration = Duration::from_mins(10);
/// Waiting times in seconds before a request is repeated that the server could not take.
const WAITS: [u64; 4] = [1, 4, 16, 60];
/// Maximum number of bytes of a reply.
const BODY: u64 = 16 << 20;
/// Maximum number of characters of a server's message that are shown.
const SHOWN: usize = 300;
/// Number of refusals, before any reply, after which the server counts as refusing all prompts.
const REFUSED: usize = 3;

/// A judge behind a server.
pub(super) struct Server {
    agent: Agent,
    /// The address, without a final slash.
    address: String,
    model: Option<String>,
    /// The header with the key, marked sensitive so that it is not shown.
    authorization: Option<HeaderValue>,
}

/// A server's answer to one prompt.
enum Said {
    Reply(String),
    /// The server refused the prompt, for this reason.
    Refused(String),
}

impl Server {
    /// Returns whether a judge is the address of a server.
    pub(super) fn is_address(judge: &str) -> bool {
        judge.starts_with("http://") || judge.starts_with("https://")
    }

    /// Checks the address and the key. Nothing is sent.
    pub(super) fn of(args: &CompareArgs, address: &str) -> Result<Self> {
        if has_user(address) {
            // The address is not quoted, because it may hold a password.
            bail!(Hinted::new(
                "--judge: expected an address without a user, found one with an @ before the host",
                "--api-key-env names the environment variable that holds the server's key",
            ));
        }
        if address.starts_with("https://") {
            bail!(Hinted::new(
                format!(
                    "--judge: expected an address that begins with http://, found {address}; wmgen does not speak TLS"
                ),
                "a proxy on this machine can, such as `litellm --model NAME`, which serves http://127.0.0.1:4000/v1",
            ));
        }
        let authorization = match &args.api_key_env {
            None => None,
            Some(name) => Some(key(name)?),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("wmgen/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let address = address.trim_end_matches('/').to_owned();
        Ok(Self { agent, address, model: args.judge_model.clone(), authorization })
    }

    /// Returns the name of the judging model. Without --judge-model the server is asked.
    pub(super) fn model(&mut self) -> Result<String> {
        if let Some(model) = &self.model {
            return Ok(model.clone());
        }
        let url = format!("{}/models", self.address);
        let mut request = self.agent.get(&url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.clone());
        }
        let mut response = request.call().map_err(|error| self.unreachable(&error))?;
        let (status, body) = (response.status().as_u16(), text(&mut response)?);
        let models = |body: &str| -> Option<Vec<String>> {
            let models = serde_json::from_str::<Value>(body).ok()?;
            let names = models["data"].as_array()?.iter().filter_map(|model| model["id"].as_str());
            Some(names.map(str::to_owned).collect())
        };
        match models(&body).filter(|_| status == 200).as_deref() {
            Some([model]) => Ok(self.model.insert(model.clone()).clone()),
            Some(models) if !models.is_empty() => bail!(Hinted::new(
                format!("{url}: expected one model, found {}", OneLine(&models.join(", "))),
                "--judge-model names the one that judges",
            )),
            _ => bail!(Hinted::new(
                format!("{url}: expected a list of models, found status {status}: {}", shown(&body)),
                "--judge-model names the model, and the address of most servers ends with /v1",
            )),
        }
    }

    /// Has the server reply to several prompts at a time.
    pub(super) fn ask(
        &self,
        args: &CompareArgs,
        jobs: Vec<Job>,
        stop: &Arc<AtomicBool>,
        take: &mut dyn FnMut(&Asked, Outcome) -> Result<()>,
    ) -> Result<ControlFlow<()>> {
        let number = jobs.len();
        let workers = usize::from(args.batch).min(number);
        let jobs = Mutex::new(jobs.into_iter());
        // Set when one request has failed, so that the others stop.
        let failed = AtomicBool::new(false);
        let ends = || stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed);
        let next = || if ends() { None } else { jobs.lock().ok()?.next() };
        let (sender, said) = mpsc::channel();
        let (mut taken, mut problem) = (0, None);
        thread::scope(|scope| {
            for _ in 0..workers {
                let sender = sender.clone();
                scope.spawn(|| {
                    let sender = sender;
                    while let Some(job) = next() {
                        let said = self.reply(args, &job, &ends);
                        if sender.send((job.asked, said)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let (mut replies, mut refused) = (0, 0);
            // After a failure, replies that are on their way are still kept.
            for (asked, said) in said {
                let result = match said {
                    Ok(None) => continue,
                    Ok(Some(Said::Reply(reply))) => {
                        replies += 1;
                        take(&asked, Outcome::Reply(reply))
                    }
                    Ok(Some(Said::Refused(why))) => {
                        refused += 1;
                        if replies == 0 && refused >= REFUSED.min(number) {
                            Err(anyhow!(
                                "{}: expected replies, found that the server refuses all: {why}",
                                self.address
                            ))
                        } else {
                            take(&asked, Outcome::Refused)
                        }
                    }
                    Err(error) => Err(error),
                };
                taken += 1;
                if let Err(error) = result {
                    failed.store(true, Ordering::Relaxed);
                    problem.get_or_insert(error);
                }
            }
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        Ok(if taken == number { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    /// Returns the reply to one prompt, or `None` if the run ended meanwhile.
    fn reply(&self, args: &CompareArgs, job: &Job, ends: &dyn Fn() -> bool) -> Result<Option<Said>> {
        let body = json!({
            "model": self.model, "messages": [{"role": "user", "content": job.prompt}],
            "temperature": args.temperature, "max_tokens": args.max_tokens, "seed": job.seed,
        });
        let (body, url) = (serde_json::to_vec(&body)?, format!("{}/chat/completions", self.address));
        let mut waits = WAITS.iter();
        loop {
            let mut request = self.agent.post(&url).content_type("application/json");
            if let Some(authorization) = &self.authorization {
                request = request.header("authorization", authorization.clone());
            }
            let mut response = request.send(&body[..]).map_err(|error| self.unreachable(&error))?;
            let status = response.status().as_u16();
            let asked_to_wait =
                response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let body = text(&mut response)?;
            match status {
                200 => return said(&body).map(|reply| Some(Said::Reply(reply))).with_context(|| url.clone()),
                400 | 413 | 422 => {
                    return Ok(Some(Said::Refused(format!("status {status}: {}", shown(&body)))));
                }
                429 | 500 | 502..=504 => {
                    let Some(wait) = waits.next() else {
                        bail!(Hinted::new(
                            format!(
                                "{url}: expected a reply, found status {status} five times: {}",
                                shown(&body)
                            ),
                            "with --ratings FILE the same command goes on where it ended; --batch asks for less at a time",
                        ));
                    };
                    let wait: u64 = asked_to_wait.unwrap_or(*wait).min(120);
                    for _ in 0..wait * 10 {
                        if ends() {
                            return Ok(None);
                        }
                        thread::sleep(Duration::from_millis(100));
                    }
                }
                401 | 403 => bail!(Hinted::new(
                    format!("{url}: expected a reply, found status {status}: {}", shown(&body)),
                    "--api-key-env names the environment variable that holds the server's key",
                )),
                _ => bail!(Hinted::new(
                    format!("{url}: expected a reply, found status {status}: {}", shown(&body)),
                    "--judge-model names the model, and the address of most servers ends with /v1",
                )),
            }
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> anyhow::Error {
        Hinted::new(
            format!("{}: expected a server that replies, found none: {error}", self.address),
            "with --ratings FILE the same command goes on where it ended",
        )
        .into()
    }
}

/// Returns whether an address names a user, with or without a password, before the host.
fn has_user(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// Returns the header with the key that an environment variable holds.
fn key(name: &str) -> Result<HeaderValue> {
    let found = match std::env::var(name) {
        Ok(key) if !key.trim().is_empty() => {
            // A key is never shown, whatever is wrong with it.
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| {
                anyhow!("--api-key-env: expected visible ASCII characters in {name}, found others")
            })?;
            value.set_sensitive(true);
            return Ok(value);
        }
        Ok(_) => "it is empty",
        Err(VarError::NotPresent) => "it is not set",
        Err(VarError::NotUnicode(_)) => "it is not UTF-8",
    };
    bail!("--api-key-env: expected an environment variable {name} with the server's key, found that {found}")
}

/// Returns what the model says in a chat completion.
fn said(body: &str) -> Result<String> {
    let completion: Value = serde_json::from_str(body)
        .map_err(|_| anyhow!("expected the JSON of a chat completion, found {}", shown(body)))?;
    match &completion["choices"][0]["message"]["content"] {
        Value::String(said) => Ok(said.clone()),
        // A model that thinks until it has used up its tokens says nothing.
        Value::Null if completion["choices"][0].is_object() => Ok(String::new()),
        _ => bail!("expected the JSON of a chat completion, found {}", shown(body)),
    }
}

fn text(response: &mut Response<Body>) -> Result<String> {
    let body = response.body_mut().with_config().limit(BODY).read_to_vec();
    Ok(String::from_utf8_lossy(&body.context("cannot read the server's reply")?).into_owned())
}

/// Returns the start of a server's message.
fn shown(body: &str) -> String {
    let message = serde_json::from_str::<Value>(body).ok();
    let message =
        message.as_ref().and_then(|body| body["error"]["message"].as_str().or(body["error"].as_str()));
    let message = message.unwrap_or(body).trim();
    let start: String = message.chars().take(SHOWN).collect();
    if start.is_empty() { "nothing".into() } else { OneLine(&start).to_string() }
}
