use super::*;
use crate::detect::{Detector, Input};
use crate::ignore::IgnoreList;
use crate::scheme::test_families::Green;
use crate::scheme::{EvidenceKind, Key, Scheme, Secret, TextGValues, gumbel, kgw, synthid};
use crate::statistics::bayesian::BayesianModel;
use crate::statistics::{Bayesian, Profile};
use crate::verdict::Verdict;

fn key(seed: u8) -> Key {
    Key::from_bytes(&[seed; 32], "test").unwrap()
}

fn calibrate(corpus: &Corpus, key: &Key, options: &Options) -> Calibration {
    super::calibrate(corpus, &key.prf(), options).unwrap()
}

fn options(keys: u64, seed: u64) -> Options {
    Options { decider: Decider::WeightedMean, fpr: 0.1, keys, seed, least_documents: None, passages: 20 }
}

/// Returns `count` documents, each with `boilerplate` in front of `len` own tokens, which are its number × 1,000 and
/// on.
fn documents(count: u32, len: u32, boilerplate: &[u32]) -> Vec<Vec<u32>> {
    let own = |d: u32| (0..len).map(move |t| 1_000 * (d + 1) + t);
    (0..count).map(|d| boilerplate.iter().copied().chain(own(d)).collect()).collect()
}

fn corpus(documents: &[Vec<u32>], ignore: Option<&IgnoreList>) -> Corpus {
    let mut corpus = Corpus::new(5);
    for ids in documents {
        corpus.push(&key(1).prf(), ids, ignore);
    }
    corpus
}

/// Checks documents of lengths up to 60, with and without repetitions: the key flags exactly those that the detector
/// calls watermarked. The second key counts tokens by shares.
fn assert_flags_are_verdicts(decider: &Decider) -> Vec<bool> {
    let v2 = synthid::Sha256V2 { channels: 1, ..Default::default() };
    let keys = [key(1), Key::new(v2, Secret::new(vec![1; 32].into())).unwrap()];
    let statistic = decider.statistic(EvidenceKind::Layers { depth: 30 }).unwrap();
    let no_keys = options(0, 0);
    let mut flags = Vec::new();
    for len in (1..=60).step_by(2) {
        let mut ids = documents(2, len, &[]);
        // The squares modulo 23 have twelve values, which follow each other in several ways.
        let again = |ids: &Vec<u32>| ids.iter().map(|&id| id * id % 23 + id / 1_000).collect();
        ids.extend(ids.iter().map(again).collect::<Vec<_>>());
        for (key, ids) in keys.iter().flat_map(|key| ids.iter().map(move |ids| (key, ids))) {
            let mut corpus = Corpus::new(5);
            corpus.push(&key.prf(), ids, None);
            let judge = Judge::new(&corpus, &*statistic, 0.1, 1);
            let flagged = judge.flagged(&key.prf(), &no_keys, |_| true).unwrap();
            let flag = flagged.own.iter().sum::<u64>() == 1;
            let values = TextGValues::new(&key.prf(), &[], ids);
            let p = statistic.evaluate(Sample::scored(&values)).unwrap().p;
            let scheme = key.scheme().name();
            assert_eq!(flag, p.is_some_and(|p| p.reaches(0.1)), "{decider:?}, {scheme}, {ids:?}");
            flags.push(flag);
        }
    }
    flags
}

#[test]
fn thresholds_decide_as_p_values_do() {
    for method in [Method::WeightedMean, Method::Mean, Method::Llr, Method::Bayesian] {
        assert_flags_are_verdicts(&method.into());
    }
}

/// The calibrated statistic is the deployed one: another profile or other weights flag other documents.
#[test]
fn a_profile_and_weights_of_ones_own_decide() {
    let flags = |decider: Decider| assert_flags_are_verdicts(&decider);
    let hot = Profile::named("t1.0").unwrap().clone();
    assert_ne!(flags(hot.into()), flags(Method::Llr.into()));
    // Ones in the last of twelve layers and in no other.
    let mut beta = [-30.0; 12];
    beta[11] = 3.0;
    let last = Bayesian::new(BayesianModel::new(&beta, &[0.0; 144], 0.5).unwrap());
    assert_ne!(flags(last.into()), flags(Method::Bayesian.into()));
}

/// A passage that most documents share makes their numbers of flags swing together; the rank is uniform all the same.
#[test]
fn rank_is_uniform_over_deployed_keys_on_dependent_documents() {
    let boilerplate: Vec<u32> = (100..130).collect();
    let corpus = corpus(&documents(40, 20, &boilerplate), None);
    let ranks: Vec<f64> =
        (0..200).map(|d| calibrate(&corpus, &key(d), &options(19, d.into())).rank_p).collect();
    for level in [0.05, 0.1, 0.25, 0.5, 0.75] {
        let share = ranks.iter().filter(|&&p| p <= level).count() as f64 / ranks.len() as f64;
        // Ties count against significance, so the share may lie below; above it by at most 3.3 standard errors.
        assert!(share <= level + 3.3 * (level * (1.0 - level) / 200.0_f64).sqrt(), "{level}: {share}");
    }
    assert!(ranks.iter().filter(|&&p| p <= 0.5).count() > 50);
}

