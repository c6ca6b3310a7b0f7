"""Marks what SGLang writes.

Start the server with the key in its environment, and with custom processors::

    WMDETECT_KEY=k.bin python -m sglang.launch_server --model-path MODEL --enable-custom-logit-processor

and send `MarkingProcessor.to_str()` with each request as `custom_logit_processor`, beside `custom_params` (an
empty object will do). A client that may send custom processors can run code on the server, so let a gateway add it.

The processor draws each token itself, as the request's temperature, top-k, top-p and min-p say, since SGLang runs
custom processors before these. A greedy request is left as it is, with a warning. Speculative decoding is refused.
"""

from __future__ import annotations

import warnings
from typing import Any

from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor

from wmdetect import Error, Marker
from wmdetect._engine import force, marker_of_environment, Response, Settings

__all__ = ["MarkingProcessor"]

_STATE = "_wmdetect_response"
_markers: list[Marker] = []


def _marker() -> Marker:
    # Processors come and go with the batches; the key is read once.
    if not _markers:
        _markers.append(marker_of_environment())
    return _markers[0]


class MarkingProcessor(CustomLogitProcessor):  # type: ignore[misc, unused-ignore]
    """Draws every token of every sampled request, with the mark of the server's key."""

    def __call__(self, logits: Any, custom_param_list: list[dict[str, Any]] | None = None) -> Any:
        """Leaves one token in each row."""
        params = custom_param_list or []
        if len(params) != logits.shape[0]:
            raise Error(
                f"the rows have no requests: expected custom_params for {logits.shape[0]} rows, found {len(params)}\n"
                "hint: send custom_params, if only {}, with each request"
            )
        requests = [self._request(one) for one in params]
        if len({id(one) for one in requests}) != len(requests):
            raise Error(
                "speculative decoding is not marked, since drafts would be marked and thrown away: expected a row a "
                "request, found several\nhint: start the server without --speculative-algorithm"
            )
        rows = {row: one for row, one in enumerate(map(self._response, requests)) if one is not None}
        drawn = force(logits, list(rows), list(rows.values()))
        for response, token in zip(rows.values(), drawn, strict=True):
            # With the overlap schedule the next step begins before this token is in the request.
            response.pending = token
        return logits

    @staticmethod
    def _request(params: dict[str, Any] | None) -> Any:
        request = (params or {}).get("__req__")
        if request is None:
            raise Error(
                "a row has no request: expected custom_params with __req__, which SGLang puts in, found none\n"
                "hint: send custom_params as an object, if only {}"
            )
        # The request itself, which a weak proxy gives out in no other way.
        return request.__repr__.__self__

    @staticmethod
    def _response(request: Any) -> Response | None:
        response: Response | None = getattr(request, _STATE, None)
        if response is None:
            settings = Settings.of(request.sampling_params)
            if settings.greedy:
                warnings.warn("a greedy request is not marked: it draws nothing", UserWarning, stacklevel=4)
                return None
            seed = getattr(request.sampling_params, "sampling_seed", None)
            prompt, output = list(request.origin_input_ids), list(request.output_ids)
            response = Response(_marker(), prompt, settings, seed, output)
            setattr(request, _STATE, response)
        output = list(request.output_ids)
        if response.pending is not None:
            if len(output) == len(response.tokens):
                # Drawn, and the only token that could be chosen.
                output.append(response.pending)
            elif output[len(response.tokens)] != response.pending:
                raise Error(
                    "another token than the drawn one was written: expected "
                    f"{response.pending}, found {output[len(response.tokens)]}"
                )
        response.follow(output)
        return response
