//! The stages before the mark. Each takes logits and leaves logits.

use super::Candidates;

/// Makes tokens that came up before less likely (Keskar et al. 2019, as in `transformers`): a positive logit is divided
/// by `penalty`, a negative one multiplied. `seen` may name a token several times; it is penalised once.
pub fn repeat_penalty(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut tokens = seen.to_vec();
    tokens.sort_unstable();
    tokens.dedup();
    for token in tokens {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

/// Divides the logits by `temperature` > 0.
pub fn temperature(candidates: &mut Candidates, temperature: f64) {
    for (_, logit) in &mut candidates.entries {
        *logit = (f64::from(*logit) / temperature) as f32;
    }
}

/// Keeps the fewest most likely candidates whose probabilities sum to at least `p`; at least one stays.
pub fn top_p(candidates: &mut Candidates, p: f64) {
    if p >= 1.0 {
        return;
    }
    let Some(&(_, max)) = candidates.entries.first() else { return };
    let weight = |logit: f32| (f64::from(logit) - f64::from(max)).exp();
    let total: f64 = candidates.entries.iter().map(|entry| weight(entry.1)).sum();
    let mut sum = 0.0;
    let mut keep = 0;
    for entry in &candidates.entries {
        if sum >= p * total {
            break;
        }
        sum += weight(entry.1);
        keep += 1;
    }
    candidates.entries.truncate(keep.max(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(candidates: &Candidates) -> Vec<u32> {
        candidates.entries().iter().map(|entry| entry.0).collect()
    }

    #[test]
    fn top_p_keeps_the_smallest_sufficient_set() {
        // Probabilities 0.5, 0.3, 0.2.
        let logits = [0.2f32.ln(), 0.5f32.ln(), 0.3f32.ln()];
        for (p, expected) in
            [(0.4, &[1][..]), (0.6, &[1, 2]), (0.9, &[1, 2, 0]), (1.0, &[1, 2, 0]), (1e-9, &[1])]
        {
            let mut candidates = Candidates::most_likely(&logits, 0).unwrap();
            top_p(&mut candidates, p);
            assert_eq!(tokens(&candidates), expected, "p = {p}");
        }
    }

    /// candle's own penalty is sound; ours must agree with it.
    #[test]
    fn the_penalty_is_candles() {
        let mut logits = vec![1.5f32, -2.0, 0.0, 4.0];
        let tensor = candle_core::Tensor::new(logits.as_slice(), &candle_core::Device::Cpu).unwrap();
        let expected = candle_transformers::utils::apply_repeat_penalty(&tensor, 1.3, &[1, 3, 3, 0]).unwrap();
        repeat_penalty(&mut logits, &[1, 3, 3, 0], 1.3);
        assert_eq!(logits, expected.to_vec1::<f32>().unwrap());
    }
}
