"""Columns of texts in Spark, Ray, DuckDB and Polars. Runs where these are installed, as `.ci/cluster` does."""

import json
import os
import pathlib
import re
import signal
import sys
import threading
import time

import pytest

import wmdetect

pytest.importorskip("pyspark")
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

import wmdetect.spark

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guide" / "spark.md"
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def spark():
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Tasks that fail are tried four times, as on a cluster.
    builder = SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "100").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def texts(marked):
    """Returns texts of which every third is marked, and one that is missing."""
    words, plain = marked.split(), GUIDE.read_text(encoding="utf-8").split()
    rows = []
    for i in range(600):
        source = words if i % 3 == 0 else plain
        text = " ".join(source[i % 40 : i % 40 + 120])
        rows.append({"id": i, "text": None if i == 100 else text})
    return rows


def program_rows(program, key_file, rows, tmp_path):
    """Returns what `wmdetect score` says of the rows that have a text, by id."""
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows if row["text"] is not None))
    found = program("score", "--jsonl", lines, "--json", "--key", key_file).splitlines()
    return {int(row["input"]): row for row in map(json.loads, found)}


def test_verdicts_are_the_programs_row_by_row(spark, program, key_file, texts, tmp_path):
    frame = spark.createDataFrame(
        [(row["id"], row["text"]) for row in texts], "id int, text string"
    ).repartition(4)
    scored = wmdetect.spark.score(frame, key_file, "default").collect()
    expected = program_rows(program, key_file, texts, tmp_path)
    assert len(scored) == len(texts) and len(expected) == len(texts) - 1
    assert {row["verdict"] for row in expected.values()} >= {"watermarked", "not_detected"}
    for row in scored:
        if row["id"] == 100:
            assert row["verdict"] is None and "expected" in row["error"]
            continue
        of_program = expected[row["id"]]
        for name in ("verdict", "p_value", "log10_p", "p_kind", "key_id", "score", "tokens", "scored_tokens"):
            assert row[name] == of_program[name], (row["id"], name)
        for name in ("effective_tokens", "required_tokens"):
            assert row[name] == of_program.get(name), (row["id"], name)
        assert row["error"] is None


def test_a_killed_worker_is_replaced(spark, key_file, texts):
    rows = [(row["id"], row["text"]) for row in texts] * 60
    frame = spark.createDataFrame(rows, "id int, text string").repartition(8)
    killed = []

    def kill_one():
        for _ in range(600):
            for pid in workers():
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    return
                except ProcessLookupError:
                    pass
            time.sleep(0.05)

    thread = threading.Thread(target=kill_one)
    thread.start()
    counts = wmdetect.spark.score(frame, key_file, "default", columns=("verdict",)).groupBy("verdict").count()
    found = {row["verdict"]: row["count"] for row in counts.collect()}
    thread.join()
    assert killed, "the test has killed a worker"
    assert sum(found.values()) == len(rows) and found["watermarked"] == 60 * 200


def workers():
    """Returns the processes that compute for Spark: children of its daemon."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            if entry.name.isdigit() and b"pyspark.daemon" in command:
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
                if b"pyspark.daemon" in pathlib.Path("/proc", parent, "cmdline").read_bytes():
                    found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found


def test_what_cannot_be_added_is_refused_before_the_job(spark, key_file):
    frame = spark.createDataFrame([(1, "a text")], "verdict int, text string")
    with pytest.raises(wmdetect.Error, match="found 'words'"):
        wmdetect.spark.score(frame, key_file, "default", column="words")
    with pytest.raises(wmdetect.Error, match="found 'verdict' in it"):
        wmdetect.spark.score(frame, key_file, "default")
    with pytest.raises(wmdetect.Error, match="found 'p'"):
        wmdetect.spark.score(frame, key_file, "default", columns=("p",))
    scored = wmdetect.spark.score(frame, key_file, "default", columns=("verdict",), prefix="wm_")
    assert scored.columns == ["verdict", "text", "wm_verdict"]
    assert scored.collect()[0]["wm_verdict"] == "too_short"


def test_every_block_of_the_guide_runs(spark, key_file, texts, tmp_path, monkeypatch):
    for module in ("duckdb", "polars", "ray"):
        pytest.importorskip(module)
    import ray

    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.Table.from_pylist(texts), "texts.parquet")
    # The reader and the actor need one each, or they wait for each other.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 5
    names = {}
    for block in blocks:
        # Spark's own process keeps the directory that it was started in.
        block = block.replace('"/etc/wmdetect/k.bin"', repr(str(key_file)))
        block = block.replace('addFile("k.bin")', f"addFile({str(key_file)!r})")
        block = re.sub(r'parquet\("([^"]*)"\)', lambda path: f"parquet({str(tmp_path / path[1])!r})", block)
        exec(block, names)
        if "addFile" in block:
            assert names["verdicts"].where("verdict = 'watermarked'").count() == 200
    ray.shutdown()
    assert pq.read_table("verdicts.parquet").num_rows == len(texts)
    assert pq.read_table("ray-verdicts").column("verdict").to_pylist().count("watermarked") == 200
    assert names["found"].read_all().num_rows == 200
    assert names["verdicts"]["verdict"].to_list().count("watermarked") == 200
