"""The real Gemma 3 270M in transformers, where `WMDETECT_GEMMA_GGUF` names its file."""

import os
import pathlib

import pytest

from wmdetect import Detector, Key, Tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from wmdetect.transformers import MarkingConfig  # noqa: E402

GGUF = os.environ.get("WMDETECT_GEMMA_GGUF")
PROMPTS = [
    "The old lighthouse keeper",
    "My grandmother's recipe for plum cake begins with",
    "In the year 1799,",
]


@pytest.mark.skipif(not GGUF, reason="WMDETECT_GEMMA_GGUF names Gemma 3 270M as GGUF")
@pytest.mark.filterwarnings("ignore")
def test_marked_positions_are_the_scored_ones(tmp_path):
    torch.manual_seed(1)
    path = pathlib.Path(GGUF)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name).eval()
    tokenizer = Tokenizer.open(path)
    key = Key.generate("balanced", tokenizer=tokenizer)
    config = MarkingConfig(key)
    prompts = [[tokenizer.bos, *tokenizer.encode(prompt)] for prompt in PROMPTS]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    output = model.generate(
        ids, attention_mask=(ids != 0).long(), do_sample=True, temperature=1.0, top_k=100, max_new_tokens=80,
        watermarking_config=config, pad_token_id=0, eos_token_id=tokenizer.eos,
    )  # fmt: skip
    detector = Detector(key, tokenizer)
    for row, prompt, marked, channel in zip(
        output[:, width:].tolist(), prompts, config.last.marked, config.last.channels, strict=True
    ):
        row = row[: len(marked)]
        values = Detector(key, channel=channel).g_values(row, prompt)
        assert marked == [False] * (len(row) - len(values["shares"])) + [
            share != "0" for share in values["shares"]
        ]
        report = detector.score(tokenizer.decode(row))
        print(len(row), sum(marked), report, tokenizer.decode(row)[:80])
        assert len(row) < 70 or report.watermarked
        assert not Detector(Key.generate(), tokenizer).score(tokenizer.decode(row)).watermarked
