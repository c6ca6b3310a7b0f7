//! Tasks, each defined by a small JSON file. The built-in tasks are such files too.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::extract::{self, Equality, Filter};
use super::{EvalError, Template};

/// Names and files of the built-in tasks.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("mmlu", include_str!("tasks/mmlu.json")),
    ("arc_challenge", include_str!("tasks/arc_challenge.json")),
    ("gsm8k", include_str!("tasks/gsm8k.json")),
    ("mbpp", include_str!("tasks/mbpp.json")),
    ("perplexity", include_str!("tasks/perplexity.json")),
    ("free_text", include_str!("tasks/free_text.json")),
];

/// How a task is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The choice with the greatest log-likelihood is the answer.
    MultipleChoice,
    /// The model writes an answer.
    Generate,
    /// The model writes on, and nothing is right or wrong.
    FreeText,
    /// The model reads a text.
    Perplexity,
}

/// Quantity that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of questions whose right choice has the greatest log-likelihood.
    Acc,
    /// The same for log-likelihoods per character.
    AccNorm,
    /// The same for log-likelihoods per byte.
    AccBytes,
    /// Share of answers that equal the reference.
    ExactMatch,
    /// Share of programs that pass their tests.
    #[serde(rename = "pass_at_1")]
    PassAt1,
    /// Perplexity per word; white space separates words.
    WordPerplexity,
    /// Perplexity per byte.
    BytePerplexity,
    /// Binary logarithm of the perplexity per byte.
    BitsPerByte,
    /// Mean of −ln p of a text's tokens, under the model without mark and sampling settings.
    Nll,
    /// Share of a text's pairs of words that are distinct.
    #[serde(rename = "distinct_2")]
    Distinct2,
    /// Length of a text in tokens.
    Tokens,
}

impl Metric {
    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::AccBytes => "acc_bytes",
            Self::ExactMatch => "exact_match",
            Self::PassAt1 => "pass_at_1",
            Self::WordPerplexity => "word_perplexity",
            Self::BytePerplexity => "byte_perplexity",
            Self::BitsPerByte => "bits_per_byte",
            Self::Nll => "nll",
            Self::Distinct2 => "distinct_2",
            Self::Tokens => "tokens",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Acc | Self::AccNorm | Self::AccBytes => Kind::MultipleChoice,
            Self::ExactMatch | Self::PassAt1 => Kind::Generate,
            Self::WordPerplexity | Self::BytePerplexity | Self::BitsPerByte => Kind::Perplexity,
            Self::Nll | Self::Distinct2 | Self::Tokens => Kind::FreeText,
        }
    }
}

/// Source of the choices.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Choices {
    /// Path of an array of strings.
    Field(String),
    /// The choices themselves.
    Fixed(Vec<Template>),
}

/// Selects the documents of a data set that belong to the task: those whose number in a field is in
/// a range.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// Path of the field.
    pub field: String,
    /// Smallest number.
    pub from: i64,
    /// Largest number.
    pub to: i64,
}

/// A task.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name of the task.
    pub task: String,
    /// How it is done.
    pub kind: Kind,
    /// Metrics to measure.
    pub metrics: Vec<Metric>,
    /// Text that comes once, before everything else.
    #[serde(default)]
    pub(super) description: Template,
    /// The question.
    #[serde(default)]
    pub(super) prompt: Template,
    /// The answers to choose from.
    pub(super) choices: Option<Choices>,
    /// Path of an array with a label for each choice.
    pub(super) labels: Option<String>,
    /// The right choice: its label, its number from 0, or its text.
    #[serde(default)]
    pub(super) answer: Template,
    /// The reference; for perplexity, the text.
    #[serde(default)]
    pub(super) target: Template,
    /// Answer that a shot shows, if it is not the target.
    pub(super) shot_target: Option<Template>,
    /// Text between a question and its answer.
    #[serde(default = "space")]
    pub(super) target_delimiter: String,
    /// Text after each shot.
    #[serde(default = "blank_line")]
    pub(super) shot_delimiter: String,
    /// Number of shots, unless the user asks for another number.
    #[serde(default)]
    pub shots: usize,
    /// Examples for the shots that are part of the task.
    #[serde(default)]
    pub examples: Vec<Value>,
    /// Field that documents and their shots have in common. Each of its values is reported.
    pub(super) group: Option<String>,
    /// Paths of arrays, with the length that each has in every document.
    #[serde(default)]
    pub(super) lengths: BTreeMap<String, usize>,
    /// Selection of the documents that belong to the task.
    pub select: Option<Select>,
    /// Strings that end an answer.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Maximum number of tokens in an answer.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// Parts of an answer that are compared with the reference; the whole answer if empty.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Patterns that are deleted before answer and reference are compared.
    #[serde(default, deserialize_with = "extract::patterns")]
    ignore: Vec<Regex>,
    /// Whether case does not matter.
    #[serde(default)]
    ignore_case: bool,
}

fn space() -> String {
    " ".into()
}

fn blank_line() -> String {
    "\n\n".into()
}

fn max_tokens() -> usize {
    256
}

