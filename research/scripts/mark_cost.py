"""What a mark costs: perplexity of marked and of unmarked texts under another model.

Usage: python mark_cost.py prompts TEXT OUT.jsonl
       python mark_cost.py score PROMPTS.jsonl MARKED.jsonl UNMARKED.jsonl PEER.gguf OUT.json [--tokenizer TOKENIZER.json]
       python mark_cost.py detected SCORES.jsonl CALIBRATE.json OUT.json

`prompts` cuts 100 openings of paragraphs from the documents that `wmgen train` held out, at even distances: the first
words of a paragraph, 40 to 80 bytes, not all in capitals.

`score` takes what `wmgen generate --prompts PROMPTS.jsonl --json` wrote, once with --key and once with --no-watermark,
otherwise with the same options. The peer sees prompt and text as one; the tokens of the text are scored. A prompt
counts once: its mean of nats a token in marked texts less that in unmarked ones. The interval is of the mean over prompts,
10,000 bootstrap samples of prompts, 95 %.

`detected` counts: SCORES.jsonl is what `wmdetect score --jsonl --json` says of the marked texts, CALIBRATE.json what
`wmdetect calibrate --jsonl --json --fpr 0.001 --keys 999` says of the unmarked ones.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

PROMPTS = 100
SHORTEST, LONGEST = 40, 80


def opening(paragraph):
    """The first words, up to LONGEST bytes, or None if there are too few."""
    words, length = [], 0
    for word in paragraph.split(" "):
        length += len(word.encode()) + bool(words)
        if length > LONGEST:
            break
        words.append(word)
    text = " ".join(words)
    fits = SHORTEST <= len(text.encode()) and text != paragraph
    return text if fits and text != text.upper() else None


def make_prompts(args):
    from corpus import documents, split

    with open(args.text, encoding="utf-8", newline="") as file:
        held_out = split(documents(file.read()))[1]
    found = [text for document in held_out for text in map(opening, document) if text]
    chosen = [found[(2 * i + 1) * len(found) // (2 * PROMPTS)] for i in range(PROMPTS)]
    assert len(set(chosen)) == PROMPTS
    with open(args.out, "w", encoding="utf-8") as file:
        for prompt in chosen:
            file.write(json.dumps({"prompt": prompt}, ensure_ascii=False) + "\n")


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def interval(differences):
    """95 % of the mean, by resampling."""
    random = np.random.default_rng(1)
    means = [random.choice(differences, len(differences)).mean() for _ in range(10_000)]
    return [float(q) for q in np.quantile(means, [0.025, 0.975])]


def score(args):
    from peers import Peer

    prompts = [line["prompt"] for line in lines(args.prompts)]
    peer = Peer(args.peer, args.tokenizer)
    nats_a_token, nats_a_byte, report = {}, {}, {"schema_version": 1, "peer": peer.name, "prompts": len(prompts)}
    for name, path in (("marked", args.marked), ("unmarked", args.unmarked)):
        texts = lines(path)
        each = len(texts) // len(prompts)
        assert each * len(prompts) == len(texts), f"{len(texts)} texts of {len(prompts)} prompts"
        assert all(text["watermark"]["applied"] == (name == "marked") for text in texts), f"{path} is not {name}"
        token, byte = ([[] for _ in prompts] for _ in range(2))
        nats = tokens = size = 0
        for i, line in enumerate(texts):
            prompt, text = prompts[i // each], line["text"]
            if not text:
                continue
            n, count = peer.nats(prompt + text, len(prompt))
            token[i // each].append(n / count)
            byte[i // each].append(n / len(text.encode()))
            nats, tokens, size = nats + n, tokens + count, size + len(text.encode())
        nats_a_token[name] = [np.mean(v) for v in token]
        nats_a_byte[name] = [np.mean(v) for v in byte]
        report[name] = {
            "texts": len(texts),
            "tokens_generated": sum(len(line["tokens"]) for line in texts),
            "tokens": tokens,
            "bytes": size,
            "nats_a_token": nats / tokens,
            "perplexity": math.exp(nats / tokens),
            "bits_per_byte": nats / size / math.log(2),
            "sampling": texts[0]["sampling"],
        }
    for name, values in (("nats_a_token", nats_a_token), ("nats_a_byte", nats_a_byte)):
        difference = np.array(values["marked"]) - np.array(values["unmarked"])
        assert np.isfinite(difference).all(), "a prompt without a text"
        report[f"difference_{name}"] = {"mean": float(difference.mean()), "interval": interval(difference)}
    low, high = report["difference_nats_a_token"]["interval"]
    mean = report["difference_nats_a_token"]["mean"]
    report["perplexity_ratio"] = {"mean": math.exp(mean), "interval": [math.exp(low), math.exp(high)]}
    Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


def detected(args):
    p = [line["p_value"] for line in lines(args.scores)]
    calibrate = json.loads(Path(args.calibrate).read_text())
    assert calibrate["fpr"] == 0.001, calibrate["fpr"]
    flagged, trials = sum(calibrate["random_flagged"]), calibrate["random_keys"] * calibrate["documents"]
    report = {
        "schema_version": 1,
        "texts": len(p),
        "detected_1e-3": sum(value <= 1e-3 for value in p),
        "detected_1e-6": sum(value <= 1e-6 for value in p),
        "largest_p": max(p),
        "detector": calibrate["detector"],
        "keys": calibrate["random_keys"],
        "unmarked_trials": trials,
        "unmarked_flagged": flagged,
        "unmarked_rate": flagged / trials,
        "unmarked_interval": calibrate["rate"]["mean_interval"],
    }
    Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("prompts")
    for name in ("text", "out"):
        command.add_argument(name)
    command.set_defaults(run=make_prompts)
    command = commands.add_parser("score")
    for name in ("prompts", "marked", "unmarked", "peer", "out"):
        command.add_argument(name)
    command.add_argument("--tokenizer")
    command.set_defaults(run=score)
    command = commands.add_parser("detected")
    for name in ("scores", "calibrate", "out"):
        command.add_argument(name)
    command.set_defaults(run=detected)
    args = parser.parse_args()
    args.run(args)


main()
