"""Held-out loss of a trained model as a file, and bits a byte beside a public model's on the same text.

Usage: python held_out_peer.py TEXT MODEL WMGEN WEIGHTS PEER.gguf OUT.json [--rows 56] [--peer-tokenizer TOKENIZER.json]
  TEXT     the text given to `wmgen train`
  MODEL    the directory that it wrote
  WMGEN    the program
  WEIGHTS  what to score: MODEL again, or a GGUF file made of it
  PEER     the public model, such as SmolLM2-135M

`all`: WEIGHTS on every held-out row of training.json, by `wmgen perplexity`; for MODEL itself this must be the
`held_out` that training wrote.

`same_text`: rows at even distances, each within one document and cut before its last word begins. WEIGHTS scores a
row's own tokens after <bos>; the peer scores the same text, row by row, in its own tokens after its document separator.
So both see the same bytes and no context before the row.
"""

import argparse
import json
import math
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corpus import Corpus
from peers import Peer


def logprobs(wmgen, weights, tokenizer, rows):
    """Of all tokens but the first of each row."""

    def one(row):
        command = [wmgen, "perplexity", "-", "--tokens", "--json", "--model", weights, "--threads", "1"]
        if tokenizer:
            command += ["--tokenizer", tokenizer]
        result = subprocess.run(command, input=json.dumps(row), capture_output=True, text=True, check=True)
        return json.loads(result.stdout)["token_logprobs"]

    with ThreadPoolExecutor(int(os.environ.get("JOBS", "1"))) as pool:
        return list(pool.map(one, rows))


def ends_with_word(row, tokenizer):
    """Length of the row without its last word, which may go on after it."""
    token = [tokenizer.id_to_token(i) for i in row]
    return next(i for i in range(len(row) - 1, 0, -1) if token[i].startswith("\u2581") or token[i] == "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("text", "model", "wmgen", "weights", "peer", "out"):
        parser.add_argument(name)
    parser.add_argument("--rows", type=int, default=56)
    parser.add_argument("--peer-tokenizer")
    args = parser.parse_args()
    corpus = Corpus(args.text, args.model, train=False)
    wrote = corpus.check()

    rows = corpus.held_out.rows(corpus.context).tolist()
    ours = logprobs(args.wmgen, args.weights, None, rows)
    scored = sum(len(row) for row in ours)
    assert scored == wrote["held_out_scored"]
    loss = -math.fsum(p for row in ours for p in row) / scored
    bytes_a_token = wrote["held_out_bytes"] / wrote["held_out_tokens"]
    report = {
        "schema_version": 1,
        "weights": Path(args.weights).name,
        "all": {
            "scored": scored,
            "held_out": loss,
            "perplexity": math.exp(loss),
            "bits_per_byte": loss / math.log(2) / bytes_a_token,
            "training_json": wrote["held_out"],
        },
    }
    print(json.dumps(report["all"]), flush=True)

    special = {corpus.held_out.bos, corpus.held_out.eos}
    whole = [i for i, row in enumerate(rows) if not special & set(row[1:])]
    chosen = [whole[i * len(whole) // args.rows] for i in range(args.rows)]
    peer = Peer(args.peer, args.peer_tokenizer)
    text_bytes = our_tokens = peer_tokens = 0
    our_nats = peer_nats = 0.0
    for i in chosen:
        end = ends_with_word(rows[i], corpus.tokenizer)
        text = corpus.tokenizer.decode(rows[i][1:end])
        nats, tokens = peer.nats(text)
        text_bytes += len(text.encode())
        our_nats -= math.fsum(ours[i][: end - 1])
        our_tokens += end - 1
        peer_nats += nats
        peer_tokens += tokens
    report["same_text"] = {
        "rows": chosen,
        "bytes": text_bytes,
        "ours": {"tokens": our_tokens, "nats": our_nats, "bits_per_byte": our_nats / math.log(2) / text_bytes},
        "peer": {
            "model": peer.name,
            "tokens": peer_tokens,
            "nats": peer_nats,
            "bits_per_byte": peer_nats / math.log(2) / text_bytes,
        },
    }
    Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({k: v for k, v in report["same_text"].items() if k != "rows"}))


main()
