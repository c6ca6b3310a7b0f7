use super::*;
use crate::report::WarningCode;
use crate::scheme::test_families::Green;
use crate::scheme::{Key, KeyError, Secret, synthid};
use crate::statistics::{Method, PKind};
use crate::verdict::Verdict;
use crate::work;

fn of(keys: impl Into<Keyring>) -> Detector {
    Detector::builder(keys).build().unwrap()
}

fn key(seed: u8) -> Key {
    Key::from_bytes(&[seed; 32], "test").unwrap()
}

/// Returns the ids of a text that is marked by brute force: each is the one of 8 candidates with the most ones.
fn marked(key: &Key, len: usize) -> Vec<u32> {
    let prf = key.prf();
    let mut ids = vec![1, 2, 3, 4];
    while ids.len() < len {
        let context = prf.context(&ids[ids.len() - 4..]);
        let best = (0..8).map(|c| 100 + 8 * ids.len() as u32 + c);
        ids.push(best.max_by_key(|&id| context.g_bits(id).0.count_ones()).unwrap());
    }
    ids
}

#[test]
fn one_key() {
    let ids = marked(&key(1), 104);
    let found = of(key(1)).score(Input::tokens(&ids)).unwrap();
    assert_eq!((found.tokens, found.scored_tokens), (104, 100));
    assert_eq!((found.verdict, found.p_kind), (Verdict::Watermarked, PKind::Exact));
    assert_eq!(found.score, found.scores.weighted_mean);
    assert!(found.log10_p.unwrap() < -20.0, "{found:?}");
    let other = of(key(2)).score(Input::tokens(&ids)).unwrap();
    assert_eq!(other.verdict, Verdict::NotDetected);
    let mean = of(key(1)).with_method(Method::Mean).unwrap().score(Input::tokens(&ids)).unwrap();
    assert_eq!(mean.score, found.scores.mean);
    assert_ne!(mean.p_value, found.p_value);
}

#[test]
fn keys_whose_values_no_statistic_sums_are_refused() {
    let green = Key::new(Green { odds: 2 }, Secret::new(vec![1; 8].into())).unwrap();
    let error = Detector::builder(green).method(Method::WeightedMean).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "weighted_mean expects g-bits of 1 to 64 layers, found green bits at rate 0.25"
    );
}

#[test]
fn nothing_to_score() {
    for ids in [&[][..], &[1, 2, 3, 4]] {
        let report = of(key(1)).score(Input::tokens(ids)).unwrap();
        assert_eq!((report.score, report.p_value, report.log10_p), (None, None, None));
        assert_eq!(report.verdict, Verdict::TooShort);
    }
}

#[test]
fn a_prompt_takes_its_contexts() {
    let ids = marked(&key(1), 104);
    let report = of(key(1)).score(Input::tokens(&ids).after_prompt(&ids[..52])).unwrap();
    // The answer has 100 contexts. The prompt has those of positions 4 to 51, and its last four tokens are the context
    // of the answer's first position.
    assert_eq!(report.scored_tokens, 51);
    assert!(report.warnings.is_empty());
    let report = of(key(1)).score(Input::tokens(&ids).after_prompt(&ids)).unwrap();
    assert!(report.scored_tokens <= 1);
    assert!(report.warnings[0].message.contains("repeat"));
}

#[test]
fn a_ring_names_the_key_and_corrects_p() {
    let ids = marked(&key(3), 60);
    let ring = Keyring::new((1..=5).map(key).chain([key(3)]).collect()).unwrap();
    assert_eq!(ring.keys().len(), 5);
    let report = of(ring).score(Input::tokens(&ids)).unwrap();
    let alone = of(key(3)).score(Input::tokens(&ids)).unwrap();
    assert_eq!(report.key_id, key(3).id());
    assert_eq!((report.keys_tried, alone.keys_tried), (Some(5), None));
    assert_eq!((report.p_kind, alone.p_kind), (PKind::Conservative, PKind::Exact));
    let factor = 10f64.powf(report.log10_p.unwrap() - alone.log10_p.unwrap());
    assert!((factor - 5.0).abs() < 1e-9);
}

