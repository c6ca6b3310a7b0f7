//! `textseal`: the Gumbel-max marks of Meta's TextSeal, `gumbelmax` with one key and `textseal` with two.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Numbers, judged_share};
use crate::scheme::KeyError;
use crate::scheme::context::{ContextRule, ContextTracker, Piece};
use crate::scheme::distribution::Distribution;
use crate::scheme::engine_json::{self, Engine};
use crate::scheme::evidence::{Evidence, EvidenceKind, GBits, Uniforms};
use crate::scheme::family::{
    Family, FixedContext, ImportOptions, Imported, KeyedFunction, Parameters, Promise, TextMemory,
};
use crate::scheme::fields::Fields;
use crate::scheme::ngrams::Ngrams;
use crate::scheme::real::Real;
use crate::scheme::secret::{Secret, SecretShape};

/// The parameters of `textseal`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextSeal {
    /// H, the number of tokens before, 1 to 10.
    pub ngram: u8,
    /// The share of tokens that the first of two keys draws, 0 to 1; `None` with one key.
    pub mixing_alpha: Option<Real>,
}

/// The factors of the tokens before, oldest first.
const FACTORS: [i64; 10] = [
    10_000_019, 10_000_247, 10_000_439, 10_000_643, 10_000_747, 10_000_867, 10_000_993, 10_001_213,
    10_001_357, 10_001_501,
];
const TOKEN_FACTOR: i64 = 100_000_007;
const KEY_FACTOR: i64 = 500_001_713;
const STEPS: u64 = 8191;
/// What is added to the first key where no second is given.
const SECOND_KEY: i64 = 12_345;

/// Fields that do not affect the number of a token.
const OTHERS: [&str; 17] = [
    "method",
    "gamma",
    "delta",
    "alpha",
    "depth",
    "after_topp",
    "k_morphmark",
    "p_0",
    "chunk_size",
    "num_drafts",
    "base_watermark",
    "attenuation",
    "attenuation_weight",
    "backprop_on_nonzero",
    "scoring_method",
    "key_routing",
    "secret_key_b",
];

/// The fields of the configuration.
#[derive(Deserialize)]
struct Config {
    #[serde(deserialize_with = "engine_json::wiped")]
    secret_key: Zeroizing<i64>,
    #[serde(default, deserialize_with = "engine_json::wiped_option")]
    secret_key_b: Option<Zeroizing<i64>>,
    ngram: Option<u64>,
    watermark_type: Option<String>,
    mixing_alpha: Option<f64>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl Config {
    fn read(json: &[u8], path: &str) -> Result<Imported<TextSeal>, KeyError> {
        let engine =
            Engine { scheme: TextSeal::NAME, nested: &["watermark_config"], required: &["secret_key"] };
        let config: Self = engine.read(json, path)?;
        let mixing_alpha = match config.watermark_type.as_deref().unwrap_or("gumbelmax") {
            "gumbelmax" => None,
            "textseal" => Some(config.mixing_alpha.unwrap_or(0.5).into()),
            other => {
                return Err(engine.value(path, "watermark_type", "\"gumbelmax\" or \"textseal\"", other));
            }
        };
        let ngram = engine_json::small(TextSeal::NAME, "ngram", config.ngram.unwrap_or(1))?;
        let mut secret = Zeroizing::new(Vec::with_capacity(16));
        secret.extend_from_slice(&config.secret_key.to_le_bytes());
        if mixing_alpha.is_some() {
            let second = config.secret_key_b.as_deref().copied().filter(|&key| key >= 0);
            let second = second.unwrap_or_else(|| config.secret_key.wrapping_add(SECOND_KEY));
            secret.extend_from_slice(&second.to_le_bytes());
        }
        let mut notes = engine_json::notes(&config.other, &OTHERS);
        notes.extend(engine_json::public_key(*config.secret_key == 42));
        let parameters = TextSeal { ngram, mixing_alpha };
        Ok(Imported { parameters, secret: Secret::new(secret), notes })
    }
}

impl Parameters for TextSeal {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        usize::from(self.ngram) + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Spanning { len: self.ngram.into() }
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Uniform(self.law())
    }

    fn promise(&self) -> Promise {
        Promise::Approximate { reason: "the hash of textseal is linear in the key but for one shift" }
    }

    fn secret_shape(&self) -> SecretShape {
        let keys = if self.mixing_alpha.is_some() { 2 } else { 1 };
        SecretShape { len: 8 * keys, distinct_layer_keys: false, derivable: false }
    }

    fn check(&self) -> Result<(), KeyError> {
        engine_json::within(Self::NAME, "ngram", 1..=10, self.ngram)?;
        self.mixing_alpha.map_or(Ok(()), |alpha| engine_json::share(Self::NAME, "mixing_alpha", alpha.0))
    }

    fn to_fields(&self) -> Vec<u8> {
        let mut fields = vec![self.ngram, self.mixing_alpha.is_some().into()];
        fields.extend(self.mixing_alpha.iter().flat_map(|alpha| alpha.to_bytes()));
        fields
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update(self.to_fields());
    }

    fn to_json(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        let head = match self.mixing_alpha {
            None => format!("{{\"watermark_type\": \"gumbelmax\", \"ngram\": {}", self.ngram),
            Some(Real(alpha)) => format!(
                "{{\"watermark_type\": \"textseal\", \"ngram\": {}, \"mixing_alpha\": {alpha}",
                self.ngram
            ),
        };
        let mut json = Zeroizing::new(String::with_capacity(head.len() + 100));
        json.push_str(&head);
        for (name, key) in ["secret_key", "secret_key_b"].into_iter().zip(secret.layer_keys().iter()) {
            let number = Zeroizing::new(key.to_string());
            for part in [", \"", name, "\": ", &number] {
                json.push_str(part);
            }
        }
        json.push('}');
        Some(json)
    }
}

