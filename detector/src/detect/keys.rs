//! The keys of a detector, ready for hashing, and what keys of one kind share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::DetectError;
use super::keyring::leak_warning;
use crate::report::Warning;
use crate::scheme::{ContextRule, EvidenceKind, Piece, Prf};
use crate::statistics::{Decider, Mean, PKind, Statistic, WeightedMean};

/// What the context rules of the keys say of the positions of a text, or of a block of one.
pub(super) type Pieces<'a> = BTreeMap<ContextRule, Piece<'a>>;

/// What a detector keeps of a key.
pub(super) struct Entry {
    /// The keyed function in the first channel.
    pub prf: Prf,
    /// Its public id.
    pub id: String,
    /// Its label or its file's name, in a ring.
    pub name: Option<String>,
    /// Whether its owner says that others have it.
    pub leaked: bool,
}

impl Entry {
    /// Returns the key's function in the channels that are tried: all, or the one that is known.
    pub(super) fn channels(&self, known: Option<u16>) -> impl ExactSizeIterator<Item = Prf> + '_ {
        let all = self.prf.scheme().channels();
        let tried = known.filter(|_| all > 1).map_or(0..all, |channel| channel..channel + 1);
        tried.map(|channel| self.prf.in_channel(channel))
    }

    /// Returns the warning about the key's mark, if the key has leaked.
    pub(super) fn leak_warning(&self) -> Option<Warning> {
        self.leaked.then(|| leak_warning(&self.id))
    }

    /// Returns what an exact p-value is worth under the key's scheme.
    pub(super) fn p_kind(&self) -> PKind {
        self.prf.scheme().promise().into()
    }
}

/// Shows the key without the secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("key_id", &self.id).finish_non_exhaustive()
    }
}

/// Checks that each key with several channels has this one.
///
/// # Errors
/// Returns an error if a key does not: [`DetectError::Channel`].
pub(super) fn check_channel(entries: &[Entry], channel: Option<u16>) -> Result<(), DetectError> {
    let Some(found) = channel else { return Ok(()) };
    for Entry { prf, id, .. } in entries {
        let channels = prf.scheme().channels();
        if channels > 1 && found >= channels {
            return Err(DetectError::Channel { key_id: id.clone(), channels, found });
        }
    }
    Ok(())
}

/// The plan for each kind of evidence that the keys of a detector give.
#[derive(Debug)]
pub(super) struct Plans(Vec<Plan>);

impl Plans {
    /// Returns the plans for these keys. Parts that take time to make are shared if `known` has them.
    pub(super) fn new(
        entries: &[Entry],
        decider: &Decider,
        known: Option<&Self>,
    ) -> Result<Self, DetectError> {
        let mut plans = Self(Vec::new());
        for entry in entries {
            let kind = entry.prf.scheme().evidence_kind();
            if plans.find(kind).is_none() {
                plans.0.push(Plan::new(kind, known.and_then(|known| known.find(kind)), decider)?);
            }
        }
        Ok(plans)
    }

    fn find(&self, kind: EvidenceKind) -> Option<&Plan> {
        self.0.iter().find(|plan| plan.kind == kind)
    }

    pub(super) fn of(&self, entry: &Entry) -> &Plan {
        self.find(entry.prf.scheme().evidence_kind()).expect("there is a plan for each key")
    }
}

/// What keys share whose texts have one kind of evidence: one null distribution, however many keys.
#[derive(Debug)]
pub(super) struct Plan {
    kind: EvidenceKind,
    /// The statistics for the scores that every report on a tournament has.
    pub means: Option<Means>,
    /// The statistic that decides.
    pub statistic: Arc<dyn Statistic>,
    /// The statistic that decides by default. It always decides which of many keys marked a text.
    pub usual: Arc<dyn Statistic>,
    lengths: Lengths,
    usual_lengths: Lengths,
}

/// The two means of a tournament.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub mean: Mean,
    pub weighted_mean: Arc<WeightedMean>,
}

impl Plan {
    fn new(kind: EvidenceKind, known: Option<&Self>, decider: &Decider) -> Result<Self, DetectError> {
        let means = match (kind, known.and_then(|plan| plan.means.as_ref())) {
            (_, Some(known)) => Some(known.clone()),
            (EvidenceKind::Layers { depth }, None) => {
                let weighted_mean = Arc::new(WeightedMean::new(depth));
                Some(Means { mean: Mean::new(depth), weighted_mean })
            }
            _ => None,
        };
        let usual: Arc<dyn Statistic> = match &means {
            Some(means) => Arc::clone(&means.weighted_mean) as Arc<dyn Statistic>,
            None => Decider::Usual.statistic(kind)?,
        };
        let statistic = match decider {
            Decider::Usual => Arc::clone(&usual),
            Decider::WeightedMean if means.is_some() => Arc::clone(&usual),
            decider => decider.statistic(kind)?,
        };
        let (lengths, usual_lengths) = (Lengths::default(), Lengths::default());
        Ok(Self { kind, means, statistic, usual, lengths, usual_lengths })
    }

    /// Returns the number of scored tokens from which on the silence of the deciding statistic means something at level
    /// `alpha`.
    pub(super) fn required_tokens(&self, alpha: f64) -> u64 {
        self.lengths.of(&*self.statistic, alpha)
    }

    /// Returns the same number for the usual statistic.
    pub(super) fn usual_required_tokens(&self, alpha: f64) -> u64 {
        self.usual_lengths.of(&*self.usual, alpha)
    }
}

/// How many levels [`Lengths`] remembers.
const LEVELS: usize = 64;

/// [`Statistic::required_tokens`] of the levels that were asked for: each takes some milliseconds.
#[derive(Debug, Default)]
struct Lengths(RwLock<BTreeMap<u64, u64>>);

impl Lengths {
    fn of(&self, statistic: &dyn Statistic, alpha: f64) -> u64 {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&alpha.to_bits()).copied();
        known.unwrap_or_else(|| {
            let tokens = statistic.required_tokens(alpha);
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= LEVELS {
                known.clear();
            }
            known.insert(alpha.to_bits(), tokens);
            tokens
        })
    }
}
