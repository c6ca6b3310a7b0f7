"""Marks what `transformers` writes.

Pass a `MarkingConfig` as `watermarking_config` to `generate`, with `do_sample=True`::

    from wmdetect.transformers import MarkingConfig

    config = MarkingConfig("k.bin")
    output = model.generate(**inputs, do_sample=True, watermarking_config=config)

`transformers` runs the processor of a watermarking configuration after temperature, top-k and top-p, where
the mark belongs. A processor that is passed as `logits_processor` would run before them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from transformers import LogitsProcessor
from transformers.generation.configuration_utils import BaseWatermarkingConfig

from wmdetect import Error, Key, Marker

__all__ = ["MarkingConfig", "MarkingProcessor"]

_GREEDY = (
    "the mark steers draws, and greedy decoding draws nothing: expected do_sample=True, found {found}\n"
    "hint: pass do_sample=True to generate"
)
_BEAMS = (
    "beams are not marked: expected num_beams=1, found {found}\n"
    "hint: sample with num_beams=1; num_return_sequences may be above 1"
)
_ASSISTED = (
    "assisted decoding is not marked, since drafts would be marked and thrown away: expected plain sampling, "
    "found {found}\nhint: leave assistant_model and prompt_lookup_num_tokens out"
)


class MarkingConfig(BaseWatermarkingConfig):  # type: ignore[misc, unused-ignore]
    """Says that `generate` marks what it writes, and with which key.

    The key is a `Key` or the path of a key file. What is saved of the configuration is the key's public id.
    """

    def __init__(self, key: Key | str | os.PathLike[str], *, leaves: int = 2) -> None:
        self._key = key if isinstance(key, Key) else Key.read(key)
        self._leaves = leaves
        self._marker = Marker(self._key, leaves=leaves)
        self._last: MarkingProcessor | None = None

    @property
    def key_id(self) -> str:
        """The public id of the key."""
        return self._key.id

    @property
    def last(self) -> MarkingProcessor | None:
        """The processor of the last call of `generate`, which knows the positions that it marked."""
        return self._last

    def validate(self) -> None:
        """Does nothing: a key that was read is a key that works."""

    def construct_processor(self, vocab_size: int, device: Any = None) -> MarkingProcessor:
        """Returns the processor of one call of `generate`, which calls this."""
        settings = _settings(sys._getframe(1))
        _refuse(settings)
        generation = settings.get("generation_config")
        self._last = MarkingProcessor(
            self._marker,
            pad_token_id=_ids(getattr(generation, "pad_token_id", None)),
            eos_token_id=_ids(getattr(generation, "eos_token_id", None)),
        )
        return self._last

    def to_dict(self) -> dict[str, Any]:
        """Returns what may be saved: the key's id, never the key or where it lies.

        A saved configuration does not mark when it is loaded: `transformers` refuses it. Make it again from
        the key.
        """
        return {"wmdetect_key_id": self._key.id, "wmdetect_scheme": self._key.scheme}

    def to_json_string(self) -> str:
        """Returns the same as JSON."""
        import json

        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __iter__(self) -> Any:
        yield from self.to_dict().items()

    def __deepcopy__(self, memo: object) -> MarkingConfig:
        # `generate` copies its configuration; the copy must know the same processor.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_config_again, (self._key, self._leaves))


def _config_again(key: Key, leaves: int) -> MarkingConfig:
    return MarkingConfig(key, leaves=leaves)


def _settings(frame: Any) -> dict[str, Any]:
    """Returns what `generate` was asked for.

    `construct_processor` is not told, so it looks at its callers: `_get_logits_processor` and `generate`.
    Where they have other names, the processor's own checks are left, which fail later.
    """
    found: dict[str, Any] = {}
    for _ in range(3):
        if frame is None:
            break
        for name in ("generation_config", "assistant_model"):
            value = frame.f_locals.get(name)
            if value is not None:
                found.setdefault(name, value)
        frame = frame.f_back
    return found


def _refuse(settings: dict[str, Any]) -> None:
    """Raises what would break the mark."""
    generation = settings.get("generation_config")
    if settings.get("assistant_model") is not None:
        raise Error(_ASSISTED.format(found="an assistant model"))
    if generation is None:
        return
    if getattr(generation, "prompt_lookup_num_tokens", None):
        raise Error(_ASSISTED.format(found="prompt_lookup_num_tokens"))
    beams = getattr(generation, "num_beams", None) or 1
    if beams > 1:
        raise Error(_BEAMS.format(found=beams))
    if not getattr(generation, "do_sample", None):
        raise Error(_GREEDY.format(found=f"do_sample={getattr(generation, 'do_sample', None)}"))


def _ids(ids: Any) -> list[int]:
    """Returns token ids as a list, whatever form a configuration has them in."""
    if ids is None:
        return []
    if isinstance(ids, torch.Tensor):
        return [int(token) for token in ids.reshape(-1).tolist()]
    return [int(ids)] if isinstance(ids, int) else [int(token) for token in ids]


class MarkingProcessor(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Marks the rows of one call of `generate`.

    The prompt is what the first call is given, without the padding on its left. A row ends with an
    end-of-sequence token; what follows is padding.
    """

    def __init__(
        self, marker: Marker, *, pad_token_id: list[int] | None = None, eos_token_id: list[int] | None = None
    ) -> None:
        self._marker = marker
        self._pad = frozenset(pad_token_id or ())
        self._eos = frozenset(eos_token_id or ())
        self._batch: Any = None
        # What the rows were at the last call, on their device.
        self._seen: torch.Tensor | None = None
        self._active: list[bool] = []
        self._marked: list[list[bool]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Returns the logarithms of the marked probabilities, in float32."""
        if self._seen is None:
            self._start(input_ids)
        else:
            self._push(input_ids)
        # The caller may change its tensor.
        self._seen = input_ids.clone()
        out = torch.full(scores.shape, -torch.inf, dtype=torch.float32, device=scores.device)
        # Only what can be drawn leaves the device. NaN counts, so that it is an error and not a token that is
        # never drawn.
        candidates = int((scores != -torch.inf).sum(dim=-1).max())
        if candidates * 4 > scores.shape[-1]:
            values = scores
            ids = torch.arange(scores.shape[-1], device=scores.device).expand_as(scores)
        else:
            values, ids = torch.topk(scores, max(candidates, 1), dim=-1)
        logits = values.detach().to("cpu", torch.float32, copy=True).contiguous()
        tokens = ids.to("cpu", torch.int32).contiguous().numpy().view("uint32")
        kinds = self._batch.apply(tokens, logits.numpy(), active=self._active)
        for row, kind in zip(self._marked, kinds, strict=True):
            if kind is not None:
                row.append(kind == "marked")
        return out.scatter_(1, ids, logits.to(scores.device))

    @property
    def marked(self) -> list[list[bool]]:
        """Of each row and each token written so far whether its position carries the mark."""
        return [list(row) for row in self._marked]

    @property
    def channels(self) -> list[int | None]:
        """The channel of each row; `None` where the key has one."""
        return list(self._batch.channels) if self._batch is not None else []

    def _start(self, input_ids: torch.Tensor) -> None:
        prompts = input_ids.tolist()
        for row, prompt in enumerate(prompts):
            start = 0
            while start < len(prompt) and prompt[start] in self._pad:
                start += 1
            prompts[row] = prompt[start:]
        random = None
        if self._marker.key.channels > 1:
            # From torch's generator, so that torch.manual_seed decides them too.
            halves = torch.randint(0, 1 << 32, (len(prompts), 2)).tolist()
            random = [high << 32 | low for high, low in halves]
        self._batch = self._marker.start_batch(prompts, random=random)
        self._active = [True] * len(prompts)
        self._marked = [[] for _ in prompts]

    def _push(self, input_ids: torch.Tensor) -> None:
        seen = self._seen
        assert seen is not None
        rows, length = seen.shape
        if input_ids.shape != (rows, length + 1):
            found = f"{tuple(input_ids.shape)} after {tuple(seen.shape)}"
            raise Error(
                f"the rows do not grow by one token: expected the shape {(rows, length + 1)}, found {found}\n"
                "hint: assisted decoding is not marked; a processor serves one call of generate"
            )
        if not torch.equal(input_ids[:, :length], seen):
            raise Error(
                "the rows are not those of the call before: expected the same tokens and one more, found "
                "others\n"
                "hint: beams are not marked; a processor serves one call of generate"
            )
        tokens = input_ids[:, -1].tolist()
        self._batch.push(tokens, active=self._active)
        self._active = [
            active and token not in self._eos for active, token in zip(self._active, tokens, strict=True)
        ]
