"""Starts both servers with keys, tenants and credentials of their own in a temporary directory."""

import contextlib
import hashlib
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("BIN", ROOT / "target" / "debug"))
POLICIES = ["require", "default", "optional", "off"]


def run(*args):
    subprocess.run([str(arg) for arg in args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Program:
    """A server that has said where it listens."""

    def __init__(self, *args):
        self.lines = []
        self.process = subprocess.Popen([str(arg) for arg in args], stderr=subprocess.PIPE, text=True)
        self.url = None
        for line in self.process.stderr:
            self.lines.append(line)
            if "listening on " in line:
                self.url = line.split("listening on ")[1].strip()
                break
        if self.url is None:
            raise RuntimeError(f"{args[0]} did not start: {''.join(self.lines)}")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def get(self, path):
        with urllib.request.urlopen(self.url + path) as answer:
            return answer.read().decode()

    def metric(self, name):
        """The sum of a metric over its labels."""
        values = (line for line in self.get("/metrics").splitlines() if line.split("{")[0].split(" ")[0] == name)
        return sum(float(line.rsplit(" ", 1)[1]) for line in values)

    def wait_until(self, name, value, seconds=5.0):
        """Waits until a metric has a value, and returns how long that took."""
        start = time.monotonic()
        while self.metric(name) != value:
            if time.monotonic() - start > seconds:
                raise AssertionError(f"{name} is {self.metric(name)}, expected {value}")
            time.sleep(0.02)
        return time.monotonic() - start

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def servers(model=None, generate=(), detect=True):
    """`wmgen serve` with a tenant for each policy (the token is its name), and `wmdetect serve` with their keys."""
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        ring = directory / "keys"
        ring.mkdir()
        tenants = []
        for policy in POLICIES:
            token = hashlib.sha256(policy.encode()).hexdigest()
            entry = f'[[tenant]]\nname = "{policy}"\ntoken_sha256 = "{token}"\npolicy = "{policy}"\nlogprobs = true\n'
            if policy != "off":
                key = ring / f"{policy}.bin"
                run(BIN / "wmgen", "keygen", key, *(["--model", model] if model else []))
                entry += f'key = "keys/{policy}.bin"\n'
            tenants.append(entry)
        (directory / "tenants.toml").write_text("\n".join(tenants))
        receipts = directory / "receipts.jsonl"
        command = [BIN / "wmgen", "serve", "--tenants", directory / "tenants.toml", "--port", 0]
        command += ["--receipts", receipts, "--model-name", "gemma", *generate]
        if model:
            command += ["--model", model]
        writer = Program(*command)
        reader = None
        if detect:
            tokenizer = ["--tokenizer", model] if model else []
            reader = Program(BIN / "wmdetect", "serve", "--keyring", ring, "--port", 0, *tokenizer)
        try:
            yield writer, reader, receipts
        finally:
            for program in filter(None, [writer, reader]):
                if program.process.poll() is None:
                    program.stop()
