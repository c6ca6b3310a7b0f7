//! Judges a question: budget, cache, detector, audit log.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sha2::{Digest, Sha256};
use wmdetect::report::{Attribution, Explanation, Report, Span};
use wmdetect::service::{ApiError, RequestId};
use wmdetect::signed::Statement;
use wmdetect::timestamp::Timestamp;
use wmdetect::{DetectError, Detector, Input, Verdict};

use super::Server;
use super::budget::TextHash;
use super::credentials::{Caller, Role};
use super::policy;
use crate::audit::Entry;

/// A text or its token ids.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Text(String),
    Tokens(Vec<u32>),
}

impl Content {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Text(text) => Input::text(text),
            Self::Tokens(ids) => Input::tokens(ids),
        }
    }

    /// Returns the bytes that are hashed: the text's, or four for each token id.
    fn bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Text(text) => text.as_bytes().into(),
            Self::Tokens(ids) => ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>().into(),
        }
    }

    fn kind(&self) -> u8 {
        u8::from(matches!(self, Self::Tokens(_)))
    }
}

/// A question about one text.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for or not")]
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) content: Content,
    pub(super) prompt: Option<Content>,
    /// The channel of the text, if its receipt names it.
    pub(super) channel: Option<u16>,
    /// A rate that replaces the role's.
    pub(super) fpr: Option<f64>,
    /// Whether the passages of all keys are wanted.
    pub(super) segments: bool,
    pub(super) attribute: bool,
    /// Whether the evidence of each token is wanted, for a page.
    pub(super) explain: bool,
    /// Whether the verdict is to be signed.
    pub(super) sign: bool,
}

impl Question {
    /// Asks for the verdict on a text.
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            prompt: None,
            channel: None,
            fpr: None,
            segments: false,
            attribute: false,
            explain: false,
            sign: false,
        }
    }
}

/// The result of one text. A role is told a part of it.
#[derive(Debug)]
pub(super) struct Found {
    /// Its report, with the evidence of each token if that was asked for.
    pub(super) explanation: Explanation,
    pub(super) segments: Option<Vec<Span>>,
    pub(super) attribution: Option<Attribution>,
}

impl Found {
    pub(super) fn report(&self) -> &Report {
        &self.explanation.report
    }

    /// Returns whether the result takes so little memory that it may be kept.
    fn is_small(&self) -> bool {
        let spans = self.report().spans.len() + self.segments.as_ref().map_or(0, Vec::len);
        let keys = self.attribution.as_ref().map_or(0, |attribution| attribution.keys.len());
        self.explanation.tokens.is_empty() && spans + keys <= 32
    }
}

/// The answer about a text, and what it rests on.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    pub(super) role: Role,
    pub(super) verdict: Verdict,
    pub(super) found: Arc<Found>,
    /// The signed verdict, if that was asked for.
    pub(super) signature: Option<String>,
}

/// Why a text is not judged.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// The budget is spent; the text can be asked about again after this many seconds.
    Budget(u32),
    /// The detector cannot judge it.
    Failed(String),
    /// The audit log cannot be written.
    Unlogged,
    /// The detector panicked.
    Panicked,
}

