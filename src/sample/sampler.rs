//! The stages up to the mark, in order, with the memory that they share from step to step.

use wmdetect::scheme::Distribution;

use super::{Candidates, History, SampleError, Sampling, filter};
use crate::logits::Logits;

/// Turns logits into distributions. It allocates nothing once it has seen the largest step.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    candidates: Candidates,
    shaped: Vec<(u32, f32)>,
    sums: Vec<f64>,
    distribution: Option<Distribution>,
    entropy: f64,
}

impl Sampler {
    /// Returns the candidates' distribution: penalties, top-k, temperature, top-p, min-p, in this order.
    ///
    /// `history` has the tokens before, for these settings. With top-k, the most likely candidate comes first. Without
    /// it, candidates come in the order of their ids, except for a tail with a total probability of at most
    /// [`filter::OMITTED`], which is left out.
    ///
    /// # Errors
    /// Returns an error if a logit is NaN or +∞, or no logit is finite.
    pub fn distribution(
        &mut self,
        sampling: &Sampling,
        logits: Logits<'_>,
        history: &History,
    ) -> Result<&mut Distribution, SampleError> {
        self.candidates.choose(logits, sampling.candidates(), history, sampling.penalties())?;
        self.shape(sampling);
        let distribution = match &mut self.distribution {
            Some(distribution) => {
                distribution.set_logits(&self.shaped)?;
                distribution
            }
            none => none.insert(Self::fresh(&self.shaped)?),
        };
        self.entropy = entropy(&self.shaped, distribution.probabilities());
        Ok(distribution)
    }

    /// Returns the entropy, in nats, of the last [`distribution`](Self::distribution), as it was returned.
    pub fn entropy(&self) -> f64 {
        self.entropy
    }

    /// Returns the last [`distribution`](Self::distribution), if there was one.
    pub(crate) fn last(&mut self) -> Option<&mut Distribution> {
        self.distribution.as_mut()
    }

    /// Does the same as [`Self::distribution`] for several settings at once, with one distribution each in `out`. The
    /// vocabulary is searched only once if the settings differ only in temperature, top-p and min-p.
    ///
    /// # Errors
    /// Returns the errors of [`Self::distribution`].
    pub fn distributions(
        &mut self,
        settings: &[Sampling],
        logits: Logits<'_>,
        history: &History,
        out: &mut Vec<Distribution>,
    ) -> Result<(), SampleError> {
        out.truncate(settings.len());
        let mut searched = None;
        for (i, setting) in settings.iter().enumerate() {
            let search = (setting.candidates(), setting.penalties());
            if searched != Some(search) {
                self.candidates.choose(logits, search.0, history, search.1)?;
                searched = Some(search);
            }
            self.shape(setting);
            match out.get_mut(i) {
                Some(distribution) => distribution.set_logits(&self.shaped)?,
                None => out.push(Self::fresh(&self.shaped)?),
            }
        }
        Ok(())
    }

    fn fresh(entries: &[(u32, f32)]) -> Result<Distribution, SampleError> {
        let (tokens, logits): (Vec<u32>, Vec<f32>) = entries.iter().copied().unzip();
        Ok(Distribution::from_logits(tokens, &logits)?)
    }

    /// Applies temperature, top-p and min-p to the candidates.
    fn shape(&mut self, sampling: &Sampling) {
        self.shaped.clear();
        self.shaped.extend_from_slice(self.candidates.entries());
        self.shape_to_top_p(sampling);
        filter::min_p(&mut self.shaped, sampling.min_p);
    }

    fn shape_to_top_p(&mut self, sampling: &Sampling) {
        if sampling.candidates() == 0 && sampling.top_p < 1.0 {
            filter::top_p_of_all(&mut self.shaped, sampling.temperature, sampling.top_p, &mut self.sums);
            return;
        }
        if sampling.temperature > 0.0 {
            filter::temperature(&mut self.shaped, sampling.temperature);
        }
        if sampling.candidates() == 0 {
            filter::without_tail(&mut self.shaped);
        } else {
            filter::top_p(&mut self.shaped, sampling.top_p);
        }
    }
}

