"""The adapters for vLLM and SGLang, driven as the engines drive them.

The engines need a GPU, so a small batch stands for them here: it calls the processor as each engine does, takes the
argmax of what comes back, and keeps requests as the engine does. The interfaces are the engines' own files where
`WMDETECT_ENGINE_SOURCES` has them; see interfaces.py.
"""

import types
import weakref

import numpy as np
import pytest

from wmdetect import Detector, Error, Key

torch = pytest.importorskip("torch")

import interfaces  # noqa: E402
from interfaces import SamplingParams, SOURCES, V1, V2  # noqa: E402

interfaces.install()

import sys  # noqa: E402

import wmdetect.sglang  # noqa: E402
import wmdetect.vllm  # noqa: E402
from wmdetect import _engine  # noqa: E402

VOCABULARY = 300
CONFIG = types.SimpleNamespace(speculative_config=None)


@pytest.fixture(params=["secret", "balanced"])
def key(request, tmp_path, monkeypatch):
    key = Key.generate(request.param)
    key.write(tmp_path / "server.bin")
    monkeypatch.setenv("WMDETECT_KEY", str(tmp_path / "server.bin"))
    wmdetect.sglang._markers.clear()
    return key


def model(context):
    """Returns logits that depend on the last two tokens, as those of a model would."""
    rng = np.random.default_rng([7, *[int(token) for token in context[-2:]]])
    return torch.from_numpy(rng.normal(0, 2, VOCABULARY).astype(np.float32))


def assert_marked(key, prompt, output, response, least=0.9):
    """The positions that the adapter marked are those that the detector scores."""
    values = Detector(key, channel=response.channel).g_values(output, prompt)
    mask = [share != "0" for share in values.get("shares", values["mask"])]
    assert response.mask[: len(output)] == ([False] * (len(output) - len(mask)) + mask)[: len(response.mask)]
    assert sum(mask) > least * (len(output) - 5)
    if len(output) > 100:
        assert Detector(key).score(output).log10_p < -10


def finish(logits, params):
    """What an engine does after the processor: temperature, truncation, a draw. One token must be left."""
    p = (logits / max(params.temperature, 0.1)).softmax(-1)
    return int(torch.multinomial(p, 1))


class Request:
    """A request of an engine."""

    def __init__(self, prompt, **params):
        self.prompt, self.params, self.output = prompt, SamplingParams(**params), []


class FirstRunner:
    """vLLM's persistent batch: indices are dense, a removed request's place is filled by the last one."""

    def __init__(self):
        self.processor = wmdetect.vllm.MarkingProcessor(CONFIG, torch.device("cpu"), False)
        self.batch, self.update = [], ([], [], [])

    def add(self, request, prompt_ids=True):
        self.update[1].append(
            (len(self.batch), request.params, request.prompt if prompt_ids else None, request.output)
        )
        self.batch.append(request)

    def remove(self, request):
        index, last = self.batch.index(request), len(self.batch) - 1
        self.update[0].append(index if index == last else last)
        if index != last:
            # As the engine does it: the place is removed, and the last request moves there.
            self.update[0][-1] = index
            self.update[2].append((last, index, sys.modules[V1].MoveDirectionality.UNIDIRECTIONAL))
            self.batch[index] = self.batch[last]
        self.batch.pop()

    def swap(self, a, b):
        self.batch[a], self.batch[b] = self.batch[b], self.batch[a]
        self.update[2].append((a, b, sys.modules[V1].MoveDirectionality.SWAP))

    def step(self):
        removed, added, moved = self.update
        changed = any(self.update)
        update = sys.modules[V1].BatchUpdate(len(self.batch), removed, added, moved) if changed else None
        self.update = ([], [], [])
        self.processor.update_state(update)
        logits = torch.stack([model(request.prompt + request.output) for request in self.batch])
        before = logits.clone()
        out = self.processor.apply(logits)
        for row, request in enumerate(self.batch):
            request.output.append(finish(out[row], request.params))
            if request.params.temperature > 0:
                assert int(torch.isfinite(out[row]).sum()) == 1
                rank = int((before[row] > before[row, request.output[-1]]).sum())
                assert rank < (request.params.top_k or VOCABULARY)
            else:
                assert torch.equal(out[row], before[row])


