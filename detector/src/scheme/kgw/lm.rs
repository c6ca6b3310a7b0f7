//! `kgw`: the lm-watermarking of the authors, `extended_watermark_processor.py` and `alternative_prf_schemes.py`.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Context, Function, Lists, PUBLIC_KEY, SHAPE, Seed, evidence_kind, vocab_size};
use crate::scheme::KeyError;
use crate::scheme::context::ContextRule;
use crate::scheme::engine_json::{self, Engine};
use crate::scheme::evidence::EvidenceKind;
use crate::scheme::family::{Family, ImportOptions, Imported, Parameters, Promise};
use crate::scheme::fields::Fields;
use crate::scheme::real::Real;
use crate::scheme::secret::{Secret, SecretShape};

/// How lm-watermarking makes a seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prf {
    /// `additive_prf`: key times the sum of the tokens before. `simple_1` and `lefthash` have one.
    Additive,
    /// `minhash_prf`: the least hash of the tokens before. `minhash` has four.
    MinHash,
    /// `skipgram_prf`: the hash of the first of the tokens before. `skipgram` has five.
    SkipGram,
    /// `anchored_minhash_prf` with the candidate itself. `selfhash` and `algorithm-3` have four with it.
    SelfHash,
}

/// The parameters of `kgw`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kgw {
    /// How a seed is made.
    pub prf: Prf,
    /// Number of tokens that the seed is made from, 1 to 63. With [`Prf::SelfHash`] the candidate is one of them.
    pub context_width: u8,
    /// The share of the vocabulary that is green.
    pub gamma: Real,
    /// V: the length of the vocabulary that the processor was given.
    pub vocab_size: u32,
    /// Whether the list is the first part of the permutation; in lm-watermarking's first version it is the last.
    pub select_green_tokens: bool,
}

impl Kgw {
    fn lists(&self) -> Lists {
        Lists::new(self.vocab_size, self.gamma, !self.select_green_tokens)
    }

    fn context_len(&self) -> usize {
        match self.prf {
            // A list that depends on the candidate alone is read with a context that plays no part.
            Prf::SelfHash => usize::from(self.context_width).saturating_sub(1).max(1),
            Prf::Additive | Prf::MinHash | Prf::SkipGram => self.context_width.into(),
        }
    }

    fn seed(&self) -> Seed {
        match self.prf {
            Prf::Additive => Seed::Sum,
            Prf::MinHash => Seed::Min,
            Prf::SkipGram => Seed::First,
            Prf::SelfHash => Seed::MinWithSelf(self.context_width.into()),
        }
    }
}

impl Parameters for Kgw {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        self.context_len() + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Spanning { len: self.context_len() }
    }

    fn positions_depend_on_key(&self) -> bool {
        match self.prf {
            Prf::Additive | Prf::SkipGram => false,
            Prf::MinHash | Prf::SelfHash => self.context_width > 1,
        }
    }

    fn evidence_kind(&self) -> EvidenceKind {
        evidence_kind(self.lists())
    }

    fn promise(&self) -> Promise {
        Promise::Approximate {
            reason: "the lists of kgw are those of a CPU, and MT19937 under different seeds is taken for independent",
        }
    }

    fn secret_shape(&self) -> SecretShape {
        SHAPE
    }

    fn check(&self) -> Result<(), KeyError> {
        engine_json::within(Self::NAME, "context_width", 1..=63, self.context_width)?;
        self.lists().check(Self::NAME, "gamma")
    }

    fn to_fields(&self) -> Vec<u8> {
        let prf = match self.prf {
            Prf::Additive => 0,
            Prf::MinHash => 1,
            Prf::SkipGram => 2,
            Prf::SelfHash => 3,
        };
        let mut fields = vec![prf, self.context_width, self.select_green_tokens.into()];
        fields.extend(self.gamma.to_bytes());
        fields.extend(self.vocab_size.to_le_bytes());
        fields
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update(self.to_fields());
    }
}

