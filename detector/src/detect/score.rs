//! Is a text marked?

#[cfg(feature = "text")]
use super::keys::Entry;
use super::reading::{Offsets, Reading, Source};
#[cfg(feature = "text")]
use super::stream::Stream;
use super::tally::Outcome;
#[cfg(feature = "text")]
use super::tally::{Tally, layers};
use super::{DetectError, Detector, Input};
use crate::report::{Changes, Report, Warning, WarningCode};
#[cfg(feature = "text")]
use crate::scheme::EvidenceStream;
use crate::scheme::Promise;
use crate::statistics::{PKind, PValue};
use crate::verdict::Verdict;

impl Detector {
    /// Says whether a text carries the mark, and how sure that is. With a keyring the report is about the key with the
    /// least p. A text is tried in up to three [forms](crate::report::Report::forms_tried). p is corrected for the number of keys
    /// and of forms.
    ///
    /// # Errors
    /// Returns an error if the input or its prompt is text and the detector has no tokenizer, if the tokenizer fails, or if a reader
    /// cannot be read to its end.
    pub fn score<'a>(&self, input: impl Into<Input<'a>>) -> Result<Report, DetectError> {
        match self.open(input.into(), Offsets::Now)? {
            Source::Whole(forms) => Ok(self.read(forms).report()),
            #[cfg(feature = "text")]
            Source::Stream(stream) => self.score_stream(stream),
        }
    }

    #[cfg(feature = "text")]
    fn score_stream(&self, mut stream: Stream<'_>) -> Result<Report, DetectError> {
        let keys: Vec<_> =
            self.keys.iter().map(|entry| (EvidenceStream::new(&entry.prf), Tally::default())).collect();
        let mut forms = vec![keys];
        while let Some(block) = stream.next(self, &mut forms)? {
            for (pieces, keys) in block.iter().zip(&mut forms) {
                for (entry, (values, tally)) in self.keys.iter().zip(keys) {
                    let piece = &pieces[&entry.prf.scheme().context_len()];
                    let mut values = layers(values.push(piece));
                    let ignored = self.leave_out(entry, &piece.ids, &mut values);
                    tally.add(&values, ignored, self.plan(entry));
                }
            }
        }
        let outcomes = forms.iter().enumerate().flat_map(|(form, keys)| {
            let outcome = move |(key, (entry, (_, tally))): (usize, (&Entry, &(EvidenceStream, Tally)))| {
                (form, key, tally.outcome(entry, self.plan(entry)))
            };
            self.keys.iter().zip(keys).enumerate().map(outcome)
        });
        let (form, key, best) = outcomes
            .reduce(|best, next| if next.2.is_less_than(&best.2) { next } else { best })
            .expect("a text has at least one form, and a keyring at least one key");
        let (tokens, changes) = stream.form(form);
        let mut report = self.report(tokens, forms.len(), key, &best, Some(changes));
        report.warnings.extend(stream.warning());
        Ok(report)
    }

    /// The report on a text of `tokens` tokens, in the one of `forms` forms and under the key with the least p. `changes`
    /// are those of a text, none if the input was token ids.
    fn report(
        &self,
        tokens: u64,
        forms: usize,
        key: usize,
        best: &Outcome,
        changes: Option<Changes>,
    ) -> Report {
        let entry = &self.keys[key];
        let plan = self.plan(entry);
        let tries = self.keys.len() * forms;
        let p = best.p.map(|p| p.corrected(tries));
        let log10_p = p.map(|p| p.log10);
        let scheme = entry.prf.scheme();
        let mut warnings = Vec::new();
        if let Promise::Approximate { reason } = scheme.promise() {
            warnings.push(Warning::new(WarningCode::ApproximateP, format!("{reason}, so p is approximate")));
        }
        if best.scored_tokens < best.positions / 2 {
            warnings.push(Warning::new(
                WarningCode::RepeatedContexts,
                format!(
                    "{} of {} positions repeat an earlier context and do not count",
                    best.positions - best.scored_tokens,
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
        let verdict = Verdict::new(log10_p, self.fpr, best.scored_tokens, || {
            plan.required_tokens(self.fpr / tries as f64)
        });
        warnings.extend(entry.leak_warning().filter(|_| verdict == Verdict::Watermarked));
        warnings.extend(self.text_warnings(changes));
        Report {
            scheme: scheme.name().into(),
            key_id: entry.id.clone(),
            tokenizer: self.tokenizer_name(changes),
            tokens,
            scored_tokens: best.scored_tokens,
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
            scores: best.scores,
            warnings,
            spans: Vec::new(),
            keys_tried: self.ring.then_some(self.keys.len() as u64),
            forms_tried: forms_tried(forms),
            normalisation: changes.filter(|changes| !changes.is_empty()),
            ignored_tokens: self.ignore.is_some().then_some(best.ignored),
        }
    }

    /// What is to be said of a text beside its tokens: that keys name no tokenizer, that it was not UTF-8.
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

    /// The tokenizer's name, if the input was a text.
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

/// The number of forms, where it is not one.
pub(super) fn forms_tried(forms: usize) -> Option<u64> {
    (forms > 1).then_some(forms as u64)
}

impl Reading<'_, '_> {
    pub(super) fn report(&self) -> Report {
        let tokens = self.tokens.ids.len() as u64;
        let Self { detector, best, .. } = self;
        let mut report = detector.report(tokens, self.forms, best.key, &best.outcome, self.tokens.changes());
        report.spans = detector.spans(self.entry(), &best.values, &self.tokens, self.forms);
        if !report.spans.is_empty() && report.verdict != Verdict::Watermarked {
            report.warnings.extend(self.entry().leak_warning());
        }
        report
    }
}
