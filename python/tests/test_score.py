"""One text."""

import html
import json
import pickle
import re
import threading
import time

import numpy as np
import pytest
from conftest import MARKED

import wmdetect
from wmdetect import Detector, Error, Key, Report


def test_a_marked_text_is_found(detector, marked):
    report = detector.score(marked)
    assert report.verdict == "watermarked" and report.watermarked and report.strength == "very_strong"
    assert report.p_value < 1e-60 and report.scored_tokens == 88
    assert report.scores.weighted_mean == report.score
    assert report.spans[0].tokens == (0, 90) and report.warning_codes == ["unbound_key"]
    assert len(report.warnings) == 1
    plain = detector.score("The quick brown fox jumps over the lazy dog. " * 3)
    assert (plain.verdict, plain.spans, plain.strength) == ("too_short", [], None)


def test_json_is_that_of_the_program(detector, key_file, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "odd.txt"
    odd.write_bytes(MARKED.read_bytes().replace(b" ", b"\xc2\xa0", 3) + b"\xff \xe2\x80\x9cq\xe2\x80\x9d")
    for path in (MARKED, odd):
        expected = program("score", "--json", "--key", key_file, path)
        report = detector.score(path.read_bytes())
        assert report.to_json(str(path)) + "\n" == expected
        assert report.to_dict(str(path)) == json.loads(expected)
        assert Report.from_json(expected) == report
        expected = program("segments", "--json", "--key", key_file, path)
        assert detector.segments(path.read_bytes()).to_json(str(path)) + "\n" == expected
    assert report.normalisation["invalid_utf8"] == 1 and "invalid_utf8" in report.warning_codes


def test_ids_come_in_many_forms(detector, tokenizer, marked):
    pa = pytest.importorskip("pyarrow")
    ids = tokenizer.encode(marked)
    expected = detector.score(ids)
    assert expected.tokenizer is None and expected.score == detector.score(marked).score
    forms = [tuple(ids), iter(ids), np.array(ids), pa.array(ids), pa.array(ids, pa.uint32())]
    forms += [np.array(ids, dtype) for dtype in ("u4", "i4", "u8", "u2", "i2")]
    forms += [np.repeat(np.array(ids), 2)[::2]]
    for form in forms:
        assert detector.score(form) == expected, type(form)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (None, TypeError, "found NoneType"),
        (5, TypeError, "found int"),
        (["a"], TypeError, "found 'a' at position 0"),
        ([1, -1], TypeError, "found -1 at position 1"),
        ([2**32], TypeError, "4294967296"),
        (np.array([1.0, 2.0]), TypeError, "found dtype float64"),
        (np.zeros((2, 2), int), TypeError, "in 2 dimensions"),
        (np.array([-5]), ValueError, "found -5"),
        ("\ud800", ValueError, "surrogate"),
    ],
)
def test_what_is_not_a_text(detector, text, kind, message):
    with pytest.raises(kind, match=message):
        detector.score(text)


def test_options_are_checked(key, tokenizer):
    for options, message in [
        ({"fpr": 0.0}, "between 0 and 1"),
        ({"method": "median"}, 'found "median"'),
        ({"ignore": "no/such"}, "no/such"),
    ]:
        with pytest.raises(Error, match=message):
            Detector(key, tokenizer, **options)
    with pytest.raises(Error, match="has the channels 0 to 15, found channel 16"):
        Detector(Key.generate(), channel=16)
    with pytest.raises(TypeError, match="found int"):
        Detector(5)
    with pytest.raises(TypeError, match="tokenizer: expected a Tokenizer or a path, found int"):
        Detector(key, 5)


def test_a_text_needs_a_tokenizer(key):
    with pytest.raises(Error, match=r"found text\nhint: make the detector with tokenizer="):
        Detector(key).score("text")


def test_methods_decide(key, tokenizer, marked):
    for method in ("weighted_mean", "mean", "llr", "bayesian"):
        report = Detector(key, tokenizer, method=method).score(marked)
        assert report.detector == method and report.watermarked
    assert report.scores.bayesian > 0.99 and report.scores.llr is None


def test_a_prompt_takes_its_contexts(detector, tokenizer, marked):
    ids = tokenizer.encode(marked)
    prompt, rest = ids[:40], ids[40:]
    alone = detector.score(rest)
    after = detector.score(rest, prompt)
    # The text is the prompt's answer: contexts that the prompt has do not count.
    assert detector.score(ids, prompt=marked).scored_tokens == 0
    assert after.tokens == alone.tokens
    with pytest.raises(TypeError, match="the prompt"):
        detector.score(rest, b"bytes")


def test_normalise_is_an_option(key, tokenizer, marked):
    hidden = marked.replace(" ", " \u200b")
    found = Detector(key, tokenizer).score(hidden)
    assert found.watermarked and found.normalisation["zero_width"] == hidden.count("\u200b")
    assert not Detector(key, tokenizer, normalise=False).score(hidden).watermarked