def test_the_first_runner_of_vllm(key):
    engine = FirstRunner()
    requests = [Request([1, 2, 3], top_k=20), Request([4], top_p=0.9), Request([5, 6], temperature=0.7)]
    greedy = Request([9], temperature=0.0)
    for request in (*requests[:2], greedy):
        engine.add(request)
    for step in range(140):
        engine.step()
        if step == 10:
            engine.swap(0, 1)
        if step == 20:
            engine.remove(greedy)
            engine.add(requests[2])
        if step == 40:
            # Paused: it comes back with what it has written.
            engine.remove(requests[0])
        if step == 50:
            engine.add(requests[0])
    by_output = {id(output): index for index, output in engine.processor._outputs.items()}
    assert sorted(by_output.values()) == [0, 1, 2]
    for request in requests:
        response = engine.processor._responses[by_output[id(request.output)]]
        if request is requests[0]:
            # Of what was written before the pause only the tokens are known.
            assert len(request.output) == 130
            assert Detector(key).score(request.output).log10_p < -10
        else:
            assert_marked(key, request.prompt, request.output, response)


def test_a_place_is_taken_over_without_its_past(key):
    engine = FirstRunner()
    first, second = Request([1, 2]), Request([3, 4])
    engine.add(first)
    for _ in range(30):
        engine.step()
    engine.remove(first)
    engine.add(second)
    for _ in range(120):
        engine.step()
    assert_marked(key, second.prompt, second.output, engine.processor._responses[0])


def test_placeholders_are_an_error(key):
    engine = FirstRunner()
    request = Request([1])
    engine.add(request)
    engine.step()
    request.output[-1] = -1
    engine.processor.update_state(None)
    with pytest.raises(Error, match=r"found -1\nhint: name the processor with --logits-processors"):
        engine.processor.apply(torch.zeros(1, VOCABULARY))


def test_a_prompt_of_embeddings_is_no_prompt(key):
    engine = FirstRunner()
    request = Request([1])
    engine.add(request, prompt_ids=False)
    for _ in range(120):
        engine.step()
    assert_marked(key, [], request.output, engine.processor._responses[0])


class SecondRunner:
    """vLLM's Model Runner V2: slots that are recycled, rows in another order at each step."""

    def __init__(self, slots=3, length=300):
        tensor = lambda *shape: types.SimpleNamespace(gpu=torch.zeros(shape, dtype=torch.int32))  # noqa: E731
        host = lambda: types.SimpleNamespace(np=np.zeros(slots, np.int32))  # noqa: E731
        self.states = types.SimpleNamespace(
            device=torch.device("cpu"),
            max_num_reqs=slots,
            vocab_size=VOCABULARY,
            all_token_ids=tensor(slots, length),
            prompt_len=host(),
            prefill_len=host(),
            total_len=tensor(slots),
        )
        self.processor = wmdetect.vllm.MarkingProcessor(CONFIG, self.states)
        self.slots, self.rng = {}, np.random.default_rng(1)

    def add(self, slot, request):
        # As the engine: the processor is told first, the tokens are in the slot before the next step.
        self.marked = self.processor.add_request(slot, request.params)
        tokens = request.prompt + request.output
        self.states.all_token_ids.gpu[slot] = 0
        self.states.all_token_ids.gpu[slot, : len(tokens)] = torch.tensor(tokens)
        self.states.prompt_len.np[slot], self.states.prefill_len.np[slot] = len(request.prompt), len(tokens)
        self.slots[slot] = request
        self.processor.apply_staged_writes()

    def context(self, slots, lengths):
        return types.SimpleNamespace(
            expanded_idx_mapping=torch.tensor(slots),
            idx_mapping=torch.tensor(slots),
            idx_mapping_np=np.array(slots),
            pos=torch.tensor(lengths) - 1,
        )

    def step(self):
        slots = [int(slot) for slot in self.rng.permutation(list(self.slots))]
        lengths = [len(self.slots[slot].prompt) + len(self.slots[slot].output) for slot in slots]
        rows = [self.slots[slot].prompt + self.slots[slot].output for slot in slots]
        logits = torch.stack([model(row) for row in rows])
        out = self.processor.apply(logits, self.context(slots, lengths))
        for row, slot in enumerate(slots):
            request = self.slots[slot]
            token = finish(out[row], request.params)
            self.states.all_token_ids.gpu[slot, lengths[row]] = token
            request.output.append(token)


