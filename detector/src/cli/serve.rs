//! `wmdetect serve`.

use std::process::ExitCode;

use anyhow::Result;

use super::args::ServeArgs;
use super::detector::Keys as _;
use crate::serve::{self, Opened};

pub(super) fn run(args: &ServeArgs) -> Result<ExitCode> {
    serve::run(&args.server, || {
        Ok(Opened {
            decider: args.method.decider()?,
            keys: args.keys.keyring()?,
            directory: args.keys.keyring.clone(),
            tokenizer: args.tokenizer.open()?,
            normaliser: args.text.normaliser(),
            ignore: args.ignore.clone(),
        })
    })
}
