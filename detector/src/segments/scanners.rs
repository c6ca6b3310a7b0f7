//! The profiles that look for marked passages, ready to score a text's tokens side by side.

use std::sync::OnceLock;

use super::scan::{StartBound, Thresholds, start_bound};
use crate::scheme::GBits;
use crate::statistics::Profile;
use crate::statistics::llr::{LatticeTable, STEP, TRACKS};

/// The profiles of the scan, each for texts of one temperature. A profile for temperature 1 is evidence against text at
/// 0.5, and a profile for both is weak at either.
pub(super) const PROFILES: [&str; TRACKS] = ["t1.0", "t0.7", "t0.5", "t0.35"];

/// The profile that says how far a passage reaches: the text at its ends is less certain than in its middle.
pub(super) const REACH: usize = 2;

/// The least score, in nats, for which [`start_bound`]'s factor is computed; thresholds are above it.
const LEVEL: f64 = 5.0;

/// Half a step of the profiles' lattice, in nats.
const HALF_STEP: f64 = STEP / 2.0;

/// Number of layers up to which the null law of a shortened profile is enumerated for its factor. Between this and the
/// built-in profiles' own depth, Ville's inequality is used, since the enumeration would take seconds.
const ENUMERATED: usize = 18;

/// A profile of the scan.
struct Scanner {
    profile: Profile,
    /// Shift of each token's score, in half lattice steps: 1 if E[LR] stays at most 1 with it. The lattice rounds down,
    /// which costs half a step a token, a tenth of the evidence at temperature 0.5.
    shift: i32,
    bound: StartBound,
}

impl Scanner {
    /// Makes a scanner, with the null law if it is `known`.
    fn new(profile: Profile, known: bool) -> Self {
        if !known {
            return Self { profile, shift: 0, bound: StartBound::VILLE };
        }
        let law = |shift: i32| -> Vec<(i64, f64)> {
            let null = profile.null();
            (null.first()..).map(|s| 2 * s + i64::from(shift)).zip(null.mass().iter().copied()).collect()
        };
        let mean: f64 = law(1).iter().map(|&(s, p)| p * (s as f64 * HALF_STEP).exp()).sum();
        let shift = i32::from(mean <= 1.0 - 1e-9);
        let bound = start_bound(&law(shift), HALF_STEP, LEVEL);
        Self { profile, shift, bound }
    }
}

/// The profiles for keys of one depth.
pub(super) struct Scanners {
    each: Vec<Scanner>,
    table: LatticeTable,
    shifts: [i32; TRACKS],
}

impl Scanners {
    fn new(depth: usize) -> Self {
        let scanner = |full: &Profile| {
            Scanner::new(full.for_depth(depth), depth >= full.depth() || depth <= ENUMERATED)
        };
        let each: Vec<Scanner> =
            PROFILES.iter().filter_map(|name| Profile::named(name)).map(scanner).collect();
        let table = LatticeTable::new(each.iter().map(|scanner| scanner.profile.classes().clone()).collect());
        let mut shifts = [0; TRACKS];
        shifts.iter_mut().zip(&each).for_each(|(shift, scanner)| *shift = scanner.shift);
        Self { each, table, shifts }
    }

    /// Returns ln LR of each profile in half lattice steps, with E[LR] ≤ 1 under the null.
    fn half_steps(&self, g: GBits) -> [i32; TRACKS] {
        let mut steps = self.table.points(g);
        steps.iter_mut().zip(self.shifts).for_each(|(step, shift)| *step = 2 * *step + shift);
        steps
    }

    /// Returns ln LR of a token under each profile.
    pub(super) fn ln_lr(&self, g: GBits) -> [f64; TRACKS] {
        self.half_steps(g).map(|step| f64::from(step) * HALF_STEP)
    }

    /// Returns what [`scan_rows`](super::scan::scan_rows) takes with rows of [`ln_lr`](Self::ln_lr).
    pub(super) fn bounds(&self) -> Vec<StartBound> {
        self.each.iter().map(|scanner| scanner.bound).collect()
    }

    /// Returns the name of the profile of a track.
    pub(super) fn name(&self, track: usize) -> &str {
        self.each[track].profile.name()
    }

    /// Returns whether [`scan`](super::scan::scan) finds anything in `n` tokens at family-wise error `fpr`: whether the
    /// largest sum over a window of any profile passes what a window costs. It takes one pass that keeps nothing, and
    /// most texts need no other.
    pub(super) fn finds(&self, scored: impl Iterator<Item = GBits>, n: u64, fpr: f64) -> bool {
        let thresholds = Thresholds::new(self.each.iter().map(|scanner| scanner.bound), n, fpr);
        // The sums are integers. The sum of a missing profile never grows.
        let mut limits = [i32::MAX; TRACKS];
        let costs = thresholds.costs().iter().map(|cost| (cost / HALF_STEP).floor() as i32);
        limits.iter_mut().zip(costs).for_each(|(limit, cost)| *limit = cost);
        let mut sums = [0_i32; TRACKS];
        for g in scored {
            let mut above = false;
            let steps = self.half_steps(g);
            for track in 0..TRACKS {
                sums[track] = sums[track].max(0).saturating_add(steps[track]);
                above |= sums[track] > limits[track];
            }
            if above {
                return true;
            }
        }
        false
    }
}

/// Returns the profiles for `depth` layers.
pub(super) fn scanners(depth: usize) -> &'static Scanners {
    const MAX: usize = 30;
    static SCANNERS: [OnceLock<Scanners>; MAX + 1] = [const { OnceLock::new() }; MAX + 1];
    let depth = depth.min(MAX);
    SCANNERS[depth].get_or_init(|| Scanners::new(depth))
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan_rows;
    use super::*;

    fn random(mut state: u64) -> impl FnMut() -> u64 {
        move || crate::split_mix::next(&mut state)
    }

    #[test]
    fn the_scanners_score_as_their_profiles() {
        let mut next = random(1);
        for depth in [1, 8, 9, 18, 30] {
            let scanners = scanners(depth);
            assert_eq!(scanners.each.len(), PROFILES.len());
            for _ in 0..2_000 {
                let g = GBits(next() & (u64::MAX >> (64 - depth)));
                for (scanner, step) in scanners.each.iter().zip(scanners.half_steps(g)) {
                    assert_eq!(step, 2 * scanner.profile.score(g) + scanner.shift, "{depth} {g:?}");
                }
            }
        }
    }

    /// The short pass says "nothing" exactly where the scan finds nothing.
    #[test]
    fn the_short_pass_decides_as_the_scan() {
        let mut next = random(2);
        let scanners = scanners(30);
        let mut found = [0, 0];
        for round in 0..400_u64 {
            let n = 1 + next() % 200;
            // A bit is one if either of two bits is: some texts pass, some do not.
            let marked = round % 3 * 20;
            let g: Vec<GBits> =
                (0..n).map(|t| GBits((next() | if t < marked { next() } else { 0 }) >> 34)).collect();
            let row = |t: usize, row: &mut [f64]| row.copy_from_slice(&scanners.ln_lr(g[t]));
            for fpr in [0.5, 0.01, 1e-6] {
                let passes = !scan_rows(&scanners.bounds(), g.len(), fpr, row).is_empty();
                assert_eq!(scanners.finds(g.iter().copied(), n, fpr), passes, "{round} {fpr}");
                found[usize::from(passes)] += 1;
            }
        }
        assert!(found.iter().all(|&count| count > 100), "{found:?}");
    }
}
