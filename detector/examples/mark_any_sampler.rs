//! Marks the output of somebody else's sampler. It needs only candidate tokens with their probabilities.
//!
//! `cargo run -p wmdetect --example mark_any_sampler` draws 200 tokens from a made-up language model, marked and unmarked,
//! and prints the share of ones among their g-values.

use rand::{Rng, SeedableRng, rngs::StdRng};
use wmdetect::scheme::{Distribution, Key, Preset, TextGValues, Watermark};

/// Returns 50 candidates, most likely first. It stands for any model and any sampler.
fn next_token_candidates(rng: &mut StdRng) -> Distribution {
    let tokens = (0..50).map(|_| rng.random_range(0..256_000)).collect();
    let probabilities = (1..=50).map(|rank| 1.0 / f64::from(rank)).collect();
    Distribution::from_probabilities(tokens, probabilities).expect("probabilities are positive")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = Key::generate(Preset::default())?;
    let watermark = Watermark::new(key.prf());
    let prompt = [2, 1841, 603];
    for marked in [false, true] {
        let mut rng = StdRng::seed_from_u64(1);
        // A number for each response, which chooses its channel.
        let random = rng.random();
        let mut marking = watermark.start(&prompt, random);
        let mut response = Vec::new();
        for _ in 0..200 {
            // Your sampler comes first: temperature, top-k, top-p, penalties. The mark comes last, right before the
            // draw.
            let mut candidates = next_token_candidates(&mut rng);
            if marked {
                marking.apply(&mut candidates);
            }
            let token = candidates.draw(rng.random());
            marking.push(token);
            response.push(token);
        }
        let prf = key.prf().in_channel(watermark.channel(random).unwrap_or(0));
        let text = TextGValues::new(&prf, &prompt, &response);
        let (ones, tokens) = text.scored().fold((0, 0), |(ones, n), g| (ones + g.0.count_ones(), n + 1));
        let share = f64::from(ones) / f64::from(tokens * 30);
        let line = format!(
            "{} text: {share:.3} of the g-values are 1 (0.5 without the mark)\n",
            if marked { "marked" } else { "plain" }
        );
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())?;
    }
    Ok(())
}
