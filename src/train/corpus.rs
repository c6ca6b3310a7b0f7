//! Turns a text into rows of tokens: documents, a fixed held-out part, and windows that start with a paragraph.

use super::error::{Error, Result};
use super::rows::{Row, Source};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use wmdetect::text::{TextError, Tokenizer};

/// The line between two documents. In a text without it, blank lines separate them.
pub const SEPARATOR: &str = "<|endofdoc|>";
/// One document in this many is held out.
const HELD_OUT: usize = 100;
/// Number of paragraphs among which epochs choose where their windows start.
const PHASES: usize = 16;

/// Splits a text into documents, each a list of paragraphs, one a line. Empty lines are dropped.
pub fn documents(text: &str) -> Vec<Vec<&str>> {
    let marked = text.lines().any(|line| line.trim() == SEPARATOR);
    let mut documents = vec![Vec::new()];
    for line in text.lines() {
        let line = line.trim_end();
        if (marked && line.trim_start() == SEPARATOR) || (!marked && line.is_empty()) {
            documents.push(Vec::new());
        } else if !line.is_empty()
            && let Some(document) = documents.last_mut()
        {
            document.push(line);
        }
    }
    documents.retain(|d| !d.is_empty());
    documents
}

/// Splits documents into those to train on and those held out: one in a hundred, at least one, those whose SHA-256 is
/// smallest. The choice depends only on the documents. If there is a single document, the last hundredth of its
/// paragraphs is held out.
pub fn split(documents: Vec<Vec<&str>>) -> (Vec<Vec<&str>>, Vec<Vec<&str>>) {
    if let [document] = documents.as_slice() {
        let (train, held_out) = document.split_at(document.len() - document.len().div_ceil(HELD_OUT));
        return (vec![train.to_vec()], vec![held_out.to_vec()]);
    }
    let digest = |document: &Vec<&str>| Sha256::digest(document.join("\n").as_bytes());
    let mut order: Vec<_> = documents.iter().enumerate().map(|(i, d)| (digest(d), i)).collect();
    order.sort_unstable();
    let held: Vec<usize> = order.iter().take(documents.len().div_ceil(HELD_OUT)).map(|(_, i)| *i).collect();
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (i, document) in documents.into_iter().enumerate() {
        if held.contains(&i) { held_out.push(document) } else { train.push(document) }
    }
    (train, held_out)
}

/// Documents as tokens, one after the other. Each is `<bos>`, its paragraphs with line feeds between them, and `<eos>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Indices in `tokens` at which paragraphs start.
    pub starts: Vec<usize>,
    /// Number of bytes of the text.
    pub bytes: usize,
}

impl Stream {
    /// Tokenizes documents.
    ///
    /// # Errors
    /// Returns the errors of the tokenizer.
    pub fn new(documents: &[Vec<&str>], tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let parts: Vec<Self> = documents
            .par_iter()
            .map(|document| {
                let mut part = Self::default();
                part.tokens.extend(tokenizer.bos());
                for (i, paragraph) in document.iter().enumerate() {
                    part.starts.push(part.tokens.len());
                    let mut text = (*paragraph).to_owned();
                    if i + 1 < document.len() {
                        text.push('\n');
                    }
                    part.bytes += text.len();
                    part.tokens.extend(tokenizer.encode(&text)?.ids);
                }
                part.tokens.extend(tokenizer.eos());
                Ok(part)
            })
            .collect::<Result<_, TextError>>()?;
        let mut stream = Self::default();
        for part in parts {
            let at = stream.tokens.len();
            stream.starts.extend(part.starts.iter().map(|start| at + start));
            stream.tokens.extend(part.tokens);
            stream.bytes += part.bytes;
        }
        Ok(stream)
    }

    /// Returns the index of the first token of each window of `context` tokens. A window starts with a paragraph, if
    /// one starts within a quarter of a window. The tokens before it are then left out in this epoch. `phase` is the
    /// paragraph to begin with.
    pub fn windows(&self, context: usize, phase: usize) -> Vec<usize> {
        let mut windows = Vec::new();
        let Some(mut at) = self.starts.get(phase).copied() else { return windows };
        while at + context <= self.tokens.len() {
            windows.push(at);
            let end = at + context;
            let next = self.starts.partition_point(|start| *start < end);
            at = self.starts.get(next).copied().filter(|start| *start <= end + context / 4).unwrap_or(end);
        }
        windows
    }

    /// Returns the row of a window: `<bos>`, then `context` tokens. All except the first are predicted.
    pub fn row(&self, bos: u32, window: usize, context: usize) -> Vec<u32> {
        let mut row = Vec::with_capacity(context + 1);
        row.push(bos);
        row.extend(&self.tokens[window..window + context]);
        row
    }
}