#[test]
fn a_key_that_marked_the_corpus_is_worse_than_chance() {
    // Each token is the one of eight candidates with the most ones under key 1.
    let prf = key(1).prf();
    let marked: Vec<Vec<u32>> = (0..5)
        .map(|d| {
            let mut ids: Vec<u32> = (0..4).map(|t| 10_000 * (d + 1) + t).collect();
            while ids.len() < 30 {
                let context = prf.context(&ids[ids.len() - 4..]);
                let candidates = (0..8).map(|c| 10_000 * (d + 1) + 8 * ids.len() as u32 + c);
                ids.push(candidates.max_by_key(|&id| context.g_bits(id).0.count_ones()).unwrap());
            }
            ids
        })
        .collect();
    let corpus = corpus(&marked, None);
    let found = calibrate(&corpus, &key(1), &options(999, 7));
    assert_eq!((found.flagged, found.keys_at_least, found.worse_than_chance), (5, 0, true));
    assert!((found.rank_p - 0.001).abs() < 1e-12);
    let few = calibrate(&corpus, &key(1), &options(100, 7));
    assert!(!few.worse_than_chance && few.warnings.iter().any(|warning| warning.message.contains("999")));
    let other = calibrate(&corpus, &key(2), &options(999, 7));
    assert!(!other.worse_than_chance);
    // The same seed gives the same keys, whichever thread took them.
    assert_eq!(found.random_flagged, other.random_flagged);
}

/// Batches are begun in order, and every one that is begun is finished, whichever thread takes it.
#[test]
fn a_stopped_calibration_is_that_of_the_first_documents() {
    let boilerplate: Vec<u32> = (100..130).collect();
    let texts = documents(40, 1000, &boilerplate);
    let all = corpus(&texts, None);
    let options = options(20, 3);
    let mut stopped = 0;
    for stop in [0, 1, 12, 40] {
        let part = calibrate_while(&all, &key(1).prf(), &options, |done| done < stop).unwrap();
        assert!((stop..=40).contains(&part.documents), "{} documents, stopped after {stop}", part.documents);
        let first = calibrate(&corpus(&texts[..part.documents as usize], None), &key(1), &options);
        let mut warnings = part.warnings.clone();
        warnings.retain(|warning| warning.code != WarningCode::Interrupted);
        assert_eq!(part.documents < 40, warnings.len() < part.warnings.len());
        assert_eq!(Calibration { documents_given: part.documents, warnings, ..part.clone() }, first);
        stopped += u32::from((1..40).contains(&part.documents));
    }
    assert!(stopped > 0);
}

/// Documents of any length and number are judged in batches, each of them in one.
#[test]
fn every_document_is_in_one_batch() {
    let mut texts = documents(300, 30, &[]);
    texts.insert(7, (0..40_000).collect());
    texts.extend([vec![], vec![1, 2]]);
    let corpus = corpus(&texts, None);
    let statistic = Decider::WeightedMean.statistic(EvidenceKind::Layers { depth: 30 }).unwrap();
    for keys in [1, 999, 1_000_000, u64::from(u32::MAX)] {
        let batches = Judge::new(&corpus, &*statistic, 0.1, 1).batches(keys);
        assert_eq!(batches.into_iter().flatten().collect::<Vec<_>>(), (0..303).collect::<Vec<_>>());
    }
}

#[test]
fn rates_over_keys_meet_the_exact_size() {
    let report = calibrate(&corpus(&documents(50, 40, &[]), None), &key(1), &options(400, 3));
    let rate = report.rate;
    assert!(rate.expected <= 0.1 && rate.expected > 0.09, "{rate:?}");
    // 20,000 independent (document, key) pairs: four standard errors.
    assert!((rate.mean - rate.expected).abs() < 4.0 * (0.09_f64 / 20_000.0).sqrt(), "{rate:?}");
    assert!(rate.mean_interval[0] < rate.mean && rate.mean < rate.mean_interval[1]);
    assert!(rate.keys_range[0] < rate.mean && rate.mean < rate.keys_range[1]);
    assert_eq!(report.buckets.len(), 1);
    assert_eq!(
        (report.buckets[0].from, report.buckets[0].to, report.buckets[0].documents),
        (25, Some(49), 50)
    );
    assert_eq!(report.buckets[0].rate, rate);
}

