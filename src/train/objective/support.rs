//! Objectives over some tokens of the vocabulary: a teacher's or a student's most likely ones, or those of a list. If
//! asked for, all other tokens together count as one more.
//!
//! Let s be the student's log-probabilities over the support, s_τ = ln(1 − Σ e^s) that of the tail, g = ∂L/∂s, and G the
//! sum of all g. Then the gradient of the logits is g_i − p_i G on the support, and g_τ p_i / p_τ − p_i G elsewhere.
//! Without a tail, both distributions are renormalised over the support, and the gradient elsewhere is 0.

use super::Divergence;
use crate::kernels::loops;

/// Minimum probability of a tail, as in TRL: below it, neither the tail's loss nor its gradient is a number.
const LEAST_TAIL: f64 = 1e-7;

/// Returns the loss, and its derivative with respect to each of the student's log-probabilities `s`; `t` are the
/// teacher's.
fn divergence(s: &[f64], t: &[f64], beta: f64, grad: &mut Vec<f64>) -> f64 {
    grad.clear();
    let mut loss = 0.0;
    for (&s, &t) in s.iter().zip(t) {
        let (p, q) = (s.exp(), t.exp());
        let (part, slope) = if beta == 0.0 {
            (if q > 0.0 { q * (t - s) } else { 0.0 }, -q)
        } else if beta == 1.0 {
            (p * (s - t), p * (s - t + 1.0))
        } else {
            let m = ((1.0 - beta) * p + beta * q).max(f64::MIN_POSITIVE).ln();
            let teacher = if q > 0.0 { beta * q * (t - m) } else { 0.0 };
            (teacher + (1.0 - beta) * p * (s - m), (1.0 - beta) * p * (s - m))
        };
        loss += part;
        grad.push(slope);
    }
    loss
}

/// Returns the indices of the `k` largest numbers, smaller indices first among equals.
pub(crate) fn largest(xs: &[f32], k: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..xs.len() as u32).collect();
    let order = |a: &u32, b: &u32| xs[*b as usize].total_cmp(&xs[*a as usize]).then(a.cmp(b));
    if k < ids.len() {
        ids.select_nth_unstable_by(k, order);
        ids.truncate(k);
    }
    ids.sort_unstable_by(order);
    ids
}

/// A row of logits over a support. Its exponentials are in `exps`, where those of the support are set to 0.
struct Rest {
    /// Exponents of the support, minus the row's maximum.
    inside: Vec<f64>,
    /// Sum of the exponentials outside the support.
    outside: f64,
    /// Sum of all exponentials.
    sum: f64,
}

impl Rest {
    fn new(row: &mut [f32], exps: &mut [f32], support: &[u32]) -> Self {
        loops::exponentials_row(row, exps);
        let inside: Vec<f64> = support.iter().map(|id| f64::from(row[*id as usize])).collect();
        for id in support {
            exps[*id as usize] = 0.0;
        }
        let outside: f64 = exps.iter().map(|e| f64::from(*e)).sum();
        let sum = outside + inside.iter().map(|x| x.exp()).sum::<f64>();
        Self { inside, outside, sum }
    }

    /// Returns the log-probabilities of the support, and of the tail if there is one.
    fn logprobs(&self, add_tail: bool) -> Vec<f64> {
        let log = if add_tail { self.sum.ln() } else { (self.sum - self.outside).ln() };
        // If the outside has nearly all the mass, the difference has lost its digits.
        let log = if add_tail || log.is_finite() { log } else { log_sum(&self.inside) };
        let inside = self.inside.iter().map(|x| x - log);
        let tail = (self.outside / self.sum).max(LEAST_TAIL).ln();
        inside.chain(add_tail.then_some(tail)).collect()
    }
}

