//! The program from end to end: real processes, key files and token ids made on the spot.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::rows::{Changes, ErrorRow, GValues, Report};
use support::{Place, key, response};
use wmdetect::scheme::{TextGValues, TokenizerBinding};
use wmdetect::statistics::PKind;
use wmdetect::verdict::Verdict;

const DEFAULT_TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/text/default_tokenizer.json");

#[test]
fn verdicts_and_exit_codes() {
    let place = Place::new();
    place
        .ids("marked", &response(Some(&key(1)), &[], 120, 7))
        .ids("other", &response(Some(&key(2)), &[], 120, 8))
        .ids("plain", &response(None, &[], 120, 9))
        .ids("short", &response(None, &[], 12, 10))
        .ids("empty", &[]);
    let run = place.run("score marked other plain short empty --tokens --json").code(0);
    let reports = run.reports();
    let verdicts: Vec<_> = reports.iter().map(|report| (report.input.as_str(), report.verdict)).collect();
    assert_eq!(
        verdicts,
        [
            ("marked", Verdict::Watermarked),
            ("other", Verdict::NotDetected),
            ("plain", Verdict::NotDetected),
            ("short", Verdict::TooShort),
            ("empty", Verdict::TooShort)
        ]
    );
    assert_eq!((reports[0].tokens, reports[0].scored_tokens), (120, 116));
    let lengths: Vec<_> =
        reports.iter().map(|report| report.effective_tokens.zip(report.required_tokens)).collect();
    assert_eq!(lengths, [None, Some((116, 79)), Some((116, 79)), Some((8, 79)), None]);
    let people = place.run("score short --tokens").code(0).out();
    assert!(people.contains("the scored tokens count as 8, and 79 are needed"), "{people}");
    assert!(reports[0].log10_p.unwrap() < -6.0);
    assert_eq!((reports[0].p_kind, &reports[0].tokenizer), (PKind::Exact, &None));
    assert_eq!((reports[4].score, reports[4].p_value, reports[4].log10_p), (None, None, None));

    place.run("score marked --tokens --exit-code").code(0);
    place.run("score plain --tokens").code(0);
    place.run("score plain short --tokens --exit-code").code(3);
    place.run("score plain marked --tokens --exit-code").code(0);
    place.run("score marked missing --tokens --exit-code").code(1);
    let people = place.run("score marked --tokens").code(0).out();
    assert!(people.starts_with("marked: watermarked (p = "), "{people}");
    // At a rate that only a longer text can reach, the marked one is too short and not "not detected".
    let strict = place.run("score marked --tokens --json --fpr 1e-300").code(0).report();
    assert_eq!((strict.verdict, strict.fpr), (Verdict::TooShort, 1e-300));
    let mean = place.run("score marked --tokens --json --detector mean").code(0).report();
    assert_eq!(mean.score, reports[0].scores.as_ref().unwrap().mean);
}

#[test]
fn text_from_files_and_standard_input() {
    let place = Place::new();
    let text = "The old man went down to the river.";
    place.write("plain", text).write("bom", format!("\u{feff}{text}")).write("latin", b"caf\xe9 is old");
    let reports = place.run("score plain bom latin --json").code(0).reports();
    assert_eq!((reports[0].tokens, reports[1].tokens), (15, 15));
    assert!(reports[0].tokenizer.is_some());
    // The key names no tokenizer; the last text is not UTF-8 either.
    assert_eq!(reports.iter().map(|report| report.warnings.len()).collect::<Vec<_>>(), [1, 1, 2]);
    let piped = place.run_on("score - --json", text.as_bytes()).code(0).report();
    assert_eq!(piped, Report { input: "-".into(), ..reports[0].clone() });
}

