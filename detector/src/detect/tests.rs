use super::*;
use crate::scheme::{KeyError, Secret};

fn key(seed: u8) -> Key {
    Key::from_bytes(&[seed; 32], "test").unwrap()
}

/// Ids of a text that is marked by brute force: of 8 candidates the one with most ones.
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
    let found = Detector::for_tokens(key(1)).score_tokens(&ids);
    assert_eq!((found.tokens, found.scored_tokens), (104, 100));
    assert_eq!((found.verdict, found.p_kind), (Verdict::Watermarked, PKind::Exact));
    assert_eq!(found.score, found.scores.weighted_mean);
    assert!(found.log10_p.unwrap() < -20.0, "{found:?}");
    let other = Detector::for_tokens(key(2)).score_tokens(&ids);
    assert_eq!(other.verdict, Verdict::NotDetected);
    let mean = Detector::for_tokens(key(1)).detector(Method::Mean).score_tokens(&ids);
    assert_eq!(mean.score, found.scores.mean);
    assert_ne!(mean.p_value, found.p_value);
}

#[test]
fn nothing_to_score() {
    for ids in [&[][..], &[1, 2, 3, 4]] {
        let report = Detector::for_tokens(key(1)).score_tokens(ids);
        assert_eq!((report.score, report.p_value, report.log10_p), (None, None, None));
        assert_eq!(report.verdict, Verdict::TooShort);
    }
}

#[test]
fn a_prompt_takes_its_contexts() {
    let ids = marked(&key(1), 104);
    let report = Detector::for_tokens(key(1)).score_tokens_with_prompt(&ids[..52], &ids);
    // Of the answer's 100 contexts the prompt has those of positions 4 to 51, and its last four tokens are the
    // context of the answer's first.
    assert_eq!(report.scored_tokens, 51);
    assert!(report.warnings.is_empty());
    let report = Detector::for_tokens(key(1)).score_tokens_with_prompt(&ids, &ids);
    assert!(report.scored_tokens <= 1);
    assert!(report.warnings[0].contains("repeat"));
}

#[test]
fn a_ring_names_the_key_and_corrects_p() {
    let ids = marked(&key(3), 60);
    let ring = Keyring::new((1..=5).map(key).chain([key(3)]).collect()).unwrap();
    assert_eq!(ring.keys().len(), 5);
    let report = Detector::for_keyring(ring).score_tokens(&ids);
    let alone = Detector::for_tokens(key(3)).score_tokens(&ids);
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
    std::fs::write(dir.path().join("b"), [2; 32]).unwrap();
    std::fs::write(dir.path().join("a"), [1; 32]).unwrap();
    std::fs::write(dir.path().join(".hidden"), "no key").unwrap();
    let ids: Vec<_> = Keyring::open(dir.path()).unwrap().keys().map(Key::id).collect();
    assert_eq!(ids, [key(1).id(), key(2).id()]);
    std::fs::write(dir.path().join("c"), "no key").unwrap();
    assert!(matches!(Keyring::open(dir.path()), Err(DetectError::Key(KeyError::NotAKey { .. }))));
    assert!(matches!(Keyring::open(dir.path().join("no")), Err(DetectError::Keyring { .. })));
}

#[test]
fn compat_keys_are_approximate() {
    let scheme = crate::scheme::Scheme::DeepMind { depth: 2, ngram_len: 3, context_history_size: 1024 };
    let secret: Vec<u8> = [5_i64, 7].iter().flat_map(|key| key.to_le_bytes()).collect();
    let key = Key::new(scheme, Secret::new(secret.into())).unwrap();
    let report = Detector::for_tokens(key).score_tokens(&(0..50).collect::<Vec<_>>());
    assert_eq!(report.p_kind, PKind::Approximate);
    assert!(report.warnings[0].contains("approximate"));
}

#[test]
fn rates_that_decide_nothing_are_refused() {
    for fpr in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(matches!(Detector::for_tokens(key(1)).fpr(fpr), Err(DetectError::Fpr { .. })));
    }
}

fn labels(numbers: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("tenant-{number}"))
}

#[test]
fn attribution_names_the_key_and_none_else() {
    let master = key(9);
    let ring = || Keyring::derived(&master, labels(0..200).chain(labels(0..10))).unwrap();
    assert_eq!(ring().len(), 200);
    let detector = Detector::for_keyring(ring());
    let ids = marked(&master.derive("tenant-137").unwrap(), 64);
    let report = detector.attribute_tokens(&ids);
    assert_eq!((report.verdict, report.keys_tried, report.keys.len()), (Verdict::Watermarked, 200, 1));
    let found = &report.keys[0];
    assert_eq!(found.name.as_deref(), Some("tenant-137"));
    assert_eq!(found.key_id, master.derive("tenant-137").unwrap().id());
    assert!((found.log10_p - found.log10_p_alone - 200f64.log10()).abs() < 1e-9);
    // It is what the detector says of this key alone, and of the ring.
    let alone = Detector::for_tokens(master.derive("tenant-137").unwrap()).score_tokens(&ids);
    assert_eq!((alone.log10_p, alone.score), (Some(found.log10_p_alone), Some(found.score)));
    assert_eq!(detector.score_tokens(&ids).log10_p, Some(found.log10_p));
    let runner_up = report.runner_up.unwrap();
    assert_ne!(runner_up.key_id, found.key_id);
    assert!(runner_up.log10_p > -3.0);

    let none = detector.attribute_tokens(&marked(&key(1), 400));
    assert_eq!((none.verdict, none.keys.len()), (Verdict::NotDetected, 0));
    assert!(none.runner_up.is_some());
    let nothing = detector.attribute_tokens(&[1, 2, 3]);
    assert_eq!((nothing.verdict, nothing.keys.len(), nothing.runner_up), (Verdict::TooShort, 0, None));
    assert!(matches!(Keyring::derived(&master, []), Err(DetectError::EmptyKeyring { .. })));
}

