//! Turns what the model read or wrote into named scores of a document.

use std::collections::{BTreeMap, HashSet};

use super::likelihood::Likelihood;
use super::{Answer, Metric, Task};

/// Scores of one document by name. A name is a metric, followed by a comma and the filter if there are several filters. For
/// perplexity, the names are `loglikelihood`, `words` and `bytes`.
pub type Scores = BTreeMap<String, f64>;

/// Name of the score that is ln p of a text.
pub const LOGLIKELIHOOD: &str = "loglikelihood";
/// Name of the score that is its number of words.
pub const WORDS: &str = "words";
/// Name of the score that is its number of bytes.
pub const BYTES: &str = "bytes";

/// Judges the log-likelihoods of choices; choice number `right` is right. Of equal ones, the first is the answer.
pub fn choice(task: &Task, choices: &[String], right: usize, found: &[Likelihood]) -> Scores {
    let best = |length: &dyn Fn(&str) -> f64| {
        let scores = choices.iter().zip(found).map(|(choice, found)| found.log / length(choice));
        let mut best = (f64::NEG_INFINITY, 0);
        for (at, score) in scores.enumerate() {
            if score > best.0 {
                best = (score, at);
            }
        }
        best.1
    };
    let judged = task.metrics.iter().map(|&metric| {
        let answer = match metric {
            Metric::AccNorm => best(&|choice| choice.chars().count() as f64),
            Metric::AccBytes => best(&|choice| choice.len() as f64),
            _ => best(&|_| 1.0),
        };
        (metric.name().to_owned(), f64::from(u8::from(answer == right)))
    });
    judged.collect()
}

/// Judges an answer by its reference. `passes` says whether a program passes its tests. Programs that are not run have no
/// score.
pub fn answer(task: &Task, reference: &str, answer: &str, passes: Option<bool>) -> (Scores, Vec<String>) {
    let (mut scores, equality) = (Scores::new(), task.equality());
    let extracted: Vec<String> = task.filters.iter().map(|filter| filter.apply(answer)).collect();
    for metric in &task.metrics {
        if *metric == Metric::PassAt1 {
            scores.extend(passes.map(|passes| (metric.name().to_owned(), f64::from(u8::from(passes)))));
            continue;
        }
        let mut judge = |name: String, part: &str| {
            scores.insert(name, f64::from(u8::from(equality.holds(part, reference))));
        };
        if task.filters.is_empty() {
            judge(metric.name().to_owned(), answer);
        }
        for (filter, part) in task.filters.iter().zip(&extracted) {
            judge(format!("{},{}", metric.name(), filter.name), part);
        }
    }
    (scores, extracted)
}

/// Measures a text that is neither right nor wrong. An empty text has only its length.
pub fn free_text(task: &Task, answer: &Answer) -> Scores {
    let words: Vec<&str> = answer.text.split_whitespace().collect();
    let pairs: Vec<&[&str]> = words.windows(2).collect();
    let different: HashSet<&&[&str]> = pairs.iter().collect();
    let of = |metric: Metric| match metric {
        Metric::Nll => answer.nll,
        Metric::Distinct2 => (!pairs.is_empty()).then(|| different.len() as f64 / pairs.len() as f64),
        _ => Some(answer.tokens.len() as f64),
    };
    task.metrics.iter().filter_map(|&metric| Some((metric.name().to_owned(), of(metric)?))).collect()
}

/// Measures a text that was read. Words are counted as the harness counts them: pieces between runs of white space,
/// including an empty piece at either end.
pub fn text(text: &str, found: &Likelihood) -> Scores {
    let mut words = 1;
    let mut in_space = false;
    for c in text.chars() {
        // Python counts four separators as white space that Unicode's property does not.
        let space = c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
        words += usize::from(space && !in_space);
        in_space = space;
    }
    [(LOGLIKELIHOOD, found.log), (WORDS, words as f64), (BYTES, text.len() as f64)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_characters_or_bytes_and_the_first_of_equals_wins() {
        let task = Task::parse(
            r#"{"task": "t", "kind": "multiple_choice", "metrics": ["acc", "acc_norm", "acc_bytes"], "prompt": "q", "choices": "c", "answer": "{a}"}"#,
        )
        .unwrap();
        let choices = ["éé".to_owned(), "abc".to_owned(), "d".to_owned()];
        let of = |logs: [f64; 3], right| {
            let found = logs.map(|log| Likelihood { log, ..Likelihood::default() });
            choice(&task, &choices, right, &found).into_values().collect::<Vec<_>>()
        };
        // Per character −2, −1.5, −3; per byte −1, −1.5, −3. In the order of the names: acc, acc_bytes, acc_norm.
        assert_eq!(of([-4.0, -4.5, -3.0], 2), [1.0, 0.0, 0.0]);
        assert_eq!(of([-4.0, -4.5, -3.0], 0), [0.0, 1.0, 0.0]);
        assert_eq!(of([-4.0, -4.5, -3.0], 1), [0.0, 0.0, 1.0]);
        assert_eq!(of([-3.0, -3.0, -3.0], 0)[0], 1.0);
    }

    #[test]
    fn words_are_counted_as_python_splits() {
        let words = |of: &str| text(of, &Likelihood::default())[WORDS];
        // len(re.split(r"\s+", text))
        assert_eq!(["", "a", "a b", " a\n\n b ", " "].map(words), [1.0, 1.0, 2.0, 4.0, 2.0]);
    }
}
