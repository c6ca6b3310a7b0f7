//! Puts load on a server of OpenAI's interface: tokens a second, times to the first token and between tokens, and, with
//! `soak`, whether answers stay what they are alone while other clients leave.
//!
//! ```text
//! serve_load speed 127.0.0.1:8080 MODEL CLIENTS SECONDS [TOKEN [PROMPT ANSWER]]
//! serve_load soak 127.0.0.1:8080 MODEL CLIENTS SECONDS [TOKEN]
//! ```

#![allow(clippy::print_stdout, reason = "the numbers are its output")]

use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Tokens of a prompt in the measurement of speed, unless told.
const PROMPT: usize = 32;
/// Tokens of an answer, unless told.
const TOKENS: usize = 64;

/// What one request came to.
#[derive(Default)]
struct Answer {
    status: u16,
    text: String,
    /// When its tokens came, in seconds after the request.
    times: Vec<f64>,
    tokens: usize,
    done: bool,
}

/// How a client reads.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    Whole,
    /// Waits this long before each line.
    Slow(Duration),
    /// Leaves after so many lines.
    Leaves(usize),
}

struct Target<'a> {
    address: &'a str,
    model: &'a str,
    token: &'a str,
    prompt: usize,
    answer: usize,
}

impl Target<'_> {
    /// Asks for a streamed completion.
    fn ask(&self, prompt: &Value, seed: usize, reader: Reader) -> std::io::Result<Answer> {
        let body = json!({
            "model": self.model, "prompt": prompt, "max_tokens": self.answer, "seed": seed, "stream": true,
            "stream_options": {"include_usage": true}, "ignore_eos": true, "temperature": 1.0, "top_k": 100,
        })
        .to_string();
        let start = Instant::now();
        let mut connection = TcpStream::connect(self.address)?;
        connection.set_nodelay(true)?;
        write!(
            connection,
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )?;
        let mut answer = Answer::default();
        let mut lines = BufReader::new(connection);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        answer.status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut count = 0;
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Ok(answer);
            }
            let Some(data) = line.trim_end().strip_prefix("data: ") else { continue };
            if data == "[DONE]" {
                answer.done = true;
                let _ = lines.read_to_end(&mut Vec::new());
                return Ok(answer);
            }
            let chunk: Value = serde_json::from_str(data).map_err(std::io::Error::other)?;
            if let Some(text) = chunk["choices"][0]["text"].as_str().filter(|text| !text.is_empty()) {
                answer.text.push_str(text);
                answer.times.push(start.elapsed().as_secs_f64());
            }
            if let Some(tokens) = chunk["usage"]["completion_tokens"].as_u64() {
                answer.tokens = tokens as usize;
            }
            count += 1;
            match reader {
                Reader::Slow(wait) => thread::sleep(wait),
                Reader::Leaves(after) if count >= after => return Ok(answer),
                Reader::Whole | Reader::Leaves(_) => {}
            }
        }
    }
}

fn prompt(number: usize) -> Value {
    let text = format!(
        "Chapter {number}. The old lighthouse stood above the sea, and the keeper wrote down what he saw:"
    );
    text.into()
}

/// Token ids, since two servers can cut a text differently: the start token and others.
fn prompt_ids(number: usize, tokens: usize) -> Value {
    let mut random = StdRng::seed_from_u64(number as u64);
    iter::once(2).chain((1..tokens).map(|_| random.random_range(300..4000))).collect::<Vec<u32>>().into()
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, address, model, clients, seconds, rest @ ..] = &arguments[..] else {
        panic!("expected: speed|soak HOST:PORT MODEL CLIENTS SECONDS [TOKEN [PROMPT ANSWER]]")
    };
    let token = rest.first().map_or("none", String::as_str);
    let size = |place: usize, default| rest.get(place).map_or(default, |size| size.parse().expect("tokens"));
    let target = Target { address, model, token, prompt: size(1, PROMPT), answer: size(2, TOKENS) };
    let clients: usize = clients.parse().expect("a number of clients");
    let seconds: f64 = seconds.parse().expect("a number of seconds");
    match mode.as_str() {
        "speed" => speed(&target, clients, seconds),
        "soak" => soak(&target, clients, seconds),
        _ => panic!("expected speed or soak"),
    }
}

