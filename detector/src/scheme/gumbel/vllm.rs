//! `vllm-gumbel` and `vllm-gumbel-dual`: vLLM's `--watermark-config` with the algorithm `gumbel` or `dual_key_gumbel`, and its
//! PRF `philox4x32-10-v1`.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::philox::philox;
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

/// The parameters of `vllm-gumbel`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VllmGumbel {
    /// H, 1 to 63.
    pub context_width: u8,
}

/// The parameters of `vllm-gumbel-dual`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VllmGumbelDual {
    /// H, 1 to 63.
    pub context_width: u8,
    /// The share of tokens that the second key draws, 0 to 1.
    pub alpha: Real,
}

/// "WMCX" and "WMTK".
const CONTEXT_DOMAIN: u32 = 0x574D_4358;
const TOKEN_DOMAIN: u32 = 0x574D_544B;
/// The upper 24 bits of a word.
const STEPS: u64 = 1 << 24;

/// The fields of the configuration.
#[derive(Deserialize)]
struct Config {
    #[serde(deserialize_with = "engine_json::wiped")]
    key: Zeroizing<u64>,
    algorithm: Option<String>,
    alpha: Option<f64>,
    context_width: Option<u64>,
    prf: Option<String>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// Fields that do not affect the number of a token.
const OF_WRITING: [&str; 3] =
    ["deduplicate_contexts", "deduplicate_contexts_max_history", "allow_target_only_watermarking"];

/// Reads a configuration for `algorithm`.
fn read(json: &[u8], path: &str, scheme: &'static str, algorithm: &str) -> Result<Config, KeyError> {
    let engine = Engine { scheme, nested: &["watermark_config"], required: &["key"] };
    let config: Config = engine.read(json, path)?;
    let found = config.algorithm.as_deref().unwrap_or("gumbel");
    if found != algorithm {
        let other = if found == "dual_key_gumbel" { "vllm-gumbel-dual" } else { "vllm-gumbel" };
        let expected = format!("{algorithm:?}; for {found:?} the scheme is {other}");
        return Err(engine.value(path, "algorithm", &expected, found));
    }
    if let Some(prf) = config.prf.as_deref().filter(|prf| *prf != "philox") {
        return Err(engine.value(path, "prf", "\"philox\"", prf));
    }
    Ok(config)
}

impl Config {
    fn context_width(&self, scheme: &'static str) -> Result<u8, KeyError> {
        engine_json::small(scheme, "context_width", self.context_width.unwrap_or(4))
    }

    fn secret(&self) -> Secret {
        Secret::new(Zeroizing::new(self.key.to_le_bytes().to_vec()))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = engine_json::notes(&self.other, &OF_WRITING);
        notes.extend(engine_json::public_key(*self.key == 42));
        notes
    }
}

fn to_json(secret: &Secret, algorithm: &str, width: u8, alpha: Option<f64>) -> Zeroizing<String> {
    let key = Zeroizing::new(number(secret).to_string());
    let alpha = alpha.map_or_else(String::new, |alpha| format!(", \"alpha\": {alpha}"));
    let head = "{\"algorithm\": \"";
    let tail = format!("\", \"context_width\": {width}{alpha}, \"key\": ");
    let mut json = Zeroizing::new(String::with_capacity(head.len() + algorithm.len() + tail.len() + 24));
    for part in [head, algorithm, &tail, &key, "}"] {
        json.push_str(part);
    }
    json
}

fn number(secret: &Secret) -> u64 {
    secret.expose().try_into().map_or(0, u64::from_le_bytes)
}

const SHAPE: SecretShape = SecretShape { len: 8, distinct_layer_keys: false, derivable: false };

fn check_width(scheme: &'static str, width: u8) -> Result<(), KeyError> {
    engine_json::within(scheme, "context_width", 1..=63, width)
}

impl Parameters for VllmGumbel {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        usize::from(self.context_width) + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Padded { len: self.context_width.into() }
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Uniform(Uniforms { steps: STEPS, second_share: None })
    }

