//! Fits a Bayesian detector to marked texts.
//!
//! The objective is that of `transformers`' training example: the mean binary cross-entropy of the posterior plus a
//! weight times Σ delta², over batches of documents of which half are marked. Adam minimises it, starting from beta =
//! −2.5 and delta = 0. Three things are done differently:
//!
//! - **Unmarked documents** are not collected. Under the null hypothesis the g-bits of any text are fair coins, so a
//!   text under a random key *is* a sequence of coins. In every epoch each marked piece is compared with a fresh
//!   sequence of the same length. Real texts under the key in use would follow the same law, but with one draw for each
//!   n-gram. The fit would learn which common n-grams this key happens to favour.
//! - The cross-entropy comes from the log odds. `transformers` clamps the posterior to [1e-5, 1 − 1e-5] first, which
//!   removes the gradient from exactly the documents that are most wrong.
//! - Texts are cut into **pieces**. Whole texts of some hundred tokens are told apart with certainty after a few steps
//!   and teach nothing more. The prior stays at 1/2, the share of marked pieces.
//!
//! The fit returns the weights with the least cross-entropy on pieces of held-out texts.

use super::model::BayesianModel;
use super::sigmoid::sigmoid;
use crate::scheme::GBits;
use crate::split_mix;

/// Options of a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// Number of tokens in a piece, at least 1.
    pub piece: usize,
    /// Steps of the descent for each L2 weight; as many epochs as that takes are run to their end.
    pub steps: usize,
    /// Adam's step size at the start; it falls linearly to 0.
    pub learning_rate: f64,
    /// Weights of Σ delta² that are tried, shared among an epoch's batches as `transformers` does; at least one.
    pub l2_weights: Vec<f64>,
    /// One text in this many is held out; at least 2.
    pub hold_out: usize,
    /// Seed of shuffles and coins. The same seed and texts give the same detector.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            piece: 10,
            steps: 3000,
            learning_rate: 0.005,
            l2_weights: vec![0.01, 0.1, 1.0],
            hold_out: 5,
            seed: 0,
        }
    }
}

/// Result of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitSummary {
    /// Marked texts that were fitted, without those held out.
    pub texts: usize,
    /// Their scored tokens.
    pub tokens: usize,
    /// Held-out texts.
    pub held_out: usize,
    /// The L2 weight that was chosen.
    pub l2_weight: f64,
    /// The epoch, from 1, that was chosen.
    pub epoch: usize,
    /// Cross-entropy on the held-out pieces and as many unmarked ones, in nats a piece; chance gives ln 2.
    pub loss: f64,
}

/// Why nothing was fitted.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Not enough texts.
    #[error("expected at least {expected} marked texts with scored tokens, found {found}")]
    TooFew {
        /// Least number.
        expected: usize,
        /// Number of texts given.
        found: usize,
    },
    /// The texts are not marked as they should be: a detector fitted to them would be no better than a coin.
    #[error(
        "expected marked texts, found texts whose g-values tell them from chance no better than a coin (held-out \
         cross-entropy {loss:.4} nats a piece, a coin's is 0.6931); check that key and tokenizer are those that the \
         texts were written with"
    )]
    NotMarked {
        /// Cross-entropy on held-out pieces, in nats.
        loss: f64,
    },
}

/// Fewer texts than this are refused.
const LEAST_TEXTS: usize = 10;

/// Number of pieces in a batch, half of them marked.
const BATCH: usize = 64;