#[test]
fn shared_passages_are_listed_and_ignored() {
    let boilerplate: Vec<u32> = (100..130).collect();
    let mut texts = documents(10, 20, &boilerplate);
    texts.extend(documents(30, 20, &[]).into_iter().skip(10));
    let report = calibrate(&corpus(&texts, None), &key(1), &options(9, 1));
    let shared = &report.shared;
    assert_eq!((shared.least_documents, shared.ngrams, shared.passages_found), (3, 26, 1));
    assert_eq!((shared.passages[0].tokens.as_slice(), shared.passages[0].documents), (&boilerplate[..], 10));
    assert!((0.2..0.8).contains(&shared.passages[0].score));
    // 10 of 30 documents have 46 positions, the others 16.
    assert!((shared.scored_share - 260.0 / (460.0 + 320.0)).abs() < 1e-12);

    let mut ignore = IgnoreList::new([5]);
    ignore.add_tokens(&boilerplate);
    let without = calibrate(&corpus(&texts, Some(&ignore)), &key(1), &options(9, 1));
    assert_eq!((without.ignored_tokens, without.shared.ngrams), (260, 0));
    assert_eq!(without.scored_tokens + 260, report.scored_tokens);
}

#[test]
fn an_empty_corpus_flags_nothing() {
    for texts in [vec![], vec![vec![], vec![1, 2, 3]]] {
        let report = calibrate(&corpus(&texts, None), &key(1), &options(9, 1));
        assert_eq!((report.flagged, report.rank_p, report.worse_than_chance), (0, 1.0, false));
        assert!(report.rate.mean.is_finite() && report.shared.scored_share.is_finite());
    }
}

#[test]
fn compat_keys_are_ranked_among_their_own_kind() {
    let scheme = Scheme::DeepMind(synthid::DeepMind { depth: 4, ngram_len: 5, context_history_size: 1024 });
    let secret: Vec<u8> = [5_i64, 7, 9, 11].iter().flat_map(|key| key.to_le_bytes()).collect();
    let key = Key::new(scheme, Secret::new(secret.into())).unwrap();
    let report = calibrate(&corpus(&documents(10, 60, &[]), None), &key, &options(9, 1));
    assert_eq!(report.random_flagged.len(), 9);
    assert!(report.warnings[0].message.contains("independent"));
}

#[test]
fn keys_whose_values_no_statistic_sums_are_an_error() {
    let key = Key::new(Green { odds: 2 }, Secret::new(vec![1; 8].into())).unwrap();
    let mut corpus = Corpus::new(2);
    corpus.push(&key.prf(), &[1, 2, 3, 4], None);
    let error = super::calibrate(&corpus, &key.prf(), &options(9, 1)).unwrap_err();
    assert!(matches!(error, CalibrateError::Evidence(_)), "{error}");
}

/// Documents that share n-grams, under keys of another engine's mark: what a key flags is what its detector calls watermarked.
#[test]
fn flags_are_verdicts_under_keys_of_other_engines() {
    let engines: [Scheme; 2] = [
        gumbel::VllmGumbel { context_width: 2 }.into(),
        kgw::KgwTgi { gamma: 0.5.into(), vocab_size: 40 }.into(),
    ];
    for scheme in engines {
        let mut flags = [0; 2];
        for seed in 0..60 {
            let key = random_key(&scheme, seed, 0).unwrap();
            let id = |t: u32| (t * (seed as u32 + 1) + t * t / 7) % 40;
            let ids: Vec<u32> = (0..60).map(id).collect();
            let mut corpus = Corpus::new(scheme.ngram_len());
            corpus.push(&key.prf(), &ids, None);
            let usual = Options { decider: Decider::Usual, ..options(1, 1) };
            let report = calibrate(&corpus, &key, &usual);
            let detector = Detector::builder(key).fpr(0.1).build().unwrap();
            let verdict = detector.score(Input::tokens(&ids)).unwrap().verdict;
            assert_eq!(report.flagged == 1, verdict == Verdict::Watermarked, "{seed}");
            flags[usize::from(report.flagged == 1)] += 1;
        }
        assert!(flags[0] > 30 && flags[1] > 0, "{flags:?}");
    }
    let keyed = kgw::Kgw {
        prf: kgw::Prf::SelfHash,
        context_width: 4,
        gamma: 0.5.into(),
        vocab_size: 40,
        select_green_tokens: true,
    };
    let key = random_key(&keyed.into(), 1, 0).unwrap();
    let usual = Options { decider: Decider::Usual, ..options(1, 1) };
    let error = super::calibrate(&Corpus::new(4), &key.prf(), &usual).unwrap_err();
    assert!(matches!(error, CalibrateError::KeyedPositions { scheme: "kgw" }));
}

#[test]
fn levels_that_decide_nothing_are_refused() {
    let corpus = corpus(&documents(3, 20, &[]), None);
    for fpr in [0.0, 1.0, f64::NAN] {
        let error = super::calibrate(&corpus, &key(1).prf(), &Options { fpr, ..options(9, 1) }).unwrap_err();
        assert!(matches!(error, CalibrateError::Fpr(_)), "{error}");
    }
}
