//! Where in a text the mark is.

#[cfg(feature = "text")]
use std::ops::Range;
use std::sync::OnceLock;

#[cfg(feature = "text")]
use super::DetectError;
use super::reach::reach;
use super::{Detector, Entry, p_kind};
use crate::report::{SCHEMA_VERSION, SegmentsReport, Span};
use crate::scheme::{GBits, TextGValues};
use crate::statistics::llr::{CELL_SHIFT, STEP, lattice};
use crate::statistics::mixture::RatioTable;
use crate::statistics::segments::{StartBound, Track, scan, start_bound};
use crate::statistics::{PKind, PValue, Profile};

/// The profiles of the scan, each for texts of one temperature: a profile for temperature 1 is evidence against text at
/// 0.5, and one for both is weak at either.
const PROFILES: [&str; 4] = ["t1.0", "t0.7", "t0.5", "t0.35"];

/// Which of them says how far a passage reaches: its ends are less certain text than its middle.
const REACH: usize = 2;

/// The least score, in nats, for which [`start_bound`]'s factor is computed; thresholds are above it.
const LEVEL: f64 = 5.0;

/// Half a step of the profiles' lattice, in nats.
const HALF_STEP: f64 = STEP / 2.0;

/// Layers up to which the null law of a shortened profile is enumerated for its factor. Beyond, and below the built-in
/// profiles' own depth, Ville's inequality has to do: the enumeration would take seconds.
const ENUMERATED: usize = 18;

/// A profile of the scan.
struct Scanner {
    profile: Profile,
    ratios: RatioTable,
    /// Added to each token's score, in half lattice steps: 1 where E[LR] stays at most 1 with it. The lattice rounds
    /// down, which costs half a step a token, a tenth of the evidence at temperature 0.5.
    shift: i32,
    bound: StartBound,
}

impl Scanner {
    /// With the null law, if it is `known`.
    fn new(profile: Profile, known: bool) -> Self {
        let ratios = RatioTable::new(profile.mixture());
        if !known {
            return Self { profile, ratios, shift: 0, bound: StartBound::VILLE };
        }
        let law = |shift: i32| -> Vec<(i64, f64)> {
            let null = profile.null();
            (null.first()..).map(|s| 2 * s + i64::from(shift)).zip(null.mass().iter().copied()).collect()
        };
        let mean: f64 = law(1).iter().map(|&(s, p)| p * (s as f64 * HALF_STEP).exp()).sum();
        let shift = i32::from(mean <= 1.0 - 1e-9);
        let bound = start_bound(&law(shift), HALF_STEP, LEVEL);
        Self { profile, ratios, shift, bound }
    }

    /// [`Profile::score`].
    fn score(&self, g: GBits) -> i32 {
        lattice(self.ratios.likelihood_ratio(g, CELL_SHIFT))
    }

    /// ln LR, with E[LR] ≤ 1 under the null.
    fn ln_lr(&self, g: GBits) -> f64 {
        f64::from(2 * self.score(g) + self.shift) * HALF_STEP
    }
}

/// The profiles for `depth` layers.
fn scanners(depth: usize) -> &'static [Scanner] {
    const MAX: usize = 30;
    static SCANNERS: [OnceLock<Vec<Scanner>>; MAX + 1] = [const { OnceLock::new() }; MAX + 1];
    let depth = depth.min(MAX);
    SCANNERS[depth].get_or_init(|| {
        let scanner = |full: &Profile| {
            Scanner::new(full.for_depth(depth), depth >= full.depth() || depth <= ENUMERATED)
        };
        PROFILES.iter().filter_map(|name| Profile::named(name)).map(scanner).collect()
    })
}

