"""Is a student of marked text found, and is one of unmarked text left alone? Trains small students of the model that ships with
wmgen and asks `wmgen radioactive`.

Usage: python radioactivity.py WMGEN DIR OUT.json [--preset balanced] [--temperature 1.0] [--documents 3000] [--tokens 128]
                               [--test 600] [--base-steps 250] [--steps 300] [--distil-steps 100] [--learning-rate 1e-3]
                               [--control 1000] [--seed 1] [--threads N]
  WMGEN  the program
  DIR    a folder for keys, texts and students. What is there is not made again, so the same command goes on

The default model writes DOCUMENTS texts of TOKENS tokens from nothing, marked with a new key, as many unmarked ones, and TEST
further unmarked ones. Students have two million parameters. `unmarked` takes BASE-STEPS steps of 16 rows on the unmarked texts.
`marked` and `half` go on from it for STEPS steps at LEARNING-RATE: on the marked texts, and on half of them and half of the unmarked ones. `distilled`
starts anew and takes DISTIL-STEPS steps on the unmarked texts with the default model's distributions as targets. `teacher` is the
default model itself. The last two and `unmarked` never saw a mark.

Each student is asked twice. `traces`: its first choices in all marked texts, a context once, which is right for a corpus that
is marked with the key. `fresh`: its first choices in the TEST further unmarked texts, with --unmarked. Students that
never saw a mark are judged under CONTROL random keys as well.
"""

import argparse
import json
import subprocess
from pathlib import Path

STUDENT = {"model_type": "gemma2", "hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4,
           "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 384, "vocab_size": 6144, "sliding_window": 64,
           "max_position_embeddings": 512, "query_pre_attn_scalar": 32, "attn_logit_softcapping": 50.0,
           "final_logit_softcapping": 30.0, "bos_token_id": 2, "eos_token_id": 1}
# Texts that are written together.
TOGETHER = 250


def run(args, path=None):
    """Runs a command. With a path, what it prints goes there when it is complete."""
    part = path and path.with_suffix(".part")
    with open(part, "w", encoding="utf-8") if path else open("/dev/null", "w", encoding="utf-8") as out:
        subprocess.run([str(arg) for arg in args], check=True, stdout=out)
    if path:
        part.rename(path)


def write(args, name, key, number, seed):
    """Texts of the default model, a receipt a line."""
    path = args.dir / f"{name}.jsonl"
    if not path.exists():
        parts = []
        for at in range(0, number, TOGETHER):
            part = args.dir / f"{name}-{at}.jsonl"
            if not part.exists():
                mark = ["--key", key] if key else ["--no-watermark"]
                run([args.wmgen, "generate", *mark, "-n", min(TOGETHER, number - at), "--max-tokens", args.tokens,
                     "--temperature", args.temperature, "--seed", seed + at, "--json", *args.common], part)
            parts.append(part)
        with open(path.with_suffix(".part"), "w", encoding="utf-8") as out:
            for part in parts:
                out.write(part.read_text(encoding="utf-8"))
        path.with_suffix(".part").rename(path)
        for part in parts:
            part.unlink()
    return path


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def text(args, name, receipts):
    """A file as `wmgen train` takes it."""
    path = args.dir / f"{name}.txt"
    if not path.exists():
        texts = [json.loads(line)["text"].strip() for line in receipts]
        path.with_suffix(".part").write_text("\n<|endofdoc|>\n".join(texts) + "\n", encoding="utf-8")
        path.with_suffix(".part").rename(path)
    return path


def train(args, name, source, steps, how):
    """A student."""
    path = args.dir / f"student-{name}"
    if not (path / "training.json").exists():
        # Random parameters and the order of the rows follow from the seed.
        run([args.wmgen, how[0], source, *how[1:], "--output", path, "--steps", steps, "--context", args.tokens, "--batch", 16,
             "--warmup", 20, "--eval-every", 50, "--seed", 1, "--resume", *args.common])
    return path


