//! Edits of sentences and passages.

use std::ops::Range;

use super::edit::Random;
use super::material::Material;
use super::words::{Word, words};

/// Returns where the sentences of a text are, without the white space around them. A sentence ends with `.`, `!`, `?`
/// or `…` and closing quotes and brackets before white space. So an abbreviation also ends a sentence.
fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut sentences: Vec<Range<usize>> = Vec::new();
    let mut goes_on = false;
    for word in words(text).0 {
        let end = word.start + word.text.len();
        match sentences.last_mut().filter(|_| goes_on) {
            Some(last) => last.end = end,
            None => sentences.push(word.start..end),
        }
        let closed = word.text.trim_end_matches(['"', '\'', ')', ']', '\u{201D}', '\u{2019}']);
        goes_on = !closed.ends_with(['.', '!', '?', '\u{2026}']);
    }
    sentences
}

/// Lets pairs of neighbouring sentences change places. White space stays where it is.
pub(super) fn swap(text: &str, rate: f64, random: &mut Random) -> String {
    let places = sentences(text);
    let mut order: Vec<usize> = (0..places.len()).collect();
    for pair in order.as_chunks_mut::<2>().0 {
        if random.hits(rate) {
            pair.swap(0, 1);
        }
    }
    let (mut out, mut written) = (String::with_capacity(text.len()), 0);
    for (place, sentence) in places.iter().zip(order) {
        out.push_str(&text[written..place.start]);
        out.push_str(&text[places[sentence].clone()]);
        written = place.end;
    }
    out.push_str(&text[written..]);
    out
}

/// Keeps a random passage of a share 1 − `rate` of the words, at least one.
pub(super) fn crop(text: &str, rate: f64, random: &mut Random) -> String {
    let (words, _) = words(text);
    if words.is_empty() {
        return text.to_owned();
    }
    let kept = ((words.len() as f64 * (1.0 - rate)).round() as usize).clamp(1, words.len());
    let start = random.below(words.len() - kept + 1);
    passage(&words[start..start + kept])
}

/// Puts human text around a text, so that a share `rate` of the words is human. `own` is the number of a human text,
/// which gets another human text around it.
pub(super) fn dilute(
    text: &str,
    rate: f64,
    material: &Material,
    own: Option<usize>,
    random: &mut Random,
) -> String {
    let ours = words(text).0.len() as f64;
    let human = ((ours * rate / (1.0 - rate)).round() as usize).max(1);
    let before = random.below(human + 1);
    let mut filler = |count| filler(count, material, own, random);
    let (before, behind) = (filler(before), filler(human - before));
    let parts = [before.as_str(), text, behind.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// Returns `count` words of human texts, in passages. Returns nothing if no human text has a word.
fn filler(count: usize, material: &Material, own: Option<usize>, random: &mut Random) -> String {
    let (mut passages, mut left) = (Vec::new(), count);
    while left > 0 {
        let Some(text) = material.passage_source(own, random) else { break };
        let (words, _) = words(text);
        let start = random.below(words.len());
        let taken = left.min(words.len() - start);
        passages.push(passage(&words[start..start + taken]));
        left -= taken;
    }
    passages.join("\n\n")
}

/// Returns neighbouring words with the white space between them.
fn passage(words: &[Word<'_>]) -> String {
    let mut passage = String::new();
    for word in words {
        if !passage.is_empty() {
            passage.push_str(word.space);
        }
        passage.push_str(word.text);
    }
    passage
}
