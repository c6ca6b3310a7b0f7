"""Upper tails of the mean's and the weighted mean's null distribution.

Writes OUT: {"about", "weighted": [[depth, n, w, ln P(W >= w)]], "mean": [[coins, x, ln P(X >= x)]]}.
W = sum of a_l g over n tokens with a_l = 10(m-1) - 9l over their gcd, g fair bits; X is Binomial(coins, 1/2).

Small n: exact, the generating function prod (1 + z^a)^n held in one big integer, so no float is involved before
the logarithm. Large n: the tilted inversion at 60 digits, with a tilt and a node spacing that differ from the
program's. Both ways agree where both can run (checked here).

Usage: python null_tails.py OUT
"""

import json
import math
import sys

import mpmath as mp

mp.mp.dps = 60


def weights(depth):
    if depth == 1:
        return [1]
    a = [10 * (depth - 1) - 9 * layer for layer in range(depth)]
    g = math.gcd(*a)
    return [x // g for x in a]


def exact(depth, n, share):
    """[(w, ln P(W >= w))] at the given shares of the maximum, from exact counts."""
    a, bits = weights(depth), depth * n + 8
    poly = 1
    for _ in range(n):
        for x in a:
            poly += poly << (x * bits)
    top = n * sum(a)
    raw = poly.to_bytes((bits * (top + 1) + 7) // 8 + 8, "little")
    count = lambda j: (int.from_bytes(raw[j * bits // 8 : ((j + 1) * bits + 7) // 8 + 1], "little") >> (j * bits % 8)) % (1 << bits)
    wanted = sorted({min(top, max(0, round(s * top))) for s in share}, reverse=True)
    out, tail, j = [], 0, top
    for w in wanted:
        while j >= w:
            tail += count(j)
            j -= 1
        out.append((w, mp.log(tail) - depth * n * mp.log(2)))
    return out


def inverted(depth, n, w, whole=False):
    """ln P(W >= w) for w above the mean, by inversion at 60 digits.

    Without `whole` only the main lobe is summed; the side lobes (at worst |phi| = .6^n for depth 30, see main) are
    then neglected.
    """
    a = weights(depth)
    mean = lambda t: n * sum(x / (1 + mp.exp(-t * x)) for x in a)
    sigma0 = mp.sqrt(n * sum(x * x for x in a)) / 2
    lo, hi = mp.mpf(0), mp.mpf(10)
    for _ in range(200):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if mean(mid) < w else (lo, mid)
    t = max(lo - mp.mpf("0.4") / sigma0, 2 / sigma0)
    q = [1 / (1 + mp.exp(-t * x)) for x in a]
    sigma = mp.sqrt(n * sum(x * x * p * (1 - p) for x, p in zip(a, q)))
    nodes = int(max(110 / t, 40 * sigma + 60 * max(a)))
    log_m = n * sum(mp.log((1 + mp.exp(t * x)) / 2) for x in a) - t * w
    total, k = 1 / (1 - mp.exp(-t)), 1
    while True:
        omega = 2 * mp.pi * k / nodes
        if omega > mp.pi or (omega > 26 / sigma and not whole):
            break
        log_phi = n * sum(mp.log(1 - p + p * mp.expj(x * omega)) for x, p in zip(a, q))
        term = mp.exp(log_phi - mp.mpc(0, 1) * omega * w) / (1 - mp.exp(-t - mp.mpc(0, 1) * omega))
        total += 2 * term.real
        k += 1
    return log_m + mp.log(total / nodes)


def binomial(coins, x):
    """ln P(X >= x) for x above coins/2, the sum of the series at 60 digits."""
    log_first = mp.loggamma(coins + 1) - mp.loggamma(x + 1) - mp.loggamma(coins - x + 1) - coins * mp.log(2)
    term, total, k = mp.mpf(1), mp.mpf(0), x
    while term > total * mp.mpf(10) ** -45 and k <= coins:
        total += term
        term *= mp.mpf(coins - k) / (k + 1)
        k += 1
    return log_first + mp.log(total)


def main(out):
    share = [0, 0.1, 0.3, 0.45, 0.5, 0.51, 0.55, 0.6, 0.7, 0.85, 0.97, 0.999, 1]
    rows = []
    for depth, n in [(1, 1), (1, 40), (2, 1), (2, 7), (2, 60), (3, 5), (10, 1), (10, 12), (19, 4), (30, 1)] + [
        (30, 2), (30, 5), (30, 24), (30, 34), (64, 1), (64, 2), (64, 9)
    ]:
        rows += [(depth, n, w, v) for w, v in exact(depth, n, share)]
    for depth, n, w, v in [r for r in rows if r[:2] == (10, 12)][3:6]:
        assert abs(inverted(depth, n, w, whole=True) - v) < 1e-15
    for depth, n, s in [(30, 100, 0.52), (30, 100, 0.6), (30, 400, 0.501), (30, 400, 0.55), (30, 400, 0.65)] + [
        (30, 400, 0.69), (30, 5000, 0.5005), (30, 5000, 0.55), (30, 5000, 0.62), (30, 100000, 0.5), (30, 100000, 0.501),
        (30, 100000, 0.6), (10, 1000, 0.53), (64, 1000, 0.51), (64, 1000, 0.7), (2, 3000, 0.52), (5, 2000, 0.56),
    ]:
        w = round(s * n * sum(weights(depth))) + 3
        rows.append((depth, n, w, inverted(depth, n, w)))
    mean = []
    for coins, s in [(1, 1), (2, 1), (30, 0.5), (30, 0.6), (30, 1), (750, 0.52), (750, 0.9), (3000, 0.5), (3000, 0.55)] + [
        (12000, 0.6), (150000, 0.503), (150000, 0.58), (3000000, 0.5), (3000000, 0.5004), (3000000, 0.51), (3000000, 0.75),
        (3000000, 0.9999), (3000000, 1),
    ]:
        x = min(coins, round(s * coins) + (0 if coins < 100 else 1))
        mean.append((coins, x, binomial(coins, x)))
    with open(out, "w") as f:
        f.write('{"about": "tests/oracle/null_tails.py; weighted: [depth, n, w, ln p]; mean: [coins, x, ln p]",\n"weighted": [\n')
        f.write(",\n".join(f"[{d}, {n}, {w}, {float(v)!r}]" for d, n, w, v in rows))
        f.write('],\n"mean": [\n')
        f.write(",\n".join(f"[{c}, {x}, {float(v)!r}]" for c, x, v in mean))
        f.write("]}\n")
    json.load(open(out))


main(sys.argv[1])
