//! What each token adds to the evidence, for people to look at. The verdict does not depend on it.

use super::reading::{Offsets, Reading};
use super::{DetectError, Detector, Input};
use crate::report::{Explanation, TokenEvidence};
use crate::statistics::{LikelihoodRatio, Profile};

/// Number of scored tokens on either side whose evidence is added to a token's own, which alone is too weak to be seen.
const NEIGHBOURS: usize = 7;

impl Detector {
    /// Scores a text and says what each token adds, in nats, whichever statistic decides. The evidence is that under
    /// the built-in profile `pooled`. Schemes without a tournament take from it how free the tokens of marked texts
    /// are.
    ///
    /// # Errors
    /// Returns an error if [`score`](Self::score) would, or if the input is a reader.
    pub fn explain<'a>(&self, input: impl Into<Input<'a>>) -> Result<Explanation, DetectError> {
        Ok(self.read(self.whole(input, "explanations", Offsets::Now)?).explanation())
    }
}

impl Reading<'_, '_> {
    fn explanation(&self) -> Explanation {
        let report = self.report();
        let found = &self.best.evidence;
        let profile = found.layers().map(|values| Profile::pooled().for_depth(values.depth));
        let ratio = LikelihoodRatio::new(found.kind(), Profile::pooled());
        let evidence = |t: usize| -> Option<f64> {
            let i = t.checked_sub(found.first())?;
            found.scored_mask().get(i).filter(|&&scored| scored)?;
            let g = *found.g_bits().get(i)?;
            Some(profile.as_ref().map_or_else(|| ratio.ln(g), |profile| profile.ln_lr(g)))
        };
        let ids = self.tokens.ids.iter().enumerate();
        let mut tokens: Vec<TokenEvidence> =
            ids.map(|(t, &id)| TokenEvidence { evidence: evidence(t), ..TokenEvidence::new(id) }).collect();
        if let Some(text) = &self.tokens.text {
            for (token, offsets) in tokens.iter_mut().zip(&text.offsets) {
                token.bytes = offsets.clone();
            }
        }
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
        TokenEvidence { evidence, ..TokenEvidence::new(0) }
    }

    #[test]
    fn evidence_is_summed_over_what_counts() {
        let mut tokens: Vec<_> = (0..20).map(|t| token((t % 2 == 0).then_some(1.0))).collect();
        smooth(&mut tokens);
        assert_eq!((tokens[0].local, tokens[1].local, tokens[10].local), (Some(8.0), None, Some(10.0)));
        assert_eq!((tokens[0].level(), tokens[1].level()), (3, 0));
    }
}
