"""What the reference implementations of SynthID-Text compute.

Writes into OUT
  sequences.json       token sequences shared by the two files below
  hf.json              g-values, masks and scores of transformers' processor
  deepmind.json        the same of synthid-text's main branch (hash from an IV, no table)
  sampling_table.json  the table that torch's CPU generator gives for a seed
  tournament.json      update_scores (two leaves) and update_scores_distortionary
  generation.json      which steps the processors mark while generating

Each file says in "about" how to read it. The source trees are arguments, since
PyPI's synthid-text 0.2.1 is the old scheme and main has no release:
  --synthid-main DIR   the folder that holds main's package synthid_text
  --synthid-pypi DIR   (optional) the folder that holds 0.2.1's; checked to equal transformers

Scores come from the package's own detector_mean.py, with numpy (float64) in
the place of jax.numpy, so that they carry no float32 rounding.

Usage: python scheme_reference.py OUT --synthid-main DIR [--synthid-pypi DIR]
"""

import argparse
import hashlib
import importlib
import json
import pathlib
import random
import sys
import types

import numpy as np
import torch
from transformers import SynthIDTextWatermarkLogitsProcessor

VOCAB = 256_000
EDGES = [0, 1, 65_535, 65_536, 131_071, 131_072, 255_999]
CPU = torch.device("cpu")
# The 30 keys that the reference's README and notebooks use.
README_KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29, 590, 639, 13, 715, 468]
README_KEYS += [990, 966, 226, 324, 585, 118, 504, 421, 521, 129, 669, 732, 225, 90, 960]


def large_keys(n, seed):
    """n distinct keys just below 2^63, the largest among them."""
    rng = random.Random(seed)
    return [2**63 - 1] + [rng.randrange(2**62, 2**63 - 1) for _ in range(n - 1)]


CONFIGS = {
    "readme": dict(keys=README_KEYS, ngram_len=5, sampling_table_size=65_536, sampling_table_seed=0, context_history_size=1024),
    "bigram": dict(keys=large_keys(1, 1), ngram_len=2, sampling_table_size=1000, sampling_table_seed=7, context_history_size=4),
    "trigram": dict(keys=large_keys(7, 2), ngram_len=3, sampling_table_size=65_536, sampling_table_seed=2**40 + 5, context_history_size=16),
    "eight": dict(keys=README_KEYS[:16], ngram_len=8, sampling_table_size=65_537, sampling_table_seed=7, context_history_size=4),
    "large": dict(keys=large_keys(30, 3), ngram_len=5, sampling_table_size=1000, sampling_table_seed=2**40 + 5, context_history_size=16),
}


def load_synthid(folder):
    """Imports the package synthid_text under `folder`, afresh, with numpy for jax.numpy."""
    for name in [n for n in sys.modules if n.split(".")[0] == "synthid_text"]:
        del sys.modules[name]
    jax = types.ModuleType("jax")
    jax.numpy = np
    sys.modules.update({"jax": jax, "jax.numpy": np})
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("synthid_text.logits_processing"), importlib.import_module(
            "synthid_text.detector_mean"
        )
    finally:
        sys.path.remove(str(folder))


def hf_processor(config, **options):
    return SynthIDTextWatermarkLogitsProcessor(**config, device=CPU, **options)


def main_processor(module, config, **options):
    used = {k: config[k] for k in ("keys", "ngram_len", "context_history_size")}
    return module.SynthIDLogitsProcessor(**used, temperature=1.0, top_k=2, apply_top_k=False, device=CPU, **options)


def pypi_processor(module, config):
    return module.SynthIDLogitsProcessor(**config, temperature=1.0, top_k=2, apply_top_k=False, device=CPU)


