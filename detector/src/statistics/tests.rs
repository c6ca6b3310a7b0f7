//! Tests of what holds for all statistics.

use super::power::table;
use super::*;
use crate::scheme::test_families::{Green, Uniform};
use crate::scheme::{Evidence, EvidenceKind, GBits, Key, Preset, Scheme, Secret, Share, Uniforms};

fn layers(depth: usize) -> EvidenceKind {
    EvidenceKind::Layers { depth }
}

#[test]
fn lengths_at_the_usual_levels() {
    let statistics = [Method::Mean, Method::WeightedMean, Method::Llr]
        .map(|method| Decider::from(method).statistic(layers(30)).unwrap());
    let table = [1e-2, 1e-3, 1e-6]
        .map(|alpha| statistics.each_ref().map(|statistic| statistic.required_tokens(alpha)));
    assert_eq!(table, [[69, 54, 54], [99, 79, 78], [186, 150, 148]]);
}

/// Recomputes some entries of the table. They change with the reference profile. The table is printed by `cargo test -p
/// wmdetect --lib statistics::tests::print_table -- --ignored --nocapture`.
#[test]
fn the_table_is_what_the_search_finds() {
    for (alpha, depth) in [(1e-3, 30), (1e-2, 30), (5e-2, 12), (1e-6, 20), (1e-4, 3), (1e-5, 1)] {
        let (mean, weighted_mean) = (Mean::new(depth), WeightedMean::new(depth));
        assert_eq!(mean.required_tokens(alpha), mean.search(alpha), "{alpha} {depth}");
        assert_eq!(weighted_mean.required_tokens(alpha), weighted_mean.search(alpha), "{alpha} {depth}");
    }
    // Not in the table.
    assert_eq!(table::look_up(&table::MEAN, 0.002, 30), None);
    assert_eq!(table::look_up(&table::MEAN, 0.001, 33), None);
    assert_eq!(table::look_up(&table::MEAN, 0.001, 0), None);
}

#[test]
#[ignore = "prints power/table.rs in a minute; run with -- --ignored print_table, see CONTRIBUTING.md"]
#[allow(clippy::print_stdout, reason = "the table is what it is for")]
fn print_table() {
    for depth in 1..=table::DEPTHS {
        let (mean, weighted_mean) = (Mean::new(depth), WeightedMean::new(depth));
        println!(
            "{depth} {:?} {:?}",
            table::LEVELS.map(|alpha| mean.search(alpha)),
            table::LEVELS.map(|alpha| weighted_mean.search(alpha))
        );
    }
}

fn all(depth: usize) -> Vec<std::sync::Arc<dyn Statistic>> {
    let tournament = |method: &Method| Decider::from(*method).statistic(layers(depth)).ok();
    Method::ALL.iter().filter_map(tournament).collect()
}

/// The sum of a text is that of its tokens' values, with and without a mask; no text leaves the range of sums.
#[test]
fn a_sum_is_the_sum_of_the_values() {
    let mut state = 5;
    let g: Vec<GBits> = (0..200).map(|_| GBits(crate::split_mix::next(&mut state) >> 52)).collect();
    for statistic in all(12) {
        let sample = Sample::layers(12, &g);
        let values = statistic.values(sample).unwrap();
        let sum = statistic.sum(sample).unwrap();
        assert_eq!(sum, values.iter().map(|&value| i64::from(value)).sum::<i64>(), "{statistic:?}");
        assert_eq!(sample.tokens(), Scored::full(values.len() as u64));
        assert_eq!(statistic.evaluate(sample).unwrap().p, statistic.p_value(Scored::full(200), sum));
        let [none, full] =
            [GBits(0), GBits(u64::MAX)].map(|g| statistic.sum(Sample::layers(12, &[g; 7])).unwrap());
        assert_eq!(
            (none, full),
            (statistic.smallest_sum(Scored::full(7)), statistic.largest_sum(Scored::full(7))),
            "{statistic:?}"
        );
    }
}

#[test]
fn only_positions_of_the_mask_count() {
    let key = crate::scheme::Key::from_bytes(&[1; 32], "test").unwrap();
    let ids: Vec<u32> = (0..60).map(|t| t % 40).collect();
    let mut values = crate::scheme::TextGValues::new(&key.prf(), &[], &ids);
    values.reference_mask[3] = false;
    let scored: Vec<GBits> = values.scored().collect();
    let reference: Vec<GBits> = values.reference_scored().collect();
    assert_ne!(scored, reference);
    for statistic in all(30) {
        let whole = Evidence::Layers(values.clone());
        for (sample, same, g) in [
            (Sample::scored(&values), Sample::new(&whole, whole.scored_mask()), &scored),
            (Sample::reference(&values), Sample::new(&whole, whole.reference_mask()), &reference),
        ] {
            let alone = Sample::layers(30, g);
            assert_eq!(statistic.evaluate(sample), statistic.evaluate(same));
            assert_eq!(statistic.evaluate(sample), statistic.evaluate(alone));
            assert_eq!(statistic.values(sample), statistic.values(alone));
        }
    }
}

