//! Rules for which tokens key a position, those of the product and others, for the studies that compare them.
//!
//! The rules of `synthid-sha256` and `synthid-sha256-v2` are here once more, in few lines, so that all rules are compared by
//! the same code; a test holds them to the product's. The keyed function is another one, since only its law matters.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Layers of the tournament.
pub const DEPTH: usize = 30;

/// Which tokens key a position, and how many channels a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    contexts: Kind,
    /// R.
    pub channels: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The last H tokens, if they were no context before.
    Whole(usize),
    /// The shortest run of last tokens that was no context before.
    Shortest { shortest: usize, longest: usize },
    /// The shortest run of last tokens that did not come up in the last `window` positions, if it was no context before.
    Windowed { shortest: usize, longest: usize, window: usize },
    /// Layer ℓ takes the last 1 + ℓ mod 4 tokens, if they were no context of these layers before.
    Layered,
    /// The last token, and how often it has come up.
    Counted,
}

/// Reads `secret`, `A-B/R`, `A-B:W/R` with the window W, `layered/R` or `counted/R`.
impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected secret, A-B/R, A-B:W/R, layered/R or counted/R, found {text}");
        if text == "secret" {
            return Ok(Self { contexts: Kind::Whole(4), channels: 1 });
        }
        let (contexts, channels) = text.split_once('/').ok_or_else(wrong)?;
        let channels = channels.parse().map_err(|_| wrong())?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let contexts = match contexts {
            "layered" => Kind::Layered,
            "counted" => Kind::Counted,
            lengths => {
                let (lengths, window) = match lengths.split_once(':') {
                    Some((lengths, window)) => (lengths, Some(number(window)?)),
                    None => (lengths, None),
                };
                let (shortest, longest) = lengths.split_once('-').ok_or_else(wrong)?;
                let (shortest, longest) = (number(shortest)?, number(longest)?);
                if !(1..=longest).contains(&shortest) || longest > 4 {
                    return Err(wrong());
                }
                match window {
                    None => Kind::Shortest { shortest, longest },
                    Some(window) => Kind::Windowed { shortest, longest, window },
                }
            }
        };
        Ok(Self { contexts, channels })
    }
}

/// What keys some layers of a position: the number of tokens, or how often the one token has come up, and the tokens.
pub type Context = (u32, [u32; 4]);

/// Follows a response, and tells what keys its next position.
#[derive(Clone, Debug)]
pub struct Follower {
    kind: Kind,
    ids: Vec<u32>,
    taken: HashSet<Context>,
    /// Where each run of tokens came up last.
    last: HashMap<Context, usize>,
    counts: HashMap<u32, u32>,
    pairs: HashSet<(u32, u32)>,
}

impl Follower {
    /// Starts a response.
    pub fn new(rule: Rule) -> Self {
        Self {
            kind: rule.contexts,
            ids: Vec::new(),
            taken: HashSet::new(),
            last: HashMap::new(),
            counts: HashMap::new(),
            pairs: HashSet::new(),
        }
    }

    /// Returns the contexts of the next position and takes them: one for all layers, or, with n of them, one for each n-th
    /// layer. `None` stands for layers without a mark.
    pub fn contexts(&mut self) -> Vec<Option<Context>> {
        match self.kind {
            Kind::Whole(len) => vec![self.run(len).filter(|&context| self.taken.insert(context))],
            Kind::Shortest { shortest, longest } => {
                let mut runs = (shortest..=longest).filter_map(|len| self.run(len));
                vec![runs.find(|context| !self.taken.contains(context)).inspect(|context| {
                    self.taken.insert(*context);
                })]
            }
            Kind::Windowed { shortest, longest, window } => {
                let now = self.ids.len();
                let runs: Vec<Context> = (shortest..=longest).filter_map(|len| self.run(len)).collect();
                let away = |context: &Context| self.last.get(context).is_none_or(|last| now - last > window);
                let context = runs.iter().copied().find(away);
                self.last.extend(runs.iter().map(|&context| (context, now)));
                vec![context.filter(|&context| self.taken.insert(context))]
            }
            Kind::Layered => {
                (1..=4).map(|len| self.run(len).filter(|&context| self.taken.insert(context))).collect()
            }
            Kind::Counted => {
                let context = self.ids.last().map(|&token| (self.counts[&token], [token, 0, 0, 0]));
                vec![context]
            }
        }
    }