def test_the_second_runner_of_vllm(key):
    engine = SecondRunner()
    requests = [Request([1, 2, 3], top_k=20), Request([4], min_p=0.02), Request([5, 6])]
    greedy = Request([9], temperature=0.0)
    engine.add(0, requests[0])
    engine.add(1, greedy)
    assert engine.marked is False
    for step in range(140):
        engine.step()
        if step == 5:
            engine.slots.pop(1)
            engine.add(1, requests[1])
            assert engine.marked is True
        if step == 60:
            # Paused, and back in another slot with its output in the prefill.
            engine.slots.pop(0)
            engine.add(0, requests[2])
        if step == 70:
            engine.add(2, requests[0])
    assert_marked(key, requests[1].prompt, requests[1].output, engine.processor._responses[1])
    assert_marked(key, requests[2].prompt, requests[2].output, engine.processor._responses[0])
    assert Detector(key).score(requests[0].output).log10_p < -15
    if key.channels > 1:
        first, again = requests[0].output[:61], requests[0].output[61:]
        channels = [Detector(key).score(part).channel for part in (first, again)]
        assert channels[0] == channels[1], "the channel is the one from before the pause"


def test_a_part_of_a_prompt_draws_nothing(key):
    engine = SecondRunner()
    engine.add(0, Request([1, 2, 3, 4, 5, 6]))
    logits = model([1]).unsqueeze(0)
    assert torch.equal(engine.processor.apply(logits.clone(), engine.context([0], [3])), logits)
    assert not engine.processor._responses
    out = engine.processor.apply(logits.clone(), engine.context([0], [6]))
    assert int(torch.isfinite(out).sum()) == 1


def test_speculative_decoding_is_refused(key):
    with pytest.raises(Error, match="without --speculative-config"):
        wmdetect.vllm.MarkingProcessor(types.SimpleNamespace(speculative_config=object()), None)
    engine = SecondRunner()
    engine.add(0, Request([1, 2]))
    with pytest.raises(Error, match="speculative"):
        engine.processor.apply(torch.zeros(2, VOCABULARY), engine.context([0, 0], [2, 3]))


def test_greedy_requests_are_refused_at_the_door(key):
    check = wmdetect.vllm.MarkingProcessor.validate_params
    check(SamplingParams(top_k=-1))
    for params in (SamplingParams(temperature=0.0), SamplingParams(top_k=1)):
        with pytest.raises(ValueError, match="expected a temperature above 0"):
            check(params)
    assert not engine_is_invariant()


def engine_is_invariant():
    return wmdetect.vllm.MarkingProcessor(CONFIG, None, False).is_argmax_invariant()


def test_the_server_needs_a_key(monkeypatch):
    monkeypatch.delenv("WMDETECT_KEY", raising=False)
    with pytest.raises(Error, match="WMDETECT_KEY"):
        wmdetect.vllm.MarkingProcessor(CONFIG, None, False)


def test_a_seed_decides_the_draws(key):
    outputs = []
    for seed in (5, 5, 6, None):
        engine = FirstRunner()
        request = Request([1], seed=seed)
        engine.add(request)
        for _ in range(40):
            engine.step()
        outputs.append(request.output)
    assert outputs[0] == outputs[1] and outputs[0] != outputs[2] and outputs[0] != outputs[3]


@pytest.mark.skipif(not SOURCES, reason="WMDETECT_ENGINE_SOURCES has vLLM's loader")
def test_vllms_own_loader_takes_the_processor():
    loader = sys.modules[V2.replace("interface", "loader")]
    name = "wmdetect.vllm:MarkingProcessor"
    assert loader._load_v2_logitsprocs_by_fqcns([name]) == [wmdetect.vllm.MarkingProcessor]
    assert issubclass(wmdetect.vllm.MarkingProcessor, sys.modules[V1].LogitsProcessor)
    validate = loader.build_custom_logits_processors_params_validator([name])
    with pytest.raises(ValueError, match="temperature"):
        validate(SamplingParams(temperature=0.0))


