"""What the adapters for vLLM and SGLang share: the draw of one response, with its truncation and its mark.

Both engines run their custom processors before temperature, top-k and top-p, and the mark must come after
them. So the adapters truncate as the request asks, mark, draw, and leave the engine one token to choose from.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wmdetect import Detector, Error, Key, Marker

NEVER = float("-inf")


def marker_of_environment() -> Marker:
    """Returns the marker of the key that `WMDETECT_KEY` names on the server."""
    path = os.environ.get("WMDETECT_KEY")
    if not path:
        raise Error(
            "there is no key to mark with: expected the path of a key file in WMDETECT_KEY, found none\n"
            "hint: set it where the server starts; requests never carry a key"
        )
    return Marker(Key.read(path))


@dataclass(frozen=True)
class Settings:
    """How a request wants its tokens drawn."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float

    @classmethod
    def of(cls, params: Any) -> Settings:
        """Returns the settings of an engine's sampling parameters."""
        top_k = getattr(params, "top_k", None) or 0
        return cls(
            temperature=float(getattr(params, "temperature", 1.0)),
            # 0 and -1 say that it is off, and so does a number that no vocabulary reaches.
            top_k=int(top_k) if 0 < top_k < 1 << 24 else 0,
            top_p=float(getattr(params, "top_p", None) or 1.0),
            min_p=float(getattr(params, "min_p", None) or 0.0),
        )

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature < 1e-5 or self.top_k == 1


class Response:
    """One response of an engine, of which `output` was written before."""

    def __init__(
        self,
        marker: Marker,
        prompt: Sequence[int],
        settings: Settings,
        seed: int | None = None,
        output: Sequence[int] = (),
    ) -> None:
        self._random = random.Random(secrets.randbits(128) if seed is None else seed)
        channels = marker.key.channels
        if seed is not None:
            # It decides the draws and, with the key and the prompt, the channel, which the client must not know.
            channel = marker.random(prompt, seed=seed % 2**64)
        elif not output or channels == 1:
            channel = self._random.getrandbits(64)
        else:
            # It was paused, and the engine has forgotten us: the channel is the one that what was written fits.
            found = Detector(marker.key).score(list(output), list(prompt)).channel or 0
            channel = -(-(found << 64) // channels)
        self._marking = marker.start(prompt, random=channel)
        self.settings = settings
        self.tokens: list[int] = []
        # Drawn, but not seen in the engine's output.
        self.pending: int | None = None

    @property
    def mask(self) -> list[bool]:
        """Of each token whether its position carries the mark."""
        return self._marking.mask

    @property
    def channel(self) -> int | None:
        """The channel; `None` where the key has one."""
        return self._marking.channel

    def follow(self, output: Sequence[int], start: int = 0) -> None:
        """Takes the tokens that the engine has written, from `start` on, of which it knew the first ones."""
        known = len(self.tokens) - start
        if len(output) < known or (known > 0 and output[known - 1] != self.tokens[-1]):
            raise Error(
                f"the engine took tokens back: expected the {len(self.tokens)} known ones and more, found others\n"
                "hint: speculative decoding is not marked"
            )
        for token in output[known:]:
            if token < 0:
                raise Error(
                    f"the engine has not put in what it drew: expected token ids, found {token}\n"
                    "hint: name the processor with --logits-processors, or turn asynchronous scheduling off"
                )
            self._marking.push(token)
            self.tokens.append(token)

    def draw(self, tokens: Any, logits: Any) -> int:
        """Returns the next token, drawn from candidates that are scaled and truncated."""
        return self._marking.draw(tokens, logits, self._random.random())


def force(logits: Any, rows: Sequence[int], responses: Sequence[Response]) -> list[int]:
    """Draws a token for each of `rows`, leaves it alone in its row of `logits`, and returns the tokens."""
    import torch

    if not rows:
        return []
    index = torch.tensor(rows, device=logits.device)
    tokens, values = candidates(logits.index_select(0, index), [response.settings for response in responses])
    drawn = [response.draw(tokens[at], values[at]) for at, response in enumerate(responses)]
    logits.index_fill_(0, index, NEVER)
    logits[index, torch.tensor(drawn, device=logits.device)] = 0.0
    return drawn


def candidates(logits: Any, settings: Sequence[Settings]) -> tuple[Any, Any]:
    """Returns the tokens that can be drawn and their logits, a row a request, as numpy arrays.

    In the order of the engines: temperature, min-p, top-k, top-p.
    """
    import torch

    device, vocabulary = logits.device, logits.shape[-1]

    def column(numbers: Sequence[float]) -> Any:
        return torch.tensor(numbers, device=device).unsqueeze(1)

    tops = [min(one.top_k or vocabulary, vocabulary) for one in settings]
    scaled = logits.float() / column([one.temperature for one in settings])
    values, ids = torch.topk(scaled, max(tops), dim=-1)
    top_p, min_p = column([one.top_p for one in settings]), column([one.min_p for one in settings])
    # ln 0 is minus infinity, which excludes nothing.
    values = values.masked_fill(values < values[:, :1] + min_p.log(), NEVER)
    values = values.masked_fill(torch.arange(max(tops), device=device) >= column(tops), NEVER)
    p = values.softmax(dim=-1)
    # What comes before a token is enough without it. The first one always stays.
    before = p.cumsum(dim=-1) - p
    before[:, 0] = 0.0
    values = values.masked_fill((before >= top_p) & (top_p < 1.0), NEVER)
    # Sorted, so what can be drawn is in front.
    width = max(int((values != NEVER).sum(dim=-1).max()), 1)
    tokens = ids[:, :width].to("cpu", torch.int32).contiguous().numpy().view("uint32")
    return tokens, values[:, :width].to("cpu").contiguous().numpy()
