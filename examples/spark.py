"""From Parquet files to a table of verdicts and a calibration page, with Spark.

Usage: python examples/spark.py TEXTS.parquet KEY OUT [--human HUMAN.parquet] [--tokenizer default] [--column text]
  TEXTS  the texts to judge
  KEY    a key file, or a directory of key files, that all executors can read
  OUT    a directory for verdicts.parquet, and for calibration.html
  HUMAN  texts that the key has not marked; of some thousand of them the page shows how often the key finds a mark in them,
         beside 99 random keys

Needs the wheel of wmdetect (docs/guide/python.md says how to build it), `pip install pyspark pyarrow "pandas<3"` and Java.
"""

import argparse
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

import wmdetect
import wmdetect.spark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("texts", "key", "out"):
        parser.add_argument(name)
    parser.add_argument("--human")
    parser.add_argument("--tokenizer", default="default")
    parser.add_argument("--column", default="text")
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    # On this machine the workers are this Python, too.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.appName("wmdetect").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")

    texts = spark.read.parquet(args.texts)
    verdicts = wmdetect.spark.score(texts, os.path.abspath(args.key), args.tokenizer, column=args.column)
    verdicts.write.mode("overwrite").parquet(str(out / "verdicts.parquet"))

    judged = spark.read.parquet(str(out / "verdicts.parquet"))
    judged.groupBy("verdict").count().orderBy("verdict").show()
    judged.where("verdict = 'watermarked'").orderBy("p_value").select("p_value", args.column).show(5, truncate=60)

    if args.human:
        rows = spark.read.parquet(args.human).select(args.column).limit(5000).collect()
        tokenizer = wmdetect.Tokenizer.default() if args.tokenizer == "default" else args.tokenizer
        report = wmdetect.Detector(args.key, tokenizer).calibrate([row[0] for row in rows], random_keys=99, seed=1)
        page = f"<!doctype html><meta charset=utf-8><title>Calibration</title>{report._repr_html_()}"
        (out / "calibration.html").write_text(page, encoding="utf-8")
        print(f"{report.flagged} of {report.documents} texts without the mark were flagged; {out}/calibration.html has more")


if __name__ == "__main__":
    main()
