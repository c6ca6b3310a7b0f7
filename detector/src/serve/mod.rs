//! `wmdetect serve`: the detector over HTTP.
//!
//! | file | what |
//! |---|---|
//! | `options`, `credentials` | how it is started, and who may ask |
//! | `policy`, `budget` | what each role is told, and how often it may ask |
//! | `judge`, `pool`, `cache` | from a question to its answer |
//! | `detect`, `answer`, `compat`, `page`, `about` | the routes |
//! | `openapi`, `metrics` | the description of the routes, and their counts |

mod about;
mod answer;
mod budget;
mod cache;
mod compat;
mod credentials;
mod detect;
mod judge;
mod metrics;
mod openapi;
mod options;
mod page;
mod policy;
mod pool;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::{get, post};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use wmdetect::key_directory::KeyDirectory;
use wmdetect::service::{About, Limits, Listener, State, start_log, stop_signal};
use wmdetect::shell::{self, say};
use wmdetect::signed::SigningKey;
use wmdetect::statistics::Decider;
use wmdetect::text::normalise::Normaliser;
use wmdetect::{Detector, Keyring, Tokenizer};

use crate::audit::AuditLog;
use budget::Budgets;
use credentials::{Callers, check_host};
use judge::Kept;
use metrics::Metrics;
pub(crate) use options::Options;
use pool::Pool;

/// Largest number of bytes in a body; the public has its own.
const BODY: usize = 8 << 20;
/// Half the number of answers that are kept.
const ANSWERS: usize = 2048;

/// Texts to judge before the first request, since the first texts take longer. The lengths from which on silence means
/// something are computed for a text in one form and for a text in two. Typographic characters make the second.
const WARM_UP: [&str; 2] = ["A plain text.", "A \u{201c}text\u{201d} of people\u{2019}s software."];

/// The parts of the detector.
pub(crate) struct Opened {
    pub(crate) keys: Keyring,
    /// The directory that the keys were read from, if it was one.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) normaliser: Normaliser,
    pub(crate) decider: Decider,
    /// A file of n-grams that do not count.
    pub(crate) ignore: Option<PathBuf>,
}

/// What all requests share.
struct Server {
    /// The detector at the operators' rate.
    detector: Detector,
    /// The detector at the experts' rate.
    expert_detector: Detector,
    /// The detector at the public's rate.
    public_detector: Detector,
    keys: Vec<about::KeyFacts>,
    callers: Callers,
    budgets: Budgets,
    answers: cache::Recent<Kept>,
    audit: Option<AuditLog>,
    pool: Pool,
    metrics: Metrics,
    signpost: String,
    /// The key that signs verdicts.
    signing: Option<SigningKey>,
}

impl Server {
    fn new(opened: Opened, options: &Options, about: &mut About) -> Result<Self> {
        let credentials = options.credentials.as_deref().map(credentials::read).transpose()?;
        let facts = about::KeyFacts::of(&opened.keys);
        let mut builder = Detector::builder(opened.keys)
            .tokenizer(opened.tokenizer)
            .normaliser(opened.normaliser)
            .method(opened.decider)
            .fpr(options.fpr);
        if let Some(path) = opened.ignore {
            builder = builder.ignore_file(path);
        }
        let detector = builder.build()?;
        let expert_detector = detector.with_fpr(options.expert_fpr).context("--expert-fpr")?;
        let public_detector = detector.with_fpr(options.public_fpr).context("--public-fpr")?;
        // Everything that is computed when it is first needed is computed at this point.
        for detector in [&detector, &expert_detector, &public_detector] {
            for text in WARM_UP {
                detector.score(text)?;
            }
        }
        let mut keys = about::KeyFacts::named(facts, &detector);
        if let Some(dir) = &opened.directory {
            keys = about::KeyFacts::listed(keys, &KeyDirectory::open(dir)?);
        }
        let signing = options.sign.as_deref().map(shell::read_signing_key).transpose()?;
        let metrics = Metrics::new(&mut about.registry);
        let budgets = Budgets::new(credentials.as_deref().unwrap_or_default(), options.public_queries);
        Ok(Self {
            signpost: about::signpost(options, &keys, signing.as_ref()),
            signing,
            detector,
            expert_detector,
            public_detector,
            keys,
            callers: Callers { credentials, public: options.public, behind_proxy: options.behind_proxy },
            budgets,
            answers: cache::Recent::new(ANSWERS),
            audit: options.audit.as_deref().map(AuditLog::open).transpose()?,
            pool: Pool::new(options.queue, metrics.queue.clone()),
            metrics,
        })
    }
}

/// Serves until it is told to stop. `open` opens the parts of the detector.
pub(crate) fn run(options: &Options, open: impl FnOnce() -> Result<Opened>) -> Result<ExitCode> {
    check_host(&options.host, options.credentials.is_some())?;
    start_log(options.log);
    let mut about = About::new("wmdetect");
    let server = Arc::new(Server::new(open()?, options, &mut about)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(wmdetect::pool::available_threads() + 4)
        .enable_all()
        .build()
        .context("cannot start the server's threads")?;
    let result = runtime.block_on(serve(options, &server, about));
    // A text that takes longer than the drain is abandoned.
    runtime.shutdown_background();
    if let Some(audit) = &server.audit {
        audit.sync().context("the disk does not take the end of the audit log")?;
    }
    result
}

async fn serve(options: &Options, server: &Arc<Server>, mut about: About) -> Result<ExitCode> {
    let limits = Limits { body_bytes: BODY, drain: Duration::from_secs(options.drain), ..Limits::default() };
    let host = options.host.trim_matches(['[', ']']);
    let listener = Listener::bind(host, options.port, limits)
        .await
        .with_context(|| format!("cannot listen at {} port {}", options.host, options.port))?;
    let address = listener.address()?;
    let router = about.routes(routes(Arc::clone(server)), openapi::document(), limits);
    if server.audit.is_some() {
        tokio::spawn(sync_each_second(Arc::clone(server)));
    }
    about.health.set(State::Ready);
    say(&format!("listening on http://{address}"));
    let left = listener.serve(router, &about, stop_signal()).await;
    if left > 0 {
        let left = wmdetect::counted::counted(left as u64, "request");
        say(&format!("warning: {left} had no answer after {} seconds", options.drain));
    }
    Ok(ExitCode::SUCCESS)
}

fn routes(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(page::form).post(page::judge))
        .route("/v1/detect", post(detect::detect))
        .route("/detect", post(compat::vllm))
        .route("/api/v1/text/contents", post(compat::contents).fallback(compat::method_not_allowed))
        .route("/v1/keys", get(about::keys))
        .route("/.well-known/ai-watermark.json", get(about::well_known))
        .with_state(server)
}

/// Syncs the log to the disk each second.
async fn sync_each_second(server: Arc<Server>) {
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let server = Arc::clone(&server);
        let synced = spawn_blocking(move || server.audit.as_ref().map_or(Ok(()), AuditLog::sync)).await;
        if let Ok(Err(error)) = synced {
            tracing::error!(%error, "the disk does not take the audit log");
        }
    }
}
