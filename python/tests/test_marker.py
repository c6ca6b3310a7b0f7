"""Marking: the same g-values and probabilities as the specification's, and arrays that are checked."""

import numpy as np
import pytest
from conftest import SECRET
from reference import g_values, tournament

from wmdetect import Detector, Error, Key, Marker


def candidates(rng, k=40, vocabulary=1000):
    tokens = rng.choice(vocabulary, k, replace=False).astype(np.uint32)
    return tokens, rng.normal(0, 2, k).astype(np.float32)


def write(marking, rng, n):
    """Draws n tokens with the mark."""
    text = []
    for _ in range(n):
        tokens, logits = candidates(rng)
        marking.apply(tokens, logits)
        p = np.exp(logits.astype(np.float64))
        text.append(int(rng.choice(tokens, p=p / p.sum())))
        marking.push(text[-1])
    return text


def test_the_worked_example_of_the_specification(key_file):
    key_file.write_bytes(bytes(range(32)))
    key = Key.read(key_file)
    assert key.id == "1c4a6598e83276cf"
    assert Marker(key).g_values([1, 2, 3, 4], [65536]) == ["010010011110001100000101100100"]


def test_g_values_and_probabilities_are_the_specifications(key):
    rng = np.random.default_rng(1)
    marker = Marker(key)
    marking, text = marker.start([5, 6, 7]), []
    for step in range(60):
        tokens, logits = candidates(rng)
        before = logits.copy()
        kind = marking.apply(tokens, logits)
        if step < 4:
            assert kind == "incomplete_context" and (logits == before).all()
        else:
            assert kind == "marked"
            expected = g_values(SECRET, text[-4:], tokens.tolist())
            found = [[int(bit) for bit in g] for g in marker.g_values(text[-4:], tokens)]
            assert (expected == found).all()
            assert np.abs(np.exp(logits.astype(np.float64)) - tournament(before, expected)).max() < 1e-6
        text.append(int(rng.choice(tokens)))
        marking.push(text[-1])
    assert (marking.marked_tokens, marking.repeated_contexts) == (56, 0)


@pytest.mark.parametrize("preset", ["secret", "balanced", "robust"])
def test_marked_positions_are_the_scored_ones(preset):
    rng = np.random.default_rng(2)
    key = Key.generate(preset)
    marking = Marker(key).start([1, 2, 3])
    text = write(marking, rng, 150)
    # A loop, whose contexts come up again.
    loop = text[20:40] * 7
    for token in loop:
        marking.apply(*candidates(rng))
        marking.push(token)
    text += loop
    detector = Detector(key, channel=marking.channel)
    values = detector.g_values(text, [1, 2, 3])
    # With channels, the weighted mean counts a repeated pair of tokens by a third.
    mask = [share != "0" for share in values.get("shares", values["mask"])]
    mask = [False] * (len(text) - len(mask)) + mask
    assert marking.mask == mask and sum(mask) == marking.marked_tokens
    report = detector.score(text, [1, 2, 3])
    assert report.scored_tokens == marking.marked_tokens
    assert report.watermarked and report.log10_p < -20 and marking.repeated_contexts > 20


def test_rows_are_as_single_responses(key):
    rng = np.random.default_rng(3)
    prompts = [[1, 2, 3, 4, 5], [9], []]
    marker = Marker(key)
    batch = marker.start_batch(prompts)
    single = [marker.start(prompt) for prompt in prompts]
    for step in range(30):
        # Enough candidates for more than one thread.
        rows = [candidates(rng, 1500, 5000) for _ in prompts]
        active = [True, True, step < 20]
        tokens, logits = (np.stack(part) for part in zip(*rows, strict=True))
        tokens[1, 30:], logits[1, 30:] = 0, -np.inf
        kinds = batch.apply(tokens, logits, active=active)
        for row, one in enumerate(single):
            if not active[row]:
                assert kinds[row] is None and (logits[row] == rows[row][1]).all()
                continue
            width = 30 if row == 1 else None
            expected = rows[row][1][:width].copy()
            assert kinds[row] == one.apply(rows[row][0][:width].copy(), expected)
            assert (logits[row][:width] == expected).all() and (logits[1, 30:] == -np.inf).all()
            one.push(step)
        batch.push([step] * 3, active=active)
    assert batch.masks == [one.mask for one in single] and len(batch) == 3
    assert batch.channels == [None] * 3


def test_a_draw_inverts_the_cumulative_distribution(key):
    rng = np.random.default_rng(5)
    drawing, applying = Marker(key).start([]), Marker(key).start([])
    for step in range(20):
        tokens, logits = candidates(rng)
        logits[3] = -np.inf
        before = logits.copy()
        u = float(rng.random())
        drawn = drawing.draw(tokens, logits, u)
        assert (logits == before).all() and len(drawing) == step
        applying.apply(tokens, logits)
        p = np.exp(logits.astype(np.float64))
        assert drawn == tokens[np.searchsorted(np.cumsum(p / p.sum()), u, side="right")]
        drawing.push(drawn)
        applying.push(drawn)
    assert drawing.mask == applying.mask and sum(drawing.mask) == 16
    for u in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"u: expected a number of \[0, 1\)"):
            drawing.draw(tokens, logits, u)


