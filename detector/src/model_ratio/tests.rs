//! Tests of the theory, on cases small enough to enumerate, and by simulation.

use std::f64::consts::{LN_2, LN_10};

use super::chain::Mixture;
use super::ratio::{Position, Scratch, ceiling, ln_ratio};
use super::*;
use crate::scheme::{GBits, Key, Preset, Secret, TextGValues, Watermark};
use crate::statistics::llr::EntropyClasses;
use crate::statistics::{Llr, Profile, Sample, Statistic as _};
use crate::verdict::Verdict;

struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        crate::split_mix::next(&mut self.0)
    }

    fn uniform(&mut self) -> f64 {
        crate::split_mix::unit(&mut self.0)
    }
}

fn distribution(p: &[f64]) -> Distribution {
    Distribution::from_probabilities((0..p.len() as u32).collect(), p.to_vec()).unwrap()
}

fn key(secret: u64) -> Key {
    let mut bytes = vec![7; 32];
    bytes[..8].copy_from_slice(&secret.to_le_bytes());
    Key::new(Preset::Secret, Secret::new(bytes.into())).unwrap()
}

/// Returns ln LR of `own` for a pattern of bits: `depth` bits a candidate.
fn ln_of_pattern(p: &[f64], pattern: u64, depth: usize, own: usize) -> f64 {
    let g: Vec<GBits> = (0..p.len()).map(|i| GBits(pattern >> (i * depth) & ((1 << depth) - 1))).collect();
    ln_ratio(&mut p.to_vec(), &g, depth, own)
}

#[test]
fn the_mean_over_all_g_values_is_one_for_every_token() {
    for p in [&[0.7, 0.2, 0.1][..], &[0.999, 0.0005, 0.0005], &[0.25; 4], &[0.6, 0.4]] {
        for depth in 1..=3 {
            let patterns = 1_u64 << (depth * p.len());
            for own in 0..p.len() {
                let sum: f64 = (0..patterns).map(|g| ln_of_pattern(p, g, depth, own).exp()).sum();
                let mean = sum / patterns as f64;
                assert!((mean - 1.0).abs() < 1e-12, "{p:?}, depth {depth}, token {own}: {mean}");
            }
        }
    }
}

#[test]
fn the_ratio_is_the_tournaments_and_below_its_ceiling() {
    let mut random = Random(1);
    for _ in 0..200 {
        let p: Vec<f64> = (0..12).map(|_| random.uniform().powi(6) + 1e-9).collect();
        let before = distribution(&p);
        let g: Vec<GBits> = p.iter().map(|_| GBits(random.bits())).collect();
        for depth in [1, 7, 30, 64] {
            let mut after = before.clone();
            after.tournament(&g, depth, 2);
            for own in 0..p.len() {
                let expected = (after.probabilities()[own] / before.probabilities()[own]).ln().max(-700.0);
                let found = ln_ratio(&mut p.clone(), &g, depth, own);
                // If the tournament leaves almost nothing, its probabilities are denormal.
                assert!(
                    expected < -650.0 || (found - expected).abs() < 1e-9 * (1.0 + expected.abs()),
                    "{found}, expected {expected}"
                );
                assert!(found <= ceiling(before.probabilities()[own], depth) + 1e-9);
            }
        }
    }
    // The last layers see Z = 0 to rounding; the ratio ends on its floor, not on NaN or zero.
    let floor = ln_ratio(&mut [1e-3, 1.0], &[GBits(0), GBits(u64::MAX)], 64, 0);
    assert!(floor.is_finite() && floor <= -600.0, "{floor}");
}

#[test]
fn settings_with_other_candidates_share_the_g_values() {
    let a = Distribution::from_probabilities(vec![5, 9, 2], vec![0.5, 0.3, 0.2]).unwrap();
    let b = Distribution::from_probabilities(vec![9, 5], vec![0.6, 0.4]).unwrap();
    let c = Distribution::from_probabilities(vec![2], vec![1.0]).unwrap();
    let position = Position::new(4, 9, &[a, b, c]);
    assert_eq!(position.tokens, [9, 5, 2]);
    let g = [GBits(0b11), GBits(0b01), GBits(0b10)];
    let found = position.ratios(&g, 2, &classes(), &mut Scratch::default());
    let expected = [
        ModelRatio { p: 0.3, ln_ratio: ln_ratio(&mut [0.5, 0.3, 0.2], &[g[1], g[0], g[2]], 2, 1) },
        ModelRatio { p: 0.6, ln_ratio: ln_ratio(&mut [0.6, 0.4], &g[..2], 2, 0) },
        ModelRatio::NO_CANDIDATE,
    ];
    assert_eq!(found.model, expected);
    assert_eq!(found.text, classes().likelihood_ratio(g[0]));
}

