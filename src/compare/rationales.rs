//! Groups reasons by the words that they share, without a model or a network.
//!
//! A reason is a sentence of a rating that agrees with its example's winner. Each group is a word that occurs in the reasons of many
//! examples and is missing in the others. Words are chosen one after the other. The next one has the largest d ln (n / N). Of the n
//! examples with reasons, N have the word, and d of these have none of the words chosen before. So its weight is its information, as
//! in TF-IDF. A reason belongs to every group whose word it has. Words are compared without their English endings. What a group means
//! is left to its reader: "not accurate" is in `accurate`.

use std::collections::{BTreeMap, BTreeSet};

use super::Winner;
use super::summary::Rated;

/// Maximum number of groups, as in LLM Comparator.
const GROUPS: usize = 8;
/// Minimum number of examples of a group.
const LEAST: usize = 2;

/// Words that say nothing about a reason.
const COMMON: &str = "a about above after again all also although am an and any are as at b be because been before being below \
     better best between both but by can cannot could did do does doing down during each either even few for from further get \
     gives give given had has have having he her here him his how however i if in into is it its itself just less like made \
     make makes making may me more most much my neither no nor not of off on once one only or other others our out over own \
     prompt provide provides provided rather response responses answer answers assistant assistants model models text texts \
     same she should slightly so some such than that the their them then there these they this those though through to too \
     two under until up user users very was way we well were what when where whereas which while who whom why will with within \
     without would worse you your";

/// A reason, and the groups that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The sentence.
    pub text: String,
    /// For each group, whether the reason belongs to it.
    pub groups: Vec<bool>,
}

/// A group of reasons.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Group {
    /// The word, in its most frequent form.
    pub title: String,
    /// Number of examples that A won with such a reason.
    pub a: usize,
    /// Number of examples that B won with such a reason.
    pub b: usize,
}

/// Returns the groups, and the reasons of each example.
pub fn grouped(all: &[Rated]) -> (Vec<Group>, Vec<Vec<Reason>>) {
    let reasons: Vec<Vec<String>> = all.iter().map(reasons).collect();
    let words: Vec<Vec<BTreeMap<String, String>>> =
        reasons.iter().map(|of_example| of_example.iter().map(|reason| words(reason)).collect()).collect();
    let mut examples: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let mut forms: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (at, of_example) in words.iter().enumerate() {
        for (stem, form) in of_example.iter().flatten() {
            examples.entry(stem).or_default().insert(at);
            *forms.entry(stem).or_default().entry(form).or_default() += 1;
        }
    }
    let with_reasons = reasons.iter().filter(|of_example| !of_example.is_empty()).count() as f64;
    let mut uncovered: BTreeSet<usize> = (0..all.len()).collect();
    let mut stems: Vec<&str> = Vec::new();
    while stems.len() < GROUPS {
        let weight = |stem: &str| {
            let has = &examples[stem];
            has.intersection(&uncovered).count() as f64 * (with_reasons / has.len() as f64).ln()
        };
        let candidates =
            examples.keys().filter(|stem| examples[**stem].len() >= LEAST && !stems.contains(*stem));
        // Among equal words the alphabetically first counts, so that the groups are the same in every run.
        let best = candidates.map(|stem| (weight(stem), *stem)).filter(|(weight, _)| *weight > 0.0);
        let Some((_, stem)) = best.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1))) else { break };
        uncovered.retain(|at| !examples[stem].contains(at));
        stems.push(stem);
    }
    let title = |stem: &str| {
        let most = forms[stem].iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        most.map_or(stem, |(form, _)| form).to_owned()
    };
    let won =
        |stem: &str, winner| examples[stem].iter().filter(|&&at| all[at].winner() == Some(winner)).count();
    let groups = stems
        .iter()
        .map(|stem| Group { title: title(stem), a: won(stem, Winner::A), b: won(stem, Winner::B) })
        .collect();
    let reasons = reasons
        .into_iter()
        .zip(&words)
        .map(|(of_example, words)| {
            let reason = |(text, words): (String, &BTreeMap<String, String>)| {
                let groups = stems.iter().map(|stem| words.contains_key(*stem)).collect();
                Reason { text, groups }
            };
            of_example.into_iter().zip(words).map(reason).collect()
        })
        .collect();
    (groups, reasons)
}