#[test]
fn invisible_characters_do_not_hide_a_text() {
    let place = Place::new();
    let text = "The old man went down to the river. Caf\u{e9}.";
    let hidden = text.replace(' ', " \u{200B}").replace("ol", "o\u{AD}l").replace('\u{e9}', "e\u{301}");
    place.write("plain", text).write("hidden", &hidden).write("html", format!("<p>{text}</p>"));
    let reports = place.run("score plain hidden --json").code(0).reports();
    let changes = Changes { zero_width: 8, soft_hyphens: 1, composed: 1, ..Changes::default() };
    assert_eq!((reports[0].normalisation, reports[1].normalisation), (None, Some(changes)));
    assert_eq!(Report { input: "plain".into(), normalisation: None, ..reports[1].clone() }, reports[0]);
    let raw = place.run("score hidden --json --normalise none").code(0).report();
    assert!(raw.normalisation.is_none() && raw.tokens > reports[0].tokens);
    let html = place.run("score html --json --strip html").code(0).report();
    assert_eq!((html.p_value, html.normalisation.unwrap().markup), (reports[0].p_value, 2));
}

/// Nine megabytes, so read in blocks; the tokens are those of the whole.
#[test]
fn a_long_text_is_read_in_blocks() {
    let place = Place::new();
    let line = "The old man went down to the river.\n";
    place.write("long", line.repeat(250_000)).write("short", line.repeat(1_000));
    let [long, short] =
        ["long", "short"].map(|file| place.run(&format!("score {file} --json")).code(0).report());
    assert_eq!((long.tokens, long.scored_tokens), (250 * short.tokens, short.scored_tokens));
    assert_eq!(long.p_value, short.p_value);
}

#[test]
fn a_file_in_the_place_of_the_command_is_named_with_the_command() {
    let place = Place::new();
    place.write("text", "old man");
    let errors = place.run("text").code(2).errors();
    assert!(errors.contains("hint: `wmdetect score text` scores the file"), "{errors}");
    assert!(!place.run("scroe").code(2).errors().contains("scores the file"));
}

#[test]
fn a_rate_may_be_a_percentage_and_options_must_agree() {
    let place = Place::new();
    place.write("text", "old man");
    assert_eq!(place.run("score text --json --fpr 5%").code(0).report().fpr, 0.05);
    for args in ["score text --detector mean --profile pooled", "score text --detector llr --bayesian dir"] {
        assert!(place.run(args).code(2).errors().contains("leave one out"), "{args}");
    }
    let errors = place.run("attribute text --keyring . --label acme").code(2).errors();
    assert!(errors.contains("cannot be used with"), "{errors}");
    let errors = place.run("score text --fpr five").code(2).errors();
    assert!(errors.contains("expected a share such as 0.001 or a percentage such as 0.1%"), "{errors}");
}

#[test]
fn an_error_says_each_cause_once_and_gives_no_advice_on_what_is_not_a_key() {
    let place = Place::new();
    place.write("text", "old man").write("broken.json", "{");
    std::fs::create_dir(place.path("dir")).unwrap();
    for args in [
        "score text --key dir",
        "score text --keyring none",
        "score text --tokenizer none.json",
        "score text --tokenizer broken.json",
        "score text --ignore none",
        "score text --ignore dir",
        "score text --profile none",
        "score text --bayesian none",
        "score text --html none/page.html",
        "score none",
        "score dir",
        "attribute text --master k.bin --labels none",
        "calibrate none --keys 9",
        "train none --output profile",
        "man none",
    ] {
        let run = place.run(args);
        let errors = run.errors();
        for line in errors.lines() {
            let parts: Vec<&str> = line.split(": ").filter(|part| part.len() > 12).collect();
            let distinct: std::collections::HashSet<_> = parts.iter().collect();
            assert_eq!(parts.len(), distinct.len(), "{args}: {line}");
            assert!(line.matches("(os error").count() < 2, "{args}: {line}");
        }
        assert!(!errors.is_empty() && !errors.contains("chmod"), "{args}: {errors}");
    }
    let directory = place.run("score text --key dir").code(2).errors();
    assert!(directory.contains("expected a key file, found a directory"), "{directory}");
    assert!(
        directory.contains(
            "hint: name a key file; --keyring of wmdetect and wmgen verify, and --key of wmgen serve, take a directory"
        ),
        "{directory}"
    );
}