class Scheduled:
    """A request of SGLang."""

    def __init__(self, prompt, **params):
        self.origin_input_ids, self.output_ids, self.params = prompt, [], SamplingParams(**params)
        self.sampling_params = self.params


def sglang_step(requests, lag=0, written=None):
    """One step of SGLang; with `lag` the last token is put in after the next step began."""
    rows = []
    for request in requests:
        ids = request.output_ids + (written or {}).get(id(request), [])
        rows.append(model(request.origin_input_ids + ids))
    logits = torch.stack(rows)
    # A new object for each batch, and the request as a weak proxy.
    params = [{"__req__": weakref.proxy(request)} for request in requests]
    out = wmdetect.sglang.MarkingProcessor()(logits, params)
    assert out.shape == logits.shape
    return [finish(out[row], request.params) for row, request in enumerate(requests)]


def test_sglang(key):
    requests = [Scheduled([1, 2, 3], top_k=20), Scheduled([4], top_k=1 << 30, top_p=0.9)]
    for step in range(130):
        order = requests if step % 3 else requests[::-1]
        for request, token in zip(order, sglang_step(order), strict=True):
            request.output_ids.append(token)
    for request in requests:
        assert_marked(key, request.origin_input_ids, request.output_ids, request._wmdetect_response)


def test_sglang_with_the_overlap_schedule(key):
    request, waiting = Scheduled([1, 2, 3]), []
    for _ in range(130):
        (token,) = sglang_step([request], written={id(request): waiting})
        request.output_ids += waiting
        waiting = [token]
    assert_marked(key, [1, 2, 3], request.output_ids, request._wmdetect_response)


def test_what_sglang_cannot_have(key):
    request = Scheduled([1])
    processor = wmdetect.sglang.MarkingProcessor()
    both = [{"__req__": weakref.proxy(request)}] * 2
    with pytest.raises(Error, match="expected a row a request"):
        processor(torch.zeros(2, VOCABULARY), both)
    for params in ([None], [{}], None):
        with pytest.raises(Error, match="custom_params"):
            processor(torch.zeros(1, VOCABULARY), params)
    (token,) = sglang_step([request])
    request.output_ids.append((token + 1) % VOCABULARY)
    with pytest.raises(Error, match="another token than the drawn one"):
        sglang_step([request])
    greedy, logits = Scheduled([1], top_k=1), torch.randn(1, VOCABULARY)
    with pytest.warns(UserWarning, match="draws nothing"):
        out = processor(logits.clone(), [{"__req__": weakref.proxy(greedy)}])
    assert torch.equal(out, logits)


def test_candidates_are_those_of_the_engines():
    """Against vLLM's and SGLang's rules, written one row at a time."""
    torch.manual_seed(1)
    rows = [
        SamplingParams(top_k=5),
        SamplingParams(temperature=0.5, top_p=0.8),
        SamplingParams(min_p=0.1),
        SamplingParams(temperature=2.0, top_k=50, top_p=0.5, min_p=0.01),
        SamplingParams(top_p=1e-9),
    ]
    logits = torch.randn(len(rows), VOCABULARY) * 3
    logits[0, 7] = -torch.inf
    tokens, values = _engine.candidates(logits, [_engine.Settings.of(params) for params in rows])
    for row, params in enumerate(rows):
        scaled = logits[row].double() / params.temperature
        p = scaled.softmax(-1)
        keep = p >= params.min_p * p.max()
        if params.top_k:
            keep &= scaled >= scaled.topk(params.top_k).values[-1]
        order = scaled.masked_fill(~keep, -torch.inf).argsort(descending=True)
        q = scaled.masked_fill(~keep, -torch.inf).softmax(-1)[order]
        keep[order[1:][(q.cumsum(0) - q)[1:] >= params.top_p]] = False
        if params.top_p == 1.0:
            keep &= torch.isfinite(scaled)
        found = tokens[row][np.isfinite(values[row])]
        assert sorted(found.tolist()) == keep.nonzero()[:, 0].tolist()
        assert np.allclose(
            values[row][np.isfinite(values[row])], scaled[found.astype(int)].numpy(), atol=1e-5
        )
