//! The commands that look closer, from end to end: marked passages, which key, calibration, the page and the view.

mod support;

#[cfg(unix)]
use std::io::{BufRead, BufReader, Read};
#[cfg(unix)]
use std::process::Command;

use sha2::{Digest, Sha256};
use support::rows::{Attribution, CalibrationReport, GValues, Report, SegmentsReport};
use support::{Place, key, marked_words, response, tokenizer};
use wmdetect::report::WarningCode;
use wmdetect::statistics::Method;
use wmdetect::text::Tokenizer;
use wmdetect::verdict::Verdict;

#[test]
fn calibration_ranks_the_key_and_lists_boilerplate() {
    let place = Place::new();
    let boilerplate = "the old man said that the river was high, ";
    let own = |i: usize| format!("old river {i} man {} said {}", i * 7, "down ".repeat(i % 5 + 1));
    let rows = |count: usize| -> String {
        let text = |i: usize| if i.is_multiple_of(2) { format!("{boilerplate}{}", own(i)) } else { own(i) };
        let rows: Vec<String> =
            (0..count).map(|i| serde_json::json!({ "text": text(i) }).to_string()).collect();
        rows.join("\n")
    };
    place.write("corpus.jsonl", rows(40));
    let args = "calibrate corpus.jsonl --jsonl --fpr 0.1 --keys 99 --seed 5";
    let run = place.run(&format!("{args} --json --html page.html --write-ignore known.json")).code(0);
    let report: CalibrationReport = serde_json::from_str(&run.out()).unwrap();
    assert_eq!((report.documents, report.random_keys, report.seed, report.failed), (40, 99, 5, 0));
    assert_eq!(report.random_flagged.len(), 99);
    assert!(report.rank_p >= 0.01 && !report.worse_than_chance);
    assert!(report.warnings.iter().any(|warning| warning.contains("999")), "{:?}", report.warnings);
    let has_it =
        |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains("the river was high"));
    let shared = report.shared.passages.iter().find(|passage| has_it(&passage.text));
    assert!(shared.is_some_and(|passage| passage.documents >= 10), "{:?}", report.shared.passages);
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains(&key(1).id()) && page.contains("the river was high"));
    assert!(place.run(args).code(0).out().contains("rank p = "));

    // What calibrate wrote, score and calibrate leave out.
    let without: CalibrationReport =
        serde_json::from_str(&place.run(&format!("{args} --json --ignore known.json")).code(0).out())
            .unwrap();
    assert!(without.ignored_tokens > 0 && without.shared.passages.is_empty(), "{without:?}");
    place.write("one", format!("{boilerplate}{}", own(3))).write("plain", boilerplate.trim());
    let all = place.run("score one --json").code(0).report();
    for file in ["known.json", "plain"] {
        let some = place.run(&format!("score one --json --ignore {file}")).code(0).report();
        let ignored = some.ignored_tokens.unwrap();
        assert!(ignored > 5 && some.scored_tokens + ignored == all.scored_tokens, "{file}: {some:?}");
    }
    assert_eq!(all.ignored_tokens, None);
    assert!(place.run("score one --ignore plain").out().contains(" left out as boilerplate"));

    // A corpus that the key itself marked, one bad line in it.
    let marked: Vec<String> =
        (0..10).map(|i| format!("{{\"tokens\": {:?}}}", response(Some(&key(1)), &[], 60, i))).collect();
    place.write("marked.jsonl", marked.join("\n") + "\nx\n");
    let run = place.run("calibrate marked.jsonl --jsonl --tokens --fpr 0.1 --seed 1 --json").code(3);
    let report: CalibrationReport = serde_json::from_str(&run.out()).unwrap();
    assert_eq!((report.random_keys, report.failed, report.worse_than_chance), (999, 1, true));
    assert!(run.errors().contains("marked.jsonl:11"));
    place.run("calibrate marked.jsonl --jsonl --tokens --fpr 0.1 --keys 19").code(1);
    place.run_on("calibrate - --jsonl", b"").code(2);
    place.run("calibrate corpus.jsonl --jsonl --fpr 0").code(2);
}