#[test]
fn a_directory_is_a_ring() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Keyring::open(dir.path()), Err(DetectError::EmptyKeyring { .. })));
    std::fs::write(dir.path().join("b.key"), [2; 32]).unwrap();
    std::fs::write(dir.path().join("a.bin"), [1; 32]).unwrap();
    std::fs::write(dir.path().join(".hidden"), "no key").unwrap();
    let ids: Vec<_> = Keyring::open(dir.path()).unwrap().keys().map(Key::id).collect();
    assert_eq!(ids, [key(1).id(), key(2).id()]);
    // The owner of the second file may have written the text as well.
    std::fs::write(dir.path().join("d.bin"), [1; 32]).unwrap();
    let ring = of(Keyring::open(dir.path()).unwrap());
    let names: Vec<_> = ring.key_ids().map(|(_, name)| name.unwrap().to_owned()).collect();
    assert_eq!(names, ["a.bin, d.bin", "b.key"]);
    std::fs::write(dir.path().join("c"), "no key").unwrap();
    assert!(matches!(Keyring::open(dir.path()), Err(DetectError::Key(KeyError::NotAKey { .. }))));
    assert!(matches!(Keyring::open(dir.path().join("no")), Err(DetectError::Keyring { .. })));
}

#[test]
fn compat_keys_are_approximate() {
    let scheme = synthid::DeepMind { depth: 2, ngram_len: 3, context_history_size: 1024 };
    let secret: Vec<u8> = [5_i64, 7].iter().flat_map(|key| key.to_le_bytes()).collect();
    let key = Key::new(scheme, Secret::new(secret.into())).unwrap();
    let (detector, ids) = (of(key), (0..50).collect::<Vec<u32>>());
    let report = detector.score(Input::tokens(&ids)).unwrap();
    assert_eq!(report.p_kind, PKind::Approximate);
    assert!(report.warnings[0].message.contains("approximate"));
    let segments = detector.segments(Input::tokens(&ids)).unwrap();
    assert_eq!((segments.p_kind, segments.warnings.len()), (PKind::Approximate, 1));
    assert_eq!(segments.warnings[0].code, WarningCode::ApproximateP);
    assert_eq!(segments.warnings, detector.attribute(Input::tokens(&ids)).unwrap().warnings);
}

#[test]
fn rates_that_decide_nothing_are_refused() {
    for fpr in [0.0, 1.0, -0.1, f64::NAN, 5e-324, 9e-301] {
        assert!(matches!(of(key(1)).with_fpr(fpr), Err(DetectError::Fpr(_))));
        assert!(matches!(Detector::builder(key(1)).fpr(fpr).build(), Err(DetectError::Fpr(_))));
    }
    let error = of(key(1)).with_fpr(5e-324).unwrap_err().to_string();
    assert!(error.contains("expected at least 1e-300 and below 1, found 5e-324"), "{error}");
    // The least rate is still a rate for thousands of keys.
    let ring = of(Keyring::derived(&key(9), labels(0..3000)).unwrap()).with_fpr(LEAST_FPR).unwrap();
    let report = ring.attribute(Input::tokens(&(0..60).collect::<Vec<_>>())).unwrap();
    assert_eq!(report.verdict, Verdict::TooShort);
}

fn labels(numbers: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("tenant-{number}"))
}

#[test]
fn attribution_names_the_key_and_none_else() {
    let master = key(9);
    let ring = || Keyring::derived(&master, labels(0..200).chain(labels(0..10))).unwrap();
    assert_eq!(ring().len(), 200);
    let detector = of(ring());
    let ids = marked(&master.derive("tenant-137").unwrap(), 64);
    let report = detector.attribute(Input::tokens(&ids)).unwrap();
    assert_eq!((report.verdict, report.keys_tried, report.keys.len()), (Verdict::Watermarked, 200, 1));
    let found = &report.keys[0];
    assert_eq!(found.name.as_deref(), Some("tenant-137"));
    assert_eq!(found.key_id, master.derive("tenant-137").unwrap().id());
    assert!((found.log10_p - found.log10_p_alone - 200f64.log10()).abs() < 1e-9);
    // A detector of this key alone says the same, and so does one of the ring.
    let alone = of(master.derive("tenant-137").unwrap()).score(Input::tokens(&ids)).unwrap();
    assert_eq!((alone.log10_p, alone.score), (Some(found.log10_p_alone), Some(found.score)));
    assert_eq!(detector.score(Input::tokens(&ids)).unwrap().log10_p, Some(found.log10_p));
    let runner_up = report.runner_up.unwrap();
    assert_ne!(runner_up.key_id, found.key_id);
    assert!(runner_up.log10_p > -3.0);

    let none = detector.attribute(Input::tokens(&marked(&key(1), 400))).unwrap();
    assert_eq!((none.verdict, none.keys.len()), (Verdict::NotDetected, 0));
    assert!(none.runner_up.is_some());
    let nothing = detector.attribute(Input::tokens(&[1, 2, 3])).unwrap();
    assert_eq!((nothing.verdict, nothing.keys.len(), nothing.runner_up), (Verdict::TooShort, 0, None));
    assert!(matches!(Keyring::derived(&master, []), Err(DetectError::EmptyKeyring { .. })));
}