def test_another_rate_shares_the_rest(detector, marked):
    strict = detector.with_fpr(1e-70)
    assert not strict.score(marked).watermarked and strict.fpr == 1e-70 and detector.fpr == 1e-3
    with pytest.raises(Error, match="between 0 and 1"):
        detector.with_fpr(2)


def test_explanations_add_up(detector, marked):
    explanation = detector.explain(marked)
    assert explanation.report == detector.score(marked)
    data = marked.encode()
    assert b"".join(data[slice(*token.bytes)] for token in explanation.tokens) == data
    counting = [token for token in explanation.tokens if token.evidence is not None]
    assert len(counting) == explanation.report.scored_tokens
    assert sum(token.evidence for token in counting) > 50
    assert sum(token.in_span for token in explanation.tokens) == 90


def test_notebooks_draw_reports(detector, key, tokenizer, marked):
    hostile = marked + "<script>alert(1)</script>"
    for drawn in (detector.explain(hostile), detector.segments(hostile), detector.score(hostile)):
        frame = drawn._repr_html_()
        assert frame.startswith("<iframe sandbox srcdoc=") and frame.count('"') == 6
        page = html.unescape(frame.split('"')[1])
        assert page.startswith("<!DOCTYPE html>") and "<script" not in page
        shown = re.sub("<[^>]*>", "", page)
        assert ("&lt;script&gt;" in shown) == isinstance(
            drawn, wmdetect.Explanation | wmdetect.SegmentsReport
        )
    attribution = Detector([key, Key.generate()], tokenizer).attribute(marked)
    assert attribution._repr_html_().startswith("<pre>text: marked with one of the keys")
    assert "This text carries the mark" in detector.score(marked)._repr_html_()
    assert detector.explain(marked).to_html().startswith("<!DOCTYPE html>")
    batch = detector.score_batch([marked, None, "x"])._repr_html_()
    assert batch.count("<tr>") == 4 and "watermarked" in batch


def test_reports_are_values(detector, marked):
    for question in ("score", "segments", "attribute"):
        report = getattr(detector, question)(marked)
        assert pickle.loads(pickle.dumps(report)) == report
        assert type(report).from_json(report.to_dict()) == report
        with pytest.raises(AttributeError):
            report.tokens = 5
    assert "watermarked" in repr(detector.score(marked)) and "p = " in str(detector.score(marked))
    with pytest.raises(Error, match="not that of a report on a text"):
        Report.from_json('{"scheme": 5}')
    with pytest.raises(Error, match="not that of"):
        Report.from_json("{")


def test_the_interpreter_is_free_meanwhile(key, tokenizer, marked):
    detector = Detector(key, tokenizer)
    texts = [marked * 30] * 3000
    ticks = []
    running = threading.Event()

    def tick():
        while not running.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        begin = time.perf_counter()
        detector.score_batch(texts, threads=1)
        end = time.perf_counter()
    finally:
        running.set()
        thread.join()
    during = [at for at in ticks if begin < at < end]
    assert end - begin > 0.1, "the batch is too short to tell"
    assert len(during) > 5


def test_calibration_ranks_the_key(detector, tokenizer):
    words = "the of and to in is you that it he was for on are as with his they at be".split()
    texts = [
        " ".join(words[(i * 7 + j * j) % 20] for j in range(150))
        + " Kind regards, the whole big team of ours."
        for i in range(40)
    ]
    report = detector.calibrate([*texts, None], random_keys=99, seed=5)
    assert (report.documents, report.failed, report.random_keys, report.seed) == (40, 1, 99, 5)
    assert 0 < report.rank_p <= 1 and not report.worse_than_chance and len(report.random_flagged) == 99
    assert report.rank_p == (1 + report.keys_at_least) / 100
    assert sum(bucket.documents for bucket in report.buckets) == 40 and report.rate.expected <= 1e-3
    assert any("regards" in passage.text for passage in report.shared_passages)
    assert report == detector.calibrate([*texts, None], random_keys=99, seed=5)
    assert pickle.loads(pickle.dumps(report)) == report and "srcdoc" in report._repr_html_()
    with pytest.raises(Error, match="none that can be read"):
        detector.calibrate([None])
    with pytest.raises(Error, match="found a keyring"):
        Detector([Key.generate(), Key.generate()], tokenizer).calibrate(texts)


def test_g_values_are_those_of_the_program(detector, program, tokenizer, marked, key_file, tmp_path):
    ids = tokenizer.encode(marked)
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    expected = json.loads(program("gvalues", "--tokens", "--json", "--key", key_file, tmp_path / "ids.json"))
    values = detector.g_values(ids)
    assert values["g_bits"] == expected["g_bits"] and values["mask"] == expected["mask"]
    assert values["mask"].count("1") == detector.score(ids).scored_tokens
    assert detector.tokens(marked) == ids


def test_the_version_is_that_of_the_detector():
    assert wmdetect.__version__.count(".") == 2
