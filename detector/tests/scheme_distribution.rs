//! What the mark does to the distribution of a text, and that both sides agree on where it is.

use proptest::prelude::*;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use wmdetect::scheme::{
    Distribution, GBits, Key, PositionKind, Prf, Scheme, Secret, TextGValues, Watermark, synthid,
};
use wmdetect::split_mix;
use zeroize::Zeroizing;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        split_mix::next(&mut self.0)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        split_mix::unit(&mut self.0)
    }

    fn key(&mut self, depth: u8, ngram_len: u8) -> Prf {
        let bytes = (0..4).flat_map(|_| self.next().to_le_bytes()).collect();
        Key::new(Scheme::Sha256(synthid::Sha256 { depth, ngram_len }), Secret::new(Zeroizing::new(bytes)))
            .unwrap()
            .prf()
    }
}

fn distribution(tokens: &[u32], p: &[f64]) -> Distribution {
    Distribution::from_probabilities(tokens.to_vec(), p.to_vec()).unwrap()
}

/// The winner of a tournament among leaves^depth independent draws: in each layer, groups of `leaves` meet, the
/// greatest g-value goes on, and a fair choice decides between equals.
fn sampled_winner(
    p: &Distribution,
    g: impl Fn(u32) -> GBits,
    depth: usize,
    leaves: usize,
    random: &mut Random,
) -> u32 {
    let mut players: Vec<u32> = (0..leaves.pow(depth as u32)).map(|_| p.draw(random.unit())).collect();
    for layer in 0..depth {
        players = players
            .chunks(leaves)
            .map(|group| {
                let best = group.iter().map(|&x| g(x).layer(layer)).max().unwrap();
                let equals: Vec<u32> = group.iter().copied().filter(|&x| g(x).layer(layer) == best).collect();
                equals[(random.unit() * equals.len() as f64) as usize]
            })
            .collect();
    }
    players[0]
}

/// χ² against the 10⁻⁶ quantile: 21 comparisons with fixed seeds; a right program fails none but with
/// probability 2·10⁻⁵ in the choice of the seeds.
#[test]
fn the_formula_is_the_sampled_tournament() {
    const DRAWS: usize = 40_000;
    let tokens = [3, 65_535, 65_536, 255_999, 17, 900];
    let p = [0.4, 0.25, 0.15, 0.1, 0.07, 0.03];
    let context = [11, 22, 33, 44];
    let mut random = Random(1);
    for (depth, leaves) in [(1, 2), (2, 2), (3, 2), (1, 3), (2, 3)] {
        let wanted = if leaves == 2 { 5 } else { 3 };
        let mut tried = 0;
        for _ in 0..1000 {
            if tried == wanted {
                break;
            }
            let prf = random.key(depth, 5);
            let keyed = prf.context(&context);
            let unmarked = distribution(&tokens, &p);
            let mut marked = unmarked.clone();
            let mut marking = Watermark::with_leaves(prf.clone(), leaves).start(&[], 0);
            for token in context {
                assert_eq!(marking.apply(&mut unmarked.clone()), PositionKind::IncompleteContext);
                marking.push(token);
            }
            assert_eq!(marking.apply(&mut marked), PositionKind::Marked);
            let moved = marked.probabilities().iter().zip(&p).any(|(q, p)| (q - p).abs() > 0.02);
            let rare = |q: f64| q > 1e-12 && q * (DRAWS as f64) < 10.0;
            if !moved || marked.probabilities().iter().any(|&q| rare(q)) {
                continue; // tests nothing, or has cells too small for χ²
            }
            tried += 1;

            let mut counts = [0usize; 6];
            for _ in 0..DRAWS {
                let winner = sampled_winner(
                    &unmarked,
                    |x| keyed.g_bits(x),
                    depth.into(),
                    leaves as usize,
                    &mut random,
                );
                counts[tokens.iter().position(|&token| token == winner).unwrap()] += 1;
            }
            let (mut chi_square, mut cells) = (0.0, 0);
            for (&count, &q) in counts.iter().zip(marked.probabilities()) {
                if q < 1e-12 {
                    assert_eq!(count, 0, "a candidate without probability won");
                    continue;
                }
                let expected = q * DRAWS as f64;
                chi_square += (count as f64 - expected).powi(2) / expected;
                cells += 1;
            }
            let limit = ChiSquared::new(f64::from(cells - 1)).unwrap().inverse_cdf(1.0 - 1e-6);
            assert!(chi_square < limit, "depth {depth}, {leaves} leaves: χ² = {chi_square}, limit {limit}");
        }
        assert_eq!(tried, wanted, "depth {depth}, {leaves} leaves: hardly any key changes anything");
    }
}

/// Over all g-patterns, each as likely as any other, two leaves give the unmarked distribution; three do not.
#[test]
fn the_average_over_all_g_patterns_is_the_unmarked_distribution() {
    let p = [0.45, 0.3, 0.15, 0.08, 0.02];
    let average = |candidates: usize, depth: usize, leaves: u32| {
        let tokens: Vec<u32> = (0..candidates as u32).collect();
        let unmarked = distribution(&tokens, &p[..candidates]);
        let patterns = 1u64 << (candidates * depth);
        let mut sum = vec![0.0; candidates];
        for pattern in 0..patterns {
            let g: Vec<GBits> =
                (0..candidates).map(|x| GBits(pattern >> (x * depth) & ((1 << depth) - 1))).collect();
            let mut q = unmarked.clone();
            q.tournament(&g, depth, leaves);
            for (sum, q) in sum.iter_mut().zip(q.probabilities()) {
                *sum += q;
            }
        }
        let worst = sum.iter().zip(unmarked.probabilities()).map(|(s, p)| (s / patterns as f64 - p).abs());
        worst.fold(0.0, f64::max)
    };
    for (candidates, depth) in [(2, 1), (2, 8), (3, 1), (3, 5), (4, 4), (5, 1), (5, 3)] {
        let worst = average(candidates, depth, 2);
        assert!(worst < 1e-12, "{candidates} candidates, depth {depth}: off by {worst:e}");
    }
    assert!(average(3, 2, 3) > 1e-3, "three leaves change the distribution");
}

