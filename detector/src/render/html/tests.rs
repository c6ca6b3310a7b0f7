use super::*;

const HOSTILE: &str = "</td><script>alert(1)</script> & \"quoted\" 'x' \u{202e}\u{1b}[31m\0";

/// Returns the tags of a page in order, without their attributes.
fn tags(page: &str) -> Vec<&str> {
    let tag = |rest: &'_ str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!');
    page.split('<').skip(1).map(|rest| &rest[..tag(rest).unwrap_or(rest.len())]).collect()
}

/// Checks what every page promises: nothing is fetched, nothing runs, tags are closed.
#[track_caller]
fn assert_sound(page: &str) {
    for word in
        ["<script", "http://", "https://", "src=", "url(", "@import", "onload", "\u{202e}", "\u{1b}", "\0"]
    {
        assert!(!page.contains(word), "{word:?}");
    }
    let void = ["!DOCTYPE", "meta", "rect", "line", "path", "circle"];
    let mut open = Vec::new();
    for tag in tags(page).into_iter().filter(|tag| !void.contains(tag)) {
        match tag.strip_prefix('/') {
            None => open.push(tag),
            Some(tag) => assert_eq!(open.pop(), Some(tag)),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn hostile_text_stays_text() {
    let shown = Escaped(HOSTILE).to_string();
    assert_eq!(
        shown,
        "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot; &#39;x&#39; \u{fffd}\u{fffd}[31m\u{fffd}"
    );
}

mod of_an_attack {
    use super::*;
    use crate::attack::{Edit, Kind, Outcome, Summary};
    use crate::report::{AttackReport, AttackRow};
    use crate::{Detector, Input, Key};

    /// Returns a report on ten texts of each kind at two lengths, of which the longer ones are found.
    fn report() -> AttackReport {
        let detector = Detector::builder(Key::from_bytes(&[7; 32], "a test").unwrap()).build().unwrap();
        let mut report = AttackReport::new(&detector.score(Input::tokens(&[])).unwrap());
        (report.fprs, report.lengths) = (vec![0.01, 1e-6], vec![32, 512]);
        (report.texts, report.human_texts, report.judged) = (10, 10, 100);
        report.cluster = Some(HOSTILE.into());
        report.warnings = vec![Warning::new(crate::report::WarningCode::Unknown, HOSTILE)];
        let share = |kind, rate| Edit::Share { kind, rate };
        let edits = [
            Edit::None,
            share(Kind::Delete, 0.1),
            share(Kind::Delete, 0.3),
            share(Kind::Crop, 0.5),
            Edit::Program { name: HOSTILE.into() },
        ];
        for edit in &edits {
            for (length, log10_p) in [(32, -1.0), (512, -9.0)] {
                let outcome = |cluster| Outcome { cluster, log10_p: Some(log10_p), words_kept: Some(0.7) };
                let marked: Vec<Outcome> = (0..10).map(outcome).collect();
                let summary = |outcomes| Summary::new(outcomes, 0, &[0.01, 1e-6]);
                report.rows.push(AttackRow::new(edit, length, summary(&marked), summary(&[])));
            }
        }
        report
    }

    #[test]
    fn structure() {
        let page = attack(&report());
        assert_sound(&page);
        // Three plots at each of two rates, with the unedited text in each.
        assert_eq!((page.matches("<svg").count(), page.matches(">unedited</text>").count()), (6, 6));
        assert_eq!(page.matches("class=\"curve c").count(), 2 * (3 + 2 + 2));
        assert!(page.contains("Unedited, 10 of 10 texts of 512 tokens are found at a rate of 1e-6."));
        assert!(
            page.contains("<td>delete 0.3</td>") && page.contains("100.0 % (72.2 % – 100.0 %)"),
            "{page}"
        );
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn a_report_without_rows_or_of_one_length_is_a_page() {
        let mut report = report();
        report.rows.retain(|row| row.length == 32 && row.edit == "none");
        report.lengths = vec![32];
        let page = attack(&report);
        assert_sound(&page);
        assert!(page.matches("<svg").count() == 2 && !page.contains("NaN"));
        report.rows.clear();
        let page = attack(&report);
        assert_sound(&page);
        assert!(page.contains("No text was long enough") && !page.contains("NaN"));
    }
}

mod of_a_calibration {
    use super::*;
    use crate::report::{Bucket, CalibrationReport, Rate, Shared, SharedPassage, WarningCode};
    use crate::statistics::Method;

    fn report() -> CalibrationReport {
        let rate = Rate {
            key: 0.02,
            mean: 0.0098,
            mean_interval: [0.009, 0.0106],
            keys_range: [0.0, 0.03],
            expected: 0.0097,
        };
        CalibrationReport {
            schema_version: 1,
            scheme: "synthid-sha256".into(),
            key_id: "3f9a0c".into(),
            tokenizer: Some(HOSTILE.into()),
            detector: Method::WeightedMean,
            fpr: 0.01,
            documents: 100,
            documents_given: None,
            failed: 1,
            tokens: 30_000,
            scored_tokens: 29_000,
            ignored_tokens: 12,
            random_keys: 4,
            seed: 7,
            flagged: 2,
            random_flagged: vec![0, 1, 1, 300],
            keys_at_least: 1,
            rank_p: 0.4,
            worse_than_chance: false,
            rate,
            buckets: vec![
                Bucket { from: 200, to: Some(399), documents: 60, flagged: 2, rate },
                Bucket { from: 800, to: None, documents: 40, flagged: 0, rate },
            ],
            shared: Shared {
                least_documents: 3,
                ngrams: 40,
                scored_share: 0.1,
                passages_found: 2,
                passages: vec![SharedPassage {
                    text: Some(HOSTILE.into()),
                    tokens: vec![1, 2, 3, 4, 5],
                    documents: 50,
                    score: 0.6,
                    log10_p: -2.0,
                }],
            },
            warnings: vec![Warning::new(WarningCode::Unknown, HOSTILE)],
        }
    }

    #[test]
    fn structure() {
        let page = calibration(&report());
        assert_sound(&page);
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("class=\"bar\"").count(), 2);
        assert_eq!(page.matches("class=\"range\"").count(), 2);
        for part in [
            "An ordinary key on these texts: it flags 2 of 100, and 1 of 4 random keys flag as many or more.",
            "this key: 2",
            "800+",
            "And 1 more.",
            "12 are ignored",
        ] {
            assert!(page.contains(part), "{part}");
        }
        let bad = CalibrationReport { worse_than_chance: true, ..report() };
        assert!(calibration(&bad).contains("worse than chance allows"));
    }

    #[test]
    fn an_empty_calibration_is_a_page_too() {
        let zero = Rate { key: 0.0, mean: 0.0, mean_interval: [0.0; 2], keys_range: [0.0; 2], expected: 0.0 };
        let mut report =
            CalibrationReport { random_flagged: vec![], buckets: vec![], rate: zero, flagged: 0, ..report() };
        report.shared.passages.clear();
        let page = calibration(&report);
        assert_sound(&page);
        assert!(!page.contains("NaN"));
    }
}

mod of_a_score {
    use super::*;
    use crate::report::{Explanation, Failure, Report, Row, WarningCode};
    use crate::scheme::Key;
    use crate::verdict::Verdict;
    use crate::{Detector, Input};

    /// Returns `text` as tokens of one byte each.
    fn scored(input: &str, text: &str) -> Scored {
        let ids: Vec<u32> = text.bytes().map(u32::from).collect();
        let detector = Detector::builder(Key::from_bytes(&[1; 32], "test").unwrap()).build().unwrap();
        let mut explanation = detector.explain(Input::tokens(&ids)).unwrap();
        for (at, token) in explanation.tokens.iter_mut().enumerate() {
            token.bytes = at..at + 1;
        }
        explanation.report.warnings.push(Warning::new(WarningCode::Unknown, input));
        Scored::Text {
            input: input.into(),
            bytes: Some(text.as_bytes().to_vec()),
            explanation: Box::new(explanation),
        }
    }

    fn explanation(scored: &Scored) -> &Explanation {
        let Scored::Text { explanation, .. } = scored else { panic!("a text") };
        explanation
    }

    /// Returns the page without its tags.
    fn words(page: &str) -> String {
        let mut inside = false;
        let keep = |c: &char| {
            inside = *c == '<' || (inside && *c != '>');
            !inside && *c != '>'
        };
        page.chars().filter(keep).collect()
    }

    #[test]
    fn a_report_without_its_text_is_a_page_too() {
        let scored = scored(HOSTILE, "some text that is not at hand");
        let shown = &explanation(&scored).report;
        let page = report(shown);
        assert_sound(&page);
        assert!(words(&page).contains(&shown.key_id) && !page.contains("too long to be shown"));
        assert!(page.contains(&Escaped(HOSTILE).to_string()), "its warnings");
    }

    #[test]
    fn hostile_texts_and_names() {
        let failed = Scored::Failed(Row::new(HOSTILE, Failure::new(HOSTILE)));
        let text = format!("A <b>bold</b> claim & more. {}", HOSTILE.replace(['\u{202e}'], ""));
        let page = score(&[scored(HOSTILE, &text), scored("b", ""), failed]);
        assert_sound(&page);
        assert_eq!(page.matches("<section id=").count(), 3);
        assert!(
            words(&page).contains("A &lt;b&gt;bold&lt;/b&gt; claim &amp; more."),
            "the text is shown whole"
        );
        assert!(page.contains("The text has no tokens.") && page.contains("Could not be read"));
        // One text needs no table of contents.
        assert!(!score(&[scored("b", "x")]).contains("href"));
    }

    #[test]
    fn evidence_is_a_colour() {
        let mut text = scored("a", "abcdefghij");
        if let Scored::Text { explanation, .. } = &mut text {
            for (token, local) in
                explanation.tokens.iter_mut().zip([None, None, Some(0.0), Some(3.0), Some(5.0)])
            {
                token.evidence = local;
                token.local = local;
            }
            explanation.tokens.truncate(5);
        }
        let page = score(&[text]);
        let shown = "<div class=\"text\" dir=\"auto\"><span class=\"u\">ab</span>c<span class=\"e1\">d</span><span \
                     class=\"e2\">e</span><span class=\"u\">fghij</span></div>";
        assert!(page.contains(shown), "{page}");
    }

    #[test]
    fn a_text_that_is_too_short_says_how_much_it_needs() {
        let short = explanation(&scored("a", "a short text")).report.clone();
        let numbers = format!(
            "count as {}, and {} are needed",
            short.effective_tokens.unwrap(),
            short.required_tokens.unwrap()
        );
        assert!(words(&report(&short)).contains(&numbers), "{numbers}");
        let long = Report { verdict: Verdict::NotDetected, ..short };
        assert!(!words(&report(&long)).contains("are needed"));
    }

    #[test]
    fn the_verdict_is_a_sentence() {
        let report = explanation(&scored("a", "abc")).report.clone();
        assert!(sentence(&report).starts_with("Too short to tell"));
        let found = Report { verdict: Verdict::Watermarked, log10_p: Some(-6.51), ..report.clone() };
        assert!(sentence(&found).contains("one in 3.2 million or fewer"), "{}", sentence(&found));
        assert!(sentence(&found).starts_with("Strong evidence that this text carries the mark"));
        let weak = Report { log10_p: Some(-3.1), ..found.clone() };
        assert!(sentence(&weak).starts_with("Weak evidence of the mark of key"), "{}", sentence(&weak));
        let sure = Report { log10_p: Some(-30.0), ..found };
        assert!(sentence(&sure).starts_with("This text carries the mark of key"));
        let not = Report { verdict: Verdict::NotDetected, keys_tried: Some(3), ..report };
        assert!(sentence(&not).contains("was not found") && sentence(&not).contains("the best of 3"));
    }
}
