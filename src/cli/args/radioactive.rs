//! Arguments of `wmgen radioactive`.

use std::path::PathBuf;

use clap::Args;
use wmdetect::shell::rate;

use super::{ComputeArgs, ModelArgs};

#[derive(Args, Debug)]
pub(crate) struct RadioactiveArgs {
    /// The suspected model: a Hugging Face directory, a GGUF file, a hub id, or `default`, the model that ships with wmgen
    #[arg(long, value_name = "MODEL")]
    pub student: String,
    /// Texts for the student to read, as JSON lines: the output of `wmgen generate --json`, examples as for `wmgen train`,
    /// or objects with a "text". Texts that the student has learned from are best. May be given several times
    #[arg(long, required = true, value_name = "FILE")]
    pub corpus: Vec<PathBuf>,
    /// Look for the traces of this key's mark. May be given several times
    #[arg(long, required_unless_present = "keyring", value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Try every key file in this directory; p is corrected for their number
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    pub keyring: Option<PathBuf>,
    /// The corpus does not depend on the keys: nobody marked it with one of them. Then each context counts with every
    /// choice of the student, and p is exact
    #[arg(long)]
    pub unmarked: bool,
    /// Count only the first N pairs of context and choice. p is exact on any corpus if N was chosen beforehand
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub pairs: Option<u64>,
    /// Take only the first documents
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Share of models without the mark that may be called radioactive
    #[arg(long, default_value_t = wmdetect::detect::DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Judge the same choices under this many random keys as well; their p-values must be uniform
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u64).range(2..=100_000))]
    pub control: Option<u64>,
    /// Seed of the random keys
    #[arg(long, value_name = "N", default_value_t = 1, requires = "control")]
    pub seed: u64,
    /// Log the student's choices to this file, one JSON line per document. An interrupted run resumes from it, and other
    /// keys need no further reading
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// A tokenizer to use instead of the student's: a tokenizer.json, a directory that holds one, or a GGUF file
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Print the report as a JSON object
    #[arg(long)]
    pub json: bool,
}

impl RadioactiveArgs {
    /// Returns the arguments that load the student.
    pub(crate) fn model(&self) -> ModelArgs {
        ModelArgs {
            model: Some(self.student.clone()),
            tokenizer: self.tokenizer.clone(),
            compute: self.compute.clone(),
            no_softcap: false,
        }
    }
}
