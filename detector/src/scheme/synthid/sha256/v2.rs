//! `synthid-sha256-v2`: the keyed function of `synthid-sha256` with the shortest unused context, and with channels.
//!
//! One replaced word costs few positions their mark, since most contexts are short. The price is that a key's
//! preferences after one token could be learnt from many texts, and that answers to one prompt would resemble each
//! other. Channels answer both: a key has R functions, and each response takes one by chance.

use zeroize::ZeroizeOnDrop;

use super::message::{self, OpenMessage};
use super::{Context, mask};
use crate::scheme::context::{ContextRule, ContextTracker, Piece};
use crate::scheme::distribution::Distribution;
use crate::scheme::evidence::{Evidence, EvidenceKind, GBits, TextGValues};
use crate::scheme::family::{Family, KeyedFunction, Parameters, Promise, TextMemory};
use crate::scheme::fields::Fields;
use crate::scheme::ngrams::Ngrams;
use crate::scheme::secret::{Secret, SecretShape};
use crate::scheme::{DEFAULT_CHANNELS, DEFAULT_DEPTH, KeyError, MAX_CHANNELS, MAX_DEPTH, MAX_V2_CONTEXT};

/// The parameters of `synthid-sha256-v2`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sha256V2 {
    /// Layers of the tournament, m.
    pub depth: u8,
    /// Tokens of the shortest context, 1 to `longest_context`.
    pub shortest_context: u8,
    /// Tokens of the longest context, up to [`MAX_V2_CONTEXT`].
    pub longest_context: u8,
    /// R, the number of channels, 1 to [`MAX_CHANNELS`].
    pub channels: u16,
}

impl Default for Sha256V2 {
    fn default() -> Self {
        Self {
            depth: DEFAULT_DEPTH as u8,
            shortest_context: 1,
            longest_context: MAX_V2_CONTEXT,
            channels: DEFAULT_CHANNELS,
        }
    }
}

impl Parameters for Sha256V2 {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        usize::from(self.longest_context) + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Shortest { shortest: self.shortest_context.into(), longest: self.longest_context.into() }
    }

    fn channels(&self) -> u16 {
        self.channels
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Layers { depth: self.depth.into() }
    }

    fn promise(&self) -> Promise {
        Promise::Exact
    }

    fn secret_shape(&self) -> SecretShape {
        SecretShape { len: 32, distinct_layer_keys: false, derivable: true }
    }

    fn check(&self) -> Result<(), KeyError> {
        let Self { depth, shortest_context: shortest, longest_context: longest, channels } = *self;
        if !(1..=MAX_DEPTH).contains(&depth.into()) {
            return Err(KeyError::Depth { found: depth.into() });
        }
        if shortest == 0 || shortest > longest || longest > MAX_V2_CONTEXT {
            return Err(KeyError::ContextLens { shortest, longest });
        }
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(KeyError::Channels { found: channels.into() });
        }
        Ok(())
    }

    fn to_fields(&self) -> Vec<u8> {
        self.bytes().to_vec()
    }

    fn update_id(&self, id: &mut sha2::Sha256) {
        sha2::Digest::update(id, self.bytes());
    }
}

impl Sha256V2 {
    /// Returns all parameters, as key files and labels have them.
    fn bytes(&self) -> [u8; 5] {
        let [low, high] = self.channels.to_le_bytes();
        [self.depth, self.shortest_context, self.longest_context, low, high]
    }
}

impl Family for Sha256V2 {
    const TAG: u8 = 4;
    const NAME: &'static str = "synthid-sha256-v2";
    type Function = Function;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [depth, shortest_context, longest_context, low, high] = fields.array()?;
        let channels = u16::from_le_bytes([low, high]);
        Ok(Self { depth, shortest_context, longest_context, channels })
    }

    fn function(&self, secret: &Secret, channel: u16) -> Function {
        let mut block_key = [0; 32];
        let label = [&b"synthid-sha256-v2/block-key/"[..], &self.bytes(), &channel.to_le_bytes()];
        secret.expand(&label, &mut block_key);
        Function { depth: self.depth.into(), rule: self.context_rule(), block_key }
    }

    fn fix(function: &Function, context: &[u32]) -> Context {
        Context { message: OpenMessage::new(&function.block_key, context), mask: mask(function.depth) }
    }
}

/// The function of one key in one channel.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Function {
    depth: usize,
    #[zeroize(skip)]
    rule: ContextRule,
    block_key: [u8; 32],
}

impl KeyedFunction for Function {
    fn marked_positions(&self, _prompt: &[u32]) -> ContextTracker {
        ContextTracker::new(self.rule, &[])
    }

    fn mark(&self, g: &[GBits], leaves: u32, candidates: &mut Distribution) {
        candidates.tournament(g, self.depth, leaves);
    }

    fn evidence(&self, _memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        let mut g = vec![GBits(0); piece.shares.len()];
        let mut of_len = Vec::new();
        let marked: Vec<bool> = (0..g.len()).map(|i| piece.context_len(i) > 0).collect();
        for ngrams in piece.selected(&marked) {
            self.g_bits_of(&ngrams, &mut of_len);
            let len = ngrams.iter().next().map_or(0, <[u32]>::len);
            let places = (0..g.len()).filter(|&i| piece.context_len(i) + 1 == len && marked[i]);
            for (place, bits) in places.zip(&of_len) {
                g[place] = *bits;
            }
        }
        Evidence::Layers(TextGValues {
            first: piece.first,
            depth: self.depth,
            g,
            scored: piece.scored(),
            shares: piece.shares.clone(),
            reference_mask: piece.scored(),
        })
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        g.clear();
        g.resize(ngrams.len(), GBits(0));
        message::g_bits_of(ngrams, &self.block_key, g, mask(self.depth));
    }
}
