//! Two small families that are not SynthID, which test what the traits promise: a green list and uniform numbers.

use sha2::Sha256;

use super::KeyError;
use super::context::{ContextRule, ContextTracker, Piece};
use super::distribution::Distribution;
use super::evidence::{Evidence, EvidenceKind, GBits, TextGreens, TextUniforms, Uniforms};
use super::family::{Family, FixedContext, KeyedFunction, Parameters, Promise, TextMemory};
use super::fields::Fields;
use super::ngrams::Ngrams;
use super::secret::{Secret, SecretShape};
use crate::split_mix::mix;

/// A green list of a quarter of the vocabulary for each last token; green tokens become `odds` times as likely.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Green {
    pub odds: u8,
}

/// Numbers in [0, 1) by the last two tokens: the token of the greatest u^(1/p) is drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uniform;

const LAW: Uniforms = Uniforms { steps: 1 << 53, second_share: None };
const GREEN_RATE: f64 = 0.25;
/// Ids that agree in these bits are the same to the list.
const GREEN_BITS: u32 = (1 << 10) - 1;

impl Parameters for Green {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        2
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Green { rate: GREEN_RATE }
    }

    fn promise(&self) -> Promise {
        Promise::Approximate { reason: "the lists of test-green are made by a weak hash" }
    }

    fn secret_shape(&self) -> SecretShape {
        SecretShape { len: 8, distinct_layer_keys: false, derivable: false }
    }

    fn check(&self) -> Result<(), KeyError> {
        Ok(())
    }

    fn to_fields(&self) -> Vec<u8> {
        vec![self.odds]
    }

    fn update_id(&self, _id: &mut Sha256) {}
}

impl Family for Green {
    const TAG: u8 = 254;
    const NAME: &'static str = "test-green";
    type Function = GreenFunction;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [odds] = fields.array()?;
        Ok(Self { odds })
    }

    fn function(&self, secret: &Secret, _channel: u16) -> GreenFunction {
        GreenFunction { key: number(secret), odds: self.odds.into() }
    }

    fn fix(function: &GreenFunction, context: &[u32]) -> Context {
        let context = context.iter().map(|token| token & GREEN_BITS);
        let state = over(function.key, context);
        Context { state, token_bits: GREEN_BITS, read: |word| u64::from(word >> 62 == 0) }
    }
}

pub(super) struct GreenFunction {
    key: u64,
    odds: f64,
}

impl KeyedFunction for GreenFunction {
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        ContextTracker::new(ContextRule::Whole { len: 1 }, prompt)
    }

    fn mark(&self, g: &[GBits], _leaves: u32, candidates: &mut Distribution) {
        candidates.reweigh(|_, probabilities| {
            for (p, g) in probabilities.iter_mut().zip(g) {
                *p *= if g.0 == 1 { self.odds } else { 1.0 };
            }
        });
    }

    fn evidence(&self, memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        let pairs = || piece.ids.windows(2);
        let mut g = Vec::new();
        self.g_bits_of(&Ngrams::new(2, pairs()), &mut g);
        let inputs =
            pairs().map(|pair| u64::from(pair[0] & GREEN_BITS) << 32 | u64::from(pair[1] & GREEN_BITS));
        let scored: Vec<bool> =
            inputs.zip(piece.scored()).map(|(input, fresh)| memory.insert(input) && fresh).collect();
        Evidence::Green(TextGreens {
            first: piece.first,
            rate: GREEN_RATE,
            green: g,
            reference_mask: scored.clone(),
            scored,
        })
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        g.clear();
        g.extend(ngrams.iter().map(|pair| Green::fix(self, &pair[..1]).bits(pair[1])));
    }
}

impl Parameters for Uniform {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        3
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Uniform(LAW)
    }

    fn promise(&self) -> Promise {
        Promise::Exact
    }

    fn secret_shape(&self) -> SecretShape {
        SecretShape { len: 8, distinct_layer_keys: false, derivable: true }
    }

    fn check(&self) -> Result<(), KeyError> {
        Ok(())
    }

    fn to_fields(&self) -> Vec<u8> {
        Vec::new()
    }

    fn update_id(&self, _id: &mut Sha256) {}
}

