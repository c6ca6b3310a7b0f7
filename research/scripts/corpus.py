"""A text as `wmgen train` cuts it: documents, the held-out part, tokens, rows. Used by the scripts beside it.

The rules are those of `src/train/corpus.rs`. `Corpus.check` compares the outcome with what a run wrote down.
"""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

SEPARATOR = "<|endofdoc|>"
HELD_OUT = 100


def documents(text):
    """Documents as lists of paragraphs."""
    lines = [line.rstrip() for line in text.split("\n")]
    marked = any(line.strip() == SEPARATOR for line in lines)
    found = [[]]
    for line in lines:
        if line.strip() == SEPARATOR if marked else not line:
            found.append([])
        elif line:
            found[-1].append(line)
    return [document for document in found if document]


def split(parts):
    """Documents to train on, and those held out: one in a hundred, those whose SHA-256 is smallest."""
    if len(parts) == 1:
        at = len(parts[0]) - -(-len(parts[0]) // HELD_OUT)
        return [parts[0][:at]], [parts[0][at:]]
    order = sorted((hashlib.sha256("\n".join(part).encode()).digest(), i) for i, part in enumerate(parts))
    held = {i for _, i in order[: -(-len(parts) // HELD_OUT)]}
    return [p for i, p in enumerate(parts) if i not in held], [p for i, p in enumerate(parts) if i in held]


class Stream:
    """Documents one after the other: <bos>, paragraphs with a line feed between them, <eos>."""

    def __init__(self, parts, tokenizer):
        self.bos, self.eos = tokenizer.token_to_id("<bos>"), tokenizer.token_to_id("<eos>")
        pieces, starts, at, self.bytes = [], [], 0, 0
        for part in parts:
            texts = [paragraph + "\n" for paragraph in part[:-1]] + part[-1:]
            self.bytes += sum(len(text.encode()) for text in texts)
            at += 1
            pieces.append([self.bos])
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                starts.append(at)
                ids = encoding.ids
                at += len(ids)
                pieces.append(ids)
            at += 1
            pieces.append([self.eos])
        self.tokens = np.concatenate([np.array(piece, dtype=np.uint32) for piece in pieces])
        self.starts = np.array(starts)
        assert at == len(self.tokens)

    def windows(self, context):
        """First tokens of the windows of the first epoch, which are those that the held-out loss takes."""
        found, at = [], int(self.starts[0])
        while at + context <= len(self.tokens):
            found.append(at)
            end = at + context
            following = int(np.searchsorted(self.starts, end))
            near = following < len(self.starts) and self.starts[following] <= end + context // 4
            at = int(self.starts[following]) if near else end
        return found

    def rows(self, context):
        """Rows of <bos> and `context` tokens."""
        rows = np.stack([self.tokens[at : at + context] for at in self.windows(context)])
        return np.concatenate([np.full((len(rows), 1), self.bos, np.uint32), rows], axis=1)


class Corpus:
    """A text and the tokenizer of a model directory."""

    def __init__(self, text, model, train=True):
        self.model = Path(model)
        self.tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json"))
        self.vocab = json.loads((self.model / "config.json").read_text())["vocab_size"]
        self.context = json.loads((self.model / "config.json").read_text())["max_position_embeddings"]
        with open(text, encoding="utf-8", newline="") as file:
            to_train, self.held_documents = split(documents(file.read()))
        self.held_out = Stream(self.held_documents, self.tokenizer)
        self.train = Stream(to_train, self.tokenizer) if train else None

    def fingerprint(self):
        """SHA-256 of all tokens, as a checkpoint has it."""
        digest = hashlib.sha256()
        for stream in (self.train, self.held_out):
            digest.update(struct.pack("<Q", len(stream.tokens)))
            digest.update(stream.tokens.astype("<u4").tobytes())
        return digest.hexdigest()

    def check(self, checkpoint=None):
        """Compares the counts with training.json and, if there is one, all tokens with a checkpoint."""
        wrote = json.loads((self.model / "training.json").read_text())
        self.context = wrote["settings"]["context"]
        assert len(self.held_out.tokens) == wrote["held_out_tokens"], len(self.held_out.tokens)
        assert self.held_out.bytes == wrote["held_out_bytes"], self.held_out.bytes
        assert len(self.held_out.windows(self.context)) * self.context == wrote["held_out_scored"]
        if self.train is not None:
            assert len(self.train.tokens) == wrote["train_tokens"], len(self.train.tokens)
            assert self.train.bytes == wrote["train_bytes"], self.train.bytes
        if checkpoint is not None:
            with open(checkpoint, "rb") as file:
                header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
            state = json.loads(header["__metadata__"]["state"])
            assert self.fingerprint() == state["data"], "other tokens than the run's"
        return wrote