/// Fits a detector of `depth` layers, 1 to 64, to the g-values of the scored tokens of marked texts. `progress` gets
/// the share of the work done.
///
/// # Errors
/// Returns an error if fewer than 10 texts have scored tokens, if no L2 weight is given, or if the texts are not marked:
/// [`FitError::NotMarked`].
pub fn fit(
    depth: usize,
    texts: &[Vec<GBits>],
    options: &FitOptions,
    mut progress: impl FnMut(f64),
) -> Result<(BayesianModel, FitSummary), FitError> {
    let texts: Vec<&Vec<GBits>> = texts.iter().filter(|text| !text.is_empty()).collect();
    if texts.len() < LEAST_TEXTS {
        return Err(FitError::TooFew { expected: LEAST_TEXTS, found: texts.len() });
    }
    let every = options.hold_out.max(2);
    let (held, fitted): (Vec<_>, Vec<_>) =
        texts.iter().enumerate().partition(|(i, _)| i % every == every - 1);
    let pieces = |texts: &[(usize, &&Vec<GBits>)]| -> Vec<Vec<GBits>> {
        texts.iter().flat_map(|(_, text)| text.chunks(options.piece.max(1)).map(<[_]>::to_vec)).collect()
    };
    let (marked, held_out) = (pieces(&fitted), pieces(&held));
    let mut coins = Coins(options.seed);
    let held_out_null: Vec<_> = held_out.iter().map(|piece| coins.like(piece, depth)).collect();

    let batches = marked.len().div_ceil(BATCH / 2);
    let epochs = options.steps.div_ceil(batches).max(1);
    let mut best: Option<(Weights, FitSummary)> = None;
    for (tried, &l2_weight) in options.l2_weights.iter().enumerate() {
        let mut weights = Weights::start(depth);
        let mut adam = Adam::new(weights.0.len());
        for epoch in 0..epochs {
            progress((tried as f64 + epoch as f64 / epochs as f64) / options.l2_weights.len() as f64);
            let mut order: Vec<usize> = (0..marked.len()).collect();
            coins.shuffle(&mut order);
            for (batch, chosen) in order.chunks(BATCH / 2).enumerate() {
                let documents = chosen.iter().flat_map(|&i| {
                    let null = coins.like(&marked[i], depth);
                    [(marked[i].clone(), true), (null, false)]
                });
                let (_, gradient) =
                    weights.loss_and_gradient(depth, documents, l2_weight / batches as f64, EVEN);
                let done = (epoch * batches + batch) as f64 / (epochs * batches) as f64;
                adam.step(&mut weights.0, &gradient, options.learning_rate * (1.0 - done));
            }
            let documents = held_out.iter().map(|piece| (piece, true));
            let documents = documents.chain(held_out_null.iter().map(|piece| (piece, false)));
            let loss = weights.loss(depth, documents);
            if best.as_ref().is_none_or(|(_, summary)| loss < summary.loss) {
                let summary = FitSummary {
                    texts: fitted.len(),
                    tokens: marked.iter().map(Vec::len).sum(),
                    held_out: held.len(),
                    l2_weight,
                    epoch: epoch + 1,
                    loss,
                };
                best = Some((weights.clone(), summary));
            }
        }
    }
    let (weights, summary) = best.ok_or(FitError::NotMarked { loss: f64::NAN })?;
    // 1 % below a coin's loss: noise on a few hundred held-out pieces stays above that.
    if summary.loss.is_nan() || summary.loss > 0.99 * std::f64::consts::LN_2 {
        return Err(FitError::NotMarked { loss: summary.loss });
    }
    Ok((weights.model(depth), summary))
}

/// P(marked) of a document.
#[derive(Clone, Copy)]
struct Prior(f64);

/// As many marked as unmarked pieces.
const EVEN: Prior = Prior(0.5);

impl Prior {
    fn log_odds(self) -> f64 {
        self.0.ln() - (1.0 - self.0).ln()
    }
}

/// beta \[m\], then the used part of delta row by row: delta_10, delta_20, delta_21, …
#[derive(Clone)]
struct Weights(Vec<f64>);

/// Returns where row `layer` of delta begins.
fn row(depth: usize, layer: usize) -> usize {
    depth + layer * layer.saturating_sub(1) / 2
}

impl Weights {
    fn start(depth: usize) -> Self {
        let mut weights = vec![0.0; row(depth, depth)];
        weights[..depth].fill(-2.5);
        Self(weights)
    }

