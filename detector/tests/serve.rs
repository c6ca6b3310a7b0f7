//! `wmdetect serve` from end to end: the real program on a free port, spoken to over a socket.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::{Place, Random, key, marked_words};
use wmdetect::signed::SigningKey;
use wmdetect::{Tokenizer, Verdict};

/// SHA-256 of `operator-token` and of `expert-token`, as `printf %s TOKEN | sha256sum` prints them.
const CREDENTIALS: &str = r#"
[[credential]]
name = "us"
token_sha256 = "OPERATOR"
role = "operator"

[[credential]]
name = "desk"
token_sha256 = "EXPERT"
role = "expert"
queries_per_day = 30
"#;

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The only result.
    #[track_caller]
    fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        let mut json = self.json();
        assert_eq!(json["results"].as_array().unwrap().len(), 1);
        json["results"][0].take()
    }

    #[track_caller]
    fn is(&self, status: u16, found: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(found), "{}", self.body);
    }
}

impl Server {
    /// Starts the server in a place whose key is that of the texts, with the built-in tokenizer.
    fn start(place: &Place, args: &str) -> Self {
        // The marked text is of the default model.
        let _ = std::fs::remove_file(place.path("tokenizer.json"));
        let mut child = place
            .command(&format!("serve --port 0 --log off {args}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(errors.read_line(&mut line).unwrap() > 0, "the server ended: {said}");
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                break address.parse().unwrap();
            }
            said += &line;
        };
        // Nobody may be left with a pipe that is closed.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Self { child, address }
    }

    fn send(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes())
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", "")
    }

    fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let token =
            if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        self.request("POST", path, &format!("content-type: application/json\r\n{token}"), &body.to_string())
    }

    fn detect(&self, token: &str, body: &Value) -> Answer {
        self.post("/v1/detect", token, body)
    }

    /// Stops it as systems do, and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

fn marked() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/marked.txt")).unwrap()
}

/// A place with a keyring of which the second key marked the text, and with credentials.
fn place() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("keys")).unwrap();
    for (name, seed) in [("keys/other.bin", 9), ("keys/ours.bin", 7)] {
        key(seed).write(place.path(name), false).unwrap();
    }
    let hash = |token: &[u8]| {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(token);
        wmdetect::hex::encode(&digest)
    };
    let credentials = CREDENTIALS.replace("OPERATOR", &hash(b"operator-token"));
    place.write("credentials.toml", credentials.replace("EXPERT", &hash(b"expert-token")));
    place
}

const ALL: &str = "--keyring keys --credentials credentials.toml";

