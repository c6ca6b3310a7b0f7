//! Warnings that the reader of a report should know before relying on it.

use wmdetect::counted::counted;
use wmdetect::model_ratio::Evidence;
use wmdetect::report::{Changes, Warning, WarningCode};
use wmdetect::scheme::Key;

use super::{Input, Origin, Verifier, VerifyModel};
use crate::respond::{Receipt, first_difference};

impl Verifier<'_> {
    /// Returns the reasons why the evidence may be less than it seems. A receipt of another model or key does not make
    /// p wrong; it makes p useless or irrelevant.
    pub(super) fn warnings(
        &self,
        input: Input<'_>,
        origin: &Origin,
        key: &Key,
        evidence: &Evidence,
        changes: Option<&Changes>,
    ) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |code, message: String| warnings.push(Warning::new(code, message));
        let (scheme, id) = (key.scheme(), key.id());
        if key.tokenizer().is_some_and(|binding| binding.rules.is_none()) {
            warn(
                WarningCode::WeakBinding,
                format!(
                    "key {id} is bound to its tokenizer's vocabulary alone, not to its merges and other rules; bind it again"
                ),
            );
        }
        if let Some(made_by) = &origin.made_by {
            let model = self.model();
            if made_by.fingerprint != model.fingerprint {
                let named =
                    VerifyModel { name: made_by.model.clone(), fingerprint: made_by.fingerprint.clone() };
                warn(
                    WarningCode::OtherModel,
                    format!(
                        "the receipt is of model {named}, but the text was read with {model}; p is valid, but the mark may be \
                         missed"
                    ),
                );
            }
            match &made_by.key_id {
                Some(key_id) if self.keys.iter().any(|key| *key_id == key.id()) => {}
                Some(key_id) => warn(
                    WarningCode::OtherKey,
                    format!(
                        "the receipt is of key {key_id}, but the mark that was looked for is of key {id}"
                    ),
                ),
                None => warn(
                    WarningCode::OtherKey,
                    format!("the receipt says that the text was not marked; looked for the mark of key {id}"),
                ),
            }
        }
        if evidence.approximate {
            warn(
                WarningCode::ApproximateP,
                format!(
                    "the g-values of {} are not independent under the null hypothesis, so p is approximate",
                    scheme.name()
                ),
            );
        }
        let candidate = |t: usize| evidence.surprisals.iter().any(|surprisals| surprisals[t].is_finite());
        let read = evidence.tokens.len();
        let strange = (0..read).filter(|&t| !candidate(t)).count();
        if 2 * strange > read {
            warn(
                WarningCode::UnlikelyTokens,
                format!(
                    "with these settings the model would not have drawn {strange} of {}; check model, prompt, top-k and top-p",
                    counted(read as u64, "token")
                ),
            );
        }
        let repeated = (scheme.context_len()..read).filter(|&t| evidence.tokens[t].is_none()).count();
        if 2 * repeated > read {
            warn(
                WarningCode::RepeatedContexts,
                format!("{repeated} of {read} tokens repeat an earlier context and do not count"),
            );
        }
        if changes.is_some_and(|changes| changes.invalid_utf8 > 0) {
            let message = "the text is not UTF-8; what is not was replaced by U+FFFD";
            warn(WarningCode::InvalidUtf8, message.into());
        }
        if let Some(at) = self.other_text(input, origin) {
            warn(
                WarningCode::OtherText,
                format!(
                    "the text is not the receipt's: they differ from byte {at} on; the verdict is about the text that was given, \
                     read with the receipt's prompt and sampling settings"
                ),
            );
        }
        let of_key = |receipt: &&Receipt| receipt.watermark.key_id.as_deref() == Some(&*id);
        for receipt in origin.receipts.iter().filter(of_key) {
            let claimed = &receipt.watermark;
            let (marked, repeated) = receipt.counted(key);
            let found = (claimed.marked_tokens, claimed.repeated_contexts);
            let says_nothing = found == (0, 0) && !claimed.applied;
            if !says_nothing && found != (marked, repeated) {
                warn(
                    WarningCode::OtherCounts,
                    format!(
                        "the receipt counts {} marked tokens and {} repeated contexts, its tokens have {marked} and {repeated}",
                        found.0, found.1
                    ),
                );
                break;
            }
        }
        warnings
    }

    /// Returns the first place where the text differs from every receipt, at the latest. Returns `None` without a
    /// receipt, or if one receipt has the text. White space at the end, which editors and shells add, is ignored.
    fn other_text(&self, input: Input<'_>, origin: &Origin) -> Option<usize> {
        let differs = |receipt: &Receipt| match input {
            Input::Tokens(ids) if receipt.tokens == ids => None,
            Input::Tokens(ids) => {
                let spelled = self.tokenizer.decode(ids);
                first_difference(spelled.as_bytes(), self.text_of(receipt).as_bytes())
                    .filter(|_| receipt.tokens_of_text(self.tokenizer).ok() != Some(ids))
            }
            Input::Bytes(bytes) => {
                let text = self.text_of(receipt);
                let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
                first_difference(bytes.trim_ascii_end(), text.trim_ascii_end().as_bytes())
            }
        };
        let places: Option<Vec<usize>> = origin.receipts.iter().map(differs).collect();
        places?.into_iter().max()
    }

    /// Returns the text of a receipt, or that of its tokens if it has no text.
    fn text_of(&self, receipt: &Receipt) -> String {
        if receipt.text.is_empty() { self.tokenizer.decode(&receipt.tokens) } else { receipt.text.clone() }
    }
}
