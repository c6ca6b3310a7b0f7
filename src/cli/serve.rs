//! `wmgen serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use wmgen::respond::ModelInfo;

use super::args::ServeArgs;
use super::model;
use crate::serve;

pub(super) fn run(args: &ServeArgs) -> Result<ExitCode> {
    let tokenizer = Arc::new(args.model.open_tokenizer()?);
    args.model.check_chat()?;
    let draft = args.model.check_draft(&args.server.drafts, &tokenizer)?;
    let threads = args.model.compute.threads.map(model::at_most_cores);
    serve::run(&args.server, &tokenizer, threads, || {
        let loaded = args.model.load(Arc::clone(&tokenizer))?;
        let draft = args.model.load_draft(&draft, &loaded.model)?;
        let name = args.model_name.as_deref().unwrap_or(&loaded.name);
        let info = ModelInfo::new(&loaded.model, name, Arc::clone(&loaded.tokenizer));
        Ok(serve::Loaded { model: loaded.model, draft, info })
    })
}
