use super::*;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        crate::split_mix::next(&mut self.0)
    }

    fn unit(&mut self) -> f64 {
        crate::split_mix::unit(&mut self.0)
    }
}

fn ville(ln_lr: &[f64]) -> Track<'_> {
    Track { ln_lr, bound: StartBound::VILLE }
}

/// ln LR in steps of 1/32 nat under the null: eight fair bits, each a factor 1 ± `strength` · 0.9^l.
const STEP: f64 = 1.0 / 32.0;

fn law(strength: f64) -> Vec<(i64, f64)> {
    let steps = |g: u32| {
        let ln: f64 = (0..8)
            .map(|l| {
                let share = strength * 0.9f64.powi(l);
                if g >> l & 1 == 1 { share.ln_1p() } else { (-share).ln_1p() }
            })
            .sum();
        (ln / STEP).floor() as i64
    };
    let mut law: Vec<(i64, f64)> = Vec::new();
    for g in 0..256 {
        let s = steps(g);
        match law.iter_mut().find(|(value, _)| *value == s) {
            Some((_, p)) => *p += 1.0 / 256.0,
            None => law.push((s, 1.0 / 256.0)),
        }
    }
    law
}

/// Returns a draw from the law, tilted by LR if the token is marked.
fn draw(law: &[(i64, f64)], marked: bool, random: &mut Random) -> f64 {
    let weight = |&(s, p): &(i64, f64)| if marked { p * (s as f64 * STEP).exp() } else { p };
    let mut rest = random.unit() * law.iter().map(weight).sum::<f64>();
    let chosen = law.iter().find(|entry| {
        rest -= weight(entry);
        rest < 0.0
    });
    chosen.unwrap_or(&law[0]).0 as f64 * STEP
}

