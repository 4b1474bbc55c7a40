"""Asking the child process what this machine can do, beside whatever else it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from CTGLIPSlicer.worker_client import Worker
from CTGLIPSlicer.worker_failure import Failure, failureOfError

ENDS = ("done", "error", "cancelled")
"""The events that end a request."""
Described = Callable[[dict | None, Failure | None], None]


class Descriptions:
    """The descriptions that are awaited, each with who is to be told; see "describe" in docs/worker_protocol.md."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._told: dict[int, Described] = {}

    @property
    def areAwaited(self) -> bool:
        """Whether any is still to come."""
        return bool(self._told)

    def ask(self, done: Described, models: Sequence[str]) -> None:
        """Ask for one; `done(description, failure)` has one of the two."""
        self._worker.start()
        fields = {"models": list(models)} if models else {}
        self._told[self._worker.send({"command": "describe", **fields})] = done

    def take(self, event: dict) -> bool:
        """Whether the event is about a description; who awaits it is told."""
        number, kind = event.get("id"), event.get("event")
        if number not in self._told:
            return False
        if kind in ENDS:
            isDone = kind == "done"
            self._told.pop(number)(event.get("result") if isDone else None, None if isDone else failureOfError(event))
        return True

    def fail(self, failure: Failure) -> None:
        """Tell all who wait that none will come."""
        waiting, self._told = self._told, {}
        for done in waiting.values():
            done(None, failure)

    def forget(self) -> None:
        """Tell nobody any more."""
        self._told.clear()
