#!/usr/bin/env python3
"""What `wmgen serve` does under more load than it can bear: requests too many, slow senders, idle connections, signals.

    wmgen keygen K.bin --model MODEL
    python serve_overload.py WMGEN MODEL K.bin

MODEL should be large enough that a text of 60 tokens takes seconds. Needs a limit of open files above 10,000.
"""

import json
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

IDLE = 10_000


class Server:
    def __init__(self, wmgen, model, key, *more):
        command = [wmgen, "serve", "--key", key, "--model", model, "--model-name", "m", "--port", "0", "--log", "off", *more]
        self.process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        line = next(line for line in self.process.stderr if line.startswith("listening on"))
        self.port = int(line.strip().rsplit(":", 1)[1])
        while b" 200 " not in self.ask(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
            time.sleep(0.1)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port))

    def send(self, data):
        connection = self.connect()
        connection.sendall(data)
        return connection

    def ask(self, data):
        with self.send(data) as connection:
            return connection.recv(100)

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024


def request(tokens):
    body = json.dumps({"prompt": "the sea", "max_tokens": tokens, "ignore_eos": True, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def milliseconds(work):
    start = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - start), result


def whole(connection):
    data = b""
    while part := connection.recv(65536):
        data += part
    return b"[DONE]" in data


def cut_after(server, data):
    connection = server.send(data)
    connection.settimeout(60)
    time_taken, answer = milliseconds(lambda: connection.recv(100))
    return f"{time_taken / 1e3:.1f} s, {answer[:12]!r}"


def main():
    wmgen, model, key = sys.argv[1:]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory() as place:
        receipts = pathlib.Path(place) / "receipts.jsonl"
        few = ["--batch", "2", "--queue", "2", "--timeout", "5", "--drain", "100", "--receipts", receipts]
        server = Server(wmgen, model, key, *few)
        open_answers = [server.send(request(60)) for _ in range(4)]
        time.sleep(1)
        times = []
        for _ in range(50):
            took, answer = milliseconds(lambda: server.ask(request(60)))
            assert b" 429 " in answer, answer
            times.append(took)
        times.sort()
        print(f"429 under load: {times[25]:.2f} ms (median of 50), {times[-1]:.2f} ms (worst)")
        print("a slow head is cut after", cut_after(server, b"POST /v1/completions HTT"))
        slow = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        print("a slow body is cut after", cut_after(server, slow))
        for connection in open_answers:
            connection.close()
        time.sleep(1)
        open_answers = [server.send(request(60)) for _ in range(4)]
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        done = sum(whole(connection) for connection in open_answers)
        print(f"SIGTERM under load: {done} of 4 answers whole, exit {server.process.wait()}")

        server = Server(wmgen, model, key, "--receipts", receipts)
        assert whole(server.send(request(4)))
        open_answers = [server.send(request(60)) for _ in range(6)]
        time.sleep(1)
        server.process.kill()
        server.process.wait()
        lines = [json.loads(line) for line in receipts.read_text().splitlines()]
        print(f"SIGKILL under load: all {len(lines)} receipts readable")

        server = Server(wmgen, model, key, "--timeout", "300")
        before = server.resident()
        idle = [server.connect() for _ in range(IDLE)]
        get = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        times = sorted(milliseconds(lambda: server.ask(get))[0] for _ in range(20))
        print(
            f"{len(idle)} idle connections: resident {before} MB -> {server.resident()} MB;"
            f" a new client is answered in {times[10]:.1f} ms (median of 20), {times[-1]:.1f} ms (worst)"
        )
        server.process.kill()


main()
