//! The schemes that there are: each family, registered by one line.

use super::context::ContextRule;
use super::evidence::{EvidenceKind, GBits};
use super::family::{Family, FixedContext, ImportOptions, Imported, KeyedFunction, Parameters, Promise};
use super::fields::Fields;
use super::secret::{Secret, SecretShape};
#[cfg(test)]
use super::test_families;
use super::{KeyError, gumbel, kgw, synthid};

/// Makes the enums that dispatch to the families.
macro_rules! families {
    ($($(#[doc = $doc:literal])* $(#[cfg($cfg:meta)])? $name:ident($family:ty),)*) => {
        /// A scheme and its public parameters.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Scheme {
            $($(#[doc = $doc])* $(#[cfg($cfg)])? $name($family),)*
        }

        /// The keyed function of a scheme.
        pub(super) enum Function {
            $($(#[cfg($cfg)])? $name(<$family as Family>::Function),)*
        }

        /// The keyed function of a scheme in one context.
        pub(super) enum Context<'f> {
            $($(#[cfg($cfg)])? $name(<$family as Family>::Context<'f>),)*
        }

        $($(#[cfg($cfg)])? impl From<$family> for Scheme {
            fn from(parameters: $family) -> Self {
                Self::$name(parameters)
            }
        })*

        impl Scheme {
            fn parameters(&self) -> &dyn Parameters {
                match self {
                    $($(#[cfg($cfg)])? Self::$name(parameters) => parameters,)*
                }
            }

            /// Returns the scheme's number in a key file.
            pub(super) fn tag(&self) -> u8 {
                match self {
                    $($(#[cfg($cfg)])? Self::$name(_) => <$family>::TAG,)*
                }
            }

            /// Returns the scheme of the number `tag`, whose parameters are next in `fields`.
            pub(super) fn from_fields(tag: u8, fields: &mut Fields<'_>) -> Result<Self, KeyError> {
                match tag {
                    $($(#[cfg($cfg)])? <$family>::TAG => <$family>::from_fields(fields).map(Self::from),)*
                    _ => Err(fields.corrupted("its scheme is unknown")),
                }
            }

            /// Returns the key of the scheme `name` in the JSON of another library. Returns `None` if there is no such
            /// scheme or library.
            pub(super) fn from_json(
                name: &str,
                json: &[u8],
                path: &str,
                options: ImportOptions,
            ) -> Option<Result<Imported<Self>, KeyError>> {
                match name {
                    $($(#[cfg($cfg)])? <$family>::NAME => {
                        <$family>::from_json(json, path, options).map(|imported| imported.map(Imported::into_scheme))
                    })*
                    _ => None,
                }
            }

            /// Returns the function of the key with this secret in a channel.
            pub(super) fn function(&self, secret: &Secret, channel: u16) -> Function {
                match self {
                    $($(#[cfg($cfg)])? Self::$name(parameters) => {
                        Function::$name(parameters.function(secret, channel))
                    })*
                }
            }
        }

        impl Function {
            /// Returns the function as its family's trait.
            pub(super) fn keyed(&self) -> &dyn KeyedFunction {
                match self {
                    $($(#[cfg($cfg)])? Self::$name(function) => function,)*
                }
            }

            /// See [`Family::fix`].
            pub(super) fn fix(&self, context: &[u32]) -> Context<'_> {
                match self {
                    $($(#[cfg($cfg)])? Self::$name(function) => Context::$name(<$family>::fix(function, context)),)*
                }
            }
        }

        impl Context<'_> {
            /// See [`FixedContext::g_bits_of`].
            pub(super) fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
                match self {
                    $($(#[cfg($cfg)])? Self::$name(context) => context.g_bits_of(tokens, g),)*
                }
            }
        }
    };
}

families! {
    /// Our own: SHA-256 as the keyed function, complete context history.
    Sha256(synthid::Sha256),
    /// Our own with the shortest unused context, which survives edits, and with channels.
    Sha256V2(synthid::Sha256V2),
    /// `transformers.SynthIDTextWatermarkLogitsProcessor` and `synthid-text` 0.2.1.
    Hf(synthid::Hf),
    /// `synthid_text` on its main branch since June 2025.
    DeepMind(synthid::DeepMind),
    /// vLLM's `gumbel`.
    VllmGumbel(gumbel::VllmGumbel),
    /// vLLM's `dual_key_gumbel`.
    VllmGumbelDual(gumbel::VllmGumbelDual),
    /// SGLang with one key.
    SglangGumbel(gumbel::SglangGumbel),
    /// SGLang with two keys.
    SglangGumbelDual(gumbel::SglangGumbelDual),
    /// Meta's TextSeal, with one key or two.
    TextSeal(gumbel::TextSeal),
    /// transformers' green lists.
    KgwHf(kgw::KgwHf),
    /// lm-watermarking's green lists.
    Kgw(kgw::Kgw),
    /// Text Generation Inference's green lists.
    KgwTgi(kgw::KgwTgi),
    /// A green list.
    #[cfg(test)]
    Green(test_families::Green),
    /// Uniform numbers.
    #[cfg(test)]
    Uniform(test_families::Uniform),
}

impl<P: Into<Scheme>> Imported<P> {
    fn into_scheme(self) -> Imported<Scheme> {
        Imported { parameters: self.parameters.into(), secret: self.secret, notes: self.notes }
    }
}

impl Scheme {
    /// Returns the name, such as `synthid-sha256-v2` or `vllm-gumbel`.
    pub fn name(&self) -> &'static str {
        self.parameters().name()
    }

    /// Returns which evidence texts give.
    pub fn evidence_kind(&self) -> EvidenceKind {
        self.parameters().evidence_kind()
    }

    /// Checks that the scheme is a tournament, whose marks this project writes. It only reads the marks of other
    /// engines.
    ///
    /// # Errors
    /// Returns an error if it is not: [`KeyError::NotATournament`].
    pub fn check_tournament(&self) -> Result<(), KeyError> {
        match self.evidence_kind() {
            EvidenceKind::Layers { .. } => Ok(()),
            _ => Err(KeyError::NotATournament { scheme: self.name() }),
        }
    }

    /// Returns the number of values that a token has: the layers m of a tournament, 1 without one.
    pub fn depth(&self) -> usize {
        match self.evidence_kind() {
            EvidenceKind::Layers { depth } => depth,
            EvidenceKind::Green { .. } | EvidenceKind::Uniform(_) => 1,
        }
    }

    /// Returns the length of the longest context plus one.
    pub fn ngram_len(&self) -> usize {
        self.parameters().ngram_len()
    }

    /// Returns the lengths of all n-grams that have values.
    pub fn ngram_lens(&self) -> std::ops::RangeInclusive<usize> {
        let rule = self.context_rule();
        rule.shortest() + 1..=rule.longest() + 1
    }

    /// Returns H: how many tokens before a position decide its values, at most.
    pub fn context_len(&self) -> usize {
        self.ngram_len() - 1
    }

    /// Returns which context decides a position's values, and which positions count.
    pub fn context_rule(&self) -> ContextRule {
        self.parameters().context_rule()
    }

    /// Returns whether the key decides which positions of a text count. Where it does not, they are the same under all keys with
    /// these parameters.
    pub fn positions_depend_on_key(&self) -> bool {
        self.parameters().positions_depend_on_key()
    }

    /// Returns R, the number of channels: functions of one key, of which each response takes one by chance. 1 for a
    /// scheme without channels.
    pub fn channels(&self) -> u16 {
        self.parameters().channels()
    }

    /// Returns what a p-value may claim.
    pub fn promise(&self) -> Promise {
        self.parameters().promise()
    }

    /// Returns what a secret looks like.
    pub fn secret_shape(&self) -> SecretShape {
        self.parameters().secret_shape()
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// Returns an error if they cannot work.
    pub fn check(&self) -> Result<(), KeyError> {
        self.parameters().check()
    }

    /// Returns the parameters as the fields of a key file.
    pub(super) fn to_fields(&self) -> Vec<u8> {
        self.parameters().to_fields()
    }

    /// See [`Parameters::update_id`].
    pub(super) fn update_id(&self, id: &mut sha2::Sha256) {
        self.parameters().update_id(id);
    }

    /// See [`Parameters::to_json`].
    pub(super) fn to_json(&self, secret: &Secret) -> Option<zeroize::Zeroizing<String>> {
        self.parameters().to_json(secret)
    }
}
