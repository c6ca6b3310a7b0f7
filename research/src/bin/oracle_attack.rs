//! What somebody without the key gets by asking `wmdetect serve`, through each role: erasing the mark of a text, forging it
//! on another, and rewriting a marked text while it stays marked.
//!
//! ```text
//! oracle_attack WMDETECT KEY TOKENIZER MARKED.jsonl HUMAN.jsonl QUERIES
//! ```
//!
//! An edit exchanges one word for a random word of the unmarked texts, so the number of exchanged words is what an attack
//! costs. Attackers with a language model choose better words; that lowers what an exchange costs, not how many are needed.
//!
//! - **Erase.** An operator's attacker tries an exchange of each word, keeps the three that raise p most, and does so again.
//!   One who hears only a verdict exchanges words in random order, finds by bisection how many suffice, puts back those
//!   that were not needed, and begins again with another order; the best is kept.
//! - **Forge.** An operator's attacker keeps each random exchange that lowers p. One who hears only a verdict exchanges
//!   three words in ten at random, anew each time, until chance calls the text watermarked.
//! - **Rewrite.** Exchanges one word after another and keeps those after which the text is still called watermarked; an
//!   operator's attacker begins with those that cost least.
//!
//! The public is told nothing of a short text, so its attacker adds unmarked filler until enough tokens count. "Blind" asks
//! nobody and exchanges random words; the detector says afterwards how many were needed.
//!
//! Prints Markdown: of how many texts the operator is deceived (the mark is not found, or is found, at the operator's rate),
//! and medians over all texts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is its output")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wmdetect::{Detector, Key, Tokenizer, Verdict, hex};
use wmgen_research::http::Client;

/// Words of filler for the public.
const FILLER: usize = 250;
/// Words of a text that is to be forged.
const FORGED: usize = 150;

struct Server {
    child: Child,
    address: String,
    _place: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts the program. Without `budget` everybody may ask as often as they like.
    fn start(program: &str, key: &str, tokenizer: &str, budget: bool) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("credentials.toml");
        let credential = |role: &str, queries: &str| {
            let hash = hex::encode(&Sha256::digest(role));
            format!(
                "[[credential]]\nname = \"{role}\"\ntoken_sha256 = \"{hash}\"\nrole = \"{role}\"\n{queries}\n"
            )
        };
        let queries = if budget { "" } else { "queries_per_day = 4000000000" };
        let text = credential("operator", "") + &credential("expert", queries);
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new(program);
        command.args(["serve", "--key", key, "--tokenizer", tokenizer, "--port", "0", "--log", "off"]);
        command.args(["--public", "--credentials"]).arg(&file).stderr(Stdio::piped());
        if !budget {
            command.args(["--public-queries", "4000000000"]);
        }
        let mut child = command.spawn().expect("wmdetect");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.strip_prefix("listening on http://")?.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("the server listens"), _place: place }
    }
}

/// What an attacker hears.
struct Told {
    marked: bool,
    log10_p: f64,
}

/// Somebody who asks the server.
struct Attacker<'a> {
    client: Client,
    filler: &'a str,
    left: usize,
    answered: usize,
    random: StdRng,
    words: &'a [String],
}

