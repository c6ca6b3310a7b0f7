//! The sampling side: a mark on the texts of one key, and one response being marked.

use sha2::{Digest as _, Sha256};

use super::context::{ContextTracker, PositionKind};
use super::distribution::Distribution;
use super::evidence::{EvidenceKind, GBits};
use super::prf::{KeyedContext, Prf};

/// A mark to put on texts: a key's function and, in a tournament, the number of competitors a match.
///
/// ```
/// use wmdetect::Key;
/// use wmdetect::scheme::{Distribution, Watermark};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let prompt = [2, 1841, 603];
/// let random = 0x9e37_79b9_7f4a_7c15; // from your generator, another for each response
/// let mut response = Watermark::new(Key::from_bytes(&[7; 32], "an example")?.prf()).start(&prompt, random);
/// for u in [0.3, 0.9, 0.5] {
///     // From your model and sampler: tokens and their probabilities.
///     let mut candidates = Distribution::from_probabilities(vec![10, 11, 12], vec![0.5, 0.3, 0.2])?;
///     response.apply(&mut candidates);
///     response.push(candidates.draw(u)); // u: uniform in [0, 1), from your generator
/// }
/// assert_eq!(response.marked_tokens(), 0); // the first four contexts reach back into the prompt
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Watermark {
    prf: Prf,
    leaves: u32,
}

impl Watermark {
    /// Makes the mark of the key's scheme, also of a scheme that follows another engine, as tests and studies need it.
    /// [`Scheme::check_tournament`](super::Scheme::check_tournament) refuses those. In a tournament a match has two
    /// competitors, which leaves the text's distribution unchanged on average over keys.
    pub fn new(prf: Prf) -> Self {
        Self { prf, leaves: 2 }
    }

    /// Makes the mark of a tournament with more competitors a match. It is stronger, but changes the text's
    /// distribution.
    ///
    /// # Panics
    /// Panics if `leaves` is less than 2, or if the key's scheme is not a tournament.
    pub fn with_leaves(prf: Prf, leaves: u32) -> Self {
        assert!(leaves >= 2, "a match needs two competitors");
        let kind = prf.scheme().evidence_kind();
        assert!(matches!(kind, EvidenceKind::Layers { .. }), "{} is not a tournament", prf.scheme().name());
        Self { prf, leaves }
    }

    /// Returns the channel that `random` chooses, if the key has several.
    pub fn channel(&self, random: u64) -> Option<u16> {
        let channels = self.prf.scheme().channels();
        // Uniform except for one part in 2^54, since a key has at most 2^10 channels.
        (channels > 1).then(|| ((u128::from(random) * u128::from(channels)) >> 64) as u16)
    }

    /// Returns a uniform number for [`start`](Self::start) that follows from the key, the prompt, a seed and the number
    /// of the response. Somebody who chooses the seed, but does not have the key, does not know the channel. Nor can
    /// they have the answers to different prompts in one channel. It is 0 for a key without channels.
    pub fn random(&self, prompt: &[u32], seed: u64, number: u64) -> u64 {
        if self.prf.scheme().channels() == 1 {
            return 0;
        }
        let mut hash = Sha256::new_with_prefix(b"wmgen channel");
        hash.update(seed.to_le_bytes());
        hash.update(number.to_le_bytes());
        for token in prompt {
            hash.update(token.to_le_bytes());
        }
        let digest = hash.finalize();
        let words: Vec<u32> = digest.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        // The digest stands for a context that no text has, and the key tosses a coin for each of 64 tokens after it.
        let (context, first) = (&words[..self.prf.scheme().context_rule().longest()], words[7]);
        let tokens: [u32; 64] = std::array::from_fn(|i| first.wrapping_add(i as u32));
        let mut g = [GBits::default(); 64];
        self.prf.context(context).g_bits_of(&tokens, &mut g);
        g.iter().fold(0, |number, g| (number << 1) | (g.0 & 1))
    }

    /// Starts the response to `prompt` (empty if there is none). `random`, a uniform number from your generator,
    /// chooses the channel; a key without channels ignores it. [`random`](Self::random) makes one from a seed.
    pub fn start(&self, prompt: &[u32], random: u64) -> Marking {
        let prf = self.prf.in_channel(self.channel(random).unwrap_or(0));
        Marking {
            tracker: prf.marked_positions(prompt),
            watermark: Self { prf, leaves: self.leaves },
            g: Vec::new(),
            marked: 0,
            repeated: 0,
        }
    }
}

/// One response being marked: call [`Marking::apply`] on the candidates of each position, draw, and report the drawn
/// token with [`Marking::push`].
#[derive(Clone, Debug)]
pub struct Marking {
    watermark: Watermark,
    tracker: ContextTracker,
    /// Bits of the candidates, kept to spare an allocation a step.
    g: Vec<GBits>,
    marked: usize,
    repeated: usize,
}

impl Marking {
    /// Puts the mark on the candidates of the next position, if the rule says that it carries one; returns what
    /// the rule said. The mark must come last: after temperature, top-k, top-p and penalties, right before the draw.
    pub fn apply(&mut self, candidates: &mut Distribution) -> PositionKind {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method's type has one lifetime only"
        )]
        self.apply_with(candidates, |keyed, tokens, g| keyed.g_bits_of(tokens, g))
    }

    /// Does what [`apply`](Self::apply) does, with `hash` in the place of [`KeyedContext::g_bits_of`]. A caller can
    /// thus share the hashes of many candidates among threads. `hash` must fill all entries with the same bits.
    pub fn apply_with(
        &mut self,
        candidates: &mut Distribution,
        hash: impl FnOnce(&KeyedContext<'_>, &[u32], &mut [GBits]),
    ) -> PositionKind {
        let kind = self.tracker.next_position();
        match kind {
            PositionKind::Marked => {
                let keyed = self.watermark.prf.context(self.tracker.context());
                self.g.resize(candidates.tokens().len(), GBits::default());
                hash(&keyed, candidates.tokens(), &mut self.g);
                self.watermark.prf.keyed().mark(&self.g, self.watermark.leaves, candidates);
                self.marked += 1;
            }
            PositionKind::RepeatedContext => self.repeated += 1,
            PositionKind::IncompleteContext => {}
        }
        kind
    }

    /// Appends the drawn token.
    pub fn push(&mut self, token: u32) {
        self.tracker.push(token);
    }

    /// Returns how many positions were marked so far.
    pub fn marked_tokens(&self) -> usize {
        self.marked
    }

    /// Returns how many positions were left alone because their context had come up before.
    pub fn repeated_contexts(&self) -> usize {
        self.repeated
    }
}
