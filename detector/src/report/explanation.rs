//! A report with the evidence of each token.

use std::ops::Range;

use super::Report;

/// The levels of evidence: how many times likelier the tokens around a place are with the mark than without it, and the
/// natural logarithm of that. A likelihood ratio has mean 1 at an unmarked place. So by Markov's inequality such a
/// place reaches a level with a probability of at most one over it.
pub const LEVELS: [(&str, f64); 4] = [
    ("10", std::f64::consts::LN_10),
    ("100", 2.0 * std::f64::consts::LN_10),
    ("1,000", 3.0 * std::f64::consts::LN_10),
    ("1,000,000", 6.0 * std::f64::consts::LN_10),
];

/// One token and its evidence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TokenEvidence {
    /// The token.
    pub id: u32,
    /// The bytes of the original text that it covers; empty if the input was token ids.
    pub bytes: Range<usize>,
    /// ln LR of the token alone under the built-in profile `pooled`, in nats; `None` if it does not count.
    pub evidence: Option<f64>,
    /// Sum of that over the token and up to seven tokens that count on either side; `None` if it does not count.
    pub local: Option<f64>,
    /// Whether it is in a passage that is marked by itself, one of the report's `spans`.
    pub in_span: bool,
}

impl TokenEvidence {
    /// Returns a token that does not count.
    pub fn new(id: u32) -> Self {
        Self { id, bytes: 0..0, evidence: None, local: None, in_span: false }
    }

    /// Returns whether the token counts: its context is complete and new, and no ignore list has it.
    pub fn counts(&self) -> bool {
        self.evidence.is_some()
    }

    /// Returns how many of the [`LEVELS`] the evidence around it reaches, 0 to 4.
    pub fn level(&self) -> usize {
        self.local.map_or(0, |local| LEVELS.iter().take_while(|(_, least)| local >= *least).count())
    }
}

/// A report and what each token adds to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The report, as [`Detector::score`](crate::Detector::score) gives it.
    pub report: Report,
    /// Every token of the text, in order. With a keyring the evidence is that under the key of the report.
    pub tokens: Vec<TokenEvidence>,
}

/// A stretch of the original text.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece<'a> {
    /// Its bytes in the original text.
    pub bytes: Range<usize>,
    /// The token that covers it, or the one with the most evidence if several do. `None` if the stretch was removed
    /// before the text was cut.
    pub token: Option<&'a TokenEvidence>,
}

/// Takes a report without tokens, such as that on a text that is too long to be shown.
impl From<Report> for Explanation {
    fn from(report: Report) -> Self {
        Self { report, tokens: Vec::new() }
    }
}

impl Explanation {
    /// Returns the original text of `len` bytes as consecutive stretches that cover it. Byte tokens of one character,
    /// which share its bytes, are one stretch.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: Range<usize>, evidence: Option<f64>) -> TokenEvidence {
        TokenEvidence { bytes, evidence, local: evidence, ..TokenEvidence::new(0) }
    }

    #[test]
    fn pieces_cover_the_text_once() {
        let explanation = |tokens| Explanation { report: crate::report::score::tests::report(), tokens };
        // A removed character at 2..5, three byte tokens of one character at 5..8, an end that no token covers.
        let tokens = vec![
            token(0..2, None),
            token(5..8, None),
            token(5..8, Some(1.0)),
            token(5..8, None),
            token(8..9, None),
        ];
        let explanation = explanation(tokens);
        let pieces = explanation.pieces(11);
        let ranges: Vec<_> = pieces.iter().map(|piece| piece.bytes.clone()).collect();
        assert_eq!(ranges, [0..2, 2..5, 5..8, 8..9, 9..11]);
        assert!(pieces[1].token.is_none() && pieces[4].token.is_none());
        assert!(pieces[2].token.unwrap().counts());
        assert_eq!(explanation.pieces(0), []);
    }
}