#[test]
fn keys_are_found_and_refused() {
    let place = Place::new();
    place.ids("ids", &response(Some(&key(3)), &[], 100, 1)).write("text", "old man");
    std::fs::create_dir(place.path("ring")).unwrap();
    for seed in [1, 2, 3] {
        key(seed).write(place.path(&format!("ring/{seed}.bin")), false).unwrap();
    }
    let ring = place.run("score ids --tokens --json --keyring ring").code(0).report();
    assert_eq!((ring.keys_tried, ring.key_id, ring.p_kind), (Some(3), key(3).id(), PKind::Conservative));
    let one = place.run("score ids --tokens --json --key ring/3.bin").code(0).report();
    assert!((ring.log10_p.unwrap() - one.log10_p.unwrap() - 3f64.log10()).abs() < 1e-9);

    let binding = TokenizerBinding { name: "gemma-2".into(), fingerprint: [7; 32], rules: None };
    key(1).with_tokenizer(Some(binding)).write(place.path("bound.bin"), false).unwrap();
    let wrong = place.run("score text --key bound.bin").code(2).errors();
    assert!(wrong.contains("gemma-2") && wrong.contains(&key(1).id()), "{wrong}");

    // What an earlier version bound fits by its vocabulary alone.
    let whole = wmdetect::Tokenizer::of_default_model().binding();
    let weak = TokenizerBinding { rules: None, ..whole.clone() };
    for (name, binding, codes) in [("whole", whole, &[][..]), ("weak", weak, &["weak_binding"])] {
        key(1).with_tokenizer(Some(binding)).write(place.path(name), false).unwrap();
        let args = format!("score text --key {name} --tokenizer {DEFAULT_TOKENIZER} --json");
        let report: serde_json::Value = serde_json::from_str(&place.run(&args).code(0).out()).unwrap();
        assert_eq!(report["warning_codes"], serde_json::json!(codes), "{name}");
    }

    // Token ids need no tokenizer, but one that is given must fit.
    place.run("score ids --tokens --key bound.bin").code(0);
    place.run("score ids --tokens --key bound.bin --tokenizer tokenizer.json").code(2);

    assert!(place.run("score ids --tokens --key none.bin").code(2).errors().contains("none.bin"));
    assert!(place.run("score ids --tokens --fpr 2").code(2).errors().contains("between 0 and 1"));
    std::fs::create_dir(place.path("empty")).unwrap();
    let empty = place.run("score ids --tokens --keyring empty").code(2).errors();
    assert!(empty.contains("expected at least one") && empty.contains("hint: `wmgen keygen"), "{empty}");
    place.run("score ids --tokens --key k.bin --keyring ring").code(2);
    place.run("score").code(2);
    // 32 bytes that may be anything.
    place.write("ring/notes", [b'x'; 32]);
    let notes = place.run("score ids --tokens --keyring ring").code(2).errors();
    assert!(notes.contains("ring/notes") && notes.contains("ends in .bin or .key"), "{notes}");
    place.write("ring/notes.key", [b'x'; 32]);
    std::fs::remove_file(place.path("ring/notes")).unwrap();
    let ring = place.run("score ids --tokens --json --keyring ring").code(0).report();
    assert_eq!(ring.keys_tried, Some(4));
    // Without any, the default model's, which is said.
    std::fs::remove_file(place.path("tokenizer.json")).unwrap();
    let report = place.run("score text --json").code(0).report();
    assert_eq!(report.tokenizer.as_deref(), Some(wmdetect::text::DEFAULT_MODEL));
    assert!(report.warnings[0].contains(wmdetect::text::DEFAULT_MODEL), "{:?}", report.warnings);
    std::fs::remove_file(place.path("k.bin")).unwrap();
    assert!(place.run("score ids --tokens").code(2).errors().contains("WMDETECT_KEY"));
    let output = Command::new(env!("CARGO_BIN_EXE_wmdetect"))
        .args(["score", "ids", "--tokens"])
        .current_dir(place.0.path())
        .env("WMDETECT_KEY", "ring/1.bin")
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.ids("ids", &[1, 2, 3]);
    assert_eq!(place.run("score ids --tokens").code(0).errors(), "");
    std::fs::set_permissions(place.path("k.bin"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(place.run("score ids --tokens").code(0).errors().contains("chmod 600"));
}

#[test]
fn json_lines_go_on_after_a_bad_one() {
    let place = Place::new();
    let marked = response(Some(&key(1)), &[], 100, 4);
    let input = format!(
        "{{\"id\": \"a\", \"tokens\": {marked:?}}}\n\nnot json\n{{\"id\": 7}}\n{{\"id\": 8, \"tokens\": \"text\"}}\n\
         {{\"tokens\": [1, 2]}}\n"
    );
    let run = place.run_on("score - --jsonl --tokens --json", input.as_bytes()).code(1);
    let out = run.out();
    let rows: Vec<&str> = out.lines().collect();
    let report = |row: &str| serde_json::from_str::<Report>(row).unwrap();
    let error = |row: &str| serde_json::from_str::<ErrorRow>(row).unwrap();
    assert_eq!(rows.len(), 5);
    assert_eq!((report(rows[0]).input.as_str(), report(rows[0]).verdict), ("a", Verdict::Watermarked));
    assert_eq!(error(rows[1]).input, "-:3");
    assert_eq!(error(rows[2]).input, "7");
    assert!(error(rows[2]).error.contains("\"tokens\"") && error(rows[2]).error.contains("--field"));
    assert!(error(rows[3]).error.contains("a string"));
    assert_eq!(report(rows[4]).input, "-:6");

    place.write("in.jsonl", "{\"body\": \"old man\", \"n\": \"x\"}\n");
    let named = place.run("score in.jsonl --jsonl --field body --id-field n --json").code(0).report();
    assert_eq!(named.input, "x");
    place.run("score in.jsonl --field body").code(2);
    let long = place.run("score in.jsonl --jsonl --json --max-line 0").code(1);
    let error: ErrorRow = serde_json::from_str(&long.out()).unwrap();
    assert!(error.input == "in.jsonl:1" && error.error.contains("--max-line"), "{error:?}");
}

#[test]
fn token_ids_as_one_array_or_one_a_line() {
    let place = Place::new();
    place.write("one", "[1,\n 2,\n 3]\n").write("many", "[1, 2]\n\n[3]\nx\n");
    assert_eq!(place.run("score one --tokens --json").code(0).report().tokens, 3);
    let out = place.run("score many --tokens --json").code(1).out();
    let inputs: Vec<String> = out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["input"].as_str().unwrap().into()
        })
        .collect();
    assert_eq!(inputs, ["many:1", "many:3", "many:4"]);
    place.write("negative", "[1, -2]");
    assert!(place.run("score negative --tokens").code(1).errors().contains("token ids"));
}

