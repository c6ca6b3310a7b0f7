//! Which of many keys marked a text.

use super::keys::Entry;
use super::reading::{Forms, Offsets, Source};
use super::score::{channel, forms_tried};
#[cfg(feature = "text")]
use super::stream::Stream;
use super::tally::sum;
use super::{DetectError, Detector, Input};
use crate::report::{Attribution, Changes, KeyReport};
#[cfg(feature = "text")]
use crate::scheme::EvidenceStream;
use crate::scheme::{Piece, Share};
use crate::statistics::attribution::{Attributed, KeyEvidence, KeySum, KeySums, attribute};
use crate::statistics::{Method, PKind, Sample, Scored};
use crate::verdict::Verdict;

/// Returns the report with the least p among those on the forms of one text; among equal ones the first.
fn strongest(reports: impl Iterator<Item = Attribution>) -> Attribution {
    let least = |report: &Attribution| {
        report.keys.first().or(report.runner_up.as_ref()).map_or(f64::INFINITY, |key| key.log10_p)
    };
    reports
        .reduce(|best, next| if least(&next) < least(&best) { next } else { best })
        .expect("a text has at least one form")
}

/// Keys that score the same positions of a text: usually those of one scheme.
#[derive(Clone)]
struct Group {
    /// The keys' indices.
    keys: Vec<usize>,
    /// Scored tokens.
    scored: Scored,
    /// The usual statistic's sum over these tokens, for each channel of each key.
    sums: Vec<Vec<i64>>,
}

