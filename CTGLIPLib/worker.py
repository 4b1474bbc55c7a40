"""The process that computes for 3D Slicer: `python -m CTGLIPLib.worker`, protocol 1 (docs/worker_protocol.md).

It reads requests as JSON lines from standard input and writes events as JSON lines to standard output.

Conventions, guarded by Testing/Lib/test_worker.py:
- Standard output carries events and nothing else: whatever a library prints goes to standard error.
- A thread listens while another computes, so that `cancel` reaches a request that is being served.
- The process ends when its standard input does, at the latest `END_GRACE_S` later.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from CTGLIPLib import __version__
from CTGLIPLib.allocator import return_freed_memory
from CTGLIPLib.errors import Cancelled, InputError
from CTGLIPLib.worker_errors import is_out_of_memory, told
from CTGLIPLib.worker_inbox import Inbox
from CTGLIPLib.worker_requests import BadRequestError, Cancel, Job, Quit, parse_line

if TYPE_CHECKING:
    from CTGLIPLib.worker_commands import Commands

PROTOCOL = 1
END_GRACE_S = 1.5
PROGRESS_EVERY_S = 0.05

logger = logging.getLogger("CTGLIPLib.worker")  # __name__ is __main__


def main() -> None:
    """Serve requests until standard input ends."""
    return_freed_memory()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("CTGLIPLib").setLevel(logging.INFO)  # others tell warnings only: fontTools lists every letter
    requests, events = _own_streams()
    Worker(requests, events).run()


class Worker:
    """Listens to requests, serves them one after the other, and tells how it went.

    Args:
        requests: JSON lines.
        events: where JSON lines are written.
    """

    def __init__(self, requests: BinaryIO, events: BinaryIO) -> None:
        self._requests = requests
        self._events = events
        self._writing = threading.Lock()
        self._inbox = Inbox()
        self._commands: Commands | None = None

    def run(self) -> None:
        """Serve until the requests end."""
        self.send({"event": "ready", "protocol": PROTOCOL, "version": __version__, "pid": os.getpid()})
        threading.Thread(target=self._listen, daemon=True).start()
        while (job := self._inbox.take()) is not None:
            self._serve(job)

    def send(self, event: Mapping[str, object]) -> None:
        """Write an event; where nobody reads any more, all is over."""
        line = json.dumps(event, allow_nan=False).encode() + b"\n"
        try:
            with self._writing:
                self._events.write(line)
                self._events.flush()
        except OSError:
            self._inbox.end()

    def _listen(self) -> None:
        """Take requests until they end, then end the process, by force if what runs does not stop in time."""
        with suppress(OSError, MemoryError):
            for line in self._requests:
                if line.strip() and not self._heard(line):
                    break
        self._inbox.end()
        time.sleep(END_GRACE_S)
        os._exit(0)

    def _heard(self, line: bytes) -> bool:
        """Whether to go on listening."""
        try:
            asked = parse_line(line)
        except BadRequestError as error:
            self._refuse(error.id, error.cause)
            return True
        except Exception as error:  # noqa: BLE001 - a line that breaks the reader must not end the listening
            self._refuse(None, error)
            return True
        if isinstance(asked, Quit):
            return False
        if isinstance(asked, Cancel):
            if self._inbox.cancel(asked.id):
                self.send({"id": asked.id, "event": "cancelled"})
            return True
        try:
            self._inbox.put(asked)
        except InputError as error:
            self._refuse(None, error)
        return True

    def _refuse(self, job_id: int | None, error: Exception) -> None:
        self.send({**({} if job_id is None else {"id": job_id}), "event": "error", **told(error)})

    def _serve(self, job: Job) -> None:
        """Serve one request; whatever goes wrong, the next one is served."""
        event: dict[str, object]
        try:
            result = self._ready_commands().serve(job.request, _Progress(self, job.id, self._inbox))
            event = {"event": "done", "result": result}
        except Cancelled:
            event = {"event": "cancelled"}
        except Exception as error:  # noqa: BLE001 - the one place that turns every error into an event
            event = {"event": "error", **told(error)}
            logger.warning("Request %d: %s", job.id, event["details"] or event["kind"])
            if is_out_of_memory(error) and self._commands is not None:
                self._commands.studies.clear()
        self.send({"id": job.id, **event})

    def _ready_commands(self) -> Commands:
        """The commands, whose packages are loaded with the first request so that the process is ready at once."""
        if self._commands is None:
            from CTGLIPLib.worker_commands import Commands

            self._commands = Commands()
        return self._commands


class _Progress:
    """Tells how far a request is, at most every `PROGRESS_EVERY_S` while the stage is the same."""

    def __init__(self, worker: Worker, job_id: int, inbox: Inbox) -> None:
        self._worker, self._id, self._inbox = worker, job_id, inbox
        self._last: tuple[str, int, int] | None = None
        self._sent = 0.0

    def __call__(self, what: str, done: int, total: int) -> bool:
        if self._inbox.must_stop:
            return False
        step, now = (what, done, total), time.monotonic()
        is_new_stage = self._last is None or self._last[0] != what or done == total
        if step != self._last and (is_new_stage or now - self._sent >= PROGRESS_EVERY_S):
            self._last, self._sent = step, now
            self._worker.send({"id": self._id, "event": "progress", "what": what, "done": done, "total": total})
        return not self._inbox.must_stop


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Requests and events on descriptors of their own; what others read is empty, and what they print is log."""
    requests, events = os.dup(0), os.dup(1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(requests, "rb"), os.fdopen(events, "wb")


if __name__ == "__main__":
    main()
