//! The one keyed function: (key, context, token) → bits, for a tournament the g-values of all layers.
//!
//! Generator and detector both call [`Prf`]; nothing else in the project turns a key into g-values. `docs/scheme.md` has
//! the layouts and test vectors.

use std::sync::Arc;

use super::context::ContextTracker;
use super::evidence::GBits;
use super::family::KeyedFunction;
use super::key::Key;
use super::ngrams::Ngrams;
use super::schemes::{Context, Function, Scheme};

/// A key made ready for hashing. Cheap to clone; wiped when the last clone goes.
#[derive(Clone)]
pub struct Prf(Arc<Inner>);

struct Inner {
    scheme: Scheme,
    function: Function,
}

/// Shows the scheme; never the key.
impl std::fmt::Debug for Prf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Prf").field(&self.scheme().name()).finish()
    }
}

impl Key {
    /// Returns the keyed function of this key.
    pub fn prf(&self) -> Prf {
        let function = self.scheme().function(self.secret());
        Prf(Arc::new(Inner { scheme: self.scheme().clone(), function }))
    }
}

impl Prf {
    /// Returns the scheme and its parameters.
    pub fn scheme(&self) -> &Scheme {
        &self.0.scheme
    }

    /// Fixes the context, the H tokens before a position, oldest first.
    ///
    /// # Panics
    /// Panics if the context does not have H tokens.
    pub fn context(&self, context: &[u32]) -> KeyedContext<'_> {
        let expected = self.scheme().context_len();
        assert_eq!(context.len(), expected, "a context of {} has {expected} tokens", self.scheme().name());
        KeyedContext(self.0.function.fix(context))
    }

    /// Returns the rule by which a generator marks the positions of a response to `prompt` (which may be empty).
    pub fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        self.keyed().marked_positions(prompt)
    }

    /// Replaces `g` by the bits of the last token of each of `ngrams` after the others: what a detector asks for, where
    /// a sampler asks for many tokens in one context.
    ///
    /// # Panics
    /// Panics if an n-gram is shorter or longer than the scheme's.
    pub(crate) fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        #[cfg(test)]
        crate::work::hashes(ngrams.len());
        let len = self.scheme().ngram_len();
        assert!(
            ngrams.iter().all(|ngram| ngram.len() == len),
            "n-grams of {} have {len} tokens",
            self.scheme().name()
        );
        self.keyed().g_bits_of(ngrams, g);
    }

    /// What the family says of the function.
    pub(super) fn keyed(&self) -> &dyn KeyedFunction {
        self.0.function.keyed()
    }
}

/// A keyed function with its context fixed, ready for any number of candidate tokens.
pub struct KeyedContext<'a>(Context<'a>);

impl KeyedContext<'_> {
    /// Returns the bits of `token` in this context.
    pub fn g_bits(&self, token: u32) -> GBits {
        let mut g = [GBits(0)];
        self.g_bits_of(&[token], &mut g);
        g[0]
    }

    /// Writes the bits of each of `tokens` in this context into `g`, which is as long.
    pub fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
        self.0.g_bits_of(tokens, g);
    }
}
