//! Tests of keys with the shortest unused context and with channels.

use super::*;
use crate::scheme::{ContextRule, Distribution, Key, Preset, Secret, Watermark, synthid};
use crate::split_mix;
use crate::statistics::PKind;
use crate::verdict::Verdict;

fn of(keys: impl Into<Keyring>) -> Detector {
    Detector::builder(keys).build().unwrap()
}

fn key(preset: Preset, seed: u8) -> Key {
    Key::new(preset, Secret::new(vec![seed; 32].into())).unwrap()
}

/// Returns `count` tokens that are distributed like words: the k-th has a weight of 1/k.
fn other(count: usize, state: &mut u64) -> Vec<u32> {
    (0..count).map(|_| (5_000_f64.powf(split_mix::unit(state)) as u32) % 5_000).collect()
}

/// Returns a response of `len` tokens under the mark of `key`, in the channel that `random` chooses.
fn marked(key: &Key, random: u64, len: usize) -> Vec<u32> {
    let mut marking = Watermark::new(key.prf()).start(&[], random);
    let mut state = random;
    let draw = |_| {
        let weights = (0..40).map(|_| split_mix::unit(&mut state).powi(6) + 1e-3).collect();
        let mut candidates: Vec<u32> = other(200, &mut state);
        candidates.sort_unstable();
        candidates.dedup();
        candidates.truncate(40);
        let mut candidates = Distribution::from_probabilities(candidates, weights).unwrap();
        marking.apply(&mut candidates);
        let token = candidates.draw(split_mix::unit(&mut state));
        marking.push(token);
        token
    };
    (0..len).map(draw).collect()
}

#[test]
fn the_channel_of_a_text_is_found_and_paid_for() {
    let balanced = || key(Preset::Balanced, 1);
    let detector = of(balanced());
    let mut channels = std::collections::HashSet::new();
    for text in 0..12_u64 {
        let random = split_mix::mix(text);
        let channel = Watermark::new(balanced().prf()).channel(random);
        channels.extend(channel);
        let ids = marked(&balanced(), random, 60);
        let report = detector.score(Input::tokens(&ids)).unwrap();
        assert_eq!((report.verdict, report.channel), (Verdict::Watermarked, channel));
        assert_eq!((report.channels_tried, report.p_kind), (Some(16), PKind::Conservative));
        let known = detector.with_channel(channel).unwrap().score(Input::tokens(&ids)).unwrap();
        let paid = report.log10_p.unwrap() - known.log10_p.unwrap();
        assert!((paid - 16_f64.log10()).abs() < 1e-9, "{paid}");
        assert_eq!((known.channels_tried, known.p_kind), (None, PKind::Exact));
        let built = Detector::builder(balanced()).channel(channel).build().unwrap();
        assert_eq!(built.score(Input::tokens(&ids)).unwrap(), known);
        let wrong = detector.with_channel(channel.map(|channel| (channel + 1) % 16)).unwrap();
        assert_ne!(wrong.score(Input::tokens(&ids)).unwrap().verdict, Verdict::Watermarked);
    }
    assert!(channels.len() > 5, "{channels:?}");
    let refused = detector.with_channel(Some(16)).unwrap_err().to_string();
    assert!(refused.ends_with("has the channels 0 to 15, found channel 16"), "{refused}");
    let built = Detector::builder(balanced()).channel(16).build().unwrap_err().to_string();
    assert_eq!(built, refused);
    // A key that has one channel ignores it.
    of(key(Preset::Secret, 1)).with_channel(Some(16)).unwrap();
    Detector::builder(key(Preset::Secret, 1)).channel(16).build().unwrap();
}

/// A client that sends one seed with each prompt must neither know the channel nor keep it.
#[test]
fn a_seed_without_the_key_does_not_tell_the_channel() {
    let [one, other] = [1, 2].map(|seed| Watermark::new(key(Preset::Balanced, seed).prf()));
    let channel = |mark: &Watermark, prompt: u32, seed, number| {
        mark.channel(mark.random(&[2, prompt], seed, number)).unwrap()
    };
    let mut counts = [0; 16];
    let mut same = [0; 4];
    for prompt in 0..1600 {
        let here = channel(&one, prompt, 7, 0);
        assert_eq!(here, channel(&one, prompt, 7, 0));
        counts[usize::from(here)] += 1;
        let others =
            [(&one, prompt + 1, 7, 0), (&one, prompt, 8, 0), (&one, prompt, 7, 1), (&other, prompt, 7, 0)];
        for (same, (mark, prompt, seed, number)) in same.iter_mut().zip(others) {
            *same += usize::from(here == channel(mark, prompt, seed, number));
        }
    }
    // 100 are expected in each channel, and as often the same by chance; five standard deviations are 49.
    assert!(counts.iter().all(|count| (51..150).contains(count)), "{counts:?}");
    assert!(same.iter().all(|count| (51..150).contains(count)), "{same:?}");
    assert_eq!(Watermark::new(key(Preset::Secret, 1).prf()).random(&[2], 7, 0), 0);
}

