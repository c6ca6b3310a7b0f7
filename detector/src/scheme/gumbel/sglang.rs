//! `sglang-gumbel` and `sglang-gumbel-dual`: SGLang's `--watermark-config`, with one key or with two.

use serde::Deserialize;
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::Numbers;
use super::murmur::Murmur;
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

/// The parameters of `sglang-gumbel`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SglangGumbel {
    /// H, 1 to 64.
    pub context_window: u8,
}

/// The parameters of `sglang-gumbel-dual`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SglangGumbelDual {
    /// H, 1 to 64.
    pub context_window: u8,
    /// The share of contexts in which the first key draws, above 0 and below 1.
    pub mixing_probability: Real,
}

const LAW: Uniforms = Uniforms { steps: 1 << 32, second_share: None };

/// The fields of the configuration.
#[derive(Deserialize)]
struct Config {
    #[serde(default, deserialize_with = "engine_json::wiped_option")]
    key: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "engine_json::wiped_option")]
    key_b: Option<Zeroizing<String>>,
    context_window: Option<u64>,
    mixing_probability: Option<f64>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// Fields that do not affect the number of a token.
const OF_WRITING: [&str; 3] = ["max_probability", "default_enabled", "enforce_all"];

/// Reads the configuration, and its keys into one secret.
fn read(
    json: &[u8],
    path: &str,
    scheme: &'static str,
    required: &'static [&'static str],
) -> Result<(Config, Secret), KeyError> {
    let engine = Engine { scheme, nested: &[], required };
    let config: Config = engine.read(json, path)?;
    let mut secret = Zeroizing::new(Vec::with_capacity(16));
    for &field in required {
        let digits = if field == "key" { &config.key } else { &config.key_b };
        let digits = digits.as_ref().ok_or_else(|| engine.error(path, format!("no field `{field}`")))?;
        let number = hexadecimal(digits).ok_or_else(|| {
            engine.error(path, format!("a field `{field}` that is not 1 to 16 hexadecimal digits"))
        })?;
        secret.extend_from_slice(&number.to_le_bytes());
    }
    if let ("sglang-gumbel", Some(_)) = (scheme, &config.key_b) {
        let found = "a field `key_b`; with two keys the scheme is sglang-gumbel-dual";
        return Err(engine.error(path, found.into()));
    }
    Ok((config, Secret::new(secret)))
}

/// Reads 1 to 16 hexadecimal digits, with or without `0x` in front.
fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let are_digits = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl Config {
    fn context_window(&self, scheme: &'static str) -> Result<u8, KeyError> {
        engine_json::small(scheme, "context_window", self.context_window.unwrap_or(4))
    }

    fn notes(&self) -> Vec<String> {
        engine_json::notes(&self.other, &OF_WRITING)
    }
}

fn to_json(secret: &Secret, window: u8, mixing: Option<f64>) -> Zeroizing<String> {
    let tail = match mixing {
        Some(mixing) => format!("\"context_window\": {window}, \"mixing_probability\": {mixing}}}"),
        None => format!("\"context_window\": {window}}}"),
    };
    let mut json = Zeroizing::new(String::with_capacity(80 + tail.len()));
    json.push('{');
    for (name, number) in ["key", "key_b"].into_iter().zip(secret.layer_keys().iter()) {
        let digits = Zeroizing::new(format!("{number:x}"));
        for part in ["\"", name, "\": \"", &digits, "\", "] {
            json.push_str(part);
        }
    }
    json.push_str(&tail);
    json
}

fn shape(keys: usize) -> SecretShape {
    SecretShape { len: 8 * keys, distinct_layer_keys: false, derivable: false }
}

fn check_window(scheme: &'static str, window: u8) -> Result<(), KeyError> {
    engine_json::within(scheme, "context_window", 1..=64, window)
}

impl Parameters for SglangGumbel {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        usize::from(self.context_window) + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Spanning { len: self.context_window.into() }
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Uniform(LAW)
    }

    fn promise(&self) -> Promise {
        Promise::Approximate {
            reason: "the hash of sglang-gumbel is not cryptographic and knows only 2^32 different keys",
        }
    }

    fn secret_shape(&self) -> SecretShape {
        shape(1)
    }

    fn check(&self) -> Result<(), KeyError> {
        check_window(Self::NAME, self.context_window)
    }

    fn to_fields(&self) -> Vec<u8> {
        vec![self.context_window]
    }

    fn update_id(&self, id: &mut Sha256) {
        sha2::Digest::update(id, self.to_fields());
    }

    fn to_json(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        Some(to_json(secret, self.context_window, None))
    }
}