impl Attacker<'_> {
    /// Returns what the server says; `None` once no more may be asked.
    fn ask(&mut self, text: &[String]) -> Option<Told> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let text = text.join(" ") + self.filler;
        let body = json!({ "text": text }).to_string();
        let (status, answer) = self.client.post("/v1/detect", &body).expect("an answer");
        if status == 429 {
            // The budget comes back over a day, so asking again at once is useless.
            self.left = 0;
            return None;
        }
        assert_eq!(status, 200, "{answer}");
        self.answered += 1;
        let result = &answer["results"][0];
        let log10_p = result["log10_p"].as_f64().unwrap_or(f64::NAN);
        Some(Told { marked: result["verdict"] == "watermarked", log10_p })
    }

    fn word(&mut self) -> String {
        self.words.choose(&mut self.random).expect("words").clone()
    }

    /// The places of a text in random order.
    fn order(&mut self, text: &[String]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..text.len()).collect();
        order.shuffle(&mut self.random);
        order
    }

    /// The same exchanges, which only their number tells apart.
    fn exchanges(&mut self, text: &[String]) -> Vec<(usize, String)> {
        self.order(text).into_iter().map(|place| (place, self.word())).collect()
    }

    /// Erases by p.
    fn erase_by_p(&mut self, text: &[String]) -> Option<Vec<String>> {
        let mut now = text.to_vec();
        loop {
            let told = self.ask(&now)?;
            if !told.marked {
                return Some(now);
            }
            let mut tried = Vec::new();
            for place in self.order(text) {
                if now[place] != text[place] {
                    continue;
                }
                let mut changed = now.clone();
                changed[place] = self.word();
                tried.push((self.ask(&changed)?.log10_p, place, changed[place].clone()));
            }
            tried.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (_, place, word) in tried.into_iter().take(3) {
                now[place] = word;
            }
        }
    }

    /// Erases by verdicts.
    fn erase_by_verdict(&mut self, text: &[String]) -> Option<Vec<String>> {
        let mut best: Option<Vec<String>> = None;
        while let Some(found) = self.erase_once(text) {
            let better = best.as_ref().is_none_or(|best| changed(text, &found) < changed(text, best));
            if better {
                best = Some(found);
            }
        }
        best
    }

    fn erase_once(&mut self, text: &[String]) -> Option<Vec<String>> {
        let exchanges = self.exchanges(text);
        let (mut few, mut enough) = (0, exchanges.len());
        while few + 1 < enough {
            let middle = few.midpoint(enough);
            if self.ask(&apply(text, &exchanges[..middle]))?.marked { few = middle } else { enough = middle }
        }
        let mut now = apply(text, &exchanges[..enough]);
        for (place, _) in &exchanges[..enough] {
            let word = std::mem::replace(&mut now[*place], text[*place].clone());
            // Out of questions, what is erased stays erased.
            if self.ask(&now).is_none_or(|told| told.marked) {
                now[*place] = word;
            }
        }
        Some(now)
    }

    /// Forges by p: all queries are spent.
    fn forge_by_p(&mut self, text: &[String]) -> Vec<String> {
        let mut now = text.to_vec();
        let mut best = f64::INFINITY;
        loop {
            let mut changed = now.clone();
            let place = self.random.random_range(0..text.len());
            changed[place] = self.word();
            let Some(told) = self.ask(&changed) else { return now };
            if told.log10_p < best {
                (now, best) = (changed, told.log10_p);
            }
        }
    }

    /// Forges by verdicts.
    fn forge_by_verdict(&mut self, text: &[String]) -> Option<Vec<String>> {
        loop {
            let exchanges = self.exchanges(text);
            let changed = apply(text, &exchanges[..text.len() * 3 / 10]);
            if self.ask(&changed)?.marked {
                return Some(changed);
            }
        }
    }

    /// Rewrites a marked text.
    fn rewrite(&mut self, text: &[String], by_p: bool) -> Vec<String> {
        let mut exchanges = self.exchanges(text);
        if by_p {
            let mut probed = Vec::new();
            for exchange in &exchanges {
                match self.ask(&apply(text, std::slice::from_ref(exchange))) {
                    Some(told) => probed.push((told.log10_p, exchange.clone())),
                    None => return text.to_vec(),
                }
            }
            probed.sort_by(|a, b| a.0.total_cmp(&b.0));
            exchanges = probed.into_iter().map(|(_, exchange)| exchange).collect();
        }
        let mut now = text.to_vec();
        for (place, word) in exchanges {
            let before = std::mem::replace(&mut now[place], word);
            if self.ask(&now).is_none_or(|told| !told.marked) {
                now[place] = before;
            }
        }
        now
    }
}

fn apply(text: &[String], exchanges: &[(usize, String)]) -> Vec<String> {
    let mut text = text.to_vec();
    for (place, word) in exchanges {
        text[*place].clone_from(word);
    }
    text
}