def make_sequences():
    """Random texts whose contexts come back after fewer and after more positions than the histories hold."""
    rng = random.Random(20_241_023)

    def token():
        return rng.choice(EDGES) if rng.random() < 0.15 else rng.randrange(VOCAB)

    def block(n):
        return [token() for _ in range(n)]

    out = []
    for i in range(210):
        length = rng.randint(24, 64)
        kind = i % 6
        if kind == 0:  # nothing repeats on purpose
            seq = block(length)
        elif kind == 1:  # few distinct tokens: short contexts come back all the time
            few = block(rng.randint(2, 6))
            seq = [rng.choice(few) for _ in range(length)]
        elif kind == 2:  # one block over and over, shorter than every history
            unit = block(rng.randint(1, 4))
            seq = (unit * length)[:length]
        elif kind == 3:  # a block that comes back after 4 < gap < 16
            unit = block(rng.randint(3, 9))
            seq = block(3) + unit + block(rng.randint(4, 6)) + unit + block(4) + unit
        elif kind == 4:  # a block that comes back after more than 16
            unit = block(10)
            seq = unit + block(rng.randint(9, 24)) + unit
        else:  # only edges, with runs of zeros (the processors' initial context)
            seq = [rng.choice(EDGES + [0, 0]) for _ in range(length)]
        out.append(seq)
    out += [block(8), block(9), [0] * 12, [VOCAB - 1] * 8]
    # Longer than a history of 1,024: the head comes back just inside, just outside, and twice.
    # A context is known for exactly 1,024 positions, so the gaps lie around that.
    for gap in (1022, 1023, 1024, 1025):
        unit = block(12)
        seq = unit + [rng.randrange(1000) for _ in range(gap - 12)] + unit
        out.append(seq)
    assert len(out) == 218
    return out


def bit_string(values):
    return "".join(str(int(v)) for v in np.asarray(values).reshape(-1))


def digest(bits):
    return hashlib.sha256(bits.encode()).hexdigest()


def score_sets(make, detector, sequences, check=None):
    sets = []
    for name, config in CONFIGS.items():
        processor = make(config)
        other = check(config) if check else None
        rows = []
        repeated = 0
        for i, seq in enumerate(sequences):
            ids = torch.tensor([seq])
            g = processor.compute_g_values(ids)  # [1, positions, depth]
            mask = processor.compute_context_repetition_mask(ids)  # [1, positions]
            assert g.shape == (1, len(seq) - config["ngram_len"] + 1, len(config["keys"]))
            assert mask.shape == g.shape[:2]
            if other is not None:
                assert torch.equal(g, other.compute_g_values(ids))
                assert torch.equal(mask, other.compute_context_repetition_mask(ids))
            gf, mf = g.double().numpy(), mask.numpy()
            mean = float(detector.mean_score(gf.copy(), mf)[0])
            weighted = float(detector.weighted_mean_score(gf.copy(), mf)[0])
            bits = bit_string(g)
            row = {"mask": bit_string(mask), "mean": mean, "weighted_mean": weighted, "g_sha256": digest(bits)}
            if i < 6:
                row["g_bits"] = bits
            rows.append(row)
            repeated += int((~mask).sum())
        print(f"{name}: {len(rows)} sequences, {repeated} repeated contexts")
        sets.append({"name": name, "config": config, "rows": rows})
    return sets


def score_about(source):
    return [
        f"Made by scheme_reference.py from {source}.",
        "sets[s].rows[i] belongs to sequences[i] of sequences.json. Position p is the ngram that ends at token p + ngram_len - 1.",
        "g_bits: for each position, layer 0 first, '0' or '1', positions one after the other; g_sha256: SHA-256 (hex) of that",
        "ASCII string; the string itself only for the first rows. mask: 1 = context not seen in the last context_history_size.",
        "mean, weighted_mean: the package's formulas in float64 (weights 10 to 1, linear).",
    ]


