//! The program from end to end: real processes, key files and token ids made on the spot.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use wmdetect::report::{
    Attribution, CalibrationReport, Changes, ErrorRow, GValuesRow, Report, SegmentsReport,
};
use wmdetect::scheme::{Distribution, Key, Scheme, Secret, TextGValues, TokenizerBinding, Watermark};
use wmdetect::statistics::{PKind, Profile};
use wmdetect::text::Tokenizer;
use wmdetect::verdict::Verdict;

/// A directory with the key file `k.bin` and the tiny tokenizer, which is also where the program runs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        key(1).write(place.path("k.bin"), false).unwrap();
        std::fs::copy(tokenizer(), place.path("tokenizer.json")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    fn ids(&self, name: &str, ids: &[u32]) -> &Self {
        self.write(name, format!("{ids:?}\n"))
    }

    /// Runs the program on `args`, cut at spaces, with `input` as standard input.
    fn run_on(&self, args: &str, input: &[u8]) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wmdetect"))
            .args(args.split_whitespace())
            .current_dir(self.0.path())
            .env_remove("WMDETECT_KEY")
            .env_remove("WMDETECT_TOKENIZER")
            // Help is wrapped to it.
            .env("COLUMNS", "100")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input);
        Run(child.wait_with_output().unwrap())
    }

    fn run(&self, args: &str) -> Run {
        self.run_on(args, b"")
    }
}

struct Run(Output);

impl Run {
    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "stderr: {}", self.errors());
        self
    }

    fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    fn reports(&self) -> Vec<Report> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn report(&self) -> Report {
        let mut reports = self.reports();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }
}

fn tokenizer() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tokenizer/tokenizer.json"))
}

fn key(seed: u8) -> Key {
    Key::new(Scheme::default(), Secret::new(vec![seed; 32].into())).unwrap()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A response of `len` tokens to `prompt` from random distributions over 40 candidates, with or without the mark.
fn response(key: Option<&Key>, prompt: &[u32], len: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let mut marking = key.map(|key| Watermark::new(key.prf()).start(prompt));
    let mut ids = Vec::new();
    for _ in 0..len {
        let tokens = (0..40).map(|_| random.next() as u32 % 256_000).collect();
        // A long tail, as language has: a few likely candidates, many unlikely ones.
        let weights = (0..40).map(|_| random.unit().powi(6) + 1e-3).collect();
        let mut candidates = Distribution::from_probabilities(tokens, weights).unwrap();
        if let Some(marking) = &mut marking {
            marking.apply(&mut candidates);
        }
        let token = candidates.draw(random.unit());
        if let Some(marking) = &mut marking {
            marking.push(token);
        }
        ids.push(token);
    }
    ids
}

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
    assert_eq!(mean.score, reports[0].scores.mean);
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

    let binding = TokenizerBinding { name: "gemma-2".into(), fingerprint: [7; 32] };
    key(1).with_tokenizer(Some(binding)).write(place.path("bound.bin"), false).unwrap();
    let wrong = place.run("score text --key bound.bin").code(2).errors();
    assert!(wrong.contains("gemma-2") && wrong.contains(&key(1).id()), "{wrong}");

    // Token ids need no tokenizer, but one that is given must fit.
    place.run("score ids --tokens --key bound.bin").code(0);
    place.run("score ids --tokens --key bound.bin --tokenizer tokenizer.json").code(2);

    assert!(place.run("score ids --tokens --key none.bin").code(2).errors().contains("none.bin"));
    assert!(place.run("score ids --tokens --fpr 2").code(2).errors().contains("between 0 and 1"));
    place.run("score ids --tokens --key k.bin --keyring ring").code(2);
    place.run("score").code(2);
    std::fs::remove_file(place.path("tokenizer.json")).unwrap();
    assert!(place.run("score text").code(2).errors().contains("--tokenizer"));
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
    let row: GValuesRow =
        serde_json::from_str(&place.run("gvalues ids --tokens --json").code(0).out()).unwrap();
    let values = TextGValues::new(&key(1).prf(), &[], &ids);
    assert_eq!((row.ngram_len, row.depth, row.mask.as_str()), (5, 30, "1111101"));
    assert_eq!(row.g_bits, values.g.iter().map(|g| g.to_string(30)).collect::<Vec<_>>());
    let people = place.run("gvalues ids --tokens").code(0).out();
    assert!(people.starts_with(&format!("4\t1\t{}\n", row.g_bits[0])));
    place.write("text", "The old man went down to the river.");
    let row: GValuesRow = serde_json::from_str(&place.run("gvalues text --json").code(0).out()).unwrap();
    assert_eq!(row.mask.len(), 11);
}

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

#[test]
fn segments_in_text_have_the_bytes_of_their_tokens() {
    let place = Place::new();
    let tokenizer = Tokenizer::open(tokenizer()).unwrap();
    let background = "The old man went down to the river, and he said é to the boat. ".repeat(8);
    // A passage that carries the mark: of eight random words always the one with most evidence a token.
    let words: Vec<&str> = "river old man boat sea went hand said fish day sun big dark line water fast bird cold deep \
                            wind north slow sky long back strong moon tired small shark bone blood wood hook oar knife"
        .split_whitespace()
        .collect();
    let (prf, profile, mut random) = (key(1).prf(), Profile::named("t1.0").unwrap(), Random(5));
    let mut passage = String::new();
    for _ in 0..120 {
        let before = tokenizer.encode(&passage).unwrap().ids.len();
        let evidence = |word: &str| {
            let ids = tokenizer.encode(&format!("{passage} {word}")).unwrap().ids;
            let g = TextGValues::new(&prf, &[], &ids[before.saturating_sub(4)..]).g;
            g.iter().map(|&g| profile.ln_lr(g)).sum::<f64>() / (g.len() as f64 + 1e-9)
        };
        let candidates: Vec<&str> = (0..8).map(|_| words[random.next() as usize % words.len()]).collect();
        let word = candidates.into_iter().max_by(|a, b| evidence(a).total_cmp(&evidence(b))).unwrap();
        passage = format!("{passage} {word}");
    }
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
    place.write("plain", &background);
    place.run("segments plain --exit-code").code(3);
    place.run("segments plain text --exit-code").code(0);
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

    std::fs::create_dir(place.path("ring")).unwrap();
    key(2).write(place.path("ring/two.bin"), false).unwrap();
    tenant.write(place.path("ring/seven.bin"), false).unwrap();
    let run = place.run("attribute marked --tokens --json --keyring ring --exit-code").code(0);
    let report: Attribution = serde_json::from_str(&run.out()).unwrap();
    assert_eq!(report.keys[0].name.as_deref(), Some("seven.bin"));
    assert_eq!(report.runner_up.unwrap().name.as_deref(), Some("two.bin"));
    place.run("attribute plain --tokens --keyring ring --exit-code").code(3);

    for wrong in ["", "--master k.bin", "--labels labels", "--keyring ring --master k.bin --labels labels"] {
        place.run(&format!("attribute marked --tokens {wrong}")).code(2);
    }
    let error = place.run("attribute marked --tokens --master k.bin --label-range t:9-1").code(2).errors();
    assert!(error.contains("t:9-1"), "{error}");
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
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt"));
        let found = place.run(args).code(0).out();
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&file, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&file).unwrap(), "{}", file.display());
    }
}
