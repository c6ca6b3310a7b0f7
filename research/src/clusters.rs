//! Clusters of sparse vectors by their directions.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Coordinates and their values; others are 0.
pub type Sparse = Vec<(u32, f32)>;

/// Starts of k-means, and steps of each.
const STARTS: usize = 4;
const STEPS: usize = 30;
/// A cluster with a smaller share of an even one is not taken.
const LEAST: f32 = 0.25;

/// Sorts vectors of `dimensions` coordinates into `k` clusters by spherical k-means (Dhillon and Modha, 2001), and returns the
/// indices of the tightest: those whose mean cosine to the sum of the others in the cluster is the largest.
pub fn clusters(vectors: &[Sparse], dimensions: usize, k: usize) -> Vec<usize> {
    let mut rng = ChaCha12Rng::seed_from_u64(18);
    let unit: Vec<Sparse> = vectors.iter().map(normalised).collect();
    let mut best = (f32::NEG_INFINITY, vec![0; vectors.len()]);
    for _ in 0..STARTS {
        let found = k_means(&unit, dimensions, k, &mut rng);
        if found.0 > best.0 {
            best = found;
        }
    }
    let of = best.1;
    let members = |cluster: usize| (0..unit.len()).filter(|&i| of[i] == cluster).collect::<Vec<_>>();
    let tightness = |members: &[usize]| {
        let sum = sum(members.iter().map(|&i| &unit[i]), dimensions);
        // The cosine of each to the sum of the others.
        let cosine = |&i: &usize| {
            let (mut inner, mut squares) = (0.0, 0.0);
            for &(at, value) in &unit[i] {
                inner += value * (sum[at as usize] - value);
                squares += (sum[at as usize] - value).powi(2) - sum[at as usize].powi(2);
            }
            let whole: f32 = sum.iter().map(|value| value * value).sum::<f32>() + squares;
            inner / whole.max(1e-12).sqrt()
        };
        members.iter().map(cosine).sum::<f32>() / members.len() as f32
    };
    let least = (LEAST * vectors.len() as f32 / k as f32).max(2.0) as usize;
    let tight = (0..k).map(members).filter(|members| members.len() >= least);
    tight.max_by(|a, b| tightness(a).total_cmp(&tightness(b))).unwrap_or_default()
}

/// The sum of cosines, and the cluster of each vector.
fn k_means(unit: &[Sparse], dimensions: usize, k: usize, rng: &mut impl Rng) -> (f32, Vec<usize>) {
    let k = k.min(unit.len());
    let mut centres: Vec<Vec<f32>> =
        index::sample(rng, unit.len(), k).iter().map(|i| sum([&unit[i]].into_iter(), dimensions)).collect();
    let (mut of, mut total) = (vec![usize::MAX; unit.len()], 0.0);
    for _ in 0..STEPS {
        let before = of.clone();
        total = 0.0;
        for (of, vector) in of.iter_mut().zip(unit) {
            let cosine = |centre: &[f32]| vector.iter().map(|&(at, v)| centre[at as usize] * v).sum::<f32>();
            let cosines = centres.iter().map(|centre| cosine(centre)).enumerate();
            let nearest = cosines.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
            *of = nearest.0;
            total += nearest.1;
        }
        if of == before {
            break;
        }
        for (cluster, centre) in centres.iter_mut().enumerate() {
            let members = unit.iter().zip(&of).filter(|(_, of)| **of == cluster).map(|(vector, _)| vector);
            *centre = sum(members, dimensions);
            let norm = centre.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
            for value in centre.iter_mut() {
                *value /= norm;
            }
        }
    }
    (total, of)
}

#[allow(clippy::ptr_arg, reason = "mapped over vectors")]
fn normalised(vector: &Sparse) -> Sparse {
    let norm = vector.iter().map(|(_, value)| value * value).sum::<f32>().sqrt().max(1e-12);
    vector.iter().map(|&(at, value)| (at, value / norm)).collect()
}

fn sum<'a>(vectors: impl Iterator<Item = &'a Sparse>, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dimensions];
    vectors.flatten().for_each(|&(at, value)| sum[at as usize] += value);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_that_belong_together_are_found() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let centres: Vec<Vec<f32>> =
            (0..3).map(|_| (0..200).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
        let vectors: Vec<Sparse> = (0..90)
            .map(|i| {
                let noisy = |(at, value): (usize, &f32)| (at as u32, value + rng.random_range(-2.0..2.0));
                centres[i % 3].iter().enumerate().map(noisy).collect()
            })
            .collect();
        let found = clusters(&vectors, 200, 3);
        assert!(found.len() >= 25 && found.iter().all(|i| i % 3 == found[0] % 3), "{found:?}");
    }
}
