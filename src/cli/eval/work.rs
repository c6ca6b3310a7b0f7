//! Reads and answers the documents of a task.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, anyhow};
use wmdetect::shell::ProgressLine;
use wmgen::eval::likelihood::{Likelihood, Reader, Request};
use wmgen::eval::{Answer, Answers, Drawing, Expected, Item, Kind, judge};
use wmgen::respond::KeyMark;
use wmgen::text::Prompt;

use super::super::model::Loaded;
use super::EvalArgs;
use super::keys::{Runs, seed_of};
use super::plan::Plan;
use super::program::Limits;
use super::samples::{Samples, Told};
use super::shape::{Kept, Place};

/// State of a run of the program.
pub(super) struct Work<'a> {
    pub args: &'a EvalArgs,
    pub loaded: &'a Loaded,
    pub runs: &'a Runs,
    pub samples: Samples,
    pub limits: Limits,
    pub stop: Arc<AtomicBool>,
}

/// Results of a task: for each run, those of its documents in order.
pub(super) struct Results {
    pub unmarked: Vec<Vec<Kept>>,
    pub marked: Vec<Vec<Kept>>,
}

impl Work<'_> {
    /// Runs a task. If the user [stopped](Self::stopped) the run, documents are missing.
    pub(super) fn of(&mut self, plan: &Plan) -> Result<Results> {
        let mut line = ProgressLine::new(plan.task.task.clone(), "documents");
        if !plan.task.writes() {
            self.read(plan, &mut line)?;
            return Ok(Results { unmarked: vec![self.kept(plan, false, 0)], marked: Vec::new() });
        }
        let (args, runs, loaded) = (self.args, self.runs, self.loaded);
        let mut answers = Answers::new(
            &loaded.model,
            &loaded.name,
            Arc::clone(&loaded.tokenizer),
            args.batch.into(),
            args.rounded,
        );
        let unmarked = runs.unmarked.iter().map(|&seed| (None, seed));
        let marked = runs.marked.iter().map(|run| (Some(&run.mark), run.seed));
        for (run, (mark, seed)) in unmarked.enumerate().chain(marked.enumerate()) {
            self.answer(plan, &mut answers, (run, mark, seed), &mut line)?;
            if self.stopped() {
                break;
            }
        }
        let of = |marked, number| (0..number).map(|run| self.kept(plan, marked, run)).collect();
        Ok(Results { unmarked: of(false, runs.unmarked.len()), marked: of(true, runs.marked.len()) })
    }

    /// Returns whether the user asked to stop.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn kept(&self, plan: &Plan, marked: bool, run: usize) -> Vec<Kept> {
        plan.items
            .iter()
            .filter_map(|item| self.samples.get(&place(plan, item, marked, run)).cloned())
            .collect()
    }

    /// Returns the items that have no result yet.
    fn left<'p>(&self, plan: &'p Plan, marked: bool, run: usize) -> Vec<&'p Item> {
        plan.items.iter().filter(|item| self.samples.get(&place(plan, item, marked, run)).is_none()).collect()
    }

    /// Reads the documents of a task that has no answers.
    fn read(&mut self, plan: &Plan, line: &mut ProgressLine) -> Result<()> {
        let (model, tokenizer) = (&self.loaded.model, &self.loaded.tokenizer);
        let room = model.config().max_position;
        let mut reader = Reader::new(model);
        let left = self.left(plan, false, 0);
        let failed = |item: &Item| format!("{}: {}", plan.task.task, plan.places[item.index]);
        let mut requests = Vec::new();
        for item in &left {
            if let Expected::Choice { continuations, .. } = &item.expected {
                let request = Request::new(tokenizer, &item.context, continuations, room);
                requests.push(request.with_context(|| failed(item))?);
            }
        }
        reader.share(requests.iter().map(Request::context))?;
        let mut done = plan.items.len() - left.len();
        let batch = if plan.task.kind == Kind::Perplexity { 1 } else { usize::from(self.args.batch) };
        for (number, items) in left.chunks(batch).enumerate() {
            if self.stopped() {
                return Ok(());
            }
            if plan.task.kind == Kind::Perplexity {
                let item = items[0];
                let Expected::Text(text) = &item.expected else { continue };
                let bos = tokenizer
                    .bos()
                    .ok_or_else(|| anyhow!("the tokenizer has no <bos> to stand before a text"))?;
                let ids = tokenizer.encode(text).with_context(|| failed(item))?.ids;
                let found = reader.text(bos, &ids).with_context(|| failed(item))?;
                let kept = Kept {
                    scores: judge::text(text, &found),
                    tokens: found.tokens as u64,
                    ..Kept::default()
                };
                let told =
                    Told { target: Some(text), loglikelihoods: Some(vec![found.log]), ..Told::default() };
                self.samples.keep(place(plan, item, false, 0), kept, told)?;
            } else {
                let requests = &requests[number * batch..number * batch + items.len()];
                for ((item, request), found) in items.iter().zip(requests).zip(reader.likelihoods(requests)?)
                {
                    self.keep_choice(plan, item, request.truncated(), &found)?;
                }
            }
            done += items.len();
            line.show(done as u64, plan.items.len() as u64);
        }
        Ok(())
    }

    fn keep_choice(&mut self, plan: &Plan, item: &Item, truncated: bool, found: &[Likelihood]) -> Result<()> {
        let Expected::Choice { choices, right, .. } = &item.expected else { return Ok(()) };
        let kept = Kept {
            scores: judge::choice(&plan.task, choices, *right, found),
            truncated,
            tokens: found.iter().map(|found| found.tokens as u64).sum(),
            ..Kept::default()
        };
        let told = Told {
            prompt: &item.context,
            target: Some(&choices[*right]),
            choices: Some(choices),
            loglikelihoods: Some(found.iter().map(|found| found.log).collect()),
            greedy: Some(found.iter().map(|found| found.greedy).collect()),
            ..Told::default()
        };
        self.samples.keep(place(plan, item, false, 0), kept, told)
    }

    /// Answers the documents of a task in one run.
    fn answer(
        &mut self,
        plan: &Plan,
        answers: &mut Answers,
        (run, mark, seed): (usize, Option<&KeyMark>, u64),
        line: &mut ProgressLine,
    ) -> Result<()> {
        let marked = mark.is_some();
        let left = self.left(plan, marked, run);
        let drawing = Drawing {
            sampling: super::sampling(self.args, plan),
            mark: mark.cloned(),
            max_tokens: plan.task.max_tokens,
            stop: plan.task.stop.clone(),
        };
        let runs = (self.runs.unmarked.len() + self.runs.marked.len()) as u64;
        let before = (run + if marked { self.runs.unmarked.len() } else { 0 }) as u64;
        let items = plan.items.len() as u64;
        let mut done = before * items + items - left.len() as u64;
        let seed_of = |item: &Item| seed_of(seed, item.index);
        let prompt = |(at, item): (usize, &&Item)| (at, Prompt::Text(item.context.clone()), seed_of(item));
        let prompts = left.iter().enumerate().map(prompt);
        let stop = Arc::clone(&self.stop);
        let outcome = answers.of(
            prompts,
            &drawing,
            || stop.load(Ordering::Relaxed),
            |at, answer| -> Result<()> {
                let item = left[at];
                self.keep_answer(plan, item, (marked, run, seed_of(item)), &answer)?;
                done += 1;
                line.show(done, runs * items);
                Ok(())
            },
        )?;
        match outcome {
            ControlFlow::Continue(()) | ControlFlow::Break(()) => Ok(()),
        }
    }

    fn keep_answer(
        &mut self,
        plan: &Plan,
        item: &Item,
        (marked, run, seed): (bool, usize, u64),
        answer: &Answer,
    ) -> Result<()> {
        let (scores, extracted, target) = match &item.expected {
            Expected::Reference(reference) => {
                let is_program = plan.task.metrics.contains(&wmgen::eval::Metric::PassAt1);
                let passes = (is_program && self.args.run_code)
                    .then(|| self.limits.pass(&format!("{}\n{reference}", answer.text)))
                    .transpose()?;
                let (scores, extracted) = judge::answer(&plan.task, reference, &answer.text, passes);
                (scores, extracted, Some(reference.as_str()))
            }
            _ => (judge::free_text(&plan.task, answer), Vec::new(), None),
        };
        let kept = Kept {
            scores,
            truncated: answer.truncated,
            tokens: answer.tokens.len() as u64,
            marked_tokens: answer.watermark.marked_tokens as u64,
        };
        let told = Told {
            prompt: &item.context,
            target,
            answer: Some(&answer.text),
            extracted,
            seed: Some(seed),
            ..Told::default()
        };
        self.samples.keep(place(plan, item, marked, run), kept, told)
    }
}

fn place(plan: &Plan, item: &Item, marked: bool, run: usize) -> Place {
    Place { task: plan.task.task.clone(), marked, run, document: item.index }
}
