"""A real worker process for tests: sends requests, collects events, never waits for ever."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
Event = dict[str, Any]


class WorkerProcess:
    """`python -m CTGLIPLib.worker` with its events in a queue.

    Args:
        folder: where its log and its cache are.
        python_path: folders put before the repository on PYTHONPATH.
        code: what to run instead.
        environment: more variables.
    """

    def __init__(self, folder: Path, *python_path: Path, code: str | None = None, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log.txt"
        self.lines: list[bytes] = []
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._next_id = 0
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(["-m", "CTGLIPLib.worker"] if code is None else ["-c", code])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(map(str, [*python_path, REPOSITORY])),
                    "CTGLIP_CACHE": str(folder / "cache"),
                    "CTGLIP_MODELS": str(folder / "no-models"),
                    **environment,
                },
            )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)
            self._events.put(json.loads(line))
        self._events.put(None)

    def write(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def send(self, command: str, **values: object) -> int:
        """Send a request; its id."""
        self._next_id += 1
        self.write(json.dumps({"id": self._next_id, "command": command, **values}))
        return self._next_id

    def next(self, timeout: float = PATIENCE_S) -> Event | None:
        """The next event, or None where the worker's output ended."""
        return self._events.get(timeout=timeout)

    def until(self, *kinds: str, timeout: float = PATIENCE_S) -> Event:
        """The first event of one of these kinds; those before it are passed over."""
        end = time.monotonic() + timeout
        while (event := self.next(max(end - time.monotonic(), 0.01))) is not None:
            if event["event"] in kinds:
                return event
        message = f"the worker ended before {kinds}: {self.log.read_text()}"
        raise AssertionError(message)

    def answer(self, command: str, **values: object) -> Event:
        """Send a request and wait for its end."""
        job_id = self.send(command, **values)
        event = self.until("done", "error", "cancelled")
        assert event["id"] == job_id
        return event

    def close(self) -> None:
        """End its input; where it stays nevertheless, kill it."""
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()
