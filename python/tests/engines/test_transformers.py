"""The adapter for transformers, in the real `generate` of a small random model."""

import json
import pickle

import numpy as np
import pytest
from conftest import SECRET
from reference import g_values, tournament

from wmdetect import Detector, Error, Key, Marker

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from wmdetect.transformers import MarkingConfig, MarkingProcessor  # noqa: E402

EOS, PAD, VOCABULARY = 1, 0, 400
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model():
    """Returns a random model in the shape of GPT-2, with a distribution that is not flat."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=512,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=2,
        eos_token_id=EOS,
    )
    config.pad_token_id = PAD
    config.tie_word_embeddings = False
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(15)
    return model


def generate(model, config, prompts, **options):
    """Returns what each row wrote, to the end of its sequence, after prompts of unequal lengths."""
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (width - len(prompt)) + prompt for prompt in prompts])
    options = {"do_sample": True, "max_new_tokens": 120, "top_k": 50, "pad_token_id": PAD} | options
    output = model.generate(ids, attention_mask=(ids != PAD).long(), watermarking_config=config, **options)
    rows = []
    for row in output[:, width:].tolist():
        rows.append(row[: row.index(EOS) + 1] if EOS in row else row)
    return rows


PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [12], [13, 14, 15]]


@pytest.mark.parametrize("preset", ["secret", "balanced"])
def test_marked_positions_are_the_scored_ones(model, preset):
    torch.manual_seed(1)
    key = Key.generate(preset)
    config = MarkingConfig(key)
    prompts = PROMPTS * 4
    rows = generate(model, config, prompts, top_p=0.95, temperature=0.9)
    assert len({len(row) for row in rows}) > 1, "the rows should end at different places"
    processor = config.last
    for prompt, row, marked, channel in zip(prompts, rows, processor.marked, processor.channels, strict=True):
        detector = Detector(key, channel=channel)
        values = detector.g_values(row, prompt)
        mask = [share != "0" for share in values.get("shares", values["mask"])]
        assert marked == [False] * (len(row) - len(mask)) + mask and any(marked)
    found = Detector(key).score(max(rows, key=len))
    assert found.watermarked
    other = Detector(Key.generate(preset)).score(max(rows, key=len))
    assert not other.watermarked


def test_the_mark_comes_after_the_warpers_and_is_the_specifications(model, key_file):
    torch.manual_seed(2)
    config, seen = MarkingConfig(key_file), []
    original = MarkingProcessor.__call__

    def spy(self, input_ids, scores):
        out = original(self, input_ids, scores)
        seen.append((input_ids.clone(), scores.clone(), out.clone()))
        return out

    MarkingProcessor.__call__ = spy
    try:
        generate(model, config, [PROMPTS[0]], max_new_tokens=40, min_new_tokens=40, top_k=20, temperature=0.7)
    finally:
        MarkingProcessor.__call__ = original
    assert len(seen) == 40
    for step, (ids, scores, out) in enumerate(seen):
        finite = torch.isfinite(scores[0])
        assert int(finite.sum()) == 20, "top-k has not run before"
        assert (torch.isfinite(out[0]) <= finite).all() and out.dtype == torch.float32
        assert config.last.marked[0][step] == (step >= 4), "no context should come up twice"
        if step < 4:
            assert torch.equal(out, scores)
            continue
        tokens = finite.nonzero()[:, 0]
        expected = tournament(
            scores[0, tokens].numpy(), g_values(SECRET, ids[0, -4:].tolist(), tokens.tolist())
        )
        assert np.abs(out[0, tokens].double().exp().numpy() - expected).max() < 1e-6


def test_a_seed_gives_the_same_text(model):
    config = MarkingConfig(Key.generate("robust"))
    rows = []
    for _ in range(2):
        torch.manual_seed(3)
        rows.append(generate(model, config, PROMPTS))
    assert rows[0] == rows[1]


def test_several_answers_to_a_prompt(model):
    config = MarkingConfig(Key.generate())
    rows = generate(model, config, PROMPTS[:2], num_return_sequences=3, max_new_tokens=30)
    assert len(rows) == 6 == len(config.last.marked)
    assert [len(row) for row in rows] == [len(marked) for marked in config.last.marked]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"do_sample": False}, "hint: pass do_sample=True"),
        ({"num_beams": 2}, "expected num_beams=1, found 2"),
        ({"num_beams": 2, "do_sample": False}, "expected num_beams=1, found 2"),
        ({"prompt_lookup_num_tokens": 3}, "found prompt_lookup_num_tokens"),
        ({"assistant_model": "itself"}, "found an assistant model"),
    ],
)
def test_what_would_break_the_mark_is_refused(model, options, message):
    if "assistant_model" in options:
        options = {"assistant_model": model}
    with pytest.raises(Error, match=message):
        generate(model, MarkingConfig(Key.generate()), [PROMPTS[0]], **options)


def rows(*lengths):
    """Returns the calls of a processor with rows of these lengths."""
    ids = torch.arange(100, 200)
    return [ids[:length].repeat(2, 1) for length in lengths]


def test_calls_that_are_not_plain_sampling_are_refused():
    key = Key.generate()
    scores = torch.zeros(2, VOCABULARY)
    # As assisted decoding calls it: recorded from `generate` with prompt_lookup_num_tokens.
    for lengths in [(3, 3), (3, 4, 4), (3, 4, 5, 4), (3, 5)]:
        processor = MarkingConfig(key).construct_processor(VOCABULARY, "cpu")
        *good, bad = rows(*lengths)
        for ids in good:
            processor(ids, scores)
        with pytest.raises(Error, match="expected the shape"):
            processor(bad, scores)
    # As beams call it: rows change places.
    processor = MarkingConfig(key).construct_processor(VOCABULARY, "cpu")
    first = torch.tensor([[1, 2], [3, 4]])
    processor(first, scores)
    with pytest.raises(Error, match="beams are not marked"):
        processor(torch.tensor([[3, 4, 5], [1, 2, 5]]), scores)


def test_a_wide_vocabulary_and_other_dtypes(key):
    prompt = torch.tensor([[5, 6, 7, 8]])
    config = MarkingConfig(key)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for top in (3000, 40):
            scores = torch.randn(1, 3000).to(dtype)
            scores[scores < scores.topk(top).values.min()] = -torch.inf
            processor = config.construct_processor(3000, "cpu")
            ids = prompt
            for token in range(9, 14):
                before = scores.clone()
                out = processor(ids, scores)
                assert torch.equal(scores, before), "the caller's tensor is not changed"
                ids = torch.cat([ids, torch.tensor([[token]])], 1)
            tokens = torch.isfinite(scores[0]).nonzero()[:, 0]
            g = g_values(SECRET, [9, 10, 11, 12], tokens.tolist())
            expected = tournament(scores[0, tokens].float().numpy(), g)
            assert np.abs(out[0, tokens].double().exp().numpy() - expected).max() < 1e-6


def test_padding_is_not_a_part_of_the_prompt(key):
    """Pads in front would be contexts that the prompt has, and such positions are not marked."""
    for pads, expected in [([PAD], True), ([], False)]:
        processor = MarkingProcessor(Marker(key), pad_token_id=pads)
        ids = torch.tensor([[PAD] * 8 + [5]])
        for _ in range(5):
            processor(ids, torch.zeros(1, 50))
            ids = torch.cat([ids, torch.tensor([[PAD]])], 1)
        assert processor.marked == [[False] * 4 + [expected]]


def test_bad_scores_are_errors(key):
    for bad, message in [(torch.nan, "NaN"), (torch.inf, "inf")]:
        scores = torch.zeros(1, 10)
        scores[0, 3] = bad
        processor = MarkingConfig(key).construct_processor(10, "cpu")
        with pytest.raises(Error, match=message):
            processor(torch.tensor([[1]]), scores)


def test_no_key_is_saved(model, key_file, tmp_path):
    config = MarkingConfig(key_file)
    generation = transformers.GenerationConfig(do_sample=True, watermarking_config=config)
    generation.save_pretrained(tmp_path)
    config.to_json_file(tmp_path / "marking.json")
    saved = (tmp_path / "generation_config.json").read_text() + (tmp_path / "marking.json").read_text()
    shown = repr(config) + repr(generation) + str(dict(config)) + config.to_json_string() + saved
    assert config.key_id in saved
    for secret in (SECRET.hex(), "\\u0007", "7, 7, 7", str(key_file)):
        assert secret not in shown
    assert json.loads((tmp_path / "marking.json").read_text())["wmdetect_key_id"] == config.key_id
    # Loaded, it must not quietly become another mark.
    with pytest.raises(TypeError, match="wmdetect_key_id"):
        transformers.GenerationConfig.from_pretrained(tmp_path)
    again = pickle.loads(pickle.dumps(config))
    assert again.key_id == config.key_id
    with pytest.raises(TypeError, match="write it to a file first"):
        pickle.dumps(MarkingConfig(Key.generate()))
