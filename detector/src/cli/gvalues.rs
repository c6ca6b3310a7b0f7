//! `wmdetect gvalues`.

use std::process::ExitCode;

use anyhow::Result;
use wmdetect::detect::Detector;
use wmdetect::render::people;
use wmdetect::report::GValuesRow;

use super::args::GvaluesArgs;
use super::inputs::{self, Content};
use super::{print, print_error, print_json, read_key};

pub(super) fn run(args: &GvaluesArgs) -> Result<ExitCode> {
    let mut detector = Detector::for_tokens(read_key(args.key.as_ref())?);
    if let Some(tokenizer) = args.input.open_tokenizer()? {
        detector = detector.with_tokenizer(tokenizer)?.normaliser(args.input.text.normaliser());
    }
    let mut failed = false;
    inputs::for_each(&args.input, |name, content| {
        let ids = match content {
            Ok(Content::Text(bytes)) => detector.tokens_of_bytes(&bytes).map_err(|error| error.to_string()),
            Ok(Content::Tokens(ids)) => Ok(ids),
            Err(error) => Err(error),
        };
        match ids {
            Ok(ids) => {
                let row = GValuesRow { input: name.into(), ..detector.g_values(&ids) };
                if args.json { print_json(&row) } else { Ok(print(people::g_values(&row).as_bytes())?) }
            }
            Err(error) => {
                failed = true;
                print_error(name, error, args.json)
            }
        }
    })?;
    Ok(ExitCode::from(u8::from(failed)))
}