/// Returns the largest Σ (score − c) over all sets of disjoint windows, by trying every set.
fn brute_force(tracks: &[Track<'_>], costs: &[f64], from: usize) -> f64 {
    let n = tracks[0].ln_lr.len();
    let mut best = 0.0f64;
    for start in from..n {
        for (track, cost) in tracks.iter().zip(costs) {
            for end in start + 1..=n {
                let score: f64 = track.ln_lr[start..end].iter().sum();
                if score > *cost {
                    best = best.max(score - cost + brute_force(tracks, costs, end));
                }
            }
        }
    }
    best
}

#[test]
fn best_set_of_windows_as_by_brute_force() {
    let mut random = Random(1);
    let mut several = 0;
    for case in 0..400 {
        let n = 1 + case % 9;
        let mut arrays = [vec![0.0; n], vec![0.0; n]];
        for x in arrays.iter_mut().flatten() {
            // Coarse values, so that ties come up.
            *x = (random.next() % 17) as f64 - 8.0;
        }
        let tracks = [ville(&arrays[0]), ville(&arrays[1])];
        let fpr = 0.9;
        let cost = (2.0 * n as f64 / fpr).ln();
        let windows = scan(&tracks, fpr);
        // Windows that touch are reported as one. The test undoes that by trying every cut between two tracks.
        let total: f64 = windows
            .iter()
            .map(|window| {
                let inside = tracks.map(|track| ville(&track.ln_lr[window.start..window.end]));
                brute_force(&inside, &[cost; 2], 0)
            })
            .sum();
        let expected = brute_force(&tracks, &[cost; 2], 0);
        assert!((total - expected).abs() < 1e-9, "{arrays:?}: {total}, expected {expected}: {windows:?}");
        several += usize::from(windows.len() > 1);
        for window in &windows {
            assert!(window.score >= cost);
            assert!((window.ln_p - (cost + fpr.ln() - window.score).min(0.0)).abs() < 1e-12);
        }
        for pair in windows.windows(2) {
            assert!(pair[0].end < pair[1].start);
        }
    }
    assert!(several > 20);
}

#[test]
fn ends_are_where_the_evidence_is() {
    let mut ln_lr = vec![-0.5; 100];
    ln_lr[40..70].fill(1.0);
    // A short dip does not cut the passage.
    ln_lr[55..58].fill(-1.0);
    let windows = scan(&[ville(&ln_lr)], 0.01);
    assert_eq!(windows.len(), 1);
    let found = windows[0];
    assert_eq!((found.start, found.end, found.track), (40, 70, 0));
    assert_eq!(found.score, 24.0);
    assert!((found.ln_p - (100f64.ln() - 24.0)).abs() < 1e-12);
    // A long one does, once it costs more than a second window.
    ln_lr[60..70].fill(1.5);
    for (gap, expected) in [(-0.5, &[(40, 70)][..]), (-1.5, &[(40, 50), (60, 70)])] {
        ln_lr[50..60].fill(gap);
        let ends: Vec<_> = scan(&[ville(&ln_lr)], 0.01).iter().map(|w| (w.start, w.end)).collect();
        assert_eq!(ends, expected);
    }
}

#[test]
fn nothing_and_extremes() {
    assert_eq!(scan(&[], 0.01), []);
    assert_eq!(scan(&[ville(&[])], 0.01), []);
    let ln_lr = [f64::NEG_INFINITY, 30.0, f64::NAN, 1.0, f64::NEG_INFINITY];
    let windows = scan(&[ville(&ln_lr)], 0.01);
    assert_eq!(windows.iter().map(|w| (w.start, w.end)).collect::<Vec<_>>(), [(1, 2)]);
}

/// v for a walk of ±1: the tilted walk goes up with probability 3/4, and gambler's ruin gives K in closed form.
#[test]
fn start_bound_is_gamblers_ruin() {
    let step = 3f64.ln();
    // P(up) = 1/4, P(down) = 3/4: E[LR] = 3/4 + 1/4 = 1.
    let law = [(1, 0.25), (-1, 0.75)];
    for states in [1, 2, 5, 9] {
        let bound = start_bound(&law, step, f64::from(states) * step);
        let odds = 1.0 / 3.0f64;
        let expected = 0.75 * (1.0 - odds) / (1.0 - odds.powi(states));
        assert!((bound.factor - expected).abs() < 1e-8, "{states}: {} for {expected}", bound.factor);
    }
}

/// W of the same walk is 0 with probability 1 − 1/3 in the long run, and after two steps with 9/16 + 3/16.
#[test]
fn starts_are_where_the_walk_is_at_zero() {
    let law = [(1, 0.25), (-1, 0.75)];
    let at_zero = at_zero(&law, 30);
    assert!((at_zero[1] - 0.75).abs() < 1e-8 && (at_zero[2] - 0.75).abs() < 1e-8, "{at_zero:?}");
    assert!((at_zero[FOLLOWED] - 2.0 / 3.0).abs() < 3e-3 && at_zero[FOLLOWED] > 2.0 / 3.0, "{at_zero:?}");
    let bound = start_bound(&law, 3f64.ln(), 20.0);
    assert!(bound.starts(3) <= 3.0 * bound.factor);
    let exact: f64 = at_zero[..12].iter().sum::<f64>() * bound.factor;
    assert!((exact..exact * 1.001).contains(&bound.starts(12)), "{} for {exact}", bound.starts(12));
}

/// In unmarked texts the share with any window stays under the level, and is closer to it with K than with Ville.
#[test]
fn family_wise_error_holds() {
    let mut random = Random(7);
    let laws = [law(0.35), law(0.2)];
    let bounds = laws.each_ref().map(|law| start_bound(law, STEP, 4.0));
    assert!(bounds.iter().all(|bound| bound.factor < 0.6), "{bounds:?}");
    let (texts, fpr) = (2_000, 0.1);
    let mut families = [0, 0];
    for _ in 0..texts {
        // Both tracks read the same patterns, as the profiles of one text do; they need not be independent.
        let arrays: Vec<Vec<f64>> =
            laws.iter().map(|law| (0..300).map(|_| draw(law, false, &mut random)).collect()).collect();
        let tracks = |k: bool| {
            [0, 1].map(|i| Track { ln_lr: &arrays[i], bound: if k { bounds[i] } else { StartBound::VILLE } })
        };
        families[0] += usize::from(!scan(&tracks(false), fpr).is_empty());
        families[1] += usize::from(!scan(&tracks(true), fpr).is_empty());
    }
    // 200 expected at most; 250 is 3.7 standard deviations above.
    assert!(families[0] <= families[1] && families[1] < 250 && families[1] > 20, "{families:?}");
}

#[test]
fn a_marked_passage_is_found_where_it_is() {
    let mut random = Random(11);
    let law = law(0.35);
    let bound = start_bound(&law, STEP, 4.0);
    let (mut found, mut overlap) = (0, 0.0);
    for _ in 0..50 {
        let ln_lr: Vec<f64> = (0..1_000).map(|t| draw(&law, (300..400).contains(&t), &mut random)).collect();
        let windows = scan(&[Track { ln_lr: &ln_lr, bound }], 1e-3);
        found += usize::from(windows.len() == 1);
        if let Some(window) = windows.first() {
            let common = window.end.min(400).saturating_sub(window.start.max(300)) as f64;
            overlap += common / (window.end.max(400) - window.start.min(300)) as f64;
        }
    }
    assert!(found >= 49, "{found}");
    assert!(overlap / 50.0 > 0.85, "{overlap}");
}
