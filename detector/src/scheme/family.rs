//! What a family of schemes settles.
//!
//! A family is a type that holds a scheme's public parameters. It implements [`Parameters`] and [`Family`], its keyed
//! function implements [`KeyedFunction`] and [`FixedContext`], and one line in `schemes.rs` registers it. Keys, key
//! files, marking and detection ask these traits and do not know the families.
//!
//! Calls go through the traits once a text or once a position. The loops over candidates and over the n-grams of a text
//! belong to the family.

use sha2::Sha256;
use zeroize::Zeroizing;

use super::KeyError;
use super::context::{ContextRule, ContextTracker, Inputs, Piece, ReferenceHistory};
use super::distribution::Distribution;
use super::evidence::{Evidence, EvidenceKind, GBits};
use super::fields::Fields;
use super::ngrams::Ngrams;
use super::secret::{Secret, SecretShape};

/// What a scheme promises about p-values that a statistic computes exactly under its null hypothesis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Promise {
    /// The values of a text's scored positions are independent under the null hypothesis, whatever the text: p is
    /// what the statistic says it is.
    Exact,
    /// They are at most as large as independent ones would be: p errs upwards, never downwards.
    Conservative,
    /// They are not quite independent, so p is approximate.
    Approximate {
        /// Why, as a clause that names the scheme.
        reason: &'static str,
    },
}

impl Promise {
    /// Returns whether p is what the statistic says it is.
    pub fn is_exact(self) -> bool {
        self == Self::Exact
    }
}

/// The questions about a scheme's public parameters.
pub(super) trait Parameters {
    /// Returns the name of the scheme in key ids, reports and on command lines.
    fn name(&self) -> &'static str;

    /// Returns H + 1, the length of the longest n-grams that have values.
    fn ngram_len(&self) -> usize;

    /// Returns which context decides a position's values, and which positions count.
    fn context_rule(&self) -> ContextRule {
        ContextRule::Whole { len: self.ngram_len() - 1 }
    }

    /// Returns whether the key decides which positions count. n-grams that share an input under one key need not share
    /// one under another.
    fn positions_depend_on_key(&self) -> bool {
        false
    }

    /// Returns how many functions a key has, of which each response takes one.
    fn channels(&self) -> u16 {
        1
    }

    /// Returns what a text's evidence is.
    fn evidence_kind(&self) -> EvidenceKind;

    /// Returns what a p-value may claim.
    fn promise(&self) -> Promise;

    /// Returns what a secret looks like.
    fn secret_shape(&self) -> SecretShape;

    /// Returns an error if the parameters cannot work.
    fn check(&self) -> Result<(), KeyError>;

    /// Returns the parameters as the fields of a key file.
    fn to_fields(&self) -> Vec<u8>;

    /// Adds everything that values depend on, except secret and name, to the hash that a key's id is made from.
    fn update_id(&self, id: &mut Sha256);

    /// Returns a key as the JSON that the scheme's own library reads; `None` if there is no such library.
    fn to_json(&self, _secret: &Secret) -> Option<Zeroizing<String>> {
        None
    }
}

/// The parameters of one family, and how they become a keyed function.
pub(super) trait Family: Parameters + Sized {
    /// The scheme's number in a key file.
    const TAG: u8;
    /// As [`Parameters::name`].
    const NAME: &'static str;
    /// The keyed function.
    type Function: KeyedFunction;
    /// The keyed function in one context.
    type Context<'f>: FixedContext;

    /// Reads what [`Parameters::to_fields`] gives.
    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError>;

    /// Reads the JSON of the scheme's own library; returns `None` if there is no such library. `path` is for messages.
    fn from_json(
        _json: &[u8],
        _path: &str,
        _options: ImportOptions,
    ) -> Option<Result<Imported<Self>, KeyError>> {
        None
    }

    /// Returns the function of a key with these parameters, whose secret has the right shape, in one of its channels.
    fn function(&self, secret: &Secret, channel: u16) -> Self::Function;

    /// Fixes a context of H tokens, oldest first, or of fewer under a rule of shortest contexts.
    fn fix<'f>(function: &'f Self::Function, context: &[u32]) -> Self::Context<'f>;
}

/// Values that a configuration of another library may lack.
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Size of the vocabulary that green lists are made from. A field `vocab_size` in the file says the same.
    pub vocab_size: Option<u32>,
}

impl ImportOptions {
    /// Returns the options with this size of the vocabulary, or without one.
    #[must_use]
    pub fn vocab_size(mut self, vocab_size: Option<u32>) -> Self {
        self.vocab_size = vocab_size;
        self
    }
}

/// A key from another library's JSON.
pub(super) struct Imported<P> {
    /// The parameters.
    pub parameters: P,
    /// The secret.
    pub secret: Secret,
    /// Sentences on the fields that play no part.
    pub notes: Vec<String>,
}

/// A scheme's function under one key: (context, token) to [`GBits`], and what they mean.
pub(super) trait KeyedFunction: Send + Sync {
    /// Returns the rule by which a generator marks the positions of a response to `prompt`.
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker;

    /// Puts the mark on the candidates of a position; `g` has the bits of each. A tournament has `leaves` competitors a
    /// match; the other families ignore the number.
    fn mark(&self, g: &[GBits], leaves: u32, candidates: &mut Distribution);

    /// Returns the evidence of the next piece of a text. A position is scored only if its context is fresh, and if
    /// nothing else that its value depends on has come up before.
    fn evidence(&self, memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence;

    /// Replaces `g` by the bits of the last token of each n-gram after the others.
    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>);

    /// Returns what decides all bits of an n-gram's last token, where that is narrower than the n-gram. Two n-grams
    /// that share it share all bits.
    fn narrow_input(&self, _ngram: &[u32]) -> Option<u64> {
        None
    }
}

/// A keyed function with its context fixed.
pub(super) trait FixedContext {
    /// Writes the bits of each of `tokens` into as many entries of `g`.
    fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]);
}

/// What a family remembers of a text that comes in pieces.
#[derive(Clone, Default, Debug)]
pub(super) struct TextMemory {
    /// Inputs of the keyed function that were scored, where they are narrower than the n-gram.
    inputs: Inputs,
    /// What the reference implementation remembers.
    pub reference: Option<ReferenceHistory>,
}

impl TextMemory {
    /// Notes an input of the keyed function and returns whether it is new. Among very many inputs it may take a new one
    /// for a repeated one, never the reverse.
    pub(super) fn insert(&mut self, input: u64) -> bool {
        self.inputs.insert(input)
    }
}