impl Task {
    /// Returns a built-in task.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, json) = BUILT_IN.iter().find(|(other, _)| *other == name)?;
        // A test parses all of them.
        Self::parse(json).ok()
    }

    /// Reads a task file.
    ///
    /// # Errors
    /// Returns an error if the text is not a task, or if its parts do not fit together.
    pub fn parse(json: &str) -> Result<Self, EvalError> {
        let task: Self = serde_json::from_str(json)?;
        if task.task.trim().is_empty() {
            let problem = format!("expected a name, found {:?}", task.task);
            return Err(EvalError::Task { task: "without a name".into(), problem });
        }
        match task.problem() {
            None => Ok(task),
            Some(problem) => Err(EvalError::Task { task: task.task, problem }),
        }
    }

    /// Describes what does not fit together.
    fn problem(&self) -> Option<String> {
        let needs = |name: &str, missing: bool| {
            missing.then(|| format!("expected {name}, which its kind needs, found none"))
        };
        let only = |name: &str, kind: &str, found: bool| {
            found.then(|| format!("expected no {name}, which only {kind} has, found some"))
        };
        let other = self.metrics.iter().find(|metric| metric.kind() != self.kind);
        let known = |kind| {
            let all = [
                Metric::Acc,
                Metric::AccNorm,
                Metric::AccBytes,
                Metric::ExactMatch,
                Metric::PassAt1,
                Metric::WordPerplexity,
                Metric::BytePerplexity,
                Metric::BitsPerByte,
                Metric::Nll,
                Metric::Distinct2,
                Metric::Tokens,
            ];
            all.into_iter()
                .filter(|metric| metric.kind() == kind)
                .map(Metric::name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let twice = self.filters.iter().enumerate().find_map(|(at, filter)| {
            self.filters[..at].iter().any(|other| other.name == filter.name).then_some(&filter.name)
        });
        needs("metrics", self.metrics.is_empty())
            .or_else(|| {
                twice.map(|name| format!("expected filters of different names, found {name:?} twice"))
            })
            .or_else(|| {
                let empty = self.stop.iter().any(String::is_empty);
                empty.then(|| "stop: expected strings with something in them, found an empty one".into())
            })
            .or_else(|| {
                other.map(|metric| {
                    format!("expected metrics of {}, found {}", known(self.kind), metric.name())
                })
            })
            .or_else(|| match self.kind {
                Kind::MultipleChoice => needs("a prompt", self.prompt.is_empty())
                    .or_else(|| needs("choices", self.choices.is_none()))
                    .or_else(|| needs("an answer", self.answer.is_empty()))
                    .or_else(|| only("filters", "generate", !self.filters.is_empty())),
                Kind::Generate => needs("a prompt", self.prompt.is_empty())
                    .or_else(|| needs("a target", self.target.is_empty())),
                Kind::FreeText => needs("a prompt", self.prompt.is_empty()),
                Kind::Perplexity => needs("a target, which is the text", self.target.is_empty())
                    .or_else(|| only("shots", "a task with questions", self.shots > 0)),
            })
            .or_else(|| needs("max_tokens of at least 1", self.max_tokens == 0))
    }

    /// Returns whether the model writes, so that the text can carry a mark.
    pub fn writes(&self) -> bool {
        matches!(self.kind, Kind::Generate | Kind::FreeText)
    }

    /// Returns how an answer is compared with its reference.
    pub fn equality(&self) -> Equality {
        Equality { ignore: self.ignore.clone(), ignore_case: self.ignore_case }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_tasks_are_tasks_and_mistakes_in_others_are_named() {
        for (name, json) in BUILT_IN {
            assert_eq!(Task::parse(json).unwrap().task, name);
        }
        for (json, expected) in [
            (
                r#"{"task": "t", "kind": "generate", "metrics": ["acc"], "prompt": "{q}", "target": "{a}"}"#,
                "expected metrics of exact_match, pass_at_1, found acc",
            ),
            (
                r#"{"task": "t", "kind": "multiple_choice", "metrics": ["acc"], "prompt": "{q}", "answer": "{a}"}"#,
                "expected choices",
            ),
            (
                r#"{"task": "t", "kind": "generate", "metrics": ["exact_match"], "prompt": "{q", "target": "{a}"}"#,
                "expected a field in braces",
            ),
            (
                r#"{"task": "t", "kind": "generate", "metrics": ["exact_match"], "promt": "q"}"#,
                "unknown field `promt`",
            ),
            (
                r#"{"task": "t", "kind": "generate", "metrics": ["exact_match"], "prompt": "q", "target": "a", "ignore": ["("]}"#,
                "unclosed group",
            ),
            (
                r#"{"task": "t", "kind": "generate", "metrics": ["exact_match"], "prompt": "q", "target": "a", "filters": [{"name": "f", "pattern": "("}]}"#,
                "filter f: expected a pattern, found \"(\"",
            ),
            (
                r#"{"task": "t", "kind": "generate", "metrics": ["exact_match"], "prompt": "q", "target": "a", "filters": [{"name": "f", "pattern": "a"}, {"name": "f", "pattern": "b"}]}"#,
                "found \"f\" twice",
            ),
            (
                r#"{"task": "t", "kind": "generate", "metrics": ["exact_match"], "prompt": "q", "target": "a", "stop": [""]}"#,
                "found an empty one",
            ),
            (
                r#"{"task": "", "kind": "generate", "metrics": ["exact_match"], "prompt": "q", "target": "a"}"#,
                "expected a name",
            ),
        ] {
            let error = Task::parse(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