/// Both tenants whose text is in it are named; keys of another n-gram length are judged by their own positions.
#[test]
fn attribution_names_two_keys_of_two_schemes() {
    let (long, secret) = (key(1), Secret::new(vec![2; 32].into()));
    let short = Key::new(crate::scheme::Scheme::Sha256 { depth: 20, ngram_len: 3 }, secret).unwrap();
    let mut ids = marked(&long, 104);
    let prf = short.prf();
    for i in 0..100 {
        let context = prf.context(&ids[ids.len() - 2..]);
        let best = (0..8).map(|c| 200_000 + 8 * i + c).max_by_key(|&id| context.g_bits(id).0.count_ones());
        ids.extend(best);
    }
    let expected = [long.id(), short.id()];
    let detector = Detector::for_keyring(Keyring::new(vec![short, long, key(3)]).unwrap());
    let report = detector.attribute_tokens(&ids);
    let mut found: Vec<_> = report.keys.iter().map(|key| (&key.key_id, key.scored_tokens)).collect();
    found.sort_by_key(|found| found.1);
    assert_eq!(found, [(&expected[0], 200), (&expected[1], 202)]);
    assert_eq!(report.runner_up.unwrap().key_id, key(3).id());
}

#[test]
fn segments_are_found_where_they_are() {
    let passage = marked(&key(1), 104);
    let ids: Vec<u32> = (0..600).chain(passage).chain(600_000..600_500).collect();
    let detector = Detector::for_tokens(key(1));
    let report = detector.segments_of_tokens(&ids);
    assert_eq!((report.segments.len(), report.tokens, report.p_kind), (1, 1204, PKind::Conservative));
    let span = &report.segments[0];
    assert!(span.tokens[0].abs_diff(600) <= 8 && span.tokens[1].abs_diff(704) <= 8, "{span:?}");
    assert!(span.log10_p < -8.0 && span.bytes.is_none());
    // `score` has the same spans, whatever it says of the whole.
    assert_eq!(detector.score_tokens(&ids).spans, report.segments);
    // A ring divides the rate, and names the key.
    let ring = Detector::for_keyring(Keyring::new(vec![key(2), key(1)]).unwrap());
    let of_ring = &ring.segments_of_tokens(&ids).segments[..];
    assert_eq!(of_ring.len(), 1);
    assert_eq!((of_ring[0].tokens, &of_ring[0].key_id), (span.tokens, &key(1).id()));
    assert!((of_ring[0].log10_p - span.log10_p - 2f64.log10()).abs() < 1e-9);

    assert_eq!(Detector::for_tokens(key(2)).segments_of_tokens(&ids).segments, []);
    assert_eq!(detector.segments_of_tokens(&[1, 2]).segments, []);
}

#[test]
fn a_repetition_of_a_passage_is_a_passage() {
    let passage = marked(&key(1), 104);
    let quote =
        |tokens: usize| [&passage[40..40 + tokens], &(700_000..700_300).collect::<Vec<u32>>()].concat();
    let ids: Vec<u32> =
        (0..600).chain(passage.clone()).chain(600_000..600_500).chain(quote(40)).chain(0..200).collect();
    let detector = Detector::for_tokens(key(1));
    let spans = detector.segments_of_tokens(&ids).segments;
    assert_eq!(spans.len(), 2, "{spans:?}");
    let [from, to] = spans[1].tokens;
    assert!(from.abs_diff(1204) <= 8 && to.abs_diff(1244) <= 8, "{spans:?}");
    assert_eq!((spans[1].scored_tokens, spans[1].score, spans[1].p_value), (0, 0.0, spans[0].p_value));
    // A few words are none.
    let ids: Vec<u32> = (0..600).chain(passage.clone()).chain(600_000..600_500).chain(quote(12)).collect();
    assert_eq!(detector.segments_of_tokens(&ids).segments.len(), 1);
}

#[test]
fn a_passage_that_loops_ends_with_its_loop() {
    let passage = marked(&key(1), 104);
    let looped = [&passage[..], &passage[84..].repeat(10)].concat();
    let ids: Vec<u32> = (0..600).chain(looped).chain(600_000..600_500).collect();
    let detector = Detector::for_tokens(key(1));
    let span = &detector.segments_of_tokens(&ids).segments[0];
    assert!(span.tokens[0].abs_diff(600) <= 8 && span.tokens[1].abs_diff(904) <= 4, "{span:?}");
    let once: Vec<u32> = (0..600).chain(passage).chain(600_000..600_500).collect();
    let plain = &detector.segments_of_tokens(&once).segments[0];
    assert!(span.scored_tokens.abs_diff(plain.scored_tokens) <= 4, "a loop is no evidence: {span:?}");
    // What somebody else wrote before and after is not the passage, though it repeats itself.
    let ids: Vec<u32> =
        (0..40).cycle().take(600).chain(once[600..704].to_vec()).chain((0..40).cycle().take(300)).collect();
    let span = &detector.segments_of_tokens(&ids).segments[0];
    assert!(span.tokens[0].abs_diff(600) <= 8 && span.tokens[1].abs_diff(704) <= 8, "{span:?}");
}