/// Both tenants whose text is in it are named; keys of another n-gram length are judged by their own positions.
#[test]
fn attribution_names_two_keys_of_two_schemes() {
    let (long, secret) = (key(1), Secret::new(vec![2; 32].into()));
    let short = Key::new(synthid::Sha256 { depth: 20, ngram_len: 3 }, secret).unwrap();
    let mut ids = marked(&long, 104);
    let prf = short.prf();
    for i in 0..100 {
        let context = prf.context(&ids[ids.len() - 2..]);
        let best = (0..8).map(|c| 200_000 + 8 * i + c).max_by_key(|&id| context.g_bits(id).0.count_ones());
        ids.extend(best);
    }
    let expected = [long.id(), short.id()];
    let detector = of(Keyring::new(vec![short, long, key(3)]).unwrap());
    let report = detector.attribute(Input::tokens(&ids)).unwrap();
    let mut found: Vec<_> = report.keys.iter().map(|key| (&key.key_id, key.scored_tokens)).collect();
    found.sort_by_key(|found| found.1);
    assert_eq!(found, [(&expected[0], 200), (&expected[1], 202)]);
    assert_eq!(report.runner_up.unwrap().key_id, key(3).id());
}

#[test]
fn segments_are_found_where_they_are() {
    let passage = marked(&key(1), 104);
    let ids: Vec<u32> = (0..600).chain(passage).chain(600_000..600_500).collect();
    let detector = of(key(1));
    let report = detector.segments(Input::tokens(&ids)).unwrap();
    assert_eq!((report.segments.len(), report.tokens, report.p_kind), (1, 1204, PKind::Conservative));
    let span = &report.segments[0];
    assert!(span.tokens[0].abs_diff(600) <= 8 && span.tokens[1].abs_diff(704) <= 8, "{span:?}");
    assert!(span.log10_p < -8.0 && span.bytes.is_none());
    // `score` has the same spans, whatever it says of the whole.
    assert_eq!(detector.score(Input::tokens(&ids)).unwrap().spans, report.segments);
    // A ring divides the rate, and names the key.
    let ring = of(Keyring::new(vec![key(2), key(1)]).unwrap());
    let of_ring = &ring.segments(Input::tokens(&ids)).unwrap().segments[..];
    assert_eq!(of_ring.len(), 1);
    assert_eq!((of_ring[0].tokens, &of_ring[0].key_id), (span.tokens, &key(1).id()));
    assert!((of_ring[0].log10_p - span.log10_p - 2f64.log10()).abs() < 1e-9);

    assert_eq!(of(key(2)).segments(Input::tokens(&ids)).unwrap().segments, []);
    assert_eq!(detector.segments(Input::tokens(&[1, 2])).unwrap().segments, []);
}

#[test]
fn a_repetition_of_a_passage_is_a_passage() {
    let passage = marked(&key(1), 104);
    let quote =
        |tokens: usize| [&passage[40..40 + tokens], &(700_000..700_300).collect::<Vec<u32>>()].concat();
    let ids: Vec<u32> =
        (0..600).chain(passage.clone()).chain(600_000..600_500).chain(quote(40)).chain(0..200).collect();
    let detector = of(key(1));
    let spans = detector.segments(Input::tokens(&ids)).unwrap().segments;
    assert_eq!(spans.len(), 2, "{spans:?}");
    let [from, to] = spans[1].tokens;
    assert!(from.abs_diff(1204) <= 8 && to.abs_diff(1244) <= 8, "{spans:?}");
    assert_eq!((spans[1].scored_tokens, spans[1].score, spans[1].p_value), (0, 0.0, spans[0].p_value));
    // A few words are not a passage.
    let ids: Vec<u32> = (0..600).chain(passage.clone()).chain(600_000..600_500).chain(quote(12)).collect();
    assert_eq!(detector.segments(Input::tokens(&ids)).unwrap().segments.len(), 1);
}