    /// The last `len` tokens.
    fn run(&self, len: usize) -> Option<Context> {
        let start = self.ids.len().checked_sub(len)?;
        let mut tokens = [0; 4];
        tokens[..len].copy_from_slice(&self.ids[start..]);
        Some((len as u32, tokens))
    }

    /// Appends a token, and tells whether a detector counts its position: under `synthid-sha256` always, under the other rules
    /// if its pair with the token before is new.
    pub fn push(&mut self, token: u32) -> bool {
        let pair = self.ids.last().map(|&before| (before, token));
        self.ids.push(token);
        *self.counts.entry(token).or_default() += 1;
        let new = pair.is_none_or(|pair| self.pairs.insert(pair));
        new || matches!(self.kind, Kind::Whole(_))
    }
}

/// A key in one channel.
#[derive(Clone, Debug)]
pub struct ChannelKey([u8; 32]);

impl ChannelKey {
    /// Returns channel `channel` of the key called `label`.
    pub fn new(label: &str, channel: u16) -> Self {
        Self(Sha256::digest(format!("{label} in channel {channel}")).into())
    }

    /// Returns the g-values of a token after a context; bit ℓ belongs to layer ℓ.
    pub fn bits(&self, context: &Context, token: u32) -> u32 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(context.0.to_le_bytes());
        context.1.iter().for_each(|id| hash.update(id.to_le_bytes()));
        hash.update(token.to_le_bytes());
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        u32::from_le_bytes([a, b, c, d]) & (u32::MAX >> (32 - DEPTH))
    }
}

/// Reweights the candidates by the two-leaf tournament: in each layer p(x) becomes p(x)·(1 + g(x) − Σ p g). Layer ℓ has
/// the bits `bits[ℓ mod n]` of each candidate; an empty list stands for a layer without a mark.
pub fn tournament(probabilities: &mut [f64], bits: &[Vec<u32>]) {
    for layer in 0..DEPTH {
        let bits = &bits[layer % bits.len()];
        if bits.is_empty() {
            continue;
        }
        let g = |bits: u32| f64::from(bits >> layer & 1);
        let expected: f64 = probabilities.iter().zip(bits).map(|(p, &bits)| p * g(bits)).sum();
        probabilities.iter_mut().zip(bits).for_each(|(p, &bits)| *p *= 1.0 + g(bits) - expected);
    }
}

/// What a text says for a key: how often each layer counts, and Σ weight · g over them.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    counted: [u32; DEPTH],
    sum: f64,
}

/// The weight of a layer: 10 at first, 1 at last, evenly spaced, as the weighted mean of the product has it.
fn weight(layer: usize) -> f64 {
    10.0 - 9.0 * layer as f64 / (DEPTH - 1) as f64
}

impl Evidence {
    /// Scores a text by what `bits` says of a token after a context.
    pub fn of(rule: Rule, ids: &[u32], mut bits: impl FnMut(&Context, u32) -> u32) -> Self {
        let mut follower = Follower::new(rule);
        let mut evidence = Self::default();
        for &id in ids {
            let contexts = follower.contexts();
            if !follower.push(id) {
                continue;
            }
            for (group, context) in contexts.iter().enumerate() {
                let Some(context) = context else { continue };
                let bits = bits(context, id);
                for layer in (group..DEPTH).step_by(contexts.len()) {
                    evidence.counted[layer] += 1;
                    evidence.sum += weight(layer) * f64::from(bits >> layer & 1);
                }
            }
        }
        evidence
    }