    fn promise(&self) -> Promise {
        // The numbers are rounded down, and independent if Philox4x32-10 is a pseudorandom function.
        Promise::Conservative
    }

    fn secret_shape(&self) -> SecretShape {
        SHAPE
    }

    fn check(&self) -> Result<(), KeyError> {
        check_width(Self::NAME, self.context_width)
    }

    fn to_fields(&self) -> Vec<u8> {
        vec![self.context_width]
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update([self.context_width]);
    }

    fn to_json(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        Some(to_json(secret, "gumbel", self.context_width, None))
    }
}

impl Family for VllmGumbel {
    const TAG: u8 = 5;
    const NAME: &'static str = "vllm-gumbel";
    type Function = Function;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [context_width] = fields.array()?;
        Ok(Self { context_width })
    }

    fn from_json(json: &[u8], path: &str, _: ImportOptions) -> Option<Result<Imported<Self>, KeyError>> {
        let imported = |config: Config| {
            let parameters = Self { context_width: config.context_width(Self::NAME)? };
            Ok(Imported { parameters, secret: config.secret(), notes: config.notes() })
        };
        Some(read(json, path, Self::NAME, "gumbel").and_then(imported))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        Function { width: self.context_width, first: words(number(secret)), second: None, share: 0.0 }
    }

    fn fix(function: &Function, context: &[u32]) -> Context {
        function.fix(context)
    }
}

impl Parameters for VllmGumbelDual {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        usize::from(self.context_width) + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Padded { len: self.context_width.into() }
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Uniform(Uniforms { steps: STEPS, second_share: Some(judged_share(self.alpha.0)) })
    }

    fn promise(&self) -> Promise {
        // The numbers are rounded down, and independent if Philox4x32-10 is a pseudorandom function.
        Promise::Conservative
    }

    fn secret_shape(&self) -> SecretShape {
        SHAPE
    }

    fn check(&self) -> Result<(), KeyError> {
        check_width(Self::NAME, self.context_width)?;
        engine_json::share(Self::NAME, "alpha", self.alpha.0)
    }

    fn to_fields(&self) -> Vec<u8> {
        [&[self.context_width][..], &self.alpha.to_bytes()].concat()
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update(self.to_fields());
    }

    fn to_json(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        Some(to_json(secret, "dual_key_gumbel", self.context_width, Some(self.alpha.0)))
    }
}

impl Family for VllmGumbelDual {
    const TAG: u8 = 6;
    const NAME: &'static str = "vllm-gumbel-dual";
    type Function = Function;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [context_width] = fields.array()?;
        Ok(Self { context_width, alpha: fields.real()? })
    }

    fn from_json(json: &[u8], path: &str, _: ImportOptions) -> Option<Result<Imported<Self>, KeyError>> {
        let imported = |config: Config| {
            let context_width = config.context_width(Self::NAME)?;
            let parameters = Self { context_width, alpha: config.alpha.unwrap_or(0.1).into() };
            Ok(Imported { parameters, secret: config.secret(), notes: config.notes() })
        };
        Some(read(json, path, Self::NAME, "dual_key_gumbel").and_then(imported))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        let [first, second] =
            [&b"key_a"[..], b"key_b"].map(|domain| derived(number(secret), domain)).map(words);
        Function { width: self.context_width, first, second: Some(second), share: judged_share(self.alpha.0) }
    }

    fn fix(function: &Function, context: &[u32]) -> Context {
        function.fix(context)
    }
}

/// Returns the first 8 bytes of SHA-256 over the domain and the key, all big-endian.
fn derived(mut key: u64, domain: &[u8]) -> u64 {
    let digest = Sha256::new().chain_update(domain).chain_update(key.to_be_bytes()).finalize();
    key.zeroize();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Returns the lower and the upper half of a key.
fn words(key: u64) -> [u32; 2] {
    [key as u32, (key >> 32) as u32]
}

/// The function of one key, or of the two keys of a master.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Function {
    width: u8,
    first: [u32; 2],
    second: Option<[u32; 2]>,
    /// The share of the second key.
    share: f64,
}

