//! The accept loop: limits of connections and of time, and an end that answers the requests that were taken.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use super::stall::Impatient;
use super::{About, Limits, State};

/// The address that a request came from, among its extensions: the client's, or that of a proxy before the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A socket that waits for clients.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    limits: Limits,
}

impl Listener {
    /// Listens at `host` and `port`; port 0 stands for any free port.
    ///
    /// # Errors
    /// Returns an error if this machine does not have the address, or if it is taken.
    pub async fn bind(host: &str, port: u16, limits: Limits) -> io::Result<Self> {
        let files = raise_file_limit();
        let connections = limits.connections.min(files.saturating_sub(128)).max(1);
        Ok(Self { socket: TcpListener::bind((host, port)).await?, limits: Limits { connections, ..limits } })
    }

    /// Returns the address that clients can use.
    ///
    /// # Errors
    /// Returns an error if the system does not say.
    pub fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers requests until `stop`, then lets the open ones end. Returns how many had not ended when their time was
    /// over.
    pub async fn serve(self, router: Router, about: &About, stop: impl Future<Output = ()>) -> usize {
        let Self { socket, limits } = self;
        let connections = Arc::new(Connections::new(about.http.connections.clone()));
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // If all others are busy, a new one is not taken.
                    let Some(entry) = connections.enter(limits.connections) else { continue };
                    tokio::spawn(answer(stream, Peer(peer.ip()), router.clone(), entry, limits));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    connections.end_longest_idle();
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
        about.health.set(State::Draining);
        drop(socket);
        connections.finish();
        let _ = timeout(limits.drain, connections.empty()).await;
        connections.busy()
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn stop_signal() {
    let of = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = of(SignalKind::terminate()) => {}
        () = of(SignalKind::interrupt()) => {}
    }
}

/// Lets this process open as many files as the system allows, and returns that number.
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    files.map_or(usize::MAX, |files| files as usize)
}

/// Answers the requests of one connection, one after the other.
async fn answer(stream: TcpStream, peer: Peer, router: Router, entry: Entry, limits: Limits) {
    // Pieces of a stream are small and should be sent at once.
    let _ = stream.set_nodelay(true);
    let connection = &entry.connection;
    let service = service_fn(|request: Request<Incoming>| {
        let busy = Busy::new(connection);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request);
        async move {
            let response: Response<Body> = answer.await.unwrap_or_else(|never| match never {});
            Ok::<_, std::convert::Infallible>(response.map(|body| Tracked { body, _busy: busy }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(64 << 10);
    let mut served = pin!(http.serve_connection(TokioIo::new(Impatient::new(stream, limits.head)), service));
    let mut finishing = false;
    loop {
        tokio::select! {
            // An error is the client's: it has gone, or has sent something other than HTTP.
            _ = served.as_mut() => return,
            () = connection.finish.notified(), if !finishing => {
                finishing = true;
                served.as_mut().graceful_shutdown();
            }
            () = connection.end.notified() => {
                // A request may have come in between; it is answered.
                if connection.busy.load(Ordering::Relaxed) == 0 {
                    return;
                }
                finishing = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A connection as the accept loop sees it.
#[derive(Debug, Default)]
struct Connection {
    /// Requests whose answers are not complete.
    busy: AtomicUsize,
    /// When the last of them was complete, in milliseconds of this process. Before that, when the client came.
    idle_since: AtomicU64,
    /// Tells the connection to end after the open request.
    finish: Notify,
    /// Tells the connection to end at once.
    end: Notify,
}

/// All open connections.
#[derive(Debug)]
struct Connections {
    open: Mutex<Open>,
    left: Notify,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_age: BTreeMap<u64, Arc<Connection>>,
}

impl Connections {
    fn new(gauge: Gauge) -> Self {
        Self { open: Mutex::default(), left: Notify::new(), gauge }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, and ends an idle one if there are `limit` already. Returns `None` if none of them is idle.
    fn enter(self: &Arc<Self>, limit: usize) -> Option<Entry> {
        let is_full = self.lock().by_age.len() >= limit;
        if is_full && !self.end_longest_idle() {
            return None;
        }
        let connection = Arc::new(Connection { idle_since: now().into(), ..Connection::default() });
        let mut open = self.lock();
        let id = open.next;
        open.next += 1;
        open.by_age.insert(id, Arc::clone(&connection));
        self.gauge.inc();
        drop(open);
        Some(Entry { id, connection, connections: Arc::clone(self) })
    }

    /// Ends the connection that has been without an open request longest, and returns whether there is one.
    fn end_longest_idle(&self) -> bool {
        let mut open = self.lock();
        let idle = open.by_age.iter().filter(|(_, connection)| connection.busy.load(Ordering::Relaxed) == 0);
        let longest =
            idle.min_by_key(|(id, connection)| (connection.idle_since.load(Ordering::Relaxed), **id));
        let Some((&id, connection)) = longest else { return false };
        connection.end.notify_one();
        open.by_age.remove(&id);
        true
    }

    /// Tells all connections to end after their open requests.
    fn finish(&self) {
        for connection in self.lock().by_age.values() {
            connection.finish.notify_one();
        }
    }

    fn busy(&self) -> usize {
        self.lock().by_age.values().map(|connection| connection.busy.load(Ordering::Relaxed)).sum()
    }

    /// Waits until no connection is open.
    async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().by_age.is_empty() {
                return;
            }
            left.await;
        }
    }
}

/// A place among the open connections; dropping it leaves.
struct Entry {
    id: u64,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.lock().by_age.remove(&self.id);
        self.connections.gauge.dec();
        self.connections.left.notify_waiters();
    }
}

/// Returns the milliseconds since the first call.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

/// A request that is open.
struct Busy(Arc<Connection>);

impl Busy {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body whose request is open until it has been sent.
struct Tracked {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
