//! The texts of an attack.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use sha2::{Digest, Sha256};
use wmdetect::hex;
use wmdetect::pool;
use wmdetect::shell::{self, Batch, Content, InputError, Label, Layout, Source, say};
use wmdetect::text::normalise::Normaliser;
use wmdetect::text::{TextError, Tokenizer};

use super::super::message;

/// The side that texts are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Marked,
    Human,
}

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Marked, Self::Human];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Marked => "marked",
            Self::Human => "human",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text, up to the end of its longest part.
pub(super) struct Text {
    /// Its name in messages.
    pub name: String,
    /// The name from which the random numbers of its edits are drawn: its id, or its number if it has none.
    pub identity: String,
    /// The number of its cluster.
    pub cluster: u64,
    /// Its longest part.
    pub longest: String,
    /// The byte where each part ends, for the lengths that it has, the shortest first.
    pub ends: Vec<usize>,
}

/// The texts of one side.
#[derive(Default)]
pub(super) struct Texts {
    pub all: Vec<Text>,
    /// The whole texts, if they were asked for.
    pub whole: Vec<String>,
    /// The hash of the texts, their ids and their groups.
    hash: Sha256,
    /// How many texts had each id before.
    ids: HashMap<String, u64>,
    clusters: HashMap<String, u64>,
    next_cluster: u64,
}

/// How texts are read and cut.
pub(super) struct Reading<'a> {
    pub side: Side,
    pub layout: Layout,
    pub tokenizer: &'a Tokenizer,
    pub normaliser: Normaliser,
    /// Sorted.
    pub lengths: &'a [u64],
    /// Whether the whole texts are kept.
    pub whole: bool,
}

impl Reading<'_> {
    /// Reads the texts of the files. Texts that cannot be read are reported, and `batch` counts them.
    pub(super) fn read(&self, files: &[PathBuf], batch: &mut Batch) -> Result<Texts> {
        let mut texts = Texts::default();
        let cut = |(label, content): (Label, Result<Content, InputError>)| {
            let cut = content.and_then(|content| self.cut(content));
            (label, cut)
        };
        let group = self.layout.lines.as_ref().and_then(|lines| lines.group_field.as_ref());
        let needed = group.filter(|_| self.side == Side::Marked);
        let push = |(label, cut): (Label, Result<(String, Vec<usize>), InputError>)| {
            let missing = needed.filter(|_| cut.is_ok() && label.group.is_none());
            match (cut, missing) {
                (Ok((text, ends)), None) => {
                    texts.push(self, &label, text, ends);
                    batch.found("read");
                }
                (_, Some(field)) => tell(
                    batch,
                    &label.input,
                    &format!("no field {field:?}; expected it in each text, since --cluster names it"),
                ),
                (Err(error), None) => tell(batch, &label.input, &message(&error)),
            }
            Ok(())
        };
        pool::ordered(pool::available_threads(), cut, push, |feed| {
            shell::for_each(files, &self.layout, |label, source| {
                Ok(feed.push((label.clone(), source.and_then(Source::in_memory)))?)
            })
        })?;
        Ok(texts)
    }

    /// Returns the text, and where its parts end.
    fn cut(&self, content: Content) -> Result<(String, Vec<usize>), InputError> {
        let bytes = match content {
            Content::Text(bytes) => bytes,
            // Token ids are refused before a text is read.
            Content::Tokens(_) => Vec::new(),
        };
        let text = Normaliser::none().apply_bytes(&bytes).text().to_owned();
        let ends = ends(&text, self.tokenizer, self.normaliser, self.lengths)
            .map_err(|error| InputError::Detect(error.into()))?;
        Ok((text, ends))
    }
}

/// Returns the byte where the first tokens of a text end, for each of the lengths that it has. The lengths are sorted.
fn ends(
    text: &str,
    tokenizer: &Tokenizer,
    normaliser: Normaliser,
    lengths: &[u64],
) -> Result<Vec<usize>, TextError> {
    let cuts = normaliser.encode(tokenizer, text.as_bytes())?;
    let tokens = &cuts[0].encoded.offsets;
    let end =
        |&length: &u64| tokens.get(usize::try_from(length).ok()?.checked_sub(1)?).map(|token| token.end);
    Ok(lengths.iter().map_while(end).collect())
}

impl Texts {
    fn push(&mut self, reading: &Reading<'_>, label: &Label, text: String, ends: Vec<usize>) {
        let number = self.all.len();
        let identity = match &label.id {
            Some(id) => {
                let before = self.ids.entry(id.clone()).or_default();
                *before += 1;
                format!("{} {id} {before}", reading.side)
            }
            None => format!("{} number {number}", reading.side),
        };
        for part in [identity.as_str(), label.group.as_deref().unwrap_or_default(), &text] {
            self.hash.update((part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
        let next = &mut self.next_cluster;
        let mut new = || {
            *next += 1;
            *next
        };
        let cluster = match &label.group {
            Some(group) => *self.clusters.entry(group.clone()).or_insert_with(new),
            None => new(),
        };
        let longest = text[..ends.last().copied().unwrap_or(0)].to_owned();
        self.all.push(Text { name: label.input.clone(), identity, cluster, longest, ends });
        if reading.whole {
            self.whole.push(text);
        }
    }

    /// Returns the SHA-256 of the texts, in hexadecimal digits.
    pub(super) fn sha256(&self) -> String {
        hex::encode(&self.hash.clone().finalize())
    }

    /// Returns how many parts all texts have together.
    pub(super) fn parts(&self) -> u64 {
        self.all.iter().map(|text| text.ends.len() as u64).sum()
    }
}

/// Reports what is wrong with an input, unless the same was reported of another.
pub(super) fn tell(batch: &mut Batch, input: &str, error: &str) {
    if let Some(line) = batch.failed(input, error) {
        batch.clear();
        say(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts are prefixes of the text, with as many tokens as asked for.
    #[test]
    fn a_text_is_cut_behind_a_token() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizer/tokenizer.json");
        let tokenizer = Tokenizer::open(path).unwrap();
        let text = "The old man “went” down\r\nto the ri\u{200B}ver, é 日本 and he said that.";
        let normaliser = Normaliser::default();
        let all = normaliser.encode(&tokenizer, text.as_bytes()).unwrap()[0].encoded.ids.len();
        let lengths: Vec<u64> = (1..=all as u64 + 3).collect();
        let ends = ends(text, &tokenizer, normaliser, &lengths).unwrap();
        assert_eq!((ends.len(), ends[all - 1]), (all, text.len()));
        assert!(ends.is_sorted() && ends.iter().all(|&end| text.is_char_boundary(end)));
        for (length, &end) in lengths.iter().zip(&ends) {
            let cuts = normaliser.encode(&tokenizer, &text.as_bytes()[..end]).unwrap();
            let tokens = cuts[0].encoded.ids.len() as u64;
            // A character of several byte tokens is not cut.
            assert!(tokens.abs_diff(*length) <= 3, "{length}: {:?} has {tokens}", &text[..end]);
        }
        assert!(super::ends("", &tokenizer, normaliser, &[1, 2]).unwrap().is_empty());
    }
}
