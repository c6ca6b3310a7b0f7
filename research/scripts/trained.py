"""Checks that transformers loads a directory that `wmgen train` wrote, and computes the same.

Usage: python trained.py WMGEN MODEL TEXT
  WMGEN  the program
  MODEL  the directory that `wmgen train` wrote
  TEXT   a text file; its first tokens, up to the model's context, are scored

Prints the largest difference between the log-probabilities of the text's tokens here and in `wmgen perplexity`, and
fails above 1e-4. The ids must be those of the model's own tokenizer in both.
"""

import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    program, path, text = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    tokenizer = AutoTokenizer.from_pretrained(path)
    with open(text, encoding="utf-8") as file:
        ids = tokenizer(file.read(20_000))["input_ids"][: model.config.max_position_embeddings]
    assert ids[0] == tokenizer.bos_token_id and ids[1] != tokenizer.bos_token_id
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    want = torch.log_softmax(logits.double(), -1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]

    command = [program, "perplexity", "-", "--tokens", "--json", "--model", path]
    result = subprocess.run(command, input=json.dumps(ids), capture_output=True, text=True, check=True)
    got = torch.tensor(json.loads(result.stdout)["token_logprobs"], dtype=torch.float64)
    difference = (got - want).abs().max().item()
    print(f"{len(ids)} tokens, mean {-want.mean():.4f} nats; largest difference {difference:.2e}")
    assert difference < 1e-4

    # The tokenizer's own round trip, and ours by way of the program's text input.
    with open(text, encoding="utf-8") as file:
        part = file.read(2000)
    assert tokenizer.decode(tokenizer(part, add_special_tokens=False)["input_ids"]) == part
    command = [program, "perplexity", "-", "--json", "--model", path]
    result = subprocess.run(command, input=part[:800], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["tokens"] == len(tokenizer(part[:800], add_special_tokens=False)["input_ids"])


main()