/// Returns two classes of two layers.
fn classes() -> EntropyClasses {
    EntropyClasses::from_real(&[0.75, 0.25], &[vec![0.1, 0.05], vec![0.9, 0.8]]).unwrap()
}

/// Returns what a pattern of two bits for each candidate says of `own`, under the model and under a model without it.
fn ratios_of_pattern(p: &[f64], pattern: u64, own: usize) -> TokenRatios {
    let known = ModelRatio { p: p[own], ln_ratio: ln_of_pattern(p, pattern, 2, own) };
    let text = classes().likelihood_ratio(GBits(pattern >> (2 * own) & 3));
    TokenRatios { context_len: 4, model: vec![known, ModelRatio::NO_CANDIDATE], text }
}

/// Holds under every doubt, and for a token that is not a candidate, for which the text-only ratio stands alone.
#[test]
fn the_mean_of_a_doubtful_factor_is_one() {
    for p in [&[0.7, 0.2, 0.1][..], &[0.999, 0.0005, 0.0005], &[0.6, 0.4]] {
        let patterns = 1_u64 << (2 * p.len());
        for doubt in [Doubt::NONE, Doubt { level: 0.01 }, Doubt { level: 0.1 }, Doubt { level: 30.0 }] {
            for own in 0..p.len() {
                let mut means = [0.0; 2];
                for pattern in 0..patterns {
                    let ratios = ratios_of_pattern(p, pattern, own);
                    for (mean, &model) in means.iter_mut().zip(&ratios.model) {
                        *mean += doubt.factor(model, ratios.text) / patterns as f64;
                    }
                }
                for mean in means {
                    assert!((mean - 1.0).abs() < 1e-12, "{p:?}, {doubt:?}, token {own}: {mean}");
                }
            }
        }
    }
    let text = |doubt: Doubt| doubt.factor(ModelRatio::NO_CANDIDATE, 3.0);
    assert_eq!([text(Doubt::NONE), text(Doubt { level: 0.01 })], [1.0, 3.0]);
}

/// Three tokens with two layers: all 2^18 outcomes of fair bits, and every running value.
#[test]
fn every_chain_has_mean_one_at_every_token() {
    let p = [[0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.05, 0.9, 0.05]];
    let own = [1, 0, 2];
    // The second setting has no such candidate at the second token.
    let ratios = |t: usize, pattern: u64| {
        let mut ratios = ratios_of_pattern(&p[t], pattern, own[t]);
        if t != 1 {
            ratios.model[1] = ratios.model[0];
        }
        ratios
    };
    let ratios: Vec<Vec<TokenRatios>> = (0..3).map(|t| (0..64).map(|g| ratios(t, g)).collect()).collect();
    let grids = [Grid::new(4), Grid::without_prompt(4), Grid::unedited(4)];
    // All contexts have the same length, or each has another.
    for (grid, lens) in grids.iter().flat_map(|grid| [(grid, [4, 4, 4]), (grid, [1, 3, 2])]) {
        let mut ratios = ratios.clone();
        for (ratios, len) in ratios.iter_mut().zip(lens) {
            for ratios in ratios {
                ratios.context_len = len;
            }
        }
        let mut means = [0.0; 3];
        for a in 0..64 {
            for b in 0..64 {
                let mut two = Mixture::new(grid, 2);
                two.step(grid, Some(&ratios[0][a]));
                means[0] += two.ln_e().exp() / f64::from(64 * 64);
                two.step(grid, Some(&ratios[1][b]));
                means[1] += two.ln_e().exp() / f64::from(64 * 64);
                if a % 8 == 0 {
                    // The third mean is conditional on what came before.
                    let mean: f64 = (0..64)
                        .map(|c| {
                            let mut three = two.clone();
                            three.step(grid, Some(&ratios[2][c]));
                            three.ln_e().exp()
                        })
                        .sum::<f64>()
                        / 64.0;
                    means[2] += mean / two.ln_e().exp() / f64::from(64 * 8);
                }
            }
        }
        for mean in means {
            assert!((mean - 1.0).abs() < 1e-12, "{grid:?}: {means:?}");
        }
    }
}

