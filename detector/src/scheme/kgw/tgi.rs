//! `kgw-tgi`: the green lists of Text Generation Inference on the CPU.

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

/// The token before.
const CONTEXT_LEN: usize = 1;

/// The parameters of `kgw-tgi`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KgwTgi {
    /// The share of the vocabulary that is green, `WATERMARK_GAMMA`.
    pub gamma: Real,
    /// V: the width of the model's logits, which may be padded.
    pub vocab_size: u32,
}

impl KgwTgi {
    fn lists(&self) -> Lists {
        Lists::new(self.vocab_size, self.gamma, false)
    }
}

impl Parameters for KgwTgi {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        CONTEXT_LEN + 1
    }

    fn context_rule(&self) -> ContextRule {
        ContextRule::Spanning { len: CONTEXT_LEN }
    }

    fn evidence_kind(&self) -> EvidenceKind {
        evidence_kind(self.lists())
    }

    fn promise(&self) -> Promise {
        Promise::Approximate {
            reason: "the lists of kgw-tgi are those of a CPU, and MT19937 under different seeds is taken for independent",
        }
    }

    fn secret_shape(&self) -> SecretShape {
        SHAPE
    }

    fn check(&self) -> Result<(), KeyError> {
        self.lists().check(Self::NAME, "WATERMARK_GAMMA")
    }

    fn to_fields(&self) -> Vec<u8> {
        [&self.gamma.to_bytes()[..], &self.vocab_size.to_le_bytes()].concat()
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update(self.to_fields());
    }
}

/// The server's environment variables as JSON. An empty object has all defaults. The server itself reads no such file.
#[derive(Deserialize)]
struct Config {
    #[serde(default, alias = "WATERMARK_GAMMA")]
    gamma: Option<Number>,
    #[serde(default, deserialize_with = "engine_json::wiped_option")]
    hash_key: Option<Zeroizing<i64>>,
    vocab_size: Option<u64>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// A number, or a string that holds one, as in an environment variable.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

impl Config {
    fn read(json: &[u8], path: &str, options: ImportOptions) -> Result<Imported<KgwTgi>, KeyError> {
        let engine = Engine { scheme: KgwTgi::NAME, nested: &[], required: &[] };
        let config: Self = engine.read(json, path)?;
        let gamma = match &config.gamma {
            None => 0.5,
            Some(Number::Number(gamma)) => *gamma,
            Some(Number::Text(text)) => {
                text.parse().map_err(|_| engine.value(path, "WATERMARK_GAMMA", "a number", text))?
            }
        };
        let parameters = KgwTgi {
            gamma: gamma.into(),
            vocab_size: vocab_size(KgwTgi::NAME, config.vocab_size, options.vocab_size)?,
        };
        let key = config.hash_key.as_deref().copied().unwrap_or(PUBLIC_KEY);
        let mut notes = engine_json::notes(&config.other, &["delta", "WATERMARK_DELTA"]);
        notes.extend(engine_json::public_key(key == PUBLIC_KEY));
        let secret = Secret::new(Zeroizing::new(key.to_le_bytes().to_vec()));
        Ok(Imported { parameters, secret, notes })
    }
}

impl Family for KgwTgi {
    const TAG: u8 = 12;
    const NAME: &'static str = "kgw-tgi";
    type Function = Function;
    type Context<'f> = Context<'f>;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let gamma = fields.real()?;
        Ok(Self { gamma, vocab_size: u32::from_le_bytes(fields.array()?) })
    }

    fn from_json(
        json: &[u8],
        path: &str,
        options: ImportOptions,
    ) -> Option<Result<Imported<Self>, KeyError>> {
        Some(Config::read(json, path, options))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        Function::new(secret, Seed::Sum, CONTEXT_LEN, self.lists(), false)
    }

    fn fix<'f>(function: &'f Function, context: &[u32]) -> Context<'f> {
        function.fix(context)
    }
}
