//! Peak resident memory of loading and running a model, without a tokenizer (Linux).
//!
//! `cargo run --release -p wmgen-research --bin memory -- MODEL TOKENS` decodes TOKENS greedily and compares `VmHWM` with the size of
//! the weight files and of the cache.

use std::error::Error;
use std::io::Write;

use wmgen::model::{Gemma, LoadOptions, Summary};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, tokens] = &args[..] else { return Err("expected two arguments: MODEL TOKENS".into()) };
    let file = Summary::open(path)?.file_bytes as f64;
    let model = Gemma::load(path, LoadOptions::default())?;
    let mut cache = model.new_cache(1);
    let mut id = model.config().bos.unwrap_or(0);
    for _ in 0..tokens.parse::<usize>()? {
        let logits = model.forward(&[[id]], &mut cache)?.squeeze(0)?;
        id = logits.argmax(0)?.to_scalar::<u32>()?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find(|line| line.starts_with("VmHWM")).ok_or("no VmHWM in the process's status")?;
    let peak = 1024.0 * line.split_whitespace().nth(1).ok_or("an empty VmHWM")?.parse::<f64>()?;
    let expected = file + cache.bytes() as f64;
    let ratio = peak / expected;
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let line =
        format!("peak {:.1} MiB, file and cache {:.1} MiB, ratio {ratio:.3}\n", mib(peak), mib(expected));
    Ok(std::io::stdout().write_all(line.as_bytes())?)
}
