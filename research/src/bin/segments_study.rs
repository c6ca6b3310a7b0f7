//! The tables of `research/results.md` on segments and on attribution.
//!
//! ```text
//! cargo run --release -p wmgen-research --bin segments_study -- segments TOKENIZER DOCS.jsonl MASTER.bin DOCUMENTS MARKED.jsonl...
//! cargo run --release -p wmgen-research --bin segments_study -- answers TOKENIZER DOCS.jsonl KEY.bin DOCUMENTS ANSWERS.jsonl...
//! cargo run --release -p wmgen-research --bin segments_study -- power TOKENIZER DOCS.jsonl MASTER.bin DOCUMENTS MARKED.jsonl...
//! cargo run --release -p wmgen-research --bin segments_study -- null TOKENIZER DOCS.jsonl DOCUMENTS [CHANNELS]
//! cargo run --release -p wmgen-research --bin segments_study -- attribution MASTER.bin KEYS MARKED.jsonl...
//! ```
//!
//! DOCS has unmarked texts (field `text`), MARKED is what `marked_corpus` wrote under MASTER: `tokens` of one
//! temperature, each under another key, `key_label`. ANSWERS is what `wmgen generate --json` wrote under one key. Documents are made of token ids: unmarked texts one after the
//! other, in an order that depends on the seed, with marked passages put in at random places. With CHANNELS the keys are of
//! `synthid-sha256-v2`.

#![allow(clippy::print_stdout, reason = "the tables are its output")]

use std::error::Error;
use std::ops::Range;
use std::time::Instant;

use serde::Deserialize;
use wmdetect::report::Span;
use wmdetect::scheme::{Key, Scheme, Secret, synthid};
use wmdetect::split_mix;
use wmdetect::text::Tokenizer;
use wmdetect::{Detector, Input, Keyring};
use wmgen_research::read_marked;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        split_mix::next(&mut self.0)
    }

    /// From `range`, which is far shorter than 2^64.
    fn within(&mut self, range: Range<usize>) -> usize {
        range.start + (self.next() % (range.len().max(1) as u64)) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.within(0..i + 1));
        }
    }
}

/// A line of MARKED.
#[derive(Deserialize)]
struct Document {
    text: String,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["segments", tokenizer, docs, master, documents, marked @ ..] => {
            segments(&read_docs(tokenizer, docs)?, &Key::read(master)?, documents.parse()?, marked)
        }
        ["answers", tokenizer, docs, key, documents, answers @ ..] => whole_answers(
            tokenizer,
            &read_docs(tokenizer, docs)?,
            Key::read(key)?,
            documents.parse()?,
            answers,
        ),
        ["power", tokenizer, docs, master, documents, marked @ ..] => {
            power(&read_docs(tokenizer, docs)?, &Key::read(master)?, documents.parse()?, marked)
        }
        ["null", tokenizer, docs, documents] => {
            null(&read_docs(tokenizer, docs)?, documents.parse()?, &synthid::Sha256::default().into())
        }
        ["null", tokenizer, docs, documents, channels] => {
            let scheme = synthid::Sha256V2 { channels: channels.parse()?, ..Default::default() };
            null(&read_docs(tokenizer, docs)?, documents.parse()?, &scheme.into())
        }
        ["attribution", master, keys, marked @ ..] => attribution(&Key::read(master)?, keys.parse()?, marked),
        _ => Err(
            "expected segments, power, null or attribution with their arguments; the source describes them"
                .into(),
        ),
    }
}

/// The unmarked texts as token ids.
fn read_docs(tokenizer: &str, path: &str) -> Result<Vec<Vec<u32>>> {
    let tokenizer = Tokenizer::open(tokenizer)?;
    let mut docs = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        docs.push(tokenizer.encode(&serde_json::from_str::<Document>(line)?.text)?.ids);
    }
    Ok(docs)
}