#[test]
fn a_ring_counts_every_channel_and_names_the_one() {
    let ring = || {
        let one = synthid::Sha256V2 { channels: 1, ..Default::default() };
        let one = Key::new(one, Secret::new(vec![1; 32].into())).unwrap();
        let keys = vec![key(Preset::Secret, 1), key(Preset::Robust, 2), key(Preset::Balanced, 3), one];
        of(Keyring::new(keys).unwrap())
    };
    let ids = marked(&key(Preset::Balanced, 3), 77, 80);
    let channel = Watermark::new(key(Preset::Balanced, 3).prf()).channel(77);
    let (report, attributed) =
        (ring().score(Input::tokens(&ids)).unwrap(), ring().attribute(Input::tokens(&ids)).unwrap());
    assert_eq!((report.keys_tried, report.channels_tried), (Some(4), Some(1 + 4 + 16 + 1)));
    assert_eq!((&report.key_id, report.channel), (&key(Preset::Balanced, 3).id(), channel));
    let [named] = &attributed.keys[..] else { panic!("{attributed:?}") };
    assert_eq!((&named.key_id, named.channel), (&report.key_id, channel));
    assert_eq!((Some(named.log10_p), attributed.channels_tried), (report.log10_p, Some(22)));
    let paid = named.log10_p - named.log10_p_alone;
    assert!((paid - (22.0 / 16_f64).log10()).abs() < 1e-9, "{paid}");
    // The runner-up may be the key with one channel, which then names no channel.
    let other = attributed.runner_up.unwrap();
    assert_eq!(other.channel.is_some(), other.key_id == key(Preset::Robust, 2).id());
}

#[test]
fn what_is_replaced_takes_less_of_the_mark() {
    let log10_p = |preset, text: u64| {
        let random = split_mix::mix(text);
        let mut ids = marked(&key(preset, 5), random, 200);
        for place in (2..200).step_by(5) {
            ids[place] = 6_000 + place as u32;
        }
        of(key(preset, 5)).score(Input::tokens(&ids)).unwrap().log10_p.unwrap()
    };
    for text in 0..4 {
        let (short, whole) = (log10_p(Preset::Balanced, text), log10_p(Preset::Secret, text));
        assert!(whole > -4.0 && short < -8.0, "text {text}: {short} {whole}");
    }
}

#[test]
fn passages_are_found_behind_and_between_other_text() {
    let balanced = key(Preset::Balanced, 9);
    let detector = of(key(Preset::Balanced, 9));
    let mut state = 3;
    // Two answers in different channels. Other text stands before, between and after them.
    let answers = [marked(&balanced, 1 << 60, 250), marked(&balanced, 5 << 60, 250)];
    let text =
        [other(3_000, &mut state), answers[0].clone(), other(777, &mut state), answers[1].clone()].concat();
    let text = [text, other(500, &mut state)].concat();
    let report = detector.segments(Input::tokens(&text)).unwrap();
    let [first, second] = &report.segments[..] else { panic!("{report:?}") };
    assert_eq!((report.channels_tried, first.channel, second.channel), (Some(16), Some(1), Some(5)));
    for (span, [start, end]) in [(first, [3_000, 3_250]), (second, [4_027, 4_277])] {
        assert!(span.tokens[0].abs_diff(start) < 40 && span.tokens[1].abs_diff(end) < 40, "{span:?}");
        assert!(span.scored_tokens > 150 && span.log10_p < -10.0, "{span:?}");
    }
    let known = detector.with_channel(Some(1)).unwrap().segments(Input::tokens(&text)).unwrap();
    assert_eq!(known.segments.len(), 1);
    assert!((first.log10_p - known.segments[0].log10_p - 16_f64.log10()).abs() < 1e-9);
}

/// At that rate at most one in ten of 1,200 texts without a mark may have a passage, whatever the texts are. Here some
/// of them repeat themselves. Binomial(1200, 0.1) is above 156 with a probability of 0.0003.
#[test]
fn texts_without_a_mark_seldom_have_a_passage() {
    let mut state = 11;
    let mut with_any = 0;
    for text in 0..1_200_u32 {
        let one = synthid::Sha256V2 { channels: 1, ..Default::default() };
        let mut secret = vec![7; 28];
        secret.extend(text.to_le_bytes());
        let key = Key::new(one, Secret::new(secret.into())).unwrap();
        assert!(matches!(key.scheme().context_rule(), ContextRule::Shortest { .. }));
        let mut ids = other(400, &mut state);
        if text % 3 == 0 {
            ids = [&ids[..150], &ids[50..150], &ids[..200]].concat();
        }
        let detector = of(key).with_fpr(0.1).unwrap();
        with_any += u32::from(!detector.segments(Input::tokens(&ids)).unwrap().segments.is_empty());
    }
    assert!((1..=156).contains(&with_any), "{with_any}");
}
