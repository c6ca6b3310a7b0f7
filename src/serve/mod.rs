//! `wmgen serve`: writes and marks behind the API that every client knows.
//!
//! A request goes through `body` (what was sent), `asked` (what can be fulfilled), `tenants` and `policy` (whether it is
//! marked, and with which key), `queue`, and the engine. The result goes through `answer` into one body (`bodies`) or a
//! `stream`, and adds a line to `receipts`.

mod answer;
mod asked;
mod bodies;
mod body;
mod messages;
mod metrics;
mod options;
mod policy;
mod queue;
mod receipts;
mod routes;
mod stream;
mod tenants;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use wmdetect::counted::counted;
use wmdetect::service::{About, Limits, Listener, State, is_loopback, start_log, stop_signal};
use wmdetect::shell::{Hinted, say};
use wmdetect::text::Tokenizer;
use wmgen::engine;
use wmgen::engine::{Draft, worker};
use wmgen::model::Gemma;
use wmgen::respond::{Client, ModelInfo};

pub(crate) use options::Options;
pub(crate) use receipts::Line as ReceiptLine;

use metrics::{EngineMetrics, Metrics};
use policy::Policy;
use queue::Queue;
use receipts::Receipts;
use routes::{Access, Server};
use tenants::Tenants;

/// Description of the API, which `/openapi.json` returns.
const OPENAPI: &str = include_str!("openapi.json");

/// Time between two checks of the files of keys and tenants. Receipts are written to disk as often.
const LOOK: Duration = Duration::from_secs(2);

/// A model and its description.
pub(crate) struct Loaded {
    pub model: Gemma,
    /// Source of guesses at its tokens.
    pub draft: Draft<Gemma>,
    pub info: ModelInfo,
}

