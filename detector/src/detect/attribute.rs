//! Which of many keys marked a text.

#[cfg(feature = "text")]
use super::DetectError;
use super::{Detector, p_kind, sum};
use crate::report::{Attribution, KeyReport, SCHEMA_VERSION};
use crate::scheme::Ngrams;
use crate::statistics::attribution::{Attributed, KeyEvidence, KeySums, attribute};
use crate::statistics::{Method, PKind, Sample, Statistic as _};
use crate::verdict::Verdict;

impl Detector {
    /// Every key of the detector's ring that marked the text, with p corrected for all of them. The statistic is the
    /// weighted mean, whichever decides in [`score`](Self::score).
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn attribute(&self, text: &str) -> Result<Attribution, DetectError> {
        self.attribute_bytes(text.as_bytes())
    }

    /// As [`attribute`](Self::attribute), for the content of a file, read as [`score_bytes`](Self::score_bytes) does.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn attribute_bytes(&self, bytes: &[u8]) -> Result<Attribution, DetectError> {
        let (encoded, changes) = self.encode_bytes(bytes)?;
        let mut report = self.attribute_tokens(&encoded.ids);
        report.tokenizer = self.tokenizer.as_ref().map(|tokenizer| tokenizer.name().to_owned());
        report.warnings.extend(self.text_warnings(&changes));
        report.normalisation = (!changes.is_empty()).then_some(changes);
        Ok(report)
    }

    /// Every key that marked a sequence of token ids, as [`attribute`](Self::attribute). A key costs one hash for each
    /// scored token: which tokens are scored is found out once for all keys of a scheme.
    pub fn attribute_tokens(&self, ids: &[u32]) -> Attribution {
        let tries = self.keys.len();
        let mut groups: Vec<KeySums<'_>> = Vec::new();
        let mut rest: Vec<usize> = (0..tries).collect();
        // The key under which most tokens count.
        let mut longest = (0, 0);
        while let Some(&first) = rest.first() {
            // Keys of one scheme score the same positions of a text.
            let scheme = self.keys[first].prf.scheme();
            let (group, others): (Vec<usize>, Vec<usize>) =
                rest.into_iter().partition(|&key| self.keys[key].prf.scheme() == scheme);
            rest = others;
            let values = self.values(&self.keys[first], &[], ids);
            let ngram_len = scheme.ngram_len();
            let scored = ids
                .windows(ngram_len)
                .zip(&values.scored)
                .filter_map(|(ngram, &scored)| scored.then_some(ngram));
            let ngrams = Ngrams::new(ngram_len, scored);
            let mut g = Vec::new();
            let statistic = &*self.keys[first].plan.weighted_mean;
            let sums = group
                .into_iter()
                .map(|key| {
                    self.keys[key].prf.g_bits_of(&ngrams, &mut g);
                    (key, sum(statistic, Sample::layers(scheme.depth(), &g)))
                })
                .collect();
            let tokens = ngrams.len() as u64;
            if tokens > longest.0 {
                longest = (tokens, first);
            }
            groups.push(KeySums { statistic, tokens, sums });
        }
        let Attributed { found, runner_up } = attribute(groups, tries, self.fpr);
        let mut warnings = Vec::new();
        if self.keys.iter().any(|entry| entry.prf.scheme().is_compat()) {
            warnings.push(
                "the g-values of the compatible schemes are not independent under the null hypothesis, so their p is \
                 approximate"
                    .to_owned(),
            );
        }
        let least = found.first().or(runner_up.as_ref());
        Attribution {
            schema_version: SCHEMA_VERSION,
            input: String::new(),
            tokenizer: None,
            tokens: ids.len() as u64,
            detector: Method::WeightedMean,
            keys_tried: tries as u64,
            fpr: self.fpr,
            verdict: Verdict::new(least.map(|key| key.corrected.log10), self.fpr, longest.0, || {
                self.keys[longest.1].plan.weighted_mean.required_tokens(self.fpr / tries as f64)
            }),
            keys: found.iter().map(|key| self.key_report(key)).collect(),
            runner_up: runner_up.as_ref().map(|key| self.key_report(key)),
            warnings,
            normalisation: None,
        }
    }

    fn key_report(&self, evidence: &KeyEvidence) -> KeyReport {
        let entry = &self.keys[evidence.key];
        KeyReport {
            key_id: entry.id.clone(),
            name: entry.name.clone(),
            scheme: entry.prf.scheme().name().into(),
            scored_tokens: evidence.tokens,
            score: evidence.score,
            p_value: evidence.corrected.p(),
            log10_p: evidence.corrected.log10,
            log10_p_alone: evidence.alone.log10,
            p_kind: match p_kind(&entry.prf) {
                PKind::Exact if self.keys.len() > 1 => PKind::Conservative,
                kind => kind,
            },
        }
    }
}
