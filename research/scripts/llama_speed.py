#!/usr/bin/env python3
"""wmgen and llama.cpp on the same GGUF files, in turns, so that what else the machine does meets both.

Each turn runs `wmgen bench` (with the mark), then `llama-bench` once for each way of loading, and keeps llama.cpp's best;
the ratio is taken turn by turn. Prints one Markdown row a file and kind of run: medians, the range of the ratios.

    wmgen bench --shape gemma2-2b --quant q4_0 --write-gguf q4_0.gguf --prefill 1 --decode 1 --repetitions 1
    python llama_speed.py --wmgen target/release/wmgen --llama-bench build/bin/llama-bench --turns 5 --threads 2 \\
        --decode q4_0.gguf:0 --decode q4_0.gguf:2048 --prefill q4_0.gguf
"""

import argparse
import json
import pathlib
import statistics
import subprocess


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def ours(args, path, prefill, decode, depth):
    report = run([
        args.wmgen, "bench", "--model", path, "--prefill", prefill, "--decode", decode, "--depth", depth,
        "--repetitions", 1, "--threads", args.threads, "--json",
    ])
    return report["read"], report["depths"][0]


def theirs(args, path, prefill, decode, depth):
    best = 0.0
    for mode in args.load_mode:
        rows = run([
            args.llama_bench, "-m", path, "-t", args.threads, "-p", prefill, "-n", decode, "-d", depth, "-r", 1,
            "-lm", mode, "-o", "json",
        ])
        best = max([best] + [row["avg_ts"] for row in rows])
    return best


def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wmgen", required=True)
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32, help="decoded a turn")
    parser.add_argument("--load-mode", nargs="+", default=["mmap", "none"])
    parser.add_argument("--decode", action="append", default=[], metavar="FILE:DEPTH")
    parser.add_argument("--prefill", action="append", default=[], metavar="FILE")
    args = parser.parse_args()
    print("| what | ours | llama.cpp | ratio | steps, of what a sweep of the memory allows |")
    print("|---|---|---|---|---|")
    for spec in args.decode:
        path, depth = spec.rsplit(":", 1)
        own, peer, share = [], [], []
        for _ in range(args.turns):
            read, at = ours(args, path, 1, args.tokens, depth)
            own.append(at["decode"][0]["marked"]["median"])
            share.append(at["decode"][0]["marked"]["median"] / read["bound"])
            peer.append(theirs(args, path, 0, args.tokens, depth))
        row(f"decode, {pathlib.Path(path).stem}, depth {depth}", own, peer, spread(share, 2))
    for path in args.prefill:
        own, peer = [], []
        for _ in range(args.turns):
            own.append(ours(args, path, 512, 1, 0)[1]["prefill"]["median"])
            peer.append(theirs(args, path, 512, 0, 0))
        row(f"prefill 512, {pathlib.Path(path).stem}", own, peer, "–")


def row(what, own, peer, share):
    ratios = [a / b for a, b in zip(own, peer)]
    print(f"| {what} | {spread(own)} | {spread(peer)} | {spread(ratios, 2)} | {share} |", flush=True)


if __name__ == "__main__":
    main()
