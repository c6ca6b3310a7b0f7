//! Texts that are too long to be held in memory.

use std::collections::BTreeMap;
use std::io::Read;

use super::keys::Pieces;
use super::{DetectError, Detector, StreamOptions};
use crate::report::{Changes, Warning, WarningCode};
use crate::scheme::{ContextRule, ContextStream};
use crate::text::blocks::Blocks;
use crate::text::normalise::{Cut, Normaliser};

/// A text that is read, tokenized and searched for repeated contexts block by block.
pub(super) struct Stream<'a> {
    blocks: Blocks<Box<dyn Read + 'a>>,
    /// The forms that differ in what was read so far.
    forms: Vec<Form>,
    limit: usize,
}

/// A form of the text, or several that have been the same so far.
#[derive(Clone)]
struct Form {
    normalisers: Vec<Normaliser>,
    /// The contexts by their rule. The same positions count for all keys with one rule.
    contexts: BTreeMap<ContextRule, ContextStream>,
    tokens: u64,
    changes: Changes,
}

impl<'a> Stream<'a> {
    /// Starts a text for the keys of `detector`.
    pub(super) fn new(
        detector: &Detector,
        reader: Box<dyn Read + 'a>,
        prompt: &[u32],
        options: StreamOptions,
    ) -> Self {
        let rules = detector.keys.iter().map(|entry| entry.prf.scheme().context_rule());
        let contexts = |rule| (rule, ContextStream::bounded(rule, prompt, options.contexts));
        let form = Form {
            normalisers: detector.normaliser.forms(),
            contexts: rules.map(contexts).collect(),
            tokens: 0,
            changes: Changes::default(),
        };
        Self { blocks: Blocks::new(reader, options.block_len), forms: vec![form], limit: options.contexts }
    }

    /// Returns the next block of each form for each rule; `None` at the end. `states` has what the caller keeps of each
    /// form. If a form splits into two, so does its state.
    pub(super) fn next<S: Clone>(
        &mut self,
        detector: &Detector,
        states: &mut Vec<S>,
    ) -> Result<Option<Vec<Pieces<'static>>>, DetectError> {
        let Some(block) = self.blocks.next_block().map_err(|source| DetectError::Input { source })? else {
            return Ok(None);
        };
        let mut pieces = Vec::new();
        let mut parted = Vec::new();
        for (form, state) in self.forms.iter_mut().zip(states.iter()) {
            let mut cuts = detector.cut(&form.normalisers, &block, false)?.into_iter();
            let first = cuts.next().expect("a text has at least one form");
            parted.extend(cuts.map(|cut| (form.clone(), state.clone(), cut)));
            pieces.push(form.push(first));
        }
        for (mut form, state, cut) in parted {
            pieces.push(form.push(cut));
            self.forms.push(form);
            states.push(state);
        }
        Ok(Some(pieces))
    }

    /// Returns the tokens of a form, and what was changed in it.
    pub(super) fn form(&self, form: usize) -> (u64, Changes) {
        let Form { tokens, changes, .. } = &self.forms[form];
        (*tokens, *changes)
    }

    /// Returns the remark that not all contexts were remembered exactly.
    pub(super) fn warning(&self) -> Option<Warning> {
        let mut contexts = self.forms.iter().flat_map(|form| form.contexts.values());
        contexts.any(ContextStream::is_approximate).then(|| {
            Warning::new(
                WarningCode::BoundedHistory,
                format!(
                    "the text has more than {} contexts; of the later ones some are taken for repeated, which can only \
                     weaken the evidence",
                    self.limit
                ),
            )
        })
    }
}