/// Signals come while texts are judged: a note says by then how long all of them take.
#[cfg(unix)]
#[test]
fn an_interrupted_calibration_reports_the_texts_so_far() {
    let place = Place::new();
    // Enough for the run to last, however many processors it has.
    let texts = 200 * std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let rows: Vec<String> =
        (0..texts).map(|i| format!("{{\"tokens\":{:?}}}", response(None, &[], 60, i))).collect();
    place.write("corpus.jsonl", rows.join("\n"));
    for signal in ["-INT", "-TERM"] {
        let args = "calibrate corpus.jsonl --jsonl --tokens --keys 100000 --json --write-ignore known.json";
        let mut child = place.command(args).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut note = String::new();
        errors.read_line(&mut note).unwrap();
        assert!(
            note.starts_with(&format!("note: {texts} texts under 100000 random keys take about ")),
            "{note}"
        );
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}");
        let report: CalibrationReport = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            (1..texts).contains(&report.documents) && report.documents_given == Some(texts),
            "{report:?}"
        );
        assert_eq!(report.random_flagged.len(), 100_000);
        assert!(report.warning_codes.contains(&WarningCode::Interrupted), "{:?}", report.warning_codes);
        let mut rest = String::new();
        errors.read_to_string(&mut rest).unwrap();
        let said = format!("interrupted: the report is of the first {} of {texts} texts", report.documents);
        assert_eq!(rest, format!("{said}, and the ignore file is not written\n"));
        assert!(!place.path("known.json").exists());
    }
}

