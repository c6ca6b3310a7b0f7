//! The table of the exact likelihood ratio, from the rows that `verify_study` wrote.
//!
//! `cargo run --release -p wmgen-research --bin verify_table -- [channels=R] ROWS.jsonl…`
//!
//! For each file, kind of text (temperature and mode), temperature of the verifier and number of tokens: the share of texts with p at most 1 %, 0.1 % and
//! 1e-6, with Wilson's 95 % intervals over texts. `own` is the temperature that the text was written at, `without doubt` the
//! same statistic if the model were right everywhere, `E alone` without the share of the text-only p-value, `text only` that
//! p-value by itself. With `channels=R` p is multiplied by R, as for a key of R channels whose receipt is not known.

use std::collections::BTreeMap;
use std::error::Error;
use std::f64::consts::LN_10;
use std::io::Write;

use serde::Deserialize;
use wmdetect::model_ratio::{Doubt, Grid, ModelRatio, TokenRatios};
use wmdetect::scheme::DEFAULT_NGRAM_LEN;
use wmdetect::statistics::internals::lattice;
use wmdetect::statistics::{Llr, Profile, Scored, Statistic as _};

const LEVELS: [f64; 3] = [1e-2, 1e-3, 1e-6];
/// Tokens after which the statistics are looked at, as in the study.
const LENGTHS: [usize; 6] = [10, 25, 50, 100, 200, 400];

#[derive(Deserialize)]
struct Row {
    temperature: f64,
    mode: String,
    temperatures: Vec<f64>,
    scored: Vec<bool>,
    /// Rows of earlier studies have none: it was `scored`.
    #[serde(default)]
    scored_by_text: Vec<bool>,
    /// Rows of earlier studies have none: all contexts had four tokens.
    #[serde(default)]
    context_lens: Vec<usize>,
    ln_text: Vec<f64>,
    ln_ratios: Vec<Vec<f64>>,
    surprisals: Vec<Vec<Option<f64>>>,
    #[serde(default)]
    rank_p: Vec<f64>,
}

impl Row {
    fn is_like(&self, other: &Self) -> bool {
        self.temperature == other.temperature && self.mode == other.mode
    }

    /// The lengths that the text reaches.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let tokens = self.scored.len();
        LENGTHS.into_iter().filter(move |&length| length <= tokens)
    }

    fn scored_in(&self, length: usize) -> usize {
        self.scored[..length].iter().filter(|&&scored| scored).count()
    }

    /// What the key says of each token under these of the temperatures.
    fn tokens(&self, settings: &[usize]) -> Vec<Option<TokenRatios>> {
        let model = |t: usize, setting: usize| {
            self.surprisals[setting][t].map_or(ModelRatio::NO_CANDIDATE, |surprisal| ModelRatio {
                p: (-surprisal).exp(),
                ln_ratio: self.ln_ratios[setting][t],
            })
        };
        let ratios = |t: usize| TokenRatios {
            context_len: self.context_lens.get(t).copied().unwrap_or(DEFAULT_NGRAM_LEN - 1),
            model: settings.iter().map(|&setting| model(t, setting)).collect(),
            text: self.ln_text[t].exp(),
        };
        (0..self.scored.len()).map(|t| self.scored[t].then(|| ratios(t))).collect()
    }

    /// ln E after each token, under these of the temperatures.
    fn ln_e(&self, settings: &[usize], grid: &Grid) -> Vec<f64> {
        let tokens = self.tokens(settings);
        grid.ln_e(settings.len(), tokens.iter().map(Option::as_ref))
    }

    /// log₁₀ of the text-only p-value of the first `length` tokens.
    fn log10_p_text(&self, length: usize) -> f64 {
        let counts = |t: usize| self.scored[t] && self.scored_by_text.get(t).is_none_or(|&counts| counts);
        let counting = || (0..length).filter(|&t| counts(t));
        let tokens = counting().count() as u64;
        let sum = counting().map(|t| i64::from(lattice(self.ln_text[t].exp()))).sum();
        Llr::new(Profile::pooled().clone()).p_value(Scored::full(tokens), sum).map_or(0.0, |p| p.log10)
    }
}

/// log₁₀ of 1 / max E up to `length`.
fn log10_p(ln_e: &[f64], length: usize) -> f64 {
    -ln_e[..length].iter().copied().fold(0.0, f64::max) / LN_10
}