def sampling_tables():
    rows = []
    for seed in (0, 1, 7, 42, 2**32 - 1, 2**32 + 7, 2**40 + 5):
        for size in (1000, 65_536, 65_537):
            config = dict(CONFIGS["bigram"], sampling_table_seed=seed, sampling_table_size=size)
            bits = bit_string(hf_processor(config).sampling_table)
            rows.append({"seed": seed, "size": size, "first_64": bits[:64], "sha256": digest(bits)})
    by = {(r["seed"], r["size"]): r for r in rows}
    assert by[7, 65_536]["sha256"] == by[2**32 + 7, 65_536]["sha256"], "only the seed's low 32 bits count"
    return {
        "about": [
            "sampling_table of transformers' processor on the CPU: torch.randint(0, 2, (size,)) after manual_seed(seed).",
            "first_64: the first 64 entries; sha256: of all entries as an ASCII string of '0' and '1'.",
        ],
        "tables": rows,
    }


def tournament(main):
    rng = np.random.default_rng(11)
    cases = []
    shapes = [(2, 1), (2, 5), (3, 2), (5, 3), (8, 30), (8, 1), (20, 4), (20, 30), (50, 30), (50, 10), (100, 30), (4, 7)]
    for leaves in (2, 3, 5):
        for n, (k, depth) in enumerate(shapes * 2):
            if leaves == 5 and n >= len(shapes):
                continue
            logits = rng.normal(size=k) * rng.choice([0.3, 1.0, 3.0])
            p = np.exp(logits - logits.max())
            g = rng.integers(0, 2, size=(k, depth))
            if n % 5 == 1:
                p[rng.integers(k)] = 0.0
            if n % 5 == 2:
                g[:, 0] = 0  # G = 0: the layer changes nothing
            if n % 5 == 3:
                g[:, -1] = 1  # G = 1: likewise
            if n % 5 == 4 and k > 2:  # the only token with g = 1 has no probability
                p[0], g[0, 0] = 0.0, 1
                g[1:, 0] = 0
            p /= p.sum()
            with np.errstate(divide="ignore"):
                scores = torch.tensor(np.log(p))[None]
            gt = torch.tensor(g)[None]
            if leaves == 2:
                updated = main.update_scores(scores, gt)
                hf = hf_processor(CONFIGS["readme"]).update_scores(scores, gt)
                assert torch.equal(updated.exp(), hf.exp())
            else:
                updated = main.update_scores_distortionary(scores, gt, leaves)
            q = updated.exp()[0].numpy()
            assert abs(q.sum() - 1) < 1e-9 and np.isfinite(q).all()
            cases.append(
                {
                    "leaves": leaves,
                    "p": p.tolist(),
                    "g": ["".join(map(str, row)) for row in g.tolist()],
                    "q": q.tolist(),
                }
            )
    return {
        "about": [
            "q = exp(update_scores(log p, g)) of synthid-text's main branch in float64; leaves > 2: update_scores_distortionary.",
            "p, q: one a candidate; g: one string a candidate, layer 0 first. Compare q within 1e-12.",
        ],
        "cases": cases,
    }


GEN_VOCAB = 50
GEN_STEPS = 60


def gen_logit(step, token):
    return ((step * GEN_VOCAB + token) * 7919 % 1009) / 200.0


def generated_tokens(rng):
    """60 tokens below 50 with blocks that return soon and late, and runs of 0, the initial context's token."""
    few = [rng.randrange(GEN_VOCAB) for _ in range(6)]
    unit = [rng.randrange(GEN_VOCAB) for _ in range(7)]
    seq = [0, 0, 0, 0, 0] + unit + [few[0], few[1]] + unit + [rng.choice(few) for _ in range(10)]
    seq += [rng.randrange(GEN_VOCAB) for _ in range(9)] + unit + [0, 0, 0, 0, 0]
    seq += [rng.randrange(GEN_VOCAB) for _ in range(GEN_STEPS - len(seq))]
    return seq[:GEN_STEPS]