/// The flags that choose a statistic mean the same to both commands.
#[test]
fn calibrate_flags_what_score_calls_watermarked() {
    let place = Place::new();
    let rows: Vec<String> =
        (0..60).map(|i| format!("{{\"tokens\": {:?}}}", response(None, &[], 40, i))).collect();
    place.write("corpus.jsonl", rows.join("\n"));
    let flagged = |detector: &str| -> u64 {
        let input = format!("corpus.jsonl --jsonl --tokens --fpr 0.3 --json {detector}");
        let calibrated = place.run(&format!("calibrate {input} --keys 9 --seed 1")).code(0).out();
        let calibrated: CalibrationReport = serde_json::from_str(&calibrated).unwrap();
        assert_eq!(calibrated.detector, Method::Llr, "{detector}");
        let rows = place.run(&format!("score {input}")).code(0).out();
        let found = rows.lines().filter(|row| row.contains(r#""verdict":"watermarked""#)).count() as u64;
        assert_eq!(calibrated.flagged, found, "{detector}");
        found
    };
    // Texts that have forms, and one of which the marked form is the second.
    let typeset = |text: String| text.replace(' ', "\u{A0}").replace('"', "\u{201D}");
    let words = |i: usize| format!("\"old\" river {i} man \"{}\" said down {}", i * 7, i * 31);
    let mut texts: Vec<String> = (0..30).map(|i| typeset(words(i))).collect();
    texts.push(typeset(marked_words(&key(1), &Tokenizer::open(tokenizer()).unwrap(), 60)));
    let rows: Vec<String> =
        texts.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    place.write("typeset.jsonl", rows.join("\n"));
    let input = "typeset.jsonl --jsonl --fpr 0.2 --json";
    let calibrated = place.run(&format!("calibrate {input} --keys 9 --seed 1")).code(0).out();
    let calibrated: CalibrationReport = serde_json::from_str(&calibrated).unwrap();
    let reports = place.run(&format!("score {input}")).code(0).reports();
    assert!(reports.iter().all(|report| report.forms_tried.is_some()));
    let found = reports.iter().filter(|report| report.verdict == Verdict::Watermarked).count() as u64;
    assert_eq!((calibrated.flagged, reports[30].verdict), (found, Verdict::Watermarked));
    let pooled = flagged("--detector llr");
    assert_eq!(flagged("--profile pooled"), pooled);
    assert!(["t1.0", "t0.35"].iter().any(|profile| flagged(&format!("--profile {profile}")) != pooled));
}

#[test]
fn segments_in_text_have_the_bytes_of_their_tokens() {
    let place = Place::new();
    let tokenizer = Tokenizer::open(tokenizer()).unwrap();
    let background = "The old man went down to the river, and he said é to the boat. ".repeat(8);
    let passage = marked_words(&key(1), &tokenizer, 120);
    let text = format!("{background}{passage} {background}");
    place.write("text", &text);
    let run = place.run("segments text --json").code(0);
    let report: SegmentsReport = serde_json::from_str(&run.out()).unwrap();
    let [start, end] = report.segments[0].bytes.unwrap().map(|byte| byte as usize);
    let encoded = tokenizer.encode(&text).unwrap();
    let [first, last] = report.segments[0].tokens.map(|token| token as usize);
    assert_eq!((start, end), (encoded.offsets[first].start, encoded.offsets[last - 1].end));
    assert!(start.abs_diff(background.len()) < 60, "{report:?}");
    assert_eq!(place.run("score text --json").code(0).report().spans, report.segments);
    assert!(place.run("segments text").code(0).out().contains("marked passage"));
    // Quoted on a page, among what could not be read.
    place.run("segments text missing --html passages.html").code(1);
    let page = std::fs::read_to_string(place.path("passages.html")).unwrap();
    let quoted = format!("<span class=\"s\">{}</span>", &text[start..end]);
    assert!(page.contains(&quoted) && page.contains("1 marked passage was found"), "{page}");
    assert!(page.contains("missing") && page.contains("Could not be read"), "{page}");
    // A verdict on the whole does not hide the passage.
    let sentence = |i: usize| format!("{} old men of {} said {}. ", i * 7_919, i * 104_729, i * i * 31);
    let around: String = (1..900).map(sentence).collect();
    place.write("long", format!("{around}{passage} {around}"));
    let whole = place.run("score long --html long.html").code(0).out();
    assert!(whole.starts_with("long: not detected (p = "), "{whole}");
    assert!(
        whole.contains("\n  marked passages: bytes ") && whole.contains("\n  hint: `wmdetect segments`"),
        "{whole}"
    );
    let page = std::fs::read_to_string(place.path("long.html")).unwrap();
    assert!(page.contains("but a passage in it does"));
    place.write("plain", &background);
    place.run("segments plain --exit-code").code(3);
    place.run("segments plain text --exit-code").code(0);
}

/// What word processors, web pages and Windows do to a text.
#[test]
fn a_text_with_typographic_characters_is_found_and_the_report_says_what_was_changed() {
    let place = Place::new();
    let marked = marked_words(&key(1), &Tokenizer::open(tokenizer()).unwrap(), 100);
    // Quotes, dashes and line ends among the marked words.
    let plain = marked.replace(" man", " \"man\"").replace(" sea", " sea -").replace(" day", " day\n");
    let typeset = plain.replace(" \"", " \u{201C}").replace('"', "\u{201D}").replace('-', "\u{2013}");
    let typeset = typeset.replace(' ', "\u{202F}").replace('\n', "\r\n");
    place.write("plain", &plain).write("typeset", &typeset);
    let before = place.run("score plain --json").code(0).report();
    let after = place.run("score typeset --json").code(0).report();
    assert_eq!((before.verdict, before.forms_tried), (Verdict::Watermarked, None));
    assert_eq!((after.verdict, after.forms_tried), (Verdict::Watermarked, Some(3)));
    let paid = after.log10_p.unwrap() - before.log10_p.unwrap();
    assert!((paid - 3f64.log10()).abs() < 1e-9, "{paid}");
    let changes = after.normalisation.unwrap();
    let count = |c: char| plain.matches(c).count() as u64;
    assert_eq!((changes.spaces, changes.quotes), (count(' '), count('"')));
    assert_eq!((changes.dashes, changes.line_ends), (count('-'), count('\n')));
    assert!(changes.quotes > 0 && changes.dashes > 0 && changes.line_ends > 0, "{changes:?}");
    let people = place.run("score typeset").code(0).out();
    assert!(people.contains(&format!("  changed before scoring: {} spaces, ", changes.spaces)), "{people}");
    assert!(people.contains(" dashes; this is the best of the text's 3 forms"), "{people}");
    assert_ne!(
        place.run("score typeset --normalise none --json").code(0).report().verdict,
        Verdict::Watermarked
    );

    // The g-values are those of the text as it was given, and that is said.
    let values: GValues = serde_json::from_str(&place.run("gvalues typeset --json").code(0).out()).unwrap();
    assert_eq!((values.forms, values.normalisation.is_none()), (Some(3), true));
    assert!(place.run("gvalues typeset").code(0).errors().contains("as it was given"));
    assert_eq!(place.run("gvalues plain").code(0).errors(), "");
}

#[test]
fn where_nothing_was_found_the_option_that_would_find_the_mark_is_named_and_not_counted() {
    let place = Place::new();
    let marked = marked_words(&key(1), &Tokenizer::open(tokenizer()).unwrap(), 100);
    let fold = marked.replace('a', "\u{430}");
    let markdown = format!("**{}**", marked.split(' ').collect::<Vec<_>>().join("** **"));
    let zero_width: String = marked.chars().flat_map(|c| [c, '\u{200B}']).collect();
    for (text, given, option) in [
        (&fold, "", "--fold-confusables"),
        (&markdown, "", "--strip markdown"),
        (&zero_width, "--normalise none", "--normalise default"),
    ] {
        place.write("text", text);
        place.write("rows", serde_json::json!({ "text": text }).to_string());
        let row = place.run(&format!("score rows --jsonl --json {given}")).code(0).report();
        let report = place.run(&format!("score text --json {given}")).code(0).report();
        assert_eq!((report.verdict, report.log10_p), (Verdict::NotDetected, row.log10_p), "{option}");
        assert_eq!(report.warning_codes.last(), Some(&WarningCode::OtherNormalisation));
        assert!(
            !row.warning_codes.contains(&WarningCode::OtherNormalisation),
            "many texts are not tried again"
        );
        let sentence = report.warnings.last().unwrap();
        assert!(sentence.starts_with(option) && sentence.contains("do not count"), "{sentence}");
        let people = place.run(&format!("score text {given}")).code(0).out();
        assert!(people.contains(&format!("\n  hint: {sentence}\n")), "{people}");
        let found = place.run(&format!("score text --json {given} {option}")).0.status.code();
        // `--normalise` cannot be given twice.
        assert_eq!(found, Some(if given.is_empty() { 0 } else { 2 }));
    }
    // Marked or not, what no option would find has no hint.
    place.write("plain", "The *old* man <b>went</b> down to the river. ".repeat(20)).write("marked", marked);
    for file in ["plain", "marked"] {
        let report = place.run(&format!("score {file} --json")).code(0).report();
        assert!(!report.warning_codes.contains(&WarningCode::OtherNormalisation), "{report:?}");
    }
}

#[test]
fn attribution_among_derived_keys_and_a_directory() {
    let place = Place::new();
    let tenant = key(1).derive("t-07").unwrap();
    place
        .ids("marked", &response(Some(&tenant), &[], 150, 7))
        .ids("plain", &response(None, &[], 150, 9))
        .write("labels", "a\n\nt-07\r\na\n");
    let run =
        place.run("attribute marked plain --tokens --json --master k.bin --label-range t-:00-99").code(0);
    let reports: Vec<Attribution> =
        run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((reports[0].keys.len(), reports[0].keys_tried), (1, 100));
    assert_eq!(
        (reports[0].keys[0].name.as_deref(), &reports[0].keys[0].key_id),
        (Some("t-07"), &tenant.id())
    );
    assert_eq!((reports[1].verdict, reports[1].keys.len()), (Verdict::NotDetected, 0));
    let people = place.run("attribute marked --tokens --master k.bin --labels labels").code(0).out();
    assert!(people.contains("(t-07)") && people.contains("2 keys tried"), "{people}");
    let few = "attribute marked --tokens --master k.bin --label a --label t-07";
    assert_eq!(place.run(few).code(0).out(), people);
    assert!(place.run(&format!("{few} --labels labels")).code(2).errors().contains("cannot be used"));
    place.run("attribute marked --tokens --master k.bin --label=").code(2);

    std::fs::create_dir(place.path("ring")).unwrap();
    key(2).write(place.path("ring/two.bin"), false).unwrap();
    tenant.write(place.path("ring/seven.bin"), false).unwrap();
    let run = place.run("attribute marked --tokens --json --keyring ring --exit-code").code(0);
    let report: Attribution = serde_json::from_str(&run.out()).unwrap();
    assert_eq!(report.keys[0].name.as_deref(), Some("seven.bin"));
    assert_eq!(report.runner_up.unwrap().name.as_deref(), Some("two.bin"));
    place.run("attribute plain --tokens --keyring ring --exit-code").code(3);
    // A list names the keys and says which has leaked: each question about its mark says so, and no other.
    let list = "[[key]]\nfile = 'two.bin'\n[[key]]\nfile = 'seven.bin'\nlabel = 'acme'\nstatus = 'leaked'\n";
    place.write("ring/keys.toml", list);
    for question in ["score", "segments", "attribute"] {
        let out = place.run(&format!("{question} marked plain --tokens --json --keyring ring")).code(0).out();
        let rows: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows[0]["warning_codes"], serde_json::json!(["leaked_key"]), "{question}");
        assert!(rows[0]["warnings"][0].as_str().unwrap().contains(&tenant.id()), "{question}");
        assert_eq!(rows[1]["warning_codes"], serde_json::json!([]), "{question}");
        if question == "attribute" {
            assert_eq!(rows[0]["keys"][0]["name"], "acme");
        }
    }
    place.write("ring/more.bin", [7; 32]);
    let error = place.run("attribute marked --tokens --keyring ring").code(2).errors();
    assert!(error.contains("more.bin") && error.contains("hint: "), "{error}");

    for wrong in ["", "--master k.bin", "--labels labels", "--keyring ring --master k.bin --labels labels"] {
        place.run(&format!("attribute marked --tokens {wrong}")).code(2);
    }
    let error = place.run("attribute marked --tokens --master k.bin --label-range t:9-1").code(2).errors();
    assert!(error.contains("t:9-1"), "{error}");
}

#[test]
fn no_output_replaces_an_input_or_a_file_of_another_kind() {
    let place = Place::new();
    place.write("text", "The old man said that the river was high.").write("notes.json", "{}");
    place.write("corpus", "The old man.\n");
    let calibrate = "calibrate corpus text --keys 19 --fpr 0.1";
    for (run, file, expected) in [
        ("score text --html k.bin --force", "k.bin", "does not read"),
        ("score text --html text --force", "text", "does not read"),
        ("score text --html ./man/../text", "text", "does not read"),
        ("score text --html notes.json", "notes.json", "an earlier page"),
        ("segments text --html text --force", "text", "does not read"),
        ("segments text --html notes.json", "notes.json", "an earlier page"),
        (&format!("{calibrate} --write-ignore k.bin --force"), "k.bin", "does not read"),
        (&format!("{calibrate} --write-ignore notes.json"), "notes.json", "an earlier ignore file"),
        (&format!("{calibrate} --write-ignore new --html new"), "text", "another output"),
    ] {
        std::fs::create_dir_all(place.path("man")).unwrap();
        let before = std::fs::read(place.path(file)).unwrap();
        let error = place.run(run).code(2).errors();
        assert!(error.contains(expected), "{error}");
        assert_eq!(std::fs::read(place.path(file)).unwrap(), before, "{run}");
        assert!(!place.path("new").exists());
    }
    // An earlier ignore file makes way, so that a command can be repeated.
    for _ in 0..2 {
        assert_ne!(place.run(&format!("{calibrate} --write-ignore known.json")).0.status.code(), Some(2));
    }
    place.run("score text --html notes.json --force").code(0);
    // The name of the model that ships with wmgen is not that of a directory.
    std::fs::create_dir(place.path("default")).unwrap();
    place.write("default/page", "").run("score text --tokenizer default --html default/page").code(0);
}

#[test]
fn a_page_and_a_view_show_the_evidence() {
    let place = Place::new();
    place
        .write("text", "The <i>old</i> man & the river.\u{1b}[2J")
        .ids("ids", &response(Some(&key(1)), &[], 120, 7));
    place.run("score ids missing --tokens --html page.html").code(1);
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("carries the mark") && page.contains("class=\"e4\"") && page.contains("missing"));

    place.run("score text --html page.html --json").code(0);
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("&lt;") && !page.contains("<i>") && !page.contains('\u{1b}'));

    let plain = place.run("score text --view").code(0).out();
    assert!(plain.contains("man & the river.") && !plain.contains('\u{1b}'), "{plain:?}");
    let coloured = place.run("score ids --tokens --view --color always").code(0).out();
    assert!(coloured.contains("\u{1b}[38;5;231;48;5;29m"));
    let hostile = place.run("score text --view --color always").code(0).out();
    assert!(!hostile.contains("\u{1b}[2J"), "{hostile:?}");
    place.run("score text --view --json").code(2);
    place.run("score text --html no/such/page").code(2);
}

