//! `wmdetect attribute`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use wmdetect::Keyring;
use wmdetect::render::people;
use wmdetect::report::{Attribution, Row};
use wmdetect::shell::{self, Batch, InputError, Source};

use super::args::{AttributeArgs, ManyKeysArgs};
use super::detector::Keys;
use super::{parallel, print, print_error, print_json, verdict_code};

/// Largest number of labels of a range: each becomes a key in memory.
const MOST_LABELS: u64 = 10_000_000;

pub(super) fn run(args: &AttributeArgs) -> Result<ExitCode> {
    let detector =
        args.detector.detector(|builder| builder.fpr(args.fpr))?.with_channel(args.channel.channel)?;
    let (mut batch, mut found) = (Batch::new("reading"), false);
    let judge = |_: &str, source: Result<Source<'_>, InputError>| {
        Ok(detector.attribute(source.and_then(Source::in_memory)?.input())?)
    };
    parallel::judge_each(&args.detector.input, judge, |name, result: Result<Attribution, InputError>| {
        let report = match result {
            Ok(report) => report,
            Err(error) => return print_error(&mut batch, name, &error, args.json),
        };
        let any = !report.keys.is_empty();
        found |= any;
        if args.json {
            print_json(&Row::new(name, &report))?;
        } else {
            print(people::attribution(name, &report).as_bytes())?;
        }
        batch.found(if any { "with a finding" } else { "without" });
        Ok(())
    })?;
    let failed = batch.failures() > 0;
    batch.finish(Some(args.fpr), !args.json);
    Ok(verdict_code(failed, args.exit_code && !found))
}

/// The keys that could have marked a text.
impl Keys for ManyKeysArgs {
    fn keyring(&self) -> Result<Keyring> {
        let Some(master) = &self.master else {
            let Some(dir) = &self.keyring else {
                bail!(
                    "no keys: pass --keyring DIR, or --master FILE with --label, --labels or --label-range"
                );
            };
            return Ok(shell::read_keyring(dir)?);
        };
        let labels = match (&self.labels, &self.label_range) {
            (Some(file), _) => read_labels(file)?,
            (None, Some(range)) => label_range(range)?,
            (None, None) if self.label.is_empty() => {
                bail!("no labels: pass --label LABEL, --labels FILE or --label-range PREFIX:FROM-TO")
            }
            (None, None) => self.label.clone(),
        };
        let master = shell::read_key(master)?;
        Ok(Keyring::derived(&master, labels)?)
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.keyring.iter().chain(&self.master).chain(&self.labels).cloned().collect()
    }
}

/// Reads one label a line; empty lines are skipped.
fn read_labels(file: &Path) -> Result<Vec<String>> {
    let text = shell::read_text(file).context("the labels are one a line of a text file")?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Returns the labels of a range: `tenant-:0-9999` is tenant-0 to tenant-9999, `t:001-250` is t001 to t250.
fn label_range(range: &str) -> Result<Vec<String>> {
    let expected = || format!("expected PREFIX:FROM-TO, such as tenant-:0-9999, found {range:?}");
    let (prefix, numbers) = range.rsplit_once(':').with_context(expected)?;
    let (from, to) = numbers.split_once('-').with_context(expected)?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(from) || !digits(to) {
        bail!(expected());
    }
    let (first, last): (u64, u64) =
        (from.parse().with_context(expected)?, to.parse().with_context(expected)?);
    if first > last {
        bail!("the label range {range:?} ends before it begins; {}", expected());
    }
    if last - first >= MOST_LABELS {
        bail!(
            "the label range {range:?} has more than {MOST_LABELS} labels; split it, and divide --fpr by the number of parts"
        );
    }
    let width = if from.starts_with('0') { from.len() } else { 0 };
    Ok((first..=last).map(|number| format!("{prefix}{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_labels() {
        assert_eq!(label_range("t:8-11").unwrap(), ["t8", "t9", "t10", "t11"]);
        assert_eq!(label_range("a:b-:008-010").unwrap(), ["a:b-008", "a:b-009", "a:b-010"]);
        assert_eq!(label_range(":0-0").unwrap(), ["0"]);
        let wrong = ["t", "t:", "t:1", "t:1-", "t:-1", "t:2-1", "t:1-x", "t:+1-2", "t:0-99999999"];
        for range in wrong.into_iter().chain(["t:1-99999999999999999999"]) {
            let error = label_range(range).unwrap_err().to_string();
            assert!(error.contains(&format!("{range:?}")), "{error}");
        }
    }
}
