"""How much a position should weigh by how predictable its token is.

Usage: python weights.py TRAIN.jsonl TEST.jsonl...
  the files that `weight_study` wrote; TRAIN fits the tables, each TEST is judged by them and by fixed weights

A position's class is a function of the text alone:
  pair    its pair with the token before has come up already in this text
  token   its token has come up already
  kinds   what its piece and the piece before begin with: a word, the rest of a word, a digit, something else

The best weight of a class is in proportion to the mean of its share of ones above 1/2. p is the tail of the weighted sum of fair
bits, by the saddlepoint formula of Lugannani and Rice. A text counts as found at 0.1 % if p is at most 0.001 / R. Differences
are paired, against weight 0 for known pairs and 1 for all others, with one standard error over texts.
"""

import collections
import json
import math
import sys

import numpy as np

LAYERS = 10 - 9 * np.arange(30) / 29
LAYERS /= LAYERS.sum()
BASE = "pair 0"
FIXED = {
    "all 1": (1, 1, 1), BASE: (1, 1, 0), "pair 0.3": (1, 1, 0.3), "token 0.7, pair 0": (1, 0.7, 0),
    "token 0.7, pair 0.3": (1, 0.7, 0.3), "token 2/3, pair 1/3": (1, 2 / 3, 1 / 3),
}
FITTED = {"fitted to pair and token": 2, "and to the piece's kind": 3, "and to the kind before": 4}


def kind(piece):
    letters = piece.strip(" ")
    if not letters or not letters[0].isalnum():
        return "other"
    if letters[0].isdigit():
        return "digit"
    return "word" if piece[0] == " " else "rest"


def read(path):
    texts = []
    with open(path) as file:
        for line in file:
            text = json.loads(line)
            ids, kinds = text["tokens"], [kind(piece) for piece in text["pieces"]]
            tokens, pairs, text["classes"] = set(), set(), []
            for t, token in enumerate(ids):
                pair = (ids[t - 1], token) if t else None
                text["classes"].append((pair in pairs, token in tokens, kinds[t], kinds[t - 1] if t else "start"))
                tokens.add(token)
                pairs.add(pair)
            texts.append(text)
    return texts


def marked(text):
    """The classes and shares of the positions that the rule gives a context."""
    kept = [(c, s) for c, s in zip(text["classes"], text["shares"]) if s is not None]
    return [c for c, _ in kept], np.array([s for _, s in kept])


def fit(texts, depth, prior=5):
    """A weight for each class, drawn towards the mean of all as by `prior` positions."""
    sums, counts = collections.Counter(), collections.Counter()
    for text in texts:
        for c, share in zip(*marked(text)):
            sums[c[:depth]] += share - 0.5
            counts[c[:depth]] += 1
    mean = sum(sums.values()) / sum(counts.values())
    table = {c: max(0, (sums[c] + prior * mean) / (counts[c] + prior)) for c in counts}
    return lambda c: table.get(c[:depth], mean), table, counts


def fixed(weights):
    new, token, pair = weights
    return lambda c: pair if c[0] else token if c[1] else new


def log10_p(weights, shares):
    coins = np.outer(weights[weights > 0], LAYERS).ravel()
    excess = float((weights * (shares - 0.5)).sum())
    deviation = math.sqrt((coins ** 2).sum()) / 2
    if excess <= 1e-9 * deviation:
        return 0.0
    theta = excess / deviation ** 2
    for _ in range(50):
        tanh = np.tanh(theta * coins / 2)
        slope = (coins ** 2 * (1 - tanh ** 2)).sum() / 4
        step = (excess - (coins * tanh).sum() / 2) / slope
        theta += step
        if abs(step) < 1e-10 * theta:
            break
    cumulant = np.log(np.cosh(theta * coins / 2)).sum()
    root, scaled = math.sqrt(2 * (theta * excess - cumulant)), theta * math.sqrt(slope)
    density = math.exp(-root ** 2 / 2) / math.sqrt(2 * math.pi)
    return math.log10(max(math.erfc(root / math.sqrt(2)) / 2 + density * (1 / scaled - 1 / root), 1e-300))


def main():
    train, *tests = sys.argv[1:]
    schemes = {name: fixed(weights) for name, weights in FIXED.items()}
    for name, depth in FITTED.items():
        schemes[name], table, counts = fit(read(train), depth)
        if depth == 2:
            for c in sorted(table):
                print(f"pair {c[0]}, token {c[1]}: {counts[c]} positions, weight {table[c] / max(table.values()):.2f}")
    print("\n| texts | edit | weights | R = 1 | R = 16 | difference at R = 16 |\n|---|---|---|---|---|---|")
    for path in tests:
        texts = read(path)
        for mode in dict.fromkeys(text["mode"] for text in texts):
            rows = [marked(text) for text in texts if text["mode"] == mode]
            found = {}
            for name, weight in schemes.items():
                log10 = np.array([log10_p(np.array([weight(c) for c in classes]), shares) for classes, shares in rows])
                found[name] = [log10 <= math.log10(0.001 / channels) for channels in (1, 16)]
            for name, (one, sixteen) in found.items():
                paired = sixteen.astype(float) - found[BASE][1]
                error = paired.std(ddof=1) / math.sqrt(len(rows))
                print(f"| {path}, {len(rows)} | {mode} | {name} | {one.mean():.3f} | {sixteen.mean():.3f} | {paired.mean():+.3f} ± {error:.3f} |")


main()