/// Returns the sentences of the ratings that agree with the example's winner, each once.
fn reasons(rated: &Rated) -> Vec<String> {
    let Some(winner) = rated.winner().filter(|winner| *winner != Winner::Tie) else { return Vec::new() };
    let mut reasons: Vec<String> = Vec::new();
    for rating in rated.ratings.iter().filter(|rating| Winner::of(rating.score) == winner) {
        for sentence in sentences(&rating.rationale) {
            if !reasons.contains(&sentence) {
                reasons.push(sentence);
            }
        }
    }
    reasons
}

/// Cuts after `.`, `!` or `?` before white space, and at line breaks.
fn sentences(text: &str) -> Vec<String> {
    let (mut sentences, mut sentence) = (Vec::new(), String::new());
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        sentence.push(c);
        let ends = matches!(c, '.' | '!' | '?') && letters.peek().is_none_or(|next| next.is_whitespace());
        if ends || c == '\n' {
            sentences.push(std::mem::take(&mut sentence));
        }
    }
    sentences.push(sentence);
    sentences
        .into_iter()
        .map(|sentence| sentence.trim().to_owned())
        .filter(|sentence| !sentence.is_empty())
        .collect()
}

/// Returns the words of a reason, by their stems.
fn words(reason: &str) -> BTreeMap<String, String> {
    let words = reason.split(|c: char| !c.is_alphanumeric() && c != '-').map(str::to_lowercase);
    let telling = words
        .filter(|word| word.chars().count() > 2 && !COMMON.split_whitespace().any(|common| common == word));
    telling.map(|word| (stem(&word), word)).collect()
}

/// Removes the commonest English endings from a word, if four letters remain.
fn stem(word: &str) -> String {
    let mut stem = word;
    for endings in [["s", "es", "ly", "ing"], ["ed", "er", "ness", "al"], ["e", "y", "i", "iti"]] {
        let shorter = endings
            .iter()
            .filter_map(|ending| stem.strip_suffix(ending))
            .filter(|rest| rest.chars().count() >= 4);
        stem = shorter.min_by_key(|rest| rest.len()).unwrap_or(stem);
    }
    stem.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Example, Rating};

    fn rated(score: f64, rationale: &str) -> Rated {
        let rating = |score: f64, rationale: &str| Rating {
            flipped: Some(false),
            label: None,
            score,
            rationale: rationale.into(),
        };
        // A rating for the other side; its reasons do not count.
        let ratings =
            vec![rating(score, rationale), rating(score, rationale), rating(-score / 3.0, "It is purple.")];
        Rated { example: Example::default(), ratings }
    }

    #[test]
    fn reasons_are_grouped_by_what_they_share() {
        let all = [
            rated(1.0, "Response A is more detailed. It cites sources."),
            rated(1.0, "It has more details."),
            rated(-1.0, "Response B is concise!"),
            rated(-1.0, "B is more concise, and A rambles."),
            rated(1.0, "It gives a detailed plan."),
            rated(0.0, "Both are detailed."),
        ];
        let (groups, reasons) = grouped(&all);
        assert_eq!(
            groups,
            [Group { title: "concise".into(), a: 0, b: 2 }, Group { title: "detailed".into(), a: 3, b: 0 }]
        );
        assert_eq!(reasons[0].len(), 2);
        assert_eq!(
            reasons[0][0],
            Reason { text: "Response A is more detailed.".into(), groups: vec![false, true] }
        );
        assert_eq!(reasons[0][1].groups, [false, false]);
        assert!(reasons[5].is_empty(), "nobody has won");
        assert!(!reasons.iter().flatten().any(|reason| reason.text.contains("purple")));
        assert_eq!(grouped(&[]), (vec![], vec![]));
    }

    #[test]
    fn words_meet_without_their_endings() {
        for words in [
            ["detail", "details", "detailed"],
            ["clear", "clearly", "clearer"],
            ["accurate", "accurately", "accurate"],
        ] {
            assert_eq!(words.map(stem), [stem(words[0]), stem(words[0]), stem(words[0])]);
        }
        assert_eq!(stem("is"), "is");
    }
}