    fn model(&self, depth: usize) -> BayesianModel {
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&value| value as f32).collect() };
        let mut delta = vec![0.0; depth * depth];
        for l in 0..depth {
            delta[l * depth..][..l].copy_from_slice(&narrow(&self.0[row(depth, l)..row(depth, l + 1)]));
        }
        BayesianModel::new(&narrow(&self.0[..depth]), &delta, 0.5).expect("the descent keeps weights finite")
    }

    /// Returns ln LR of a document, and adds its derivatives to `gradient` if there is one.
    fn log_ratio(&self, depth: usize, document: &[GBits], mut gradient: Option<&mut [f64]>) -> f64 {
        let mut sum = 0.0;
        for &g in document {
            let mut ratio = 1.0;
            for l in 0..depth {
                let delta = &self.0[row(depth, l)..row(depth, l + 1)];
                let q = sigmoid(self.0[l] + dot(delta, g));
                let half = if g.layer(l) == 1 { 0.5 } else { -0.5 };
                let factor = 1.0 + half * q;
                ratio *= factor;
                if let Some(gradient) = &mut gradient {
                    let slope = half * q * (1.0 - q) / factor;
                    gradient[l] += slope;
                    for (j, sum) in gradient[row(depth, l)..row(depth, l + 1)].iter_mut().enumerate() {
                        *sum += slope * g.layer(j) as f64;
                    }
                }
            }
            sum += ratio.ln();
        }
        sum
    }

    /// Returns the mean cross-entropy over documents and whether they are marked, prior 1/2.
    fn loss<'a>(&self, depth: usize, documents: impl Iterator<Item = (&'a Vec<GBits>, bool)>) -> f64 {
        let (sum, count) = documents.fold((0.0, 0.0), |(sum, count), (document, marked)| {
            (sum + cross_entropy(self.log_ratio(depth, document, None), marked), count + 1.0)
        });
        sum / count
    }

    /// Returns the mean cross-entropy plus `l2_weight` Σ delta², and its gradient.
    fn loss_and_gradient(
        &self,
        depth: usize,
        documents: impl Iterator<Item = (Vec<GBits>, bool)>,
        l2_weight: f64,
        prior: Prior,
    ) -> (f64, Vec<f64>) {
        let mut gradient = vec![0.0; self.0.len()];
        let mut one = gradient.clone();
        let (mut loss, mut count) = (0.0, 0.0);
        for (document, marked) in documents {
            one.fill(0.0);
            let log_odds = prior.log_odds() + self.log_ratio(depth, &document, Some(&mut one));
            loss += cross_entropy(log_odds, marked);
            count += 1.0;
            let error = sigmoid(log_odds) - f64::from(u8::from(marked));
            for (sum, slope) in gradient.iter_mut().zip(&one) {
                *sum += error * slope;
            }
        }
        loss /= count;
        for (i, slope) in gradient.iter_mut().enumerate() {
            *slope /= count;
            if i >= depth {
                loss += l2_weight * self.0[i] * self.0[i];
                *slope += 2.0 * l2_weight * self.0[i];
            }
        }
        (loss, gradient)
    }
}

/// Returns Σ_j delta_j g_j.
fn dot(delta: &[f64], g: GBits) -> f64 {
    delta.iter().enumerate().map(|(j, weight)| weight * g.layer(j) as f64).sum()
}

/// Returns −ln of the posterior probability of the truth.
fn cross_entropy(log_odds: f64, marked: bool) -> f64 {
    let against = if marked { -log_odds } else { log_odds };
    // ln(1 + e^x) without overflow.
    against.max(0.0) + (-against.abs()).exp().ln_1p()
}

/// Kingma and Ba, "Adam: a method for stochastic optimization" (2015), with their constants.
struct Adam {
    mean: Vec<f64>,
    square: Vec<f64>,
    steps: i32,
}

impl Adam {
    fn new(len: usize) -> Self {
        Self { mean: vec![0.0; len], square: vec![0.0; len], steps: 0 }
    }

    fn step(&mut self, weights: &mut [f64], gradient: &[f64], learning_rate: f64) {
        const DECAY: (f64, f64) = (0.9, 0.999);
        self.steps += 1;
        let bias = (1.0 - DECAY.0.powi(self.steps), 1.0 - DECAY.1.powi(self.steps));
        for (i, &slope) in gradient.iter().enumerate() {
            self.mean[i] = DECAY.0 * self.mean[i] + (1.0 - DECAY.0) * slope;
            self.square[i] = DECAY.1 * self.square[i] + (1.0 - DECAY.1) * slope * slope;
            let size = (self.square[i] / bias.1).sqrt() + 1e-8;
            weights[i] -= learning_rate * self.mean[i] / bias.0 / size;
        }
    }
}

/// Good random bits that are not secret.
struct Coins(u64);

impl Coins {
    fn next(&mut self) -> u64 {
        split_mix::next(&mut self.0)
    }