#[test]
fn g_values_are_the_librarys() {
    let place = Place::new();
    // A repeated context, so that the mask has a 0.
    let ids = [5, 6, 7, 8, 9, 5, 6, 7, 8, 1, 2];
    place.ids("ids", &ids);
    let row: GValues = serde_json::from_str(&place.run("gvalues ids --tokens --json").code(0).out()).unwrap();
    let values = TextGValues::new(&key(1).prf(), &[], &ids);
    assert_eq!((row.ngram_len, row.depth, row.mask.as_str()), (5, Some(30), "1111101"));
    let g_bits = row.g_bits.unwrap();
    assert_eq!(g_bits, values.g.iter().map(|g| g.to_string(30)).collect::<Vec<_>>());
    let people = place.run("gvalues ids --tokens").code(0).out();
    assert!(people.starts_with(&format!("4\t1\t{}\n", g_bits[0])));
    place.write("text", "The old man went down to the river.");
    let row: GValues = serde_json::from_str(&place.run("gvalues text --json").code(0).out()).unwrap();
    assert_eq!(row.mask.len(), 11);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    place.write("ids", "[1, 2, 3]\n".repeat(20_000));
    let mut child = Command::new(env!("CARGO_BIN_EXE_wmdetect"))
        .args(["score", "ids", "--tokens", "--json"])
        .current_dir(place.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_standard_output() {
    let place = Place::new();
    place.write("text", "words that nobody marked\n");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wmdetect"))
        .args(["score", "text"])
        .current_dir(place.0.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("error: cannot write to standard output: "), "{errors}");
}

#[test]
fn a_run_over_several_texts_says_what_it_came_to() {
    let place = Place::new();
    place.ids("marked", &response(Some(&key(1)), &[], 120, 7)).ids("plain", &response(None, &[], 120, 9));
    let run = place.run("score marked plain no1 plain no2 no3 --tokens").code(1);
    let errors = run.errors();
    let lines: Vec<&str> = errors.lines().collect();
    assert!(lines[0].starts_with("error: no1: cannot read it"), "{errors}");
    assert!(lines[1].starts_with("error: no2, no3: as no1: cannot read it"), "{errors}");
    assert_eq!(
        lines[2..],
        [
            "6 texts: 1 watermarked, 2 not_detected, 3 failed; chance alone finds up to 0.003 on average in 3 unmarked texts at \
          the rate 0.001"
        ]
    );
    assert_eq!(place.run("score marked --tokens").code(0).errors(), "", "one text has no summary");

    let rows: Vec<String> = (0..200).map(|n| format!("{{\"body\": \"the sea {n}\"}}")).collect();
    place.write("t.jsonl", rows.join("\n"));
    for command in ["score", "segments", "attribute --master k.bin --label a", "gvalues", "calibrate"] {
        let run = place.run(&format!("{command} --jsonl t.jsonl"));
        let errors = run.errors();
        let lines: Vec<&str> = errors.lines().collect();
        assert!(lines[0].starts_with("error: t.jsonl:1: no field \"text\""), "{command}: {errors}");
        assert!(lines[1].starts_with(
            "error: t.jsonl:2, t.jsonl:3, t.jsonl:4, t.jsonl:5, t.jsonl:6 and 194 others: as t.jsonl:1: no field"
        ));
        assert_eq!(lines[2], "200 texts: 200 failed", "{errors}");
    }
    let json = place.run("score --jsonl t.jsonl --json").code(1);
    assert_eq!(
        (json.out().lines().count(), json.errors().lines().count()),
        (200, 1),
        "a row each, and the summary"
    );
    assert!(
        json.errors().starts_with("200 texts: 200 failed, all alike: no field \"text\""),
        "{}",
        json.errors()
    );
    let forgotten = place.run("score t.jsonl").code(0).errors();
    assert!(forgotten.contains("looks like JSON lines") && forgotten.contains("--jsonl"), "{forgotten}");
    let forgotten = place.run("score t.jsonl --tokens").code(1).errors();
    assert!(forgotten.contains("--jsonl") && forgotten.lines().count() == 4, "{forgotten}");
}

/// `%` is a name with a line break that forges a verdict, a sequence that a terminal obeys, and a mark that turns the
/// direction of writing.
#[cfg(unix)]
#[test]
fn no_name_is_obeyed_by_a_terminal() {
    const NAME: &str = "a\nforged: watermarked\u{1b}[31m\u{202e}b\u{9b}2J";
    let place = Place::new();
    let in_name = |name: &str| name.replace('%', NAME);
    std::fs::create_dir(place.path(&in_name("%.keys"))).unwrap();
    key(1).write(place.path(&in_name("%.keys/%.bin")), false).unwrap();
    std::fs::set_permissions(
        place.path(&in_name("%.keys/%.bin")),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    place.write(&in_name("%.txt"), "the old man went down to the sea, and the sea was old. ".repeat(8));
    place.ids(&in_name("%.ids"), &response(Some(&key(1)), &[], 300, 1));
    let id = serde_json::to_string(NAME).unwrap();
    let row =
        format!("{{\"id\": {id}, \"text\": \"the sea\"}}\n{{\"id\": {id}, \"body\": 1, {id}: 2}}\n{{\n");
    place.write(&in_name("%.jsonl"), row);
    place.write(&in_name("%.pdf"), "%PDF-1.7\n");
    for (command, code) in [
        ("score|%.txt|%.pdf|no%|--html|%.page", 1),
        ("score|--jsonl|%.jsonl|--view", 1),
        ("score|%.ids", 0),
        ("score|--tokens|%.ids|--keyring|%.keys", 0),
        ("score|--tokens|%.ids|--key|no%", 2),
        ("score|--tokens|%.ids|--key|%.txt", 2),
        ("score|%.txt|--html|%.txt", 2),
        ("score|%.txt|--tokenizer|no%", 2),
        ("score|%.txt|--profile|no%", 2),
        ("score|%.txt|--bayesian|no%", 2),
        ("score|%.txt|--ignore|no%", 2),
        ("score|--jsonl|%.jsonl|--field|%", 1),
        ("segments|%.txt|--jsonl|%.jsonl", 1),
        ("segments|--tokens|%.ids|--keyring|%.keys", 0),
        ("attribute|--tokens|%.ids|--keyring|%.keys", 0),
        ("attribute|--tokens|%.ids|--master|k.bin|--label|%", 0),
        ("attribute|--tokens|%.ids|--master|k.bin|--labels|no%", 2),
        ("attribute|--tokens|%.ids|--master|k.bin|--label-range|%", 2),
        ("calibrate|%.txt|no%|--html|%.html|--keys|20|--seed|1", 1),
        ("gvalues|%.txt|no%", 1),
        ("train|%.jsonl|-o|%.other", 2),
        ("man|no%", 2),
        ("%", 2),
        ("%.txt", 2),
        ("score|--fpr=%|%.txt", 2),
    ] {
        let command = command.replace('%', NAME);
        let run = place.run_args(command.split('|'), b"").code(code);
        for shown in [run.out(), run.errors()] {
            let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
            assert!(!shown.contains(obeyed) && !shown.contains("\nforged"), "{command:?}: {shown:?}");
        }
    }
}

#[test]
fn completions_man_pages_and_help() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&format!("completions {shell}")).code(0).out().contains("exit-code"));
    }
    std::fs::create_dir(place.path("man")).unwrap();
    place.run("man man").code(0);
    assert!(place.path("man/wmdetect-score.1").exists());
    // UPDATE_SNAPSHOTS=1 rewrites them; read the difference before you commit it.
    for (name, args) in [
        ("help", "--help"),
        ("score", "score --help"),
        ("gvalues", "gvalues --help"),
        ("segments", "segments --help"),
        ("attribute", "attribute --help"),
        ("calibrate", "calibrate --help"),
        ("attack", "attack --help"),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt"));
        let found = place.run(args).code(0).out();
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&file, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&file).unwrap(), "{}", file.display());
    }
}

