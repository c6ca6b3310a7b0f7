//! Measures how fast a model runs on this machine, with and without the mark, and how fast its weights alone can be read.

mod drafts;
mod report;
mod runs;

pub use drafts::{DraftSettings, Guesses};
pub use report::{
    BenchDecode, BenchDepth, BenchDraft, BenchModel, BenchRead, BenchReport, BenchSampling, BenchWatermark,
    Spread,
};

use std::collections::BTreeMap;
use std::time::Instant;

use rayon::prelude::*;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::scheme::{Key, KeyError, Preset};

use self::runs::Bench;
use crate::engine::RequestError;
use crate::kernels::loops::sum_of_words;
use crate::model::{self, Gemma, LoadOptions, Weights};
use crate::sample::{SampleError, Sampling};

/// Settings of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Number of tokens in a prefill.
    pub prefill: usize,
    /// Number of tokens in a decode run.
    pub decode: usize,
    /// Numbers of positions in the KV cache before each run.
    pub depth: Vec<usize>,
    /// Numbers of sequences that decode together.
    pub batch: Vec<usize>,
    /// Number of runs of each kind, after one that does not count.
    pub repetitions: usize,
    /// Sampling settings. The seed also chooses the prompts.
    pub sampling: Sampling,
}

/// Errors from benchmarks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// There is nothing to measure.
    #[error("{name} is 0, expected at least 1")]
    Zero {
        /// Name of the setting.
        name: &'static str,
    },
    /// The model has no room for a run.
    #[error("depth {depth} needs {needed} positions, the model has {limit}")]
    Context {
        /// Depth of the run.
        depth: usize,
        /// Number of positions of a run at this depth.
        needed: usize,
        /// Number of positions of the model.
        limit: usize,
    },
    /// The model cannot be used, or failed.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The sampling settings are out of range, or the logits do not define a distribution.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The system gave no randomness for a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The engine did not take a prompt.
    #[error("a prompt cannot be answered: {0}")]
    Request(#[from] RequestError),
    /// A text could not be written.
    #[error("a text broke off: {0}")]
    Response(String),
}

impl Settings {
    /// Checks the settings. This needs no model.
    ///
    /// # Errors
    /// Returns an error if a number of tokens, sequences or runs is 0, or a sampling setting is out of range.
    pub fn check(&self) -> Result<(), BenchError> {
        self.sampling.check(true)?;
        let batch = self.batch.iter().copied().min().unwrap_or(0);
        let numbers = [
            ("prefill", self.prefill),
            ("decode", self.decode),
            ("repetitions", self.repetitions),
            ("batch", batch),
        ];
        match numbers.into_iter().find(|(_, number)| *number == 0) {
            Some((name, _)) => Err(BenchError::Zero { name }),
            None => Ok(()),
        }
    }

    fn check_room(&self, limit: usize) -> Result<(), BenchError> {
        for &depth in &self.depth {
            let needed = depth.saturating_add(self.prefill.max(self.decode));
            if needed > limit {
                return Err(BenchError::Context { depth, needed, limit });
            }
        }
        Ok(())
    }
}