impl Family for Uniform {
    const TAG: u8 = 255;
    const NAME: &'static str = "test-uniform";
    type Function = UniformFunction;
    type Context<'f> = Context;

    fn from_fields(_fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        Ok(Self)
    }

    fn function(&self, secret: &Secret, _channel: u16) -> UniformFunction {
        UniformFunction { key: number(secret) }
    }

    fn fix(function: &UniformFunction, context: &[u32]) -> Context {
        let state = over(function.key, context.iter().copied());
        Context { state, token_bits: u32::MAX, read: |word| word >> 11 }
    }
}

pub(super) struct UniformFunction {
    key: u64,
}

impl KeyedFunction for UniformFunction {
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        ContextTracker::new(ContextRule::Whole { len: 2 }, prompt)
    }

    fn mark(&self, g: &[GBits], _leaves: u32, candidates: &mut Distribution) {
        candidates.reweigh(|_, probabilities| {
            let rank = |(p, g): (&f64, &GBits)| {
                let [u, _] = LAW.read(*g);
                if *p > 0.0 { u.unwrap_or(0.0).ln() / p } else { f64::NEG_INFINITY }
            };
            let best = probabilities.iter().zip(g).map(rank).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            let (best, _) = best.expect("a distribution has candidates");
            probabilities.fill(0.0);
            probabilities[best] = 1.0;
        });
    }

    fn evidence(&self, _memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        let mut g = Vec::new();
        self.g_bits_of(&Ngrams::new(3, piece.ids.windows(3)), &mut g);
        Evidence::Uniform(TextUniforms {
            first: piece.first,
            law: LAW,
            numbers: g,
            scored: piece.scored(),
            reference_mask: piece.scored(),
        })
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        g.clear();
        g.extend(ngrams.iter().map(|ngram| Uniform::fix(self, &ngram[..2]).bits(ngram[2])));
    }
}

/// The function of either family in one context.
pub(super) struct Context {
    state: u64,
    token_bits: u32,
    read: fn(u64) -> u64,
}

impl Context {
    fn bits(&self, token: u32) -> GBits {
        GBits((self.read)(mix(self.state ^ u64::from(token & self.token_bits))))
    }
}

impl FixedContext for Context {
    fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
        for (g, &token) in g.iter_mut().zip(tokens) {
            *g = self.bits(token);
        }
    }
}

fn number(secret: &Secret) -> u64 {
    u64::from_le_bytes(secret.expose().try_into().expect("a secret of 8 bytes"))
}

fn over(key: u64, context: impl Iterator<Item = u32>) -> u64 {
    context.fold(key, |state, token| mix(state ^ u64::from(token)))
}

mod tests {
    use super::*;
    use crate::scheme::{Key, PositionKind, Prf, Scheme, Watermark};
    use crate::split_mix;

    fn key(scheme: impl Into<Scheme>, secret: u64) -> Key {
        Key::new(scheme, Secret::new(secret.to_le_bytes().to_vec().into())).unwrap()
    }

    /// Returns 400 tokens, drawn from 2,000 candidates that are equally likely before the mark.
    fn marked(prf: &Prf) -> Vec<u32> {
        let (mut marking, mut random) = (Watermark::new(prf.clone()).start(&[], 0), 1);
        let tokens: Vec<u32> = (0..2000).collect();
        (0..400)
            .map(|_| {
                let mut candidates =
                    Distribution::from_probabilities(tokens.clone(), vec![1.0; tokens.len()]).unwrap();
                marking.apply(&mut candidates);
                let token = candidates.draw(split_mix::unit(&mut random));
                marking.push(token);
                token
            })
            .collect()
    }