#[test]
fn the_weights_of_the_grid_sum_to_one() {
    for grid in [Grid::new(4), Grid::without_prompt(4), Grid::unedited(4)] {
        let chains: f64 = grid.chains().iter().map(|chain| chain.0).sum();
        let doubts: f64 = grid.doubts().iter().map(|doubt| doubt.0).sum();
        assert!((chains - 1.0).abs() < 1e-15 && (doubts - 1.0).abs() < 1e-15);
    }
    assert_eq!(Grid::new(4).chains().len(), 10);
}

/// A context that came up before is not scored again, whatever token follows it. With n-gram deduplication a pair of
/// positions with z and then y in the same context would have mean 1.25 a layer.
#[test]
fn a_context_counts_once_even_with_another_token() {
    let prf = key(1).prf();
    let ids = [1, 2, 3, 4, 0, 1, 2, 3, 4, 1, 8, 8];
    let mut running = RunningRatio::new(&prf, &[], 1);
    for &id in &ids {
        running.push(id, &[distribution(&[0.2; 9])]);
    }
    let scored: String =
        running.finish().tokens.iter().map(|token| if token.is_some() { '1' } else { '0' }).collect();
    // Position 9 has the context (1, 2, 3, 4) of position 4.
    assert_eq!(scored, "000011111011");
}

/// A model without weights: peaked distributions that follow from the last token and the position.
struct Toy {
    settings: usize,
}

impl Toy {
    const VOCABULARY: u32 = 40;

    fn next(&self, before: &[u32]) -> Vec<Distribution> {
        let mut random =
            Random(before.iter().rev().take(3).fold(before.len() as u64, |h, &t| h * 41 + u64::from(t)));
        let p: Vec<f64> = (0..Self::VOCABULARY).map(|_| random.uniform().powi(8) + 1e-6).collect();
        (0..self.settings)
            .map(|setting| distribution(&p.iter().map(|p| p.powf(1.0 + setting as f64)).collect::<Vec<_>>()))
            .collect()
    }

    /// Returns a text of `len` tokens under setting 0, marked if there is a key.
    fn text(&self, key: Option<&Key>, len: usize, seed: u64) -> Vec<u32> {
        let mut ids = Vec::new();
        self.go_on(&mut ids, key, len, seed);
        ids
    }

    /// Continues a text by `len` tokens.
    fn go_on(&self, ids: &mut Vec<u32>, key: Option<&Key>, len: usize, seed: u64) {
        let mut random = Random(seed);
        let mut marking = key.map(|key| Watermark::new(key.prf()).start(ids, 0));
        for _ in 0..len {
            let mut next = self.next(ids).swap_remove(0);
            if let Some(marking) = &mut marking {
                marking.apply(&mut next);
            }
            let id = next.draw(random.uniform());
            if let Some(marking) = &mut marking {
                marking.push(id);
            }
            ids.push(id);
        }
    }
}

impl NextTokens for Toy {
    type Error = std::convert::Infallible;

    fn settings(&self) -> usize {
        self.settings
    }

