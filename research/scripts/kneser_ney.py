"""An interpolated modified Kneser-Ney 5-gram model of the text that `wmgen train` trained on: the bar for a small model.

Usage: python kneser_ney.py TEXT MODEL OUT.json [--checkpoint CHECKPOINT] [--order 5]
       python kneser_ney.py --check
  TEXT        the text given to `wmgen train` (one file)
  MODEL       the directory it wrote: tokenizer.json, config.json, training.json
  CHECKPOINT  its checkpoint.safetensors: all tokens, of both parts, must have the run's SHA-256

The model is that of Chen and Goodman (1998, section 3): three discounts an order from the counts of counts, numbers of
distinct left neighbours as the counts of lower orders, interpolation at every order, and the uniform distribution over
the vocabulary below the unigrams. It is fitted on the training documents and scored on exactly the tokens of
training.json's `held_out`, rows of <bos> and `context` tokens.

The beginning of a row: a position before <bos> counts as <bos>, so the n-gram model knows of a row what the neural one
does. For it to know how rows begin, the training counts are those of the whole stream (all documents, <bos> and <eos>
between them), and of the first tokens of each row of the first epoch, seen after <bos>. `held_out_unbroken` scores the
same tokens with the tokens before the row as the context of its first ones, which is more than the neural model sees.

One thread and about 2 GB for 19 million tokens.
"""

import argparse
import json
import math
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from corpus import Corpus


class KneserNey:
    """Fitted on n-grams, each a number in base `vocab` with its last token in the lowest place."""

    def __init__(self, ngrams, order, vocab):
        assert vocab**order < 2**64, f"{order}-grams of {vocab} entries do not fit 64 bits; take a smaller --order"
        self.order, self.vocab, self.levels = order, vocab, {}
        ngrams.sort()
        for n in range(order, 0, -1):
            keys, counts = runs(ngrams)
            self.levels[n] = Level(keys, counts, vocab)
            # Every type of this order is one distinct left neighbour of its suffix.
            ngrams = keys % np.uint64(vocab ** (n - 1))
            ngrams.sort()

    def probabilities(self, ngrams):
        """Of the last token of each n-gram after the tokens before it."""
        p = np.full(len(ngrams), 1 / self.vocab)
        for n in range(1, self.order + 1):
            p = self.levels[n].interpolate(ngrams % np.uint64(self.vocab**n), p)
        return p