impl Detector {
    /// Returns every key of the detector's ring that marked the text, with p corrected for all of them. Whichever
    /// statistic decides in [`score`](Self::score), this uses the usual one of each key's scheme: the weighted mean for
    /// tournaments.
    ///
    /// A key costs one hash for each scored token. Which tokens are scored is found once for all keys of a scheme.
    ///
    /// # Errors
    /// Returns an error if [`score`](Self::score) would.
    pub fn attribute<'a>(&self, input: impl Into<Input<'a>>) -> Result<Attribution, DetectError> {
        match self.open(input.into(), Offsets::Later)? {
            Source::Whole(forms) => Ok(self.attribute_whole(&forms)),
            #[cfg(feature = "text")]
            Source::Stream(stream) => self.attribute_stream(stream),
        }
    }

    fn attribute_whole(&self, Forms(forms): &Forms<'_>) -> Attribution {
        let reports = forms.iter().map(|tokens| {
            let mut groups = self.groups();
            let pieces = self.pieces(tokens);
            for group in &mut groups {
                let prf = &self.keys[group.keys[0]].prf;
                let piece = &pieces[&prf.scheme().context_rule()];
                let (evidence, _) = self.evidence(prf, piece);
                self.count(group, piece, &evidence.shares());
            }
            self.attribution(groups, forms.len(), tokens.ids.len() as u64, tokens.changes())
        });
        strongest(reports)
    }

    #[cfg(feature = "text")]
    fn attribute_stream(&self, mut stream: Stream<'_>) -> Result<Attribution, DetectError> {
        let first = |group: Group| (EvidenceStream::new(&self.keys[group.keys[0]].prf), group);
        let groups: Vec<_> = self.groups().into_iter().map(first).collect();
        let mut forms = vec![groups];
        while let Some(block) = stream.next(self, &mut forms)? {
            for (pieces, groups) in block.iter().zip(&mut forms) {
                for (values, group) in groups {
                    let piece = &pieces[&self.keys[group.keys[0]].prf.scheme().context_rule()];
                    let mut evidence = values.push(piece);
                    self.leave_out(piece, &mut evidence);
                    self.count(group, piece, &evidence.shares());
                }
            }
        }
        let number = forms.len();
        let reports = forms.into_iter().enumerate().map(|(form, groups)| {
            let groups = groups.into_iter().map(|(_, group)| group).collect();
            let (tokens, changes) = stream.form(form);
            self.attribution(groups, number, tokens, Some(changes))
        });
        let mut report = strongest(reports);
        report.warnings.extend(stream.warning());
        Ok(report)
    }

    /// Returns the keys by scheme.
    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut rest: Vec<usize> = (0..self.keys.len()).collect();
        while let Some(&first) = rest.first() {
            let scheme = self.keys[first].prf.scheme();
            // If the key decides which positions count, each key has its own group.
            let alone = scheme.positions_depend_on_key();
            let (keys, others): (Vec<usize>, Vec<usize>) = rest
                .into_iter()
                .partition(|&key| key == first || !alone && self.keys[key].prf.scheme() == scheme);
            rest = others;
            let channels = self.keys[first].channels(self.channel).len();
            groups.push(Group { sums: vec![vec![0; channels]; keys.len()], keys, scored: Scored::default() });
        }
        groups
    }

    /// Adds the scored n-grams of a text, or of a piece of one.
    fn count(&self, group: &mut Group, piece: &Piece<'_>, shares: &[Share]) {
        let first = &self.keys[group.keys[0]];
        let (statistic, kind) = (&*self.plan(first).usual, first.prf.scheme().evidence_kind());
        let mut g = Vec::new();
        group.scored += Scored::of(shares.iter().copied());
        for (share, ngrams) in piece.by_share(shares) {
            for (&key, totals) in group.keys.iter().zip(&mut group.sums) {
                for (prf, total) in self.keys[key].channels(self.channel).zip(totals) {
                    prf.g_bits_of(&ngrams, &mut g);
                    *total += statistic.at_share(sum(statistic, Sample::bits(kind, &g)), share);
                }
            }
        }
    }

    /// Returns the report on a text in one of its `forms`.
    fn attribution(
        &self,
        groups: Vec<Group>,
        forms: usize,
        tokens: u64,
        changes: Option<Changes>,
    ) -> Attribution {
        let tries = self.tries() * forms;
        // The first key of the group that scores the most tokens.
        let mut longest = (0, 0);
        for group in &groups {
            if group.scored.whole() > longest.0 {
                longest = (group.scored.whole(), group.keys[0]);
            }
        }
        let of_best_channel = |(key, sums): (usize, Vec<i64>)| {
            let sums = sums.into_iter().enumerate();
            let best = sums.reduce(|best, next| if next.1 > best.1 { next } else { best });
            let (channel, sum) = best.expect("a key has at least one channel");
            KeySum { key, channel, sum }
        };
        let sums = |group: Group| KeySums {
            statistic: &*self.plan(&self.keys[group.keys[0]]).usual,
            scored: group.scored,
            sums: group.keys.into_iter().zip(group.sums).map(of_best_channel).collect(),
        };
        let Attributed { found, runner_up } =
            attribute(groups.into_iter().map(sums).collect(), tries, self.fpr);
        let mut warnings = self.approximate_warnings();
        warnings.extend(found.iter().filter_map(|key| self.keys[key.key].leak_warning()));
        warnings.extend(self.text_warnings(changes));
        let least = found.first().or(runner_up.as_ref());
        Attribution {
            tokenizer: self.tokenizer_name(changes),
            tokens,
            detector: self.method_of(least.map_or(longest.1, |key| key.key)),
            keys_tried: self.keys.len() as u64,
            channels_tried: self.channels_tried(),
            forms_tried: forms_tried(forms),
            fpr: self.fpr,
            verdict: Verdict::new(least.map(|key| key.corrected.log10), self.fpr, longest.0, || {
                self.plan(&self.keys[longest.1]).usual_required_tokens(self.fpr / tries as f64)
            }),
            keys: found.iter().map(|key| self.key_report(key, forms)).collect(),
            runner_up: runner_up.as_ref().map(|key| self.key_report(key, forms)),
            warnings,
            normalisation: changes.filter(|changes| !changes.is_empty()),
        }
    }

    /// Returns the usual statistic of a key.
    fn method_of(&self, key: usize) -> Method {
        self.plan(&self.keys[key]).usual.method()
    }

    /// Returns the report on a key with this evidence in one of `forms` forms of a text.
    fn key_report(&self, evidence: &KeyEvidence, forms: usize) -> KeyReport {
        let entry: &Entry = &self.keys[evidence.key];
        let prf = entry.channels(self.channel).nth(evidence.channel);
        // As in `score` with this key alone.
        let tries_alone = entry.channels(self.channel).len() * forms;
        KeyReport {
            key_id: entry.id.clone(),
            channel: prf.as_ref().and_then(channel),
            name: entry.name.clone(),
            scheme: entry.prf.scheme().name().into(),
            detector: self.method_of(evidence.key),
            scored_tokens: evidence.tokens,
            score: evidence.score,
            p_value: evidence.corrected.p(),
            log10_p: evidence.corrected.log10,
            log10_p_alone: evidence.alone.corrected(tries_alone).log10,
            p_kind: match entry.p_kind() {
                PKind::Exact if self.tries() * forms > 1 => PKind::Conservative,
                kind => kind,
            },
        }
    }
}
