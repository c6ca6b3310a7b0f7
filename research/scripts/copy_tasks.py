"""Makes prompts whose answers repeat them, for `wmgen bench --draft prompt --prompts`.

Usage: python copy_tasks.py DOCS.jsonl OUT.jsonl [--count 24]

Each prompt is a text of DOCS (field `text`, English where there is a field `lang`) of 400 to 1,400 characters, and the beginning of its
corrected copy.
"""

import argparse
import json
import re
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("docs")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=24)
    args = parser.parse_args()
    prompts = []
    with open(args.docs) as lines:
        for line in lines:
            doc = json.loads(line)
            text = re.sub(r"\s+", " ", doc["text"]).strip()
            if doc.get("lang", "en") != "en" or not 400 < len(text) < 1400:
                continue
            start = " ".join(text.split()[:6])
            prompt = f"Original text:\n{text}\n\nThe same text with its spelling corrected:\n{start}"
            prompts.append({"id": f"copy-{len(prompts)}", "prompt": prompt})
            if len(prompts) == args.count:
                break
    Path(args.out).write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))


if __name__ == "__main__":
    main()
