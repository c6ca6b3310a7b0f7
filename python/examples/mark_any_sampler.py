"""Marks the output of a sampler: all that is needed are candidate tokens with their logits."""

import numpy as np

import wmdetect

key = wmdetect.Key.generate()
rng = np.random.default_rng(1)
response, marking = [], wmdetect.Marker(key).start(prompt=[2, 1841, 603])
for _ in range(200):
    # From your model and sampler, after temperature, top-k and top-p: tokens and their logits.
    tokens = rng.integers(0, 256_000, 50).astype(np.uint32)
    logits = -np.log(np.arange(1, 51)).astype(np.float32)
    token = marking.draw(tokens, logits, rng.random())
    marking.push(token)
    response.append(token)
report = wmdetect.Detector(key).score(response)
print(f"{marking.marked_tokens} of 200 tokens carry the mark, and it is found: p = {report.p_value:.0e}")
assert report.watermarked
