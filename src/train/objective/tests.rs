use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    kind: String,
    softcap: Option<f32>,
    student: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
    loss: Vec<f64>,
    grad: Vec<Vec<f64>>,
    #[serde(default)]
    beta: f64,
    #[serde(default = "one")]
    temperature: f64,
    #[serde(default)]
    top_k: usize,
    #[serde(default)]
    tail: bool,
    #[serde(default)]
    ids: Vec<Vec<u32>>,
    #[serde(default)]
    logprobs: Vec<Vec<f32>>,
}

fn one() -> f64 {
    1.0
}

/// Compares loss and gradient of every objective with TRL: both ends of beta, top-k with and without tail, two
/// temperatures.
#[test]
fn every_objective_is_the_references() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/distill/objectives.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 60);
    let mut scratch = Scratch::default();
    for c in cases {
        let divergence = Divergence {
            beta: c.beta,
            temperature: c.temperature,
            loss_top_k: c.top_k,
            loss_add_tail: c.tail,
        };
        let listed = |rule| Goals::Listed {
            k: c.ids[0].len(),
            ids: c.ids.concat(),
            logprobs: c.logprobs.concat(),
            rule,
        };
        let what = match c.kind.as_str() {
            "teacher" => Goals::Teacher { logits: c.teacher.concat(), divergence },
            "listed" => listed(ListRule::Divergence(divergence)),
            _ => listed(ListRule::Sampled),
        };
        // The first position has no goal.
        let count = c.student.len();
        let mask: Vec<bool> = (0..=count).map(|i| i > 0).collect();
        let lesson = Lesson::new(vec![vec![0; count + 2]], &mask, what);
        let name = format!("{} {:?} {divergence:?}", c.kind, c.softcap);
        for i in 0..count {
            let mut row = c.student[i].clone();
            let loss = lesson.learn(i + 1, &mut row, &mut scratch, c.softcap, 0.5);
            assert!((loss / c.loss[i] - 1.0).abs() < 1e-5, "{name}: loss {loss}, expected {}", c.loss[i]);
            let size = c.grad[i].iter().fold(0f64, |m, g| m.max(g.abs()));
            for (got, want) in row.iter().zip(&c.grad[i]) {
                let error = (f64::from(*got) / 0.5 - want).abs() / size;
                assert!(error < 1e-5, "{name}: {error:e} off, {got} for {want}");
            }
        }
        let mut row = c.student[0].clone();
        assert_eq!(lesson.learn(0, &mut row, &mut scratch, c.softcap, 0.5), 0.0);
        assert!(row.iter().all(|g| *g == 0.0), "{name}: no goal, no gradient");
    }
}

#[test]
fn the_largest_come_in_order() {
    assert_eq!(support::largest(&[1.0, 3.0, 2.0, 3.0, 0.0], 3), [1, 3, 2]);
    assert_eq!(support::largest(&[1.0, 3.0], 5), [1, 0]);
}