fn log_sum(xs: &[f64]) -> f64 {
    let max = xs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + xs.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// Writes the gradient of the logits to `row`. `exps` has the exponentials outside the support.
#[expect(clippy::too_many_arguments, reason = "rows, support and numbers of one position")]
fn put(
    row: &mut [f32],
    slope: &[f32],
    exps: &[f32],
    rest: &Rest,
    support: &[u32],
    s: &[f64],
    grad: &[f64],
    factor: f32,
) {
    let all: f64 = grad.iter().sum();
    if let Some(tail) = grad.get(support.len()) {
        // A tail that was raised to the minimum probability has no gradient.
        let raised = rest.outside / rest.sum < LEAST_TAIL;
        let (tail, all) = if raised { (0.0, all - tail) } else { (*tail, all) };
        let share = if rest.outside > 0.0 { tail / rest.outside } else { 0.0 };
        let scale = (share - all / rest.sum) as f32;
        for (x, e) in row.iter_mut().zip(exps) {
            *x = e * scale;
        }
        for ((id, s), g) in support.iter().zip(s).zip(grad) {
            row[*id as usize] = (g - s.exp() * all) as f32;
        }
    } else {
        row.fill(0.0);
        for ((id, s), g) in support.iter().zip(s).zip(grad) {
            row[*id as usize] = (g - s.exp() * all) as f32;
        }
    }
    loops::scale_by_slope_row(row, slope, factor);
}

/// Returns the divergence of two rows of final logits over the most likely tokens of one or both.
pub(super) fn most_likely(
    row: &mut [f32],
    slope: &[f32],
    teacher: &mut [f32],
    p: &mut [f32],
    q: &mut [f32],
    d: &Divergence,
    factor: f32,
) -> f64 {
    let mut support = if d.beta < 1.0 { largest(teacher, d.loss_top_k) } else { Vec::new() };
    if d.beta > 0.0 {
        for id in largest(row, d.loss_top_k) {
            if d.beta == 1.0 || !support.contains(&id) {
                support.push(id);
            }
        }
    }
    let t = Rest::new(teacher, q, &support).logprobs(d.loss_add_tail);
    let student = Rest::new(row, p, &support);
    let s = student.logprobs(d.loss_add_tail);
    let mut grad = Vec::new();
    let loss = divergence(&s, &t, d.beta, &mut grad);
    put(row, slope, p, &student, &support, &s, &grad, factor);
    loss
}

/// Returns the entries of a list, without those of probability 0.
fn entries(ids: &[u32], logprobs: &[f32]) -> (Vec<u32>, Vec<f64>) {
    let entries = ids.iter().zip(logprobs).filter(|(_, l)| **l > f32::NEG_INFINITY);
    entries.map(|(id, l)| (*id, f64::from(*l))).unzip()
}

/// Returns the divergence over the ids of a list, with a teacher's log-probabilities at temperature 1.
pub(super) fn listed(
    row: &mut [f32],
    slope: &[f32],
    exps: &mut [f32],
    ids: &[u32],
    logprobs: &[f32],
    d: &Divergence,
    factor: f32,
) -> f64 {
    let (support, mut t) = entries(ids, logprobs);
    if d.loss_add_tail {
        let inside: f64 = t.iter().map(|t| t.exp()).sum();
        t.push((1.0 - inside).max(LEAST_TAIL).ln());
    } else {
        for t in &mut t {
            *t /= d.temperature;
        }
        let log = log_sum(&t);
        for t in &mut t {
            *t -= log;
        }
    }
    let student = Rest::new(row, exps, &support);
    let s = student.logprobs(d.loss_add_tail);
    let mut grad = Vec::new();
    let loss = divergence(&s, &t, d.beta, &mut grad);
    put(row, slope, exps, &student, &support, &s, &grad, factor);
    loss
}

/// Returns the entropy of the renormalised probabilities of a list, in nats.
pub(super) fn entropy(logprobs: &[f32]) -> f64 {
    let (_, t) = entries(&vec![0; logprobs.len()], logprobs);
    let log = log_sum(&t);
    t.iter().map(|t| (t - log).exp() * (log - t)).sum()
}

/// Returns the cross-entropy with the renormalised probabilities of sampled ids.
pub(super) fn sampled(
    row: &mut [f32],
    slope: &[f32],
    exps: &mut [f32],
    ids: &[u32],
    logprobs: &[f32],
    factor: f32,
) -> f64 {
    let (support, t) = entries(ids, logprobs);
    let log = log_sum(&t);
    let (_, sum) = loops::exponentials_row(row, exps);
    let (log_all, inverse) = (f64::from(sum).ln(), 1.0 / sum);
    let mut loss = 0.0;
    let weights: Vec<f64> = t.iter().map(|t| (t - log).exp()).collect();
    for (id, q) in support.iter().zip(&weights) {
        loss += q * (log_all - f64::from(row[*id as usize]));
    }
    for (x, e) in row.iter_mut().zip(&*exps) {
        *x = e * inverse;
    }
    for (id, q) in support.iter().zip(&weights) {
        row[*id as usize] -= *q as f32;
    }
    loops::scale_by_slope_row(row, slope, factor);
    loss
}
