//! `wmgen perplexity`.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::counted::counted;
use wmdetect::id_list;
use wmdetect::shell::ProgressLine;
use wmgen::model::{Gemma, first_non_finite};

use super::args::PerplexityArgs;
use super::{print, print_json, read_text};

/// Number of positions whose logits are held at once: 256,000 entries each.
const CHUNK: usize = 16;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Version of this object, 1.
    schema_version: u32,
    /// Tokens that were scored: all but `<bos>`.
    tokens: usize,
    /// Mean negative log-probability of a token, in nats.
    mean_nll: f64,
    /// Exponential of the mean.
    perplexity: f64,
    /// Tokens of a window.
    window: usize,
    /// Tokens by which the window moves on.
    stride: usize,
    /// Number of windows.
    windows: usize,
    /// Log-probability of each scored token, in nats.
    token_logprobs: Vec<f64>,
}

pub(super) fn run(args: &PerplexityArgs) -> Result<()> {
    let text = read_text(&args.file)?;
    let tokenizer = args.model.open_tokenizer()?;
    let ids: Vec<u32> =
        if args.tokens { id_list::parse(text.as_bytes())? } else { tokenizer.encode(&text)?.ids };
    let bos = tokenizer.bos();
    // The token in front is not scored: `<bos>`, exactly once, or else the first token.
    let (front, text) = match (bos, ids.split_first()) {
        (Some(bos), Some((first, rest))) if *first == bos => (bos, rest),
        (Some(bos), _) => (bos, &ids[..]),
        (None, Some((first, rest))) => (*first, rest),
        (None, None) => (0, &ids[..]),
    };
    if text.is_empty() {
        bail!("the text has no token to score; expected at least one besides <bos>");
    }
    let loaded = args.model.load(tokenizer)?;
    let size = size(args, loaded.model.config().max_position)?;
    // Compute without rounding, because perplexity measures the text.
    let model = loaded.model.unrounded();
    let (mut windows, mut token_logprobs) = (0, Vec::with_capacity(text.len()));
    let mut line = ProgressLine::new("reading with the model", "tokens");
    for window in size.windows(text.len()) {
        // Every window begins with `<bos>`; a model that knows it does poorly without it.
        let front = if window.start == 0 || bos.is_some() { front } else { text[window.start - 1] };
        windows += 1;
        let new = token_logprobs.len() - window.start;
        score(&model, front, &text[window], new, |logprob| {
            token_logprobs.push(logprob);
            line.show(token_logprobs.len() as u64, text.len() as u64);
        })?;
    }
    drop(line);
    let tokens = token_logprobs.len();
    let mean_nll = -token_logprobs.iter().sum::<f64>() / tokens as f64;
    let (perplexity, Size { window, stride }) = (mean_nll.exp(), size);
    let report =
        Report { schema_version: 1, tokens, mean_nll, perplexity, window, stride, windows, token_logprobs };
    if args.json {
        return print_json(&report);
    }
    let in_windows = match windows {
        1 => String::new(),
        _ => format!(", read in {windows} windows of {window} that move on by {stride}"),
    };
    let line = format!(
        "perplexity {perplexity:.4} a token ({}, {mean_nll:.6} nats each{in_windows})\n",
        counted(tokens as u64, "token")
    );
    Ok(print(line.as_bytes())?)
}

/// How a text is cut into windows, as in Hugging Face's guide to the perplexity of models with a fixed length. Windows
/// have one size and move on by a stride. In each, only the tokens are scored that the window before has not reached.
#[derive(Clone, Copy)]
struct Size {
    window: usize,
    stride: usize,
}

impl Size {
    /// Cuts a text of `len` tokens into windows.
    fn windows(self, len: usize) -> impl Iterator<Item = Range<usize>> {
        let Self { window, stride } = self;
        let count = 1 + len.saturating_sub(window).div_ceil(stride);
        (0..count).map(move |index| index * stride..(index * stride + window).min(len))
    }
}

fn size(args: &PerplexityArgs, context: usize) -> Result<Size> {
    let window = args.window.unwrap_or(context);
    if !(1..=context).contains(&window) {
        bail!("--window is {window}, expected 1 to {context}, the model's context");
    }
    let stride = args.stride.unwrap_or(window.div_ceil(2));
    if !(1..=window).contains(&stride) {
        bail!("--stride is {stride}, expected 1 to {window}, the size of a window");
    }
    Ok(Size { window, stride })
}

/// Passes the log-probabilities of a window's tokens from `new` on to `take`; `front` precedes the window.
fn score(model: &Gemma, front: u32, window: &[u32], new: usize, mut take: impl FnMut(f64)) -> Result<()> {
    // The logits after a token are for the next one, so the last token need not be read.
    let read = [&[front], &window[..window.len() - 1]].concat();
    let mut cache = model.new_cache(1);
    if new > 0 {
        model.forward(&[&read[..new]], &mut cache)?;
    }
    model.visit_logits(&[&read[new..]], &mut cache, CHUNK, |first, logits| -> Result<()> {
        for (i, row) in logits.squeeze(0)?.to_vec2::<f32>()?.iter().enumerate() {
            let position = new + first + i;
            if let Some(token) = first_non_finite(row) {
                bail!("the logit of token {token} after position {position} is not finite: damaged weights?");
            }
            let id = window[position];
            let logit = row.get(id as usize).copied();
            let logit =
                logit.with_context(|| format!("token id {id} is outside the vocabulary of {}", row.len()))?;
            take(f64::from(logit) - log_sum_exp(row));
        }
        Ok(())
    })
}

/// Returns ln Σ e^logit, which turns a logit into a log-probability, in nats.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the guide's own loop.
    #[test]
    fn windows_are_those_of_the_guide() {
        for (window, stride, len) in [(8, 4, 1), (8, 4, 8), (8, 4, 9), (8, 3, 40), (5, 5, 12), (7, 1, 20)] {
            let mut want = Vec::new();
            for begin in (0..len).step_by(stride) {
                let end = (begin + window).min(len);
                want.push(begin..end);
                if end == len {
                    break;
                }
            }
            assert_eq!(Size { window, stride }.windows(len).collect::<Vec<_>>(), want);
        }
    }
}
