"""Marks what vLLM writes.

Start the server with the key in its environment, and name the processor::

    WMDETECT_KEY=k.bin vllm serve MODEL --logits-processors wmdetect.vllm:MarkingProcessor

Every request that samples is marked. One processor serves both model runners of vLLM. It draws each token itself, as
the request's temperature, top-k, top-p and min-p say, since vLLM runs custom processors before these. A request's
seed decides its draws. Greedy requests and speculative decoding are refused.
"""

from __future__ import annotations

from typing import Any

from wmdetect import Error
from wmdetect._engine import force, marker_of_environment, Response, Settings

_BASES: list[type] = []
try:
    from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor as _RunnerV2

    _BASES.append(_RunnerV2)
except ImportError:
    # vLLM before 0.32.
    pass
from vllm.v1.sample.logits_processor.interface import LogitsProcessor as _RunnerV1  # noqa: E402
from vllm.v1.sample.logits_processor.interface import MoveDirectionality  # noqa: E402

_BASES.append(_RunnerV1)

__all__ = ["MarkingProcessor"]

_SPECULATIVE = (
    "speculative decoding is not marked, since drafts would be marked and thrown away: expected a server without "
    "--speculative-config, found one with it"
)


class MarkingProcessor(*_BASES):  # type: ignore[misc]
    """Draws every token of every sampled request, with the mark of the server's key."""

    def __init__(self, vllm_config: Any, state: Any, is_pin_memory: bool | None = None) -> None:
        # The first runner says device and memory, the second one has the state of its requests.
        if getattr(vllm_config, "speculative_config", None) is not None:
            raise Error(_SPECULATIVE)
        self._marker = marker_of_environment()
        self._requests: Any = None if is_pin_memory is not None else state
        self._responses: dict[int, Response] = {}
        # Of the first runner: the live list of each request's output.
        self._outputs: dict[int, Any] = {}
        # Of the second one: requests whose tokens are not in their slot yet.
        self._added: dict[int, Any] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Raises a `ValueError` for a request that draws nothing, which is then its answer."""
        if Settings.of(sampling_params).greedy:
            raise ValueError(
                "the mark steers draws, and this request draws nothing: expected a temperature above 0 and top_k "
                f"other than 1, found temperature={sampling_params.temperature} and top_k={sampling_params.top_k}"
            )

    def is_argmax_invariant(self) -> bool:
        """Returns false: the token that is left is seldom the likeliest."""
        return False

    # The first model runner.

    def update_state(self, batch_update: Any) -> None:
        """Follows the requests of the batch: removed, added, then moved."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._forget(index)
        for index, params, prompt, output in batch_update.added:
            self._forget(index)
            settings = Settings.of(params)
            if settings.greedy:
                continue
            # Of a prompt that came as embeddings there are no tokens.
            self._responses[index] = Response(self._marker, prompt or [], settings, params.seed, output)
            self._outputs[index] = output
        for a, b, direction in batch_update.moved:
            for of_index in (self._responses, self._outputs):
                moved, other = of_index.pop(a, None), of_index.pop(b, None)
                if moved is not None:
                    of_index[b] = moved
                if other is not None and direction == MoveDirectionality.SWAP:
                    of_index[a] = other

    def _forget(self, index: int) -> None:
        self._responses.pop(index, None)
        self._outputs.pop(index, None)

    # The second model runner.

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Returns whether the request is marked. Whatever was in its slot is forgotten."""
        self._responses.pop(req_idx, None)
        self._added.pop(req_idx, None)
        settings = Settings.of(sampling_params)
        if settings.greedy:
            return False
        self._added[req_idx] = (settings, sampling_params.seed)
        return True

    def apply_staged_writes(self) -> None:
        """Does nothing: what a request needs is kept on the host."""

    # Both.

    def apply(self, logits: Any, ctx: Any = None) -> Any:
        """Leaves one token in each row of a marked request."""
        rows = self._rows_of_batch() if ctx is None else self._rows_of_context(ctx)
        force(logits, list(rows), list(rows.values()))
        return logits

    def _rows_of_batch(self) -> dict[int, Response]:
        for index, response in self._responses.items():
            response.follow(self._outputs[index])
        return dict(sorted(self._responses.items()))

    def _rows_of_context(self, ctx: Any) -> dict[int, Response]:
        requests = self._requests
        slots, lengths = ctx.expanded_idx_mapping.tolist(), (ctx.pos + 1).tolist()
        if len(set(slots)) != len(slots):
            raise Error(_SPECULATIVE)
        rows: dict[int, Response] = {}
        tokens = requests.all_token_ids.gpu
        for row, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
            prompt = int(requests.prompt_len.np[slot])
            # Where a part of the prompt, or of what was written before a pause, is still to come, nothing is drawn.
            if length < int(requests.prefill_len.np[slot]):
                continue
            if slot in self._added:
                settings, seed = self._added.pop(slot)
                start = tokens[slot, :prompt].tolist()
                output = tokens[slot, prompt:length].tolist()
                self._responses[slot] = Response(self._marker, start, settings, seed, output)
            response = self._responses.get(slot)
            if response is None:
                continue
            known = max(len(response.tokens) - 1, 0)
            response.follow(tokens[slot, prompt + known : length].tolist(), known)
            rows[row] = response
        return rows
