"""Kills `wmgen train` or `distill` at random moments, resumes it, and compares with a run that was left alone.

Usage: python kill_resume.py WMGEN TEXT DIR OUT.json [--runs 10] [--seed 1] [--distill offline|on-policy]
  TEXT  about a megabyte of plain text; its beginning will do
  DIR   a folder for the runs, made anew

A small configuration of some seconds a run. Each of the runs gets one to three SIGKILLs, each a uniform time after a start,
and is resumed with the same command until it ends by itself. Loss, held-out loss and the SHA-256 of the parameters must
be those of the run left alone.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

OPTIONS = ("--layers 2 --hidden 64 --heads 2 --kv-heads 1 --head-dim 32 --intermediate 128 --vocab 512 --window 32 "
           "--context 128 --batch 4 --micro-batch 2 --steps 150 --warmup 10 --eval-every 50 --eval-rows 8 "
           "--checkpoint-minutes 0 --threads 1").split()

# A student of the model that ships with wmgen.
STUDENT = {"model_type": "gemma2", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
           "num_key_value_heads": 1, "head_dim": 32, "intermediate_size": 128, "vocab_size": 6144, "sliding_window": 32,
           "max_position_embeddings": 128, "query_pre_attn_scalar": 32, "attn_logit_softcapping": 50.0,
           "final_logit_softcapping": 30.0, "bos_token_id": 2, "eos_token_id": 1}
DISTILL = ("--context 64 --batch 4 --micro-batch 2 --steps 30 --warmup 5 --eval-every 10 --eval-rows 4 "
           "--checkpoint-minutes 0 --threads 1").split()
SAMPLES = "--lmbda 0.5 --max-completion-length 24 --prompt-tokens 8".split()


def step(directory):
    """Of the checkpoint; none at all is step 0."""
    path = directory / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return json.loads(header["__metadata__"]["state"])["step"]


def outcome(directory):
    wrote = json.loads((directory / "training.json").read_text())
    digest = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
    return {"steps": wrote["steps"], "loss": wrote["loss"], "held_out": wrote["held_out"], "kl": wrote.get("kl"), "model_sha256": digest}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("wmgen", "text", "dir", "out"):
        parser.add_argument(name)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--distill", choices=["offline", "on-policy"])
    args = parser.parse_args()
    draw = random.Random(args.seed)
    root = Path(args.dir)
    root.mkdir()

    options = OPTIONS
    if args.distill:
        student = root / "student.json"
        student.write_text(json.dumps(STUDENT))
        options = ["--student", str(student), "--mode", args.distill, *DISTILL]
        if args.distill == "on-policy":
            options += SAMPLES

    def start(directory):
        verb = "distill" if args.distill else "train"
        command = [args.wmgen, verb, args.text, "--output", directory, "--resume", *options]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    begin = time.monotonic()
    assert start(root / "alone").wait() == 0
    seconds = time.monotonic() - begin
    alone = outcome(root / "alone")
    print(f"left alone: {seconds:.1f} s, {alone}", flush=True)

    runs = []
    for number in range(args.runs):
        directory, killed = root / f"run{number}", []
        for _ in range(draw.randint(1, 3)):
            process = start(directory)
            try:
                process.wait(draw.uniform(0, seconds))
                if killed:
                    break
                # It was quicker than the run left alone, and ended before its first kill: once more.
                shutil.rmtree(directory)
                process = start(directory)
                time.sleep(draw.uniform(0, seconds / 2))
            except subprocess.TimeoutExpired:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed.append(step(directory))
        assert killed and start(directory).wait() == 0
        runs.append({"killed_at_step": killed, "same": outcome(directory) == alone})
        print(runs[-1], flush=True)
    report = {"schema_version": 1, "options": " ".join(options), "alone": alone, "runs": runs,
              "same": sum(run["same"] for run in runs)}
    Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    assert all(run["same"] for run in runs)


main()
