//! Whether the compiled encoder cuts texts as the `tokenizers` library does, token for token and offset for offset:
//! over files, and over random strings of what is hard. Prints counts; ends with 1 at the first difference.
//!
//! ```sh
//! cargo run --release -p wmgen-research --bin encoder_equality -- tokenizer.json FILE... < /dev/null
//! ```
//!
//! A FILE is plain text or, if it ends in `.jsonl`, one JSON object with a `text` a line; `-` is standard input. Texts
//! are compared in blocks of 256 KiB, since the library takes some hundred times a text's size in memory.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

use wmdetect::split_mix;
use wmdetect::text::Tokenizer;
use wmdetect::text::blocks::{BLOCK_LEN, Blocks};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(path) = args.next() else {
        eprintln!("usage: encoder_equality TOKENIZER.json FILE...");
        return ExitCode::from(2);
    };
    let mut check = Check {
        ours: Tokenizer::open(&path).expect("a tokenizer"),
        theirs: {
            let mut theirs = tokenizers::Tokenizer::from_file(&path).expect("a tokenizer");
            theirs.set_encode_special_tokens(true);
            theirs.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
            theirs
        },
        texts: 0,
        bytes: 0,
        tokens: 0,
    };
    println!("{path}: {:?}", check.ours);
    for seed in 0..20_000 {
        if !check.text(&random(seed)) {
            return ExitCode::FAILURE;
        }
    }
    for part in [
        "a",
        " ",
        "▁",
        "é",
        "\n",
        "\t",
        "=",
        "😀",
        "ab",
        "aab ",
        "the ",
        "字",
        "ा",
        "\u{10FFFF}",
        ">▁</",
        "> </",
    ] {
        for len in [1, 2, 31, 32, 33, 1000, 20_000] {
            if !check.text(&part.repeat(len)) {
                return ExitCode::FAILURE;
            }
        }
    }
    check.report("random strings and long runs");
    for path in args {
        let input: Box<dyn Read> = if path == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(std::fs::File::open(&path).expect("a readable file"))
        };
        let same = if Path::new(&path).extension().is_some_and(|extension| extension == "jsonl") {
            BufReader::new(input).lines().all(|line| {
                let line: serde_json::Value =
                    serde_json::from_str(&line.expect("UTF-8")).expect("JSON lines");
                check.text(line["text"].as_str().expect("a text"))
            })
        } else {
            let mut blocks = Blocks::new(input, BLOCK_LEN);
            std::iter::from_fn(|| blocks.next_block().expect("readable"))
                .all(|block| check.text(&String::from_utf8_lossy(&block)))
        };
        if !same {
            return ExitCode::FAILURE;
        }
        check.report(&path);
    }
    ExitCode::SUCCESS
}

struct Check {
    ours: Tokenizer,
    theirs: tokenizers::Tokenizer,
    texts: u64,
    bytes: u64,
    tokens: u64,
}

impl Check {
    fn text(&mut self, text: &str) -> bool {
        let ours = self.ours.encode(text).expect("tokens");
        let theirs = self.theirs.encode(text, false).expect("tokens");
        let offsets = theirs.get_offsets().iter().map(|&(start, end)| start..end);
        self.texts += 1;
        self.bytes += text.len() as u64;
        self.tokens += ours.ids.len() as u64;
        let same = ours.ids == theirs.get_ids() && offsets.eq(ours.offsets.iter().cloned());
        if !same {
            let at = ours.ids.iter().zip(theirs.get_ids()).take_while(|(a, b)| a == b).count();
            println!(
                "different at token {at} of {} in text {}: {:?} and {:?} in {:?}",
                ours.ids.len(),
                self.texts,
                ours.ids.get(at),
                theirs.get_ids().get(at),
                text.chars().take(2000).collect::<String>(),
            );
        }
        same
    }

    fn report(&self, what: &str) {
        println!(
            "equal up to the end of {what}: {} texts, {} bytes, {} tokens",
            self.texts, self.bytes, self.tokens
        );
    }
}

/// A random string of what is hard: added tokens and what looks like them, spaces in both spellings, runs, scripts,
/// characters that no vocabulary has.
fn random(seed: u64) -> String {
    const PARTS: [&str; 40] = [
        "a",
        "e",
        "the",
        " the",
        " ",
        "  ",
        "▁",
        "▁▁",
        "\n",
        "\n\n",
        "\t",
        "\r\n",
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        "<start_of_turn>user",
        "<unused7>",
        "<unused",
        "<table>",
        "</td>",
        "<",
        ">",
        "<0x41>",
        "[@BOS@]",
        "1234567",
        ";\r",
        "> </",
        "don't",
        "naïve",
        "e\u{301}",
        "Привет",
        "你好世界",
        "नमस्ते",
        "مرحبا",
        "👩‍👩‍👧",
        "🇪🇺",
        "\u{200B}",
        "=====",
        "ﷺ",
        "\u{0}",
    ];
    let mut state = seed;
    let mut next = |below: usize| (split_mix::next(&mut state) % below as u64) as usize;
    let mut text = String::new();
    for _ in 0..next(30) {
        match next(8) {
            0 => text.extend(std::iter::repeat_n(PARTS[next(PARTS.len())], next(40))),
            1 => text.extend(char::from_u32(next(0x11_0000) as u32)),
            2 => text.extend(char::from_u32(next(0x3000) as u32)),
            3 => text.extend((0..next(12)).map(|_| char::from(b' ' + next(95) as u8))),
            _ => text.push_str(PARTS[next(PARTS.len())]),
        }
    }
    text
}