#[test]
fn a_passage_that_loops_ends_with_its_loop() {
    let passage = marked(&key(1), 104);
    let looped = [&passage[..], &passage[84..].repeat(10)].concat();
    let ids: Vec<u32> = (0..600).chain(looped).chain(600_000..600_500).collect();
    let detector = of(key(1));
    let span = &detector.segments(Input::tokens(&ids)).unwrap().segments[0];
    assert!(span.tokens[0].abs_diff(600) <= 8 && span.tokens[1].abs_diff(904) <= 4, "{span:?}");
    let once: Vec<u32> = (0..600).chain(passage).chain(600_000..600_500).collect();
    let plain = &detector.segments(Input::tokens(&once)).unwrap().segments[0];
    assert!(span.scored_tokens.abs_diff(plain.scored_tokens) <= 4, "a loop is no evidence: {span:?}");
    // The text that somebody else wrote before and after is not part of the passage, though it repeats itself.
    let ids: Vec<u32> =
        (0..40).cycle().take(600).chain(once[600..704].to_vec()).chain((0..40).cycle().take(300)).collect();
    let span = &detector.segments(Input::tokens(&ids)).unwrap().segments[0];
    assert!(span.tokens[0].abs_diff(600) <= 8 && span.tokens[1].abs_diff(704) <= 8, "{span:?}");
}

/// Report, passages and explanation are views of one reading: a text is hashed once under each key, whatever is asked.
#[test]
fn a_question_hashes_a_text_once_under_each_key() {
    let ids: Vec<u32> = (0..300).chain(marked(&key(2), 104)).collect();
    let positions = ids.len() as u64 - 4;
    for (keys, tries) in [(vec![key(2)], 1), (vec![key(1), key(2), key(3)], 3), (vec![key(2), key(1)], 2)] {
        let detector = of(Keyring::new(keys).unwrap());
        let expected = work::Work { encoded: 0, hashed: tries * positions };
        let questions: [&dyn Fn(); 3] = [
            &|| assert_eq!(detector.score(Input::tokens(&ids)).unwrap().spans.len(), 1),
            &|| assert!(detector.explain(Input::tokens(&ids)).unwrap().tokens[350].in_span),
            &|| assert_eq!(detector.segments(Input::tokens(&ids)).unwrap().segments.len(), 1),
        ];
        for question in questions {
            assert_eq!(work::of(question), expected);
        }
    }
}

#[test]
fn siblings_share_the_keys_and_judge_by_their_own_options() {
    let ids = marked(&key(1), 60);
    let detector = of(key(1));
    let strict = detector.with_fpr(1e-300).unwrap();
    let mean = strict.with_method(Method::Mean).unwrap();
    assert!(std::ptr::eq(&raw const detector.keys[0], &raw const mean.keys[0]));
    let report = |detector: &Detector| detector.score(Input::tokens(&ids)).unwrap();
    assert_eq!(
        (report(&detector).verdict, report(&strict).verdict),
        (Verdict::Watermarked, Verdict::TooShort)
    );
    assert_eq!((report(&mean).detector, report(&mean).fpr), (Method::Mean, 1e-300));
    assert_eq!(report(&mean).scores, report(&detector).scores);
    assert_eq!(detector.fpr(), DEFAULT_FPR);
}

#[test]
fn the_order_of_the_options_does_not_matter() {
    let ids = marked(&key(1), 60);
    let one = Detector::builder(key(1)).fpr(0.01).method(Method::Llr).build().unwrap();
    let other = Detector::builder(key(1)).method(Method::Llr).fpr(0.01).build().unwrap();
    let report = one.score(Input::tokens(&ids)).unwrap();
    assert_eq!((report.detector, report.fpr), (Method::Llr, 0.01));
    assert_eq!(other.score(Input::tokens(&ids)).unwrap(), report);
}

/// The contexts of a prompt do not count in any question.
#[test]
fn every_question_knows_the_prompt() {
    let ids = marked(&key(1), 104);
    let detector = of(key(1));
    let input = || Input::tokens(&ids).after_prompt(&ids[..52]);
    let scored = detector.score(input()).unwrap().scored_tokens;
    assert_eq!(detector.segments(input()).unwrap().scored_tokens, scored);
    assert_eq!(detector.attribute(input()).unwrap().keys[0].scored_tokens, scored);
    let explained = detector.explain(input()).unwrap();
    assert_eq!(explained.tokens.iter().filter(|token| token.counts()).count() as u64, scored);
}

#[cfg(feature = "text")]
#[test]
fn text_without_a_tokenizer_is_refused() {
    let detector = of(key(1));
    assert!(matches!(detector.score("text"), Err(DetectError::NoTokenizer)));
    let prompted = Input::tokens(&[1, 2]).after_prompt("text");
    assert!(matches!(detector.score(prompted), Err(DetectError::NoTokenizer)));
    assert!(matches!(detector.score(Input::reader(&b"text"[..])), Err(DetectError::NoTokenizer)));
}
