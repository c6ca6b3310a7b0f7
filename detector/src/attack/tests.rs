use super::*;

/// Returns words that are all different, in sentences of ten.
fn text(words: usize) -> String {
    let word = |i: usize| format!("word{i}{}", if i % 10 == 9 { "." } else { "" });
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

fn editor() -> Editor {
    let human = (0..4).map(|t| (0..500).map(|i| format!("human{t}x{i}")).collect::<Vec<_>>().join(" "));
    Editor::new(
        human.collect(),
        Synonyms::parse("word3\tthird,three\n# of numbers\n\nWORD4\tfour\n").unwrap(),
    )
}

fn edited(kind: Kind, rate: f64, text: &str, seed: u64) -> String {
    let edit = Edit::share(kind, rate).unwrap();
    editor().apply(&edit, text, None, seed, "t")
}

/// Checks that a number of hits in `n` tries is within 4.5 standard errors of the rate.
#[track_caller]
fn assert_rate(hits: usize, n: usize, rate: f64, what: &str) {
    let error = (rate * (1.0 - rate) / n as f64).sqrt();
    let share = hits as f64 / n as f64;
    assert!((share - rate).abs() <= 4.5 * error, "{what}: {share} instead of {rate}");
}

#[test]
fn each_edit_meets_its_rate() {
    let (n, rate) = (20_000, 0.3);
    let text = text(n);
    let count =
        |edited: &str, is_it: &dyn Fn(&str) -> bool| edited.split(' ').filter(|word| is_it(word)).count();
    let human = |word: &str| word.to_lowercase().starts_with("human");

    let deleted = edited(Kind::Delete, rate, &text, 1);
    assert_rate(n - count(&deleted, &|_| true), n, rate, "delete");
    let replaced = edited(Kind::Replace, rate, &text, 1);
    assert_rate(count(&replaced, &human), n, rate, "replace");
    assert_eq!((count(&replaced, &|_| true), replaced.matches('.').count()), (n, n / 10));
    let inserted = edited(Kind::Insert, rate, &text, 1);
    assert_rate(count(&inserted, &human), n, rate, "insert");
    assert_eq!(count(&inserted, &|word| !human(word)), n);
    let cased = edited(Kind::Case, rate, &text, 1);
    assert_rate(count(&cased, &|word| !word.starts_with('w') || word.contains('O')), n, rate, "case");
    let homoglyphs = edited(Kind::Homoglyphs, rate, &text, 1);
    // In "word" the letters o and d have a look-alike.
    assert_rate(homoglyphs.matches(['о', 'ԁ']).count(), 2 * n, rate, "homoglyphs");
    let typography = edited(Kind::Typography, rate, &text, 1);
    assert_rate(typography.matches('\u{A0}').count(), n - 1, rate, "typography");

    let swapped = edited(Kind::Sentences, rate, &text, 1);
    let moved = text
        .split(". ")
        .zip(swapped.split(". "))
        .filter(|(a, b)| a.trim_end_matches('.') != b.trim_end_matches('.'));
    assert_rate(moved.count() / 2, n / 20, rate, "sentences");
    let cropped = edited(Kind::Crop, rate, &text, 1);
    assert!(text.contains(&cropped));
    assert_eq!(count(&cropped, &|_| true), 14_000);
    let diluted = edited(Kind::Dilution, rate, &text, 1);
    assert!(diluted.contains(&text));
    assert_eq!(diluted.split_whitespace().filter(|word| human(word)).count(), 8571);
    let repeated = "Word3, word4 word5 ".repeat(1000);
    let synonyms = edited(Kind::Synonyms, rate, &repeated, 1);
    assert_rate(synonyms.matches("Th").count() + synonyms.matches("four").count(), 2000, rate, "synonyms");
    assert!(
        synonyms.contains("Three,")
            && synonyms.contains("Third,")
            && synonyms.matches("word5").count() == 1000
    );
}

#[test]
fn an_edit_depends_on_seed_text_name_and_rate_alone() {
    let text = text(300);
    for kind in Kind::ALL {
        let apply = |seed, name: &str, rate| {
            let edit = Edit::share(kind, rate).unwrap();
            editor().apply(&edit, &text, None, seed, name)
        };
        let first = apply(1, "t", 0.5);
        assert_eq!(first, apply(1, "t", 0.5));
        if kind == Kind::Synonyms {
            // It has two words to change.
            continue;
        }
        assert_ne!(first, text, "{kind:?}");
        for other in [apply(2, "t", 0.5), apply(1, "u", 0.5), apply(1, "t", 0.51)] {
            assert_ne!(first, other, "{kind:?}");
        }
    }
    // Later text does not change the edits before it.
    let longer = edited(Kind::Replace, 0.5, &super::tests::text(400), 1);
    assert!(longer.starts_with(&edited(Kind::Replace, 0.5, &super::tests::text(300), 1)));
}

#[test]
fn texts_of_any_form_are_edited() {
    let odd = ["", " ", "\n\n", "one", " one\n\ntwo ", "“…” — 'x' --", "日本語。 文", "a.\u{A0}b!\" (c?) d"];
    let nobody = Editor::new(vec![String::new(), "- --".into()], Synonyms::default());
    assert!(!nobody.has_words());
    for text in odd {
        for kind in Kind::ALL {
            let edit = Edit::share(kind, 0.9).unwrap();
            for editor in [&editor(), &nobody] {
                for own in [None, Some(0)] {
                    editor.apply(&edit, text, own, 3, text);
                }
            }
        }
    }
    assert_eq!(edited(Kind::Delete, 1.0, " one\n\ntwo ", 1), " ");
    assert_eq!(edited(Kind::Sentences, 1.0, "One is. Two was!\n\nThree?", 1), "Two was! One is.\n\nThree?");
    assert_eq!(
        edited(Kind::Typography, 1.0, "\"It's -- well-known...\" (a - b)", 1),
        "“It’s\u{A0}—\u{A0}well‐known…”\u{A0}(a\u{A0}–\u{A0}b)"
    );
    // A human text is diluted with another one.
    let own = editor().apply(&Edit::share(Kind::Dilution, 0.5).unwrap(), "a b c", Some(2), 1, "t");
    assert!(own.contains("human") && !own.contains("human2x"), "{own}");
}

#[test]
fn rates_and_names_are_checked() {
    for (kind, rate) in [(Kind::Delete, 0.0), (Kind::Delete, 1.1), (Kind::Crop, 1.0), (Kind::Case, f64::NAN)]
    {
        assert!(Edit::share(kind, rate).is_err(), "{kind:?} {rate}");
    }
    let error = Edit::share(Kind::Crop, 2.0).unwrap_err().to_string();
    assert_eq!(error, "the rate of crop: expected a share above 0 and up to 0.99, found 2");
    assert!("deletes".parse::<Kind>().unwrap_err().to_string().ends_with("found \"deletes\""));
    assert!(Kind::ALL.iter().all(|kind| kind.name().parse() == Ok(*kind)));
    let error = Synonyms::parse("old\tancient\nnew fresh").unwrap_err();
    assert!(error.to_string().starts_with("line 2: expected a word, a tab"), "{error}");
}

#[test]
fn words_kept_are_those_that_a_reader_still_reads() {
    let text = "The old man said: \"It's a well-known river,\" -- the man did.";
    let kept = |edited: &str| words_kept(text, edited).unwrap();
    assert_eq!(kept(text), 1.0);
    assert_eq!(kept("THE оld man said “It’s a well‐known rіver” — the man did"), 1.0);
    assert_eq!(kept(&format!("before {text} behind")), 1.0);
    // Among eleven words the second "man" and "the" are gone.
    assert_eq!(kept("The old man said it's a well-known river did"), 9.0 / 11.0);
    // The text has "the" twice.
    assert_eq!(kept("the the the the"), 2.0 / 11.0);
    assert_eq!(kept(""), 0.0);
    assert_eq!(words_kept(" -- ", "a"), None);
    for kind in
        [Kind::Case, Kind::Typography, Kind::Homoglyphs, Kind::Insert, Kind::Sentences, Kind::Dilution]
    {
        assert_eq!(kept(&edited(kind, 0.9, text, 4)), 1.0, "{kind:?}");
    }
}

/// Returns outcomes of clusters, each with its number of texts and of found texts.
fn outcomes(clusters: &[(usize, usize)]) -> Vec<Outcome> {
    let of = |(cluster, &(texts, found)): (usize, &(usize, usize))| {
        (0..texts).map(move |i| Outcome {
            cluster: cluster as u64,
            log10_p: Some(if i < found { -2.0 } else { -1.0 }),
            words_kept: Some(0.5),
        })
    };
    clusters.iter().enumerate().flat_map(of).collect()
}

#[track_caller]
fn assert_interval(clusters: &[(usize, usize)], expected: [f64; 2], effect: f64) {
    let found = Summary::new(&outcomes(clusters), 0, &[0.01]).found[0];
    let interval = found.interval.unwrap();
    assert!((found.design_effect.unwrap() - effect).abs() < 1e-12, "{found:?}");
    assert!(interval.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-7), "{found:?}");
}

