//! Asks a judge: finds what is left to ask, and collects the outcomes.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use wmdetect::hex;
use wmdetect::shell::{Hinted, ProgressLine};
use wmgen::compare::judge::{Template, draw_seed, is_flipped};
use wmgen::compare::report::JudgeReport;
use wmgen::compare::{Example, Rating};

use super::super::args::CompareArgs;
use super::asked::{Asked, Job, Outcome};
use super::local::Local;
use super::ratings::{self, Ratings};
use super::server::Server;

/// The judge.
pub(super) enum Judge {
    /// No judge.
    None,
    /// A model.
    Local(Box<Local>),
    /// A server.
    Server(Server),
}

/// Result of the judging.
pub(super) struct Judged {
    /// The ratings of each example.
    pub ratings: Vec<Vec<Rating>>,
    pub report: Option<JudgeReport>,
    /// Whether the user stopped it before everything was judged.
    pub stopped: bool,
}

impl Judge {
    /// Checks the options, before anything is read.
    pub(super) fn of(args: &CompareArgs) -> Result<Self> {
        if !(0.0..=2.0).contains(&args.temperature) {
            bail!("--temperature is {}, expected a number from 0 to 2", args.temperature);
        }
        let Some(judge) = &args.judge else { return Ok(Self::None) };
        if Server::is_address(judge) {
            return Ok(Self::Server(Server::of(args, judge)?));
        }
        for (given, option) in
            [(args.judge_model.is_some(), "--judge-model"), (args.api_key_env.is_some(), "--api-key-env")]
        {
            if given {
                bail!(Hinted::new(
                    format!(
                        "{option}: expected the address of a server in --judge, found the model {judge:?}"
                    ),
                    "an address begins with http://",
                ));
            }
        }
        Ok(Self::Local(Box::new(Local::of(args, judge)?)))
    }

    /// Returns the files that are read.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Local(local) => local.paths(),
            _ => Vec::new(),
        }
    }
}

/// Has the examples judged as often as asked, except for replies that the log has.
pub(super) fn judge(
    args: &CompareArgs,
    judge: Judge,
    template: &Template,
    examples: &[Example],
    stop: &Arc<AtomicBool>,
) -> Result<Judged> {
    let (number, repeats) = (examples.len(), usize::from(args.repeats));
    let mut judge = match (judge, &args.ratings) {
        (Judge::None, None) => {
            return Ok(Judged { ratings: vec![Vec::new(); number], report: None, stopped: false });
        }
        (Judge::None, Some(path)) => {
            let (ratings, unread) = ratings::read(path, examples)?;
            let report = JudgeReport {
                name: path.display().to_string(),
                fingerprint: None,
                repeats: None,
                ratings: ratings.iter().map(Vec::len).sum(),
                unread,
                too_long: 0,
                refused: 0,
            };
            return Ok(Judged { ratings, report: Some(report), stopped: false });
        }
        (judge, _) => judge,
    };
    let (name, fingerprint) = match &mut judge {
        Judge::None => (String::new(), None),
        Judge::Local(local) => local.load()?,
        Judge::Server(server) => (server.model()?, None),
    };
    let header = header(args, template, examples, &name, fingerprint.as_deref());
    let mut kept = Ratings::open(args.ratings.as_deref(), &header, number)?;
    let mut jobs = Vec::new();
    for (example, both) in examples.iter().enumerate() {
        for repeat in (0..repeats).filter(|&repeat| !kept.has(example, repeat)) {
            let flipped = is_flipped(args.seed, example, repeat);
            let responses = both.responses.each_ref().map(|response| response.text.as_str());
            jobs.push(Job {
                asked: Asked { example, repeat, flipped },
                prompt: template.fill(&both.prompt, responses, flipped),
                seed: draw_seed(args.seed, example, repeat),
            });
        }
    }
    let mut line = ProgressLine::new("judging", "replies");
    let (total, mut done) = ((number * repeats) as u64, (number * repeats - jobs.len()) as u64);
    let (mut too_long, mut refused) = (0, 0);
    let mut take = |asked: &Asked, outcome: Outcome| -> Result<()> {
        match outcome {
            Outcome::Reply(reply) => kept.keep(asked, &reply)?,
            Outcome::TooLong => too_long += 1,
            Outcome::Refused => refused += 1,
        }
        done += 1;
        line.show(done, total);
        Ok(())
    };
    let ended = match &judge {
        Judge::None => ControlFlow::Continue(()),
        Judge::Local(local) => local.ask(args, jobs, stop, &mut take)?,
        Judge::Server(server) => server.ask(args, jobs, stop, &mut take)?,
    };
    drop(line);
    let (ratings, unread) = kept.of_examples(number, repeats);
    let report = JudgeReport {
        name,
        fingerprint,
        repeats: Some(repeats),
        ratings: ratings.iter().map(Vec::len).sum(),
        unread,
        too_long,
        refused,
    };
    let stopped = ended.is_break() || stop.load(Ordering::Relaxed);
    Ok(Judged { ratings, report: Some(report), stopped })
}

/// Returns what the replies depend on. The number of repeats is not part of it, so that a later run can add repeats.
fn header(
    args: &CompareArgs,
    template: &Template,
    examples: &[Example],
    name: &str,
    fingerprint: Option<&str>,
) -> Map<String, Value> {
    let fields = json!({
        "examples": ratings::digest(examples), "judge": name, "fingerprint": fingerprint,
        "prompt": hex::encode(&Sha256::digest(template.as_str())), "temperature": args.temperature,
        "max_tokens": args.max_tokens, "seed": args.seed,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
