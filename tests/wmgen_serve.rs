//! `wmgen serve`, end to end, on a tiny random Gemma 2. What clients in other languages rely on is in `tests/clients`.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::*;
use wmdetect::hex;

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = wmgen(dir);
        command
            .args(["serve", "--model", MODEL, "--model-name", "tiny", "--port", "0", "--log", "off"])
            .args(args);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.strip_prefix("listening on http://")?.to_owned()));
        // The log must have a reader.
        thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("the server listens") }
    }

    /// The status, the head and the body of an answer.
    fn ask(&self, token: &str, body: &Value) -> (u16, String, Value) {
        let (status, head, body) = read(self.send(token, body));
        (status, head, serde_json::from_str(&body).unwrap_or_default())
    }

    fn send(&self, token: &str, body: &Value) -> TcpStream {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        stream
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut stream: TcpStream) -> (u16, String, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
}

fn tenant(name: &str, rest: &str) -> String {
    let token = hex::encode(&Sha256::digest(name));
    format!("[[tenant]]\nname = \"{name}\"\ntoken_sha256 = \"{token}\"\n{rest}\n")
}

fn body(more: Value) -> Value {
    let mut body = json!({ "prompt": "the sea", "max_tokens": 40, "seed": 3, "ignore_eos": true });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn receipts(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    conform("serve-receipts", &text);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_promised_to_be_marked_is_marked_or_refused() {
    let (dir, _) = with_key();
    let tenants = [
        tenant("strict", "key = \"k.bin\""),
        tenant("free", "key = \"k.bin\"\nlabel = \"free\"\npolicy = \"optional\"\nlogprobs = true"),
        tenant("plain", "policy = \"off\"\nrequests_per_minute = 1"),
    ];
    std::fs::write(dir.path().join("tenants.toml"), tenants.concat()).unwrap();
    let server = Server::start(dir.path(), &["--tenants", "tenants.toml", "--receipts", "r.jsonl"]);
    let told = |token: &str, more: Value| {
        let (status, head, answer) = server.ask(token, &body(more));
        let mark = &answer["watermark"];
        let header = if mark["applied"] == true {
            "x-watermark: applied".to_owned()
        } else {
            format!("x-watermark: none; reason={}", mark["reason"].as_str().unwrap_or_default())
        };
        assert!(status != 200 || head.contains(&header), "{head} {answer}");
        (status, mark["reason"].as_str().unwrap_or_default().to_owned(), mark["key_id"].clone())
    };
    let (marked, none, key) = told("strict", json!({}));
    assert_eq!((marked, none.as_str(), &key), (200, "", &json!(fixed_key(1).id())));
    assert_eq!(told("strict", json!({"temperature": 0})).0, 400);
    assert_eq!(told("strict", json!({"watermarking": false})).0, 403);
    assert_eq!(told("strict", json!({"max_tokens": 4})).0, 400);
    assert_eq!(told("strict", json!({"min_p": 0.95})).0, 400);
    // Each of these alone leaves a choice. Together they do not, which shows once the answer is written.
    let close = |tokens| json!({"temperature": 0.1, "top_p": 0.1, "min_p": 0.9, "max_tokens": tokens});
    assert_eq!(told("strict", close(19)).0, 400);
    // The first four tokens have no context, and the other 14 may have had no choice.
    assert_eq!(told("strict", close(18)).1, "no_draw");
    let mut streamed = close(19);
    streamed["stream"] = json!(true);
    let (_, _, chunks) = read(server.send("strict", &body(streamed)));
    assert!(chunks.contains("cannot_be_marked") && !chunks.contains("[DONE]"), "{chunks}");
    assert_eq!(told("strict", json!({"logprobs": 1})).0, 403);
    assert_eq!(told("free", json!({})).2, json!(fixed_key(1).derive("free").unwrap().id()));
    assert_eq!(told("free", json!({"watermarking": false, "logprobs": 1})).1, "opted_out");
    assert_eq!(told("free", json!({"temperature": 0})).1, "greedy");
    assert_eq!(told("free", json!({"max_tokens": 2})).1, "no_draw");
    assert_eq!(told("plain", json!({})).1, "policy_off");
    assert_eq!(told("plain", json!({})).0, 429);
    assert_eq!(told("nobody", json!({})).0, 401);
    // What was counted stays counted when the file is read again.
    server.signal("-HUP");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(told("plain", json!({})).0, 429);

    let kept = receipts(&dir.path().join("r.jsonl"));
    let of = |receipt: &Value| {
        let reason = receipt["watermark"]["reason"].as_str().unwrap_or("marked");
        format!("{} {reason}", receipt["tenant"].as_str().unwrap())
    };
    assert_eq!(
        kept.iter().map(of).collect::<Vec<_>>(),
        [
            "strict marked",
            "strict no_draw",
            "strict no_draw",
            "strict no_draw",
            "free marked",
            "free opted_out",
            "free greedy",
            "free no_draw",
            "plain policy_off"
        ]
    );
    assert!(kept.iter().all(|receipt| receipt.get("text").is_none() && receipt.get("tokens").is_none()));
}

#[test]
fn an_epoch_begins_without_a_restart_and_a_broken_list_changes_nothing() {
    let (dir, _) = with_key();
    let keys = dir.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let binding = wmdetect::Tokenizer::open(MODEL).unwrap().binding();
    for number in [1, 2] {
        let key = fixed_key(number).with_tokenizer(Some(binding.clone()));
        key.write(keys.join(format!("{number}.bin")), false).unwrap();
    }
    let list = |second: &str| {
        let text = format!(
            "[[key]]\nfile = \"1.bin\"\nnot_before = 2020-01-01\n[[key]]\nfile = \"2.bin\"\nnot_before = {second}\n"
        );
        std::fs::write(keys.join("keys.toml"), text).unwrap();
    };
    list("2999-01-01");
    let server = Server::start(dir.path(), &["--key", "keys"]);
    let key = |server: &Server| server.ask("", &body(json!({}))).2["watermark"]["key_id"].clone();
    assert_eq!(key(&server), fixed_key(1).id());
    std::fs::write(keys.join("keys.toml"), "[[key]]\nfile = \"3.bin\"\n").unwrap();
    server.signal("-HUP");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(key(&server), fixed_key(1).id());
    list("2021-01-01");
    let start = Instant::now();
    while key(&server) != fixed_key(2).id() {
        assert!(start.elapsed() < Duration::from_secs(20), "the list was not read again");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn accepted_answers_outlive_sigterm_and_receipts_outlive_sigkill() {
    let (dir, _) = with_key();
    let args = ["--key", "k.bin", "--receipts", "r.jsonl", "--batch", "2", "--queue", "1"];
    let mut server = Server::start(dir.path(), &args);
    let long = body(json!({ "max_tokens": 400, "stream": true }));
    // A request for more texts than there are places is taken while nothing else is open; six of its texts wait.
    // Where this thread gets no processor until all are written, the next request is taken: then once more.
    let many = body(json!({ "max_tokens": 400, "stream": true, "n": 8 }));
    let fill = || {
        let mut open = server.send("", &many);
        open.read_exact(&mut [0; 1]).unwrap();
        let start = Instant::now();
        let (status, head, _) = server.ask("", &long);
        (status == 429).then(|| (open, head, start.elapsed()))
    };
    let (mut open, head, time) = (0..10).find_map(|_| fill()).expect("a request too many is refused");
    assert!(head.to_ascii_lowercase().contains("retry-after") && time < Duration::from_secs(2));
    server.signal("-TERM");
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("data: [DONE]"), "{answer}");
    assert_eq!(answer.matches("\"finish_reason\":\"length\"").count(), 8, "{answer}");
    assert!(server.wait().success());
    let kept = receipts(&dir.path().join("r.jsonl")).len();
    assert_eq!(kept % 9, 8, "eight texts, and nine of each try before");

    // Answers that are cut off have receipts, too.
    let mut server = Server::start(dir.path(), &[&args[..], &["--drain", "0"]].concat());
    let mut open = server.send("", &long);
    open.read_exact(&mut [0; 1]).unwrap();
    server.signal("-TERM");
    server.wait();
    let cut = receipts(&dir.path().join("r.jsonl")).split_off(kept);
    // On a fast machine the answer may be whole before the signal arrives.
    assert!(
        cut.len() == 1 && (cut[0]["interrupted"] == true || cut[0]["finish_reason"] == "length"),
        "{cut:?}"
    );
    let kept = kept + 1;

    let mut server = Server::start(dir.path(), &args);
    assert_eq!(server.ask("", &body(json!({}))).0, 200);
    let _open = server.send("", &long);
    server.signal("-KILL");
    server.wait();
    assert_eq!(receipts(&dir.path().join("r.jsonl")).len(), kept + 1);
}

#[test]
fn a_text_does_not_depend_on_how_it_is_asked_for() {
    let (dir, _) = with_key();
    let server = Server::start(dir.path(), &["--key", "k.bin"]);
    // The stop strings end texts inside of a token, and what was held back for them comes with the end.
    for (seed, stop) in (0..12).zip([json!(null), json!("e"), json!(["a", "zz", "the picn"])].iter().cycle())
    {
        let asked = |stream: bool| {
            body(json!({ "n": 2, "seed": seed, "stop": stop, "stream": stream, "logprobs": 1 }))
        };
        let (_, _, whole) = server.ask("", &asked(false));
        let (status, head, stream) = read(server.send("", &asked(true)));
        assert!(status == 200 && head.contains("text/event-stream"));
        let mut texts = [String::new(), String::new()];
        let mut logprobs = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
        let chunks = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        for chunk in chunks.filter_map(|chunk| serde_json::from_str::<Value>(chunk).ok()) {
            for choice in chunk["choices"].as_array().unwrap() {
                let index = choice["index"].as_u64().unwrap() as usize;
                texts[index].push_str(choice["text"].as_str().unwrap());
                for (field, values) in ["tokens", "text_offset"].iter().zip(&mut logprobs[index]) {
                    values.extend(choice["logprobs"][field].as_array().into_iter().flatten().cloned());
                }
            }
        }
        for (index, (text, logprobs)) in texts.iter().zip(logprobs).enumerate() {
            let choice = &whole["choices"][index];
            assert_eq!(choice["text"], *text, "{seed} {stop}");
            let [tokens, offsets] = logprobs.map(Value::from);
            assert_eq!(choice["logprobs"]["tokens"], tokens, "{seed} {stop}");
            assert_eq!(choice["logprobs"]["text_offset"], offsets, "{seed} {stop}");
        }
    }
    // And it is the text of `wmgen generate`.
    let args = ["generate", "--key", "k.bin", "--model", MODEL, "--prompt", "the sea", "--json"];
    let plain = json!({ "prompt": "the sea", "max_tokens": 40, "seed": 3 });
    let written =
        &reports(&run(dir.path(), &[&args[..], &["--max-tokens", "40", "--seed", "3"]].concat()))[0];
    assert_eq!(server.ask("", &plain).2["choices"][0]["text"], written.text);
}

#[test]
fn what_everybody_could_reach_is_not_opened_without_tokens() {
    let (dir, _) = with_key();
    let refused_at = |args: &[&str], needle: &str| {
        refused(&run(dir.path(), &[&["serve", "--model", MODEL, "--port", "0"], args].concat()), needle);
    };
    refused_at(&["--key", "k.bin", "--host", "0.0.0.0"], "--tenants");
    refused_at(&["--key", "none.bin"], "none.bin");
    std::fs::write(dir.path().join("t.toml"), tenant("a", "policy = \"require\"")).unwrap();
    refused_at(&["--tenants", "t.toml"], "tenant a");
    // A file of something else is not taken for receipts.
    refused_at(&["--key", "k.bin", "--receipts", "k.bin"], "k.bin");
    assert!(wmdetect::Key::read(dir.path().join("k.bin")).is_ok());
    refused_at(&["--key", "k.bin", "--receipts", "."], "expected a regular file, found a directory\n");
    // A token in the place of its hash is not shown.
    std::fs::write(dir.path().join("t.toml"), "[[tenant]]\nname = \"a\"\ntoken_sha256 = \"hunter2\"")
        .unwrap();
    let output = run(dir.path(), &["serve", "--model", MODEL, "--port", "0", "--tenants", "t.toml"]);
    refused(&output, "line 3");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
}
