//! `wmgen perplexity`.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use wmdetect::id_list;
use wmgen::model::first_non_finite;

use super::args::PerplexityArgs;
use super::{print, print_json, read_text};

/// Positions whose logits are held at once: 256,000 entries each.
const CHUNK: usize = 16;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    tokens: usize,
    mean_nll: f64,
    perplexity: f64,
    token_logprobs: Vec<f64>,
}

pub(super) fn run(args: &PerplexityArgs) -> Result<()> {
    let text = read_text(&args.file)?;
    let tokenizer = args.model.open_tokenizer()?;
    let mut ids: Vec<u32> =
        if args.tokens { id_list::parse(text.as_bytes())? } else { tokenizer.encode(&text)?.ids };
    // `<bos>` stands in front exactly once and is not scored.
    if let Some(bos) = tokenizer.bos()
        && ids.first() != Some(&bos)
    {
        ids.insert(0, bos);
    }
    if ids.len() < 2 {
        bail!("the text has no token to score; expected at least one besides <bos>");
    }
    let loaded = args.model.load(tokenizer)?;
    let mut cache = loaded.model.new_cache(1);
    let mut token_logprobs = Vec::with_capacity(ids.len() - 1);
    loaded.model.visit_logits(
        &[&ids[..ids.len() - 1]],
        &mut cache,
        CHUNK,
        |first, logits| -> Result<()> {
            for (i, row) in logits.squeeze(0)?.to_vec2::<f32>()?.iter().enumerate() {
                if let Some(token) = first_non_finite(row) {
                    bail!(
                        "the logit of token {token} after position {} is not finite: damaged weights?",
                        first + i
                    );
                }
                let id = ids[first + i + 1];
                let logit = row.get(id as usize).copied();
                let logit = logit
                    .with_context(|| format!("token id {id} is outside the vocabulary of {}", row.len()))?;
                token_logprobs.push(f64::from(logit) - log_sum_exp(row));
            }
            Ok(())
        },
    )?;
    let tokens = token_logprobs.len();
    let mean_nll = -token_logprobs.iter().sum::<f64>() / tokens as f64;
    let report = Report { schema_version: 1, tokens, mean_nll, perplexity: mean_nll.exp(), token_logprobs };
    if args.json {
        return print_json(&report);
    }
    let line =
        format!("perplexity {:.4} a token ({tokens} tokens, {:.6} nats each)\n", report.perplexity, mean_nll);
    Ok(print(line.as_bytes())?)
}

/// ln Σ e^logit: what turns a logit into a log-probability, in nats.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum::<f64>().ln()
}
