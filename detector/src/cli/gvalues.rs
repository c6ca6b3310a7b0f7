//! `wmdetect gvalues`.

use std::process::ExitCode;

use anyhow::Result;
use wmdetect::render::people;
use wmdetect::report::Row;
use wmdetect::shell::Batch;
use wmdetect::shell::say;

use super::args::GvaluesArgs;
use super::inputs;
use super::{print, print_error, print_json};

pub(super) fn run(args: &GvaluesArgs) -> Result<ExitCode> {
    let detector = args.input.builder(args.key.read()?)?.build()?.with_channel(args.channel)?;
    let mut batch = Batch::new("reading");
    inputs::for_each(&args.input, |name, content| {
        match content.and_then(|content| Ok(detector.g_values(content.input())?)) {
            Ok(values) if args.json => {
                batch.found("read");
                print_json(&Row::new(name, values))
            }
            Ok(values) => {
                batch.found("read");
                batch.clear();
                if let Some(forms) = values.forms {
                    say(&format!(
                        "note: {name}: the text has {forms} forms with different tokens, which score tries; these are the \
                         g-values of the text as it was given"
                    ));
                }
                Ok(print(people::g_values(&values).as_bytes())?)
            }
            Err(error) => print_error(&mut batch, name, &error, args.json),
        }
    })?;
    let failed = batch.failures() > 0;
    batch.finish(None, !args.json);
    Ok(ExitCode::from(u8::from(failed)))
}