/// Returns Σ −p ln p with a single logarithm: the logit of a candidate is ln p plus a constant.
fn entropy(logits: &[(u32, f32)], probabilities: &[f64]) -> f64 {
    let mean: f64 = logits
        .iter()
        .zip(probabilities)
        .map(|(entry, p)| if *p > 0.0 { p * f64::from(entry.1) } else { 0.0 })
        .sum();
    let greatest = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    greatest.map_or(0.0, |(place, p)| (f64::from(logits[place].1) - p.ln() - mean).max(0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rank::by_rank;
    use super::*;
    use crate::kernels::SoftCap;
    use crate::logits::TokenSet;

    #[test]
    fn entropy_is_that_of_the_candidates() {
        let mut sampler = Sampler::default();
        let values = [0.5f32.ln(), f32::NEG_INFINITY, 0.125f32.ln(), 0.25f32.ln(), 0.125f32.ln()];
        for (top_k, bits) in [(0, 1.75), (9, 1.75), (2, 0.918_295_8), (1, 0.0)] {
            let sampling = Sampling { top_k, ..Sampling::default() };
            sampler.distribution(&sampling, Logits::capped(&values), &History::default()).unwrap();
            let found = sampler.entropy() / std::f64::consts::LN_2;
            assert!((found - bits).abs() < 1e-6, "{top_k}: {found}");
        }
    }

    /// The definition: caps every logit, sorts everything, keeps no memory.
    fn plain(
        sampling: &Sampling,
        values: &[f32],
        cap: Option<f32>,
        prompt: &[u32],
        response: &[u32],
        banned: &[u32],
    ) -> Result<Distribution, SampleError> {
        if let Some(token) = values.iter().position(|value| value.is_nan()) {
            return Err(SampleError::Nan { token: token as u32 });
        }
        let mut entries: Vec<(u32, f32)> = (0..).zip(values.iter().copied()).collect();
        for (token, logit) in &mut entries {
            *logit = cap.map_or(*logit, |cap| SoftCap(cap).of(*logit));
            let count = response.iter().filter(|other| *other == token).count();
            if sampling.repeat_penalty != 1.0 && (count > 0 || prompt.contains(token)) {
                *logit = filter::penalised(*logit, sampling.repeat_penalty);
            }
            let Sampling { frequency_penalty, presence_penalty, .. } = *sampling;
            if count > 0 && (frequency_penalty, presence_penalty) != (0.0, 0.0) {
                *logit = (f64::from(*logit) - frequency_penalty * count as f64 - presence_penalty) as f32;
            }
        }
        if (1..values.len()).contains(&sampling.candidates()) {
            entries.retain(|entry| !banned.contains(&entry.0));
        }
        for entry in entries.iter_mut().filter(|entry| banned.contains(&entry.0)) {
            entry.1 = f32::NEG_INFINITY;
        }
        let ordered = sampling.candidates() > 0 || sampling.top_p < 1.0;
        if ordered {
            entries.sort_by(by_rank);
        }
        match sampling.candidates() {
            0 => {}
            k => entries.truncate(k),
        }
        if sampling.temperature > 0.0 {
            filter::temperature(&mut entries, sampling.temperature);
        }
        if ordered {
            filter::top_p(&mut entries, sampling.top_p);
        } else {
            filter::without_tail(&mut entries);
        }
        filter::min_p(&mut entries, sampling.min_p);
        Sampler::fresh(&entries)
    }

    /// Numbers that can be equal, the cap's flat ends, and infinities.
    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            (-8i8..8).prop_map(f32::from),
            -40f32..40.0,
            (0u8..40).prop_map(|i| 9.0 + f32::from(i) * 1e-6),
            (0u8..40).prop_map(|i| 250.0 + f32::from(i)),
            Just(0.0),
            Just(-0.0),
            Just(f32::NEG_INFINITY),
            prop_oneof![50 => Just(1.0), 1 => Just(f32::INFINITY), 1 => Just(f32::NAN)],
        ]
    }

    fn sampling() -> impl Strategy<Value = Sampling> {
        let temperature = prop_oneof![Just(0.0), Just(1.0), 0.1f64..3.0];
        let top_k = prop_oneof![Just(0usize), Just(1), 1usize..40, 1usize..2000];
        let top_p = prop_oneof![Just(1.0), 0.001f64..1.0];
        let repeat_penalty = prop_oneof![Just(1.0f32), 0.5f32..2.0];
        let penalty = || prop_oneof![Just(0.0), -2.0f64..2.0];
        let min_p = prop_oneof![Just(0.0), Just(1.0), 0f64..1.0, (0f64..1.0).prop_map(|x| x.powi(20))];
        (temperature, top_k, top_p, repeat_penalty, penalty(), penalty(), min_p).prop_map(
            |(temperature, top_k, top_p, repeat_penalty, frequency_penalty, presence_penalty, min_p)| {
                let penalties = Sampling { frequency_penalty, presence_penalty, ..Sampling::default() };
                Sampling { temperature, top_k, top_p, repeat_penalty, min_p, ..penalties }
            },
        )
    }

    /// Holds whether all tokens are candidates or only some.
    #[test]
    fn an_infinite_logit_is_called_one() {
        let mut values = vec![1.0; 600];
        values[535] = f32::INFINITY;
        for top_k in [0, 40] {
            let sampling = Sampling { top_k, ..Sampling::default() };
            let found = Sampler::default()
                .distribution(&sampling, Logits::capped(&values), &History::default())
                .map(|_| ());
            assert_eq!(found, Err(SampleError::Infinite { token: 535 }));
        }
        let at = |temperature| Sampling { temperature, ..Sampling::default() }.check(false);
        assert!(matches!(at(1e-7), Err(SampleError::Setting { name: "temperature", .. })));
        let least = Sampling { temperature: 1e-6, ..Sampling::default() };
        least.check(false).unwrap();
        values[535] = 1e30;
        Sampler::default().distribution(&least, Logits::capped(&values), &History::default()).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn the_fast_path_is_the_definition(
            // Long enough for the search by blocks, and shorter.
            values in prop_oneof![
                prop::collection::vec(value(), 1..200),
                prop::collection::vec(value(), 3000..6000),
                prop::collection::vec(Just(2.5f32), 1..5000),
                prop::collection::vec(-30f32..30.0, 3000..6000),
            ],
            settings in prop::collection::vec(sampling(), 1..4),
            cap in prop::option::of(prop_oneof![Just(30.0f32), 0.5f32..50.0]),
            prompt in prop::collection::vec(0u32..6500, 0..30),
            // Some tokens occur more than once.
            response in prop::collection::vec(prop_oneof![0u32..6500, 0u32..8], 0..30),
            banned in prop_oneof![
                prop::collection::btree_set(prop_oneof![0u32..6500, 0u32..200], 0..30),
                // More than the search expects at first.
                (0u32..3000, 0u32..3000).prop_map(|(first, len)| (first..first + len).collect()),
            ],
        ) {
            let banned: Vec<u32> = banned.into_iter().collect();
            let mut sampler = Sampler::default();
            let set: TokenSet = banned.iter().copied().collect();
            let logits = Logits::before_cap(&values, cap).without(&set);
            let expected: Vec<_> = settings.iter().map(|s| plain(s, &values, cap, &prompt, &response, &banned)).collect();
            let mut history = History::new(&settings, &prompt);
            for token in &response {
                history.push(*token);
            }
            for (setting, expected) in settings.iter().zip(&expected) {
                let found = sampler.distribution(setting, logits, &history).map(|d| d.clone());
                prop_assert_eq!(&found, expected, "{:?}", setting);
            }
            let mut together = Vec::new();
            let result = sampler.distributions(&settings, logits, &history, &mut together);
            match expected.into_iter().collect::<Result<Vec<_>, _>>() {
                Ok(expected) => {
                    prop_assert_eq!(result, Ok(()));
                    prop_assert_eq!(together, expected);
                }
                Err(error) => prop_assert_eq!(result, Err(error)),
            }
        }
    }
}
