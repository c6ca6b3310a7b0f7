//! Tests of the accept loop with real sockets.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{About, Json, Limits, Listener, State};

const SHORT: Duration = Duration::from_millis(300);

/// More than the system buffers for a client that does not read.
const BIG: usize = 64 << 20;

struct Server {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<usize>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = Listener::bind("127.0.0.1", 0, limits).await.unwrap();
        let address = listener.address().unwrap();
        let mut about = About::new("test");
        about.health.set(State::Ready);
        let own = Router::new()
            .route("/panic", get(|uri: axum::http::Uri| async move { assert_ne!(uri.path(), "/panic") }))
            .route(
                "/slow",
                get(|| async {
                    sleep(SHORT).await;
                    "slow"
                }),
            )
            .route("/big", get(|| async { vec![b'x'; BIG] }))
            .route("/echo", post(|Json(value): Json<serde_json::Value>| async move { value.to_string() }));
        let router = about.routes(own, "{}".into(), limits);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            listener.serve(router, &about, async { stopped.await.unwrap_or_default() }).await
        });
        Self { address, stop: Some(stop), served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, request: &str) -> String {
        let mut connection = self.connect().await;
        connection.write_all(request.as_bytes()).await.unwrap();
        read(&mut connection).await
    }
}

/// Reads until the server closes the connection.
async fn read(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(Duration::from_secs(9), connection.read_to_end(&mut answer)).await.expect("an end").unwrap_or(0);
    String::from_utf8(answer).unwrap()
}

fn get_of(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

fn post_of(body: &str) -> String {
    let len = body.len();
    format!("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}")
}

#[tokio::test]
async fn what_goes_wrong_is_json_with_a_status() {
    let server = Server::start(Limits { body_bytes: 20, ..Limits::default() }).await;
    for (request, status) in [
        (get_of("/nothing"), "404"),
        (get_of("/echo"), "405"),
        (get_of("/panic"), "500"),
        (post_of("{"), "400"),
        (post_of("\"01234567890123456789\""), "413"),
        (post_of("{}").replacen("\r\n", "\r\nContent-Type: text/plain\r\n", 1), "415"),
    ] {
        let answer = server.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("x-request-id") && head.contains("nosniff"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(body["error"]["message"].is_string());
    }
    assert!(server.ask(&get_of("/ready")).await.contains("200 OK"));
    let metrics = server.ask(&get_of("/metrics")).await;
    assert!(
        metrics.contains(r#"test_http_requests_total{method="GET",route="/panic",status="500"} 1"#),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_slow_sender_is_cut() {
    let server = Server::start(Limits { head: SHORT, body: SHORT, ..Limits::default() }).await;
    let start = Instant::now();
    // Only a part of the head, and only a part of the body.
    assert_eq!(server.ask("GET / HTTP/1.1\r\nHo").await, "");
    assert!(server.ask(&post_of("{}").replacen("h: 2", "h: 9", 1)).await.starts_with("HTTP/1.1 408"));
    // A client that never asks.
    assert_eq!(read(&mut server.connect().await).await, "");
    assert!(start.elapsed() < 10 * SHORT);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let server = Server::start(Limits { head: SHORT, ..Limits::default() }).await;
    let read_after = async |wait| {
        let mut connection = server.connect().await;
        connection.write_all(get_of("/big").as_bytes()).await.unwrap();
        sleep(wait).await;
        let mut answer = Vec::new();
        // The system decides whether the rest is an end or an error.
        let _ = timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await.expect("an end");
        answer.len()
    };
    assert!(read_after(Duration::ZERO).await > BIG);
    assert!(read_after(4 * SHORT).await < BIG);
}

#[tokio::test]
async fn a_new_client_takes_the_place_of_the_one_that_has_been_idle_longest() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() }).await;
    let mut busy = server.connect().await;
    busy.write_all(get_of("/slow").as_bytes()).await.unwrap();
    sleep(SHORT / 3).await;
    let mut idle = server.connect().await;
    assert!(server.ask(&get_of("/health")).await.contains("200 OK"));
    assert_eq!(read(&mut idle).await, "");
    assert!(read(&mut busy).await.ends_with("slow"));
}

#[tokio::test]
async fn an_open_request_is_answered_after_the_signal_to_stop() {
    let mut server = Server::start(Limits::default()).await;
    let mut kept = server.connect().await;
    kept.write_all(get_of("/health").replace("close", "keep-alive").as_bytes()).await.unwrap();
    let mut open = server.connect().await;
    open.write_all(get_of("/slow").replace("close", "keep-alive").as_bytes()).await.unwrap();
    sleep(SHORT / 3).await;
    server.stop.take().unwrap().send(()).unwrap();
    // Though both would have been kept.
    assert!(read(&mut open).await.ends_with("slow"));
    assert!(read(&mut kept).await.contains("200 OK"));
    assert_eq!(server.served.await.unwrap(), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_is_counted() {
    let mut server = Server::start(Limits { drain: SHORT / 6, ..Limits::default() }).await;
    let mut open = server.connect().await;
    open.write_all(get_of("/slow").as_bytes()).await.unwrap();
    sleep(SHORT / 3).await;
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!(server.served.await.unwrap(), 1);
}
