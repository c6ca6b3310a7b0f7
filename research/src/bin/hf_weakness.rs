//! How weak is `synthid-hf`? One text made without the key, under many random keys.
//!
//! `cargo run -p wmgen-research --bin hf_weakness -- [TOKENS] [KEYS]` (20,000 and 5,000: two minutes)
//!
//! The hash of an n-gram is a linear congruence, so that the entry of the public table that layer l reads is
//! u + A·key_l modulo 2^16, where u depends on the n-gram alone and A is the multiplier. Nobody needs the key to choose
//! n-grams by u. The text here takes those u at which the table has ones for many of 30 shifts at once, each u once: a
//! layer whose shift is one of the 30 gives far too many ones, and no repetition shows. A text of random tokens is its
//! control.

#![allow(clippy::print_stdout, reason = "the table is its output")]

use std::error::Error;

use wmdetect::scheme::{Key, SamplingTable, Secret, TextGValues, synthid};
use wmdetect::split_mix;
use wmdetect::statistics::{Mean, Sample, Statistic, WeightedMean};

/// The hash's multiplier, modulo 2^16.
const MULTIPLIER: u16 = 6_364_136_223_846_793_005_u64 as u16;
/// States that a table entry is chosen by.
const STATES: usize = 1 << 16;
/// Shifts that the text is made for.
const SHIFTS: usize = 30;
const DEPTH: u8 = 30;

fn step(hash: u16, data: u32) -> u16 {
    hash.wrapping_add(data as u16).wrapping_mul(MULTIPLIER).wrapping_add(1)
}

fn key(layer_keys: &[i64]) -> Result<Key, wmdetect::scheme::KeyError> {
    let secret: Vec<u8> = layer_keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    let table = SamplingTable::Seeded { size: STATES as u32, seed: 0 };
    let depth = layer_keys.len() as u8;
    Key::new(
        synthid::Hf { depth, ngram_len: 5, context_history_size: 1024, table },
        Secret::new(secret.into()),
    )
}

/// The default table, read through a key of one layer, whose shift is 0.
fn table() -> Result<Vec<bool>, Box<dyn Error>> {
    let prf = key(&[0])?.prf();
    let context = prf.context(&[0; 4]);
    let start = (0..4).fold(1, |hash, _| step(hash, 0));
    let mut table = vec![false; STATES];
    for token in 0..STATES as u32 {
        table[usize::from(step(step(start, token), 0))] = context.g_bits(token).0 & 1 == 1;
    }
    Ok(table)
}

/// Token ids whose n-grams are at entries that are best for all shifts together.
fn text(table: &[bool], tokens: usize, state: &mut u64) -> Vec<u32> {
    let shifts: Vec<u16> = (0..SHIFTS).map(|_| split_mix::next(state) as u16).collect();
    let gain = |u: u16| shifts.iter().filter(|&&shift| table[usize::from(u.wrapping_add(shift))]).count();
    let mut entries: Vec<u16> = (0..=u16::MAX).collect();
    entries.sort_by_key(|&u| std::cmp::Reverse(gain(u)));
    let mut wanted = vec![false; STATES];
    entries[..tokens].iter().for_each(|&u| wanted[usize::from(u)] = true);
    let mut ids: Vec<u32> = (0..4).map(|_| random_id(state)).collect();
    while ids.len() < tokens + 4 {
        let hash = ids[ids.len() - 4..].iter().fold(1, |hash, &id| step(hash, id));
        let (id, u) = std::iter::repeat_with(|| random_id(state))
            .map(|id| (id, usize::from(step(step(hash, id), 0))))
            .find(|&(_, u)| wanted[u])
            .expect("some token leads to each entry");
        wanted[u] = false;
        ids.push(id);
    }
    ids
}

/// Any ordinary id of Gemma's.
fn random_id(state: &mut u64) -> u32 {
    300 + (split_mix::next(state) % 250_000) as u32
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>());
    let tokens = numbers.next().transpose()?.unwrap_or(20_000);
    let keys = numbers.next().transpose()?.unwrap_or(5_000);
    if !(1..STATES).contains(&tokens) || keys == 0 {
        return Err(
            format!("expected 1 to {} tokens and a key, found {tokens} and {keys}", STATES - 1).into()
        );
    }
    let mut state = 1;
    let made = text(&table()?, tokens, &mut state);
    let control: Vec<u32> = (0..made.len()).map(|_| random_id(&mut state)).collect();
    let depth = usize::from(DEPTH);
    let statistics: [(&str, Box<dyn Statistic>); 2] =
        [("mean", Box::new(Mean::new(depth))), ("weighted mean", Box::new(WeightedMean::new(depth)))];
    println!(
        "| text | scored | statistic | p < 1e-3 | p < 1e-6 | p < 1e-12 | least log10 p |\n|---|---|---|---|---|---|---|"
    );
    for (name, ids) in [("made", &made), ("random", &control)] {
        let mut found: Vec<Vec<f64>> = vec![Vec::new(); statistics.len()];
        let mut scored = 0;
        for _ in 0..keys {
            let layer_keys: Vec<i64> =
                (0..depth).map(|_| (split_mix::next(&mut state) >> 33) as i64).collect();
            let values = TextGValues::new(&key(&layer_keys)?.prf(), &[], ids);
            let sample = Sample::scored(&values);
            scored = sample.tokens().tokens();
            for (found, (_, statistic)) in found.iter_mut().zip(&statistics) {
                let p = statistic.evaluate(sample)?.p.expect("tokens are scored");
                found.push(p.log10);
            }
        }
        for ((statistic, _), found) in statistics.iter().zip(&found) {
            let share = |level: f64| found.iter().filter(|&&p| p < level).count() as f64 / keys as f64;
            let least = found.iter().copied().fold(0.0, f64::min);
            println!(
                "| {name} | {scored} | {statistic} | {:.4} | {:.4} | {:.4} | {least:.1} |",
                share(-3.0),
                share(-6.0),
                share(-12.0)
            );
        }
    }
    Ok(())
}
