"""Checks detector/scheme-vectors.json against the specification in docs/concepts/scheme.md.

A second implementation of all four schemes, written from the specification
alone, with nothing but Python's standard library. Mersenne Twister outputs
come from Python's own generator, set to the state that the specification
gives; the tournament is computed from matches between drawn candidates, not
from its closed formula.

Usage: python check_vectors.py detector/scheme-vectors.json
"""

import hashlib
import hmac
import itertools
import json
import random
import struct
import sys
from fractions import Fraction

LCG = 6_364_136_223_846_793_005


def hkdf(secret, info, length=32):
    """HKDF-SHA256 (RFC 5869) with the project's salt; one block of output is enough."""
    prk = hmac.new(b"wmgen/v1", secret, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()[:length]


def key_id(secret, scheme, parameters):
    digest = hashlib.sha256(parameters).digest()
    return hkdf(secret, b"key-id/" + scheme.encode() + b"/" + digest, 8).hex()


def parameters_of(row):
    """A key's parameters as bytes, for synthid-hf without the table."""
    if row["scheme"] == "synthid-sha256-v2":
        return struct.pack("<BBBH", row["depth"], row["shortest_context"], row["longest_context"], row["channels"])
    return bytes([row["depth"], row["ngram_len"]])


def signed(x):
    """The 64-bit two's complement number that x is modulo 2^64."""
    x %= 1 << 64
    return x - (1 << 64) if x >> 63 else x


def step(hash, data):
    return signed((hash + data) * LCG + 1)


def steps(hash, ids):
    for id in ids:
        hash = step(hash, id)
    return hash


def torch_table(size, seed):
    state = [seed % 2**32]
    for i in range(1, 624):
        state.append((1_812_433_253 * (state[-1] ^ (state[-1] >> 30)) + i) % 2**32)
    twister = random.Random()
    twister.setstate((3, (*state, 624), None))
    return [twister.getrandbits(32) & 1 for _ in range(size)]


def sha256_bits(block_key, ids, depth):
    message = block_key + b"".join(struct.pack("<I", id) for id in ids)
    word = int.from_bytes(hashlib.sha256(message).digest()[:8], "little")
    return "".join(str(word >> layer & 1) for layer in range(depth))


class Sha256:
    def __init__(self, secret, depth, parameters):
        self.depth = depth
        self.block_key = hkdf(secret, b"synthid-sha256/block-key/" + parameters)

    def g(self, context, token):
        return sha256_bits(self.block_key, [*context, token], self.depth)


class Sha256V2:
    def __init__(self, secret, depth, parameters):
        self.secret, self.depth = secret, depth
        self.info = b"synthid-sha256-v2/block-key/" + parameters

    def g(self, context, token, channel):
        block_key = hkdf(self.secret, self.info + struct.pack("<H", channel))
        return sha256_bits(block_key, [*context, token], self.depth)


class Hf:
    def __init__(self, keys, table):
        self.keys, self.table, self.start = keys, table, 1

    def g(self, context, token):
        hash = steps(self.start, [*context, token])
        return "".join(str(self.table[step(hash, key) % len(self.table)]) for key in self.keys)


class DeepMind:
    def __init__(self, keys):
        self.keys = keys
        digest = hashlib.sha256(b"".join(struct.pack("<q", key) for key in keys)).digest()
        self.start = int.from_bytes(digest, "big") % (2**63 - 1)

    def g(self, context, token):
        hash = steps(self.start, [*context, token])
        bits = ""
        for key in self.keys:
            mixed = step(hash, key)
            for _ in range(12):
                mixed = step(mixed, 1) >> 5
            bits += str(mixed >> 30 & 1)
        return bits


def expect(found, expected, what):
    if found != expected:
        sys.exit(f"{what}: found {found}, expected {expected}")


def made_by_rule(row):
    name = row["name"]
    if row["scheme"] in ("synthid-sha256", "synthid-sha256-v2"):
        return hashlib.sha256(f"vector key {name}".encode()).digest()
    layers = (hashlib.sha256(f"vector key {name}, layer {l}".encode()).digest()[:8] for l in range(row["depth"]))
    return b"".join(struct.pack("<Q", int.from_bytes(x, "little") % 2**63) for x in layers)


def contexts_of(row):
    """The shortest and the longest context of a row of synthid-sha256-v2."""
    shortest, longest = row["shortest_context"], row["longest_context"]
    expect(1 <= shortest <= longest <= 4, True, f"contexts from {shortest} to {longest}")
    expect(row["ngram_len"], longest + 1, f"ngram_len with contexts from {shortest} to {longest}")
    return shortest, longest


def check_key(row):
    scheme, depth, ngram_len = row["scheme"], row["depth"], row["ngram_len"]
    secret = bytes.fromhex(row["secret"])
    expect(secret, made_by_rule(row), row["name"])
    parameters, shortest, longest, channels = parameters_of(row), ngram_len - 1, ngram_len - 1, None
    if scheme in ("synthid-sha256", "synthid-sha256-v2"):
        if scheme == "synthid-sha256":
            function = Sha256(secret, depth, parameters)
        else:
            (shortest, longest), channels = contexts_of(row), row["channels"]
            expect(1 <= channels <= 1024, True, f"{row['name']}, {channels} channels")
            function = Sha256V2(secret, depth, parameters)
        for child in row["derived"]:
            derived = hkdf(secret, b"derive/" + child["label"].encode())
            expect(derived.hex(), child["secret"], row["name"])
            expect(key_id(derived, scheme, parameters), child["key_id"], row["name"])
    else:
        keys = [int(key) for key in row["layer_keys"]]
        expect(b"".join(struct.pack("<q", key) for key in keys), secret, row["name"])
        expect(len(keys), depth, row["name"])
        if scheme == "synthid-deepmind":
            function = DeepMind(keys)
        elif "sampling_table" in row:
            entries = row["sampling_table"]
            parameters += b"\x01" + bytes(entries)
            function = Hf(keys, entries)
        else:
            size, seed = row["sampling_table_size"], row["sampling_table_seed"]
            parameters += b"\x00" + struct.pack("<IQ", size, seed)
            function = Hf(keys, torch_table(size, seed))
    expect(key_id(secret, scheme, parameters), row["key_id"], row["name"])
    for context, token, g, *channel in row["vectors"]:
        what = " ".join(map(str, [f"{row['name']},", context, token, *channel]))
        expect(shortest <= len(context) <= longest, True, f"{what}, length of the context")
        expect(len(channel), 0 if channels is None else 1, f"{what}, number of channels")
        expect(all(0 <= r < channels for r in channel), True, f"{what}, channel")
        expect(function.g(context, token, *channel), g, what)
    return scheme, len(row["vectors"])


def fresh(prompt, tokens, h):
    """Which response positions have a context that is wholly generated and new."""
    whole, marks = prompt + tokens, ""
    seen = {tuple(prompt[i : i + h]) for i in range(len(prompt) - h)} if len(prompt) > h else set()
    for t in range(len(tokens)):
        end = len(prompt) + t
        context = tuple(whole[end - h : end]) if end >= h else None
        marks += "1" if t >= h and context not in seen else "0"
        if context is not None:
            seen.add(context)
    return marks


def shortest_unused(tokens, shortest, longest):
    """With how many tokens of context each position is marked, 0 where it is not."""
    used, lens = set(), []
    for t in range(len(tokens)):
        pairs = ((h, tuple(tokens[t - h : t])) for h in range(shortest, min(longest, t) + 1))
        pair = next((pair for pair in pairs if pair not in used), None)
        lens.append(pair[0] if pair else 0)
        if pair:
            used.add(pair)
    return lens


def reference_marks(start, contexts, history_size):
    history, marks = [0] * history_size, ""
    for context in contexts:
        hash = steps(start, context)
        marks += "0" if hash in history else "1"
        history = [hash, *history[:-1]]
    return marks


def check_mask_v2(row):
    tokens, (shortest, longest) = row["tokens"], contexts_of(row)
    lens = shortest_unused(tokens, shortest, longest)
    expect(row["context_lens"], "".join(map(str, lens)), "context_lens")
    expect(row["marked"], "".join("1" if h else "0" for h in lens), "marked")
    neighbours = list(zip(tokens, tokens[1:]))  # of position t: entry t - 1

    def thirds(t):
        if not lens[t]:
            return 0
        if neighbours[t - 1] in neighbours[: t - 1]:
            return 1
        return 2 if tokens[t] in tokens[:t] else 3

    shares = [thirds(t) for t in range(shortest, len(tokens))]
    expect(row["shares"], "".join(map(str, shares)), "shares")
    expect(row["scored"], "".join("1" if share > 1 else "0" for share in shares), "scored")


def check_mask(row):
    if row["scheme"] == "synthid-sha256-v2":
        check_mask_v2(row)
        return
    prompt, tokens, h = row["prompt"], row["tokens"], row["ngram_len"] - 1
    ours = fresh(prompt, tokens, h)
    scored = ours[h:]
    if row["scheme"] == "synthid-sha256":
        expect(row["marked"], ours, "marked")
    else:
        keys = [int(key) for key in row["layer_keys"]]
        start = 1 if row["scheme"] == "synthid-hf" else DeepMind(keys).start
        padded = [0] * h + tokens
        size = row["context_history_size"]
        generated = [padded[t : t + h] for t in range(len(tokens))]
        expect(row["marked"], reference_marks(start, generated, size), "marked")
        complete = [tokens[i : i + h] for i in range(len(tokens) - h)]
        expect(row["reference"], reference_marks(start, complete, size), "reference")
        if row["scheme"] == "synthid-hf":  # its table has 65,536 entries: equal states share all g-values
            states, narrowed = set(), ""
            for i, mark in enumerate(scored):
                state = (steps(start, tokens[i : i + h]) + tokens[i + h]) % 65_536
                narrowed += "1" if mark == "1" and state not in states else "0"
                states.add(state)
            scored = narrowed
    expect(row["scored"], scored, "scored")


def check_tournament(row):
    p = [Fraction(x) for x in row["p"]]
    for layer in range(len(row["g"][0])):
        winners = [Fraction(0)] * len(p)
        for players in itertools.product(range(len(p)), repeat=row["leaves"]):
            chance = Fraction(1)
            for x in players:
                chance *= p[x]
            best = max(row["g"][x][layer] for x in players)
            equals = [x for x in players if row["g"][x][layer] == best]
            for x in equals:
                winners[x] += chance / len(equals)
        p = winners
    expect([float(x) for x in p], row["q"], "tournament")


def check_container(row, keys):
    key = keys[row["name"]]
    secret = bytes.fromhex(key["secret"])
    scheme = ["synthid-sha256", "synthid-hf", "synthid-deepmind", "synthid-sha256-v2"].index(key["scheme"]) + 1
    body = bytes([scheme]) + parameters_of(key)
    if scheme in (2, 3):
        body += struct.pack("<I", 1024)
    if scheme == 2 and "sampling_table" in key:
        body += b"\x01" + struct.pack("<I", len(key["sampling_table"])) + bytes(key["sampling_table"])
    elif scheme == 2:
        body += b"\x00" + struct.pack("<IQ", key["sampling_table_size"], key["sampling_table_seed"])
    body += struct.pack("<H", len(secret)) + secret
    if "tokenizer" in row:
        name = row["tokenizer"].encode()
        body += b"\x01" + bytes.fromhex(row["fingerprint"]) + struct.pack("<H", len(name)) + name
    else:
        body += b"\x00"
    file = b"WMGENKEY" + struct.pack("<HI", 1, len(body)) + body
    expect(row["file"], (file + hashlib.sha256(file).digest()[:8]).hex(), f"container {row['name']}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    counts = {}
    for row in vectors["keys"]:
        scheme, count = check_key(row)
        counts[scheme] = counts.get(scheme, 0) + count
    for row in vectors["masks"]:
        check_mask(row)
    for row in vectors["tournaments"]:
        check_tournament(row)
    keys = {row["name"]: row for row in vectors["keys"]}
    for row in vectors["containers"]:
        check_container(row, keys)
    for scheme, count in counts.items():
        print(f"{scheme}: {count} vectors")
    print(*(f"{len(vectors[section])} {section}" for section in ("keys", "masks", "tournaments", "containers")), sep=", ")
    print("all equal")


if __name__ == "__main__":
    main()
