"""What the detectors of other engines compute.

Writes one file a family into OUT: vllm-gumbel.json, vllm-gumbel-dual.json, sglang-gumbel.json, sglang-gumbel-dual.json,
textseal.json, kgw-hf.json, kgw.json, kgw-tgi.json. Each says in "about" how to read it. A family whose source is not
given is left out. The sources are folders, since no engine is installed:

  --vllm DIR      wheel of vllm 0.33.0, unpacked: vllm/v1/watermarking and vllm/config/watermarking.py
  --sglang DIR    wheel of sglang 0.5.23, unpacked: sglang/srt/sampling/watermarking (needs msgspec)
  --textseal DIR  wheel of textseal 0.0.5, unpacked
  --lm DIR        jwkirchenbauer/lm-watermarking at fb602de
  --tgi DIR       folder with watermark.py of huggingface/text-generation-inference at db931fc
  transformers is installed (requirements.txt); its family is always written.

Marked rows are drawn by the engine's own rule from random logits: its sampler where it runs without a GPU (vLLM,
transformers, lm-watermarking, TGI), else its own hash and the rule of its manual (SGLang, TextSeal).

Usage: python engines.py OUT [--vllm DIR] [--sglang DIR] [--textseal DIR] [--lm DIR] [--tgi DIR]
"""

import argparse
import importlib
import importlib.util
import json
import math
import pathlib
import random
import sys
import types

import torch
from scipy import special

VOCAB = 256_000
EDGES = [0, 1, 3, 65_535, 65_536, 131_072, 255_999]
PLAIN, MARKED = 36, 20
LENGTH = 60


def sequences(vocab, seed, count=PLAIN):
    """Random texts; in some, contexts come back all the time."""
    rng = random.Random(seed)
    edges = [edge % vocab for edge in EDGES]

    def token():
        return rng.choice(edges) if rng.random() < 0.1 else rng.randrange(vocab)

    out = []
    for i in range(count):
        length = rng.randint(12, 48)
        if i % 4 == 0:
            few = [token() for _ in range(rng.randint(2, 5))]
            out.append([rng.choice(few) for _ in range(length)])
        elif i % 4 == 1:
            unit = [token() for _ in range(rng.randint(1, 7))]
            out.append((unit * length)[:length])
        else:
            out.append([token() for _ in range(length)])
    return out


def logits_of(generator, vocab, scale=2.5):
    return torch.randn(vocab, generator=generator) * scale


def marked_sequences(draw, vocab, seed, count=MARKED, prompt=()):
    """`draw(ids, logits, generator)` gives the next token after `ids`, the prompt's among them."""
    out = []
    for i in range(count):
        generator = torch.Generator().manual_seed(1000 * seed + i)
        ids = list(prompt)
        for _ in range(LENGTH):
            ids.append(int(draw(ids, logits_of(generator, vocab), generator)))
        out.append(ids[len(prompt):])
    return out


def multinomial(logits, generator):
    return torch.multinomial(torch.softmax(logits, -1), 1, generator=generator).item()


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def package(name, folder):
    return stub(name, __path__=[str(folder)])


def write(out, name, about, sets):
    total = sum(len(each["rows"]) for each in sets)
    assert total >= 50, (name, total)
    path = out / f"{name}.json"
    path.write_text(json.dumps({"about": about, "sets": sets}, separators=(",", ":")) + "\n")
    print(f"{path}: {len(sets)} configurations, {total} sequences, {path.stat().st_size} bytes")


def rounded(numbers):
    return [float(f"{number:.10g}") for number in numbers]


# vLLM


def load_vllm(folder):
    root = folder / "vllm"
    for name, part in [
        ("vllm", ""), ("vllm.v1", "v1"), ("vllm.v1.watermarking", "v1/watermarking"),
        ("vllm.v1.worker", "v1/worker"), ("vllm.v1.worker.gpu", "v1/worker/gpu"),
        ("vllm.v1.worker.gpu.sample", "v1/worker/gpu/sample"),
    ]:
        package(name, root / part)
    stub("vllm.v1.worker.gpu.sample.gumbel", gumbel_sample=None)
    config = package("vllm.config", root / "config")
    stub("vllm.config.utils", config=lambda cls: cls)
    stub("vllm.logger", init_logger=lambda _: None)
    config.watermarking = importlib.import_module("vllm.config.watermarking")
    return importlib.import_module("vllm.v1.watermarking.gumbel")


