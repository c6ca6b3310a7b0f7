"""What the tests share."""

import os
import pathlib
import subprocess

import pytest

import wmdetect

ROOT = pathlib.Path(__file__).resolve().parents[2]
MARKED = ROOT / "detector" / "examples" / "marked.txt"
SECRET = bytes([7] * 32)


@pytest.fixture
def key_file(tmp_path):
    """Returns the path of the key that marked `MARKED`."""
    path = tmp_path / "k.bin"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def key(key_file):
    """Returns that key."""
    return wmdetect.Key.read(key_file)


@pytest.fixture(scope="session")
def tokenizer():
    """Returns the tokenizer of `MARKED`."""
    return wmdetect.Tokenizer.default()


@pytest.fixture
def detector(key, tokenizer):
    """Returns a detector for both."""
    return wmdetect.Detector(key, tokenizer)


@pytest.fixture(scope="session")
def marked():
    """Returns a marked text."""
    return MARKED.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def program():
    """Returns how to run the program `wmdetect`, where it was built."""
    path = pathlib.Path(os.environ.get("WMDETECT_PROGRAM", ROOT / "target" / "debug" / "wmdetect"))
    if not path.exists():
        if "WMDETECT_PROGRAM" in os.environ:
            raise FileNotFoundError(path)
        pytest.skip(f"{path} was not built")

    def run(*arguments, **options):
        done = subprocess.run([path, *map(str, arguments)], capture_output=True, check=True, **options)
        return done.stdout.decode()

    return run