fn main() -> Result<(), Box<dyn Error>> {
    let (channels, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("channels="));
    let channels: f64 = channels.first().map_or(Ok(1.0), |arg| arg["channels=".len()..].parse())?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| T | input | verified at | tokens | scored | texts | 1 % | 0.1 % | 1e-6 | median log10 p |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    let context_len = DEFAULT_NGRAM_LEN - 1;
    // Each file's rows by kind, kinds in the order in which they come.
    let mut kinds: Vec<Vec<Row>> = Vec::new();
    for file in files {
        let before = kinds.len();
        for line in std::fs::read_to_string(file)?.lines() {
            let row: Row = serde_json::from_str(line)?;
            let same = |kind: &&mut Vec<Row>| kind.first().is_some_and(|first| first.is_like(&row));
            match kinds[before..].iter_mut().find(same) {
                Some(kind) => kind.push(row),
                None => kinds.push(vec![row]),
            }
        }
    }
    for rows in kinds {
        let Some(first) = rows.first() else { continue };
        let own = first
            .temperatures
            .iter()
            .position(|&temperature| temperature == first.temperature)
            .ok_or("the temperature of the text is none that it was read at")?;
        let prompted = first.mode == "ids";
        let grid = if prompted { Grid::new(context_len) } else { Grid::without_prompt(context_len) };
        let trusting = grid.clone().with_doubts(vec![(1.0, Doubt::NONE)]);
        let all: Vec<usize> = (0..first.temperatures.len()).collect();
        // For each verifier and length the log10 p and the scored tokens of every text.
        let mut cells: BTreeMap<(String, usize), Vec<(f64, usize)>> = BTreeMap::new();
        for row in &rows {
            let mut add = |name: &str, log10_p: &dyn Fn(usize, usize) -> f64| {
                for (index, length) in row.lengths().enumerate() {
                    let cell = cells.entry((name.into(), length)).or_default();
                    cell.push((log10_p(index, length), row.scored_in(length)));
                }
            };
            // Without the prompt the text-only p-value has half of the level, as in `wmgen verify`.
            let with_text = |log10_p: f64, length: usize| {
                if prompted {
                    log10_p
                } else {
                    (log10_p.min(row.log10_p_text(length)) + 2_f64.log10()).min(0.0)
                }
            };
            let mut test = |name: &str, settings: &[usize], grid: &Grid, combined: bool| {
                let ln_e = row.ln_e(settings, grid);
                add(name, &|_, length| {
                    let log10_p = log10_p(&ln_e, length);
                    if combined { with_text(log10_p, length) } else { log10_p }
                });
            };
            for &setting in &all {
                let temperature = row.temperatures[setting].to_string();
                test(if setting == own { "own" } else { &temperature }, &[setting], &grid, true);
            }
            test("mixed", &all, &grid, true);
            test("mixed, E alone", &all, &grid, false);
            test("own, without doubt", &[own], &trusting, false);
            test("mixed, without doubt", &all, &trusting, false);
            let product = row.ln_e(&[own], &Grid::unedited(context_len));
            add("own, plain product at its end", &|_, length| -product[length - 1].max(0.0) / LN_10);
            add("text only", &|_, length| row.log10_p_text(length));
            if !row.rank_p.is_empty() {
                add("own, rank among random keys", &|index, _| row.rank_p[index].log10());
            }
        }
        for ((name, length), mut p) in cells {
            p.sort_by(|a, b| a.0.total_cmp(&b.0));
            let scored = p.iter().map(|p| p.1).sum::<usize>() as f64 / p.len() as f64;
            let (temperature, mode) = (first.temperature, &first.mode);
            write!(out, "| {temperature} | {mode} | {name} | {length} | {scored:.1} | {} |", p.len())?;
            for level in LEVELS {
                let found = p.iter().filter(|p| p.0 <= (level / channels).log10() + 1e-12).count();
                let (low, high) = wmgen_research::wilson(found, p.len());
                write!(out, " {:.3} ({low:.3}–{high:.3}) |", found as f64 / p.len() as f64)?;
            }
            writeln!(out, " {:.2} |", p[p.len() / 2].0)?;
        }
    }
    Ok(())
}