class Level:
    """One order: its n-grams, and for each context the total and the mass left for the order below."""

    def __init__(self, keys, counts, vocab):
        self.vocab, self.keys, self.counts = np.uint64(vocab), keys, counts
        self.discounts = discounts(counts)
        contexts = keys // self.vocab
        first = np.flatnonzero(np.concatenate([[True], contexts[1:] != contexts[:-1]]))
        self.contexts = contexts[first]
        self.totals = np.add.reduceat(counts, first)
        self.left = np.add.reduceat(self.discounts[np.minimum(counts, 3)], first) / self.totals

    def interpolate(self, ngrams, lower):
        context = find(self.contexts, ngrams // self.vocab)
        at = find(self.keys, ngrams)
        counts = np.where(at >= 0, self.counts[at], 0)
        mine = (counts - self.discounts[np.minimum(counts, 3)]) / self.totals[context]
        return np.where(context >= 0, mine + self.left[context] * lower, lower)


def discounts(counts):
    """For counts 0, 1, 2, and 3 or more. Where a count of counts is 0 (unigrams, tiny texts), 0.5, 1 and 1.5."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == i)) for i in (1, 2, 3, 4))
    found = [0.0, 0.5, 1.0, 1.5]
    if min(n1, n2, n3, n4) > 0:
        y = n1 / (n1 + 2 * n2)
        estimate = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        if all(0 <= d <= i for i, d in enumerate(estimate)):
            found = estimate
    return np.array(found)


def runs(values):
    """Distinct values of a sorted array, and how often each is there."""
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[first], np.diff(np.append(first, len(values)))


def find(sorted_keys, wanted):
    """Where each wanted key is, or -1."""
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == wanted, at, -1)


def pack(tokens, order, vocab):
    """All n-grams of the last axis."""
    length = tokens.shape[-1] - order + 1
    packed = np.zeros((*tokens.shape[:-1], length), np.uint64)
    for i in range(order):
        packed = packed * np.uint64(vocab) + tokens[..., i : i + length].astype(np.uint64)
    return packed


def padded(rows, order):
    """Rows that begin with <bos>, with as many more <bos> before as a context has."""
    return np.concatenate([np.repeat(rows[..., :1], order - 2, axis=-1), rows], axis=-1)


def training_ngrams(stream, context, order, vocab):
    whole = np.concatenate([np.full(order - 2, stream.bos, np.uint32), stream.tokens])
    beginnings = stream.rows(context)[:, :order]
    return np.concatenate([pack(whole, order, vocab), pack(padded(beginnings, order), order, vocab).ravel()])


def measure(args):
    begin = time.process_time()
    corpus = Corpus(args.text, args.model)
    wrote = corpus.check(args.checkpoint)
    order, vocab, held_out = args.order, corpus.vocab, corpus.held_out
    model = KneserNey(training_ngrams(corpus.train, corpus.context, order, vocab), order, vocab)

    rows = padded(held_out.rows(corpus.context), order)
    nats = -np.log(model.probabilities(pack(rows, order, vocab).ravel()))
    assert len(nats) == wrote["held_out_scored"]
    before = np.concatenate([np.full(order - 2, held_out.bos, np.uint32), held_out.tokens])
    length = corpus.context + order - 1
    unbroken = np.stack([before[at - 1 : at - 1 + length] for at in held_out.windows(corpus.context)])
    unbroken = -np.log(model.probabilities(pack(unbroken, order, vocab).ravel()))
    assert len(unbroken) == len(nats)

    bytes_a_token = held_out.bytes / len(held_out.tokens)
    loss = float(nats.mean())
    report = {
        "schema_version": 1,
        "order": order,
        "vocabulary": vocab,
        "train_tokens": len(corpus.train.tokens),
        "held_out_scored": len(nats),
        "held_out": loss,
        "perplexity": math.exp(loss),
        "bits_per_byte": loss / math.log(2) / bytes_a_token,
        "held_out_unbroken": float(unbroken.mean()),
        "ngrams": {str(n): len(level.keys) for n, level in sorted(model.levels.items())},
        "discounts": {str(n): level.discounts[1:].tolist() for n, level in sorted(model.levels.items())},
        "tokens_checked": args.checkpoint is not None,
        "cpu_seconds": round(time.process_time() - begin),
    }
    Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


def dictionary(tokens, order, vocab):
    """The same model from its definition, with dictionaries: a function of a context and a token."""
    grams = [tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1)]
    tables = {order: Counter(grams)}
    for n in range(order - 1, 0, -1):
        neighbours = defaultdict(set)
        for gram in tables[n + 1]:
            neighbours[gram[1:]].add(gram[0])
        tables[n] = {gram: len(left) for gram, left in neighbours.items()}
    cut = {n: discounts(np.array(list(table.values()))) for n, table in tables.items()}

    def probability(context, token):
        n = len(context) + 1
        lower = probability(context[1:], token) if context else 1 / vocab
        seen = {gram[-1]: count for gram, count in tables[n].items() if gram[:-1] == context}
        if not seen:
            return lower
        total = sum(seen.values())
        left = sum(cut[n][min(count, 3)] for count in seen.values()) / total
        count = seen.get(token, 0)
        return (count - cut[n][min(count, 3)]) / total + left * lower

    return probability


def check():
    """Probabilities against the dictionaries', and their sums over the vocabulary."""
    random = np.random.default_rng(1)
    vocab = 12
    for order in (2, 3, 5):
        # Tokens that depend on the one before, so that counts of all sizes come up.
        tokens = [0]
        for _ in range(3000):
            tokens.append(int((tokens[-1] * 5 + random.geometric(0.3)) % (vocab - 1)))
        tokens = np.array(tokens, np.uint32)
        model = KneserNey(pack(tokens, order, vocab), order, vocab)
        direct = dictionary(tokens.tolist(), order, vocab)
        contexts = [random.integers(0, vocab, order - 1) for _ in range(5)]
        contexts += [tokens[i : i + order - 1] for i in (0, 700, 2900)]
        for context in contexts:
            each = np.array([[*context, token] for token in range(vocab)])
            got = model.probabilities(pack(each, order, vocab).ravel())
            want = [direct(tuple(int(i) for i in context), token) for token in range(vocab)]
            assert np.abs(got - want).max() < 1e-12, (order, context)
            assert abs(got.sum() - 1) < 1e-12 and got.min() > 0
        assert all(level.discounts[1] != 0.5 for n, level in model.levels.items() if n == order)
    print("probabilities agree with the definition and sum to 1")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?")
    parser.add_argument("model", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--checkpoint")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check:
        check()
    elif args.out is None:
        parser.error("TEXT, MODEL and OUT.json, or --check")
    else:
        measure(args)


main()