#[test]
fn without_credentials_everybody_on_the_machine_is_told_all() {
    let place = place();
    let server = Server::start(&place, "--keyring keys");
    let ours = key(7).id();
    let report = server
        .detect("", &json!({ "text": marked(), "id": "a", "segments": true, "attribute": true }))
        .result();
    assert_eq!(
        (&report["verdict"], &report["key_id"], &report["id"]),
        (&json!("watermarked"), &json!(ours), &json!("a"))
    );
    assert!(report["log10_p"].as_f64().unwrap() < -60.0 && report["schema_version"] == 1);
    assert_eq!(report["segments"][0]["key_id"], ours.as_str());
    assert_eq!(report["attribution"]["keys"][0]["name"], "ours.bin");
    // As the program says it.
    place.write("marked.txt", marked());
    let program: Value =
        serde_json::from_str(&place.run("score marked.txt --keyring keys --json").code(0).out()).unwrap();
    for field in
        ["p_value", "log10_p", "tokens", "scored_tokens", "scores", "spans", "warning_codes", "keys_tried"]
    {
        assert_eq!(report[field], program[field], "{field}");
    }
    let short = server.detect("", &json!({ "text": marked(), "detail": "verdict", "fpr": 1e-300 })).result();
    assert_eq!((&short["verdict"], short.get("spans")), (&json!("too_short"), None));

    let batch = json!({ "inputs": [
        { "id": 1, "text": marked() },
        { "id": 2, "txt": "a" },
        { "id": 3, "text": "a", "tokens": [1] },
        "x",
        { "tokens": [5, 6, 7, 8, 9, 10], "prompt": [1, 2, 3] },
        { "text": "half of a pair \u{1}" },
    ] });
    let answer = server.request("POST", "/v1/detect", "", &batch.to_string().replace("\\u0001", "\\ud83d"));
    let results = answer.json()["results"].take();
    let verdicts: Vec<_> = (0..6).map(|i| results[i]["verdict"].as_str()).collect();
    assert_eq!(verdicts, [Some("watermarked"), None, None, None, Some("too_short"), Some("too_short")]);
    let ids: Vec<_> = (0..6).map(|i| results[i]["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(2), json!(3), Value::Null, Value::Null, Value::Null]);
    assert!(results[1]["error"].as_str().unwrap().contains("txt"), "{}", results[1]);

    let vllm = server.post("/detect", "", &json!({ "text": marked() })).json();
    assert_eq!((&vllm["is_watermarked"], &vllm["p_value"]), (&json!(true), &report["p_value"]));
    assert_eq!((&vllm["num_scored_tokens"], &vllm["score"]), (&report["scored_tokens"], &report["score"]));

    let keys = server.get("/v1/keys").json();
    assert_eq!((&keys["keys"][1]["key_id"], &keys["keys"][1]["label"]), (&json!(ours), &json!("ours.bin")));
    assert_eq!(server.get("/.well-known/ai-watermark.json").json()["keys"][0]["scheme"], "synthid-sha256");
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).status, 200);
    }
    let metrics = server.get("/metrics").body;
    assert!(
        metrics.contains("wmdetect_texts_total{role=\"operator\",verdict=\"watermarked\"} 3"),
        "{metrics}"
    );
    let openapi = server.get("/openapi.json");
    assert_eq!(openapi.json()["openapi"].as_str().unwrap()[..3], *"3.1");
    openapi.is(200, "\"minimum\":1e-300");
    server.get("/").is(200, "Up to 2 MiB. ");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_cannot_be_answered_is_said() {
    let server = Server::start(&place(), "--keyring keys --queue 1");
    let detect = |body: &str| server.request("POST", "/v1/detect", "", body);
    detect("{").is(400, "the body cannot be read");
    detect("{}").is(400, "expected text or tokens, found neither");
    let rate = detect(r#"{"text": "a", "fpr": 2}"#);
    rate.is(400, "\"param\":\"fpr\"");
    rate.is(400, "fpr: the false positive rate must lie between 0 and 1: expected at least 1e-300 and below 1, found 2.0");
    detect(r#"{"text": "a", "sign": true}"#).is(400, "started without --sign");
    detect(r#"{"text": "a", "sgements": true}"#).is(400, "sgements");
    detect(r#"{"inputs": []}"#).is(400, "expected 1 to 256 texts, found 0");
    detect(r#"{"inputs": [{"text": "a"}], "text": "a"}"#).is(400, "found both");
    detect(&json!({ "inputs": vec![json!({ "text": "a" }); 257] }).to_string()).is(400, "found 257");
    detect(&json!({ "text": "a".repeat(9 << 20) }).to_string()).is(413, "8388608");
    assert_eq!(detect(&json!({ "text": "The old man. ".repeat(400_000) }).to_string()).status, 200);
    server.request("POST", "/v1/detect", "content-type: text/plain\r\n", "{}").is(415, "application/json");
    let body = b"{\"text\": \"a \xed\xc3\xa9 b\"}";
    let head = format!(
        "POST /v1/detect HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    server.send(&[head.as_bytes(), body].concat()).is(400, "expected UTF-8");
    // A half of a surrogate pair is one character, and an id may have 64 bits without a sign.
    let halves = detect(r#"{"text": "a\ud800", "prompt": "b\udc00", "id": "c\ud83d"}"#).result();
    assert_eq!((&halves["id"], &halves["verdict"]), (&json!("c\u{fffd}"), &json!("too_short")));
    assert_eq!(detect(r#"{"text": "a", "id": 18446744073709551615}"#).result()["id"], json!(u64::MAX));
    detect(r#"{"text": "a", "id": 1.5}"#).is(400, "\"param\":\"id\"");
    server.get("/v1/detect").is(405, "method");
    assert!(server.get("/v1/detect").head.contains("allow: post"));
    server.get("/nothing").is(404, "/openapi.json");
    for (body, status) in [("{\"contents\": []}", 400), ("{", 400), ("{\"contents\": [1]}", 400)] {
        let error = server.request("POST", "/api/v1/text/contents", "", body);
        assert_eq!((error.status, &error.json()["code"]), (status, &json!(status)));
        assert!(error.json()["message"].is_string());
    }
    assert_eq!(server.get("/api/v1/text/contents").json()["code"], 405);

    let place = place();
    let errors = place.run("serve --keyring keys --host 0.0.0.0").code(2).errors();
    assert!(
        errors.contains("expected --host 127.0.0.1 or ::1, found 0.0.0.0") && errors.contains("hint"),
        "{errors}"
    );
}

#[test]
fn a_role_is_told_its_part() {
    let place = place();
    let server = Server::start(&place, ALL);
    for token in ["", "wrong"] {
        let refused = server.detect(token, &json!({ "text": "a" }));
        refused.is(401, "authentication_error");
        assert!(refused.head.contains("www-authenticate: bearer"));
    }
    let expert = server.detect("expert-token", &json!({ "text": marked(), "segments": true }));
    let report = expert.result();
    assert_eq!((&report["verdict"], &report["key_name"]), (&json!("watermarked"), &json!("ours.bin")));
    assert_eq!(report["strength"], "very_strong");
    assert!(report["meaning"].as_str().unwrap().contains("a share of 1e-5"), "the experts' rate: {report}");
    assert!(report["segments"][0]["bytes"][1].as_u64() > Some(100), "{report}");
    for secret in ["p_value", "log10", "score", "\"tokens\""] {
        assert!(!expert.body.contains(secret), "{secret}: {}", expert.body);
    }
    let short =
        "The old man went down to the river and the sea. ".to_owned() + &"He said a word. ".repeat(40);
    assert_eq!(server.detect("expert-token", &json!({ "text": short })).result()["verdict"], "too_short");
    for (field, value) in
        [("fpr", json!(0.1)), ("tokens", json!([1])), ("prompt", json!("a")), ("attribute", json!(true))]
    {
        let mut body = json!({ "text": "a" });
        body[field] = value;
        let refused = server.detect("expert-token", &body);
        refused.is(403, "permission_error");
        assert_eq!(refused.json()["error"]["param"], field);
    }
    let inside = json!({ "inputs": [{ "text": "a" }, { "text": "a", "prompt": "b" }] });
    server.detect("expert-token", &inside).is(403, "inputs[1].prompt");
    server.post("/detect", "expert-token", &json!({ "text": "a" })).is(403, "operator");
    server.get("/").is(200, "Up to 1 MiB. ");
    drop(server);

    let server = Server::start(&place, &format!("{ALL} --public"));
    let long = marked_words(&key(7), &Tokenizer::of_default_model(), 300);
    let public = server.detect("", &json!({ "text": long })).result();
    let fields: Vec<_> = public.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        (fields, &public["verdict"]),
        (vec!["id", "meaning", "schema_version", "verdict"], &json!("watermarked"))
    );
    assert!(public["meaning"].as_str().unwrap().contains("a share of 1e-6"), "the public's rate: {public}");
    // A piece of a marked text says nothing, however sure it is.
    let piece = &long[..500];
    assert_eq!(server.detect("operator-token", &json!({ "text": piece })).result()["verdict"], "watermarked");
    assert_eq!(server.detect("", &json!({ "text": piece })).result()["verdict"], "too_short");
    for (field, value) in
        [("fpr", json!(0.1)), ("segments", json!(true)), ("inputs", json!([{ "text": "a" }]))]
    {
        let refused = server.detect("", &json!({ field: value }));
        refused.is(403, "permission_error");
        assert_eq!(refused.json()["error"]["param"], field);
    }
    let contents = server.post("/api/v1/text/contents", "", &json!({ "contents": ["a"] }));
    contents.is(403, "expert");
    assert_eq!(contents.json()["code"], 403);
    server.detect("wrong", &json!({ "text": "a" })).is(401, "token");
}

#[test]
fn near_copies_spend_the_budget_and_the_same_text_does_not() {
    let server = Server::start(&place(), ALL);
    let ask = |text: &str| server.detect("expert-token", &json!({ "text": text }));
    let text = marked();
    let first = ask(&text);
    // 29 of 30 are left: one near-copy, nine others.
    assert_eq!(ask(&text.replacen("the", "a", 1)).status, 200);
    let copy = text.replacen("the", "this", 1);
    let refused = ask(&copy);
    refused.is(429, "rate_limit_exceeded");
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    for _ in 0..40 {
        assert_eq!(ask(&text).body, first.body);
    }
    assert_eq!(ask("Something else entirely, about ships.").status, 200);
    // In a batch it is the item's affair.
    let batch = json!({ "inputs": [{ "text": text }, { "text": copy }] });
    let results = server.detect("expert-token", &batch).json();
    assert_eq!(results["results"][0]["verdict"], "watermarked");
    assert!(results["results"][1]["error"].as_str().unwrap().contains("budget"), "{results}");
    server.detect("expert-token", &json!({ "inputs": [{ "text": copy }] })).is(429, "budget");
    // Operators have none.
    assert_eq!(server.detect("operator-token", &json!({ "text": copy })).status, 200);
}

#[test]
fn a_near_copy_in_other_typography_is_one() {
    let server = Server::start(&place(), ALL);
    let ask = |text: &str| server.detect("expert-token", &json!({ "text": text })).status;
    let text = marked();
    assert_eq!(ask(&text), 200);
    // 29 of 30 are left: one near-copy.
    assert_eq!(ask(&text.replace(' ', "\u{a0}")), 200);
    assert_eq!(ask(&text.replacen("the", "a", 1).replace(' ', "\u{a0}")), 429);
}

#[test]
fn everybody_but_operators_has_a_longest_text() {
    let server = Server::start(&place(), &format!("{ALL} --public"));
    let long = "a".repeat((1 << 20) + 1);
    let body = json!({ "text": long });
    server.detect("expert-token", &body).is(413, "expected at most 1048576 bytes, found 1048577");
    assert_eq!(server.detect("operator-token", &body).status, 200);
    let batch = json!({ "inputs": [{ "text": "a" }, { "text": long }] });
    let results = server.detect("expert-token", &batch).json();
    assert_eq!(results["results"][0]["verdict"], "too_short");
    assert!(results["results"][1]["error"].as_str().unwrap().contains("1048577"), "{results}");
    server.post("/api/v1/text/contents", "expert-token", &json!({ "contents": [long] })).is(413, "1048577");
    // The body of the public has a limit too.
    server.detect("", &json!({ "text": "a".repeat((256 << 10) + 1) })).is(413, "found 262145");
    server.detect("", &body).is(413, "the body is longer than 802816 bytes");
}

#[test]
fn passages_are_in_characters() {
    let server = Server::start(&place(), "--keyring keys");
    let text = format!("Ärger über Ölöfen 日本語 🚀. {}", marked());
    let body = json!({ "contents": [text, "nothing here"], "detector_params": { "a": 1 } });
    let answer = server.post("/api/v1/text/contents?detector_id=x", "", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let lists = answer.json();
    let found = &lists[0][0];
    let [start, end] = ["start", "end"].map(|at| found[at].as_u64().unwrap() as usize);
    let inside: String = text.chars().skip(start).take(end - start).collect();
    assert_eq!(found["text"], inside);
    assert!(inside.chars().count() > 300 && found["score"].as_f64().unwrap() > 0.999);
    assert_eq!((&found["detection_type"], &lists[1]), (&json!("watermark"), &json!([])));
}

#[test]
fn every_judged_text_is_in_a_log_that_outlives_the_server() {
    let place = place();
    let args = format!("{ALL} --audit audit.jsonl");
    let mut server = Server::start(&place, &args);
    let body = json!({ "inputs": [{ "text": marked() }, { "text": "short" }, { "no": 1 }] });
    assert_eq!(server.detect("expert-token", &body).status, 200);
    assert_eq!(server.detect("operator-token", &json!({ "text": marked() })).status, 200);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let out = place.run("audit verify audit.jsonl").code(0).out();
    assert!(out.contains("5 records (3 texts)"), "{out}");

    let log = std::fs::read_to_string(place.path("audit.jsonl")).unwrap();
    assert!(!log.contains("operator-token") && !log.contains(&marked()[..20]));
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_marked: Vec<_> = lines.iter().filter(|line| line["verdict"] == "watermarked").collect();
    assert_eq!(of_marked.len(), 2);
    assert!(of_marked.iter().all(|line| line["log10_p"].as_f64().unwrap() < -60.0));
    assert_eq!(of_marked[0]["text_sha256"], of_marked[1]["text_sha256"]);
    assert_eq!((&of_marked[0]["credential"], &of_marked[1]["role"]), (&json!("desk"), &json!("operator")));

    // Another server goes on with it, and a line that was being written is cut off.
    std::fs::write(place.path("audit.jsonl"), format!("{log}{{\"kind\":\"te")).unwrap();
    let server = Server::start(&place, &args);
    assert_eq!(server.detect("operator-token", &json!({ "text": "more" })).status, 200);
    assert_eq!(server.stop(), Some(0));
    let out = place.run("audit verify audit.jsonl --json").code(0).out();
    place.conform("audit-verify", &out);
    let verified: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&verified["records"], &verified["texts"], &verified["broken"]),
        (&json!(7), &json!(4), &Value::Null)
    );

    let log = std::fs::read_to_string(place.path("audit.jsonl")).unwrap();
    place.write("audit.jsonl", log.replacen("\"desk\"", "\"mesk\"", 1));
    let out = place.run("audit verify audit.jsonl").code(1).out();
    assert!(out.contains("broken at line 4"), "{out}");
    let errors = place.run(&format!("serve --port 0 {args}")).code(2).errors();
    assert!(errors.contains("is broken at line 4"), "{errors}");
}

#[test]
fn the_page_tells_each_role_its_part_and_keeps_no_text() {
    let place = place();
    let server = Server::start(&place, &format!("{ALL} --public"));
    let send =
        |form: &str| server.request("POST", "/", "content-type: application/x-www-form-urlencoded\r\n", form);
    let ask = |token: &str| {
        let text = marked().replace(' ', "+").replace('\n', "%0D%0A");
        send(&format!("text={text}&token={token}"))
    };
    let operator = ask("operator-token");
    operator.is(200, "<th>p-value</th>");
    for header in [
        "content-security-policy: default-src 'none';",
        "cache-control: no-store",
        "no-referrer",
        "text/html",
    ] {
        assert!(operator.head.contains(header), "{}", operator.head);
    }
    let expert = ask("expert-token");
    expert.is(200, "Very strong evidence that this text, or a part of it, carries the mark of ours.bin");
    assert!(!expert.body.contains("<th>p-value</th>"));
    // The public is told nothing of a text that is this short.
    ask("").is(200, "Too short to tell");
    ask("wrong").is(401, "Nobody has this access token.");
    let form = server.get("/");
    form.is(200, "<textarea");
    form.is(200, "Up to 256 KiB, and 1 MiB with a token. ");
    // The token in a form is not known before its end.
    send(&format!("token=operator-token&text={}", "a".repeat(4 << 20)))
        .is(413, "The body is longer than 3162112 bytes.");
}

#[test]
fn a_verdict_can_be_signed_and_a_leaked_key_is_named() {
    let place = place();
    place.run("report keygen sign.jwk").code(0);
    let signing = SigningKey::read(place.path("sign.jwk")).unwrap();
    let [other, ours] = [key(9), key(7)].map(|key| key.id());
    let list = format!(
        "[[key]]\nfile = \"other.bin\"\nid = \"{other}\"\nlabel = \"old\"\n\n[[key]]\nfile = \"ours.bin\"\nid = \"{ours}\"\n\
         label = \"us\"\nstatus = \"leaked\"\n"
    );
    place.write("keys/keys.toml", list);
    let server = Server::start(&place, &format!("{ALL} --sign sign.jwk"));
    let report = server.detect("expert-token", &json!({ "text": marked(), "sign": true })).result();
    let statement = signing.verifying_key().verify(report["signature"].as_str().unwrap()).unwrap();
    let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(marked()).into();
    assert_eq!((statement.sha256, statement.key_id.as_ref(), statement.log10_p), (digest, Some(&ours), None));
    assert_eq!((&report["key_name"], &report["warning_codes"][0]), (&json!("us"), &json!("leaked_key")));
    assert!(report["meaning"].as_str().unwrap().contains("does not show who wrote"), "{report}");
    // Too short to be called unmarked, and so it is signed.
    let short = marked_words(&key(3), &Tokenizer::of_default_model(), 100);
    assert_eq!(
        server.detect("operator-token", &json!({ "text": short })).result()["verdict"],
        "not_detected"
    );
    let report = server.detect("expert-token", &json!({ "text": short, "sign": true })).result();
    let statement = signing.verifying_key().verify(report["signature"].as_str().unwrap()).unwrap();
    assert_eq!((statement.verdict, &report["verdict"]), (Verdict::TooShort, &json!("too_short")));
    server.detect("operator-token", &json!({ "tokens": [1, 2], "sign": true })).is(400, "expected a text");
    let keys = server.request("GET", "/v1/keys", "authorization: bearer operator-token\r\n", "").json();
    let ours = keys["keys"].as_array().unwrap().iter().find(|key| key["key_id"] == ours.as_str()).unwrap();
    assert_eq!((&ours["label"], &ours["status"]), (&json!("us"), &json!("leaked")));
    let published = &server.get("/.well-known/ai-watermark.json").json()["signatures"]["keys"][0];
    assert_eq!(published["kid"], signing.verifying_key().kid());
}

#[test]
fn a_signed_negative_holds_for_each_role() {
    let place = place();
    let public = place.run("report keygen sign.jwk").code(0).out();
    place.write("public.jwk", public);
    let args = "--key keys/ours.bin --credentials credentials.toml --sign sign.jwk";
    let server = Server::start(&place, args);
    let signing = SigningKey::read(place.path("sign.jwk")).unwrap();
    for (role, key_id) in [("expert", None), ("operator", Some(key(7).id()))] {
        let body = json!({ "text": "The old man went down to the river.", "sign": true });
        let report = server.detect(&format!("{role}-token"), &body).result();
        let statement = signing.verifying_key().verify(report["signature"].as_str().unwrap()).unwrap();
        assert_eq!((statement.key_id, &report["key_id"]), (key_id.clone(), &json!(key_id)));
        place.write("row.json", report.to_string());
        place.run("report verify row.json --public-key public.jwk").code(0);
    }
}

/// A value of JSON, with those at the edges of what fields take.
fn any_value(random: &mut Random, depth: u32) -> Value {
    match random.next() % if depth == 0 { 10 } else { 12 } {
        0 => Value::Null,
        1 => json!(random.next().is_multiple_of(2)),
        2 => json!(random.next()),
        3 => json!(-1),
        4 => json!(random.unit()),
        5 => json!(1e308),
        6 => json!("\u{0}\u{feff}\u{1F600}\u{a0}e\u{301}"),
        7 => json!("full"),
        8 => json!([0, 1, 2, 3, 4, 5]),
        9 => json!({ "text": "a" }),
        10 => (0..random.next() % 4).map(|_| any_value(random, depth - 1)).collect(),
        _ => json!({ "text": any_value(random, depth - 1), "tokens": any_value(random, depth - 1) }),
    }
}

#[test]
fn whatever_is_sent_is_answered_or_refused_by_name() {
    const FIELDS: [&str; 12] = [
        "text",
        "tokens",
        "prompt",
        "channel",
        "id",
        "inputs",
        "detail",
        "segments",
        "attribute",
        "sign",
        "fpr",
        "contents",
    ];
    let place = place();
    let server = Server::start(&place, ALL);
    let mut random = Random(5);
    let (mut answered, mut refused) = (0, 0);
    for round in 0..400 {
        let mut body = json!({ "text": "The old man went down to the river." });
        for _ in 0..random.next() % 4 {
            let field = FIELDS[random.next() as usize % FIELDS.len()];
            body[field] = any_value(&mut random, 3);
        }
        let path = ["/v1/detect", "/detect", "/api/v1/text/contents"][round % 3];
        let answer = server.post(path, "operator-token", &body);
        match answer.status {
            200 => answered += 1,
            400 | 413 | 422 => {
                refused += 1;
                let error = answer.json();
                let message = error["error"]["message"].as_str().or(error["message"].as_str());
                assert!(message.is_some_and(|message| !message.is_empty()), "{body}: {error}");
            }
            status => panic!("{status} for {body}: {}", answer.body),
        }
    }
    assert!(answered > 20 && refused > 100, "both happen: {answered} {refused}");
    assert_eq!(server.stop(), Some(0));
}
