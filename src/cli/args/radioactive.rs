//! What `wmgen radioactive` takes.

use std::path::PathBuf;

use clap::Args;
use wmdetect::shell::rate;

use super::{ComputeArgs, ModelArgs};

#[derive(Args, Debug)]
pub(crate) struct RadioactiveArgs {
    /// The model that is suspected: a Hugging Face directory, a GGUF file, a hub id, or `default`, the model that ships with
    /// wmgen
    #[arg(long, value_name = "MODEL")]
    pub student: String,
    /// Texts that the student reads, as JSON lines: what `wmgen generate --json` wrote, examples as for `wmgen train`, or
    /// objects with a "text". Best are texts that it has learned from. May be given several times
    #[arg(long, required = true, value_name = "FILE")]
    pub corpus: Vec<PathBuf>,
    /// Look for what this key's mark has left. May be given several times
    #[arg(long, required_unless_present = "keyring")]
    pub key: Vec<PathBuf>,
    /// Try every key file in this directory; p is corrected for their number
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    pub keyring: Option<PathBuf>,
    /// The corpus does not depend on the keys: nobody marked it with one of them. Then each context counts with every
    /// choice of the student, and p is exact
    #[arg(long)]
    pub unmarked: bool,
    /// Count the first N pairs of context and choice. p is exact on any corpus if N was chosen before
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub pairs: Option<u64>,
    /// Take only the first documents
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// The share of models without the mark that may be called radioactive
    #[arg(long, default_value_t = wmdetect::detect::DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Judge the same choices under so many random keys as well: their p-values must be uniform
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u64).range(2..=100_000))]
    pub control: Option<u64>,
    /// What the random keys follow from
    #[arg(long, value_name = "N", default_value_t = 1, requires = "control")]
    pub seed: u64,
    /// Log the student's choices to this file, a JSON line a document. A run that was interrupted goes on from there, and
    /// other keys need no reading
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// Another tokenizer than the student's: a tokenizer.json, a directory that holds one, or a GGUF file
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// The report as a JSON object
    #[arg(long)]
    pub json: bool,
}

impl RadioactiveArgs {
    /// Returns how the student is loaded.
    pub(crate) fn model(&self) -> ModelArgs {
        ModelArgs {
            model: (self.student != "default").then(|| self.student.clone()),
            tokenizer: self.tokenizer.clone(),
            compute: self.compute.clone(),
            no_softcap: false,
        }
    }
}
