"""How fast the package is, beside the program `wmdetect` and beside transformers' own SynthID code.

    python speed.py program target/release/wmdetect tokenizer.json texts.jsonl
    python speed.py detector tokenizer.json texts.jsonl
    python speed.py processor

`program` scores the texts of a file of JSON lines by the package, one by one and in batches of 1,000, and by the
program, in rounds that take turns, with the same number of threads. `detector` compares with what transformers has
for detecting: `SynthIDTextWatermarkLogitsProcessor`, which computes the g-values and masks that
`SynthIDTextWatermarkDetector` feeds to a trained model, under a key of the same scheme. `processor` compares the cost
of a step of marking. One JSON object a row: medians over the rounds, with the least and the largest.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import wmdetect

ROUNDS = 7
# Of a processor, and how many of them do not count.
STEPS, WARM = 14, 6


def row(what, values, **more):
    """Prints a median and its range."""
    values = sorted(values)
    found = {"what": what, "median": statistics.median(values), "least": values[0], "largest": values[-1]}
    print(json.dumps(found | more), flush=True)


def seconds(work):
    """Returns how long a call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def microseconds(step, ids, vocabulary, scores):
    """Returns how long a step of marking takes, after some that warm up."""
    import torch

    spent = []
    for _ in range(STEPS):
        spent.append(seconds(lambda: step(ids, scores.clone())) * 1e6)  # noqa: B023
        ids = torch.cat([ids, torch.randint(0, vocabulary, (len(ids), 1))], 1)
    return statistics.mean(spent[WARM:])


def read(path):
    """Returns the texts of a file of JSON lines."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def key_in(directory, preset="balanced"):
    """Returns the path of a new key."""
    path = pathlib.Path(directory, "k.bin")
    wmdetect.Key.generate(preset).write(path)
    return path


def program(wmdetect_program, tokenizer, texts_path):
    """The package against the program, on the same cores."""
    texts = read(texts_path)
    with tempfile.TemporaryDirectory() as directory:
        key = key_in(directory)
        detector = wmdetect.Detector(key, tokenizer)
        command = [
            wmdetect_program,
            "score",
            "--jsonl",
            "--json",
            "--key",
            key,
            "--tokenizer",
            tokenizer,
            texts_path,
        ]
        empty = pathlib.Path(directory, "empty.jsonl")
        empty.write_text('{"text": "a"}\n')
        rates = {"single": [], "batches of 1,000": [], "the program": []}
        ratios = []

        def batches():
            for at in range(0, len(texts), 1000):
                detector.score_batch(texts[at : at + 1000])

        def run(last):
            with open(os.devnull, "w") as nothing:
                subprocess.run([*command[:-1], last], stdout=nothing, stderr=nothing, check=True)

        for _ in range(ROUNDS):
            rates["single"].append(len(texts) / seconds(lambda: [detector.score(text) for text in texts]))
            rates["batches of 1,000"].append(len(texts) / seconds(batches))
            # Without what it takes to start, which a batch in a running process does not pay.
            took = seconds(lambda: run(texts_path)) - seconds(lambda: run(empty))
            rates["the program"].append(len(texts) / took)
            ratios.append(rates["batches of 1,000"][-1] / rates["the program"][-1])
        for what, values in rates.items():
            row(f"{what}, texts a second", values, texts=len(texts))
        row("batches against the program", ratios)


def detector(tokenizer, texts_path):
    """The package against transformers' own code, on the same token ids, one thread each."""
    import torch
    from transformers import SynthIDTextWatermarkLogitsProcessor

    torch.set_num_threads(1)
    cut = wmdetect.Tokenizer.open(tokenizer)
    ids = [cut.encode(text)[:400] for text in read(texts_path)[:1000]]
    ids = [one for one in ids if len(one) == 400][:200]
    keys = list(range(1, 31))
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "config.json")
        path.write_text(json.dumps({"keys": keys, "ngram_len": 5}))
        same = wmdetect.Detector(wmdetect.Key.import_json(path, "synthid-hf"))
        own = wmdetect.Detector(key_in(directory, "secret"))
        processor = SynthIDTextWatermarkLogitsProcessor(
            ngram_len=5,
            keys=keys,
            sampling_table_size=2**16,
            sampling_table_seed=0,
            context_history_size=1024,
            device=torch.device("cpu"),
        )
        tensors = [torch.tensor([one]) for one in ids]

        def theirs():
            for tensor in tensors:
                g = processor.compute_g_values(tensor)
                mask = processor.compute_context_repetition_mask(tensor)
                (g.float().mean(dim=-1) * mask).sum() / mask.sum()

        rates = {"theirs": [], "the same scheme": [], "synthid-sha256": []}
        for _ in range(3):
            rates["theirs"].append(len(ids) / seconds(theirs))
            rates["the same scheme"].append(len(ids) / seconds(lambda: same.score_batch(ids, threads=1)))
            rates["synthid-sha256"].append(len(ids) / seconds(lambda: own.score_batch(ids, threads=1)))
        for what, values in rates.items():
            row(f"{what}, texts of 400 tokens a second", values, texts=len(ids))
        for what in ("the same scheme", "synthid-sha256"):
            row(f"{what} against theirs", [a / b for a, b in zip(rates[what], rates["theirs"], strict=True)])


def processor():
    """A step of marking, Gemma's vocabulary and top-k 100, beside transformers' own processor."""
    import torch
    from transformers import SynthIDTextWatermarkLogitsProcessor

    from wmdetect.transformers import MarkingConfig

    vocabulary = 262_144
    torch.manual_seed(0)
    for rows in (1, 8):
        scores = torch.randn(rows, vocabulary) * 3
        scores = scores.masked_fill(scores < scores.topk(100).values[:, -1:], -torch.inf)
        found = {"ours": [], "theirs": []}
        for _ in range(3):
            theirs = SynthIDTextWatermarkLogitsProcessor(
                ngram_len=5,
                keys=list(range(1, 31)),
                sampling_table_size=2**16,
                sampling_table_seed=0,
                context_history_size=1024,
                device=torch.device("cpu"),
            )
            ours = MarkingConfig(wmdetect.Key.generate("secret")).construct_processor(vocabulary, "cpu")
            for name, step in (("ours", ours), ("theirs", theirs)):
                ids = torch.randint(0, vocabulary, (rows, 5))
                found[name].append(microseconds(step, ids, vocabulary, scores))
        copy = [seconds(scores.clone) * 1e6 for _ in range(ROUNDS)]
        for name, values in found.items():
            row(f"{name}, microseconds a step of {rows} rows", values)
        row(f"of these to copy the scores, {rows} rows", copy)
        row("theirs against ours", [b / a for a, b in zip(found["ours"], found["theirs"], strict=True)])


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    {"program": program, "detector": detector, "processor": processor}[name](*arguments)