    /// Returns the g-values of `piece`'s text under a random key.
    fn like(&mut self, piece: &[GBits], depth: usize) -> Vec<GBits> {
        piece.iter().map(|_| GBits(self.next() >> (64 - depth))).collect()
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for i in (1..order.len()).rev() {
            order.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::small;
    use super::*;

    /// Draws the g-values of a marked token: the layers in turn, each by its probability.
    fn draw(model: &BayesianModel, coins: &mut Coins) -> GBits {
        let mut g = 0;
        for l in 0..model.depth() {
            let q = sigmoid(model.beta()[l] + dot(model.delta(l), GBits(g)));
            let one = (coins.next() >> 11) as f64 / (1u64 << 53) as f64;
            g |= u64::from(one < 0.5 + 0.25 * q) << l;
        }
        GBits(g)
    }

    #[test]
    fn finds_the_model_that_made_the_texts() {
        let (truth, depth) = (small(5), 5);
        let mut coins = Coins(1);
        let texts: Vec<Vec<GBits>> =
            (0..300).map(|_| (0..50).map(|_| draw(&truth, &mut coins)).collect()).collect();
        let (fitted, summary) = fit(depth, &texts, &FitOptions::default(), |_| ()).unwrap();
        assert_eq!((summary.texts, summary.held_out, summary.tokens), (240, 60, 12_000));
        // Kullback-Leibler divergence of the fitted law from the true one, in nats a token, against what a token of
        // evidence is worth.
        let mean = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            let ratios = |g| (truth.ratio(GBits(g)), fitted.ratio(GBits(g)));
            (0..1 << depth).map(|g| of(ratios(g).0, ratios(g).1)).sum::<f64>() / f64::from(1 << depth)
        };
        let (evidence, lost) = (mean(&|t, _| t * t.ln()), mean(&|t, f| t * (t / f).ln()));
        assert!(lost < 0.02 * evidence, "{lost} of {evidence} nats a token; {summary:?}");
        // The same again.
        assert_eq!(fit(depth, &texts, &FitOptions::default(), |_| ()).unwrap(), (fitted, summary));
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let depth = 4;
        let mut coins = Coins(7);
        let mut weights = Weights::start(depth);
        for weight in &mut weights.0 {
            *weight = (coins.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        }
        let documents: Vec<_> = (1..6).map(|n| (coins.like(&vec![GBits(0); n], depth), n % 2 == 0)).collect();
        let value =
            |weights: &Weights| weights.loss_and_gradient(depth, documents.clone().into_iter(), 0.01, EVEN);
        let (_, gradient) = value(&weights);
        for (i, expected) in gradient.iter().enumerate() {
            let mut moved = [weights.clone(), weights.clone()];
            moved[0].0[i] -= 1e-5;
            moved[1].0[i] += 1e-5;
            let slope = (value(&moved[1]).0 - value(&moved[0]).0) / 2e-5;
            assert!((slope - expected).abs() < 1e-9, "{i}: {slope} {expected}");
        }
    }

    #[derive(serde::Deserialize)]
    struct Reference {
        g: Vec<Vec<u64>>,
        marked: Vec<u8>,
        l2_weight: f64,
        loss: f64,
        beta: Vec<f64>,
        delta: Vec<Vec<f64>>,
    }

    /// Loss and gradient of `transformers`' own objective (tests/oracle/bayesian.py). The differences are its prior,
    /// and the part of delta that has no effect but counts in Σ delta².
    #[test]
    fn the_objective_is_that_of_transformers() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bayesian");
        let reference: Reference =
            serde_json::from_slice(&std::fs::read(format!("{dir}/gradient.json")).unwrap()).unwrap();
        let model = BayesianModel::open(format!("{dir}/trained")).unwrap();
        let depth = model.depth();
        let mut weights = Weights(model.beta().to_vec());
        (0..depth).for_each(|l| weights.0.extend(model.delta(l)));
        let documents = reference.g.iter().zip(&reference.marked);
        let documents =
            documents.map(|(g, &marked)| (g.iter().copied().map(GBits).collect::<Vec<_>>(), marked == 1));
        let (loss, gradient) =
            weights.loss_and_gradient(depth, documents, reference.l2_weight, Prior(model.prior()));
        let unused: f64 =
            (0..depth).flat_map(|l| &model.all_delta()[l * depth + l..(l + 1) * depth]).map(|d| d * d).sum();
        assert!(
            (loss + reference.l2_weight * unused - reference.loss).abs() < 1e-9,
            "{loss} {}",
            reference.loss
        );
        let expected: Vec<f64> =
            reference.beta.into_iter().chain(reference.delta.into_iter().flatten()).collect();
        assert_eq!(gradient.len(), expected.len());
        for (i, (found, expected)) in gradient.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 1e-11, "{i}: {found} for {expected}");
        }
    }

    #[test]
    fn texts_without_the_mark_are_refused() {
        let mut coins = Coins(3);
        let texts: Vec<_> = (0..60).map(|_| coins.like(&[GBits(0); 100], 6)).collect();
        let options = FitOptions { steps: 500, ..FitOptions::default() };
        assert!(matches!(fit(6, &texts, &options, |_| ()), Err(FitError::NotMarked { .. })));
        let error = fit(6, &texts[..9], &options, |_| ()).unwrap_err();
        assert_eq!(error, FitError::TooFew { expected: 10, found: 9 });
    }
}