#[test]
fn intervals_are_wilsons_and_clusters_widen_them() {
    // Values by hand and by R: prop.test(8, 10, correct = FALSE), prop.test(0, 10, correct = FALSE).
    let alone = |found: usize| (0..10).map(|i| (1, usize::from(i < found))).collect::<Vec<_>>();
    assert_interval(&alone(8), [0.490_162_5, 0.943_317_8], 1.0);
    assert_interval(&alone(0), [0.0, 0.277_532_8], 1.0);
    // Five pairs that are wholly alike: V = 5/4 · 3.2 / 100 = 0.04, against 0.8 · 0.2 / 9; n* = 10 / 2.25.
    assert_interval(&[(2, 2), (2, 2), (2, 2), (2, 2), (2, 0)], [0.355_101_2, 0.966_730_5], 2.25);
    // Pairs that disagree would say more than independent texts; the design effect is at least 1.
    assert_interval(&[(2, 1); 5], [0.236_593_1, 0.763_406_9], 1.0);
    // If all are found, pairs count as one text each: z² / (5 + z²) at the other end.
    assert_interval(&[(2, 2); 5], [0.565_517_5, 1.0], 2.0);
    assert_interval(&[(4, 2)], [0.054_620_8, 0.945_379_2], 4.0);
}

#[test]
fn a_summary_counts_p_at_the_rate_as_found() {
    let mut texts = outcomes(&[(1, 1), (1, 0), (1, 0)]);
    texts[2].log10_p = None;
    let summary = Summary::new(&texts, 2, &[0.1, 0.01, 0.001]);
    assert_eq!(summary.found.iter().map(|found| found.texts).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!((summary.texts, summary.clusters, summary.errors), (3, 3, 2));
    assert_eq!((summary.median_log10_p, summary.words_kept), (Some(-1.0), Some(0.5)));
    let none = Summary::new(&[], 0, &[0.1]);
    assert_eq!((none.found[0].share, none.median_log10_p, none.words_kept), (None, None, None));
}