impl Detector {
    /// The passages of a text that carry the mark. The detector's rate is the family-wise error: at most that share of
    /// unmarked texts has any passage.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn segments(&self, text: &str) -> Result<SegmentsReport, DetectError> {
        self.segments_bytes(text.as_bytes())
    }

    /// As [`segments`](Self::segments), for the content of a file, read as [`score_bytes`](Self::score_bytes) does.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn segments_bytes(&self, bytes: &[u8]) -> Result<SegmentsReport, DetectError> {
        let (encoded, changes) = self.encode_bytes(bytes)?;
        let mut report = self.segments_of_tokens(&encoded.ids);
        locate(&mut report.segments, &encoded.offsets);
        report.tokenizer = self.tokenizer.as_ref().map(|tokenizer| tokenizer.name().to_owned());
        report.warnings.extend(self.text_warnings(&changes));
        report.normalisation = (!changes.is_empty()).then_some(changes);
        Ok(report)
    }

    /// The passages of a sequence of token ids that carry the mark, as [`segments`](Self::segments).
    pub fn segments_of_tokens(&self, ids: &[u32]) -> SegmentsReport {
        let mut scored_tokens = 0;
        let mut segments = Vec::new();
        for entry in &self.keys {
            let values = self.values(entry, &[], ids);
            scored_tokens = scored_tokens.max(values.scored().count() as u64);
            segments.extend(self.spans(entry, &values, ids));
        }
        segments.sort_by_key(|span| span.tokens);
        let approximate = self.keys.iter().any(|entry| entry.prf.scheme().is_compat());
        SegmentsReport {
            schema_version: SCHEMA_VERSION,
            input: String::new(),
            tokenizer: None,
            tokens: ids.len() as u64,
            scored_tokens,
            p_kind: if approximate { PKind::Approximate } else { PKind::Conservative },
            fpr: self.fpr,
            keys_tried: self.keys.len() as u64,
            segments,
            warnings: Vec::new(),
            normalisation: None,
        }
    }

    /// The passages of `ids` that one key of the detector finds, at the detector's rate divided by the number of its keys.
    pub(super) fn spans(&self, entry: &Entry, values: &TextGValues, ids: &[u32]) -> Vec<Span> {
        let tries = self.keys.len();
        let scanners = scanners(values.depth);
        let scored: Vec<_> = (0..values.g.len()).filter(|&i| values.scored[i]).collect();
        let ln_lr: Vec<Vec<f64>> = scanners
            .iter()
            .map(|scanner| scored.iter().map(|&i| scanner.ln_lr(values.g[i])).collect())
            .collect();
        let tracks: Vec<_> = scanners
            .iter()
            .zip(&ln_lr)
            .map(|(scanner, ln_lr)| Track { ln_lr, bound: scanner.bound })
            .collect();
        let mut spans: Vec<Span> = Vec::new();
        for window in scan(&tracks, self.fpr / tries as f64) {
            let kind = match p_kind(&entry.prf) {
                PKind::Exact => PKind::Conservative,
                kind => kind,
            };
            let p = PValue::from_ln(window.ln_p, kind).corrected(tries);
            // The evidence of a token is about its context as well: those tokens were written with it.
            let start = scored[window.start] as u64;
            let end = (scored[window.end - 1] + values.first + 1) as u64;
            let before = spans.last().map_or(0, |span| span.tokens[1]);
            spans.push(Span {
                bytes: None,
                tokens: [start.max(before), end],
                scored_tokens: (window.end - window.start) as u64,
                score: window.score,
                p_value: p.p(),
                log10_p: p.log10,
                profile: scanners[window.track].profile.name().to_owned(),
                key_id: entry.id.clone(),
            });
        }
        let mut evidence = vec![0.0; ids.len()];
        for (&i, &ln_lr) in scored.iter().zip(&ln_lr[REACH]) {
            evidence[i + values.first] = ln_lr;
        }
        reach(spans, ids, &evidence, values.first)
    }
}

/// Fills in the bytes of spans of a text whose tokens cover `offsets`.
#[cfg(feature = "text")]
pub(super) fn locate(spans: &mut [Span], offsets: &[Range<usize>]) {
    for span in spans {
        let [start, end] = span.tokens.map(|token| token as usize);
        if let Some(tokens) = offsets.get(start..end)
            && let (Some(first), Some(last)) = (tokens.first(), tokens.last())
        {
            span.bytes = Some([first.start as u64, last.end as u64]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scanners_score_as_their_profiles() {
        for depth in [1, 8, 9, 18, 30] {
            for scanner in scanners(depth) {
                for i in 0..2_000_u64 {
                    let g = GBits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) & (u64::MAX >> (64 - depth)));
                    assert_eq!(scanner.score(g), scanner.profile.score(g), "{depth} {g:?}");
                }
            }
        }
    }
}