def vllm_row(detector, ids, marked):
    contexts, targets = detector._prepare_inputs(ids)
    assert detector.deduplicate_contexts
    found = detector.detect(ids)
    prfs = [detector.prf] + ([detector.key_b_prf] if hasattr(detector, "key_b_prf") else [])
    every = [[-1] * detector.context_width + ids[:i] for i in range(len(ids))]
    windows = torch.tensor([context[-detector.context_width:] for context in every], dtype=torch.int64)
    numbers = [
        prf.uniform(windows, torch.tensor(ids, dtype=torch.int64).unsqueeze(-1)).squeeze(-1).double().tolist()
        for prf in prfs
    ]
    return {
        "ids": ids, "marked": marked, "u": [rounded(u) for u in numbers], "n": len(targets), "s": found.score,
        "p": found.p_value,
    }


def vllm(out, folder):
    module = load_vllm(folder)
    about = [
        "Made by engines.py from vllm 0.33.0's GumbelWatermarkDetector and DualKeyGumbelWatermarkDetector on the CPU.",
        "config: as --watermark-config has it. u: the PRF's float32 number at every position, for each key; n, s, p: what",
        "the detector says. Marked rows: GumbelWatermarker, with repeated contexts left unmarked.",
        "p of the dual key is not exact and is not to be equalled.",
    ]
    plain, dual = [], []
    for key, width in [(1, 4), (2**64 - 1, 1), (0x0123456789ABCDEF, 5), (42, 8)]:
        for target, alpha in [(plain, None), (dual, {1: 0.1, 2**64 - 1: 0.5, 42: 0.0}.get(key, 0.3))]:
            kwargs = {} if alpha is None else {"alpha": alpha}
            kind = module.GumbelWatermarkDetector if alpha is None else module.DualKeyGumbelWatermarkDetector
            detector = kind(key, context_width=width, **kwargs)
            writers = [
                module.GumbelWatermarker(prf.key, width)
                for prf in [detector.prf] + ([detector.key_b_prf] if alpha is not None else [])
            ]
            coin = random.Random(width)

            def draw(ids, logits, generator):
                context = ([-1] * width + ids)[-width:]
                before = {tuple(([-1] * width + ids[:i])[-width:]) for i in range(len(ids))}
                if tuple(context) in before:
                    return multinomial(logits, generator)
                writer = writers[int(alpha is not None and coin.random() < alpha)]
                return writer._sample_watermarked(logits[None], torch.tensor([context])).token_ids.item()

            config = {"key": key, "context_width": width}
            config["algorithm"] = "gumbel" if alpha is None else "dual_key_gumbel"
            config.update(kwargs)
            rows = [vllm_row(detector, ids, False) for ids in sequences(VOCAB, width, PLAIN // 2)]
            marked = marked_sequences(draw, 400, width, MARKED // 4)
            rows += [vllm_row(detector, ids, True) for ids in marked]
            target.append({"config": config, "rows": rows})
    write(out, "vllm-gumbel", about, plain)
    write(out, "vllm-gumbel-dual", about, dual)


# SGLang


def sglang(out, folder):
    root = folder / "sglang/srt/sampling/watermarking"
    for name in ["sglang", "sglang.srt", "sglang.srt.sampling"]:
        package(name, folder)
    package("sglang.srt.sampling.watermarking", root)
    module = importlib.import_module("sglang.srt.sampling.watermarking.detector")
    about = [
        "Made by engines.py from sglang 0.5.23's WatermarkDetector (no torch in it).",
        "config: as --watermark-config has it. hash: its watermark_hash at every position with a whole context, of the key that",
        "the coin picks. n, s, ln_p: its combined statistics. Marked rows: argmax ln(u)/p with its hash and coin, contexts once.",
    ]
    single, dual = [], []
    for key, key_b, window, mixing in [
        ("1", "2", 4, 0.5), ("0xffffffffffffffff", "abc", 1, 0.25), ("0123456789abcdef", "fedcba9876543210", 3, 0.9),
        ("deadbeef", "5", 64, 0.5),
    ]:
        for target, second in [(single, None), (dual, key_b)]:
            detector = module.WatermarkDetector(
                key, key_b=second, mixing_probability=mixing, context_window=window
            )

            def key_in(context_hash):
                if second is None:
                    return detector._key_a
                coin = module.position_coin(detector._key_a, detector._key_b, context_hash)
                return detector._key_a if coin < detector._mixing_threshold else detector._key_b

            def draw(ids, logits, generator):
                context = tuple(ids[-window:])
                if not context or context in {tuple(ids[max(0, i - window):i]) for i in range(1, len(ids))}:
                    return multinomial(logits, generator)
                context_hash = module.hash_context(context)
                use, p = key_in(context_hash), torch.softmax(logits.double(), -1).tolist()
                u = [(module.watermark_hash(use, context_hash, token) + 0.5) / 2**32 for token in range(len(p))]
                return max(range(len(p)), key=lambda token: math.log(u[token]) / p[token])

            def row(ids, prompt, marked):
                found = detector.detect_tokens(ids, prompt_token_ids=prompt).combined
                tail = (prompt + ids)[-(len(ids) + min(len(prompt), window)):]
                hashes = []
                for at in range(window, len(tail)):
                    context_hash = module.hash_context(tail[at - window:at])
                    hashes.append(module.watermark_hash(key_in(context_hash), context_hash, tail[at]))
                return {
                    "ids": ids, "prompt": prompt, "marked": marked, "hash": hashes, "n": found.num_contexts,
                    "s": found.score, "ln_p": found.log_p_value,
                }

            config = {"key": key, "context_window": window}
            config.update({} if second is None else {"key_b": second, "mixing_probability": mixing})
            rng = random.Random(window)
            rows = []
            for i, ids in enumerate(sequences(VOCAB, 10 + window, PLAIN // 2)):
                prompt = [rng.randrange(VOCAB) for _ in range(window + rng.randint(0, 5))] if i % 2 else []
                rows.append(row(ids, prompt, False))
            if window < 64:
                prompt = [rng.randrange(400) for _ in range(window + 3)]
                for ids in marked_sequences(draw, 200, window, MARKED // 4, prompt):
                    rows.append(row(ids, prompt, True))
            target.append({"config": config, "rows": rows})
    write(out, "sglang-gumbel", about, single)
    write(out, "sglang-gumbel-dual", about, dual)


# TextSeal


def textseal(out, folder):
    root = folder / "textseal"
    for name in ["", ".common", ".common.watermark", ".posthoc"]:
        package("textseal" + name, root / name[1:].replace(".", "/"))
    core = importlib.import_module("textseal.common.watermark.core")
    random_function = importlib.import_module("textseal.common.watermark.pseudorandom")
    module = importlib.import_module("textseal.posthoc.detector")

    class Ids:
        """A tokenizer of token ids."""

        vocab_size = VOCAB

        @staticmethod
        def encode(ids, **_):
            return ids

    about = [
        "Made by engines.py from textseal 0.0.5's GumbelmaxDetector (scoring v2) and prf_uniform, in float32.",
        "config: its WatermarkConfig; with two keys the numbers are those of its PRF under each, as the version of 2026 has them.",
        "u: at every position from ngram on, for each key. n, s, p: the detector's, which begins one position later; not with two",
        "keys, which 0.0.5 does not have. Marked rows: argmax u^(1/p) with its PRF.",
    ]
    sets = []
    for key, ngram, alpha in [(42, 1, None), (7, 2, None), (2**40 + 3, 4, None), (42, 1, 0.5), (99, 2, 0.7)]:
        args = core.WatermarkConfig(secret_key=key, ngram=ngram, scoring_method="v2")
        detector = module.GumbelmaxDetector(Ids(), args)
        keys = [key] if alpha is None else [key, key + 12_345]
        coin = random.Random(ngram)

        def numbers(window, tokens, use):
            windows = torch.tensor([window] * len(tokens))
            return random_function.prf_uniform(windows, torch.tensor(tokens), use).tolist()

        def draw(ids, logits, generator):
            use = keys[0] if alpha is None or coin.random() < alpha else keys[1]
            p = torch.softmax(logits.double(), -1).tolist()
            u = numbers(ids[-ngram:], list(range(len(p))), use)
            return max(range(len(p)), key=lambda token: math.log(u[token] + 1e-30) / p[token])

        def row(ids, marked):
            u = [[numbers(ids[i - ngram:i], [ids[i]], use)[0] for i in range(ngram, len(ids))] for use in keys]
            found = {"ids": ids, "marked": marked, "u": [rounded(each) for each in u]}
            if alpha is None:
                scores, masks = detector.get_scores_by_t([ids], scoring_method="v2", return_aux=True, seen_windows=set())
                s, n = sum(scores[0]), len(scores[0])
                found.update({"n": n, "s": s, "p": float(special.gammaincc(n, s))})
            return found

        prompt = [5, 6, 7, 8]
        config = {"secret_key": key, "ngram": ngram, "watermark_type": "gumbelmax" if alpha is None else "textseal"}
        config.update({} if alpha is None else {"mixing_alpha": alpha})
        rows = [row(ids, False) for ids in sequences(VOCAB, 20 + ngram, PLAIN // 3)]
        rows += [row(ids, True) for ids in marked_sequences(draw, 300, key % 1000, MARKED // 4, prompt)]
        sets.append({"config": config, "rows": rows})
    write(out, "textseal", about, sets)


# Green lists


def green_row(ids, marked, greens, first):
    return {
        "ids": ids, "marked": marked, "first": first,
        "green": "".join("1" if green else "0" for green in greens),
    }


def transformers_lists(out):
    from transformers import PretrainedConfig, WatermarkDetector
    from transformers.generation.logits_process import WatermarkLogitsProcessor

    about = [
        "Made by engines.py from transformers' WatermarkLogitsProcessor and WatermarkDetector on the CPU.",
        "config: its WatermarkingConfig and vocab_size. green: by the processor's lists, at every position from first on. n, w: what",
        "the detector counts without ignore_repeated_ngrams; its p is not valid and not here. Marked rows: the processor, bias 4.",
    ]
    sets = []
    for vocab, ratio, key, scheme, width in [
        (1000, 0.25, 15_485_863, "lefthash", 1), (997, 0.5, 12_345_678_901, "lefthash", 3),
        (1000, 0.25, 15_485_863, "selfhash", 1), (1000, 0.3, 7, "selfhash", 4), (256_000, 0.25, 15_485_863, "selfhash", 2),
    ]:
        kwargs = {
            "greenlist_ratio": ratio, "hashing_key": key, "seeding_scheme": scheme, "context_width": width,
        }
        processor = WatermarkLogitsProcessor(vocab_size=vocab, device="cpu", bias=4.0, **kwargs)
        model = PretrainedConfig(bos_token_id=-1)
        model.vocab_size = vocab
        detector = WatermarkDetector(model, "cpu", {"bias": 4.0, **kwargs})
        self_hash = scheme == "selfhash"
        context = max(width - 1, 1) if self_hash else 1

        def is_green(ids, at):
            prefix = ids[max(0, at - width + 1):at + 1] if self_hash else ids[at - 1:at]
            return ids[at] in processor._get_greenlist_ids(torch.tensor(prefix))

        def draw(ids, logits, generator):
            return multinomial(processor(torch.tensor([ids]), logits[None])[0], generator)

        def row(ids, marked):
            greens = [is_green(ids, at) for at in range(context, len(ids))]
            found = green_row(ids, marked, greens, context)
            n, w = detector._score_ngrams_in_passage(torch.tensor([ids]))
            return found | {"n": int(n[0]), "w": int(w[0])}

        large = vocab > 10_000
        rows = [row(ids, False) for ids in sequences(vocab, 30 + width, 3 if large else PLAIN // 3)]
        if not large:
            prompt = [5, 6, 7, 8]
            rows += [row(ids, True) for ids in marked_sequences(draw, vocab, 30 + width, MARKED // 4, prompt)]
        sets.append({"config": {"vocab_size": vocab, **kwargs}, "rows": rows})
    write(out, "kgw-hf", about, sets)


def lm_watermarking(out, folder):
    sys.path.insert(0, str(folder))
    stub("normalizers", normalization_strategy_lookup=None)
    module = importlib.import_module("extended_watermark_processor")
    about = [
        "Made by engines.py from lm-watermarking's WatermarkLogitsProcessor on the CPU.",
        "config: the arguments of its processor, the length of its vocabulary as vocab_size. green: by its lists, at every position",
        "from first on. Marked rows: the processor, delta 4.",
    ]
    sets = []
    for vocab, gamma, scheme, select in [
        (1000, 0.25, "simple_1", True), (999, 0.5, "simple_1", False), (1000, 0.25, "minhash", True),
        (1000, 0.25, "skipgram", True), (1000, 0.25, "selfhash", True), (800, 0.4, "ff-anchored_minhash_prf-3-True-77", True),
        (800, 0.4, "ff-additive_prf-3-False-12345678901", True), (32_000, 0.25, "selfhash", True),
    ]:
        processor = module.WatermarkLogitsProcessor(
            vocab=list(range(vocab)), gamma=gamma, delta=4.0, seeding_scheme=scheme, select_green_tokens=select
        )
        processor.rng = torch.Generator()
        width, self_salt = processor.context_width, processor.self_salt
        context = width - 1 if self_salt else width

        def is_green(ids, at):
            prefix = ids[at - context:at + 1] if self_salt else ids[at - context:at]
            return ids[at] in processor._get_greenlist_ids(torch.tensor(prefix))

        def draw(ids, logits, generator):
            return multinomial(processor(torch.tensor([ids]), logits[None].clone())[0], generator)

        def row(ids, marked):
            return green_row(ids, marked, [is_green(ids, at) for at in range(context, len(ids))], context)

        large = vocab > 10_000
        rows = [row(ids, False) for ids in sequences(vocab, 40 + width, 4 if large else PLAIN // 4)]
        if not large:
            prompt = [5, 6, 7, 8, 9]
            rows += [row(ids, True) for ids in marked_sequences(draw, vocab, 40 + width, MARKED // 4, prompt)]
        config = {"vocab_size": vocab, "gamma": gamma, "seeding_scheme": scheme, "select_green_tokens": select}
        sets.append({"config": config, "rows": rows})
    write(out, "kgw", about, sets)


def tgi(out, folder):
    spec = importlib.util.spec_from_file_location("tgi_watermark", folder / "watermark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    about = [
        "Made by engines.py from the WatermarkLogitsProcessor of text-generation-inference on the CPU.",
        "config: the server's environment, and the width of the logits as vocab_size. green: by its lists, from position 1 on.",
        "Marked rows: the processor, delta 4.",
    ]
    sets = []
    for vocab, gamma in [(1000, 0.5), (32_128, 0.25)]:
        processor = module.WatermarkLogitsProcessor(gamma=gamma, delta=4.0)

        def lists(ids, at):
            return processor._get_greenlist_ids([ids[at - 1]], vocab, "cpu")

        def draw(ids, logits, generator):
            return multinomial(processor([ids[-1]], logits[None].clone())[0], generator)

        def row(ids, marked):
            greens = [ids[at] in lists(ids, at) for at in range(1, len(ids))]
            return green_row(ids, marked, greens, 1)

        small = vocab < 10_000
        rows = [row(ids, False) for ids in sequences(vocab, 50, PLAIN if small else 6)]
        if small:
            rows += [row(ids, True) for ids in marked_sequences(draw, vocab, 50, MARKED, [5])]
        config = {"vocab_size": vocab, "WATERMARK_GAMMA": str(gamma)}
        sets.append({"config": config, "rows": rows})
    write(out, "kgw-tgi", about, sets)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    engines = {"vllm": vllm, "sglang": sglang, "textseal": textseal, "lm": lm_watermarking, "tgi": tgi}
    for name in engines:
        parser.add_argument(f"--{name}", type=pathlib.Path)
    parser.add_argument("--skip-transformers", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, make in engines.items():
        folder = getattr(args, name)
        if folder is not None:
            make(args.out, folder)
    if not args.skip_transformers:
        transformers_lists(args.out)


if __name__ == "__main__":
    main()
