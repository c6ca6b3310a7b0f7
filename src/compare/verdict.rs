//! A judge's verdict on two responses, and its score.

use serde::{Deserialize, Serialize};

use super::swap::swapped;

/// An example is won if its score is further from 0 than this, as in LLM Comparator.
pub const THRESHOLD: f64 = 0.25;

/// A judge's verdict on the responses, named in the order in which it read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `A is much better`.
    MuchA,
    /// `A is better`.
    A,
    /// `A is slightly better`.
    SlightlyA,
    /// `same`.
    Same,
    /// `B is slightly better`.
    SlightlyB,
    /// `B is better`.
    B,
    /// `B is much better`.
    MuchB,
}

/// All verdicts, from the best for A to the best for B.
pub const VERDICTS: [Verdict; 7] = [
    Verdict::MuchA,
    Verdict::A,
    Verdict::SlightlyA,
    Verdict::Same,
    Verdict::SlightlyB,
    Verdict::B,
    Verdict::MuchB,
];

impl Verdict {
    /// Returns LLM Comparator's name of the verdict.
    pub fn label(self) -> &'static str {
        match self {
            Self::MuchA => "A is much better",
            Self::A => "A is better",
            Self::SlightlyA => "A is slightly better",
            Self::Same => "same",
            Self::SlightlyB => "B is slightly better",
            Self::B => "B is better",
            Self::MuchB => "B is much better",
        }
    }

    /// Returns the score, from 1.5 for the first response to −1.5, in steps of 0.5.
    pub fn score(self) -> f64 {
        match self {
            Self::MuchA => 1.5,
            Self::A => 1.0,
            Self::SlightlyA => 0.5,
            Self::Same => 0.0,
            Self::SlightlyB => -0.5,
            Self::B => -1.0,
            Self::MuchB => -1.5,
        }
    }

    /// Parses a verdict. Case, white space, surrounding quotes and full stops do not matter, nor does the word
    /// `Response` before a letter.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<String> = text
            .split_whitespace()
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
            .filter(|word| !word.is_empty() && word != "response")
            .collect();
        let words = words.join(" ");
        VERDICTS.into_iter().find(|verdict| verdict.label().eq_ignore_ascii_case(&words))
    }
}

/// Winner of an example or a rating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    /// The first model's response.
    A,
    /// Neither response.
    Tie,
    /// The second model's response.
    B,
}

impl Winner {
    /// Returns the winner for a score: more than 0.25 is A, less than −0.25 is B.
    pub fn of(score: f64) -> Self {
        if score > THRESHOLD {
            Self::A
        } else if score < -THRESHOLD {
            Self::B
        } else {
            Self::Tie
        }
    }

    /// Returns A's share of a win: 1, ½ or 0.
    pub fn share(self) -> f64 {
        match self {
            Self::A => 1.0,
            Self::Tie => 0.5,
            Self::B => 0.0,
        }
    }
}

/// One judgement of an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Rating {
    /// Whether the judge read B's response first; `None` if that is not known.
    pub flipped: Option<bool>,
    /// The judge's words, in the order in which it read the responses.
    pub label: Option<String>,
    /// Score, positive if A's response is better, for either order.
    pub score: f64,
    /// The explanation, in which A and B are the models.
    pub rationale: String,
}

impl Rating {
    /// Makes a rating from what a judge said.
    pub fn of(verdict: Verdict, flipped: bool, rationale: &str) -> Self {
        let (score, rationale) = if flipped {
            // Avoids a negative zero, which JSON would show.
            (0.0 - verdict.score(), swapped(rationale))
        } else {
            (verdict.score(), rationale.to_owned())
        };
        Self { flipped: Some(flipped), label: Some(verdict.label().to_owned()), score, rationale }
    }
}

/// Returns the mean score, or `None` without ratings.
pub(super) fn mean_score(ratings: &[Rating]) -> Option<f64> {
    let sum: f64 = ratings.iter().map(|rating| rating.score).sum();
    (!ratings.is_empty()).then(|| sum / ratings.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_as_judges_write_them() {
        for verdict in VERDICTS {
            assert_eq!(Verdict::parse(verdict.label()), Some(verdict));
            assert_eq!(
                Verdict::parse(&format!("\n \"{}.\" ", verdict.label().to_uppercase())),
                Some(verdict)
            );
        }
        assert_eq!(Verdict::parse("Response B is slightly  better"), Some(Verdict::SlightlyB));
        for other in ["", "A", "A is worse", "A is better than B", "A is much better or B is better"] {
            assert_eq!(Verdict::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_flipped_verdict_counts_for_the_other_side() {
        let rating = Rating::of(Verdict::MuchA, true, "Response A is longer than Response B.");
        assert_eq!((rating.score, rating.label.as_deref()), (-1.5, Some("A is much better")));
        assert_eq!(rating.rationale, "Response B is longer than Response A.");
        assert!(Rating::of(Verdict::Same, true, "").score.is_sign_positive());
        assert_eq!(
            [0.25, 0.26, -0.25, -0.26].map(Winner::of),
            [Winner::Tie, Winner::A, Winner::Tie, Winner::B]
        );
    }
}
