//! What edits need in addition to the text.

use std::collections::HashMap;
use std::ops::Range;

use super::edit::Random;
use super::words::{core, words};

/// Human texts, as words and as passages, and a table of synonyms.
#[derive(Debug)]
pub(super) struct Material {
    texts: Vec<String>,
    /// Numbers of the texts that have a word.
    sources: Vec<usize>,
    /// The words of all texts: the number of the text, and where in it the word is.
    words: Vec<(u32, Range<u32>)>,
    synonyms: Synonyms,
}

impl Material {
    pub(super) fn new(human: Vec<String>, synonyms: Synonyms) -> Self {
        let (mut list, mut sources) = (Vec::new(), Vec::new());
        for (number, text) in human.iter().enumerate() {
            let before = list.len();
            for word in words(text).0 {
                let core = core(word.text);
                // A text of more than 4 GiB has enough words at its start.
                let [start, end] = [core.start, core.end].map(|at| u32::try_from(word.start + at));
                if let (Ok(start), Ok(end), false) = (start, end, core.is_empty()) {
                    list.push((number as u32, start..end));
                }
            }
            if list.len() > before {
                sources.push(number);
            }
        }
        Self { texts: human, sources, words: list, synonyms }
    }

    /// Returns whether there is a human text with a word.
    pub(super) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Returns a random word of the human texts, without the punctuation around it. Frequent words come often.
    pub(super) fn word(&self, random: &mut Random) -> Option<&str> {
        let (text, place) = self.words.get(random.below(self.words.len()))?;
        Some(&self.texts[*text as usize][place.start as usize..place.end as usize])
    }

    /// Returns a random human text that has words, and if possible not `own`.
    pub(super) fn passage_source(&self, own: Option<usize>, random: &mut Random) -> Option<&str> {
        let drawn = random.below(self.sources.len());
        let number = *self.sources.get(drawn)?;
        let number =
            if Some(number) == own { self.sources[(drawn + 1) % self.sources.len()] } else { number };
        Some(&self.texts[number])
    }

    pub(super) fn synonyms(&self) -> &Synonyms {
        &self.synonyms
    }
}

/// A table of synonyms. Words are looked up without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synonyms(HashMap<String, Vec<String>>);

/// A line that does not belong in a table of synonyms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected a word, a tab and its synonyms with commas between them, found {found:?}")]
pub struct SynonymsError {
    /// The number of the line, from 1.
    pub line: usize,
    /// The line.
    pub found: String,
}

impl Synonyms {
    /// Reads a table: a line has a word, a tab and one or more synonyms with commas between them. Empty lines and lines
    /// that begin with `#` are comments. If two lines have the same word, both count.
    ///
    /// # Errors
    /// Returns an error if a line has no tab, no word or no synonym.
    pub fn parse(table: &str) -> Result<Self, SynonymsError> {
        let mut synonyms: HashMap<String, Vec<String>> = HashMap::new();
        for (number, line) in table.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let error = || SynonymsError { line: number + 1, found: line.chars().take(80).collect() };
            let (word, others) = line.split_once('\t').ok_or_else(error)?;
            let others: Vec<String> = others
                .split(',')
                .map(|word| word.trim().to_owned())
                .filter(|word| !word.is_empty())
                .collect();
            let word = word.trim().to_lowercase();
            if word.is_empty() || others.is_empty() {
                return Err(error());
            }
            synonyms.entry(word).or_default().extend(others);
        }
        Ok(Self(synonyms))
    }

    /// Returns whether the table has no word.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the synonyms of a word, at least one.
    pub(super) fn of(&self, word: &str) -> Option<&[String]> {
        self.0.get(&word.to_lowercase()).map(Vec::as_slice)
    }
}
