//! The edits that the arguments ask for.

use std::time::Duration;

use anyhow::{Result, bail};
use wmdetect::attack::{Edit, Kind};
use wmdetect::shell::Hinted;

use super::super::args::AttackArgs;
use super::program::Program;

/// The edits that are tried without `--edit`: from those of a careless writer to those of a determined one.
const STANDARD: [(Kind, &[f64]); 10] = [
    (Kind::Delete, &[0.1, 0.3, 0.5]),
    (Kind::Replace, &[0.1, 0.3, 0.5]),
    (Kind::Insert, &[0.1, 0.3]),
    (Kind::Synonyms, &[0.3]),
    (Kind::Sentences, &[0.5]),
    (Kind::Case, &[0.3]),
    (Kind::Typography, &[1.0]),
    (Kind::Homoglyphs, &[0.1]),
    (Kind::Dilution, &[0.5, 0.75]),
    (Kind::Crop, &[0.5]),
];

/// The edits of a run.
pub(super) struct AskedFor {
    /// The edits in their order, each once, the unedited text first.
    pub edits: Vec<Edit>,
    pub programs: Vec<Program>,
}

/// Returns the edits and programs that the arguments name.
pub(super) fn of(args: &AttackArgs) -> Result<AskedFor> {
    let mut programs: Vec<Program> = Vec::new();
    for program in &args.program {
        if programs.iter().any(|known| known.name == program.name) {
            bail!("--program {}: expected a name for each program, found the name twice", program.name);
        }
        programs.push(Program {
            name: program.name.clone(),
            command: program.command.clone(),
            timeout: Duration::from_secs(args.program_timeout),
        });
    }
    let mut edits: Vec<Edit> = args.edit.iter().flat_map(|edits| edits.0.clone()).collect();
    if edits.is_empty() {
        for (kind, rates) in STANDARD {
            if kind != Kind::Synonyms || args.synonyms.is_some() {
                edits.extend(rates.iter().map(|&rate| Edit::Share { kind, rate }));
            }
        }
    }
    for edit in &edits {
        match edit {
            Edit::Program { name } if programs.iter().all(|program| program.name != *name) => {
                bail!(Hinted::new(
                    format!(
                        "--edit program={name}: expected the name of a program, found one that is not known"
                    ),
                    format!("--program {name}=COMMAND says what is run"),
                ));
            }
            Edit::Share { kind: Kind::Synonyms, .. } if args.synonyms.is_none() => {
                bail!(Hinted::new(
                    "--edit synonyms: expected a table of synonyms, found none",
                    "--synonyms FILE names one: a line has a word, a tab and its synonyms with commas between them",
                ));
            }
            _ => {}
        }
    }
    edits.push(Edit::None);
    edits.extend(programs.iter().map(|program| Edit::Program { name: program.name.clone() }));
    // Rates are numbers, so all edits can be compared.
    edits.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    edits.dedup();
    Ok(AskedFor { edits, programs })
}
