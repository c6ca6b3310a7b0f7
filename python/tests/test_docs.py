"""Runs what the guide and the examples say."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import ROOT

GUIDE = ROOT / "docs" / "guide" / "python.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GIVES = re.compile(r"^(?P<expression>\S.*?)\s+# → (?P<value>.*)$")
# Shell blocks that .ci/python does, or that need what is not here.
NOT_RUN = ("pip install maturin", "vllm serve", "ENGINES=1", "speed.py")


def run(block, names):
    """Runs a block, and holds each line with an arrow to what it gives."""
    pending = []
    for line in block.splitlines():
        gives = GIVES.match(line)
        if not gives:
            pending.append(line)
            continue
        exec("\n".join(pending), names)
        pending = []
        assert repr(eval(gives["expression"], names)) == gives["value"], line
    exec("\n".join(pending), names)


@pytest.mark.filterwarnings("ignore")
def test_the_guide(tmp_path, monkeypatch):
    for package in ("numpy", "polars", "pyarrow"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "detector").symlink_to(ROOT / "detector")
    names, ran = {}, 0
    for language, block in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        if language == "sh":
            if not any(word in block for word in NOT_RUN):
                subprocess.run(["bash", "-ec", block], check=True)
                ran += 1
        elif language == "python":
            if "import torch" in block and "torch" not in available():
                continue
            run(block, names)
            ran += 1
        else:
            raise AssertionError(f"a block of the language {language!r}")
    assert ran >= 10 and names["report"].watermarked


def available():
    """Returns which engines are installed."""
    import importlib.util

    return [name for name in ("torch", "transformers") if importlib.util.find_spec(name)]


def test_the_runner_of_the_guide_notices(tmp_path):
    run("x = 1\nx + 1    # → 2\n", {})
    with pytest.raises(AssertionError):
        run("x = 1\nx + 1  # → 3\n", {})
    with pytest.raises(NameError):
        run("x + 1", {})


@pytest.mark.parametrize("name", ["verdict.py", "mark_any_sampler.py"])
def test_examples(name, key_file, tmp_path):
    pytest.importorskip("numpy")
    script = ROOT / "python" / "examples" / name
    arguments = [key_file, ROOT / "detector" / "examples" / "marked.txt"] if name == "verdict.py" else []
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.startswith("watermarked 4.0" if arguments else "19") and done.stderr == ""
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith(('"""', "#"))]
    assert name != "verdict.py" or len(lines) <= 10
    assert os.listdir(tmp_path) in (["k.bin"], [])


def test_the_guide_names_what_there_is():
    text = pathlib.Path(GUIDE).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (GUIDE.parent / target).exists(), target