fn changed(before: &[String], after: &[String]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

fn texts(path: &str) -> Vec<Vec<String>> {
    let lines = std::fs::read_to_string(Path::new(path)).expect("a file of texts");
    let text = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = line["text"].as_str().expect("a text").split_whitespace().map(str::to_owned);
        (line["lang"].as_str().is_none_or(|lang| lang == "en")).then(|| text.collect())
    };
    lines.lines().filter_map(text).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What an attack made of a text: the words exchanged, and p of it as the operator sees it.
struct Outcome {
    reached: bool,
    words: usize,
    share: f64,
    log10_p: f64,
    answered: usize,
}

fn row(name: &str, outcomes: &[Outcome]) {
    let reached = outcomes.iter().filter(|outcome| outcome.reached).count();
    let of = |value: fn(&Outcome) -> f64| median(&outcomes.iter().map(value).collect::<Vec<_>>());
    let answered = median(&outcomes.iter().map(|outcome| outcome.answered as f64).collect::<Vec<_>>());
    println!(
        "| {name} | {} of {} | {:.0} ({:.0} %) | {:.1} | {answered:.0} |",
        reached,
        outcomes.len(),
        of(|outcome| outcome.words as f64),
        of(|outcome| 100.0 * outcome.share),
        of(|outcome| outcome.log10_p),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, key, tokenizer, marked, human, queries] = &arguments[..] else {
        panic!("expected: WMDETECT KEY TOKENIZER MARKED.jsonl HUMAN.jsonl QUERIES")
    };
    let queries: usize = queries.parse().expect("a number of queries");
    let (marked, mut human) = (texts(marked), texts(human));
    human.retain(|text| text.len() >= FORGED);
    let mut words: Vec<String> = human.iter().take(500).flatten().cloned().collect();
    words.retain(|word| word.chars().all(char::is_alphabetic));
    let detector = {
        let tokenizer = Tokenizer::open(tokenizer).expect("a tokenizer");
        Detector::new(Key::read(key).expect("a key"), tokenizer).expect("the key's tokenizer")
    };
    let judge = |text: &[String]| {
        let report = detector.score(text.join(" ").as_str()).expect("a report");
        (report.verdict == Verdict::Watermarked, report.log10_p.unwrap_or(0.0))
    };
    let marked: Vec<Vec<String>> = marked.into_iter().filter(|text| judge(text).0).collect();
    let human: Vec<Vec<String>> =
        human.iter().map(|text| text[..FORGED].to_vec()).filter(|text| !judge(text).0).collect();
    let filler: String =
        human[marked.len()..].iter().flatten().take(FILLER).flat_map(|word| [" ", word]).collect();
    let (before, length): (Vec<f64>, Vec<f64>) =
        marked.iter().map(|text| (judge(text).1, text.len() as f64)).unzip();
    println!(
        "{} marked texts, medians: {:.0} words, log10 p {:.1}. {queries} queries for each text.\n",
        marked.len(),
        median(&length),
        median(&before)
    );
    println!("| role, attack | reached | words exchanged | log10 p then | answered |");
    println!("|---|---|---|---|---|");

    let outcome = |before: &[String], after: Option<Vec<String>>, wants_mark: bool, answered: usize| {
        let after = after.unwrap_or_else(|| before.to_vec());
        let (is_marked, log10_p) = judge(&after);
        let words = changed(before, &after);
        let share = words as f64 / before.len() as f64;
        Outcome { reached: is_marked == wants_mark && words > 0, words, share, log10_p, answered }
    };
    let blind: Vec<(Outcome, Outcome)> = marked
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let mut random = StdRng::seed_from_u64(number as u64);
            let mut order: Vec<usize> = (0..text.len()).collect();
            order.shuffle(&mut random);
            let (mut now, mut last) = (text.clone(), text.clone());
            for place in order {
                now[place].clone_from(words.choose(&mut random).expect("words"));
                if !judge(&now).0 {
                    break;
                }
                last.clone_from(&now);
            }
            (outcome(text, Some(now), false, 0), outcome(text, Some(last), true, 0))
        })
        .collect();
    let (erased, kept): (Vec<_>, Vec<_>) = blind.into_iter().unzip();
    row("blind, erase", &erased);
    row("blind, rewrite", &kept);
    for budget in [false, true] {
        let server = Server::start(program, key, tokenizer, budget);
        for role in ["operator", "expert", "public"] {
            if budget && role == "operator" {
                continue;
            }
            let title =
                |attack: &str| format!("{role}{}, {attack}", if budget { " with its budget" } else { "" });
            let by_p = role == "operator";
            for attack in ["erase", "forge", "rewrite"] {
                // Texts of one account: with budgets, each text has a server that has not been asked before.
                let outcomes: Vec<Outcome> = (0..marked.len())
                    .map(|number| {
                        let fresh = budget.then(|| Server::start(program, key, tokenizer, true));
                        let address = &fresh.as_ref().unwrap_or(&server).address;
                        let mut attacker = Attacker {
                            client: Client::open(address, if role == "public" { "" } else { role })
                                .expect("a server"),
                            filler: if role == "public" { &filler } else { "" },
                            left: queries,
                            answered: 0,
                            random: StdRng::seed_from_u64(1000 + number as u64),
                            words: &words,
                        };
                        let (text, wants_mark) = match attack {
                            "forge" => (&human[number], true),
                            "rewrite" => (&marked[number], true),
                            _ => (&marked[number], false),
                        };
                        let after = match (attack, by_p) {
                            ("erase", true) => attacker.erase_by_p(text),
                            ("erase", false) => attacker.erase_by_verdict(text),
                            ("forge", true) => Some(attacker.forge_by_p(text)),
                            ("forge", false) => attacker.forge_by_verdict(text),
                            _ => Some(attacker.rewrite(text, by_p)),
                        };
                        outcome(text, after, wants_mark, attacker.answered)
                    })
                    .collect();
                row(&title(attack), &outcomes);
            }
        }
    }
}