impl TextSeal {
    fn law(&self) -> Uniforms {
        Uniforms { steps: STEPS, second_share: self.mixing_alpha.map(|alpha| judged_share(1.0 - alpha.0)) }
    }
}

impl Family for TextSeal {
    const TAG: u8 = 9;
    const NAME: &'static str = "textseal";
    type Function = Function;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [ngram, two_keys] = fields.array()?;
        let mixing_alpha = match two_keys {
            0 => None,
            1 => Some(fields.real()?),
            _ => return Err(fields.corrupted("its number of keys is unknown")),
        };
        Ok(Self { ngram, mixing_alpha })
    }

    fn from_json(json: &[u8], path: &str, _: ImportOptions) -> Option<Result<Imported<Self>, KeyError>> {
        Some(Config::read(json, path))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        let keys = secret.layer_keys();
        Function {
            ngram: self.ngram,
            steps: STEPS,
            share: self.law().second_share,
            first: keys[0],
            second: keys.get(1).copied(),
        }
    }

    fn fix(function: &Function, context: &[u32]) -> Context {
        function.fix(context)
    }
}

/// The function of one key or of two.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Function {
    ngram: u8,
    steps: u64,
    /// The share of the second key.
    share: Option<f64>,
    first: i64,
    second: Option<i64>,
}

impl Function {
    fn fix(&self, context: &[u32]) -> Context {
        let tokens = of_context(context);
        let with = |key: i64| tokens.wrapping_add(key.wrapping_mul(KEY_FACTOR));
        Context { first: with(self.first), second: self.second.map(with) }
    }
}

/// Returns the sum of the tokens before, each times its factor.
fn of_context(context: &[u32]) -> i64 {
    let terms = context.iter().zip(FACTORS).map(|(&token, factor)| factor.wrapping_mul(token.into()));
    terms.fold(0, i64::wrapping_add)
}

/// Returns r, from 0 to 8190, for the sum over all tokens and the key.
fn residue(sum: i64) -> u64 {
    let h = sum.wrapping_mul(15_485_863).wrapping_mul(40_499);
    (h ^ h >> 13).rem_euclid(STEPS as i64) as u64
}

impl Numbers for Function {
    fn law(&self) -> Uniforms {
        Uniforms { steps: self.steps, second_share: self.share }
    }

    fn of(&self, ngram: &[u32]) -> GBits {
        let (context, token) = ngram.split_at(ngram.len() - 1);
        self.fix(context).number(token[0])
    }
}

/// Returns what decides the numbers of a token under every key: a key adds the same to all tokens.
fn input(ngram: &[u32]) -> u64 {
    let (context, token) = ngram.split_at(ngram.len() - 1);
    of_context(context).wrapping_add(TOKEN_FACTOR.wrapping_mul(token[0].into())) as u64
}

impl KeyedFunction for Function {
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        ContextTracker::new(ContextRule::Spanning { len: self.ngram.into() }, prompt)
    }

    fn mark(&self, g: &[GBits], _leaves: u32, candidates: &mut Distribution) {
        super::mark(self.law(), g, candidates);
    }

    fn evidence(&self, memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        let fresh = piece.ngrams().map(|ngram| memory.insert(input(ngram))).collect();
        super::evidence(self, piece, fresh)
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        super::g_bits_of(self, ngrams, g);
    }

    fn narrow_input(&self, ngram: &[u32]) -> Option<u64> {
        Some(input(ngram))
    }
}

/// The function in one context.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Context {
    first: i64,
    second: Option<i64>,
}

impl Context {
    fn number(&self, token: u32) -> GBits {
        let number = |sum: i64| residue(sum.wrapping_add(TOKEN_FACTOR.wrapping_mul(token.into())));
        GBits(number(self.first) | self.second.map_or(0, number) << 32)
    }
}

impl FixedContext for Context {
    fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
        for (g, &token) in g.iter_mut().zip(tokens) {
            *g = self.number(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Key;

    fn function(keys: &[i64], ngram: u8) -> Function {
        let secret: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        let mixing_alpha = (keys.len() > 1).then_some(Real(0.5));
        TextSeal { ngram, mixing_alpha }.function(&Secret::new(secret.into()), 0)
    }

    #[test]
    fn residues_of_textseal() {
        assert_eq!(function(&[7], 2).of(&[1, 2, 65_536]), GBits(7258));
        assert_eq!(function(&[42], 1).of(&[128_000, 9]), GBits(632));
        let two = function(&[7, 42], 2).of(&[1, 2, 65_536]).0;
        assert_eq!((two & 0xffff_ffff, two >> 32), (7258, function(&[42], 2).of(&[1, 2, 65_536]).0));
    }

    #[test]
    fn a_pair_counts_once_but_its_context_may_repeat() {
        let scheme = TextSeal { ngram: 1, mixing_alpha: None };
        let key = Key::new(scheme, Secret::new(vec![1; 8].into())).unwrap();
        let evidence = Evidence::new(&key.prf(), &[], &[5, 6, 5, 7, 5, 6]);
        assert_eq!(evidence.scored_mask(), [true, true, true, true, false]);
    }
}