def generation(main):
    rng = random.Random(5)
    runs = []
    for scheme in ("synthid-hf", "synthid-deepmind"):
        for name, config in CONFIGS.items():
            for skip in (False, True):
                prompt = [rng.randrange(GEN_VOCAB) for _ in range(rng.randint(1, 9))]
                tokens = generated_tokens(rng)
                if scheme == "synthid-hf":
                    processor = hf_processor(config, skip_first_ngram_calls=skip)
                else:
                    processor = main_processor(main, config, skip_first_ngram_calls=skip)
                applied, chosen = "", []
                ids = list(prompt)
                for step, token in enumerate(tokens):
                    scores = torch.tensor([[gen_logit(step, v) for v in range(GEN_VOCAB)]], dtype=torch.float64)
                    if processor.state is None:
                        before = torch.zeros((1, config["context_history_size"]), dtype=torch.long)
                    else:
                        before = processor.state.context_history.clone()
                    row = torch.tensor([ids])
                    if scheme == "synthid-hf":
                        out = processor(row, scores)
                    else:
                        out, indices, _ = processor.watermarked_call(row, scores)
                        assert indices[0].tolist() == list(range(GEN_VOCAB))
                    if skip and processor.state.num_calls < config["ngram_len"]:
                        marked = False
                    else:
                        newest = processor.state.context_history[:, :1]
                        marked = not bool((before == newest).any())
                    assert marked or torch.equal(out, scores)
                    applied += "1" if marked else "0"
                    chosen.append(torch.softmax(out, dim=1)[0, token].item())
                    ids.append(token)
                runs.append(
                    {
                        "scheme": scheme,
                        "set": name,
                        "config": config,
                        "skip_first_ngram_calls": skip,
                        "prompt": prompt,
                        "tokens": tokens,
                        "applied": applied,
                        "chosen_probability": chosen,
                    }
                )
                print(f"{scheme} {name} skip={skip}: {applied.count('1')} of {len(tokens)} marked")
    return {
        "about": [
            "One call of the processor a step, all 50 tokens as candidates, then tokens[step] is chosen whatever came out.",
            "logit(step, v) = ((step * 50 + v) * 7919 mod 1009) / 200. applied: 1 = the step's scores were changed by the mark.",
            "chosen_probability: softmax of the processor's output at tokens[step], float64.",
            "The reference starts from a context of zeros, whatever the prompt; skip_first_ngram_calls leaves the first",
            "ngram_len - 1 steps alone and does not put their contexts into the history.",
        ],
        "runs": runs,
    }


def write(folder, name, value):
    path = folder / name
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")
    print(f"{name}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--synthid-main", type=pathlib.Path, required=True)
    parser.add_argument("--synthid-pypi", type=pathlib.Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    check = None
    if args.synthid_pypi:
        pypi, _ = load_synthid(args.synthid_pypi)
        check = lambda config: pypi_processor(pypi, config)  # noqa: E731
    main_module, detector = load_synthid(args.synthid_main)
    assert not hasattr(main_module.SynthIDLogitsProcessor, "sample_g_values"), "this is the old scheme with a table"

    sequences = make_sequences()
    write(args.out, "sequences.json", {"about": ["Token ids, shared by hf.json and deepmind.json."], "sequences": sequences})
    write(
        args.out,
        "hf.json",
        {
            "about": score_about("transformers' SynthIDTextWatermarkLogitsProcessor on the CPU"),
            "sets": score_sets(hf_processor, detector, sequences, check),
        },
    )
    write(
        args.out,
        "deepmind.json",
        {
            "about": score_about("synthid-text's main branch of June 2025; the sampling_table fields have no effect"),
            "sets": score_sets(lambda c: main_processor(main_module, c), detector, sequences),
        },
    )
    write(args.out, "sampling_table.json", sampling_tables())
    write(args.out, "tournament.json", tournament(main_module))
    write(args.out, "generation.json", generation(main_module))


if __name__ == "__main__":
    main()
