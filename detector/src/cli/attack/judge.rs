//! Edits and scores the texts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use wmdetect::attack::{Edit, Editor, Outcome, Random, Summary, words_kept};
use wmdetect::report::AttackRow;
use wmdetect::shell::{Batch, ProgressLine};
use wmdetect::{Detector, Input, pool};

use super::checkpoint::{Checkpoint, Judged, Place};
use super::program::{Program, ProgramError};
use super::texts::{Side, Text, Texts, tell};

/// The edits and the detector of a run.
pub(super) struct Attack<'a> {
    pub detector: &'a Detector,
    pub editor: Editor,
    pub edits: &'a [Edit],
    pub programs: &'a [Program],
    /// Sorted.
    pub lengths: &'a [u64],
    pub seed: u64,
    pub checkpoint: Option<Checkpoint>,
    /// Set when the run should end with the results that it has.
    pub stop: Arc<AtomicBool>,
}

/// The results of one edit and one length.
#[derive(Clone, Default)]
struct Cell {
    outcomes: Vec<Outcome>,
    errors: u64,
}

/// All results.
pub(super) struct Results {
    /// For each edit, length and side, in this order.
    cells: Vec<Cell>,
    /// How many results there are, errors included.
    pub judged: u64,
    /// How many there would be if nothing had interrupted the run.
    pub of: u64,
    /// Number of results that are errors.
    pub errors: u64,
}

/// The results of one text, for some edits and lengths by their numbers: what was found, or why it failed.
type Judgements = Vec<(usize, usize, Result<Judged, String>)>;

impl Attack<'_> {
    /// Edits and scores all texts, on all processors. The results do not depend on their number.
    pub(super) fn run(&self, marked: &Texts, human: &Texts) -> Result<Results> {
        let of = (marked.parts() + human.parts()) * self.edits.len() as u64;
        let cells = vec![Cell::default(); self.edits.len() * self.lengths.len() * Side::ALL.len()];
        let mut results = Results { cells, judged: 0, of, errors: 0 };
        let mut batch = Batch::without_progress().counting("result");
        let mut line = ProgressLine::new("attacking", "results");
        let work = |(side, number, text)| (side, text, self.judge(side, number, text));
        let take = |(side, text, judgements): (Side, &Text, Result<Judgements>)| {
            for (edit, length, judged) in judgements? {
                let place = (edit * self.lengths.len() + length) * Side::ALL.len() + side as usize;
                let cell = &mut results.cells[place];
                results.judged += 1;
                match judged {
                    Ok(Judged { log10_p, words_kept }) => {
                        cell.outcomes.push(Outcome { cluster: text.cluster, log10_p, words_kept });
                        batch.found("judged");
                    }
                    Err(error) => {
                        cell.errors += 1;
                        results.errors += 1;
                        line.clear();
                        let input = format!("{} ({side}, {} tokens)", text.name, self.lengths[length]);
                        tell(&mut batch, &input, &error);
                    }
                }
            }
            line.show(results.judged, of);
            Ok(())
        };
        pool::ordered(pool::available_threads(), work, take, |feed| {
            // In turns, so that an interrupted run has both.
            for number in 0..marked.all.len().max(human.all.len()) {
                for (side, texts) in [(Side::Marked, marked), (Side::Human, human)] {
                    let Some(text) = texts.all.get(number) else { continue };
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    feed.push((side, number, text))?;
                }
            }
            Ok::<(), anyhow::Error>(())
        })?;
        drop(line);
        batch.finish(None, true);
        Ok(results)
    }

    /// Edits and scores a text, until the run should end.
    fn judge(&self, side: Side, number: usize, text: &Text) -> Result<Judgements> {
        let mut judgements = Vec::new();
        for (length, &end) in text.ends.iter().enumerate() {
            for (edit, what) in self.edits.iter().enumerate() {
                let place =
                    Place { side, text: number, edit: self.label(what), length: self.lengths[length] };
                if let Some(known) = self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.get(&place)) {
                    judgements.push((edit, length, Ok(known)));
                    continue;
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(judgements);
                }
                let part = &text.longest[..end];
                let own = Some(number).filter(|_| side == Side::Human);
                let edited = match self.edited(what, part, &text.identity, own) {
                    Ok(edited) => edited,
                    Err(ProgramError::Stopped { .. }) => return Ok(judgements),
                    Err(error) => {
                        judgements.push((edit, length, Err(error.to_string())));
                        continue;
                    }
                };
                let judged = match self.detector.score(Input::text(&edited)) {
                    Ok(report) => {
                        Ok(Judged { log10_p: report.log10_p, words_kept: words_kept(part, &edited) })
                    }
                    Err(error) => Err(error.to_string()),
                };
                if let (Ok(judged), Some(checkpoint)) = (&judged, &self.checkpoint) {
                    checkpoint.keep(&place, *judged)?;
                }
                judgements.push((edit, length, judged));
            }
        }
        Ok(judgements)
    }

    fn edited(
        &self,
        edit: &Edit,
        text: &str,
        identity: &str,
        own: Option<usize>,
    ) -> Result<String, ProgramError> {
        let program =
            edit.program().and_then(|name| self.programs.iter().find(|program| program.name == name));
        match program {
            Some(program) => {
                let seed = Random::new(self.seed, identity, edit).next_u64();
                program.edit(text, seed, &self.stop)
            }
            None => Ok(self.editor.apply(edit, text, own, self.seed, identity)),
        }
    }

    /// Returns the name of an edit in a checkpoint. A program with another command is another edit.
    fn label(&self, edit: &Edit) -> String {
        let program =
            edit.program().and_then(|name| self.programs.iter().find(|program| program.name == name));
        match program {
            Some(program) => format!("{edit}: {}", program.command.join(" ")),
            None => edit.to_string(),
        }
    }
}

impl Results {
    /// Returns whether the run ended before everything was judged.
    pub(super) fn interrupted(&self) -> bool {
        self.judged < self.of
    }

    /// Returns a row for each edit and each length that has a marked text.
    pub(super) fn rows(&self, edits: &[Edit], lengths: &[u64], fprs: &[f64]) -> Vec<AttackRow> {
        let summary = |cell: &Cell| Summary::new(&cell.outcomes, cell.errors, fprs);
        let places = edits.iter().flat_map(|edit| lengths.iter().map(move |&length| (edit, length)));
        let rows = places.zip(self.cells.chunks_exact(Side::ALL.len()));
        rows.filter(|(_, cells)| cells[0].outcomes.len() as u64 + cells[0].errors > 0)
            .map(|((edit, length), cells)| {
                AttackRow::new(edit, length, summary(&cells[0]), summary(&cells[1]))
            })
            .collect()
    }
}
