//! `wmdetect schema`: the JSON schemas of the commands' outputs.

use anyhow::Result;
use wmdetect::report::{AttackReport, Attribution, CalibrationReport, Failure, GValues, Row, SegmentsReport};
use wmdetect::shell::{SchemaArgs, ShownKey, print_schema};
use wmdetect::signed::Statement;

use super::args::SchemaOf;
use super::cache::CacheReport;
use super::train::TrainReport;
use super::train_bayesian::TrainBayesianReport;
use super::{report, score};
use crate::audit::Verified;

pub(super) fn run(SchemaArgs { of }: SchemaArgs<SchemaOf>) -> Result<()> {
    match of {
        SchemaOf::Score => print_schema::<Row<score::Signed>>(&of),
        SchemaOf::Segments => print_schema::<Row<SegmentsReport>>(&of),
        SchemaOf::Attribute => print_schema::<Row<Attribution>>(&of),
        SchemaOf::Calibrate => print_schema::<CalibrationReport>(&of),
        SchemaOf::Attack => print_schema::<AttackReport>(&of),
        SchemaOf::Gvalues => print_schema::<Row<GValues>>(&of),
        SchemaOf::Train => print_schema::<TrainReport>(&of),
        SchemaOf::TrainBayesian => print_schema::<TrainBayesianReport>(&of),
        SchemaOf::KeyShow => print_schema::<ShownKey>(&of),
        SchemaOf::ReportVerify => print_schema::<Row<report::Checked>>(&of),
        SchemaOf::Statement => print_schema::<Statement>(&of),
        SchemaOf::CacheShow => print_schema::<CacheReport>(&of),
        SchemaOf::AuditVerify => print_schema::<Verified>(&of),
        SchemaOf::Error => print_schema::<Row<Failure>>(&of),
    }
}
