//! Texts that are too long to be held in memory.

use std::collections::BTreeMap;
use std::io::Read;

use super::{DetectError, Detector, Tally};
use crate::report::{Changes, Report};
use crate::scheme::{ContextStream, GValueStream};
use crate::text::blocks::{BLOCK_LEN, Blocks};

/// How much of a long text is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Bytes of a block; see [`Blocks`].
    pub block_len: usize,
    /// How many different contexts are remembered as they are, 20 bytes each; later ones go into a filter of 128 MiB
    /// that takes some new ones for old, whose positions then do not count.
    pub contexts: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        // What a hash table of 2^22 places holds.
        Self { block_len: BLOCK_LEN, contexts: 3_600_000 }
    }
}

impl Detector {
    /// Scores a text while it is read, in bounded memory. The blocks in which it is read, and the positions that
    /// count, depend on the text alone, so p is what it promises to be; and where the text has white space at least
    /// every 128 KiB and no more than [`StreamOptions::contexts`] contexts, it is the p of the whole text.
    ///
    /// It has no [`spans`](Report::spans), which need all of the text.
    ///
    /// Normalisation works block by block, so markup that reaches over the end of a block is taken as text.
    ///
    /// # Errors
    /// [`DetectError::Input`], and those of [`score`](Self::score).
    pub fn score_reader(&self, input: impl Read, options: StreamOptions) -> Result<Report, DetectError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(DetectError::NoTokenizer)?;
        let mut blocks = Blocks::new(input, options.block_len);
        // Which contexts are new is the same for all keys with contexts of one length.
        let mut contexts: BTreeMap<usize, ContextStream> = self
            .keys
            .iter()
            .map(|entry| entry.prf.scheme().context_len())
            .map(|len| (len, ContextStream::bounded(len, &[], options.contexts)))
            .collect();
        let mut keys: Vec<_> =
            self.keys.iter().map(|entry| (GValueStream::new(&entry.prf), Tally::default())).collect();
        let (mut tokens, mut changes) = (0, Changes::default());
        while let Some(block) = blocks.next_block().map_err(|source| DetectError::Input { source })? {
            let (encoded, changed) = self.normaliser.encode(tokenizer, &block)?;
            changes.add(changed);
            tokens += encoded.ids.len() as u64;
            let pieces: BTreeMap<usize, _> =
                contexts.iter_mut().map(|(&len, stream)| (len, stream.push(&encoded.ids))).collect();
            for (entry, (stream, tally)) in self.keys.iter().zip(&mut keys) {
                let piece = &pieces[&entry.prf.scheme().context_len()];
                let mut values = stream.push(piece);
                let ignored = self.leave_out(&piece.ids, &mut values);
                tally.add(&values, ignored, &entry.plan);
            }
        }
        let outcomes = self.keys.iter().zip(&keys);
        let mut report =
            self.report(tokens, outcomes.map(|(entry, (_, tally))| (entry, self.outcome_of(entry, tally))));
        self.complete(&mut report, tokenizer, changes);
        if contexts.values().any(ContextStream::is_approximate) {
            report.warnings.push(format!(
                "the text has more than {} contexts; of the later ones some are taken for repeated, which can only \
                 weaken the evidence",
                options.contexts
            ));
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::detect::Keyring;
    use crate::scheme::Key;
    use crate::text::Tokenizer;
    use crate::text::normalise::Normaliser;
    use crate::verdict::Verdict;

    fn tokenizer() -> Tokenizer {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizer/tokenizer.json");
        Tokenizer::open(Path::new(file)).unwrap()
    }

    fn key(seed: u8) -> Key {
        Key::from_bytes(&[seed; 32], "test").unwrap()
    }

    /// Of six words each time the one whose tokens have most ones.
    fn marked(detector: &Detector, words: usize) -> String {
        const WORDS: [&str; 12] =
            ["river", "old", "man", "the", "went", "house", "they", "saw", "light", "and", "water", "again"];
        let score = |text: &str| detector.score(text).unwrap().score.unwrap_or(0.0);
        let mut text = String::from("The naïve café");
        for step in 0..words {
            let tail = text.len() - text.len().min(40);
            let tail = text[..tail].rfind(' ').unwrap_or(0);
            let best = (0..6).map(|i| WORDS[(step * 7 + i * 5) % 12]).max_by(|a, b| {
                score(&format!("{} {a}", &text[tail..])).total_cmp(&score(&format!("{} {b}", &text[tail..])))
            });
            text = format!("{text}{}{}", if step % 9 == 8 { ".\n" } else { " " }, best.unwrap());
        }
        text
    }

    #[test]
    fn blocks_are_the_whole() {
        let detector = Detector::new(key(1), tokenizer()).unwrap();
        let text = format!(
            "{}. Then \u{200B}more.\r\n\r\n{}",
            marked(&detector, 40),
            "Words, e\u{301}. ".repeat(30)
        );
        let whole = Report { spans: Vec::new(), ..detector.score(&text).unwrap() };
        for block_len in [64, 100, 1 << 20] {
            let options = StreamOptions { block_len, contexts: 50 };
            let mut report = detector.score_reader(text.as_bytes(), options).unwrap();
            assert!(report.warnings.pop().unwrap().contains("more than 50 contexts"));
            assert_eq!(report, whole, "{block_len}");
        }
        let ring = || Keyring::new(vec![key(2), key(1)]).unwrap();
        let ring = Detector::for_keyring(ring()).with_tokenizer(tokenizer()).unwrap();
        let options = StreamOptions { block_len: 64, ..StreamOptions::default() };
        let whole = Report { spans: Vec::new(), ..ring.score(&text).unwrap() };
        assert_eq!(ring.score_reader(text.as_bytes(), options).unwrap(), whole);
    }

    #[test]
    fn an_attack_that_nobody_sees_changes_nothing() {
        let detector = Detector::new(key(1), tokenizer()).unwrap();
        let text = marked(&detector, 60);
        let found = detector.score(&text).unwrap();
        assert_eq!(found.verdict, Verdict::Watermarked);
        let attacked: String = text.chars().flat_map(|c| [c, '\u{200B}']).collect();
        let attacked = attacked.replace('ï', "i\u{308}");
        let mut undone = detector.score(&attacked).unwrap();
        let changes = undone.normalisation.take().unwrap();
        assert_eq!((changes.zero_width, changes.composed), (text.chars().count() as u64, 1));
        // The same passages, at other bytes.
        for (span, same) in undone.spans.iter_mut().zip(&found.spans) {
            assert_ne!(span.bytes, same.bytes);
            span.bytes = same.bytes;
        }
        assert_eq!(undone, found);
        let raw = detector.normaliser(Normaliser::none()).score(&attacked).unwrap();
        assert_ne!(raw.verdict, Verdict::Watermarked);
    }
}