/// Measures the model in `weights`, on the threads of the current pool. `name` is its name in the report, and `random` says
/// whether its weights were made for the run. `before` is called with each depth before its runs. `drafts` are measured after the
/// depths.
///
/// # Errors
/// Returns the errors of [`Settings::check`]. Also returns an error if the model has no room for a depth, or cannot be loaded or
/// run.
pub fn run(
    weights: &Weights,
    name: &str,
    random: bool,
    settings: &Settings,
    mut before: impl FnMut(usize),
    drafts: &[DraftSettings],
) -> Result<BenchReport, BenchError> {
    settings.check()?;
    settings.check_room(weights.config().max_position)?;
    let model = Gemma::new(weights.config().clone(), weights, LoadOptions::default())?;
    let read = sweep(&model.matrix_memory(), settings.repetitions);
    let key = Key::generate(Preset::default())?;
    let mut bench = Bench::new(&model, settings, &key);
    let depths = settings.depth.iter().map(|&depth| {
        before(depth);
        bench.at(depth, read.bound)
    });
    let depths = depths.collect::<Result<Vec<_>, _>>()?;
    let Settings { sampling, .. } = settings;
    let drafts = drafts.iter().map(|settings| drafts::run(&model, settings));
    let drafts = drafts.collect::<Result<Vec<_>, _>>()?.concat();
    Ok(BenchReport {
        schema_version: SCHEMA_VERSION,
        model: describe(weights, name, random),
        threads: rayon::current_num_threads() as u64,
        prefill_tokens: settings.prefill as u64,
        decode_tokens: settings.decode as u64,
        repetitions: settings.repetitions as u64,
        sampling: BenchSampling {
            temperature: sampling.temperature,
            top_k: sampling.top_k as u64,
            top_p: sampling.top_p,
        },
        watermark: BenchWatermark {
            scheme: key.scheme().name().into(),
            depth: key.scheme().depth() as u64,
            ngram_len: key.scheme().ngram_len() as u64,
        },
        read,
        depths,
        drafts,
        peak_resident_bytes: peak_resident_bytes(),
    })
}

fn describe(weights: &Weights, name: &str, random: bool) -> BenchModel {
    let mut formats = BTreeMap::<_, u64>::new();
    let (mut parameters, mut weight_bytes) = (0, 0);
    for (_, info) in weights.tensors() {
        let numbers = info.shape.iter().product::<usize>() as u64;
        parameters += numbers;
        weight_bytes += info.len as u64;
        *formats.entry(info.format.name()).or_default() += numbers;
    }
    let format = formats.into_iter().max_by_key(|(_, numbers)| *numbers).map_or("", |(name, _)| name);
    BenchModel { name: name.into(), format: format.into(), random, parameters, weight_bytes }
}

/// Reads all weights from the memory that a decode step reads, with all threads, several times. The first time does not count,
/// because it may wait for the disk.
fn sweep(matrices: &[&[u8]], repetitions: usize) -> BenchRead {
    /// Number of bytes that a thread reads at a time.
    const PART: usize = 1 << 20;
    let parts: Vec<&[u8]> = matrices.iter().flat_map(|matrix| matrix.chunks(PART)).collect();
    let bytes = matrices.iter().map(|matrix| matrix.len()).sum::<usize>() as f64;
    let once = || {
        let start = Instant::now();
        let sum = parts.par_iter().map(|part| sum_of_words(part)).reduce(|| 0, u64::wrapping_add);
        std::hint::black_box(sum);
        bytes / start.elapsed().as_secs_f64() / 1e9
    };
    once();
    let rates: Vec<f64> = (0..repetitions).map(|_| once()).collect();
    let gigabytes_per_second = Spread::of(&rates);
    BenchRead { gigabytes_per_second, bound: gigabytes_per_second.median * 1e9 / bytes }
}

/// Returns the kernel's count of the largest resident memory of the process.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            prefill: 4,
            decode: 3,
            depth: vec![0, 5],
            batch: vec![1, 2],
            repetitions: 1,
            sampling: Sampling::default(),
        }
    }

    #[test]
    fn what_measures_nothing_is_refused() {
        let zero =
            |name| move |error: &BenchError| matches!(error, BenchError::Zero { name: n } if *n == name);
        assert!(zero("batch")(&Settings { batch: vec![1, 0], ..settings() }.check().unwrap_err()));
        assert!(zero("batch")(&Settings { batch: vec![], ..settings() }.check().unwrap_err()));
        assert!(zero("decode")(&Settings { decode: 0, ..settings() }.check().unwrap_err()));
        assert!(matches!(
            settings().check_room(8),
            Err(BenchError::Context { depth: 5, needed: 9, limit: 8 })
        ));
        settings().check_room(9).unwrap();
    }
}