/// Serves until a signal. `load` loads the model, with this tokenizer, while the server reports that it is loading. Then
/// the engine computes with `threads` threads, by default one per core.
pub(crate) fn run(
    options: &Options,
    tokenizer: &Tokenizer,
    threads: Option<usize>,
    load: impl FnOnce() -> Result<Loaded>,
) -> Result<ExitCode> {
    check_host(options)?;
    // Before they are read, so that a change while the model is loaded is seen.
    let files = tenants::files(options);
    let tenants = tenants(options, tokenizer)?;
    let receipts = match &options.receipts {
        Some(path) => Receipts::open(path, options.receipts_with_text)?,
        None => Receipts::default(),
    };
    start_log(options.log);
    let stopped = Stopped::default();
    let limits = Limits {
        connections: options.connections,
        head: Duration::from_secs(options.timeout),
        body: Duration::from_secs(options.timeout),
        body_bytes: options.max_body,
        drain: Duration::from_secs(options.drain),
    };
    // The engine has the cores; this runtime handles what clients send and read.
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = runtime
        .block_on(Listener::bind(&options.host, options.port, limits))
        .with_context(|| format!("cannot listen at {}:{}", options.host, options.port))?;
    let address = listener.address()?;

    let mut about = About::new("wmgen");
    let metrics = Metrics::new(&mut about.registry);
    let engine = Arc::new(OnceLock::new());
    about.registry.register_collector(Box::new(EngineMetrics(Arc::clone(&engine))));
    let access = Access { server: Arc::default(), health: Arc::clone(&about.health) };
    let router = about.routes(routes::routes(access.clone()), OPENAPI.into(), limits);
    let asked_to_stop = stopped.clone();
    // `/ready` reports that the model is being loaded.
    let serving = runtime.spawn(async move {
        let stop = async {
            tokio::select! {
                () = stop_signal() => {}
                () = asked_to_stop.engine_ended() => {}
            }
        };
        listener.serve(router, &about, stop).await
    });

    let Loaded { model, draft, info } = load()?;
    let tokenizer = Arc::clone(info.tokenizer());
    let name = info.receipt().name.clone();
    let engine_options = engine::Options {
        together: options.batch.into(),
        slice: options.prefill_slice.get(),
        cache_bytes: options.cache_bytes,
        prefix_bytes: options.prefix_bytes,
        draft_tokens: options.drafts.draft_tokens.into(),
    };
    let (handle, worker) = worker::spawn_with_draft(model, draft, engine_options, threads)?;
    let _ = engine.set(handle.clone());
    let receipts = Arc::new(receipts);
    let server = Server {
        limits: routes::Limits {
            prompt_tokens: options.max_prompt.unwrap_or(usize::MAX),
            max_tokens: options.max_tokens,
        },
        queue: Arc::new(Queue::new(options.batch.into(), options.queue.into(), tenants.len())),
        client: Client::new(handle.clone(), info),
        model: name.into(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        tenants: RwLock::new(Arc::new(tenants)),
        receipts: Arc::clone(&receipts),
        metrics,
    };
    let _ = access.server.set(server);
    access.health.set(State::Ready);
    if access.health.state() == State::Ready {
        say(&format!("listening on http://{address}"));
    }
    runtime.spawn(look_after(access.clone(), options.clone(), tokenizer, files));
    let health = Arc::clone(&access.health);
    let watched = stopped.clone();
    let engine_thread = std::thread::spawn(move || {
        let ended = worker.join();
        // It ended before it was asked to, so nothing can be answered any more.
        if health.state() == State::Ready {
            health.set(State::Broken);
        }
        watched.set();
        ended.is_ok()
    });

    let unfinished = runtime.block_on(serving)?;
    let broken = access.health.state() == State::Broken;
    handle.stop();
    let sound = engine_thread.join().unwrap_or(false);
    runtime.shutdown_timeout(Duration::from_secs(1));
    receipts.sync();
    if broken || !sound {
        bail!("the engine has stopped: the message above says why");
    }
    if unfinished > 0 {
        let answers = counted(unfinished as u64, "answer");
        bail!(
            "{answers} had not ended {} seconds after the signal to stop; --drain gives them more",
            options.drain
        );
    }
    if !receipts.are_kept() {
        bail!("some receipts could not be written; the log says which");
    }
    Ok(ExitCode::SUCCESS)
}

/// Signal that the engine's thread has ended.
#[derive(Clone, Default)]
struct Stopped(Arc<(AtomicBool, Notify)>);

impl Stopped {
    fn set(&self) {
        self.0.0.store(true, Ordering::Relaxed);
        self.0.1.notify_one();
    }

    async fn engine_ended(&self) {
        while !self.0.0.load(Ordering::Relaxed) {
            self.0.1.notified().await;
        }
    }
}

/// Checks the host. Without tokens, everybody who can connect is answered, so other machines must not be able to.
fn check_host(options: &Options) -> Result<()> {
    if options.tenants.is_none() && !is_loopback(&options.host) {
        return Err(Hinted::new(
            format!(
                "--host {} can be reached from other machines, and everybody there would be answered",
                options.host
            ),
            "name who may ask with --tenants FILE, or listen at 127.0.0.1 behind a proxy that decides",
        )
        .into());
    }
    Ok(())
}

fn tenants(options: &Options, tokenizer: &Tokenizer) -> Result<Tenants> {
    match (&options.tenants, &options.key) {
        (Some(path), _) => Tenants::read(path, tokenizer),
        (None, Some(path)) => Tenants::one(path, Policy::Default, tokenizer),
        (None, None) => Ok(Tenants::unmarked()),
    }
}

/// Reads tenants and keys again when their files change or SIGHUP arrives, and writes receipts to disk. `files` is the state
/// of the files when they were read first.
async fn look_after(
    access: Access,
    options: Options,
    tokenizer: Arc<Tokenizer>,
    mut files: Vec<tenants::State>,
) {
    let Some(server) = access.server.get() else { return };
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let receipts = Arc::clone(&server.receipts);
        // A failure shows in the log and in the program's exit code.
        let _ = tokio::task::spawn_blocking(move || receipts.sync()).await;
        let now = tenants::files(&options);
        if !asked && now == files {
            continue;
        }
        files = now;
        match self::tenants(&options, &tokenizer) {
            Ok(mut tenants) => {
                let mut current = server.tenants.write().unwrap_or_else(PoisonError::into_inner);
                tenants.count_on_from(&current);
                server.queue.share_among(tenants.len());
                *current = Arc::new(tenants);
                drop(current);
                tracing::info!("tenants and keys were read again");
            }
            Err(error) => {
                let error = wmdetect::shell::message(&error);
                tracing::error!(error, "tenants and keys could not be read again; the earlier ones stay");
            }
        }
    }
}
