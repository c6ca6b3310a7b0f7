//! `wmdetect attack`, from end to end.

mod support;

use std::fs;

use support::rows::{AttackReport, AttackRow};
use support::{Place, Random, key, marked_words_from, tokenizer};
use wmdetect::report::WarningCode;
use wmdetect::text::Tokenizer;

/// How many marked and human texts there are.
const MARKED: u64 = 12;
const HUMAN: u64 = 60;

/// A place with marked texts, two a prompt, and with human texts.
fn place() -> Place {
    let place = Place::new();
    let tokenizer = Tokenizer::open(tokenizer()).unwrap();
    let row = |i: u64| {
        let text = marked_words_from(&key(1), &tokenizer, 50, i);
        serde_json::json!({ "id": i, "prompt": i / 2, "text": text.trim_start() }).to_string()
    };
    place.write("marked.jsonl", (0..MARKED).map(row).collect::<Vec<_>>().join("\n"));
    let words = ["river", "old", "man", "said", "boat", "the", "went", "down", "and", "fish", "sky", "sea"];
    let mut random = Random(77);
    let mut word = |i: u64| {
        let end = if i % 9 == 8 { "." } else { "" };
        format!("{}{}{end}", words[random.next() as usize % words.len()], random.next() % 50)
    };
    let human: Vec<String> = (0..HUMAN)
        .map(|_| {
            serde_json::json!({ "text": (0..60).map(&mut word).collect::<Vec<_>>().join(" ") }).to_string()
        })
        .collect();
    place.write("human.jsonl", human.join("\n"));
    place
}

/// What every run here has.
const INPUT: &str = "attack marked.jsonl --jsonl --human human.jsonl --length 32,64";

fn report(out: &str) -> AttackReport {
    serde_json::from_str(out).unwrap()
}

#[track_caller]
fn row<'r>(report: &'r AttackReport, edit: &str, rate: Option<f64>, length: u64) -> &'r AttackRow {
    let mut rows = report.rows.iter();
    let found = rows.find(|row| row.edit == edit && row.rate == rate && row.length == length);
    found.unwrap_or_else(|| panic!("{edit} {rate:?} {length}: {report:?}"))
}

