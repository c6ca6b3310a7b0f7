//! Reads answers: extraction by patterns, and equality that ignores what does not matter.

use regex::Regex;
use serde::Deserialize;

/// Text that stands for an answer without a match, as in the harness.
pub const INVALID: &str = "[invalid]";

/// Extracts a part of an answer: the harness's filter `regex`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Filter {
    /// Its name in reports.
    pub name: String,
    /// The pattern. The result is its first group that is not empty, or the whole match if it has
    /// no groups.
    pub pattern: Regex,
    /// Which match is taken.
    pub which: Which,
}

/// A filter in the form of a task file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    pattern: String,
    #[serde(default, rename = "match")]
    which: Which,
}

impl TryFrom<Written> for Filter {
    type Error = String;

    fn try_from(Written { name, pattern, which }: Written) -> Result<Self, String> {
        match Regex::new(&pattern) {
            Ok(pattern) => Ok(Self { name, pattern, which }),
            Err(error) => Err(format!("filter {name}: expected a pattern, found {pattern:?}: {error}")),
        }
    }
}

/// Choice among several matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The first match.
    #[default]
    First,
    /// The last match.
    Last,
}

impl Filter {
    /// Returns the part of an answer, without white space at either end, or [`INVALID`].
    pub fn apply(&self, answer: &str) -> String {
        let mut matches = self.pattern.captures_iter(answer);
        let found = match self.which {
            Which::First => matches.next(),
            Which::Last => matches.last(),
        };
        let Some(found) = found else { return INVALID.into() };
        let groups = self.pattern.captures_len() - 1;
        let part = match groups {
            0 => found.get(0),
            1 => found.get(1),
            _ => found.iter().skip(1).flatten().find(|group| !group.is_empty()),
        };
        match part {
            Some(part) => part.as_str().trim().to_owned(),
            // In Python, a group that took no part in the match is the empty string.
            None if groups == 1 => String::new(),
            None => INVALID.into(),
        }
    }
}

/// Equality of an answer and its reference: the harness's `exact_match`.
#[derive(Clone, Debug, Default)]
pub struct Equality {
    /// Patterns whose matches are deleted on both sides, in this order.
    pub ignore: Vec<Regex>,
    /// Whether case does not matter.
    pub ignore_case: bool,
}

impl Equality {
    /// Returns whether the two are equal.
    pub fn holds(&self, answer: &str, reference: &str) -> bool {
        self.reduced(answer) == self.reduced(reference)
    }

    fn reduced(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for pattern in &self.ignore {
            text = pattern.replace_all(&text, "").into_owned();
        }
        if self.ignore_case { text.to_lowercase() } else { text }
    }
}

/// Reads several patterns.
pub(super) fn patterns<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Regex>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    patterns.iter().map(|pattern| Regex::new(pattern).map_err(serde::de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Task;

    /// Answers with the results of `lm_eval` 0.4.13's filters and its exact match.
    #[test]
    fn gsm8k_is_read_strictly_and_flexibly() {
        let task = Task::built_in("gsm8k").unwrap();
        let gold = "He has 5 + 7 = <<5+7=12>>12.\n#### 1,234";
        for (answer, strict, flexible, right) in [
            ("so it is\n#### 1234", "1234", "1234", [true, true]),
            ("#### $1,234", "[invalid]", "$1,234", [false, true]),
            ("The answer is 1,234.", "[invalid]", "1,234.", [false, true]),
            ("#### 1,234.\n7 more", "1,234.", "7", [true, false]),
            ("#### -5 #### 1234", "-5", "1234", [false, true]),
            ("none, at all", "[invalid]", "[invalid]", [false, false]),
            ("a, .. b", "[invalid]", "..", [false, false]),
            ("", "[invalid]", "[invalid]", [false, false]),
        ] {
            let found: Vec<String> = task.filters.iter().map(|filter| filter.apply(answer)).collect();
            assert_eq!(found, [strict, flexible], "{answer}");
            let equal: Vec<bool> = found.iter().map(|found| task.equality().holds(found, gold)).collect();
            assert_eq!(equal, right, "{answer}");
        }
    }
}