/// `len` tokens of unmarked texts in random order, with each passage at a random place; and where the passages are.
fn mixed(
    docs: &[Vec<u32>],
    len: usize,
    passages: &[&[u32]],
    random: &mut Random,
) -> (Vec<u32>, Vec<Range<usize>>) {
    let mut background = Vec::with_capacity(len + 1000);
    let mut order: Vec<usize> = (0..docs.len()).collect();
    random.shuffle(&mut order);
    for doc in order.into_iter().cycle() {
        if background.len() >= len {
            break;
        }
        background.extend_from_slice(&docs[doc]);
    }
    background.truncate(len);
    // Each passage in a stretch of its own, so that they do not touch.
    let share = len / passages.len().max(1);
    let (mut ids, mut places, mut from) = (Vec::new(), Vec::new(), 0);
    for (i, passage) in passages.iter().enumerate() {
        let at = i * share + random.within(share / 20..share - share / 20);
        ids.extend_from_slice(&background[from..at]);
        places.push(ids.len()..ids.len() + passage.len());
        ids.extend_from_slice(passage);
        from = at;
    }
    ids.extend_from_slice(&background[from..]);
    (ids, places)
}

/// The largest intersection over union of a passage with a span, 0 if none meets it.
fn overlap(place: &Range<usize>, spans: &[Span]) -> f64 {
    let iou = |span: &Span| {
        let [start, end] = span.tokens.map(|t| t as usize);
        let common = place.end.min(end).saturating_sub(place.start.max(start));
        if common == 0 { 0.0 } else { common as f64 / (place.end.max(end) - place.start.min(start)) as f64 }
    };
    spans.iter().map(iou).fold(0.0, f64::max)
}

/// Spans that meet no passage.
fn false_spans(places: &[Range<usize>], spans: &[Span]) -> usize {
    spans
        .iter()
        .filter(|span| places.iter().all(|place| overlap(place, std::slice::from_ref(span)) == 0.0))
        .count()
}

/// One passage of 400 tokens in 12,000, and five of 80 in 8,000.
fn segments(docs: &[Vec<u32>], master: &Key, documents: usize, marked: &[&str]) -> Result<()> {
    println!(
        "| T | passages | scored tokens in a passage | documents | found at p < 1e-4 | median log10 p | passages found at 1 % | mean IoU | false spans |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for path in marked {
        let rows = read_marked(path)?;
        for (count, len, background) in [(1, 400, 12_000), (5, 80, 8_000)] {
            let mut random = Random(1);
            let rows: Vec<_> =
                rows.iter().filter(|row| row.tokens.len() >= count * len).take(documents).collect();
            let (mut least, mut overlaps, mut found_passages, mut wrong) = (Vec::new(), 0.0, 0, 0);
            let mut scored = 0;
            for row in &rows {
                let passages: Vec<&[u32]> = row.tokens.chunks_exact(len).take(count).collect();
                let (ids, places) = mixed(docs, background, &passages, &mut random);
                let detector = Detector::builder(master.derive(&row.key_label)?).fpr(0.01).build()?;
                let spans = detector.segments(Input::tokens(&ids))?.segments;
                // Generation that repeats itself is not marked where it does.
                scored += detector.score(Input::tokens(&passages.concat()))?.scored_tokens;
                least.push(spans.iter().map(|span| span.log10_p).fold(0.0, f64::min));
                for place in &places {
                    let iou = overlap(place, &spans);
                    overlaps += iou;
                    found_passages += usize::from(iou > 0.0);
                }
                wrong += false_spans(&places, &spans);
            }
            if rows.is_empty() {
                continue;
            }
            least.sort_by(f64::total_cmp);
            let (n, all) = (rows.len(), (rows.len() * count) as f64);
            println!(
                "| {} | {count} x {len} in {background} | {:.0} | {n} | {:.3} | {:.1} | {:.3} | {:.3} | {wrong} |",
                rows[0].temperature,
                scored as f64 / all,
                least.iter().filter(|&&p| p < -4.0).count() as f64 / n as f64,
                least[n / 2],
                found_passages as f64 / all,
                overlaps / all
            );
        }
    }
    Ok(())
}