#[test]
fn verdicts_are_signed_and_checked() {
    let place = Place::new();
    let text = marked_words(&key(1), &Tokenizer::open(tokenizer()).unwrap(), 100);
    let long = "the old man and the sea ".repeat(400_000);
    let line = serde_json::json!({ "text": text, "id": 7 });
    place.write("marked", &text).write("long", &long).write("lines", format!("{line}\n{line}\n"));
    let public = place.run("report keygen sign.key").code(0).out();
    assert!(place.run("report keygen sign.key").code(2).errors().contains("hint: --force"));
    place.write("public", &public);
    assert_eq!(place.run("report key sign.key").code(0).out(), public);
    place.write("set", place.run("report key sign.key --jwks").code(0).out());
    place.write("other", place.run("report keygen other.key").code(0).out());

    let row = place.run("score marked --json --sign sign.key").code(0).out();
    let report: Report = serde_json::from_str(&row).unwrap();
    let signature = report.signature.unwrap();
    assert_eq!(report.verdict, Verdict::Watermarked);
    place.write("row", &row).write("jws", &signature);
    for signed in ["row", "jws"] {
        for public in ["public", "set"] {
            place.run(&format!("report verify {signed} --text marked --public-key {public}")).code(0);
        }
        place.run(&format!("report verify {signed} --text long --public-key public")).code(1);
        let error = place.run(&format!("report verify {signed} --public-key other")).code(1).out();
        assert!(error.contains("expected a signature of the key"), "{error}");
        let error = place.run(&format!("report verify {signed}")).code(2).errors();
        assert!(error.contains("was not checked"), "{error}");
    }
    // The signature is sound, and what stands around it is not.
    place.write("changed", row.replace("\"watermarked\"", "\"not_detected\""));
    let out = place.run("report verify changed --public-key public --json").code(1).out();
    let checked: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&checked["valid"], &checked["statement"]["verdict"]), (&false.into(), &"watermarked".into()));
    let hash = wmdetect::hex::encode(&Sha256::digest(&text));
    assert_eq!(checked["statement"]["sha256"], hash);

    place.write("rows", place.run("score lines --jsonl --json --sign sign.key").code(0).out());
    let out = place.run("report verify rows --public-key public").code(0).out();
    assert!(out.starts_with("rows:1: valid") && out.matches(&hash).count() == 2, "{out}");
    // A text that is read in blocks is hashed on the way.
    place.write("row", place.run("score long --json --sign sign.key").code(0).out());
    place.run("report verify row --text long --public-key public").code(0);
    place.run("score marked --sign sign.key").code(2);
    place.run("score marked --json --sign public").code(2);
    place.run("score marked --json --tokens --sign sign.key").code(2);
}