    /// Returns the number of positions, averaged over layers.
    pub fn positions(&self) -> f64 {
        self.counted.iter().sum::<u32>() as f64 / DEPTH as f64
    }

    /// Returns log₁₀ of the probability that fair coins reach this sum.
    pub fn log10_p(&self) -> f64 {
        let coins: Vec<(f64, f64)> =
            self.counted.iter().enumerate().map(|(layer, &n)| (weight(layer), f64::from(n))).collect();
        crate::log10_tail(&coins, self.sum)
    }
}

/// Returns log₁₀ of the corrected p over all channels of the key called `label`.
pub fn log10_p(rule: Rule, label: &str, ids: &[u32]) -> f64 {
    let channels = 0..rule.channels;
    let all = channels.map(|channel| {
        let key = ChannelKey::new(label, channel);
        Evidence::of(rule, ids, |context, token| key.bits(context, token))
    });
    // The channels have the same coins, so the largest sum has the smallest p.
    let best = all.max_by(|a, b| a.sum.total_cmp(&b.sum)).unwrap_or_default();
    (best.log10_p() + f64::from(rule.channels).log10()).min(0.0)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha12Rng;
    use wmdetect::scheme::{ContextLens, ContextRule, ContextStream};

    use super::*;

    #[test]
    fn the_products_rules_are_the_products() {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        for (name, rule) in [
            ("secret", ContextRule::Whole { len: 4 }),
            ("1-4/1", ContextRule::Shortest { shortest: 1, longest: 4 }),
            ("2-3/1", ContextRule::Shortest { shortest: 2, longest: 3 }),
        ] {
            for vocabulary in [2, 6, 500] {
                let ids: Vec<u32> = (0..300).map(|_| rng.random_range(0..vocabulary)).collect();
                let piece = ContextStream::new(rule, &[]).push(&ids);
                let mut follower = Follower::new(name.parse().unwrap());
                let (mut lens, mut counts) = (Vec::new(), Vec::new());
                for &id in &ids {
                    lens.push(follower.contexts()[0].map_or(0, |context| context.0 as u8));
                    counts.push(follower.push(id) && lens[lens.len() - 1] > 0);
                }
                let scored = piece.shares.iter().map(|share| share.thirds() >= 2).collect::<Vec<_>>();
                assert_eq!(counts[ids.len() - scored.len()..], scored);
                if let ContextLens::Each(expected) = piece.context_lens {
                    assert_eq!(lens[ids.len() - expected.len()..], expected);
                }
            }
        }
    }

    #[test]
    fn every_rule_marks_and_finds_its_own_key_alone() {
        let mut rng = ChaCha12Rng::seed_from_u64(4);
        for name in ["secret", "1-4/4", "2-4/1", "1-4:32/1", "layered/1", "counted/1"] {
            let rule: Rule = name.parse().unwrap();
            let key = ChannelKey::new("right", 0);
            let mut follower = Follower::new(rule);
            let ids: Vec<u32> = (0..100)
                .map(|_| {
                    let mut p = vec![1.0 / 50.0; 50];
                    let contexts = follower.contexts();
                    let bits: Vec<Vec<u32>> = contexts
                        .iter()
                        .map(|context| context.map_or(vec![], |c| (0..50).map(|y| key.bits(&c, y)).collect()))
                        .collect();
                    tournament(&mut p, &bits);
                    assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                    let mut u = rng.random::<f64>();
                    let id = p
                        .iter()
                        .position(|p| {
                            u -= p;
                            u < 0.0
                        })
                        .unwrap_or(49) as u32;
                    follower.push(id);
                    id
                })
                .collect();
            assert!(log10_p(rule, "right", &ids) < -10.0, "{name}");
            assert!(log10_p(rule, "wrong", &ids) > -4.0, "{name}");
        }
    }
}
