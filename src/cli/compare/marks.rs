//! Marks that a key's detector finds in all answers.

use std::path::Path;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use wmdetect::report::Explanation;
use wmdetect::shell::open_tokenizer;
use wmdetect::text::Tokenizer;
use wmdetect::{Detector, Input};
use wmgen::compare::Example;

use super::super::keys;

/// Scores the answers of each example with its prompt.
pub(super) fn find(
    key: &Path,
    tokenizer: Option<&Path>,
    examples: &[Example],
) -> Result<Vec<[Explanation; 2]>> {
    let key = keys::read(key)?;
    let tokenizer = match tokenizer {
        Some(path) => open_tokenizer(path)?,
        None => Tokenizer::of_default_model(),
    };
    keys::check_binding(&key, &tokenizer)?;
    let detector = Detector::new(key, tokenizer)?;
    let found = |example: &Example, side: usize| {
        let response = &example.responses[side];
        let input = Input::text(&response.text);
        let input = match &example.prompt_tokens {
            Some(ids) => input.after_prompt(&ids[..]),
            None => input.after_prompt(example.prompt.as_str()),
        };
        detector.explain(input).with_context(|| response.place.clone())
    };
    examples.par_iter().map(|example| Ok([found(example, 0)?, found(example, 1)?])).collect()
}
