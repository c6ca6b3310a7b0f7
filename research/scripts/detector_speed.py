"""Time of the detector of `transformers`: its tokenizer, g-values and masks, one document at a time.

    python detector_speed.py tokenizer.json text.txt [--sizes 1000,10000] [--documents 20]

Beside it: `cargo run --release -p wmgen-research --bin detector_speed -- tokenizer.json text.txt` on the same machine. What
is timed is what a caller of `SynthIDTextWatermarkLogitsProcessor` has to do for a score: encode, compute_g_values,
compute_context_repetition_mask, and the weighted mean over them; one thread (its processor time), no padding. Prints one JSON object a size.
"""

import argparse
import json
import statistics
import time

import torch
import transformers
from transformers import PreTrainedTokenizerFast
from transformers.generation.logits_process import SynthIDTextWatermarkLogitsProcessor

KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29, 590, 639, 13, 715, 468, 990, 966, 226, 324, 585, 118, 504, 421,
        521, 129, 669, 732, 225, 90, 960]


def weighted_mean(g_values, mask):
    depth = g_values.shape[-1]
    weights = torch.linspace(10, 1, depth)
    weights *= depth / weights.sum()
    scored = (g_values * weights).float() * mask.unsqueeze(-1)
    return (scored.sum() / (depth * mask.sum())).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("text")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--documents", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=args.tokenizer)
    processor = SynthIDTextWatermarkLogitsProcessor(
        ngram_len=5, keys=KEYS, sampling_table_size=2**16, sampling_table_seed=0, context_history_size=1024,
        device="cpu")
    with open(args.text, encoding="utf-8", errors="replace") as file:
        text = file.read(4_000_000)
    for size in map(int, args.sizes.split(",")):
        documents = [text[i * size:(i + 1) * size] for i in range(min(args.documents, len(text) // size))]
        seconds, count, tokens = [], 0, 0
        for document in documents:
            start = time.process_time()
            ids = tokenizer(document, return_tensors="pt", add_special_tokens=False).input_ids
            g_values = processor.compute_g_values(ids)
            mask = processor.compute_context_repetition_mask(ids)
            weighted_mean(g_values, mask)
            seconds.append(time.process_time() - start)
            count += len(document.encode())
            tokens += ids.shape[1]
        print(json.dumps({
            "what": "text to score, transformers", "transformers": transformers.__version__,
            "torch": torch.__version__, "bytes a document": size, "documents": len(documents),
            "MB a second": count / sum(seconds) / 1e6, "tokens a second": tokens / sum(seconds),
            "median milliseconds": 1e3 * statistics.median(seconds),
        }), flush=True)


if __name__ == "__main__":
    main()
