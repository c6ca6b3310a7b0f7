"""Log-probabilities of texts under a public model in a GGUF file, by `transformers`. Used by the scripts beside it.

The tensors are dequantised and computed with in float32, one thread. A text starts after the token that separates
documents in the model's own training: <bos> for Gemma, <|endoftext|> for SmolLM2.
"""

import tempfile
from pathlib import Path

import gguf
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)


class Peer:
    """A model with its tokenizer; `tokenizer` is a tokenizer.json, needed unless the GGUF file has a byte-level BPE."""

    def __init__(self, path, tokenizer=None):
        path = Path(path).resolve()
        self.name = path.name
        self.tokenizer = Tokenizer.from_file(str(tokenizer)) if tokenizer else byte_level(path)
        first = [self.tokenizer.token_to_id(token) for token in ("<|endoftext|>", "<bos>")]
        self.first = next(token for token in first if token is not None)
        with tempfile.TemporaryDirectory() as empty:
            # An empty directory, so that nothing is looked up beside the file.
            link = Path(empty) / path.name
            link.symlink_to(path)
            self.model = AutoModelForCausalLM.from_pretrained(empty, gguf_file=path.name, dtype=torch.float32).eval()

    def nats(self, text, start=0):
        """Nats of the part of a text that begins at character `start`, and its number of tokens.

        A token across the place belongs to the part.
        """
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        ids = torch.tensor([[self.first, *encoding.ids]])
        scored = torch.tensor([end > start for _, end in encoding.offsets])
        with torch.no_grad():
            # The last position predicts nothing that is scored.
            hidden = self.model.model(ids[:, :-1]).last_hidden_state[0][scored]
            logprobs = torch.log_softmax(self.model.lm_head(hidden).double(), -1)
        wanted = ids[0, 1:][scored]
        return -float(logprobs.gather(1, wanted[:, None]).sum()), len(wanted)


def byte_level(path):
    """The tokenizer of a GGUF file of the kind `gpt2` with the pre-tokenizer `smollm`: digits one by one, then GPT-2's."""
    fields = gguf.GGUFReader(path).fields
    kind, pre = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("model", "pre"))
    assert (kind, pre) == ("gpt2", "smollm"), f"expected a gpt2 tokenizer with the pre-tokenizer smollm, found {kind}, {pre}"
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    control = [token for token, kind in zip(tokens, kinds) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in control])
    return tokenizer
