//! The texts of a command.

use anyhow::Result;
use wmdetect::shell::{self, Content, InputError, Layout, Lines, Source};

use super::args::InputArgs;

impl InputArgs {
    pub(super) fn layout(&self) -> Layout {
        let field = || self.field.clone().unwrap_or(if self.tokens { "tokens" } else { "text" }.into());
        let lines = || Lines {
            field: field(),
            id_field: self.id_field.clone(),
            group_field: None,
            max_line: self.max_line,
        };
        Layout { tokens: self.tokens, lines: self.jsonl.then(lines) }
    }
}

/// Does what [`for_each_source`] does, with every text in memory.
pub(super) fn for_each(
    args: &InputArgs,
    mut each: impl FnMut(&str, Result<Content, InputError>) -> Result<()>,
) -> Result<()> {
    for_each_source(args, |name, source| each(name, source.and_then(Source::in_memory)))
}

/// Calls `each` with the name and the content of every text, or with what is wrong with it, in order and as soon as
/// it is read. Stops at the first error of `each`, which is about the output.
pub(super) fn for_each_source(
    args: &InputArgs,
    mut each: impl FnMut(&str, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    shell::for_each(&args.files, &args.layout(), |label, source| each(&label.input, source))
}
