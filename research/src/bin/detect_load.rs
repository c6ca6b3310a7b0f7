//! Puts load on `POST /v1/detect` of `wmdetect serve`, and measures the library on the same texts.
//!
//! ```text
//! detect_load http HOST:PORT TEXTS.jsonl BATCH CLIENTS SECONDS [RATE]
//! detect_load library KEY TOKENIZER TEXTS.jsonl SECONDS
//! ```
//!
//! The texts are cut into pieces of about 1 kB, and each piece is asked about once, since the server keeps its answers. With
//! RATE, in texts a second, requests are sent at fixed times whether or not the earlier ones are answered, and the time of
//! an answer counts from then; without it each client asks as soon as it has its answer.

#![allow(clippy::print_stdout, reason = "the numbers are its output")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wmdetect::{Detector, Key, Tokenizer, pool};
use wmgen_research::http::Client;

/// Bytes of a piece, at least.
const PIECE: usize = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["http", address, texts, batch, clients, seconds] => {
            over_http(address, &pieces(texts), number(batch), number(clients), seconds, None);
        }
        ["http", address, texts, batch, clients, seconds, rate] => {
            let rate = Some(rate.parse().expect("texts a second"));
            over_http(address, &pieces(texts), number(batch), number(clients), seconds, rate);
        }
        ["library", key, tokenizer, texts, seconds] => in_process(key, tokenizer, &pieces(texts), seconds),
        _ => panic!("expected the arguments that the first lines of the source name"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Pieces of all texts of a file of JSON lines.
fn pieces(path: &str) -> Vec<String> {
    let lines = std::fs::read_to_string(path).expect("a file of texts");
    let mut pieces = Vec::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let mut rest = line["text"].as_str().expect("a text");
        while rest.len() > PIECE {
            let end = (PIECE..rest.len()).find(|&end| rest.is_char_boundary(end)).unwrap_or(rest.len());
            let (piece, more) = rest.split_at(end);
            pieces.push(piece.to_owned());
            rest = more;
        }
    }
    pieces
}

fn over_http(
    address: &str,
    texts: &[String],
    batch: usize,
    clients: usize,
    seconds: &str,
    rate: Option<f64>,
) {
    let limit: f64 = seconds.parse().expect("seconds");
    let bodies: Vec<String> = texts
        .chunks_exact(batch)
        .map(|chunk| match chunk {
            [text] => json!({ "text": text }),
            texts => {
                json!({ "inputs": texts.iter().map(|text| json!({ "text": text })).collect::<Vec<_>>() })
            }
        })
        .map(|body| body.to_string())
        .collect();
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::open(address, "").expect("a server");
                let mut own = Vec::new();
                while let Some((number, body)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    bodies.get(number).map(|body| (number, body))
                } {
                    let due = rate.map(|rate| (number * batch) as f64 / rate);
                    if let Some(due) = due {
                        let wait = due - start.elapsed().as_secs_f64();
                        thread::sleep(Duration::from_secs_f64(wait.max(0.0)));
                    }
                    let asked = due.unwrap_or_else(|| start.elapsed().as_secs_f64());
                    if start.elapsed().as_secs_f64() > limit {
                        break;
                    }
                    let (status, answer) = client.post_raw("/v1/detect", body).expect("an answer");
                    // To parse it would take the server's time.
                    let results = str::from_utf8(&answer).expect("JSON").matches("\"verdict\":").count();
                    assert!(status == 200 && results == batch, "{status}: {results} results");
                    own.push(start.elapsed().as_secs_f64() - asked);
                }
                times.lock().unwrap().extend(own);
            });
        }
    });
    let elapsed = start.elapsed().as_secs_f64();
    let mut times: Vec<f64> = times.into_inner().unwrap();
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| 1e3 * times[((times.len() - 1) as f64 * share).round() as usize];
    println!(
        "batches of {batch}, {clients} clients: {:.0} texts/s in {elapsed:.1} s; an answer {:.2} ms (median) {:.2} ms (99 %)",
        (times.len() * batch) as f64 / elapsed,
        quantile(0.5),
        quantile(0.99)
    );
}

fn in_process(key: &str, tokenizer: &str, texts: &[String], seconds: &str) {
    let limit: f64 = seconds.parse().expect("seconds");
    let tokenizer = Tokenizer::open(tokenizer).expect("a tokenizer");
    let detector = Detector::new(Key::read(key).expect("a key"), tokenizer).expect("the key's tokenizer");
    // Each text once, as over HTTP.
    let next = AtomicUsize::new(0);
    for threads in [pool::available_threads(), 1] {
        let start = Instant::now();
        let done = pool::on_each(threads, |_| {
            let mut done = 0;
            while start.elapsed().as_secs_f64() < limit {
                let Some(text) = texts.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                detector.score(text.as_str()).expect("a report");
                done += 1;
            }
            done
        });
        let done: usize = done.iter().sum();
        println!("library, {threads} threads: {:.0} texts/s", done as f64 / start.elapsed().as_secs_f64());
    }
}