/// The part of a text to train on, and the held-out part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Part to train on.
    pub train: Stream,
    /// Part to measure with.
    pub held_out: Stream,
    /// Token in front of each row.
    pub bos: u32,
}

impl Data {
    /// Splits and tokenizes a text.
    ///
    /// # Errors
    /// Returns an error if the tokenizer has no `<bos>`, and the tokenizer's errors.
    pub fn new(text: &str, tokenizer: &Tokenizer) -> Result<Self> {
        let (train, held_out) = split(documents(text));
        let bos = tokenizer.bos().ok_or_else(|| Error::Tokenizer {
            message: "expected a tokenizer with <bos>, which each row starts with, found none".into(),
        })?;
        let stream = |documents: &[Vec<&str>]| {
            Stream::new(documents, tokenizer).map_err(|e| Error::Tokenizer { message: e.to_string() })
        };
        Ok(Self { train: stream(&train)?, held_out: stream(&held_out)?, bos })
    }

    /// Returns the SHA-256 of all tokens, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for tokens in [&self.train.tokens, &self.held_out.tokens] {
            hash.update((tokens.len() as u64).to_le_bytes());
            for token in tokens {
                hash.update(token.to_le_bytes());
            }
        }
        wmdetect::hex::encode(&hash.finalize())
    }
}

impl Source for Data {
    fn places(&self, context: usize, epoch: u64) -> Vec<usize> {
        let phase = epoch as usize % PHASES.min(self.train.starts.len().max(1));
        let windows = self.train.windows(context, phase);
        if windows.is_empty() { self.train.windows(context, 0) } else { windows }
    }

    fn row(&self, place: usize, context: usize) -> Row {
        Row::of_text(self.train.row(self.bos, place, context))
    }

    fn held_out(&self, context: usize, rows: usize) -> Vec<Row> {
        let windows = self.held_out.windows(context, 0);
        let rows = windows.iter().take(rows);
        rows.map(|window| Row::of_text(self.held_out.row(self.bos, *window, context))).collect()
    }

    fn largest_id(&self) -> u32 {
        self.train.tokens.iter().chain(&self.held_out.tokens).copied().max().unwrap_or(0)
    }

    fn size(&self) -> String {
        format!("{} tokens to train on, {} held out", self.train.tokens.len(), self.held_out.tokens.len())
    }

    fn fingerprint(&self) -> String {
        self.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Order;
    use super::*;

    #[test]
    fn documents_end_at_separators_or_at_blank_lines() {
        assert_eq!(documents("a\nb\n\nc\n"), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(documents("a\n\nb\n<|endofdoc|>\nc"), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(documents("a\n\nb\n \t<|endofdoc|> \n  c"), [vec!["a", "b"], vec!["  c"]]);
        assert!(documents("\n \n").is_empty());
    }

    #[test]
    fn the_held_out_part_is_fixed_and_small() {
        let texts: Vec<String> = (0..250).map(|i| format!("text {i}")).collect();
        let all: Vec<Vec<&str>> = texts.iter().map(|t| vec![t.as_str()]).collect();
        let (train, held_out) = split(all.clone());
        assert_eq!((train.len(), held_out.len()), (247, 3));
        // The order of the documents does not matter.
        let mut back = split(all.into_iter().rev().collect()).1;
        back.reverse();
        assert_eq!(back, held_out);
        assert_eq!(split(vec![vec!["a", "b"]]), (vec![vec!["a"]], vec![vec!["b"]]));
    }

    #[test]
    fn windows_start_with_paragraphs_and_every_epoch_has_its_own_order() {
        let starts = (0..40).map(|i| i * 7).collect();
        let stream = Stream { tokens: (0..280).collect(), starts, bytes: 0 };
        let windows = stream.windows(20, 0);
        assert_eq!(windows[..3], [0, 21, 42]);
        assert_eq!(stream.row(999, 21, 2), [999, 21, 22]);
        // No paragraph starts nearby, so the window does not skip any tokens.
        let long = Stream { starts: vec![0, 200], ..stream.clone() };
        assert_eq!(long.windows(20, 0)[..3], [0, 20, 40]);

        let stream = Data { train: stream, held_out: Stream::default(), bos: 0 };
        let mut order = Order::new(&stream, 5, 20, 0, 0).unwrap();
        let first: Vec<usize> = (0..30).map(|_| order.next(&stream)).collect();
        let (epoch, next) = order.position();
        assert!(epoch >= 2);
        let mut again = Order::new(&stream, 5, 20, 0, 0).unwrap();
        assert_eq!(first, (0..30).map(|_| again.next(&stream)).collect::<Vec<_>>());
        let mut resumed = Order::new(&stream, 5, 20, epoch, next).unwrap();
        assert_eq!(resumed.next(&stream), order.next(&stream));
        assert!(Order::new(&stream, 5, 400, 0, 0).is_err());
    }
}