impl Function {
    fn fix(&self, context: &[u32]) -> Context {
        let fixed = |key| FixedKey { key, state: context_state(context, key) };
        Context { first: fixed(self.first), second: self.second.map(fixed) }
    }
}

/// Returns the state that a context has under a key.
fn context_state(context: &[u32], [k0, k1]: [u32; 2]) -> [u32; 4] {
    let mut state = [CONTEXT_DOMAIN, context.len() as u32, 0, 0];
    for (block, offset) in context.chunks(4).zip((0_u32..).step_by(4)) {
        for (i, state) in state.iter_mut().enumerate() {
            *state ^= block.get(i).copied().unwrap_or(u32::MAX - i as u32);
        }
        state = philox(state, [k0 ^ offset, k1]);
    }
    state
}

impl Numbers for Function {
    fn law(&self) -> Uniforms {
        Uniforms { steps: STEPS, second_share: self.second.map(|_| self.share) }
    }

    fn of(&self, ngram: &[u32]) -> GBits {
        let (context, token) = ngram.split_at(ngram.len() - 1);
        self.fix(context).number(token[0])
    }
}

impl KeyedFunction for Function {
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        ContextTracker::new(ContextRule::Padded { len: self.width.into() }, prompt)
    }

    fn mark(&self, g: &[GBits], _leaves: u32, candidates: &mut Distribution) {
        super::mark(self.law(), g, candidates);
    }

    fn evidence(&self, _memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        super::evidence(self, piece, piece.scored())
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        super::g_bits_of(self, ngrams, g);
    }
}

/// The function in one context.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Context {
    first: FixedKey,
    second: Option<FixedKey>,
}

#[derive(ZeroizeOnDrop)]
struct FixedKey {
    key: [u32; 2],
    state: [u32; 4],
}

impl FixedKey {
    /// Returns the upper 24 bits of the token's word.
    fn number(&self, token: u32) -> u64 {
        let [s0, s1, s2, s3] = self.state;
        let out = philox([token >> 2, s0, s1, s2], [self.key[0] ^ s3, self.key[1] ^ TOKEN_DOMAIN]);
        u64::from(out[token as usize & 3] >> 8)
    }
}

impl Context {
    fn number(&self, token: u32) -> GBits {
        let second = self.second.as_ref().map_or(0, |second| second.number(token));
        GBits(self.first.number(token) | second << 32)
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
    use crate::scheme::PAD;

    fn function(key: u64) -> Function {
        Function { width: 4, first: words(key), second: None, share: 0.0 }
    }

    #[test]
    fn words_of_vllm() {
        let word = |key, ngram: &[u32]| function(key).of(ngram).0;
        assert_eq!(word(1, &[1, 2, 3, 4, 65_536]), 0x0027_5cb8);
        assert_eq!(word(u64::MAX, &[PAD, PAD, PAD, 7, 3]), 0x0031_67a6);
        assert_eq!(word(1, &[9, 8, 7, 6, 5, 10]), 0x00c9_2e9a);
        let exponential = function(1).law().exponential(GBits(0x0027_5cb8));
        assert!((exponential - 0.166_950_582).abs() < 1e-7, "{exponential}");
    }

    #[test]
    fn the_two_keys_of_a_master() {
        assert_eq!(derived(1, b"key_a"), 0x1aa9_80e5_5194_31a9);
        assert_eq!(derived(1, b"key_b"), 0x12dc_bf1c_e07d_e7e5);
        let secret = Secret::new(1_u64.to_le_bytes().to_vec().into());
        let dual = VllmGumbelDual { context_width: 4, alpha: 0.1.into() }.function(&secret, 0);
        let ngram = [1, 2, 3, 4, 65_536];
        let [first, second] =
            [0x1aa9_80e5_5194_31a9, 0x12dc_bf1c_e07d_e7e5].map(|key| function(key).of(&ngram).0);
        assert_eq!(dual.of(&ngram), GBits(first | second << 32));
    }
}
