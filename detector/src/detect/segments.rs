//! Where in a text the mark is.

use super::keys::Entry;
use super::reading::{Forms, Offsets, Tokens};
use super::score::{channel, forms_tried};
use super::{DetectError, Detector, Input};
use crate::report::{SegmentsReport, Span};
use crate::scheme::{Evidence, Prf};
use crate::segments::{Passage, passages};
use crate::statistics::PKind;

impl Detector {
    /// Returns the passages of a text that carry the mark. The detector's rate is the family-wise error: at most that
    /// share of unmarked texts has any passage. The report is about the form of the text with the strongest passage.
    ///
    /// # Errors
    /// Returns an error if [`score`](Self::score) would, or if the input is a reader: passages need the whole text.
    pub fn segments<'a>(&self, input: impl Into<Input<'a>>) -> Result<SegmentsReport, DetectError> {
        let Forms(forms) = self.whole(input, "passages", Offsets::Later)?;
        let number = forms.len();
        let found = forms.into_iter().map(|tokens| {
            let mut scored_tokens = 0;
            let mut segments = Vec::new();
            let pieces = self.pieces(&tokens);
            for entry in self.keys.iter() {
                for prf in entry.channels(self.channel) {
                    let (evidence, _) = self.evidence(&prf, &pieces[&prf.scheme().context_rule()]);
                    let scored = evidence.scored_mask().iter().filter(|&&scored| scored).count();
                    scored_tokens = scored_tokens.max(scored as u64);
                    segments.extend(self.spans(entry, &prf, &evidence, &tokens, number));
                }
            }
            drop(pieces);
            segments.sort_by_key(|span| span.tokens);
            (tokens, scored_tokens, segments)
        });
        let least = |spans: &[Span]| spans.iter().map(|span| span.log10_p).fold(f64::INFINITY, f64::min);
        let (mut tokens, scored_tokens, mut segments) = found
            .reduce(|best, next| if least(&next.2) < least(&best.2) { next } else { best })
            .expect("a text has at least one form");
        if !segments.is_empty() {
            self.locate(&mut tokens)?;
            for span in &mut segments {
                let [start, end] = span.tokens.map(|at| at as usize);
                span.bytes = tokens.bytes(&(start..end));
            }
        }
        let approximate = self.keys.iter().any(|entry| entry.p_kind() == PKind::Approximate);
        let changes = tokens.changes();
        let found = |entry: &&Entry| segments.iter().any(|span| span.key_id == entry.id);
        let mut warnings = self.approximate_warnings();
        warnings.extend(self.keys.iter().filter(found).filter_map(Entry::leak_warning));
        warnings.extend(self.text_warnings(changes));
        Ok(SegmentsReport {
            tokenizer: self.tokenizer_name(changes),
            tokens: tokens.ids.len() as u64,
            scored_tokens,
            p_kind: if approximate { PKind::Approximate } else { PKind::Conservative },
            fpr: self.fpr,
            keys_tried: self.keys.len() as u64,
            channels_tried: self.channels_tried(),
            segments,
            forms_tried: forms_tried(number),
            warnings,
            normalisation: changes.filter(|changes| !changes.is_empty()),
        })
    }

    /// Returns the passages that one key of the detector finds in one form of a text in one channel. The rate is the
    /// detector's, divided by the number of keys, channels and `forms`.
    pub(super) fn spans(
        &self,
        entry: &Entry,
        prf: &Prf,
        evidence: &Evidence,
        tokens: &Tokens<'_>,
        forms: usize,
    ) -> Vec<Span> {
        let span = |passage: Passage| Span {
            bytes: tokens.bytes(&passage.tokens),
            tokens: [passage.tokens.start as u64, passage.tokens.end as u64],
            scored_tokens: passage.scored_tokens as u64,
            score: passage.score,
            p_value: passage.p.p(),
            log10_p: passage.p.log10,
            profile: passage.profile,
            key_id: entry.id.clone(),
            channel: channel(prf),
        };
        let tries = self.tries() * forms;
        let keep = |ngram: &[u32]| self.ignore.as_ref().is_none_or(|list| !list.contains(ngram));
        let found = passages(prf, evidence, &tokens.ids, &keep, self.fpr, tries);
        found.into_iter().map(span).collect()
    }
}
