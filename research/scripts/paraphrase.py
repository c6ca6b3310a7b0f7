"""Paraphrases a text with a model behind OpenAI's API, for `wmdetect attack`.

Usage: python paraphrase.py < TEXT
       wmdetect attack ... --program "para=python research/scripts/paraphrase.py"

The environment says which model:
  OPENAI_BASE_URL  the API, such as http://127.0.0.1:8080/v1; the package's own default if it is not set
  OPENAI_API_KEY   the token; a local server takes any
  OPENAI_MODEL     the name of the model
  PARAPHRASE       the instruction, if not the one below
  WMDETECT_SEED    a number for the draws, which `wmdetect attack` sets; servers may ignore it

Prints the paraphrase. Needs the package `openai`.
"""

import os
import sys

from openai import OpenAI

INSTRUCTION = (
    "Paraphrase the text of the user. Keep its meaning, its language and about its length, and use other words and other "
    "sentences wherever you can. The text may end in the middle of a sentence; end there, too. Answer with the paraphrase alone."
)


def main() -> None:
    text = sys.stdin.buffer.read().decode("utf-8").rstrip("\n")
    model = os.environ.get("OPENAI_MODEL")
    if not model:
        sys.exit("no model: expected its name in the variable OPENAI_MODEL, found none")
    seed = os.environ.get("WMDETECT_SEED")
    # Tries again after an answer such as 429, and fails with the API's own message.
    client = OpenAI(max_retries=5, timeout=100)
    answer = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": os.environ.get("PARAPHRASE", INSTRUCTION)},
            {"role": "user", "content": text},
        ],
        temperature=1.0,
        **({"seed": int(seed)} if seed else {}),
    )
    choice = answer.choices[0]
    if choice.finish_reason != "stop":
        sys.exit(f"the answer is not whole: expected the finish reason stop, found {choice.finish_reason}")
    sys.stdout.buffer.write((choice.message.content or "").encode("utf-8"))


main()
