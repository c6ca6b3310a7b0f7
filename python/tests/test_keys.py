"""Keys, keyrings and tokenizers."""

import json
import os
import pickle

import pytest
from conftest import SECRET

import wmdetect
from wmdetect import Error, FileError, Key, Keyring, Tokenizer


def test_a_key_is_written_and_read_again(tmp_path):
    key = Key.generate("robust", channels=8)
    key.write(tmp_path / "k.bin")
    assert os.stat(tmp_path / "k.bin").st_mode & 0o777 == 0o600
    again = Key.read(tmp_path / "k.bin")
    assert again == key and hash(again) == hash(key) and again != Key.generate()
    assert (again.scheme, again.channels, again.depth) == ("synthid-sha256-v2", 8, 30)
    with pytest.raises(FileError, match="overwrite=True"):
        Key.generate().write(tmp_path / "k.bin")
    Key.generate().write(tmp_path / "k.bin", overwrite=True)
    assert Key.read(tmp_path / "k.bin") != key


def test_presets_have_their_schemes():
    assert Key.generate("secret").scheme == "synthid-sha256"
    with pytest.raises(Error, match=r"robust, balanced or secret, found \"strong\""):
        Key.generate("strong")
    with pytest.raises(Error, match="depth"):
        Key.generate(depth=65)


def test_a_derived_key_has_its_label(key):
    acme = key.derive("acme")
    assert (acme.label, acme.derive("2026").label) == ("acme", "acme/2026")
    assert acme != key and acme == key.derive("acme")


def test_a_bound_key_is_refused_with_another_tokenizer(key, tokenizer):
    bound = key.bind(tokenizer)
    assert bound == key and bound.tokenizer == tokenizer.name and key.tokenizer is None
    other = Tokenizer.from_json(
        json.dumps(
            {
                "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
                "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
            }
        ),
        "tiny",
    )
    with pytest.raises(Error, match="tiny"):
        wmdetect.Detector(bound, other)
    assert wmdetect.Detector(bound, tokenizer).score("x").warnings == []


def test_files_that_are_not_keys(tmp_path):
    with pytest.raises(FileError, match="no/such") as missing:
        Key.read("no/such")
    assert isinstance(missing.value, OSError) and isinstance(missing.value, ValueError)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Error, match="text"):
        Key.read(tmp_path / "text")
    with pytest.raises(FileError):
        Key.read(tmp_path)
    with pytest.raises(FileError):
        Keyring.open(tmp_path / "none")
    with pytest.raises(Error, match="no key"):
        Keyring([])


def test_a_key_that_others_can_read_is_a_warning(key_file):
    key_file.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"):
        Key.read(key_file)


def test_no_secret_is_shown(key, key_file, tmp_path):
    key.write(tmp_path / "container.bin")
    detector = wmdetect.Detector(key, Tokenizer.default())
    shown = [
        repr(key),
        str(key),
        repr(detector),
        repr(Keyring([key])),
        repr(key.__reduce__()),
        str(vars(type(key))),
    ]
    pickles = [pickle.dumps(key), pickle.dumps(detector), pickle.dumps(Keyring([key]))]
    for text in shown:
        assert SECRET.hex() not in text and "\\x07\\x07" not in text and "7, 7" not in text
    for data in pickles:
        assert SECRET[:8] not in data and SECRET.hex().encode() not in data


def test_pickles_go_by_path(key, key_file, tokenizer, marked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = Key.read("k.bin")
    detector = wmdetect.Detector(relative, tokenizer, fpr=1e-6, method="mean", normalise=False)
    data = pickle.dumps(detector)
    monkeypatch.chdir("/")
    again = pickle.loads(data)
    assert again.score(marked) == detector.score(marked)
    assert (again.fpr, again.method) == (1e-6, "mean")
    # Another key in its place is noticed.
    Key.generate().write(key_file, overwrite=True)
    with pytest.raises(Error, match=f"expected {key.id}"):
        pickle.loads(data)


def test_a_key_in_memory_is_not_pickled():
    with pytest.raises(TypeError, match="write it to a file first"):
        pickle.dumps(Key.generate())


def test_rings(key, tmp_path, tokenizer, marked):
    (tmp_path / "ring").mkdir()
    for name, one in (("a.bin", key.bind(tokenizer)), ("b.bin", Key.generate(tokenizer=tokenizer))):
        one.write(tmp_path / "ring" / name)
    ring = Keyring.open(tmp_path / "ring")
    assert len(ring) == 2 and key.id in ring.key_ids
    for again in (ring, pickle.loads(pickle.dumps(ring)), tmp_path / "ring", str(tmp_path / "ring")):
        found = wmdetect.Detector(again, tokenizer).attribute(marked)
        assert [(one.key_id, one.name) for one in found.keys] == [(key.id, "a.bin")]
        assert found.keys_tried == 2 and found.runner_up is not None
    tenants = Keyring.derived(key, ["acme", "globex"])
    assert (
        pickle.loads(pickle.dumps(tenants)).key_ids
        == tenants.key_ids
        == [key.derive(label).id for label in ("acme", "globex")]
    )


def test_the_environment_names_a_key(key, key_file, monkeypatch):
    monkeypatch.delenv("WMDETECT_KEY", raising=False)
    with pytest.raises(Error, match="WMDETECT_KEY"):
        wmdetect.Detector()
    monkeypatch.setenv("WMDETECT_KEY", str(key_file))
    assert wmdetect.Detector().key_ids == [(key.id, None)]


def test_a_tokenizer_cuts_and_joins(tokenizer, marked):
    ids = tokenizer.encode(marked)
    assert tokenizer.decode(ids) == marked and max(ids) < tokenizer.vocab_size == 6144
    assert pickle.loads(pickle.dumps(tokenizer)).fingerprint == tokenizer.fingerprint
    with pytest.raises(FileError, match=r"none\.json"):
        Tokenizer.open("none.json")