impl Form {
    /// Takes the tokens of the next block.
    fn push(&mut self, cut: Cut) -> Pieces<'static> {
        self.normalisers = cut.forms;
        self.changes.add(cut.changes);
        self.tokens += cut.encoded.ids.len() as u64;
        self.contexts.iter_mut().map(|(&rule, stream)| (rule, stream.push(&cut.encoded.ids))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::detect::{Input, Keyring};
    use crate::ignore::IgnoreList;
    use crate::report::Report;
    use crate::scheme::Key;
    use crate::text::Tokenizer;
    use crate::verdict::Verdict;

    fn tokenizer() -> Tokenizer {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizer/tokenizer.json");
        Tokenizer::open(Path::new(file)).unwrap()
    }

    fn key(seed: u8) -> Key {
        Key::from_bytes(&[seed; 32], "test").unwrap()
    }

    /// Returns a text of `words` words, each the one of six whose tokens have the most ones.
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
            let mut report = detector.score(Input::reader_with(text.as_bytes(), options)).unwrap();
            assert!(report.warnings.pop().unwrap().message.contains("more than 50 contexts"));
            assert_eq!(report, whole, "{block_len}");
        }
        let ring = || Keyring::new(vec![key(2), key(1)]).unwrap();
        let ring = Detector::builder(ring()).tokenizer(tokenizer()).build().unwrap();
        let options = StreamOptions { block_len: 64, ..StreamOptions::default() };
        let whole = Report { spans: Vec::new(), ..ring.score(&text).unwrap() };
        assert_eq!(ring.score(Input::reader_with(text.as_bytes(), options)).unwrap(), whole);
    }

    /// What word processors, web pages and Windows do to a text.
    #[test]
    fn spaces_quotes_and_line_ends_that_software_puts_in_do_not_hide_the_mark() {
        let detector = Detector::new(key(1), tokenizer()).unwrap();
        let text = marked(&detector, 60);
        let found = detector.score(&text).unwrap();
        assert_eq!((found.verdict, found.forms_tried), (Verdict::Watermarked, None));
        let ring = Keyring::new(vec![key(2), key(1)]).unwrap();
        let ring = Detector::builder(ring).tokenizer(tokenizer()).build().unwrap();
        let alternate = |with: &str| {
            let words = text.split(' ').enumerate();
            let spaced = words.map(|(i, word)| format!("{word}{}", if i % 2 == 0 { with } else { " " }));
            spaced
                .collect::<String>()
                .trim_end_matches([' ', '\u{A0}', '\u{202F}', '\u{2009}', '\u{3000}'])
                .to_owned()
        };
        let mut attacked: Vec<String> = Vec::new();
        for space in ["\u{A0}", "\u{202F}", "\u{2009}", "\u{3000}"] {
            attacked.extend([text.replace(' ', space), alternate(space)]);
        }
        attacked.push(text.replace('\n', "\r\n"));
        attacked.push(text.replace('\n', "\u{2028}"));
        for attacked in attacked {
            let report = detector.score(&attacked).unwrap();
            let changes = report.normalisation.unwrap();
            assert!(changes.spaces + changes.line_ends > 0, "{changes:?}");
            assert_eq!((report.tokens, report.forms_tried), (found.tokens, Some(2)));
            let paid = report.log10_p.unwrap() - found.log10_p.unwrap();
            assert!((paid - 2f64.log10()).abs() < 1e-9, "{paid}");
            assert_eq!(report.p_kind, crate::statistics::PKind::Conservative);
            // The bytes are those of the text that was given.
            let shown = detector.explain(&attacked).unwrap();
            assert_eq!(shown.tokens.last().unwrap().bytes.end, attacked.len());
            let segments = detector.segments(&attacked).unwrap().segments;
            assert_eq!((segments.len(), &segments), (1, &report.spans));
            let attributed = ring.attribute(&attacked).unwrap();
            assert_eq!((attributed.keys.len(), attributed.forms_tried), (1, Some(2)));
            assert_eq!(Some(attributed.keys[0].log10_p_alone), report.log10_p);
            let options = StreamOptions { block_len: 64, ..StreamOptions::default() };
            let reader = || Input::reader_with(attacked.as_bytes(), options);
            assert_eq!(detector.score(reader()).unwrap(), Report { spans: Vec::new(), ..report });
            assert_eq!(ring.attribute(reader()).unwrap(), attributed);
        }
    }

    #[test]
    fn typographic_characters_that_the_model_wrote_keep_their_mark() {
        let raw = Detector::new(key(1), tokenizer()).unwrap().with_normaliser(Normaliser::none());
        let mut text = marked(&raw, 30);
        // Later words stand between such characters, chosen with them in the context.
        for step in 0..40 {
            let score = |text: &str| raw.score(text).unwrap().score.unwrap_or(0.0);
            let words = ["l’eau", "« oui", "non »", "dix\u{202F}pour", "…", "— la", "“rien”"]
                .map(|word| format!("{text}\u{A0}{word}"));
            let best = words.into_iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
            text = if step % 7 == 6 { format!("{best}\r\n") } else { best };
        }
        let alone = raw.score(&text).unwrap();
        let report = Detector::new(key(1), tokenizer()).unwrap().score(&text).unwrap();
        assert_eq!((report.verdict, report.normalisation), (Verdict::Watermarked, None));
        assert_eq!(report.forms_tried, Some(3));
        let paid = report.log10_p.unwrap() - alone.log10_p.unwrap();
        assert!((paid - 3f64.log10()).abs() < 1e-9, "{paid}");
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
        let raw = detector.with_normaliser(Normaliser::none()).score(&attacked).unwrap();
        assert_ne!(raw.verdict, Verdict::Watermarked);
    }

    /// The passage is in many blocks, and its n-grams are left out in each.
    #[test]
    fn an_ignore_list_reaches_into_every_block() {
        let tokenizer = std::sync::Arc::new(tokenizer());
        let mut list = IgnoreList::new([5]);
        let passage = "the river went down to the old house again";
        list.add_text(passage, &tokenizer, Normaliser::default()).unwrap();
        let detector = Detector::builder(key(1)).tokenizer(tokenizer).ignore(list).build().unwrap();
        let words = (0..40).map(|i| format!("word{i} light{i}")).collect::<Vec<_>>().join(" ");
        let text = format!("{words}\nthe river went down to the old house again\n{words}");
        let whole = detector.score(&text).unwrap();
        assert!(whole.ignored_tokens.unwrap() > 0);
        let options = StreamOptions { block_len: 128, ..StreamOptions::default() };
        let read = detector.score(Input::reader_with(text.as_bytes(), options)).unwrap();
        assert_eq!(read.ignored_tokens, whole.ignored_tokens);
    }

    #[test]
    fn a_reader_is_attributed_as_its_text_and_refused_where_the_whole_is_needed() {
        let ring = Keyring::new(vec![key(2), key(1)]).unwrap();
        let detector = Detector::builder(ring).tokenizer(tokenizer()).build().unwrap();
        let text = marked(&Detector::new(key(1), tokenizer()).unwrap(), 60);
        let reader =
            || Input::reader_with(text.as_bytes(), StreamOptions { block_len: 64, ..Default::default() });
        let report = detector.attribute(reader()).unwrap();
        assert_eq!(report.keys[0].key_id, key(1).id());
        assert_eq!(report, detector.attribute(&text).unwrap());
        let refused = detector.segments(reader()).unwrap_err().to_string();
        assert_eq!(
            refused,
            "passages need the whole text: expected text, bytes or token ids, found a reader"
        );
        assert!(matches!(detector.explain(reader()), Err(DetectError::NeedsWholeText { .. })));
    }

    #[test]
    fn a_question_cuts_a_text_once() {
        let detector = Detector::new(key(1), tokenizer()).unwrap();
        let text = marked(&detector, 20);
        let explained = crate::work::of(|| drop(detector.explain(&text).unwrap()));
        assert_eq!(explained.encoded, 1);
        assert_eq!(explained, crate::work::of(|| drop(detector.score(&text).unwrap())));
    }

    /// Keeping the offsets would take the most memory, and most texts do not need them.
    #[test]
    fn passages_cut_a_text_again_only_to_say_where_they_are() {
        let detector = Detector::new(key(1), tokenizer()).unwrap();
        for (text, found) in [(marked(&detector, 60), 1), ("the old man went down ".repeat(40), 0)] {
            let work = crate::work::of(|| {
                assert_eq!(detector.segments(&text).unwrap().segments.len(), found);
            });
            assert_eq!(work.encoded, 1 + found as u64);
        }
    }
}
