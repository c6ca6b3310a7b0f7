"""How many texts of other engines' marks are found, by temperature and length: the table of research/results.md.

Usage: python engines_power.py MARKED_CORPUS WMDETECT MODEL.gguf PROMPTS.jsonl DIR [SCHEME...]
  MARKED_CORPUS  the study's program, `cargo build --release -p wmgen-research --bin marked_corpus`
  WMDETECT       the detector
  PROMPTS        JSON lines with `id` and `text`, of 24 tokens at least
  DIR            for keys and texts; texts that are there are not written again

Each scheme has one key. Each prompt has one text a temperature, written by the engine's rule for a draw, of which the first tokens are scored
without the prompt. Prints the share with p at most 0.001 and the median of log10 p.
"""

import json
import pathlib
import statistics
import subprocess
import sys

LENGTHS = (25, 50, 100)
TEMPERATURES = ("1.0", "0.7", "0.5")
KEY = 0x1F2E3D4C5B6A7988
CONFIGS = {
    "vllm-gumbel": {"key": KEY, "context_width": 4, "algorithm": "gumbel"},
    "vllm-gumbel-dual": {"key": KEY, "context_width": 4, "algorithm": "dual_key_gumbel", "alpha": 0.1},
    "sglang-gumbel": {"key": f"{KEY:x}", "context_window": 4},
    "sglang-gumbel-dual": {"key": f"{KEY:x}", "key_b": f"{KEY >> 3:x}", "context_window": 4, "mixing_probability": 0.5},
    "textseal": {"secret_key": KEY >> 2, "ngram": 2, "watermark_type": "gumbelmax"},
    "kgw-hf": {"hashing_key": KEY >> 20, "greenlist_ratio": 0.25, "seeding_scheme": "lefthash", "vocab_size": 6144},
    "kgw": {"hash_key": KEY >> 20, "gamma": 0.25, "seeding_scheme": "selfhash", "vocab_size": 6144},
}


def main():
    corpus, wmdetect, model, prompts, directory, *schemes = sys.argv[1:]
    directory = pathlib.Path(directory)
    directory.mkdir(exist_ok=True)
    for scheme in schemes or CONFIGS:
        config, key = directory / f"{scheme}.json", directory / f"{scheme}.bin"
        if not key.exists():
            config.write_text(json.dumps(CONFIGS[scheme]))
            subprocess.run(
                [wmdetect, "key", "import", config, key, "--scheme", scheme], check=True, stderr=subprocess.DEVNULL
            )
        cells = []
        for temperature in TEMPERATURES:
            texts = directory / f"{scheme}-{temperature}.jsonl"
            subprocess.run([corpus, model, key, prompts, temperature, str(max(LENGTHS)), texts], check=True)
            rows = [json.loads(line) for line in texts.read_text().splitlines()]
            for length in LENGTHS:
                cut = directory / "cut.jsonl"
                cut.write_text("".join(json.dumps({"tokens": row["tokens"][:length]}) + "\n" for row in rows))
                command = [wmdetect, "score", "--key", key, "--tokens", "--jsonl", cut, "--json"]
                done = subprocess.run(command, capture_output=True, text=True)
                logs = [json.loads(line)["log10_p"] or 0.0 for line in done.stdout.splitlines()]
                assert len(logs) == len(rows), done.stderr
                share = sum(log <= -3 for log in logs) / len(logs)
                cells.append(f"{share:.0%} ({statistics.median(logs):.1f})".replace("%", " %"))
        print(f"| `{scheme}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