#[test]
fn marked_texts_are_found_less_after_heavier_edits_and_human_texts_at_the_rate() {
    let place = place();
    let args = format!(
        "{INPUT} --edit delete=0.1,0.9 --edit dilution=0.5 --edit typography=1 --fpr 0.000001,5% --cluster prompt"
    );
    let run = place.run(&format!("{args} --json --html page.html")).code(0);
    let all = report(&run.out());
    assert_eq!((all.texts, all.human_texts, all.failed, all.seed), (MARKED, HUMAN, 0, 1));
    assert_eq!((all.fprs.as_slice(), all.lengths.as_slice()), (&[0.05, 1e-6][..], &[32, 64][..]));
    assert_eq!((all.key_id.as_deref(), all.judged_of), (Some(key(1).id().as_str()), None));
    let order: Vec<_> = all.rows.iter().map(|row| (row.edit.as_str(), row.rate, row.length)).collect();
    let edits = [
        ("none", None),
        ("delete", Some(0.1)),
        ("delete", Some(0.9)),
        ("typography", Some(1.0)),
        ("dilution", Some(0.5)),
    ];
    let expected: Vec<_> =
        edits.iter().flat_map(|&(edit, rate)| [32, 64].map(|length| (edit, rate, length))).collect();
    assert_eq!(order, expected);
    assert_eq!(all.judged, 10 * (MARKED + HUMAN));

    let share = |edit, rate, length| row(&all, edit, rate, length).marked.found[0].share.unwrap();
    let p = |edit, rate, length| row(&all, edit, rate, length).marked.median_log10_p.unwrap();
    assert!(share("none", None, 64) > 0.9, "{all:?}");
    assert!(share("delete", Some(0.9), 64) < 0.5, "{all:?}");
    assert!(p("none", None, 64) < p("none", None, 32));
    assert!(
        p("none", None, 64) < p("delete", Some(0.1), 64)
            && p("delete", Some(0.1), 64) < p("delete", Some(0.9), 64)
    );
    // The detector makes typographic characters plain again, and pays for three forms.
    assert!((p("typography", Some(1.0), 64) - p("none", None, 64)).abs() <= 3f64.log10() + 1e-9);
    let kept = |edit, rate| row(&all, edit, rate, 64).marked.words_kept.unwrap();
    assert_eq!((kept("none", None), kept("dilution", Some(0.5))), (1.0, 1.0));
    assert!((kept("delete", Some(0.9)) - 0.1).abs() < 0.06 && (kept("delete", Some(0.1)) - 0.9).abs() < 0.06);
    for row in &all.rows {
        // Of 60 human texts 3 are expected, and 11 in one of 20,000 runs.
        assert!(row.human.texts == HUMAN && row.human.found[0].texts <= 10, "{row:?}");
        assert_eq!((row.marked.texts, row.marked.clusters, row.human.clusters), (MARKED, MARKED / 2, HUMAN));
        let found = &row.marked.found[0];
        let [low, high] = found.interval.unwrap();
        assert!(
            low <= found.share.unwrap() && found.share.unwrap() <= high && found.design_effect >= Some(1.0)
        );
    }
    assert!(all.warning_codes.contains(&WarningCode::FewDocuments), "{:?}", all.warnings);
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    // A plot for each edit but none, at each rate.
    assert_eq!(page.matches("<svg").count(), 6);

    // A row depends neither on what else is asked for nor on the order of the texts.
    let lines = fs::read_to_string(place.path("marked.jsonl")).unwrap();
    place.write("turned.jsonl", lines.lines().rev().collect::<Vec<_>>().join("\n"));
    let args = "attack turned.jsonl --jsonl --human human.jsonl --length 64 --edit delete=0.9 --fpr 0.05,0.000001 --cluster prompt";
    let alone = report(&place.run(&format!("{args} --json")).code(0).out());
    assert_eq!(alone.rows.len(), 2);
    assert_eq!(row(&alone, "delete", Some(0.9), 64), row(&all, "delete", Some(0.9), 64));
    let other = report(&place.run(&format!("{args} --seed 2 --json")).code(0).out());
    assert_ne!(row(&other, "delete", Some(0.9), 64), row(&all, "delete", Some(0.9), 64));

    let table = place.run(args).code(0).out();
    assert!(table.contains("marked: share of 12 texts found") && table.contains("  delete 0.9"), "{table}");
    // The standard set; no text is as long as most of the lengths.
    place.write("synonyms", "man\tfellow\n");
    let run = place.run("attack marked.jsonl --jsonl --human human.jsonl --synonyms synonyms --json").code(0);
    let standard = report(&run.out());
    assert_eq!(
        (standard.rows.len(), row(&standard, "synonyms", Some(0.3), 32).marked.texts),
        (17 * 3, MARKED)
    );
    assert!(standard.warnings.iter().any(|warning| warning.contains("no marked text has 256 or 512 tokens")));
}

#[test]
fn a_run_goes_on_from_its_checkpoint_to_the_same_report() {
    let place = place();
    let args = format!("{INPUT} --edit replace=0.3 --edit crop=0.5 --json");
    let whole = place.run(&args).code(0).out();
    let with = format!("{args} --checkpoint run.ckpt");
    assert_eq!(place.run(&with).code(0).out(), whole);
    let file = fs::read_to_string(place.path("run.ckpt")).unwrap();
    assert_eq!(file.lines().count() as u64, 1 + 3 * 2 * (MARKED + HUMAN));
    // Killed while it wrote a line.
    place.write("run.ckpt", &file[..file.len() / 2 + 5]);
    assert_eq!(place.run(&with).code(0).out(), whole);
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(Into::into).collect();
        lines.sort();
        lines
    };
    assert!(lines(&fs::read_to_string(place.path("run.ckpt")).unwrap()) == lines(&file), "other results");
    // What the file has is believed.
    place.write("run.ckpt", file.replace("\"log10_p\":-", "\"log10_p\":-9"));
    assert_ne!(place.run(&with).code(0).out(), whole);
    place.write("run.ckpt", &file);
    // More edits, lengths and rates.
    place.run(&format!("{with} --edit case=0.5 --length 16 --fpr 0.1")).code(0);
    let longer = fs::read_to_string(place.path("run.ckpt")).unwrap();
    assert!(longer.starts_with(&file) && longer.len() > file.len());

    for (change, expected) in [
        ("--seed 2", "seed: expected 2, found 1"),
        ("--detector mean", "detector: expected \"mean\", found \"weighted_mean\""),
        ("--human marked.jsonl", "human_sha256: expected"),
        ("--normalise none", "normalisation: expected"),
    ] {
        let run = place.run(&format!("{with} {change}")).code(2);
        let expected = format!("error: cannot use the checkpoint run.ckpt: it is of another run; {expected}");
        assert!(run.errors().starts_with(&expected) && run.errors().contains("\nhint: "), "{}", run.errors());
    }
    let run = place.run(&format!("{args} --checkpoint human.jsonl")).code(2);
    assert!(run.errors().contains("expected a file that this run does not read"), "{}", run.errors());
    place.write("other", "notes\n");
    let run = place.run(&format!("{args} --checkpoint other")).code(2);
    assert!(run.errors().contains("found another file\nhint: "), "{}", run.errors());
    assert_eq!(fs::read_to_string(place.path("other")).unwrap(), "notes\n");
}