def ask(args, student, name, corpus, key, *more):
    """What `wmgen radioactive` says."""
    path = args.dir / f"radioactive-{name}.json"
    if not path.exists():
        log = args.dir / f"choices-{name}.jsonl"
        run([args.wmgen, "radioactive", "--student", student, "--corpus", corpus, "--key", key, "--samples", log, "--json",
             *more, *args.common], path)
    return json.loads(path.read_text(encoding="utf-8"))


def brief(report):
    """What the table needs."""
    key = report["keys"][0]
    found = {name: key[name] for name in ("pairs", "agreeing", "score", "p_value", "log10_p", "p_kind", "corpus_log10_p", "excluded")}
    if "control" in key:
        control = key["control"]
        found["control"] = {name: control[name] for name in ("keys", "distance", "ks_p", "at_most_fpr")}
        found["control"]["quantiles"] = [control["p_values"][len(control["p_values"]) * q // 100] for q in (1, 10, 50, 90, 99)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wmgen", type=Path)
    parser.add_argument("dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--temperature", type=float, default=1.0)
    for name, default in (("documents", 3000), ("tokens", 128), ("test", 600), ("base-steps", 250), ("steps", 300),
                          ("distil-steps", 100), ("control", 1000), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", default="1e-3")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    args.common = ["--threads", args.threads] if args.threads else []
    tokenizer = Path(__file__).parents[2] / "detector/src/text/default_tokenizer.json"
    args.dir.mkdir(parents=True, exist_ok=True)
    key = args.dir / "k.bin"
    if not key.exists():
        run([args.wmgen, "keygen", key, "--preset", args.preset])

    marked = write(args, "marked", key, args.documents, args.seed)
    unmarked = write(args, "unmarked", None, args.documents, args.seed + 1_000_000)
    fresh = write(args, "fresh", None, args.test, args.seed + 2_000_000)
    half = args.documents // 2
    texts = {"marked": lines(marked), "half": lines(marked)[:half] + lines(unmarked)[:half], "unmarked": lines(unmarked)}
    files = {name: text(args, name, receipts) for name, receipts in texts.items()}
    config = args.dir / "student.json"
    config.write_text(json.dumps(STUDENT), encoding="utf-8")
    new = ["--tokenizer", tokenizer]
    base = train(args, "unmarked", files["unmarked"], args.base_steps, ["train", "--config", config, *new])
    on = ["train", "--from", base, "--learning-rate", args.learning_rate]
    students = {
        "marked": lambda: train(args, "marked", files["marked"], args.steps, on),
        "half": lambda: train(args, "half", files["half"], args.steps, on),
        "unmarked": lambda: base,
        "distilled": lambda: train(args, "distilled", files["unmarked"], args.distil_steps, ["distill", "--student", config, *new]),
        "teacher": lambda: "default",
    }

    settings = {name: getattr(args, name)
                for name in ("preset", "temperature", "documents", "tokens", "test", "base_steps", "steps", "distil_steps", "learning_rate", "control", "seed")}
    report = {"schema_version": 1, "settings": settings, "students": {}}
    for name, make in students.items():
        student = make()
        control = [] if name in ("marked", "half") else ["--control", args.control]
        found = {kind: brief(ask(args, student, f"{name}-{kind}", corpus, key, *more, *control))
                 for kind, corpus, more in (("traces", marked, ()), ("fresh", fresh, ("--unmarked",)))}
        if student != "default":
            found["held_out"] = json.loads((student / "training.json").read_text())["held_out"]
        report["students"][name] = found
        for kind in ("traces", "fresh"):
            row = found[kind]
            control = f", KS p {row['control']['ks_p']:.3f}" if "control" in row else ""
            print(f"{name:10} {kind:7} {row['pairs']:7} pairs  log10 p {row['log10_p']:9.2f}{control}", flush=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