/// Five whole answers of 80 tokens in 8,000: the beginnings of five answers of one key, each in a channel that the key chose.
fn whole_answers(
    tokenizer: &str,
    docs: &[Vec<u32>],
    key: Key,
    documents: usize,
    answers: &[&str],
) -> Result<()> {
    const LEN: usize = 80;
    println!(
        "| answers | documents | found at p < 1e-4 | median log10 p | answers found at 1 % | mean IoU |"
    );
    println!("|---|---|---|---|---|---|");
    let detector = Detector::builder(key).fpr(0.01).build()?;
    for path in answers {
        let mut answers = read_docs(tokenizer, path)?;
        answers.retain(|ids| ids.len() >= LEN);
        if answers.len() < 5 {
            return Err(format!("{path}: expected 5 answers of {LEN} tokens, found {}", answers.len()).into());
        }
        let mut random = Random(4);
        let (mut least, mut overlaps, mut found) = (Vec::new(), 0.0, 0_usize);
        for _ in 0..documents {
            random.shuffle(&mut answers);
            let passages: Vec<&[u32]> = answers[..5].iter().map(|ids| &ids[..LEN]).collect();
            let (ids, places) = mixed(docs, 8_000, &passages, &mut random);
            let spans = detector.segments(Input::tokens(&ids))?.segments;
            least.push(spans.iter().map(|span| span.log10_p).fold(0.0, f64::min));
            for place in &places {
                let iou = overlap(place, &spans);
                overlaps += iou;
                found += usize::from(iou > 0.0);
            }
        }
        least.sort_by(f64::total_cmp);
        let all = (documents * 5) as f64;
        println!(
            "| {path} | {documents} | {:.3} | {:.1} | {:.3} | {:.3} |",
            least.iter().filter(|&&p| p < -4.0).count() as f64 / documents as f64,
            least[documents / 2],
            found as f64 / all,
            overlaps / all
        );
    }
    Ok(())
}

/// One passage of each length in 12,000 tokens, at family-wise error 1 %.
fn power(docs: &[Vec<u32>], master: &Key, documents: usize, marked: &[&str]) -> Result<()> {
    const LENGTHS: [usize; 11] = [20, 30, 40, 60, 80, 100, 120, 160, 200, 300, 400];
    println!("| T | tokens | documents | found at 1 % | mean IoU where found |");
    println!("|---|---|---|---|---|");
    for path in marked {
        let rows = read_marked(path)?;
        for len in LENGTHS {
            let mut random = Random(2);
            let rows: Vec<_> = rows.iter().filter(|row| row.tokens.len() >= len).take(documents).collect();
            let (mut found, mut overlaps) = (0_usize, 0.0);
            for row in &rows {
                // From anywhere in the text: its beginning is not like the rest.
                let start = random.within(0..row.tokens.len() - len + 1);
                let (ids, places) = mixed(docs, 12_000, &[&row.tokens[start..start + len]], &mut random);
                let detector = Detector::builder(master.derive(&row.key_label)?).fpr(0.01).build()?;
                let iou = overlap(&places[0], &detector.segments(Input::tokens(&ids))?.segments);
                found += usize::from(iou > 0.0);
                overlaps += iou;
            }
            if let Some(first) = rows.first() {
                println!(
                    "| {} | {len} | {} | {:.3} | {:.3} |",
                    first.temperature,
                    rows.len(),
                    found as f64 / rows.len() as f64,
                    overlaps / found.max(1) as f64
                );
            }
        }
    }
    Ok(())
}