/// The same with real keys: the average lies within 5 standard errors, and the single keys far from it.
#[test]
fn the_average_over_keys_is_the_unmarked_distribution() {
    const KEYS: usize = 20_000;
    let (tokens, p) = ([5, 6, 70_000, 255_999], [0.5, 0.3, 0.15, 0.05]);
    let mut random = Random(2);
    let (mut sum, mut squares) = ([0.0; 4], [0.0; 4]);
    for _ in 0..KEYS {
        let mut marking = Watermark::new(random.key(30, 3)).start(&[], 0);
        marking.push(8);
        marking.push(9);
        let mut q = distribution(&tokens, &p);
        assert_eq!(marking.apply(&mut q), PositionKind::Marked);
        for (x, &q) in q.probabilities().iter().enumerate() {
            sum[x] += q;
            squares[x] += q * q;
        }
    }
    for x in 0..4 {
        let mean = sum[x] / KEYS as f64;
        let variance = squares[x] / KEYS as f64 - mean * mean;
        assert!(variance > 0.7 * p[x] * (1.0 - p[x]), "30 layers leave little to chance: {variance}");
        let error = (variance / KEYS as f64).sqrt();
        assert!((mean - p[x]).abs() < 5.0 * error, "candidate {x}: {mean} ± {error}, expected {}", p[x]);
    }
}

/// E g₁ = 1/2 + (1 − Σp²)/4: G + G(1 − G) averaged over fair coins; the layers after the first change nothing in it.
#[test]
fn the_first_layer_gains_what_theory_says() {
    const TOKENS: usize = 20_000;
    for (seed, depth, p) in
        [(3, 1, vec![0.6, 0.4]), (4, 30, vec![0.7, 0.2, 0.1]), (5, 30, vec![0.125; 8]), (6, 30, vec![1.0])]
    {
        let mut random = Random(seed);
        let prf = random.key(depth, 5);
        let mut marking = Watermark::new(prf.clone()).start(&[], 0);
        let mut ids = Vec::new();
        let mut marked = 0;
        for _ in 0..TOKENS {
            // Fresh candidates at each step, so that hardly any context comes back.
            let tokens: Vec<u32> = p.iter().map(|_| (random.next() % 256_000) as u32).collect();
            let mut q = distribution(&tokens, &p);
            marked += usize::from(marking.apply(&mut q) == PositionKind::Marked);
            let token = q.draw(random.unit());
            marking.push(token);
            ids.push(token);
        }
        let text = TextGValues::new(&prf, &[], &ids);
        assert_eq!(text.scored().count(), marked);
        assert!(marked > TOKENS - 10);
        let mean = text.scored().map(|g| g.layer(0)).sum::<u64>() as f64 / marked as f64;
        let expected = 0.5 + (1.0 - p.iter().map(|p| p * p).sum::<f64>()) / 4.0;
        let error = (expected * (1.0 - expected) / marked as f64).sqrt();
        assert!((mean - expected).abs() < 5.0 * error, "p = {p:?}: {mean} ± {error}, expected {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The receipt's positions are the detector's mask, on ids, with the prompt given. Vocabularies are so small that
    /// most contexts come back, also from the prompt and across its border.
    #[test]
    fn the_receipt_is_the_detectors_mask(
        seed: u64,
        ngram_len in 2u8..=7,
        vocabulary in 1u32..=4,
        high in any::<bool>(),
        prompt_len in 0usize..40,
        tokens in 0usize..120,
    ) {
        let mut random = Random(seed);
        let base = if high { 65_534 } else { 0 };
        let candidates: Vec<u32> = (base..base + vocabulary).collect();
        let prompt: Vec<u32> =
            (0..prompt_len).map(|_| base + (random.next() % u64::from(vocabulary)) as u32).collect();
        let prf = random.key(30, ngram_len);
        let mut marking = Watermark::new(prf.clone()).start(&prompt, 0);
        let (mut ids, mut receipt) = (Vec::new(), Vec::new());
        for _ in 0..tokens {
            let unmarked = distribution(&candidates, &vec![1.0; candidates.len()]);
            let mut q = unmarked.clone();
            let kind = marking.apply(&mut q);
            if kind != PositionKind::Marked {
                prop_assert_eq!(&q, &unmarked, "an unmarked position keeps its distribution");
            }
            receipt.push(kind == PositionKind::Marked);
            let token = q.draw(random.unit());
            marking.push(token);
            ids.push(token);
        }
        let text = TextGValues::new(&prf, &prompt, &ids);
        let first = text.first.min(receipt.len());
        prop_assert!(receipt[..first].iter().all(|marked| !marked), "no complete context, no mark");
        prop_assert_eq!(&receipt[first..], &text.scored[..]);
        prop_assert_eq!(marking.marked_tokens(), text.scored().count());
        prop_assert_eq!(marking.repeated_contexts(), text.scored.iter().filter(|scored| !**scored).count());
        // Straight from the rule: a context counts unless it stands earlier in the prompt and response together.
        let whole = [&prompt[..], &ids[..]].concat();
        for (i, &scored) in text.scored.iter().enumerate() {
            let end = prompt.len() + text.first + i;
            let context = &whole[end - text.first..end];
            let earlier = whole[..end - 1].windows(text.first).any(|window| window == context);
            prop_assert_eq!(scored, !earlier, "position {}", text.first + i);
        }
    }
}
