"""Times the mark of transformers: SynthIDTextWatermarkLogitsProcessor over a
whole vocabulary, one thread, the depth and n-gram length that wmgen has.

    python mark_speed.py [--vocabulary 256000] [--tokens 5]

Prints milliseconds of the thread's CPU time a token as JSON: other work on the
machine does not count.
`cargo bench --bench sampling -- mark` is our side of the comparison.
"""

import argparse
import json
import statistics
import time

import torch
from transformers import SynthIDTextWatermarkLogitsProcessor

DEPTH = 30
NGRAM_LEN = 5

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--vocabulary", type=int, default=256_000)
parser.add_argument("--tokens", type=int, default=5)
args = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(1)
processor = SynthIDTextWatermarkLogitsProcessor(
    ngram_len=NGRAM_LEN,
    keys=[int(k) for k in torch.randint(1, 1 << 40, (DEPTH,))],
    sampling_table_size=2**16,
    sampling_table_seed=0,
    context_history_size=1024,
    device=torch.device("cpu"),
)
ids = torch.randint(0, args.vocabulary, (1, NGRAM_LEN))
times = []
for i in range(args.tokens + 1):
    scores = torch.empty(1, args.vocabulary).uniform_(-3, 3)
    start = time.thread_time()
    processor(ids, scores)
    if i > 0:  # the first one makes the processor's state
        times.append(1e3 * (time.thread_time() - start))
    ids = torch.cat([ids, torch.randint(0, args.vocabulary, (1, 1))], dim=1)
print(
    json.dumps(
        {
            "vocabulary": args.vocabulary,
            "depth": DEPTH,
            "tokens": args.tokens,
            "median_ms": round(statistics.median(times), 1),
            "min_ms": round(min(times), 1),
            "max_ms": round(max(times), 1),
        }
    )
)
