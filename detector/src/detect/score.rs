//! Whether a text is marked.

#[cfg(feature = "text")]
use super::keys::Entry;
use super::reading::{Offsets, Reading, Source};
#[cfg(feature = "text")]
use super::stream::Stream;
use super::tally::Outcome;
#[cfg(feature = "text")]
use super::tally::Tally;
use super::{DetectError, Detector, Input};
use crate::report::{Changes, Report, Warning, WarningCode};
#[cfg(feature = "text")]
use crate::scheme::EvidenceStream;
use crate::scheme::{Prf, Promise};
use crate::statistics::{PKind, PValue};
use crate::verdict::Verdict;

/// A text that is read block by block, under one key in one channel.
#[cfg(feature = "text")]
#[derive(Clone)]
struct Track {
    /// The key's index.
    key: usize,
    prf: Prf,
    values: EvidenceStream,
    tally: Tally,
}

impl Detector {
    /// Says whether a text carries the mark, and how sure that is. With a keyring the report is about the key with the
    /// least p. A text is tried in up to three [forms](crate::report::Report::forms_tried). p is corrected for the
    /// number of keys, channels and forms.
    ///
    /// # Errors
    /// Returns an error if the detector has no tokenizer and the input or its prompt is text. Also returns an error if
    /// the tokenizer fails, or if a reader cannot be read to its end.
    pub fn score<'a>(&self, input: impl Into<Input<'a>>) -> Result<Report, DetectError> {
        match self.open(input.into(), Offsets::Now)? {
            Source::Whole(forms) => Ok(self.read(forms).report()),
            #[cfg(feature = "text")]
            Source::Stream(stream) => self.score_stream(stream),
        }
    }

    #[cfg(feature = "text")]
    fn score_stream(&self, mut stream: Stream<'_>) -> Result<Report, DetectError> {
        let of_entry = |(key, entry): (usize, &Entry)| {
            let track = move |prf: Prf| Track {
                key,
                values: EvidenceStream::new(&prf),
                prf,
                tally: Tally::default(),
            };
            entry.channels(self.channel).map(track).collect::<Vec<_>>()
        };
        let mut forms: Vec<Vec<Track>> = vec![self.keys.iter().enumerate().flat_map(of_entry).collect()];
        while let Some(block) = stream.next(self, &mut forms)? {
            for (pieces, tracks) in block.iter().zip(&mut forms) {
                for Track { key, values, prf, tally } in tracks {
                    let piece = &pieces[&prf.scheme().context_rule()];
                    let mut evidence = values.push(piece);
                    let ignored = self.leave_out(piece, &mut evidence);
                    tally.add(&evidence, ignored, self.plan(&self.keys[*key]));
                }
            }
        }
        let outcomes = forms.iter().enumerate().flat_map(|(form, tracks)| {
            let outcome = move |track: &Track| {
                let entry = &self.keys[track.key];
                let outcome = track.tally.outcome(entry, self.plan(entry));
                (form, track.key, track.prf.clone(), outcome)
            };
            tracks.iter().map(outcome)
        });
        let (form, key, prf, best) = outcomes
            .reduce(|best, next| if next.3.is_less_than(&best.3) { next } else { best })
            .expect("a text has at least one form, and a keyring at least one key");
        let (tokens, changes) = stream.form(form);
        let mut report = self.report(tokens, forms.len(), key, &prf, &best, Some(changes));
        report.warnings.extend(stream.warning());
        Ok(report)
    }

    /// Returns the report on a text of `tokens` tokens, under the key with the least p and in the channel of `prf`. It
    /// is about the one of `forms` forms with the least p. `changes` are those of a text, and `None` if the input was
    /// token ids.
    fn report(
        &self,
        tokens: u64,
        forms: usize,
        key: usize,
        prf: &Prf,
        best: &Outcome,
        changes: Option<Changes>,
    ) -> Report {
        let entry = &self.keys[key];
        let plan = self.plan(entry);
        let tries = self.tries() * forms;
        let p = best.p.map(|p| p.corrected(tries));
        let log10_p = p.map(|p| p.log10);
        let scheme = entry.prf.scheme();
        let mut warnings = Vec::new();
        if let Promise::Approximate { reason } = scheme.promise() {
            warnings.push(Warning::new(WarningCode::ApproximateP, format!("{reason}, so p is approximate")));
        }
        let scored_tokens = best.scored.tokens();
        if scored_tokens < best.positions / 2 {
            warnings.push(Warning::new(
                WarningCode::RepeatedContexts,
                format!(
                    "{} of {} positions repeat an earlier context and do not count",
                    best.positions - scored_tokens,
                    best.positions
                ),
            ));
        }
        if plan.statistic.fitted_keys().contains(&entry.id) {
            warnings.push(Warning::new(
                WarningCode::FittedToThisKey,
                format!(
                    "the detector was fitted to texts of key {}; for texts that share passages with those, p is \
                     approximate",
                    entry.id
                ),
            ));
        }
        let effective_tokens = best.scored.whole();
        let mut required_tokens = None;
        let verdict = Verdict::new(log10_p, self.fpr, effective_tokens, || {
            *required_tokens.insert(plan.required_tokens(self.fpr / tries as f64))
        });
        warnings.extend(entry.leak_warning().filter(|_| verdict == Verdict::Watermarked));
        warnings.extend(self.text_warnings(changes));
        Report {
            scheme: scheme.name().into(),
            key_id: entry.id.clone(),
            tokenizer: self.tokenizer_name(changes),
            tokens,
            scored_tokens,
            detector: plan.statistic.method(),
            score: best.score,
            p_value: p.map(PValue::p),
            log10_p,
            p_kind: match entry.p_kind() {
                // Bonferroni's bound.
                PKind::Exact if tries > 1 => PKind::Conservative,
                kind => kind,
            },
            fpr: self.fpr,
            verdict,
            effective_tokens: required_tokens.map(|_| effective_tokens),
            required_tokens,
            scores: best.scores.unwrap_or_default(),
            warnings,
            spans: Vec::new(),
            keys_tried: self.ring.then_some(self.keys.len() as u64),
            channel: channel(prf),
            channels_tried: self.channels_tried(),
            forms_tried: forms_tried(forms),
            normalisation: changes.filter(|changes| !changes.is_empty()),
            ignored_tokens: self.ignore.is_some().then_some(best.ignored),
        }
    }

    /// Returns the number of channels of all keys, if it differs from the number of keys.
    pub(super) fn channels_tried(&self) -> Option<u64> {
        let tries = self.tries();
        (tries > self.keys.len()).then_some(tries as u64)
    }

    /// Returns a warning for each reason why p is approximate under the scheme of a key.
    pub(super) fn approximate_warnings(&self) -> Vec<Warning> {
        let mut reasons: Vec<&str> = Vec::new();
        for entry in self.keys.iter() {
            if let Promise::Approximate { reason } = entry.prf.scheme().promise()
                && !reasons.contains(&reason)
            {
                reasons.push(reason);
            }
        }
        let warning =
            |reason| Warning::new(WarningCode::ApproximateP, format!("{reason}, so its p is approximate"));
        reasons.into_iter().map(warning).collect()
    }

    /// Returns the warnings about a text that do not concern its tokens: keys do not name a tokenizer, or it is not
    /// UTF-8.
    pub(super) fn text_warnings(&self, changes: Option<Changes>) -> Vec<Warning> {
        let Some(changes) = changes else { return Vec::new() };
        let mut warnings = self.remarks.clone();
        if changes.invalid_utf8 > 0 {
            warnings.push(Warning::new(
                WarningCode::InvalidUtf8,
                "the text is not UTF-8; what is not was replaced by U+FFFD",
            ));
        }
        warnings
    }

    /// Returns the tokenizer's name, if the input was a text.
    pub(super) fn tokenizer_name(&self, changes: Option<Changes>) -> Option<String> {
        #[cfg(feature = "text")]
        return changes.and(self.tokenizer.as_ref()).map(|tokenizer| tokenizer.name().to_owned());
        #[cfg(not(feature = "text"))]
        {
            let _ = changes;
            None
        }
    }
}

/// Returns the channel of a key that has several.
pub(super) fn channel(prf: &Prf) -> Option<u16> {
    (prf.scheme().channels() > 1).then(|| prf.channel())
}

/// Returns the number of forms, if it is not one.
pub(super) fn forms_tried(forms: usize) -> Option<u64> {
    (forms > 1).then_some(forms as u64)
}

impl Reading<'_, '_> {
    pub(super) fn report(&self) -> Report {
        let tokens = self.tokens.ids.len() as u64;
        let Self { detector, best, .. } = self;
        let changes = self.tokens.changes();
        let mut report = detector.report(tokens, self.forms, best.key, &best.prf, &best.outcome, changes);
        report.spans = detector.spans(self.entry(), &best.prf, &best.evidence, &self.tokens, self.forms);
        if !report.spans.is_empty() && report.verdict != Verdict::Watermarked {
            report.warnings.extend(self.entry().leak_warning());
        }
        report
    }
}
