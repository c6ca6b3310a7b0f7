//! `kgw-hf`: `WatermarkLogitsProcessor` of transformers, with its `WatermarkingConfig`.

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

/// How transformers makes a seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seeding {
    /// From the token before, whatever the width of the context.
    LeftHash,
    /// From the last `context_width` tokens, the candidate among them.
    SelfHash,
}

/// The parameters of `kgw-hf`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KgwHf {
    /// How a seed is made.
    pub seeding_scheme: Seeding,
    /// Number of tokens that the seed is made from with [`Seeding::SelfHash`], 1 to 63. The candidate is one of them.
    pub context_width: u8,
    /// The share of the vocabulary that is green.
    pub greenlist_ratio: Real,
    /// V: the width of the model's logits, `vocab_size` in its configuration.
    pub vocab_size: u32,
}

impl KgwHf {
    fn lists(&self) -> Lists {
        Lists::new(self.vocab_size, self.greenlist_ratio, false)
    }

    fn context_len(&self) -> usize {
        match self.seeding_scheme {
            Seeding::LeftHash => 1,
            // A list that depends on the candidate alone is read with a context that plays no part.
            Seeding::SelfHash => usize::from(self.context_width).saturating_sub(1).max(1),
        }
    }

    fn seed(&self) -> Seed {
        match self.seeding_scheme {
            Seeding::LeftHash => Seed::Sum,
            Seeding::SelfHash => Seed::MinWithSelf(self.context_width.into()),
        }
    }
}

impl Parameters for KgwHf {
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
        self.seeding_scheme == Seeding::SelfHash && self.context_width > 1
    }

    fn evidence_kind(&self) -> EvidenceKind {
        evidence_kind(self.lists())
    }

    fn promise(&self) -> Promise {
        Promise::Approximate {
            reason: "the lists of kgw-hf are those of a CPU, and MT19937 under different seeds is taken for independent",
        }
    }

    fn secret_shape(&self) -> SecretShape {
        SHAPE
    }

    fn check(&self) -> Result<(), KeyError> {
        engine_json::within(Self::NAME, "context_width", 1..=63, self.context_width)?;
        self.lists().check(Self::NAME, "greenlist_ratio")
    }

    fn to_fields(&self) -> Vec<u8> {
        let seeding = match self.seeding_scheme {
            Seeding::LeftHash => 0,
            Seeding::SelfHash => 1,
        };
        let mut fields = vec![seeding, self.context_width];
        fields.extend(self.greenlist_ratio.to_bytes());
        fields.extend(self.vocab_size.to_le_bytes());
        fields
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update(self.to_fields());
    }
}

/// The fields of the configuration.
#[derive(Deserialize)]
struct Config {
    #[serde(default, deserialize_with = "engine_json::wiped_option")]
    hashing_key: Option<Zeroizing<i64>>,
    greenlist_ratio: Option<f64>,
    seeding_scheme: Option<String>,
    context_width: Option<u64>,
    vocab_size: Option<u64>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl Config {
    fn read(json: &[u8], path: &str, options: ImportOptions) -> Result<Imported<KgwHf>, KeyError> {
        let engine = Engine { scheme: KgwHf::NAME, nested: &["watermarking_config"], required: &[] };
        let config: Self = engine.read(json, path)?;
        let seeding_scheme = match config.seeding_scheme.as_deref().unwrap_or("lefthash") {
            "lefthash" => Seeding::LeftHash,
            "selfhash" => Seeding::SelfHash,
            other => {
                return Err(engine.value(path, "seeding_scheme", "\"lefthash\" or \"selfhash\"", other));
            }
        };
        let parameters = KgwHf {
            seeding_scheme,
            context_width: engine_json::small(
                KgwHf::NAME,
                "context_width",
                config.context_width.unwrap_or(1),
            )?,
            greenlist_ratio: config.greenlist_ratio.unwrap_or(0.25).into(),
            vocab_size: vocab_size(KgwHf::NAME, config.vocab_size, options.vocab_size)?,
        };
        let key = config.hashing_key.as_deref().copied().unwrap_or(PUBLIC_KEY);
        let mut notes = engine_json::notes(&config.other, &["bias"]);
        notes.extend(engine_json::public_key(key == PUBLIC_KEY));
        let secret = Secret::new(Zeroizing::new(key.to_le_bytes().to_vec()));
        Ok(Imported { parameters, secret, notes })
    }
}

impl Family for KgwHf {
    const TAG: u8 = 10;
    const NAME: &'static str = "kgw-hf";
    type Function = Function;
    type Context<'f> = Context<'f>;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [seeding, context_width] = fields.array()?;
        let seeding_scheme = match seeding {
            0 => Seeding::LeftHash,
            1 => Seeding::SelfHash,
            _ => return Err(fields.corrupted("its seeding scheme is unknown")),
        };
        let greenlist_ratio = fields.real()?;
        let vocab_size = u32::from_le_bytes(fields.array()?);
        Ok(Self { seeding_scheme, context_width, greenlist_ratio, vocab_size })
    }

    fn from_json(
        json: &[u8],
        path: &str,
        options: ImportOptions,
    ) -> Option<Result<Imported<Self>, KeyError>> {
        Some(Config::read(json, path, options))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        Function::new(
            secret,
            self.seed(),
            self.context_len(),
            self.lists(),
            self.seeding_scheme == Seeding::SelfHash,
        )
    }

    fn fix<'f>(function: &'f Function, context: &[u32]) -> Context<'f> {
        function.fix(context)
    }
}
