"""Keys of other engines: the package reads their marks as the program does, and writes none."""

import json
import pickle
import warnings

import pytest
from conftest import ROOT

from wmdetect import Detector, Error, Key, Keyring, Marker

FIXTURES = ROOT / "detector" / "tests" / "fixtures" / "engines"
SCHEMES = {path.stem: json.loads(path.read_text())["sets"][0] for path in FIXTURES.glob("*.json")}


def imported(scheme, directory):
    """Returns the first key of a scheme's fixture, in a file, and a marked text of it as token ids."""
    config = SCHEMES[scheme]["config"]
    vocab_size = config.get("vocab_size")
    path = directory / "config.json"
    path.write_text(json.dumps({name: value for name, value in config.items() if name != "vocab_size"}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        key = Key.import_json(path, scheme, vocab_size=vocab_size)
    key.write(directory / f"{scheme}.bin", overwrite=True)
    return key, [row["ids"] for row in SCHEMES[scheme]["rows"] if row["marked"]][-1]


def test_there_is_a_fixture_of_each():
    assert len(SCHEMES) == 8


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_reports_are_those_of_the_program(scheme, program, tmp_path):
    key, ids = imported(scheme, tmp_path)
    assert (key.scheme, key.depth, key.channels) == (scheme, None, 1)
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    detector = Detector(key)
    report = detector.score(ids)
    usual = "gumbel" if scheme == "textseal" or "gumbel" in scheme else "green_list"
    assert report.detector == usual and report.p_value < 0.02 and detector.method is None
    for question, answer in [("score", report), ("segments", detector.segments(ids))]:
        expected = program(
            question, "--tokens", "--json", "--key", key.path, tmp_path / "ids.json", cwd=tmp_path
        )
        assert answer.to_json(str(tmp_path / "ids.json")) + "\n" == expected
    again = pickle.loads(pickle.dumps(detector))
    assert again.score(ids) == report and again.method is None
    assert len(detector.explain(ids).tokens) == len(ids)
    assert detector.g_values(ids)["mask"].count("1") == report.scored_tokens
    assert detector.calibrate([ids], random_keys=9, seed=1).detector == usual


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_they_mark_nothing(scheme, tmp_path):
    key, _ = imported(scheme, tmp_path)
    with pytest.raises(Error, match=f"expected the key of a tournament .* found one of {scheme},"):
        Marker(key)


def test_one_ring_holds_several_families(tmp_path):
    vllm, ids = imported("vllm-gumbel", tmp_path)
    sglang, _ = imported("sglang-gumbel", tmp_path)
    ours = Key.generate("robust")
    ring = Detector(Keyring([ours, sglang, vllm]))
    assert ring.score(ids).key_id == vllm.id
    assert [key.key_id for key in ring.attribute(ids).keys] == [vllm.id]


def test_a_method_must_fit_the_key(tmp_path):
    key, _ = imported("vllm-gumbel", tmp_path)
    with pytest.raises(Error, match=r"weighted_mean expects g-bits .* found uniform numbers"):
        Detector(key, method="weighted_mean")


def test_lists_need_the_size_of_the_vocabulary(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"hashing_key": 15485863, "seeding_scheme": "lefthash"}))
    with pytest.raises(Error, match="vocab_size"):
        Key.import_json(path, "kgw-hf")
