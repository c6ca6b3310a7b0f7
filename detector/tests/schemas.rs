//! What the commands print with `--json` conforms to what `wmdetect schema` says of it.

mod support;

use serde_json::json;
use support::{Place, key, marked_words_from, tokenizer};
use wmdetect::text::Tokenizer;

/// Runs a command, and holds each line that it prints to the schema of `what`.
#[track_caller]
fn conforms(place: &Place, what: &str, command: &str, code: i32) -> String {
    let out = place.run(command).code(code).out();
    place.conform(what, &out);
    out
}

#[test]
fn every_line_of_json_conforms_to_its_schema() {
    let place = Place::new();
    let tokenizer = Tokenizer::open(tokenizer()).unwrap();
    let marked = |seed| marked_words_from(&key(1), &tokenizer, 60, seed);
    let line = |seed: u64| json!({ "id": seed, "text": marked(seed) }).to_string();
    let lines = (0..6).map(line).collect::<Vec<_>>().join("\n");
    place.write("marked", marked(1)).write("marked.jsonl", lines).write("short", "old\u{a0}man \u{200b}");
    place.write("human", "The old man went down to the river.\n".repeat(9));
    place.run("report keygen sign.key").code(0);
    place.write("public", place.run("report key sign.key").code(0).out());

    let out = conforms(&place, "score", "score --json --sign sign.key marked short human", 0);
    place.write("signed", out.lines().next().unwrap());
    conforms(&place, "score", "score --json --detector llr marked", 0);
    conforms(&place, "score", "score --json --detector bayesian marked", 0);
    conforms(&place, "error", "score --json none", 1);
    conforms(&place, "segments", "segments --json marked short", 0);
    conforms(&place, "attribute", "attribute --json --master k.bin --label a --label b marked short", 0);
    conforms(&place, "gvalues", "gvalues --json marked short", 0);
    conforms(&place, "calibrate", "calibrate --json --keys 9 --seed 1 human short", 0);
    conforms(
        &place,
        "attack",
        "attack --json marked.jsonl --jsonl --human marked.jsonl --edit delete=0.5 --length 16",
        0,
    );
    conforms(&place, "train", "train --json marked.jsonl -o profile", 0);
    conforms(&place, "key-show", "key show --json k.bin", 0);
    conforms(&place, "cache-show", "cache show --json", 0);
    conforms(&place, "report-verify", "report verify --json signed --public-key public --text marked", 0);
    conforms(&place, "report-verify", "report verify --json marked.jsonl --public-key public", 1);
}