    fn green_share(prf: &Prf, ids: &[u32]) -> f64 {
        let Evidence::Green(greens) = Evidence::new(prf, &[], ids) else { panic!("a green list") };
        let scored: Vec<bool> = greens.scored().collect();
        scored.iter().filter(|green| **green).count() as f64 / scored.len() as f64
    }

    fn mean_exponential(prf: &Prf, ids: &[u32]) -> f64 {
        let Evidence::Uniform(uniforms) = Evidence::new(prf, &[], ids) else { panic!("uniform numbers") };
        let scores: Vec<f64> = uniforms.scored().collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    }

    #[test]
    fn a_green_list_is_marked_and_found_through_the_joint() {
        let scheme = Green { odds: 9 };
        let ids = marked(&key(scheme.clone(), 5).prf());
        // 9 · ¼ against ¾ gives three in four.
        let own = green_share(&key(scheme.clone(), 5).prf(), &ids);
        assert!((own - 0.75).abs() < 0.08, "{own}");
        let other = green_share(&key(scheme, 6).prf(), &ids);
        assert!((other - GREEN_RATE).abs() < 0.08, "{other}");
    }

    #[test]
    fn uniform_numbers_are_marked_and_found_through_the_joint() {
        let ids = marked(&key(Uniform, 5).prf());
        let own = mean_exponential(&key(Uniform, 5).prf(), &ids);
        assert!(own > 5.0, "{own}");
        let other = mean_exponential(&key(Uniform, 6).prf(), &ids);
        assert!((other - 1.0).abs() < 0.2, "{other}");
    }

    #[test]
    fn an_input_that_came_up_before_is_not_scored_though_its_context_is_new() {
        let prf = key(Green { odds: 2 }, 5).prf();
        // The context 1,025 is new, but to the list it is 1, after which 7 has come up.
        let evidence = Evidence::new(&prf, &[], &[1, 7, 1025, 7]);
        assert_eq!(evidence.scored_mask(), [true, true, false]);
        assert_eq!((evidence.first(), evidence.len()), (1, 3));
        assert_eq!(evidence.kind(), EvidenceKind::Green { rate: GREEN_RATE });
    }

    #[test]
    fn a_repeated_context_is_left_alone_by_the_generator() {
        let mut marking = Watermark::new(key(Uniform, 5).prf()).start(&[4, 4, 4], 0);
        let mut candidates = Distribution::from_probabilities(vec![1, 2], vec![1.0; 2]).unwrap();
        for token in [4, 4] {
            assert_eq!(marking.apply(&mut candidates), PositionKind::IncompleteContext);
            marking.push(token);
        }
        assert_eq!(marking.apply(&mut candidates), PositionKind::RepeatedContext);
        assert_eq!(candidates.probabilities(), [0.5, 0.5]);
    }

    #[test]
    fn key_files_hold_the_parameters_and_ask_for_the_secret_of_any_family() {
        for scheme in [Scheme::from(Green { odds: 3 }), Uniform.into()] {
            let before = key(scheme.clone(), 77);
            let after = Key::from_bytes(&before.to_bytes(), "k.bin").unwrap();
            assert_eq!((after.scheme(), after.id()), (&scheme, before.id()));
            let short = Key::new(scheme, Secret::new(vec![1; 7].into()));
            assert!(matches!(short, Err(KeyError::SecretLength { expected: 8, found: 7, .. })));
        }
        assert_ne!(key(Green { odds: 3 }, 77).id(), key(Uniform, 77).id());
        assert_eq!(key(Uniform, 1).derive("acme").unwrap().scheme(), &Scheme::from(Uniform));
        let green = key(Green { odds: 3 }, 1);
        assert!(matches!(green.derive("acme"), Err(KeyError::NotDerivable { scheme: "test-green" })));
        assert!(matches!(green.export_json(), Err(KeyError::NoJson { .. })));
    }

    #[test]
    #[should_panic(expected = "test-green is not a tournament")]
    fn leaves_are_for_tournaments() {
        let _ = Watermark::with_leaves(key(Green { odds: 3 }, 1).prf(), 3);
    }
}