/// The arguments of the processor.
#[derive(Deserialize)]
struct Config {
    #[serde(default, deserialize_with = "engine_json::wiped_option")]
    seeding_scheme: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "engine_json::wiped_option")]
    hash_key: Option<Zeroizing<i64>>,
    gamma: Option<f64>,
    vocab_size: Option<u64>,
    select_green_tokens: Option<bool>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// Returns the function, the width and the key of a scheme by its name.
fn by_name(name: &str) -> Option<(Prf, u8, Option<i64>)> {
    let usual = |prf, width| Some((prf, width, None));
    match name {
        "simple_1" | "lefthash" => return usual(Prf::Additive, 1),
        "minhash" => return usual(Prf::MinHash, 4),
        "skipgram" => return usual(Prf::SkipGram, 5),
        "selfhash" | "algorithm-3" => return usual(Prf::SelfHash, 4),
        _ => {}
    }
    // ff-NAME-WIDTH-SELF, with or without the key at the end.
    let mut parts = name.strip_prefix("ff-")?.splitn(4, '-');
    let (prf, width, with_self) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let key = parts.next().map(str::parse).transpose().ok()?;
    let prf = match (prf, with_self) {
        ("additive_prf", "False") => Prf::Additive,
        ("minhash_prf", "False") => Prf::MinHash,
        ("skipgram_prf", "False") => Prf::SkipGram,
        ("anchored_minhash_prf", "True") => Prf::SelfHash,
        _ => return None,
    };
    Some((prf, width, key))
}

impl Config {
    fn read(json: &[u8], path: &str, options: ImportOptions) -> Result<Imported<Kgw>, KeyError> {
        let engine = Engine { scheme: Kgw::NAME, nested: &[], required: &[] };
        let config: Self = engine.read(json, path)?;
        let name = config.seeding_scheme.as_ref().map_or("selfhash", |name| name.as_str());
        let (prf, context_width, key) = by_name(name).ok_or_else(|| {
            let found = "a `seeding_scheme` that is not read; simple_1, lefthash, minhash, skipgram, selfhash and \
                         algorithm-3 are, and ff-NAME-WIDTH-SELF-KEY with additive_prf, minhash_prf, skipgram_prf \
                         (False) or anchored_minhash_prf (True)";
            engine.error(path, found.into())
        })?;
        let parameters = Kgw {
            prf,
            context_width,
            gamma: config.gamma.unwrap_or(0.25).into(),
            vocab_size: vocab_size(Kgw::NAME, config.vocab_size, options.vocab_size)?,
            select_green_tokens: config.select_green_tokens.unwrap_or(true),
        };
        let key = config.hash_key.as_deref().copied().or(key).unwrap_or(PUBLIC_KEY);
        let mut notes = engine_json::notes(&config.other, &["delta"]);
        notes.extend(engine_json::public_key(key == PUBLIC_KEY));
        let secret = Secret::new(Zeroizing::new(key.to_le_bytes().to_vec()));
        Ok(Imported { parameters, secret, notes })
    }
}

impl Family for Kgw {
    const TAG: u8 = 11;
    const NAME: &'static str = "kgw";
    type Function = Function;
    type Context<'f> = Context<'f>;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [prf, context_width, select_green_tokens] = fields.array()?;
        let prf = match prf {
            0 => Prf::Additive,
            1 => Prf::MinHash,
            2 => Prf::SkipGram,
            3 => Prf::SelfHash,
            _ => return Err(fields.corrupted("its seeding scheme is unknown")),
        };
        let gamma = fields.real()?;
        let vocab_size = u32::from_le_bytes(fields.array()?);
        Ok(Self { prf, context_width, gamma, vocab_size, select_green_tokens: select_green_tokens != 0 })
    }

    fn from_json(
        json: &[u8],
        path: &str,
        options: ImportOptions,
    ) -> Option<Result<Imported<Self>, KeyError>> {
        Some(Config::read(json, path, options))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        Function::new(secret, self.seed(), self.context_len(), self.lists(), false)
    }

    fn fix<'f>(function: &'f Function, context: &[u32]) -> Context<'f> {
        function.fix(context)
    }
}