#[test]
fn mistakes_say_what_was_expected() {
    let place = place();
    for (args, expected) in [
        ("--edit program=mt", "hint: --program mt=COMMAND"),
        ("--edit synonyms=0.3", "hint: --synonyms FILE"),
        ("--edit delete=2", "expected a share above 0 and up to 1, found 2"),
        ("--length 4000", "hint: --length takes shorter lengths"),
        ("--fpr 1", "must lie between 0 and 1"),
        ("--tokens", "expected texts, found --tokens"),
        ("--html page.html --checkpoint page.html", "another output of this run goes there"),
    ] {
        let run = place.run(&format!("attack marked.jsonl --jsonl --human human.jsonl {args}")).code(2);
        assert!(run.errors().contains(expected), "{args}: {}", run.errors());
    }
    // A text without the field that says which texts belong together.
    let lines = fs::read_to_string(place.path("marked.jsonl")).unwrap();
    place.write("marked.jsonl", format!("{lines}\n{{\"text\":\"old\"}}\nx"));
    let run = place.run(&format!("{INPUT} --edit crop=0.5 --cluster prompt --json")).code(1);
    assert_eq!((report(&run.out()).texts, report(&run.out()).failed), (MARKED, 2));
    assert!(
        run.errors().contains("marked.jsonl:13: no field \"prompt\"; expected it in each text"),
        "{}",
        run.errors()
    );
}

#[cfg(unix)]
mod programs {
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn programs_edit_and_one_that_fails_does_not_disturb_the_others() {
        let place = place();
        let args = format!("{INPUT} --json --program same=cat --program broken=false --edit program=same");
        let run = place.run(&args).code(1);
        let all = report(&run.out());
        let of = |program: &str| {
            let found =
                all.rows.iter().find(|row| row.program.as_deref() == Some(program) && row.length == 64);
            found.unwrap_or_else(|| panic!("{program}: {all:?}"))
        };
        assert_eq!(of("same").marked, row(&all, "none", None, 64).marked);
        let broken = &of("broken").marked;
        assert_eq!((broken.texts, broken.errors, broken.found[0].share), (0, MARKED, None));
        let expected =
            "error: 0 (marked, 32 tokens): program broken: expected the exit status 0, found exit status: 1";
        assert!(run.errors().starts_with(expected), "{}", run.errors());
        let results = 3 * 2 * (MARKED + HUMAN);
        let summary = format!("\n{results} results: {} judged, {} failed\n", results / 3 * 2, results / 3);
        assert!(run.errors().ends_with(&summary), "{}", run.errors());
    }

    #[test]
    fn an_interrupted_run_reports_what_it_has_and_goes_on() {
        let place = place();
        let lines = fs::read_to_string(place.path("human.jsonl")).unwrap();
        place.write("human.jsonl", lines.lines().take(10).collect::<Vec<_>>().join("\n"));
        place.write("slow.sh", "sleep 0.1\ncat\n");
        let args = "attack marked.jsonl --jsonl --human human.jsonl --length 32 --json --checkpoint run.ckpt --edit program=slow";
        let command = || args.split(' ').chain(["--program", "slow=sh slow.sh"]);
        let mut start = place.command("");
        let child = start.args(command()).spawn().unwrap();
        let kept = || fs::read_to_string(place.path("run.ckpt")).map_or(0, |file| file.lines().count());
        while kept() < 5 {
            thread::sleep(Duration::from_millis(10));
        }
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(130), "{errors}");
        let part = report(std::str::from_utf8(&output.stdout).unwrap());
        let all = 2 * (MARKED + 10);
        assert!((4..all).contains(&part.judged) && part.judged_of == Some(all), "{part:?}");
        assert_eq!(kept() as u64, 1 + part.judged);
        assert!(part.warning_codes.contains(&WarningCode::Interrupted));
        assert!(errors.ends_with("the same command goes on from the checkpoint\n"), "{errors}");
        let rest = report(&place.run_args(command(), b"").code(0).out());
        assert_eq!((rest.judged, rest.judged_of), (all, None));
        let same = rest.rows.iter().find(|row| row.program.is_some()).unwrap();
        assert_eq!(same.marked, row(&rest, "none", None, 32).marked);
    }
}
