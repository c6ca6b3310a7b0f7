//! A judge that is a model.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use wmdetect::shell::Hinted;
use wmdetect::text::Tokenizer;
use wmgen::eval::{Answers, Drawing};
use wmgen::model::weights::ChatTemplate;
use wmgen::respond::ModelInfo;
use wmgen::sample::Sampling;
use wmgen::text::{Prompt, Role, Turn};

use super::super::args::{CompareArgs, ModelArgs};
use super::super::model::{Loaded, Place};
use super::super::say;
use super::asked::{Asked, Job, Outcome};

/// String that ends a reply, so that nothing is written after it.
const STOP: &str = "</result>";

/// A judge that is a model.
pub(super) struct Local {
    model: ModelArgs,
    tokenizer: Option<Tokenizer>,
    /// Whether the model has a chat template.
    chat: bool,
    loaded: Option<Loaded>,
}

impl Local {
    /// Opens the tokenizer and reads the model's header, without its weights.
    pub(super) fn of(args: &CompareArgs, judge: &str) -> Result<Self> {
        let model = ModelArgs {
            model: Some(judge.to_owned()),
            tokenizer: None,
            compute: args.compute.clone(),
            no_softcap: false,
        };
        let tokenizer = model.open_tokenizer()?;
        let template = Place::of(Some(judge))?.weights()?.chat_template().clone();
        let chat = template != ChatTemplate::Missing;
        if !chat {
            say(
                "warning: the judge's files have no chat template, so it is probably a base model, which continues texts and was \
                 not trained to judge; use an instruction-tuned model",
            );
        }
        Ok(Self { model, tokenizer: Some(tokenizer), chat, loaded: None })
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.model.paths()
    }

    /// Loads the weights. Returns the model's name and the digest of its files.
    pub(super) fn load(&mut self) -> Result<(String, Option<String>)> {
        let tokenizer = self.tokenizer.take().context("the judge is loaded once")?;
        let loaded = self.loaded.insert(self.model.load(tokenizer)?);
        Ok((loaded.name.clone(), loaded.model.fingerprint().map(str::to_owned)))
    }

    /// Has the model reply to prompts.
    pub(super) fn ask(
        &self,
        args: &CompareArgs,
        jobs: Vec<Job>,
        stop: &Arc<AtomicBool>,
        take: &mut dyn FnMut(&Asked, Outcome) -> Result<()>,
    ) -> Result<ControlFlow<()>> {
        let loaded = self.loaded.as_ref().context("the judge is loaded before it is asked")?;
        let info = ModelInfo::new(&loaded.model, &loaded.name, Arc::clone(&loaded.tokenizer));
        let (context, max_tokens) = (info.context(), args.max_tokens as usize);
        let (number, mut asked, mut prompts) = (jobs.len(), Vec::new(), Vec::new());
        for job in jobs {
            let prompt = if self.chat {
                Prompt::Chat(vec![Turn { role: Role::User, text: job.prompt }])
            } else {
                Prompt::Text(job.prompt)
            };
            let ids = info.prompt_ids(&prompt)?;
            if ids.len() + max_tokens > context {
                take(&job.asked, Outcome::TooLong)?;
                continue;
            }
            prompts.push((asked.len(), Prompt::Tokens(ids), job.seed));
            asked.push(job.asked);
        }
        if number > 0 && asked.is_empty() {
            bail!(Hinted::new(
                format!(
                    "expected prompts for the judge that leave {max_tokens} of its {context} tokens for a reply, found only longer ones"
                ),
                "--max-tokens takes less room for a reply, and --judge-prompt a shorter prompt",
            ));
        }
        let together = usize::from(args.batch);
        let mut answers =
            Answers::new(&loaded.model, &loaded.name, Arc::clone(&loaded.tokenizer), together, true);
        let drawing = Drawing {
            sampling: Sampling { temperature: args.temperature, ..Sampling::default() },
            mark: None,
            max_tokens,
            stop: vec![STOP.to_owned()],
        };
        answers.of(
            prompts,
            &drawing,
            || stop.load(Ordering::Relaxed),
            |at, answer| take(&asked[at], Outcome::Reply(answer.text)),
        )
    }
}
