"""A server on this machine that speaks the chat protocol and answers as the test says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ctglip_training.pairs.chat import ChatConfig


def allow_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets connect to this machine; for a fixture in place of the one that forbids all of the network."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1"
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@dataclass(frozen=True)
class Answer:
    """One answer: its text in the protocol's envelope, or `raw` bytes instead; `wait_s` before it."""

    text: str = "{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    wait_s: float = 0.0
    drop: bool = False

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        message = {"role": "assistant", "content": self.text}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return json.dumps({"choices": [{"message": message}], "usage": usage}).encode()


@dataclass
class Stub:
    """What was asked of the server so far."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def config(self, **settings: Any) -> ChatConfig:
        return ChatConfig(**{"url": self.url, "model": "stub", "timeout_s": 5.0, **settings})


@contextmanager
def chat_server(answers: Sequence[Answer] | Callable[[dict[str, Any]], Answer]) -> Iterator[Stub]:
    """Answers in turn, the last one for ever; or what a function says to a request."""
    stub = Stub("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.requests.append({"path": self.path, **request})
            stub.keys.append(self.headers.get("Authorization"))
            if callable(answers):
                answer = answers(request)
            else:
                answer = answers[min(len(stub.requests), len(answers)) - 1]
            time.sleep(answer.wait_s)
            if answer.drop:
                self.close_connection = True
                return
            content = answer.body()
            try:
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
