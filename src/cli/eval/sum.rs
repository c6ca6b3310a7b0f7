//! From results to the report.

use wmgen::eval::compare::{Pair, compare};
use wmgen::eval::metrics::{self, Measured};
use wmgen::eval::report::{Compared, Comparison, EvalReport, MarkReport, RunReport, TaskReport};
use wmgen::eval::{Kind, Metric};
use wmgen::respond::ModelInfo;

use super::super::model::Loaded;
use super::EvalArgs;
use super::keys::Runs;
use super::plan::Plan;
use super::shape::Kept;
use super::work::Results;

/// Makes the report.
pub(super) fn report(
    args: &EvalArgs,
    loaded: &Loaded,
    runs: &Runs,
    plans: &[Plan],
    results: &[Results],
) -> EvalReport {
    let info = ModelInfo::new(&loaded.model, &loaded.name, loaded.tokenizer.clone());
    let mut tasks = Vec::new();
    for (plan, results) in plans.iter().zip(results) {
        let all: Vec<usize> = (0..plan.items.len()).collect();
        let mut task = part(args, runs, plan, results, &all);
        let mut groups: Vec<&str> = plan.items.iter().filter_map(|item| item.group.as_deref()).collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let of_group = |at: &usize| plan.items[*at].group.as_deref() == Some(group);
            let places: Vec<usize> = all.iter().copied().filter(of_group).collect();
            let mut part = part(args, runs, plan, results, &places);
            part.task = format!("{}_{group}", plan.task.task);
            task.groups.push(part);
        }
        pool(&mut task);
        tasks.push(task);
    }
    let warnings = warnings(args, plans, &tasks);
    EvalReport {
        schema_version: 1,
        conventions: "lm-evaluation-harness 0.4.13",
        model: info.receipt().clone(),
        rounded: args.rounded,
        tasks,
        warnings,
    }
}

/// Makes the report on some documents of a task.
fn part(args: &EvalArgs, runs: &Runs, plan: &Plan, results: &Results, places: &[usize]) -> TaskReport {
    let of = |run: &[Kept]| -> Vec<Kept> { places.iter().filter_map(|at| run.get(*at).cloned()).collect() };
    let (unmarked, marked): (Vec<_>, Vec<_>) = (
        results.unmarked.iter().map(|run| of(run)).collect(),
        results.marked.iter().map(|run| of(run)).collect(),
    );
    let one: &[Kept] = marked.first().or(unmarked.first()).map_or(&[], Vec::as_slice);
    let comparison = args.compare.then(|| Comparison {
        runs: runs
            .marked
            .iter()
            .map(|run| RunReport { key_id: run.key_id.clone(), seed: run.seed })
            .collect(),
        metrics: differences(args, plan, &unmarked, &marked),
    });
    let sum = |get: &dyn Fn(&Kept) -> u64| marked.iter().flatten().map(get).sum();
    TaskReport {
        task: plan.task.task.clone(),
        kind: plan.task.kind,
        shots: plan.shots.number,
        documents: places.len(),
        truncated: one.iter().filter(|kept| kept.truncated).count(),
        sampling: plan.task.writes().then(|| super::sampling(args, plan)),
        watermark: (!marked.is_empty()).then(|| MarkReport {
            key_ids: runs.key_ids().into_iter().map(str::to_owned).collect(),
            tokens: sum(&|kept| kept.tokens),
            marked_tokens: sum(&|kept| kept.marked_tokens),
        }),
        metrics: match comparison {
            Some(_) => Vec::new(),
            None => metrics::measure(&plan.task, one.iter().map(|kept| &kept.scores)),
        },
        comparison,
        groups: Vec::new(),
    }
}

/// Compares each metric over the documents that have it in every run, marked and unmarked.
fn differences(args: &EvalArgs, plan: &Plan, unmarked: &[Vec<Kept>], marked: &[Vec<Kept>]) -> Vec<Compared> {
    let documents = marked.first().map_or(0, Vec::len);
    metrics::means(&plan.task)
        .into_iter()
        .map(|(name, metric, filter)| {
            let score = |run: &[Kept], at: usize| run.get(at)?.scores.get(&name).copied();
            let pairs: Vec<Vec<Pair>> = (0..documents)
                .filter_map(|at| {
                    let pair = |(unmarked, marked): (&Vec<Kept>, &Vec<Kept>)| {
                        Some(Pair { unmarked: score(unmarked, at)?, marked: score(marked, at)? })
                    };
                    unmarked.iter().zip(marked).map(pair).collect()
                })
                .collect();
            // For a metric that is not a share, the margin is a share of the unmarked mean.
            let unmarked =
                || metrics::mean(&pairs.iter().flatten().map(|pair| pair.unmarked).collect::<Vec<_>>());
            let unit = if matches!(metric, Metric::Nll | Metric::Tokens) { unmarked().abs() } else { 1.0 };
            Compared { metric: metric.name(), filter, difference: compare(&pairs, args.margin * unit) }
        })
        .collect()
}

/// Gives a task with groups the harness's standard errors for a group of tasks.
fn pool(task: &mut TaskReport) {
    if task.groups.is_empty() || task.comparison.is_some() {
        return;
    }
    for (at, metric) in task.metrics.iter_mut().enumerate() {
        let of_group = |group: &Measured| (group.stderr, group.documents);
        let groups: Vec<_> =
            task.groups.iter().filter_map(|group| group.metrics.get(at)).map(of_group).collect();
        metric.stderr = metrics::pooled_stderr(&groups);
    }
}

fn warnings(args: &EvalArgs, plans: &[Plan], tasks: &[TaskReport]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (plan, task) in plans.iter().zip(tasks) {
        let name = &task.task;
        if task.truncated > 0 {
            warnings.push(format!(
                "{name}: {} of {} prompts were longer than the context and lost their beginning",
                task.truncated, task.documents
            ));
        }
        if !args.watermark.is_empty() && !plan.task.writes() {
            warnings.push(format!(
                "{name}: the model only reads, which no mark touches; the numbers are those without it"
            ));
        }
        if plan.task.metrics.contains(&Metric::PassAt1) && !args.run_code {
            warnings.push(format!(
                "{name}: pass_at_1 needs --run-code, which runs the programs that the model writes"
            ));
        }
        if let Some(Comparison { runs, .. }) = &task.comparison
            && runs.iter().all(|run| run.key_id == runs[0].key_id)
        {
            let seed = if runs.len() == 1 { " and one seed" } else { "" };
            warnings.push(format!("{name}: with one key{seed} the interval says nothing of other keys"));
        }
        if plan.task.kind == Kind::FreeText && !args.compare {
            warnings.push(format!("{name}: its metrics are for comparisons; alone they say little"));
        }
    }
    warnings
}
