"""The child process `python -m CTGLIPLib.worker`, as the module sees it: requests in, events out, never waiting.

The protocol is described in docs/worker_protocol.md. No threads: in Slicer they stand still while Qt's event loop
holds the interpreter, so both pipes are non-blocking and `poll` moves what can be moved.

Conventions:
- nothing here raises because the child died; `poll` then gives one event {"event": "died", "failure": Failure}
  (test_worker_client: `a write to a dead child is reported as its death`);
- a child that we end ourselves gives no event.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from CTGLIPSlicer.process_tree import killTree
from CTGLIPSlicer.worker_failure import Failure, failureOfExit, failureOfStart, realLines

logger = logging.getLogger(__name__)

LOG_TAIL_BYTES = 32_768
READ_BYTES = 65_536
SILENT_END_S = 1.0
"""How long a child that closed its output may take to end before it is ended."""


class Worker(Protocol):
    """Who computes: the child process, or a stand-in for it in tests."""

    def start(self) -> None:
        """Start it, if it does not run."""

    def send(self, request: dict) -> int:
        """The number given to the request, which comes with its events."""

    def poll(self) -> list[dict]:
        """The events since the last call; never waits. Its death is the event {"event": "died", "failure": Failure}."""

    def cancel(self, requestId: int) -> None:
        """Ask it to stop that request."""

    def kill(self) -> None:
        """End it with all that it started; within about a second."""

    def isRunning(self) -> bool:
        """Whether it was started and has not ended."""

    def lastErrorLines(self) -> str:
        """The last real lines that it logged; empty where there are none."""


class WorkerProcess:
    """The child process; it can be started again after its end."""

    def __init__(self, command: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Nothing is started.

        Args:
            command: what to run; None is Slicer's Python with our worker.
            environment: variables to set beside those of this process.
        """
        self._command = list(command) if command else [pythonProgram(), "-m", "CTGLIPLib.worker"]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen | None = None
        self._log: Path | None = None
        self._removeLog: weakref.finalize | None = None
        self._lastId = 0
        self._unsent = bytearray()
        self._unread = bytearray()
        self._died: Failure | None = None
        self._silentSince: float | None = None

    @property
    def pid(self) -> int | None:
        """The process's number; None where it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, if it does not run; a failure to start is its death, told by `poll`."""
        if self._process is not None:
            return
        self._clear()
        handle, name = tempfile.mkstemp(prefix="ctglip-worker-", suffix=".log")
        self._log = Path(name)
        self._removeLog = weakref.finalize(self, Path.unlink, self._log, missing_ok=True)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=handle,
                bufsize=0,
                env=self._childEnvironment(),
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._died = failureOfStart(error, self._command[0])
            return
        finally:
            os.close(handle)
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)

    def send(self, request: dict) -> int:
        """The number given to the request; it is written as far as the pipe takes it, the rest by `poll`."""
        self._lastId += 1
        self._write({"id": self._lastId, **request})
        return self._lastId

    def cancel(self, requestId: int) -> None:
        """Ask the child to stop that request."""
        self._write({"command": "cancel", "id": requestId})

    def poll(self) -> list[dict]:
        """The events since the last call; never waits."""
        self._flush()
        events = self._read() if self._process is not None else []
        if self._died is not None:
            events.append({"event": "died", "failure": self._died})
            self._died = None
        return events

    def kill(self) -> None:
        """End the child with all that it started; no event tells it."""
        if self._process is not None:
            killTree(self._process)
            self._close()
        self._clear()

    def isRunning(self) -> bool:
        """Whether the child was started and its end was not told yet."""
        return self._process is not None

    def lastErrorLines(self) -> str:
        """The last real lines of the child's log, also after its end; empty where there are none."""
        return realLines(self._logTail())

    def _childEnvironment(self) -> dict[str, str]:
        """Slicer's own environment, the folder of CTGLIPLib to import from, UTF-8 everywhere, crashes in the log."""
        environment = {**os.environ, **self._environment}
        path = [str(libraryFolder()), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        environment.update(PYTHONUTF8="1", PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
        return environment

    def _write(self, message: dict) -> None:
        if self._process is None:
            return
        self._unsent += json.dumps(message, ensure_ascii=False).encode("utf-8") + b"\n"
        self._flush()

    def _flush(self) -> None:
        """Write what the pipe takes without waiting."""
        if self._process is None:
            return
        handle = self._process.stdin.fileno()
        try:
            while self._unsent:
                del self._unsent[: os.write(handle, self._unsent[:READ_BYTES])]
        except BlockingIOError:
            return
        except OSError:  # it died or closed its input; poll tells
            self._unsent.clear()

    def _read(self) -> list[dict]:
        """The events in the pipe; where the child ended, its death is noted."""
        exitCode = self._process.poll()  # before reading: what it wrote before its end is then read
        ended = self._fill()
        *lines, rest = bytes(self._unread).split(b"\n")
        self._unread = bytearray(rest)
        events = [event for event in map(_event, lines) if event is not None]
        if exitCode is None and ended:
            exitCode = self._afterSilence()
        if exitCode is not None:
            self._died = failureOfExit(exitCode, self._logTail())
            killTree(self._process)  # what it started may live on
            self._close()
        return events

    def _fill(self) -> bool:
        """Read all that is there; whether the child closed its output."""
        handle = self._process.stdout.fileno()
        try:
            while block := os.read(handle, READ_BYTES):
                self._unread += block
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _afterSilence(self) -> int | None:
        """The exit code of a child that closed its output; it is ended where that takes too long."""
        now = time.monotonic()
        self._silentSince = self._silentSince or now
        if now - self._silentSince > SILENT_END_S:
            killTree(self._process)
        return self._process.poll()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()
        self._process = None

    def _clear(self) -> None:
        """Forget everything of an earlier child."""
        self._unsent.clear()
        self._unread.clear()
        self._died = self._silentSince = None
        if self._removeLog is not None:
            with suppress(OSError):
                self._removeLog()
        self._log = self._removeLog = None

    def _logTail(self) -> str:
        if self._log is None:
            return ""
        try:
            with self._log.open("rb") as stream:
                stream.seek(max(0, self._log.stat().st_size - LOG_TAIL_BYTES))
                return stream.read().decode("utf-8", errors="replace")
        except OSError:
            return ""


def pythonProgram() -> str:
    """Slicer's Python where there is one (PythonSlicer), else the one that runs us."""
    return shutil.which("PythonSlicer") or sys.executable


def libraryFolder() -> Path:
    """The folder that holds CTGLIPLib: the module's own when installed, the repository in a source checkout.

    Raises:
        ModuleNotFoundError: if it is nowhere, that is, the extension is installed only in part.
    """
    found = find_spec("CTGLIPLib")
    if found is None or not found.submodule_search_locations:
        msg = "CTGLIPLib is not beside the CT-GLIP module nor one folder up. Install the CT-GLIP extension again."
        raise ModuleNotFoundError(msg)
    return Path(next(iter(found.submodule_search_locations))).resolve().parent


def _event(line: bytes) -> dict | None:
    """The event of a line; None, and a log line, where it is none."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict):
        return event
    if line.strip():
        logger.warning("The helper process wrote a line that is no event (%d bytes); it is ignored.", len(line))
    return None
