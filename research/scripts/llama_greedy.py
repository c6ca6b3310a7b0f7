"""Greedy text of a GGUF file in llama.cpp and in `wmgen generate`.

Usage: python llama_greedy.py WMGEN MODEL.gguf PROMPTS.jsonl OUT.json [--prompts-used 20] [--tokens 60]

llama.cpp comes as the wheel `xllamacpp`; its caches are set to f32, flash attention is off. It gets the prompt's text to
tokenize, whose ids must be those of `wmgen`, and then the ids to go on from. Where the two texts part, the report has the gap between the two
tokens' log-probabilities in either program: a gap near 0 is a tie that rounding decides.
"""

import argparse
import json
import subprocess
import urllib.request
from importlib.metadata import version
from pathlib import Path

import xllamacpp


def server(path):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.n_parallel = 512, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = 0
    params.warmup = False
    return xllamacpp.Server(params)


def tokenize(llama, text):
    body = json.dumps({"content": text, "add_special": True}).encode()
    request = urllib.request.Request(llama.listening_address + "/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["tokens"]


def greedy(llama, ids, tokens):
    """For each position the likeliest tokens, best first, as (id, log-probability)."""
    request = {"prompt": ids, "n_predict": tokens, "temperature": 0, "n_probs": 20, "cache_prompt": False}
    answer = llama.handle_completions(request)
    return [[(top["id"], top["logprob"]) for top in at["top_logprobs"]]
            for at in answer["choices"][0]["logprobs"]["content"]]


def logprob(args, ids):
    """Of the last token, by wmgen."""
    command = [args.wmgen, "perplexity", "-", "--tokens", "--json", "--model", args.model, "--threads", "1"]
    result = subprocess.run(command, input=json.dumps(ids), capture_output=True, text=True, check=True)
    return json.loads(result.stdout)["token_logprobs"][-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("wmgen", "model", "prompts", "out"):
        parser.add_argument(name)
    parser.add_argument("--prompts-used", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=60)
    args = parser.parse_args()
    with open(args.prompts, encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    chosen = [lines[i * len(lines) // args.prompts_used] for i in range(args.prompts_used)]
    command = [args.wmgen, "generate", "--model", args.model, "--no-watermark", "--temperature", "0", "--json",
               "--max-tokens", str(args.tokens), "--prompts", "/dev/stdin", "--threads", "1"]
    result = subprocess.run(command, input="".join(chosen), capture_output=True, text=True, check=True)
    texts = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(texts) == len(chosen)

    llama = server(args.model)
    same_ids, parted, compared, farthest = 0, [], 0, 0.0
    for line, text in zip(chosen, texts):
        prompt = json.loads(line)["prompt"]
        same_ids += tokenize(llama, prompt) == text["prompt_tokens"]
        theirs, ours = greedy(llama, text["prompt_tokens"], args.tokens), text["tokens"]
        at = next((i for i, (t, o) in enumerate(zip(theirs, ours)) if t[0][0] != o), None)
        compared += len(ours) if at is None else at
        before = text["prompt_tokens"] + ours[: at or 0]
        farthest = max(farthest, abs(logprob(args, before + [theirs[at or 0][0][0]]) - theirs[at or 0][0][1]))
        if at is None:
            continue
        here, there = theirs[at], dict(theirs[at])
        parted.append({
            "prompt": prompt,
            "token": at,
            "llama_cpp": here[0][0],
            "wmgen": ours[at],
            "gap_llama_cpp": here[0][1] - there[ours[at]] if ours[at] in there else None,
            "gap_wmgen": logprob(args, before + [ours[at]]) - logprob(args, before + [here[0][0]]),
        })
    report = {
        "schema_version": 1,
        "model": Path(args.model).name,
        "xllamacpp": version("xllamacpp"),
        "prompts": len(chosen),
        "same_prompt_ids": same_ids,
        "same_texts": len(chosen) - len(parted),
        "tokens_before_parting": compared,
        "largest_difference_of_a_logprob": farthest,
        "parted": parted,
    }
    Path(args.out).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(report, ensure_ascii=False))


main()
