//! What each token adds to the evidence, for people to look at. The verdict does not depend on it.

use std::ops::Range;

#[cfg(feature = "text")]
use super::DetectError;
use super::Detector;
use crate::report::Report;
use crate::scheme::{GBits, TextGValues};
use crate::statistics::Profile;

/// Scored tokens on either side whose evidence counts with a token's own: alone it is too weak to be seen.
const NEIGHBOURS: usize = 7;

/// The levels of evidence: how many times as likely the tokens around a place are with the mark as without it, and the
/// natural logarithm of that. By Markov's inequality an unmarked place reaches a level with at most one over its
/// probability, since a likelihood ratio has mean 1 there.
pub const LEVELS: [(&str, f64); 4] = [
    ("10", std::f64::consts::LN_10),
    ("100", 2.0 * std::f64::consts::LN_10),
    ("1,000", 3.0 * std::f64::consts::LN_10),
    ("1,000,000", 6.0 * std::f64::consts::LN_10),
];

/// One token and its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenEvidence {
    /// The token.
    pub id: u32,
    /// The bytes of the original text that it covers; empty where the input was token ids.
    pub bytes: Range<usize>,
    /// ln LR of the token alone under the pooled profile; `None` where it does not count.
    pub evidence: Option<f64>,
    /// Sum of that over the token and up to seven that count on either side; `None` where it does not count.
    pub local: Option<f64>,
    /// Whether it is in a passage that is marked on its own.
    pub in_span: bool,
}

impl TokenEvidence {
    /// Whether it counts: its context is complete and new, and no ignore list has it.
    pub fn counts(&self) -> bool {
        self.evidence.is_some()
    }

    /// How many of the [`LEVELS`] the evidence around it reaches, 0 to 4.
    pub fn level(&self) -> usize {
        self.local.map_or(0, |local| LEVELS.iter().take_while(|(_, least)| local >= *least).count())
    }
}

/// A report and what each token adds to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// As [`Detector::score`] gives it.
    pub report: Report,
    /// Every token of the text, in order. With a keyring, under the key of the report.
    pub tokens: Vec<TokenEvidence>,
}

/// A stretch of the original text.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece<'a> {
    /// Where.
    pub bytes: Range<usize>,
    /// The token that covers it, the one with most evidence if several do; `None` where the stretch was removed before
    /// the text was cut.
    pub token: Option<&'a TokenEvidence>,
}

impl Explanation {
    /// The original text of `len` bytes as stretches that follow each other and cover it. Byte tokens of one
    /// character, which share its bytes, are one stretch.
    pub fn pieces(&self, len: usize) -> Vec<Piece<'_>> {
        let mut pieces: Vec<Piece<'_>> = Vec::new();
        let mut end = 0;
        for token in &self.tokens {
            let range = token.bytes.start.min(len)..token.bytes.end.min(len);
            if range.start < end || range.is_empty() {
                if let Some(last) = pieces.last_mut().filter(|last| last.token.is_some()) {
                    let strongest = last.token.is_none_or(|shown| token.local > shown.local);
                    last.bytes.end = last.bytes.end.max(range.end);
                    last.token = if strongest { Some(token) } else { last.token };
                    end = end.max(range.end);
                }
                continue;
            }
            if range.start > end {
                pieces.push(Piece { bytes: end..range.start, token: None });
            }
            end = range.end;
            pieces.push(Piece { bytes: range, token: Some(token) });
        }
        if end < len {
            pieces.push(Piece { bytes: end..len, token: None });
        }
        pieces
    }
}

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

    fn token(bytes: Range<usize>, evidence: Option<f64>) -> TokenEvidence {
        TokenEvidence { id: 0, bytes, evidence, local: None, in_span: false }
    }

    #[test]
    fn evidence_is_summed_over_what_counts() {
        let mut tokens: Vec<_> = (0..20).map(|t| token(0..0, (t % 2 == 0).then_some(1.0))).collect();
        smooth(&mut tokens);
        assert_eq!((tokens[0].local, tokens[1].local, tokens[10].local), (Some(8.0), None, Some(10.0)));
        assert_eq!((tokens[0].level(), tokens[1].level()), (3, 0));
    }

    #[test]
    fn pieces_cover_the_text_once() {
        let explanation = |tokens| Explanation {
            report: crate::Detector::for_tokens(crate::scheme::Key::from_bytes(&[1; 32], "test").unwrap())
                .score_tokens(&[]),
            tokens,
        };
        // A removed character at 2..5, three byte tokens of one character at 5..8, an end that no token covers.
        let tokens = vec![
            token(0..2, None),
            token(5..8, None),
            token(5..8, Some(1.0)),
            token(5..8, None),
            token(8..9, None),
        ];
        let mut tokens = tokens;
        smooth(&mut tokens);
        let explanation = explanation(tokens);
        let pieces = explanation.pieces(11);
        let ranges: Vec<_> = pieces.iter().map(|piece| piece.bytes.clone()).collect();
        assert_eq!(ranges, [0..2, 2..5, 5..8, 8..9, 9..11]);
        assert!(pieces[1].token.is_none() && pieces[4].token.is_none());
        assert!(pieces[2].token.unwrap().counts());
        assert_eq!(explanation.pieces(0), []);
    }
}
