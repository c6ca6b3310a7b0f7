//! What each token adds to the evidence, for people to look at. The verdict does not depend on it.

#[cfg(feature = "text")]
use super::DetectError;
use super::Detector;
use crate::report::{Explanation, Report, TokenEvidence};
use crate::scheme::{GBits, TextGValues};
use crate::statistics::Profile;

/// Scored tokens on either side whose evidence counts with a token's own: alone it is too weak to be seen.
const NEIGHBOURS: usize = 7;

impl Detector {
    /// Scores a text and says what each token adds.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn explain(&self, text: &str) -> Result<Explanation, DetectError> {
        self.explain_bytes(text.as_bytes())
    }

    /// As [`explain`](Self::explain), for the content of a file, read as [`score_bytes`](Self::score_bytes) does.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn explain_bytes(&self, bytes: &[u8]) -> Result<Explanation, DetectError> {
        let report = self.score_bytes(bytes)?;
        let (encoded, _) = self.encode_bytes(bytes)?;
        let mut explanation = self.explanation(report, &encoded.ids);
        for (token, offsets) in explanation.tokens.iter_mut().zip(encoded.offsets) {
            token.bytes = offsets;
        }
        Ok(explanation)
    }

    /// As [`explain`](Self::explain), for token ids.
    pub fn explain_tokens(&self, ids: &[u32]) -> Explanation {
        self.explanation(self.score_tokens(ids), ids)
    }

    fn explanation(&self, report: Report, ids: &[u32]) -> Explanation {
        let entry = self.keys.iter().find(|entry| entry.id == report.key_id);
        let entry = entry.expect("a report names one of the detector's keys");
        let mut values = TextGValues::new(&entry.prf, &[], ids);
        self.leave_out(ids, &mut values);
        let profile = Profile::pooled().for_depth(values.depth);
        let evidence = |t: usize| -> Option<f64> {
            let i = t.checked_sub(values.first)?;
            let scored = *values.scored.get(i)?;
            scored.then(|| profile.ln_lr(values.g.get(i).copied().unwrap_or(GBits(0))))
        };
        let mut tokens: Vec<TokenEvidence> = (0..ids.len())
            .map(|t| TokenEvidence {
                id: ids[t],
                bytes: 0..0,
                evidence: evidence(t),
                local: None,
                in_span: false,
            })
            .collect();
        smooth(&mut tokens);
        for span in &report.spans {
            let inside = tokens.iter_mut().take(span.tokens[1] as usize).skip(span.tokens[0] as usize);
            inside.for_each(|token| token.in_span = true);
        }
        Explanation { report, tokens }
    }
}

/// Sums the evidence around each token that counts.
fn smooth(tokens: &mut [TokenEvidence]) {
    let counting: Vec<(usize, f64)> =
        tokens.iter().enumerate().filter_map(|(t, token)| Some((t, token.evidence?))).collect();
    for (i, &(t, _)) in counting.iter().enumerate() {
        let around = i.saturating_sub(NEIGHBOURS)..(i + NEIGHBOURS + 1).min(counting.len());
        tokens[t].local = Some(counting[around].iter().map(|(_, evidence)| evidence).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(evidence: Option<f64>) -> TokenEvidence {
        TokenEvidence { id: 0, bytes: 0..0, evidence, local: None, in_span: false }
    }

    #[test]
    fn evidence_is_summed_over_what_counts() {
        let mut tokens: Vec<_> = (0..20).map(|t| token((t % 2 == 0).then_some(1.0))).collect();
        smooth(&mut tokens);
        assert_eq!((tokens[0].local, tokens[1].local, tokens[10].local), (Some(8.0), None, Some(10.0)));
        assert_eq!((tokens[0].level(), tokens[1].level()), (3, 0));
    }
}
