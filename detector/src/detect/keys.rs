//! The keys of a detector, ready for hashing, and what keys of one depth share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::DetectError;
use super::keyring::leak_warning;
use crate::report::Warning;
use crate::scheme::{ContextRule, EvidenceKind, Piece, Prf};
use crate::statistics::{Decider, Mean, PKind, Statistic, WeightedMean};

/// What the rule of each kind of key says of the positions of a text, or of a block of one.
pub(super) type Pieces<'a> = BTreeMap<ContextRule, Piece<'a>>;

/// What is kept of a key.
pub(super) struct Entry {
    /// In its first channel.
    pub prf: Prf,
    /// Its public id.
    pub id: String,
    /// Its label or its file's name, in a ring.
    pub name: Option<String>,
    /// Whether its owner says that others have it.
    pub leaked: bool,
}

impl Entry {
    /// The key's function in the channels that are tried: all, or the one that is known.
    pub(super) fn channels(&self, known: Option<u16>) -> impl ExactSizeIterator<Item = Prf> + '_ {
        let all = self.prf.scheme().channels();
        let tried = known.filter(|_| all > 1).map_or(0..all, |channel| channel..channel + 1);
        tried.map(|channel| self.prf.in_channel(channel))
    }

    /// What is said of its mark, if it has leaked.
    pub(super) fn leak_warning(&self) -> Option<Warning> {
        self.leaked.then(|| leak_warning(&self.id))
    }

    /// What an exact p-value is worth under the key's scheme.
    pub(super) fn p_kind(&self) -> PKind {
        if self.prf.scheme().promise().is_exact() { PKind::Exact } else { PKind::Approximate }
    }
}

/// Without the secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("key_id", &self.id).finish_non_exhaustive()
    }
}

/// The plan for each depth that a key of the detector has.
#[derive(Debug)]
pub(super) struct Plans(BTreeMap<usize, Plan>);

impl Plans {
    /// Returns the plans for these keys. Those of the weighted mean in `known`, if there are any, are shared.
    pub(super) fn new(
        entries: &[Entry],
        decider: &Decider,
        known: Option<&Self>,
    ) -> Result<Self, DetectError> {
        let depth = |entry: &Entry| decider.depth(entry.prf.scheme().evidence_kind());
        let depths: BTreeSet<usize> = entries.iter().map(depth).collect::<Result<_, _>>()?;
        let plan = |depth| {
            let known = known.and_then(|plans| plans.0.get(&depth));
            let weighted_mean = known.map(|plan| Arc::clone(&plan.weighted_mean));
            Ok((depth, Plan::new(depth, weighted_mean, decider)?))
        };
        Ok(Self(depths.into_iter().map(plan).collect::<Result<_, DetectError>>()?))
    }

    pub(super) fn of(&self, entry: &Entry) -> &Plan {
        &self.0[&entry.prf.scheme().depth()]
    }
}

/// What keys of one depth share: one null distribution, however many keys.
#[derive(Debug)]
pub(super) struct Plan {
    /// For the scores that every report has.
    pub mean: Mean,
    pub weighted_mean: Arc<WeightedMean>,
    /// What decides.
    pub statistic: Arc<dyn Statistic>,
    lengths: Lengths,
    weighted_mean_lengths: Lengths,
}

impl Plan {
    fn new(
        depth: usize,
        weighted_mean: Option<Arc<WeightedMean>>,
        decider: &Decider,
    ) -> Result<Self, DetectError> {
        let weighted_mean = weighted_mean.unwrap_or_else(|| Arc::new(WeightedMean::new(depth)));
        let statistic = match decider {
            Decider::WeightedMean => Arc::clone(&weighted_mean) as Arc<dyn Statistic>,
            decider => decider.statistic(EvidenceKind::Layers { depth })?,
        };
        Ok(Self {
            mean: Mean::new(depth),
            weighted_mean,
            statistic,
            lengths: Lengths::default(),
            weighted_mean_lengths: Lengths::default(),
        })
    }

    /// The scored tokens from which on the silence of the deciding statistic means something at level `alpha`.
    pub(super) fn required_tokens(&self, alpha: f64) -> u64 {
        self.lengths.of(&*self.statistic, alpha)
    }

    /// The same for the weighted mean.
    pub(super) fn weighted_mean_required_tokens(&self, alpha: f64) -> u64 {
        self.weighted_mean_lengths.of(&*self.weighted_mean, alpha)
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