impl Family for SglangGumbel {
    const TAG: u8 = 7;
    const NAME: &'static str = "sglang-gumbel";
    type Function = Function;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [context_window] = fields.array()?;
        Ok(Self { context_window })
    }

    fn from_json(json: &[u8], path: &str, _: ImportOptions) -> Option<Result<Imported<Self>, KeyError>> {
        let imported = |(config, secret): (Config, Secret)| {
            let parameters = Self { context_window: config.context_window(Self::NAME)? };
            Ok(Imported { parameters, secret, notes: config.notes() })
        };
        Some(read(json, path, Self::NAME, &["key"]).and_then(imported))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        Function { window: self.context_window, first: words(secret, 0), second: None, first_below: 0 }
    }

    fn fix(function: &Function, context: &[u32]) -> Context {
        function.fix(context)
    }
}

impl Parameters for SglangGumbelDual {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        usize::from(self.context_window) + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Spanning { len: self.context_window.into() }
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Uniform(LAW)
    }

    fn promise(&self) -> Promise {
        Promise::Approximate {
            reason: "the hash of sglang-gumbel-dual is not cryptographic and knows only 2^32 different keys",
        }
    }

    fn secret_shape(&self) -> SecretShape {
        shape(2)
    }

    fn check(&self) -> Result<(), KeyError> {
        check_window(Self::NAME, self.context_window)?;
        let mixing = self.mixing_probability.0;
        if mixing > 0.0 && mixing < 1.0 {
            return Ok(());
        }
        Err(engine_json::parameter(Self::NAME, "mixing_probability", "above 0 and below 1".into(), mixing))
    }

    fn to_fields(&self) -> Vec<u8> {
        [&[self.context_window][..], &self.mixing_probability.to_bytes()].concat()
    }

    fn update_id(&self, id: &mut Sha256) {
        sha2::Digest::update(id, self.to_fields());
    }

    fn to_json(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        Some(to_json(secret, self.context_window, Some(self.mixing_probability.0)))
    }
}

impl Family for SglangGumbelDual {
    const TAG: u8 = 8;
    const NAME: &'static str = "sglang-gumbel-dual";
    type Function = Function;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [context_window] = fields.array()?;
        Ok(Self { context_window, mixing_probability: fields.real()? })
    }

    fn from_json(json: &[u8], path: &str, _: ImportOptions) -> Option<Result<Imported<Self>, KeyError>> {
        let imported = |(config, secret): (Config, Secret)| {
            let context_window = config.context_window(Self::NAME)?;
            let mixing_probability = config.mixing_probability.unwrap_or(0.5).into();
            let parameters = Self { context_window, mixing_probability };
            Ok(Imported { parameters, secret, notes: config.notes() })
        };
        Some(read(json, path, Self::NAME, &["key", "key_b"]).and_then(imported))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        Function {
            window: self.context_window,
            first: words(secret, 0),
            second: Some(words(secret, 1)),
            first_below: (self.mixing_probability.0 * (1_u64 << 32) as f64) as u32,
        }
    }

    fn fix(function: &Function, context: &[u32]) -> Context {
        function.fix(context)
    }
}

/// Returns the lower and the upper half of a key of the secret.
fn words(secret: &Secret, which: usize) -> [u32; 2] {
    let key = secret.layer_keys()[which] as u64;
    [key as u32, (key >> 32) as u32]
}

/// The function of one key, or of two of which a coin chooses one in each context.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Function {
    window: u8,
    first: [u32; 2],
    second: Option<[u32; 2]>,
    /// The first key is taken if the coin is below this.
    first_below: u32,
}

impl Function {
    fn fix(&self, context: &[u32]) -> Context {
        let hash = context_hash(context);
        let key = match self.second {
            Some(second) => {
                let coin = Murmur::default().all(&self.first).all(&second).word(hash).finish();
                if coin < self.first_below { self.first } else { second }
            }
            None => self.first,
        };
        Context { state: Murmur::default().all(&key).word(hash) }
    }
}

