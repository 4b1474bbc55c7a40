"""The child process `python -m CTGLIPLib.worker`, as the module sees it: requests in, events out, never waiting.

The protocol is described in docs/worker_protocol.md. No threads: in Slicer they stand still while Qt's event loop
holds the interpreter, so both pipes are non-blocking and `poll` moves what can be moved.

Conventions:
- nothing here raises because the child died; `poll` then gives one event {"event": "died", "failure": Failure}
  (test_worker_client: `a write to a dead child is reported as its death`);
- a child that we end ourselves gives no event;
- what the child writes for a while only, such as a CT for TotalSegmentator, lies in a folder of ours and goes with it,
  however it ended (test_worker_client: `what a child left in its temporary folder goes with it`).
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
from types import NoneType
from typing import Protocol

from CTGLIPSlicer.process_tree import killTree
from CTGLIPSlicer.temporary_folders import newFolder
from CTGLIPSlicer.worker_failure import (
    Failure,
    failureOfExit,
    failureOfFolder,
    failureOfNoEvent,
    failureOfStart,
    realLines,
)

logger = logging.getLogger(__name__)

LOG_TAIL_BYTES = 32_768
READ_BYTES = 65_536
MOST_BYTES = 4_194_304
"""So much is read at once; a child that writes without end does not hold up the window."""
LONGEST_EVENT_BYTES = 67_108_864
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
        self._temporary: Path | None = None
        self._removeFolder: weakref.finalize | None = None
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
        try:
            self._makeFolder()
        except OSError as error:
            self._died = failureOfFolder(error)
            return
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    env=self._childEnvironment(),
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            self._died = failureOfStart(error, self._command[0])
            return
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

    def _makeFolder(self) -> None:
        """A folder for the child's log and temporary files; short names, for sockets may lie there (104 letters)."""
        folder = newFolder(Path(tempfile.gettempdir()))
        self._removeFolder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._log, self._temporary = folder / "log.txt", folder / "t"
        self._temporary.mkdir()

    def _childEnvironment(self) -> dict[str, str]:
        """Slicer's own environment, the folder of CTGLIPLib to import from, UTF-8 everywhere, crashes in the log."""
        environment = {**os.environ, **self._environment}
        path = [str(libraryFolder()), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        environment.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self._temporary)))
        environment.update(PYTHONUTF8="1", PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
        return environment

    def _write(self, message: dict) -> None:
        if self._process is None:
            return
        self._unsent += json.dumps(message).encode("ascii") + b"\n"
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
            self._end(failureOfExit(exitCode, self._logTail()))
        elif len(self._unread) > LONGEST_EVENT_BYTES:
            self._end(failureOfNoEvent(realLines(self._logTail())))
        return events

    def _end(self, failure: Failure) -> None:
        """Note the child's death; what it started may live on, and its temporary files lie there."""
        self._died = failure
        killTree(self._process)
        self._close()
        self._unread.clear()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _fill(self) -> bool:
        """Read what is there, up to `MOST_BYTES`; whether the child closed its output."""
        handle, most = self._process.stdout.fileno(), len(self._unread) + MOST_BYTES
        try:
            while block := os.read(handle, READ_BYTES):
                self._unread += block
                if len(self._unread) >= most:
                    return False
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
        if self._removeFolder is not None:
            self._removeFolder()
        self._log = self._temporary = self._removeFolder = None

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
    except (ValueError, RecursionError):
        event = None
    if isinstance(event, dict) and isinstance(event.get("id"), (int, NoneType)):
        return event
    if line.strip():
        logger.warning("The helper process wrote a line that is no event (%d bytes); it is ignored.", len(line))
    return None
