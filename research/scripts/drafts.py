"""What drafts are worth: the same texts with `--draft prompt` and without, in turns.

Usage: python drafts.py WMGEN MODEL KEY PROMPTS.jsonl OUT.json [--turns 3] [-- OPTION...]
  KEY       a key file, or `none` for unmarked texts
  PROMPTS   as `wmgen generate --prompts` takes them
  OPTION    further options of `wmgen generate`, such as --temperature 0.5 --max-tokens 120

Each turn writes all texts twice, one at a time, and begins with the other kind than the turn before. Every text must have the same
tokens, marked positions and finish reason both times, or the script fails. It reports the median over texts of the ratio of the decode
speeds, where the speed of a text is the median over turns, and the ratio of the time of all texts.

`python drafts.py tasks DOCS.jsonl OUT.jsonl [--count 24]` makes prompts whose answers repeat them: a text of DOCS (field `text`,
English where there is a field `lang`), and the beginning of its copy.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path


def tasks(docs, out, count):
    """Writes prompts that ask for a corrected copy of a text of 400 to 1,400 characters."""
    prompts = []
    with open(docs) as lines:
        for line in lines:
            doc = json.loads(line)
            text = re.sub(r"\s+", " ", doc["text"]).strip()
            if doc.get("lang", "en") != "en" or not 400 < len(text) < 1400:
                continue
            start = " ".join(text.split()[:6])
            prompt = f"Original text:\n{text}\n\nThe same text with its spelling corrected:\n{start}"
            prompts.append({"id": f"copy-{len(prompts)}", "prompt": prompt})
            if len(prompts) == count:
                break
    Path(out).write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))


def run(command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(text):
    """Returns what drafts must not change."""
    mark = {name: value for name, value in text["watermark"].items()}
    return text["tokens"], text["text"], text["finish_reason"], mark


def main():
    if sys.argv[1:2] == ["tasks"]:
        parser = argparse.ArgumentParser(prog="drafts.py tasks")
        parser.add_argument("docs")
        parser.add_argument("out")
        parser.add_argument("--count", type=int, default=24)
        args = parser.parse_args(sys.argv[2:])
        return tasks(args.docs, args.out, args.count)
    ours, _, options = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("wmgen", "model", "key", "prompts", "out"):
        parser.add_argument(name)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args(ours.split())
    mark = ["--no-watermark"] if args.key == "none" else ["--key", args.key]
    command = [args.wmgen, "generate", "--model", args.model, *mark, "--prompts", args.prompts, "--batch", "1",
               "--seed", "1", "--json", *options.split()]
    speeds = {"none": [], "prompt": []}
    seconds = {"none": [], "prompt": []}
    first = None
    for turn in range(args.turns):
        order = ["none", "prompt"]
        for draft in order if turn % 2 == 0 else reversed(order):
            texts = run([*command, "--draft", draft])
            first = first or texts
            for one, other in zip(first, texts, strict=True):
                if same(one) != same(other):
                    sys.exit(f"text {one.get('id')}: expected the text without drafts, found another")
            speeds[draft].append([text["timing"]["tokens_per_s"] for text in texts])
            seconds[draft].append(sum(text["timing"]["decode_s"] for text in texts))
    each = {draft: [statistics.median(text) for text in zip(*turns)] for draft, turns in speeds.items()}
    ratios = sorted(b / a for a, b in zip(each["none"], each["prompt"]))
    report = {
        "texts": len(ratios),
        "tokens": sum(len(text["tokens"]) for text in first),
        "turns": args.turns,
        "options": options,
        "ratio_median": statistics.median(ratios),
        "ratio_least": ratios[0],
        "ratio_most": ratios[-1],
        "ratio_of_time": statistics.median(a / b for a, b in zip(seconds["none"], seconds["prompt"])),
        "tokens_per_s": {draft: statistics.median(values) for draft, values in each.items()},
    }
    Path(args.out).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
