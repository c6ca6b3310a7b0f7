//! Texts on all cores, results in order.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};

use anyhow::{Result, anyhow};

use super::args::InputArgs;
use super::inputs::{Content, Source, for_each_source};

/// Results for each thread that may wait for an earlier one, so that memory stays bounded.
const WAITING: u64 = 64;

/// A text as it goes to a worker: its number, its name, and the content or what is wrong with it.
type Job = (u64, String, Result<Content, String>);

/// Calls `judge` for every text and `emit` with what it says, the latter in order and as soon as all before it are
/// through. `judge` runs for several texts at once; a text too long for memory is judged while it is read, by the
/// thread that reads. Stops at the first error of `emit`, which is about the output.
pub(super) fn judge_each<R: Send>(
    args: &InputArgs,
    judge: impl Fn(&str, Result<Source<'_>, String>) -> R + Sync,
    mut emit: impl FnMut(&str, R) -> Result<()> + Send,
) -> Result<()> {
    let threads = available_parallelism().map_or(1, NonZero::get);
    let one_text = args.files.len() == 1 && !args.jsonl && !args.tokens;
    if threads == 1 || one_text {
        return for_each_source(args, |name, source| {
            let result = judge(name, source);
            emit(name, result)
        });
    }

    let output = Output::new(emit);
    let (sender, receiver) = sync_channel::<Job>(2 * threads);
    let receiver = Mutex::new(receiver);
    let read = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _alarm = Alarm(&output);
                while let Some((number, name, content)) = next(&receiver) {
                    let result = judge(&name, content.map(Source::Content));
                    output.put(number, name, result);
                }
            });
        }
        let mut number = 0;
        let read = for_each_source(args, |name, source| {
            output.wait(number, WAITING * threads as u64)?;
            match source {
                Ok(long @ Source::Long(_)) => output.put(number, name.to_owned(), judge(name, Ok(long))),
                Ok(Source::Content(content)) => sender.send((number, name.to_owned(), Ok(content)))?,
                Err(error) => sender.send((number, name.to_owned(), Err(error)))?,
            }
            number += 1;
            Ok(())
        });
        // The workers end when they have done all.
        drop(sender);
        read
    });
    // What stopped the output is why reading stopped.
    output.finish()?;
    read
}

fn next(receiver: &Mutex<Receiver<Job>>) -> Option<Job> {
    lock(receiver).recv().ok()
}

/// A panic elsewhere ends the program in any case; until then the data is as good as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings results into order. Whoever has the next one emits it, and those that waited for it.
struct Output<R, E> {
    state: Mutex<State<R, E>>,
    moved: Condvar,
}

struct State<R, E> {
    next: u64,
    waiting: BTreeMap<u64, (String, R)>,
    emit: E,
    error: Option<anyhow::Error>,
}

impl<R, E> Output<R, E> {
    fn new(emit: E) -> Self {
        let state = State { next: 0, waiting: BTreeMap::new(), emit, error: None };
        Self { state: Mutex::new(state), moved: Condvar::new() }
    }

    /// Waits until fewer than `limit` results before `number` are missing; an error if none is wanted any more.
    fn wait(&self, number: u64, limit: u64) -> Result<()> {
        let full = |state: &mut State<R, E>| state.error.is_none() && number - state.next >= limit;
        let state = self.moved.wait_while(lock(&self.state), full).unwrap_or_else(PoisonError::into_inner);
        if state.error.is_some() { Err(anyhow!("the output ended")) } else { Ok(()) }
    }

    fn stop(&self, error: anyhow::Error) {
        lock(&self.state).error.get_or_insert(error);
        self.moved.notify_all();
    }

    fn finish(self) -> Result<()> {
        match self.state.into_inner().unwrap_or_else(PoisonError::into_inner).error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl<R, E: FnMut(&str, R) -> Result<()>> Output<R, E> {
    fn put(&self, number: u64, name: String, result: R) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        state.waiting.insert(number, (name, result));
        while state.error.is_none()
            && let Some((name, result)) = state.waiting.remove(&state.next)
        {
            state.next += 1;
            state.error = (state.emit)(&name, result).err();
        }
        drop(guard);
        self.moved.notify_all();
    }
}

/// Ends the others when the worker that has it panics.
struct Alarm<'a, R, E>(&'a Output<R, E>);

impl<R, E> Drop for Alarm<'_, R, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(anyhow!("a worker failed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn args(dir: &std::path::Path, lines: usize) -> InputArgs {
        use clap::Parser;
        let path = dir.join("texts.jsonl");
        let texts: Vec<String> = (0..lines).map(|i| format!("{{\"text\": \"text {i}\"}}")).collect();
        std::fs::write(&path, texts.join("\n")).unwrap();
        let cli =
            super::super::args::Cli::parse_from(["wmdetect", "score", "--jsonl", path.to_str().unwrap()]);
        let super::super::args::Command::Score(args) = cli.command else { panic!("score") };
        args.input
    }

    #[test]
    fn order_is_that_of_the_input() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let judge = |_: &str, source: Result<Source<'_>, String>| {
            let Ok(Source::Content(Content::Text(text))) = source else { panic!("a text") };
            let text = String::from_utf8(text).unwrap();
            // Some take longer than those behind them.
            if text.len().is_multiple_of(2) {
                thread::sleep(Duration::from_micros(300));
            }
            text
        };
        let emit = |_: &str, text| {
            seen.push(text);
            Ok(())
        };
        judge_each(&args(dir.path(), 500), judge, emit).unwrap();
        assert_eq!(seen, (0..500).map(|i| format!("text {i}")).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_of_the_output_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut emitted = 0;
        let emit = |_: &str, ()| {
            emitted += 1;
            if emitted == 10 { Err(anyhow!("no more")) } else { Ok(()) }
        };
        let error = judge_each(&args(dir.path(), 2000), |_, _| (), emit).unwrap_err();
        assert_eq!((emitted, error.to_string().as_str()), (10, "no more"));
    }
}
