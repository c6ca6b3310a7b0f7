"""What clients of OpenAI's interface rely on, by those clients. Needs `requirements.txt`; CI runs it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import openai
import requests
from langchain_openai import ChatOpenAI
from servers import servers

CHAT = [{"role": "user", "content": "Tell me about the sea."}]


def client(writer, tenant):
    return openai.OpenAI(base_url=writer.url + "/v1", api_key=tenant, max_retries=0)


def refused(call, status, param=None):
    try:
        call()
    except openai.APIStatusError as error:
        assert error.status_code == status, (error.status_code, error.message)
        if param:
            assert error.param == param, (error.param, error.message)
        return error
    raise AssertionError(f"expected status {status}")


def test_models(writer, **_):
    (model,) = client(writer, "require").models.list().data
    assert model.id == "gemma" and model.max_model_len > 0
    assert client(writer, "require").models.retrieve("gemma").id == "gemma"
    refused(lambda: client(writer, "require").models.retrieve("other"), 404, "model")
    refused(lambda: client(writer, "nobody").models.list(), 401)


def test_chat(writer, **_):
    api = client(writer, "require")
    raw = api.chat.completions.with_raw_response.create(model="gemma", messages=CHAT, max_tokens=40, seed=7)
    answer = raw.parse()
    assert raw.headers["x-watermark"] == "applied" and raw.headers["x-request-id"]
    mark = answer.model_extra["watermark"]
    assert mark["applied"] and mark["reason"] is None and mark["marked_tokens"] > 0
    assert answer.usage.completion_tokens == mark["tokens"] <= 40
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("stop", "length")
    again = api.chat.completions.create(model="gemma", messages=CHAT, max_completion_tokens=40, seed=7)
    assert again.choices[0].message.content == answer.choices[0].message.content
    parts = [{"role": "user", "content": [{"type": "text", "text": CHAT[0]["content"]}]}]
    again = api.chat.completions.create(model="gemma", messages=parts, max_tokens=40, seed=7)
    assert again.choices[0].message.content == answer.choices[0].message.content
    told = [{"role": "developer", "content": "Be brief."}, *CHAT, {"role": "user", "content": "And the wind."}]
    assert api.chat.completions.create(model="gemma", messages=told, max_tokens=5).usage.prompt_tokens > 10


def test_stream(writer, **_):
    api = client(writer, "require")
    options = dict(model="gemma", messages=CHAT, max_tokens=40, seed=7, n=2, stop=["qqq"])
    whole = api.chat.completions.create(**options)
    texts, usage, mark, reasons = ["", ""], None, None, {}
    for chunk in api.chat.completions.create(stream=True, stream_options={"include_usage": True}, **options):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
        if chunk.usage:
            assert not chunk.choices
            usage, mark = chunk.usage, chunk.model_extra["watermark"]
    assert texts == [choice.message.content for choice in whole.choices] and texts[0] != texts[1]
    assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
    assert usage.completion_tokens == whole.usage.completion_tokens
    assert mark == whole.model_extra["watermark"]
    last = None
    for chunk in api.chat.completions.create(stream=True, **options):
        last = chunk
    assert last.model_extra["watermark"] == mark and last.choices[0].finish_reason


def test_completions(writer, **_):
    api = client(writer, "require")
    one = api.completions.create(model="gemma", prompt="The old lighthouse", seed=3)
    assert one.usage.completion_tokens <= 16
    stopped = api.completions.create(model="gemma", prompt="The old lighthouse", seed=3, max_tokens=60)
    text = stopped.choices[0].text
    stop = text[len(text) // 2 :][:3]
    cut = api.completions.create(model="gemma", prompt="The old lighthouse", seed=3, max_tokens=60, stop=stop)
    assert cut.choices[0].text == text[: text.index(stop)] and cut.choices[0].finish_reason == "stop"
    many = api.completions.create(model="gemma", prompt=["One", "Two"], n=2, max_tokens=5)
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    streamed = api.completions.create(model="gemma", prompt="The old lighthouse", seed=3, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == one.choices[0].text


def test_logprobs(writer, **_):
    api = client(writer, "require")
    options = dict(model="gemma", messages=CHAT, max_tokens=6, logprobs=True, top_logprobs=3, seed=1)
    content = api.chat.completions.create(**options).choices[0].logprobs.content
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in content)
    streamed = []
    for chunk in api.chat.completions.create(stream=True, **options):
        for choice in chunk.choices:
            streamed += choice.logprobs.content if choice.logprobs else []
    assert [token.token for token in streamed] == [token.token for token in content]
    old = api.completions.create(model="gemma", prompt="The", max_tokens=5, logprobs=2, seed=1)
    logprobs = old.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == 5


def test_policies(writer, **_):
    def ask(tenant, watermarking=None, **options):
        extra = {} if watermarking is None else {"watermarking": watermarking}
        raw = client(writer, tenant).chat.completions.with_raw_response.create(
            model="gemma", messages=CHAT, max_tokens=30, extra_body=extra, **options
        )
        mark = raw.parse().model_extra["watermark"]
        assert (raw.headers["x-watermark"] == "applied") == mark["applied"]
        return mark["applied"], mark["reason"]

    assert ask("require") == ask("default") == ask("optional") == (True, None)
    assert ask("off") == (False, "policy_off")
    assert ask("optional", watermarking=False) == (False, "opted_out")
    assert ask("default", temperature=0) == (False, "greedy")
    refused(lambda: ask("require", temperature=0), 400, "temperature")
    refused(lambda: ask("default", watermarking=True, temperature=0), 400, "temperature")
    refused(lambda: ask("require", watermarking=False), 403, "watermarking")
    refused(lambda: ask("off", watermarking=True), 403, "watermarking")
    refused(lambda: ask("optional", logit_bias={"5": 1}), 400, "logit_bias")


def test_errors(writer, **_):
    api = client(writer, "require")

    def ask(**options):
        return api.chat.completions.create(**{"model": "gemma", "messages": CHAT, "max_tokens": 5, **options})

    refused(lambda: ask(model="gpt"), 404, "model")
    refused(lambda: ask(n=9), 400, "n")
    refused(lambda: ask(temperature=3), 400, "temperature")
    refused(lambda: ask(tools=[{"type": "function", "function": {"name": "f"}}]), 400, "tools")
    refused(lambda: ask(response_format={"type": "json_object"}), 400, "response_format")
    refused(lambda: ask(extra_body={"temprature": 1}), 400, "temprature")
    refused(lambda: ask(messages=[]), 400, "messages")
    refused(lambda: ask(messages=[{"role": "user", "content": "x " * 200_000}]), 400, "messages")
    refused(lambda: ask(messages=[{"role": "user", "content": "x " * 2_000_000}]), 413)
    # A stream that cannot begin is an error, too, and not a broken stream.
    refused(lambda: ask(stream=True, messages=[{"role": "user", "content": "x " * 200_000}]), 400, "messages")
    assert requests.post(writer.url + "/v1/chat/completions", data=b"{", timeout=9).status_code == 401
    head = {"Authorization": "Bearer require"}
    assert requests.post(writer.url + "/v1/chat/completions", data=b"{", headers=head, timeout=9).status_code == 400
    assert requests.get(writer.url + "/v1/chat/completions", headers=head, timeout=9).status_code == 405
    assert requests.get(writer.url + "/nothing", timeout=9).json()["error"]["type"] == "not_found_error"


def test_what_vllm_bench_sends(writer, **_):
    """The requests of `vllm bench serve` (endpoint_request_func.py), and how it reads the answers."""
    head = {"Authorization": "Bearer require"}
    chat = {
        "model": "gemma", "messages": [{"role": "user", "content": [{"type": "text", "text": "The sea"}]}],
        "max_completion_tokens": 12, "stream": True, "stream_options": {"include_usage": True},
        "ignore_eos": True, "temperature": 1.0, "repetition_penalty": 1.0, "top_k": 20, "min_p": 0.0,
    }
    completion = {
        "model": "gemma", "prompt": "The sea", "max_tokens": 12, "stream": True, "logprobs": None,
        "stream_options": {"include_usage": True}, "ignore_eos": True, "repetition_penalty": 1.0, "temperature": 1.0,
    }
    for path, body in [("/v1/chat/completions", chat), ("/v1/completions", completion)]:
        tokens = done = chunks = 0
        with requests.post(writer.url + path, json=body, headers=head, stream=True, timeout=60) as answer:
            assert answer.status_code == 200, answer.text
            for line in answer.iter_lines():
                line = line.decode().removeprefix("data: ")
                if line == "[DONE]":
                    done = 1
                elif line:
                    data = json.loads(line)
                    chunks += bool(data["choices"])
                    tokens = data.get("usage", {}).get("completion_tokens", tokens)
        assert done and chunks and tokens == 12, (done, chunks, tokens)


def test_clients_that_leave(writer, **_):
    """A row is free soon after its client has left: raw socket, requests, openai's close, and a time limit."""
    long = {"model": "gemma", "prompt": "The sea", "max_tokens": 4000, "ignore_eos": True}
    head = {"Authorization": "Bearer require"}
    running = "wmgen_engine_running_texts"

    def raw(stream, read):
        url = urllib.parse.urlparse(writer.url)
        connection = socket.create_connection((url.hostname, url.port))
        body = json.dumps({**long, "stream": stream}).encode()
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer require\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        if read:
            assert connection.recv(100)
        else:
            writer.wait_until(running, 1)
        connection.close()

    def with_requests():
        answer = requests.post(
            writer.url + "/v1/completions", json={**long, "stream": True}, headers=head, stream=True, timeout=60
        )
        next(answer.iter_lines())
        answer.close()

    def with_openai():
        stream = client(writer, "require").completions.create(stream=True, extra_body={"ignore_eos": True},
                                                              **{k: long[k] for k in ["model", "prompt", "max_tokens"]})
        next(iter(stream))
        stream.close()

    def with_time_limit():
        try:
            requests.post(writer.url + "/v1/completions", json={**long, "n": 8}, headers=head, timeout=0.1)
        except requests.Timeout:
            return
        raise AssertionError("expected a timeout")

    for leave in [lambda: raw(True, True), lambda: raw(False, False), with_requests, with_openai, with_time_limit]:
        leave()
        assert writer.wait_until(running, 0) < 1.0


