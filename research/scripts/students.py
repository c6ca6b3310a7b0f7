"""What a teacher is worth: students from text alone, from the teacher's distribution, and on-policy after that.

Usage: python students.py WMGEN TEXT DIR OUT.json [--teacher default] [--steps 500] [--more 100] [--seeds 3] [--threads N]
  TEXT  the teacher's training text, as `wmgen train` takes it
  DIR   a folder for the runs; those that have ended are not run again, others go on from their checkpoint

All students have one size, about a third of the default model, and see the same number of tokens in the same order. A student
of `text` learns the next tokens, one of `offline` the teacher's distribution over them (forward divergence). Three runs begin
with `offline` and take the same number of further steps: `more` goes on as before, `on_policy` learns on the student's own samples
(reverse divergence), `mixed` on samples in half of its steps (beta 0.5). Every student is measured on all held-out rows: loss,
perplexity and KL(teacher || student). The share of the gap that is closed is (loss of text - loss) / (loss of text - loss of
the teacher), of the same seed.

The intervals are Student's, 95 %, over seeds.
"""

import argparse
import json
import statistics
import subprocess
from pathlib import Path

from scipy.stats import t as student_t

SIZE = {"model_type": "gemma2", "hidden_size": 160, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 40, "intermediate_size": 480, "vocab_size": 6144, "sliding_window": 128,
        "max_position_embeddings": 512, "query_pre_attn_scalar": 40, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "bos_token_id": 2, "eos_token_id": 1}
ROWS = ["--context", "256", "--batch", "16", "--eval-rows", "32", "--eval-every", "50", "--checkpoint-minutes", "2"]


def run(wmgen, directory, command):
    """Runs a training to its end, or goes on with it. Returns its report."""
    report = directory / "training.json"
    if not report.exists():
        with open(directory.parent / f"{directory.name}.log", "ab") as log:
            subprocess.run([wmgen, *command, "--output", directory, "--resume"], check=True, stderr=log, stdout=log)
    return json.loads(report.read_text())


def interval(values):
    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"mean": mean}
    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": values}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("wmgen", "text", "dir", "out"):
        parser.add_argument(name)
    parser.add_argument("--teacher", default="default")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--more", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    root = Path(args.dir)
    root.mkdir(exist_ok=True)
    config = root / "student.json"
    config.write_text(json.dumps(SIZE))
    rows = [*ROWS, *(["--threads", str(args.threads)] if args.threads else [])]
    rate = ["--learning-rate", "3e-3", "--warmup", "50"]
    after = ["--learning-rate", "3e-4", "--warmup", "5"]

    def distill(directory, student, steps, seed, *options):
        return run(args.wmgen, root / directory, ["distill", args.text, "--teacher", args.teacher, "--student", student,
                                                  "--steps", str(steps), "--seed", str(seed), *rows, *options])

    def measured(directory, student):
        """Of a student that was not distilled: one step at a rate that changes nothing, for the divergence."""
        return distill(directory, student, 1, 1, "--learning-rate", "1e-12", "--warmup", "1")

    students = {}
    teacher = measured("teacher", args.teacher)
    for seed in range(1, args.seeds + 1):
        alone = root / f"text-{seed}"
        trained = run(args.wmgen, alone, ["train", args.text, "--config", config, "--tokenizer", args.teacher, "--steps", str(args.steps),
                                          "--seed", str(seed), *rows, *rate])
        first = root / f"offline-{seed}"
        more = str(args.more)
        found = {
            "text": measured(f"text-{seed}-measured", alone),
            "offline": distill(first.name, config, args.steps, seed, *rate),
            "more": distill(f"more-{seed}", first, more, seed + 100, *after),
            "on_policy": distill(f"on-policy-{seed}", first, more, seed + 100, *after, "--mode", "on-policy",
                                 "--max-completion-length", "96", "--prompt-tokens", "16"),
            "mixed": distill(f"mixed-{seed}", first, more, seed + 100, *after, "--mode", "on-policy", "--lmbda", "0.5",
                             "--beta", "0.5", "--max-completion-length", "96", "--prompt-tokens", "16"),
        }
        assert abs(found["text"]["held_out"] - trained["held_out"]) < 1e-3, "one held-out loss, measured by both"
        gap = found["text"]["held_out"] - teacher["held_out"]
        for name, report in found.items():
            student = students.setdefault(name, {"held_out": [], "kl": [], "gap_closed": [], "seconds": []})
            student["held_out"].append(report["held_out"])
            student["kl"].append(report["kl"])
            student["gap_closed"].append((found["text"]["held_out"] - report["held_out"]) / gap)
            student["seconds"].append((trained if name == "text" else report)["seconds"])
            print(seed, name, round(report["held_out"], 4), round(report["kl"], 4), flush=True)

    report = {
        "schema_version": 1, "steps": args.steps, "more": args.more, "parameters": trained["parameters"],
        "tokens": trained["tokens"], "held_out_scored": trained["held_out_scored"],
        "teacher": {"held_out": teacher["held_out"], "kl": teacher["kl"]},
        "students": {name: {what: interval(values) for what, values in student.items()} for name, student in students.items()},
        "distilled_less_text": interval([a - b for a, b in zip(students["offline"]["held_out"], students["text"]["held_out"])]),
    }
    Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["students"], indent=2))


main()
