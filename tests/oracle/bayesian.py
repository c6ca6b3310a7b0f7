"""Posteriors of transformers' BayesianDetectorModel, and a check that transformers reads a detector of ours.

    bayesian.py write OUT
    bayesian.py check DETECTOR_DIR GVALUES.jsonl SCORES.jsonl

`write` makes OUT/random and OUT/trained as save_pretrained does (random weights; weights fitted for 300 steps with
the model's own loss to synthetic marked g-values), OUT/documents.json with the posteriors of 80 documents under each,
in float32 (what transformers computes) and float64, and OUT/gradient.json with the loss and its gradient on a batch.

`check` loads DETECTOR_DIR with from_pretrained and compares its posteriors with those of `wmdetect`: GVALUES.jsonl is
the output of `wmdetect gvalues --json`, SCORES.jsonl that of `wmdetect score --detector bayesian --json`, on the same
texts.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers import BayesianDetectorConfig, BayesianDetectorModel

DEPTH = 30


def marked(rng, shape):
    """g-values (*shape, DEPTH) with P(g_l = 1) = 1/2 + psi_l / 4, psi_l = x^l for one x in [0, 1] a token."""
    x = rng.uniform(0, 1, shape)[..., None]
    psi = x ** np.arange(1, DEPTH + 1)
    return (rng.uniform(size=(*shape, DEPTH)) < 0.5 + psi / 4).astype(np.float32)


def fair(rng, shape):
    return rng.integers(0, 2, (*shape, DEPTH)).astype(np.float32)


def posterior(model, g, mask):
    """Of one document: g (tokens, DEPTH), mask (tokens,). One at a time, because the model adds shapes wrongly for
    several documents of one token."""
    dtype = model.prior.dtype
    with torch.no_grad():
        return model(torch.tensor(g, dtype=dtype)[None], torch.tensor(mask, dtype=dtype)[None])[0].item()


def random_detector():
    model = BayesianDetectorModel(BayesianDetectorConfig(watermarking_depth=DEPTH, base_rate=0.3))
    with torch.no_grad():
        likelihood = model.likelihood_model_watermarked
        likelihood.beta.copy_(torch.randn(likelihood.beta.shape) * 1.5)
        likelihood.delta.copy_(torch.randn(likelihood.delta.shape) * 0.8)
    return model


def trained_detector(rng):
    model = BayesianDetectorModel(BayesianDetectorConfig(watermarking_depth=DEPTH))
    optimizer = torch.optim.Adam(model.parameters(), lr=2.1e-2)
    for _ in range(300):
        g = np.concatenate([marked(rng, (32, 20)), fair(rng, (32, 20))])
        labels = torch.tensor([1.0] * 32 + [0.0] * 32)
        optimizer.zero_grad()
        loss = model(torch.tensor(g), torch.ones(64, 20), labels=labels, loss_batch_weight=1e-4)[1]
        loss.backward()
        optimizer.step()
    print(f"trained: last loss {loss.item():.4f}, prior {model.prior.item():.4f}")
    return model


def documents(model, rng, count):
    double = BayesianDetectorModel(model.config).double()
    double.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    rows = []
    for i in range(count):
        tokens = int(rng.integers(1, 40)) if i % 2 else int(rng.integers(40, 121))
        g = (marked if i % 4 < 2 else fair)(rng, (tokens,))
        mask = (rng.uniform(size=tokens) < 0.9).astype(np.float32)
        rows.append(
            {
                "g": [int("".join(str(int(bit)) for bit in reversed(row)), 2) for row in g],
                "mask": "".join(str(int(bit)) for bit in mask),
                "posterior_f32": posterior(model, g, mask),
                "posterior_f64": posterior(double, g, mask),
            }
        )
    between = sum(1e-6 < row["posterior_f64"] < 1 - 1e-6 for row in rows)
    apart = max(abs(row["posterior_f32"] - row["posterior_f64"]) for row in rows)
    print(f"{count} documents, {between} posteriors between 1e-6 and 1 - 1e-6, float32 off by up to {apart:.1e}")
    return rows


def gradient(model, rng):
    """Loss and gradient of a batch that is far from the clamp, in float64."""
    model = model.double()
    model.zero_grad()
    g = np.concatenate([marked(rng, (3, 4)), fair(rng, (3, 4))])
    labels = [1, 1, 1, 0, 0, 0]
    l2_weight = 1e-3
    loss = model(
        torch.tensor(g, dtype=torch.float64),
        torch.ones(6, 4, dtype=torch.float64),
        labels=torch.tensor(labels, dtype=torch.float64),
        loss_batch_weight=l2_weight,
    )[1]
    loss.backward()
    likelihood = model.likelihood_model_watermarked
    return {
        "g": [[int("".join(str(int(bit)) for bit in reversed(row)), 2) for row in document] for document in g],
        "marked": labels,
        "l2_weight": l2_weight,
        "loss": loss.item(),
        "beta": likelihood.beta.grad.flatten().tolist(),
        "delta": [likelihood.delta.grad[0, 0, l, :l].tolist() for l in range(DEPTH)],
    }


def write(out):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, model in [("random", random_detector()), ("trained", trained_detector(rng))]:
        model.save_pretrained(out / name)
        found[name] = documents(model, rng, 80)
    (out / "documents.json").write_text(json.dumps(found) + "\n")
    (out / "gradient.json").write_text(json.dumps(gradient(model, rng)) + "\n")


def check(directory, gvalues, scores):
    model, info = BayesianDetectorModel.from_pretrained(directory, output_loading_info=True)
    print("from_pretrained:", {name: sorted(keys) for name, keys in info.items() if keys} or "every tensor, no other")
    values = [json.loads(line) for line in gvalues.read_text().splitlines()]
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    assert len(values) == len(rows) and [v["input"] for v in values] == [r["input"] for r in rows]
    largest, compared, between = 0.0, 0, 0
    for value, row in zip(values, rows):
        if not value["mask"]:
            continue
        g = np.array([[int(bit) for bit in bits] for bits in value["g_bits"]], dtype=np.float32)
        expected = posterior(model, g, [float(bit) for bit in value["mask"]])
        largest = max(largest, abs(expected - row["scores"]["bayesian"]))
        compared += 1
        between += 1e-3 < expected < 1 - 1e-3
    print(f"{compared} documents ({between} posteriors between 0.001 and 0.999): largest difference {largest:.2e}")
    assert largest < 1e-6 and not any(info.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write").add_argument("out", type=Path)
    command = commands.add_parser("check")
    for name in ["directory", "gvalues", "scores"]:
        command.add_argument(name, type=Path)
    args = parser.parse_args()
    if args.command == "write":
        write(args.out)
    else:
        check(args.directory, args.gvalues, args.scores)