#[test]
fn the_cache_is_shown_and_cleared() {
    let place = Place::new();
    let shown = place.run("cache show").code(0).out();
    assert!(shown.contains("cache: 0 files, 0.0 MB"), "{shown}");
    // A vocabulary that is large enough to be kept.
    let mut json = std::fs::read("tests/fixtures/tokenizer/tokenizer.json").unwrap();
    json.resize(1 << 17, b' ');
    place.write("large.json", json).write("text", "The old man went down to the river.");
    std::fs::write(place.path("k.bin"), [7; 32]).unwrap();
    place.run("score text --tokenizer large.json").code(0);
    let shown: serde_json::Value =
        serde_json::from_str(&place.run("cache show --json").code(0).out()).unwrap();
    assert_eq!((&shown["entries"][0]["kind"], &shown["not_used"]), (&"vocabulary".into(), &().into()));
    assert_eq!(shown["entries"][0]["unused_days"], 0);
    #[cfg(unix)]
    {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(place.path("cache"), open).unwrap();
        let shown = place.run("cache show").code(0).out();
        assert!(
            shown.contains("nothing in it is used: expected that only its owner can write to it"),
            "{shown}"
        );
    }
    let cleared = place.run("cache clear").code(0).out();
    assert!(cleared.starts_with("1 file, 0.") && cleared.contains("removed from"), "{cleared}");
    assert!(place.run("cache show").code(0).out().contains("0 files"));
}
