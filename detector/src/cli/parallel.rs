//! Texts on all cores, results in order.

use anyhow::Result;
use wmdetect::pool;
use wmdetect::shell::{Content, InputError, Source};

use super::args::InputArgs;
use super::inputs::for_each_source;

/// Calls `judge` for every text, and `emit` with each result, in order and as soon as all before it are done. `judge`
/// runs for several texts at once. A text that is too long for memory is judged while it is read, by the thread that
/// reads. Stops at the first error of `emit`, which is about the output.
pub(super) fn judge_each<R: Send>(
    args: &InputArgs,
    judge: impl Fn(&str, Result<Source<'_>, InputError>) -> R + Sync,
    mut emit: impl FnMut(&str, R) -> Result<()> + Send,
) -> Result<()> {
    let one_text = args.files.len() == 1 && !args.jsonl && !args.tokens;
    let threads = if one_text { 1 } else { pool::available_threads() };
    let work = |(name, content): (String, Result<Content, InputError>)| {
        let result = judge(&name, content.map(Source::Content));
        (name, result)
    };
    pool::ordered(
        threads,
        work,
        |(name, result)| emit(&name, result),
        |feed| {
            for_each_source(args, |name, source| {
                let name = name.to_owned();
                Ok(match source {
                    Ok(long @ Source::Long(_)) => {
                        let result = judge(&name, Ok(long));
                        feed.push_result((name, result))
                    }
                    Ok(Source::Content(content)) => feed.push((name, Ok(content))),
                    Err(error) => feed.push((name, Err(error))),
                }?)
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use std::thread;
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
        args.detector.input
    }

    #[test]
    fn order_is_that_of_the_input() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let judge = |_: &str, source: Result<Source<'_>, InputError>| {
            let Ok(Source::Content(Content::Text(text))) = source else { panic!("a text") };
            let text = String::from_utf8(text).unwrap();
            // Some take longer than those after them.
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
}