fn speed(target: &Target<'_>, clients: usize, seconds: f64) {
    let first = target.ask(&prompt_ids(0, target.prompt), 0, Reader::Whole).expect("a first answer");
    assert_eq!(first.status, 200, "the server is not ready");
    let (next, all) = (AtomicUsize::new(1), Mutex::new(Vec::new()));
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while start.elapsed().as_secs_f64() < seconds {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let begin = start.elapsed().as_secs_f64();
                    let answer = target
                        .ask(&prompt_ids(number, target.prompt), number, Reader::Whole)
                        .expect("an answer");
                    assert!(answer.status == 200 && answer.done, "status {}", answer.status);
                    all.lock().unwrap().push((begin, answer));
                }
            });
        }
    });
    let answers = all.into_inner().unwrap();
    // What came in the time: after it, fewer and fewer answers are open.
    let in_time = |(begin, answer): &(f64, Answer)| {
        let came = answer.times.iter().filter(|&&time| begin + time <= seconds).count();
        answer.tokens as f64 * came as f64 / answer.times.len() as f64
    };
    let tokens: f64 = answers.iter().map(in_time).sum();
    let answers: Vec<Answer> = answers.into_iter().map(|(_, answer)| answer).collect();
    let mut first: Vec<f64> = answers.iter().filter_map(|answer| answer.times.first().copied()).collect();
    let gaps = answers.iter().flat_map(|answer| answer.times.windows(2).map(|pair| pair[1] - pair[0]));
    let mut gaps: Vec<f64> = gaps.collect();
    println!(
        "{clients} clients: {:.2} tokens/s, {} answers; first token {:.0} ms (median) {:.0} ms (99 %); between tokens \
         {:.1} ms (median) {:.1} ms (99 %)",
        tokens / seconds,
        answers.len(),
        1e3 * quantile(&mut first, 0.5),
        1e3 * quantile(&mut first, 0.99),
        1e3 * quantile(&mut gaps, 0.5),
        1e3 * quantile(&mut gaps, 0.99),
    );
}

/// A tenth of the clients reads slowly, and of all requests three in ten are left. What came whole must be what the same
/// request gives alone.
fn soak(target: &Target<'_>, clients: usize, seconds: f64) {
    /// Different requests.
    const REQUESTS: usize = 40;
    let alone: Vec<String> = (0..REQUESTS)
        .map(|number| target.ask(&prompt(number), number, Reader::Whole).expect("an answer").text)
        .collect();
    let counts: [AtomicUsize; 5] = Default::default();
    let start = Instant::now();
    thread::scope(|scope| {
        for client in 0..clients {
            let (alone, counts) = (&alone, &counts);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(client as u64);
                while start.elapsed().as_secs_f64() < seconds {
                    let number = random.random_range(0..REQUESTS);
                    let reader = match (random.random_range(0..10), client % 10) {
                        (0..3, _) => Reader::Leaves(random.random_range(0..target.answer)),
                        (_, 0) => Reader::Slow(Duration::from_millis(200)),
                        _ => Reader::Whole,
                    };
                    let count = |place: usize| counts[place].fetch_add(1, Ordering::Relaxed);
                    match target.ask(&prompt(number), number, reader) {
                        Ok(answer) if answer.status == 429 => {
                            count(3);
                            thread::sleep(Duration::from_millis(500));
                        }
                        Ok(answer) if matches!(reader, Reader::Leaves(_)) && answer.status == 200 => {
                            count(1);
                            if !alone[number].starts_with(&answer.text) {
                                count(4);
                            }
                        }
                        Ok(answer) if answer.status == 200 && answer.done && answer.text == alone[number] => {
                            count(0);
                        }
                        Ok(answer) => {
                            count(4);
                            println!(
                                "wrong: status {} done {} {:?}",
                                answer.status, answer.done, answer.text
                            );
                        }
                        Err(error) => {
                            count(2);
                            println!("error: {error}");
                        }
                    }
                }
            });
        }
    });
    let [whole, left, errors, refused, wrong] = counts.map(AtomicUsize::into_inner);
    println!(
        "{whole} answers whole, {left} left, {refused} refused with 429, {errors} errors, {wrong} wrong"
    );
    assert_eq!((errors, wrong), (0, 0));
}