def test_langchain(writer, **_):
    chat = ChatOpenAI(base_url=writer.url + "/v1", api_key="require", model="gemma", max_tokens=20, temperature=0.9)
    answer = chat.invoke([("system", "Be kind."), ("human", "Tell me about the sea.")])
    assert answer.usage_metadata["output_tokens"] > 0
    chunks = list(chat.stream("Tell me about the sea."))
    assert "".join(chunk.content for chunk in chunks)


def test_javascript(writer, **_):
    directory = os.environ.get("NODE_CLIENTS")
    if directory is None:
        print("test_javascript: left out, since there is no npm")
        return
    subprocess.run(["node", "conformance.mjs", writer.url], cwd=directory, check=True)
    writer.wait_until("wmgen_engine_running_texts", 0)


def test_end_to_end(writer, reader, receipts):
    """From a client through the server to a receipt, and through the detector to the right tenant."""
    head = {"Authorization": "Bearer optional"}
    body = {"model": "gemma", "prompt": "The old lighthouse", "max_tokens": 250, "ignore_eos": True, "seed": 11}
    answer = requests.post(writer.url + "/v1/completions", json=body, headers=head, timeout=120)
    text, mark = answer.json()["choices"][0]["text"], answer.json()["watermark"]
    lines = [json.loads(line) for line in receipts.read_text().splitlines()]
    (receipt,) = [line for line in lines if line["request_id"] == answer.headers["x-request-id"]]
    assert receipt["tenant"] == "optional" and "reason" not in receipt["watermark"]
    assert receipt["watermark"]["marked_tokens"] == mark["marked_tokens"]
    assert receipt["watermark"]["key_id"] == mark["key_id"]
    assert "text" not in receipt and "tokens" not in receipt and "lighthouse" not in json.dumps(receipt)
    found = requests.post(reader.url + "/v1/detect", json={"text": text}, timeout=60).json()["results"][0]
    assert found["verdict"] == "watermarked" and found["key_id"] == mark["key_id"], found


def main():
    names = sys.argv[1:]
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    detect = not names or "test_end_to_end" in names
    with servers(detect=detect) as (writer, reader, receipts):
        for name, test in tests:
            if not names or name in names:
                start = time.monotonic()
                test(writer=writer, reader=reader, receipts=receipts)
                print(f"{name}: passed in {time.monotonic() - start:.1f} s", flush=True)
        log = "".join(writer.lines)
        assert "lighthouse" not in log and "Bearer" not in log
        # SIGTERM lets an open answer end.
        body = {"model": "gemma", "prompt": "The sea", "max_tokens": 300, "ignore_eos": True, "seed": 5}
        head = {"Authorization": "Bearer require"}
        answers = []
        ask = lambda: answers.append(requests.post(writer.url + "/v1/completions", json=body, headers=head, timeout=60))
        thread = threading.Thread(target=ask)
        thread.start()
        writer.wait_until("wmgen_engine_running_texts", 1)
        assert writer.stop() == 0
        thread.join()
        assert answers[0].json()["usage"]["completion_tokens"] == 300
        print("an answer that was open at SIGTERM came whole")


if __name__ == "__main__":
    main()