    fn for_each(
        &mut self,
        _: &[u32],
        ids: &[u32],
        visit: &mut dyn FnMut(usize, &[Distribution]) -> ControlFlow<()>,
    ) -> Result<(), Self::Error> {
        for t in 0..ids.len() {
            if visit(t, &self.next(&ids[..t])).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn evidence(ids: &[u32], key: &Key, settings: usize, options: Options) -> Evidence {
    verify(&mut Toy { settings }, &key.prf(), &[], ids, options).unwrap()
}

#[test]
fn villes_bound_and_the_rank_hold_for_unmarked_texts() {
    const TEXTS: u64 = 600;
    let (mut twenty, mut hundred, mut ranks) = (0, 0, 0);
    for seed in 0..TEXTS {
        let ids = Toy { settings: 1 }.text(None, 40, seed);
        let mut running = RunningRatio::new(&key(seed + 1000).prf(), &[], 2).with_monte_carlo(19, &[], &ids);
        for (t, &id) in ids.iter().enumerate() {
            running.push(id, &Toy { settings: 2 }.next(&ids[..t]));
        }
        let evidence = running.finish();
        twenty += u64::from(evidence.ln_sup >= 20_f64.ln());
        hundred += u64::from(evidence.ln_sup >= 100_f64.ln());
        ranks += u64::from(evidence.monte_carlo.unwrap().p <= 0.1);
    }
    // Bounds 30, 6 and 60; each is passed by chance with probability below 1e-4.
    assert!(twenty <= 52, "{twenty}");
    assert!(hundred <= 17, "{hundred}");
    assert!((32..=92).contains(&ranks), "{ranks}: exact, so neither more nor much less");
}

#[test]
fn a_marked_text_is_found_where_the_text_alone_says_little() {
    let key = key(5);
    let ids = Toy { settings: 1 }.text(Some(&key), 40, 2);
    let evidence = evidence(&ids, &key, 2, Options::default());
    let alone = crate::Detector::builder(key).build().unwrap().score(crate::Input::tokens(&ids)).unwrap();
    let text_only = alone.log10_p.unwrap();
    assert!(evidence.p_value().log10 < text_only - 3.0, "{} {text_only}", evidence.p_value().log10);
    assert_eq!(evidence.verdict(0.001), Verdict::Watermarked);
    assert!(evidence.ln_sup <= evidence.ln_ceiling && evidence.shares[0] > 0.9, "{evidence:?}");
    assert_eq!(evidence.tokens.len(), 40);
}

/// The reader's p is that of another text, as without the prompt. The model alone is fooled, but the tokens' own g-bits
/// are still seen.
#[test]
fn a_wrong_model_does_not_hide_what_the_text_says() {
    let key = key(5);
    let ids = Toy { settings: 1 }.text(Some(&key), 200, 2);
    let context_len = key.scheme().context_len();
    let ln_sup = |grid: Grid| {
        let mut running = RunningRatio::with_grid(&key.prf(), &[], 1, grid);
        for (t, &id) in ids.iter().enumerate() {
            running.push(id, &Toy { settings: 1 }.next(&ids[..t / 2]));
        }
        running.ln_sup()
    };
    let without = ln_sup(Grid::new(context_len).with_doubts(vec![(1.0, Doubt::NONE)]));
    let with = ln_sup(Grid::without_prompt(context_len));
    assert!(with > 100.0 && with > 3.0 * without, "{without} {with}");
}

/// This holds without the prompt, and only for a text that was read to its end.
#[test]
fn the_text_alone_has_half_of_the_level() {
    let key = key(5);
    let ids = Toy { settings: 1 }.text(Some(&key), 12, 2);
    let whole = evidence(&ids, &key, 1, Options::default());
    let values = TextGValues::new(&key.prf(), &[], &ids);
    let text = Llr::new(Profile::pooled().clone()).evaluate(Sample::scored(&values)).unwrap();
    assert_eq!(whole.text_only, text.p);
    let by_ratio = (-whole.ln_sup + LN_2) / LN_10;
    let by_text = whole.text_only.unwrap().log10 + 2_f64.log10();
    assert!((whole.p_value().log10 - by_ratio.min(by_text)).abs() < 1e-12, "{by_ratio} {by_text}");
    let stopped = evidence(&ids, &key, 1, Options { stop_at: Some(0.05), ..Options::default() });
    assert!(stopped.tokens.len() < 12 && stopped.text_only.is_none());
    assert!((stopped.p_value().log10 - (LN_2 - stopped.ln_sup) / LN_10).abs() < 1e-12);
    assert!(stopped.p_value().reaches(0.05));

    let mut prompted = RunningRatio::new(&key.prf(), &[3, 1], 1);
    prompted.push(ids[0], &Toy { settings: 1 }.next(&[]));
    let prompted = prompted.finish();
    assert_eq!((prompted.share, prompted.text_only), (1.0, None));
}

/// The kept ratios of each token give the running value again.
#[test]
fn recorded_ratios_give_the_same_evidence() {
    let key = key(5);
    let ids = Toy { settings: 1 }.text(Some(&key), 40, 2);
    let evidence = evidence(&ids, &key, 2, Options::default());
    let again = evidence.grid.ln_e(2, evidence.tokens.iter().map(Option::as_ref));
    assert_eq!((again.len(), again[39]), (40, evidence.ln_e));
}

#[test]
fn the_heat_map_shows_the_marked_half() {
    let key = key(6);
    let mut ids = Toy { settings: 1 }.text(Some(&key), 60, 3);
    let other = Toy { settings: 1 }.text(None, 60, 4);
    ids.extend(other);
    let evidence = evidence(&ids, &key, 1, Options::default());
    let marked = evidence.marked_probability();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&marked[8..56]) > 0.9 && mean(&marked[68..]) < 0.2, "{marked:?}");
}

#[test]
fn the_marked_passage_is_found_where_it_is() {
    let key = key(6);
    let mut text = Toy { settings: 1 }.text(None, 60, 4);
    Toy { settings: 1 }.go_on(&mut text, Some(&key), 60, 3);
    Toy { settings: 1 }.go_on(&mut text, None, 60, 8);
    let found = evidence(&text, &key, 2, Options::default()).passages(1e-3);
    let [passage] = found[..] else { panic!("{found:?}") };
    assert!((55..72).contains(&passage.start) && (112..126).contains(&passage.end), "{passage:?}");
    assert!(passage.ln_p < 1e-3_f64.ln() && passage.track == 0, "{passage:?}");
    assert!(evidence(&text, &self::key(7), 2, Options::default()).passages(1e-3).is_empty());
}

#[test]
fn the_plain_product_is_sharper_on_a_text_without_edits() {
    let key = key(5);
    let ids = Toy { settings: 1 }.text(Some(&key), 40, 2);
    let product = evidence(&ids, &key, 1, Options { unedited: true, ..Options::default() });
    let sum: f64 = product.tokens.iter().flatten().map(|token| token.model[0].ln_ratio).sum();
    assert!((product.ln_e - sum).abs() < 1e-9);
    assert!(product.ln_sup > evidence(&ids, &key, 1, Options::default()).ln_sup);
}

#[test]
fn reading_stops_early_only_where_that_is_valid() {
    let key = key(7);
    let ids = Toy { settings: 1 }.text(Some(&key), 60, 5);
    let stop_at = Some(1e-3);
    let early = evidence(&ids, &key, 1, Options { stop_at, ..Options::default() });
    assert!(early.tokens.len() < 60 && early.p_value().reaches(1e-3));
    let ranked = evidence(&ids, &key, 1, Options { stop_at, monte_carlo: 9, unedited: false });
    assert_eq!(ranked.tokens.len(), 60);
    assert_eq!(ranked.deciding().log10, 0.1_f64.log10());
}

#[test]
fn too_short_is_what_no_key_could_reach() {
    // Certain tokens carry no evidence, however many there are, if the model is right.
    let mut running = RunningRatio::with_grid(&key(8).prf(), &[], 1, Grid::unedited(4));
    for id in 0..200 {
        running.push(id, &[Distribution::from_probabilities(vec![id], vec![1.0]).unwrap()]);
    }
    let certain = running.finish();
    assert_eq!((certain.scored_tokens(), certain.ln_ceiling), (196, 0.0));
    assert_eq!(certain.verdict(0.001), Verdict::TooShort);
    // A wrong key on a text that could have carried a mark, and on a text that seldom would have.
    let ids = Toy { settings: 1 }.text(None, 60, 5);
    let long = evidence(&ids, &key(9), 1, Options::default());
    assert_eq!((long.verdict(0.001), long.power(0.001)), (Verdict::NotDetected, Some(1.0)));
    let short = evidence(&ids[..8], &key(9), 1, Options::default());
    let power = short.power(0.001).unwrap();
    assert!(short.ln_ceiling > 1000_f64.ln() && power < 0.9, "{power}");
    assert_eq!(short.verdict(0.001), Verdict::TooShort);
}

/// The simulated power is the share of marked texts that are found.
#[test]
fn the_power_is_that_of_marked_texts() {
    const TEXTS: u64 = 200;
    let (mut found, mut expected) = (0.0, 0.0);
    for seed in 0..TEXTS {
        let key = key(seed);
        let ids = Toy { settings: 1 }.text(Some(&key), 9, seed);
        let evidence = evidence(&ids, &key, 1, Options::default());
        found += f64::from(u8::from(evidence.p_value().reaches(1e-3))) / TEXTS as f64;
        expected += evidence.power(1e-3).unwrap() / TEXTS as f64;
    }
    // Three standard errors.
    assert!((0.2..0.9).contains(&found) && (found - expected).abs() < 0.11, "{found} {expected}");
}