/// By hand: two layers weigh 10 and 1. The shares are 3, 2, 1 and 0 thirds.
#[test]
fn tokens_count_by_their_shares() {
    let key = Key::new(crate::scheme::synthid::Sha256V2::default(), Secret::new(vec![1; 32].into())).unwrap();
    // The contexts are (5), (6), (5 6), (6 5), then (5), (6), (5 6) and (6 5) are taken.
    let mut values = crate::scheme::TextGValues::new(&key.prf(), &[], &[5, 6, 5, 6, 5]);
    let thirds: Vec<u8> = values.shares.iter().map(|share| share.thirds()).collect();
    assert_eq!((thirds, &values.scored[..]), (vec![3, 2, 1, 1], &[true, true, false, false][..]));
    values.depth = 2;
    values.g = [0b01, 0b11, 0b10, 0b00].map(GBits).to_vec();
    let sample = Sample::scored(&values);
    let scored = Scored { full: 1, two_thirds: 1, third: 2 };
    let found = WeightedMean::new(2).evaluate(sample).unwrap();
    assert_eq!((found.scored, found.sum), (scored, 3 * 10 + 2 * 11 + 1));
    assert_eq!(found.score, Some(53.0 / 77.0));
    // The other statistics count the first two wholly.
    let found = Mean::new(2).evaluate(sample).unwrap();
    assert_eq!((found.scored, found.sum), (Scored::full(2), 3));
}

#[test]
fn other_values_than_a_statistic_sums_are_an_error() {
    let green = EvidenceKind::Green { rate: 0.25 };
    let uniform = EvidenceKind::Uniform(Uniforms { steps: 1 << 32, second_share: None });
    let layers = EvidenceKind::Layers { depth: 30 };
    for method in Method::ALL {
        for kind in [green, uniform, layers] {
            let own = Decider::Usual.method(kind) == method
                || kind == layers && !matches!(method, Method::Gumbel | Method::GreenList);
            match Decider::from(method).statistic(kind) {
                Ok(statistic) => assert!(own && statistic.method() == method),
                Err(error) => {
                    assert!(!own);
                    assert_eq!((error.method(), error.found()), (method, kind));
                }
            }
        }
    }
    for scheme in [Scheme::from(Green { odds: 2 }), Uniform.into()] {
        let key = Key::new(scheme, Secret::new(vec![1; 8].into())).unwrap();
        let evidence = Evidence::new(&key.prf(), &[], &[1, 2, 3, 4, 5]);
        let sample = Sample::new(&evidence, evidence.scored_mask());
        assert_eq!((sample.kind(), sample.tokens().tokens() > 0), (key.scheme().evidence_kind(), true));
        for statistic in all(30) {
            let error = statistic.evaluate(sample).unwrap_err();
            assert_eq!((error.method(), error.found()), (statistic.method(), sample.kind()));
            assert_eq!(statistic.values(sample).unwrap_err(), error);
        }
    }
    let error = Mean::new(30).sum(Sample::layers(20, &[GBits(1)])).unwrap_err();
    assert_eq!(error.to_string(), "mean expects g-bits of 30 layers, found g-bits of 20 layers");
    for statistic in all(30) {
        assert!(statistic.sum(Sample::layers(20, &[])).is_err(), "{statistic:?}");
        assert!(statistic.values(Sample::layers(20, &[])).is_err(), "{statistic:?}");
    }
}

/// A position that is left out counts neither in the mean, which looks at the mask, nor in the weighted mean, which looks
/// at the shares.
#[test]
fn a_position_that_is_left_out_might_as_well_not_be_there() {
    let prf = Key::new(Preset::Balanced, Secret::new(vec![1; 32].into())).unwrap().prf();
    let mut state = 3;
    let ids: Vec<u32> = (0..200).map(|_| (crate::split_mix::next(&mut state) % 20) as u32).collect();
    let whole = Evidence::new(&prf, &[], &ids);
    let depth = prf.scheme().depth();
    for share in [Share::Third, Share::TwoThirds, Share::Full] {
        let place = whole.shares().iter().rposition(|other| *other == share).unwrap();
        let mut left = whole.clone();
        left.leave_out(place);
        let left = left.into_layers().unwrap();
        let mut without = whole.clone().into_layers().unwrap();
        without.g.remove(place);
        without.scored.remove(place);
        without.shares.remove(place);
        for statistic in [&Mean::new(depth) as &dyn Statistic, &WeightedMean::new(depth)] {
            let of = |values| {
                let sample = Sample::scored(values);
                (statistic.sum(sample).unwrap(), statistic.counts(sample.tokens()))
            };
            assert_eq!(of(&left), of(&without), "{:?} {share:?}", statistic.method());
        }
    }
}