/// Unmarked documents, a fresh key for each: the share in which any span is found.
fn null(docs: &[Vec<u32>], documents: usize, scheme: &Scheme) -> Result<()> {
    const RATES: [f64; 3] = [0.1, 0.01, 0.001];
    let mut random = Random(3);
    println!("| documents | tokens | found at 0.1 | at 0.01 | at 0.001 |");
    println!("|---|---|---|---|---|");
    for len in [None, Some(2_000)] {
        let (mut found, mut tokens) = ([0; RATES.len()], 0);
        // Long documents are five times as much work.
        let documents = if len.is_some() { documents / 5 } else { documents };
        for i in 0..documents {
            let ids = match len {
                None => docs[i % docs.len()].clone(),
                Some(len) => mixed(docs, len, &[], &mut random).0,
            };
            tokens += ids.len();
            let secret: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
            let key = Key::new(scheme.clone(), Secret::new(secret.into()))?;
            let spans = Detector::builder(key).fpr(RATES[0]).build()?.segments(Input::tokens(&ids))?.segments;
            // Windows at a lower rate are those that reach it: whatever has p ≤ rate alone is one.
            let least = spans.iter().map(|span| span.p_value).fold(1.0, f64::min);
            for (count, rate) in found.iter_mut().zip(RATES) {
                *count += usize::from(least <= rate);
            }
        }
        println!(
            "| {documents} | {} each | {} | {} | {} |",
            tokens / documents.max(1),
            found[0],
            found[1],
            found[2]
        );
    }
    Ok(())
}

/// Every marked text under one of KEYS derived keys, at several lengths; the same texts under keys that did not mark
/// them; and the time for 400 tokens.
fn attribution(master: &Key, keys: usize, marked: &[&str]) -> Result<()> {
    println!(
        "| T | tokens | texts | right key, alone | no key | another key | largest corrected p of the right key |"
    );
    println!("|---|---|---|---|---|---|---|");
    for path in marked {
        let rows = read_marked(path)?;
        // The texts' own keys, and others to make up the number.
        let own = rows.iter().map(|row| row.key_label.clone());
        let labels: Vec<String> =
            own.chain((rows.len()..keys).map(|number| format!("other-{number}"))).collect();
        let detector = Detector::builder(Keyring::derived(master, labels)?).build()?;
        let without = (0..keys).map(|number| format!("stranger-{number}"));
        let strangers = Detector::builder(Keyring::derived(master, without)?).build()?;
        for len in [25, 50, 100, 200, 400] {
            let rows: Vec<_> = rows.iter().filter(|row| row.tokens.len() >= len).collect();
            let (mut right, mut none, mut wrong, mut largest) = (0, 0, 0, f64::NEG_INFINITY);
            for row in &rows {
                let found = detector.attribute(Input::tokens(&row.tokens[..len]))?.keys;
                let is_own = |name: &Option<String>| name.as_deref() == Some(&row.key_label);
                right += usize::from(found.len() == 1 && is_own(&found[0].name));
                none += usize::from(found.is_empty());
                wrong += usize::from(found.iter().any(|key| !is_own(&key.name)));
                let own = found.iter().find(|key| is_own(&key.name));
                largest = largest.max(own.map_or(0.0, |key| key.log10_p));
            }
            let Some(first) = rows.first() else { continue };
            println!(
                "| {} | {len} | {} | {right} | {none} | {wrong} | 1e{largest:.1} |",
                first.temperature,
                rows.len()
            );
        }
        // The least corrected p of K keys that did not mark the text should be at most a with probability a or less.
        let texts = rows.len().min(200);
        let mut named = [0; 2];
        for row in &rows[..texts] {
            let report = strangers.attribute(Input::tokens(&row.tokens[..row.tokens.len().min(200)]))?;
            let least = report.keys.first().or(report.runner_up.as_ref()).map_or(0.0, |key| key.log10_p);
            named[0] += usize::from(least <= 0.5f64.log10());
            named[1] += usize::from(least <= -1.0);
        }
        println!(
            "\n{texts} texts, {keys} keys that did not mark them: corrected p <= 0.5 for {}, <= 0.1 for {}",
            named[0], named[1]
        );
        let ids: Vec<u32> = rows.iter().flat_map(|row| &row.tokens).copied().take(400).collect();
        let start = Instant::now();
        let report = detector.attribute(Input::tokens(&ids))?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{} keys, {} tokens: {seconds:.3} s on one core\n", report.keys_tried, ids.len());
    }
    Ok(())
}
