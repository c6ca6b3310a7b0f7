"""From a file to a verdict: `python verdict.py k.bin essay.txt [tokenizer.json]`."""

import pathlib
import sys

import wmdetect

key, file, *tokenizer = sys.argv[1:]
detector = wmdetect.Detector(key, *tokenizer or [wmdetect.Tokenizer.default()])
report = detector.score(pathlib.Path(file).read_bytes())
print(report.verdict, report.p_value)
