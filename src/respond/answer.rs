//! The growing texts for one prompt: turns the engine's events into pieces of text and, at the end, receipts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wmdetect::report::{SCHEMA_VERSION, WarningCode};

use super::draft::Draft;
use super::{Event, ModelInfo, Options, Piece, Receipt, RespondError, Timing, WatermarkReceipt};
use crate::engine::{self, FinishReason};
use crate::sample::Sampling;

#[derive(Debug)]
pub(super) struct Answer {
    info: Arc<ModelInfo>,
    prompt: Vec<u32>,
    sampling: Sampling,
    /// What the receipt of each text says about the key.
    marks: Vec<WatermarkReceipt>,
    request_id: Option<String>,
    tenant: Option<String>,
    drafts: Vec<Draft>,
    failure: Option<engine::Failure>,
    prefill: Duration,
    /// Times of the first and the last token; `None` before the first.
    decode: Option<(Instant, Instant)>,
}

/// What the engine can stop working on after an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cancel {
    Nothing,
    /// A text that has reached a stop string.
    Text(usize),
    /// All texts, because one of them failed.
    All,
}

impl Answer {
    pub(super) fn new(info: Arc<ModelInfo>, prompt: Vec<u32>, options: &Options) -> Self {
        let mark = |number| match &options.mark {
            Some(mark) => mark.receipt(&prompt, options.sampling.seed, number),
            None => {
                WatermarkReceipt { reason: options.unmarked_because.clone(), ..WatermarkReceipt::default() }
            }
        };
        let draft = || Draft::new(Arc::clone(&info.tokenizer), &options.stop);
        Self {
            drafts: (0..options.n).map(|_| draft()).collect(),
            marks: (0..options.n).map(mark).collect(),
            prompt,
            sampling: options.sampling,
            request_id: options.request_id.clone(),
            tenant: options.tenant_name.clone(),
            failure: None,
            prefill: Duration::ZERO,
            decode: None,
            info,
        }
    }

    /// Returns whether the model has read the prompt.
    pub(super) fn has_begun(&self) -> bool {
        self.decode.is_some()
    }

    /// Returns whether no text grows any more.
    pub(super) fn is_complete(&self) -> bool {
        self.failure.is_some() || self.drafts.iter().all(|draft| draft.finished.is_some())
    }

    /// Takes an event of this prompt.
    pub(super) fn take(&mut self, event: engine::Event, piece: impl FnOnce(Piece)) -> Cancel {
        if self.failure.is_some() {
            return Cancel::Nothing;
        }
        let now = Instant::now();
        let mut cancel = Cancel::Nothing;
        match event {
            engine::Event::Started { prefill, .. } => {
                self.prefill = prefill;
                self.decode = Some((now, now));
            }
            engine::Event::Token { sequence, token, .. } => {
                let draft = &mut self.drafts[sequence];
                // The engine drew this before it learned of the stop string.
                if draft.finished.is_some() {
                    return Cancel::Nothing;
                }
                let text = draft.push(&token);
                if draft.finished.is_some() {
                    cancel = Cancel::Text(sequence);
                }
                piece(Piece { sequence, text, token: Some(token), finished: draft.finished });
            }
            engine::Event::Finished { sequence, reason, .. } => {
                let draft = &mut self.drafts[sequence];
                if draft.finished.is_some() {
                    return Cancel::Nothing;
                }
                let text = draft.finish(reason);
                piece(Piece { sequence, text, token: None, finished: Some(reason) });
            }
            engine::Event::Failed { error, .. } => {
                self.failure = Some(error);
                cancel = Cancel::All;
            }
        }
        if let Some((_, end)) = &mut self.decode {
            *end = now;
        }
        cancel
    }

    /// Ends the texts that are still growing, each with what it has held back.
    pub(super) fn interrupt(&mut self) {
        for draft in self.drafts.iter_mut().filter(|draft| draft.finished.is_none()) {
            draft.finish(FinishReason::Interrupted);
        }
    }

    /// Returns the last event of a complete answer. A prompt that the model had not read when the engine stopped has no
    /// texts.
    pub(super) fn end(self) -> Event {
        if let Some(error) = self.failure {
            return Event::Failed(error.into());
        }
        if !self.has_begun() {
            return Event::Failed(RespondError::Stopped);
        }
        let timing = self.timing();
        let Self { info, prompt, sampling, marks, request_id, tenant, drafts, .. } = self;
        let receipts = drafts.into_iter().zip(marks).map(|(draft, mark)| {
            let watermark = draft.watermark(mark);
            let warnings: Vec<String> = watermark.too_little_choice().into_iter().collect();
            Receipt {
                schema_version: SCHEMA_VERSION,
                finish_reason: draft.finished,
                watermark,
                text: draft.text,
                tokens: draft.tokens,
                prompt_tokens: prompt.clone(),
                sampling,
                model: info.receipt.clone(),
                timing,
                warning_codes: warnings.iter().map(|_| WarningCode::LittleChoice).collect(),
                warnings,
                request_id: request_id.clone(),
                tenant: tenant.clone(),
            }
        });
        Event::Finished(receipts.collect())
    }

    fn timing(&self) -> Timing {
        let decode_s = self.decode.map_or(0.0, |(start, end)| (end - start).as_secs_f64());
        // The first token of each text comes with the prompt.
        let steps: usize = self.drafts.iter().map(|draft| draft.tokens.len().saturating_sub(1)).sum();
        Timing {
            prefill_s: self.prefill.as_secs_f64(),
            decode_s,
            tokens_per_s: (steps > 0 && decode_s > 0.0).then(|| steps as f64 / decode_s),
        }
    }
}
