//! Where in a text the mark is.

#[cfg(feature = "text")]
use std::ops::Range;

#[cfg(feature = "text")]
use super::DetectError;
use super::{Detector, Entry, p_kind};
use crate::report::{SCHEMA_VERSION, SegmentsReport, Span};
use crate::scheme::TextGValues;
use crate::segments::{Passage, passages};
use crate::statistics::PKind;

impl Detector {
    /// The passages of a text that carry the mark. The detector's rate is the family-wise error: at most that share of
    /// unmarked texts has any passage.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn segments(&self, text: &str) -> Result<SegmentsReport, DetectError> {
        self.segments_bytes(text.as_bytes())
    }

    /// As [`segments`](Self::segments), for the content of a file, read as [`score_bytes`](Self::score_bytes) does.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn segments_bytes(&self, bytes: &[u8]) -> Result<SegmentsReport, DetectError> {
        let (encoded, changes) = self.encode_bytes(bytes)?;
        let mut report = self.segments_of_tokens(&encoded.ids);
        locate(&mut report.segments, &encoded.offsets);
        report.tokenizer = self.tokenizer.as_ref().map(|tokenizer| tokenizer.name().to_owned());
        report.warnings.extend(self.text_warnings(&changes));
        report.normalisation = (!changes.is_empty()).then_some(changes);
        Ok(report)
    }

    /// The passages of a sequence of token ids that carry the mark, as [`segments`](Self::segments).
    pub fn segments_of_tokens(&self, ids: &[u32]) -> SegmentsReport {
        let mut scored_tokens = 0;
        let mut segments = Vec::new();
        for entry in &self.keys {
            let values = self.values(entry, &[], ids);
            scored_tokens = scored_tokens.max(values.scored().count() as u64);
            segments.extend(self.spans(entry, &values, ids));
        }
        segments.sort_by_key(|span| span.tokens);
        let approximate = self.keys.iter().any(|entry| entry.prf.scheme().is_compat());
        SegmentsReport {
            schema_version: SCHEMA_VERSION,
            input: String::new(),
            tokenizer: None,
            tokens: ids.len() as u64,
            scored_tokens,
            p_kind: if approximate { PKind::Approximate } else { PKind::Conservative },
            fpr: self.fpr,
            keys_tried: self.keys.len() as u64,
            segments,
            warnings: Vec::new(),
            normalisation: None,
        }
    }

    /// The passages of `ids` that one key of the detector finds, at the detector's rate divided by the number of its keys.
    pub(super) fn spans(&self, entry: &Entry, values: &TextGValues, ids: &[u32]) -> Vec<Span> {
        let span = |passage: Passage| Span {
            bytes: None,
            tokens: [passage.tokens.start as u64, passage.tokens.end as u64],
            scored_tokens: passage.scored_tokens as u64,
            score: passage.score,
            p_value: passage.p.p(),
            log10_p: passage.p.log10,
            profile: passage.profile,
            key_id: entry.id.clone(),
        };
        let found = passages(values, ids, p_kind(&entry.prf), self.fpr, self.keys.len());
        found.into_iter().map(span).collect()
    }
}

/// Fills in the bytes of spans of a text whose tokens cover `offsets`.
#[cfg(feature = "text")]
pub(super) fn locate(spans: &mut [Span], offsets: &[Range<usize>]) {
    for span in spans {
        let [start, end] = span.tokens.map(|token| token as usize);
        if let Some(tokens) = offsets.get(start..end)
            && let (Some(first), Some(last)) = (tokens.first(), tokens.last())
        {
            span.bytes = Some([first.start as u64, last.end as u64]);
        }
    }
}