def test_channels_are_chosen_by_random_numbers():
    marker = Marker(Key.generate("balanced"))
    assert marker.start([], random=0).channel == 0 and marker.start([], random=2**64 - 1).channel == 15
    assert {marker.start([]).channel for _ in range(200)} == set(range(16))
    assert marker.start_batch([[], []], random=[0, 2**63]).channels == [0, 8]
    # A seed decides together with the key and the prompt.
    number = marker.random([2, 5], seed=7)
    assert number == marker.random([2, 5], seed=7, number=0)
    others = {
        marker.random([2, 6], seed=7),
        marker.random([2, 5], seed=7, number=1),
        marker.random([2, 5], seed=8),
    }
    assert len({number, *others, Marker(Key.generate("balanced")).random([2, 5], seed=7)}) == 5
    with pytest.raises(ValueError, match="as many numbers as prompts, 2, found 1"):
        marker.start_batch([[], []], random=[0])


def test_views_of_other_arrays_are_changed_in_place(key):
    rng = np.random.default_rng(4)
    marking = Marker(key).start([])
    for token in (1, 2, 3, 4):
        marking.push(token)
    matrix = rng.normal(size=(2, 40)).astype(np.float32)
    other = matrix[0].copy()
    marking.apply(np.arange(40, dtype=np.uint32), matrix[1])
    assert (matrix[0] == other).all() and abs(np.exp(matrix[1].astype(np.float64)).sum() - 1) < 1e-6


TOKENS, LOGITS = np.arange(3, dtype=np.uint32), np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("tokens", "logits", "kind", "message"),
    [
        (TOKENS.astype(np.int64), LOGITS, TypeError, r"tokens: .* uint32 in one dimension, found int64"),
        (TOKENS, LOGITS.astype(np.float64), TypeError, r"logits: .* float32 in one dimension, found float64"),
        (TOKENS, LOGITS.astype(np.float16), TypeError, "found float16"),
        ([1, 2, 3], LOGITS, TypeError, "found list"),
        (TOKENS, LOGITS.reshape(1, 3), TypeError, r"found float32 in the shape \(1, 3\)"),
        (TOKENS, np.zeros(4, np.float32), ValueError, "as many as tokens, 3, found 4"),
        (TOKENS, np.zeros(6, np.float32)[::2], ValueError, "logits: expected an array in C order"),
        (np.arange(6, dtype=np.uint32)[::2], LOGITS, ValueError, "tokens: expected an array in C order"),
        (TOKENS, np.array([0, np.nan, 0], np.float32), Error, "candidate 1 has the weight NaN"),
        (TOKENS, np.array([0, np.inf, 0], np.float32), Error, "candidate 1 has the weight inf"),
        (TOKENS, np.full(3, -np.inf, np.float32), Error, "all candidates have probability 0"),
        (TOKENS[:0], LOGITS[:0], Error, "at least one candidate"),
    ],
)
def test_arrays_are_checked(key, tokens, logits, kind, message):
    with pytest.raises(kind, match=message):
        Marker(key).start([]).apply(tokens, logits)


def test_read_only_logits_are_refused(key):
    logits = np.zeros(3, np.float32)
    logits.flags.writeable = False
    with pytest.raises(ValueError, match="can be written"):
        Marker(key).start([]).apply(TOKENS, logits)


def test_batches_are_checked(key):
    batch = Marker(key).start_batch([[], []])
    for tokens, logits, message in [
        (np.zeros((3, 2), np.uint32), np.zeros((3, 2), np.float32), "expected 2 rows"),
        (np.zeros((2, 2), np.uint32), np.zeros((2, 3), np.float32), "as many candidates"),
    ]:
        with pytest.raises(ValueError, match=message):
            batch.apply(tokens, logits)
    with pytest.raises(ValueError, match="active: expected 2 rows, found 1"):
        batch.push([1, 2], active=[True])
    with pytest.raises(ValueError, match="one for each of 2 rows, found 3"):
        batch.push([1, 2, 3])
    tokens, logits = np.zeros((2, 1), np.uint32), np.array([[0], [np.nan]], np.float32)
    with pytest.raises(Error, match="row 1: candidate 0"):
        batch.apply(tokens, logits)


def test_a_match_has_two_competitors_or_more(key):
    with pytest.raises(Error, match="found 1"):
        Marker(key, leaves=1)
    for context, message in [([1], "expected 4 to 4 tokens, found 1"), ([1, 2, 3, 4, 5], "found 5")]:
        with pytest.raises(Error, match=message):
            Marker(key).g_values(context, [1])
    with pytest.raises(Error, match="channel: expected one below 1, found 1"):
        Marker(key).g_values([1, 2, 3, 4], [1], channel=1)
    assert (
        "7" * 9 not in repr(Marker(key)) and key.id in repr(Marker(key)) and Marker(key, leaves=3).key == key
    )