/// Returns the hash of a context, which does not depend on the key.
fn context_hash(context: &[u32]) -> u32 {
    Murmur::default().all(context).finish()
}

impl Numbers for Function {
    fn law(&self) -> Uniforms {
        LAW
    }

    fn of(&self, ngram: &[u32]) -> GBits {
        let (context, token) = ngram.split_at(ngram.len() - 1);
        self.fix(context).number(token[0])
    }
}

impl KeyedFunction for Function {
    /// Returns the engine's rule for contexts whose hash came up before. The engine has two more rules, which change
    /// little: contexts of fewer tokens where a prompt is shorter than the window, and an end after 4,096 contexts.
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        ContextTracker::hashed(self.window.into(), prompt, context_hash)
    }

    fn mark(&self, g: &[GBits], _leaves: u32, candidates: &mut Distribution) {
        super::mark(LAW, g, candidates);
    }

    fn evidence(&self, memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        let hashes = piece.ngrams().map(|ngram| context_hash(&ngram[..ngram.len() - 1]));
        let fresh = hashes.map(|hash| memory.insert(hash.into())).collect();
        super::evidence(self, piece, fresh)
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        super::g_bits_of(self, ngrams, g);
    }
}

/// The function in one context.
#[derive(Clone, Copy)]
pub(in crate::scheme) struct Context {
    state: Murmur,
}

impl Context {
    fn number(self, token: u32) -> GBits {
        GBits(self.state.word(token).finish().into())
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
    use crate::scheme::{Key, PositionKind};

    fn secret(keys: &[u64]) -> Secret {
        Secret::new(keys.iter().flat_map(|key| key.to_le_bytes()).collect::<Vec<u8>>().into())
    }

    #[test]
    fn words_of_sglang() {
        let single = SglangGumbel { context_window: 4 }.function(&secret(&[1]), 0);
        assert_eq!(single.of(&[1, 2, 3, 4, 65_536]), GBits(0x7286_9b3b));
        // The coin of the keys 1 and 2 in this context is 8256636d, just above half.
        for (mixing, key) in [(0.5, 2), (0.51, 1)] {
            let scheme = SglangGumbelDual { context_window: 4, mixing_probability: mixing.into() };
            let alone = SglangGumbel { context_window: 4 }.function(&secret(&[key]), 0);
            let ngram = [1, 2, 3, 4, 65_536];
            assert_eq!(scheme.function(&secret(&[1, 2]), 0).of(&ngram), alone.of(&ngram), "{mixing}");
        }
    }

    #[test]
    fn a_context_counts_once_and_reaches_into_the_prompt() {
        let key = Key::new(SglangGumbel { context_window: 2 }, secret(&[7])).unwrap();
        let ids = [1, 2, 1, 2, 3];
        assert_eq!(Evidence::new(&key.prf(), &[], &ids).scored_mask(), [true, true, false]);
        let after = Evidence::new(&key.prf(), &[8, 9, 2], &ids);
        assert_eq!((after.first(), after.scored_mask()), (0, &[true, true, true, false, false][..]));
    }

    /// What the engine draws by the key is what counts in a text.
    #[test]
    fn a_repeated_context_is_drawn_without_the_key() {
        let prf = Key::new(SglangGumbel { context_window: 2 }, secret(&[7])).unwrap().prf();
        let ids = [1, 2, 1, 2, 3];
        for (prompt, unfinished) in [(&[][..], 2), (&[8, 9, 2][..], 0)] {
            let mut tracker = prf.marked_positions(prompt);
            let marked = ids.map(|token| {
                let kind = tracker.next_position();
                assert_eq!(kind, tracker.advance(token));
                kind == PositionKind::Marked
            });
            assert_eq!(marked[..unfinished], [false; 2][..unfinished]);
            assert_eq!(marked[unfinished..], *Evidence::new(&prf, prompt, &ids).scored_mask());
        }
    }

    #[test]
    fn keys_are_hexadecimal() {
        for (text, number) in [
            ("1", Some(1)),
            ("0xFFFFFFFFFFFFFFFF", Some(u64::MAX)),
            ("0Xab", Some(0xab)),
            ("", None),
            ("0x", None),
            ("+1", None),
            ("11111111111111111", None),
        ] {
            assert_eq!(hexadecimal(text), number, "{text}");
        }
    }
}
