//! The one keyed function: (key, context, token) → bits, for a tournament the g-values of all layers.
//!
//! Generator and detector both call [`Prf`]; nothing else in the project turns a key into g-values. `docs/concepts/scheme.md` has
//! the layouts and test vectors.

use std::collections::HashSet;
use std::sync::Arc;

use super::context::ContextTracker;
use super::evidence::GBits;
use super::family::KeyedFunction;
use super::key::Key;
use super::ngrams::{DistinctNgrams, Ngrams};
use super::schemes::{Context, Function, Scheme};

/// A key made ready for hashing, in one of its channels. Cheap to clone; wiped when the last clone goes.
#[derive(Clone)]
pub struct Prf {
    inner: Arc<Inner>,
    channel: u16,
}

struct Inner {
    scheme: Scheme,
    /// One for each channel.
    functions: Box<[Function]>,
}

/// Shows the scheme; never the key.
impl std::fmt::Debug for Prf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Prf").field(&self.scheme().name()).field(&self.channel).finish()
    }
}

impl Key {
    /// Returns the keyed function of this key in its first channel. [`Prf::in_channel`] has the others.
    pub fn prf(&self) -> Prf {
        let scheme = self.scheme().clone();
        let functions =
            (0..scheme.channels()).map(|channel| scheme.function(self.secret(), channel)).collect();
        Prf { inner: Arc::new(Inner { scheme, functions }), channel: 0 }
    }
}

impl Prf {
    /// Returns the scheme and its parameters.
    pub fn scheme(&self) -> &Scheme {
        &self.inner.scheme
    }

    /// Returns the channel, from 0 on.
    pub fn channel(&self) -> u16 {
        self.channel
    }

    /// Returns the keyed function of the same key in another channel.
    ///
    /// # Panics
    /// Panics if `channel` is not below the scheme's [number of channels](Scheme::channels).
    pub fn in_channel(&self, channel: u16) -> Self {
        let channels = self.scheme().channels();
        assert!(channel < channels, "a key of {channels} channels has no channel {channel}");
        Self { inner: Arc::clone(&self.inner), channel }
    }

    /// Returns the keyed function in each of the key's channels, in order.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = Self> + '_ {
        (0..self.scheme().channels()).map(|channel| self.in_channel(channel))
    }

    /// Fixes the context, the H tokens before a position, oldest first. Under a rule of shortest contexts they may be
    /// fewer, as the rule says.
    ///
    /// # Panics
    /// Panics if no context of the scheme has so many tokens.
    pub fn context(&self, context: &[u32]) -> KeyedContext<'_> {
        self.check_context(context.len());
        KeyedContext(self.function().fix(context))
    }

    fn check_context(&self, len: usize) {
        let rule = self.scheme().context_rule();
        let [shortest, longest] = [rule.shortest(), rule.longest()];
        let name = self.scheme().name();
        assert!(
            (shortest..=longest).contains(&len),
            "a context of {name} has {shortest} to {longest} tokens"
        );
    }

    fn function(&self) -> &Function {
        &self.inner.functions[usize::from(self.channel)]
    }

    /// Returns the rule by which a generator marks the positions of a response to `prompt` (which may be empty).
    pub fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        self.keyed().marked_positions(prompt)
    }

    /// Replaces `g` by the bits of the last token of each of `ngrams` after the others. A detector asks for this; a
    /// sampler asks for many tokens in one context.
    ///
    /// # Panics
    /// Panics if an n-gram is shorter or longer than the scheme's.
    pub(crate) fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        #[cfg(test)]
        crate::work::hashes(ngrams.len());
        if let Some(ngram) = ngrams.iter().next() {
            self.check_context(ngram.len() - 1);
        }
        self.keyed().g_bits_of(ngrams, g);
    }

    /// Returns the bits of the last token of each n-gram after the others. Where the scheme's hash is narrower than the
    /// n-gram, as that of `synthid-hf` is, n-grams that share an input have one entry.
    ///
    /// # Panics
    /// Panics if an n-gram has none of the scheme's [lengths](Scheme::ngram_lens).
    pub fn g_bits_of_distinct(&self, ngrams: &DistinctNgrams<'_>) -> Vec<GBits> {
        let (mut all, mut of_length) = (Vec::new(), Vec::new());
        for ngrams in ngrams.by_length() {
            self.g_bits_of(ngrams, &mut of_length);
            all.append(&mut of_length);
        }
        let mut inputs = HashSet::new();
        let each = ngrams.by_length().iter().flat_map(Ngrams::iter);
        let mut is_new =
            each.map(|ngram| self.keyed().narrow_input(ngram).is_none_or(|input| inputs.insert(input)));
        all.retain(|_| is_new.next().unwrap_or(false));
        all
    }

    /// Returns the function as its family's trait.
    pub(super) fn keyed(&self) -> &dyn KeyedFunction {
        self.function().keyed()
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
