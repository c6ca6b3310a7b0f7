"""A column of many documents in Spark beside the program, with a worker that is killed in the middle.

Usage: python spark_run.py DOCS.jsonl KEY WMDETECT [--kill-after SECONDS]
  DOCS      documents with the fields `id` and `text`
  KEY       a key file
  WMDETECT  the program

Needs the wheel of the Python package, pyspark, pyarrow and pandas (`python/tests/requirements-cluster.txt`) and Java. The documents go
into a Parquet file of eight row groups, Spark scores it with two local workers, and one of them is killed. Every row must be the
program's, or it fails.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

import wmdetect.spark

NAMES = ("verdict", "p_value", "log10_p", "p_kind", "key_id", "scheme", "detector", "score", "tokens", "scored_tokens")


def workers():
    """Returns the processes that compute for Spark: children of its daemon."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"pyspark.daemon" in (entry / "cmdline").read_bytes():
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
                if b"pyspark.daemon" in pathlib.Path("/proc", parent, "cmdline").read_bytes():
                    found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found


def kill_one(after, killed):
    """Kills a worker that has worked for a while."""
    while not workers():
        time.sleep(0.05)
    time.sleep(after)
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
        return


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("docs", "key", "program"):
        parser.add_argument(name)
    parser.add_argument("--kill-after", type=float, default=3.0)
    args = parser.parse_args()
    with open(args.docs) as lines:
        docs = [{"id": str(row["id"]), "text": row["text"]} for row in map(json.loads, lines)]
    key, program = os.path.abspath(args.key), os.path.abspath(args.program)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        pq.write_table(pa.Table.from_pylist(docs), "docs.parquet", row_group_size=-(-len(docs) // 8))
        pathlib.Path("docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
        began = time.monotonic()
        command = [program, "score", "--jsonl", "docs.jsonl", "--json", "--key", key]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        of_program = time.monotonic() - began
        expected = {row["input"]: row for row in map(json.loads, done.stdout.splitlines())}

        os.environ["PYSPARK_PYTHON"] = sys.executable
        began = time.monotonic()
        builder = SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false")
        spark = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "200").getOrCreate()
        spark.sparkContext.setLogLevel("ERROR")
        frame = spark.read.parquet(f"{directory}/docs.parquet").repartition(8)
        ready = time.monotonic()
        killed = []
        thread = threading.Thread(target=kill_one, args=(args.kill_after, killed))
        thread.start()
        found = wmdetect.spark.score(frame, key, "default").select("id", *NAMES, "error").collect()
        ended = time.monotonic()
        thread.join()
        spark.stop()
        os.chdir("/")
    if not killed:
        sys.exit("no worker was killed: expected the job to take longer than --kill-after")
    if len(found) != len(docs):
        sys.exit(f"expected {len(docs)} rows, found {len(found)}")
    for row in found:
        for name in NAMES:
            if row[name] != expected[row["id"]][name]:
                sys.exit(f"{row['id']}, {name}: expected {expected[row['id']][name]}, found {row[name]}")
    report = {
        "rows": len(found),
        "equal": True,
        "killed": len(killed),
        "seconds_of_job": round(ended - ready, 1),
        "seconds_with_start": round(ended - began, 1),
        "seconds_of_program": round(of_program, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