impl Refused {
    pub(super) fn message(&self) -> String {
        match self {
            Self::Budget(seconds) => format!(
                "the budget is spent: expected to wait {seconds} seconds; a text that repeats much of a recent one costs \
                 up to 20 times as much as another"
            ),
            Self::Failed(message) => message.clone(),
            Self::Unlogged => "the audit log cannot be written, so nothing is judged".into(),
            Self::Panicked => "the server failed at this text; its log has the cause".into(),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.message();
        match refused {
            Refused::Budget(seconds) => Self::too_many(message, seconds),
            Refused::Failed(_) => Self::bad_request(message),
            Refused::Unlogged => Self::unavailable(message),
            Refused::Panicked => Self::internal(message),
        }
    }
}

impl From<DetectError> for Refused {
    fn from(error: DetectError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A result that was found before, or is being found. A text that is asked about twice at once is judged once.
pub(super) type Kept = Arc<OnceLock<Result<Arc<Found>, Refused>>>;

impl Server {
    /// Judges one text for a caller, once there is a place.
    ///
    /// # Errors
    /// Returns an error if too many requests wait, if the budget is spent, or if the text cannot be judged.
    pub(super) async fn judge(
        self: &Arc<Self>,
        caller: &Caller,
        request: &RequestId,
        question: Question,
    ) -> Result<Judgement, ApiError> {
        let mut judged = self.judge_all(caller, request, vec![question]).await?;
        Ok(judged.pop().unwrap_or(Err(Refused::Panicked))?)
    }

    /// Judges texts on all cores, and returns the results in their order.
    ///
    /// # Errors
    /// Returns an error if too many requests wait.
    pub(super) async fn judge_all(
        self: &Arc<Self>,
        caller: &Caller,
        request: &RequestId,
        questions: Vec<Question>,
    ) -> Result<Vec<Result<Judgement, Refused>>, ApiError> {
        let job = |question: Question| {
            let (server, caller, request) = (Arc::clone(self), caller.clone(), request.clone());
            move || server.judge_here(&caller, &request, &question)
        };
        let judged = self.pool.run(questions.into_iter().map(job).collect()).await;
        let judged = judged.inspect_err(|_| self.metrics.refused("queue"))?;
        Ok(judged.into_iter().map(|judged| judged.unwrap_or(Err(Refused::Panicked))).collect())
    }

    /// Judges a text on this thread.
    fn judge_here(
        &self,
        caller: &Caller,
        request: &RequestId,
        question: &Question,
    ) -> Result<Judgement, Refused> {
        let start = Instant::now();
        let bytes = question.content.bytes();
        let (found, repeated) = if self.budgets.is_free(caller.account) && caller.role == Role::Operator {
            // Hashing the text and keeping its answer would take longer than it saves.
            (find(&self.detector_for(caller.role, question)?, question), false)
        } else {
            let text: TextHash =
                Sha256::new().chain_update([question.content.kind()]).chain_update(&bytes).finalize().into();
            // The verdict sees through typographic characters, so near-copies are looked for in the plainest form.
            let plainest = || {
                let mut forms = self.detector.token_forms(question.content.input())?;
                Ok::<_, DetectError>(forms.pop().unwrap_or_default())
            };
            if let Err(seconds) = self.budgets.charge(caller.account, text, start, plainest)? {
                self.metrics.refused("budget");
                return Err(Refused::Budget(seconds));
            }
            self.found(caller.role, question, &text)
        };
        let found = found?;
        let (report, verdict) = (found.report(), policy::told(caller.role, found.report()));
        if let Some(audit) = &self.audit {
            let entry = Entry {
                request_id: &request.0,
                credential: &caller.name,
                role: caller.role.name(),
                text_sha256: audit.hash(&bytes),
                tokens: report.tokens,
                verdict,
                log10_p: report.log10_p,
                fpr: report.fpr,
                key_id: &report.key_id,
                repeated,
            };
            audit.add(&entry).map_err(|error| {
                tracing::error!(error = format!("{error:#}"), "a judged text is not answered");
                Refused::Unlogged
            })?;
        }
        let signature = self.signing.as_ref().filter(|_| question.sign).map(|key| {
            // A signature has the verdict that the caller is told, without p.
            let mut statement = Statement::of(report, Sha256::digest(&bytes).into(), Timestamp::now());
            statement.verdict = verdict;
            // The report around it names no key either.
            if caller.role != Role::Operator && verdict != Verdict::Watermarked {
                statement.key_id = None;
            }
            key.sign(&statement)
        });
        self.metrics.judged(caller.role, verdict, report.tokens, repeated, start.elapsed());
        Ok(Judgement { role: caller.role, verdict, found, signature })
    }

    /// Returns the detector at the rate of a role, or at the rate that was asked for, for a text of this channel.
    fn detector_for(&self, role: Role, question: &Question) -> Result<Detector, DetectError> {
        let detector = match (role, question.fpr) {
            (Role::Public, _) => &self.public_detector,
            (Role::Expert, _) => &self.expert_detector,
            (Role::Operator, None) => &self.detector,
            (Role::Operator, Some(fpr)) => &self.detector.with_fpr(fpr)?,
        };
        detector.with_channel(question.channel)
    }

    /// Returns the result of a text, and whether it was found before.
    fn found(&self, role: Role, question: &Question, text: &TextHash) -> (Result<Arc<Found>, Refused>, bool) {
        let detector = match self.detector_for(role, question) {
            Ok(detector) => detector,
            Err(error) => return (Err(error.into()), false),
        };
        if question.explain {
            return (find(&detector, question), false);
        }
        let key = key(text, question, detector.fpr());
        let (kept, known): (Kept, bool) = self.answers.get_or_insert(key, Kept::default);
        let found = kept.get_or_init(|| find(&detector, question)).clone();
        if !found.as_ref().is_ok_and(|found| found.is_small()) {
            self.answers.remove(&key);
        }
        (found, known)
    }
}

fn find(detector: &Detector, question: &Question) -> Result<Arc<Found>, Refused> {
    let input = || {
        let input = question.content.input();
        match &question.prompt {
            None => input,
            Some(Content::Text(text)) => input.after_prompt(text),
            Some(Content::Tokens(ids)) => input.after_prompt(ids),
        }
    };
    let explanation =
        if question.explain { detector.explain(input())? } else { detector.score(input())?.into() };
    let segments = question.segments.then(|| detector.segments(input())).transpose()?;
    let attribution = question.attribute.then(|| detector.attribute(input())).transpose()?;
    Ok(Arc::new(Found { explanation, segments: segments.map(|report| report.segments), attribution }))
}

/// Returns what an answer depends on.
fn key(text: &TextHash, question: &Question, fpr: f64) -> [u8; 32] {
    let mut hash = Sha256::new()
        .chain_update(text)
        .chain_update(fpr.to_bits().to_le_bytes())
        .chain_update([u8::from(question.segments), u8::from(question.attribute)]);
    if let Some(channel) = question.channel {
        hash = hash.chain_update([2]).chain_update(channel.to_le_bytes());
    }
    if let Some(prompt) = &question.prompt {
        hash = hash.chain_update([prompt.kind()]).chain_update(prompt.bytes());
    }
    hash.finalize().into()
}