#[test]
fn what_a_signature_does_not_cover_is_named_and_p_fits_the_verdict() {
    let place = Place::new();
    std::fs::create_dir(place.path("ring")).unwrap();
    for (name, seed) in [("ring/a.bin", 1), ("ring/b.bin", 2)] {
        key(seed).write(place.path(name), false).unwrap();
    }
    let tokenizer = Tokenizer::open(tokenizer()).unwrap();
    for (name, seed) in [("marked", 1), ("unmarked", 3)] {
        place.write(name, marked_words(&key(seed), &tokenizer, 100));
    }
    place.write("public", place.run("report keygen sign.key").code(0).out());
    let signed = |text: &str| -> serde_json::Value {
        let row = place.run(&format!("score {text} --json --keyring ring --sign sign.key")).code(0).out();
        serde_json::from_str(&row).unwrap()
    };
    let verify = |row: &serde_json::Value, code| -> serde_json::Value {
        place.write("row", row.to_string());
        let out = place.run("report verify row --public-key public --json").code(code).out();
        serde_json::from_str(&out).unwrap()
    };
    let (marked, unmarked) = (signed("marked"), signed("unmarked"));
    assert_eq!(marked["verdict"], "watermarked");
    assert_ne!(unmarked["verdict"], "watermarked");
    for (row, open) in [(&marked, false), (&unmarked, true)] {
        let checked = verify(row, 0);
        let unsigned = checked["unsigned_fields"].as_array().unwrap();
        let unsigned: Vec<&str> = unsigned.iter().filter_map(serde_json::Value::as_str).collect();
        for name in ["input", "tokenizer", "detector", "score", "p_value", "log10_p", "warnings"] {
            assert!(unsigned.contains(&name), "{name}: {checked}");
        }
        for name in ["signature", "schema_version", "scheme", "verdict", "fpr", "keys_tried"] {
            assert!(!unsigned.contains(&name), "{name}: {checked}");
        }
        // Who is named where no key marked the text is not signed.
        assert_eq!(unsigned.contains(&"key_id"), open, "{checked}");
    }
    let people = place.run("report verify row --public-key public").code(0).out();
    assert!(people.contains("\n  not signed  ") && people.contains("p_value"), "{people}");

    let p = |p: f64| serde_json::json!({ "p_value": p, "log10_p": p.log10() });
    let changes = [
        (&unmarked, p(1e-300)),
        (&marked, p(0.5)),
        (&unmarked, serde_json::json!({ "p_value": 1e-300 })),
        (&unmarked, serde_json::json!({ "log10_p": -300.0 })),
        (&marked, serde_json::json!({ "p_value": null })),
        (&marked, serde_json::json!({ "p_value": 1e-300 })),
        (&marked, serde_json::json!({ "key_id": "0123456789abcdef" })),
        (&unmarked, serde_json::json!({ "schema_version": 2 })),
    ];
    for (row, change) in changes {
        let mut row = row.clone();
        row.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = verify(&row, 1)["error"].to_string();
        assert!(error.contains("the object around the signature"), "{change}: {error}");
    }
}
