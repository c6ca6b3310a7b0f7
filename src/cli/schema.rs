//! `wmgen schema`: the JSON schemas of what the commands print.

use anyhow::Result;
use wmdetect::report::{Failure, Row};
use wmdetect::shell::{SchemaArgs, ShownKey, print_schema};
use wmgen::bench::BenchReport;
use wmgen::compare::report::CompareReport;
use wmgen::eval::report::EvalReport;
use wmgen::radioactive::report::RadioactiveReport;
use wmgen::verify::VerifyReport;

use super::args::SchemaOf;
use super::{generate, inspect, perplexity, training_run};
#[cfg(feature = "serve")]
use crate::serve;

pub(super) fn run(SchemaArgs { of }: SchemaArgs<SchemaOf>) -> Result<()> {
    match of {
        SchemaOf::Generate => print_schema::<generate::Printed>(&of),
        SchemaOf::Verify => print_schema::<Row<VerifyReport>>(&of),
        SchemaOf::Perplexity => print_schema::<perplexity::Report>(&of),
        SchemaOf::Eval => print_schema::<EvalReport>(&of),
        SchemaOf::Compare => print_schema::<CompareReport>(&of),
        SchemaOf::Radioactive => print_schema::<RadioactiveReport>(&of),
        SchemaOf::Inspect => print_schema::<inspect::Report>(&of),
        SchemaOf::Bench => print_schema::<BenchReport>(&of),
        SchemaOf::KeyShow => print_schema::<ShownKey>(&of),
        SchemaOf::Training => print_schema::<training_run::Report>(&of),
        #[cfg(feature = "serve")]
        SchemaOf::ServeReceipts => print_schema::<serve::ReceiptLine>(&of),
        SchemaOf::Error => print_schema::<Row<Failure>>(&of),
    }
}
