"""Requests that wait: one is served at a time, and any can be cancelled, the one being served too.

Guarded by Testing/Lib/test_worker_inbox.py.
"""

from __future__ import annotations

import threading

from CTGLIPLib.errors import InputError
from CTGLIPLib.worker_requests import Job


class Inbox:
    """The waiting requests, filled by the thread that listens and emptied by the thread that computes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, Job] = {}
        self._running: int | None = None
        self._stop = False
        self._ended = False

    def put(self, job: Job) -> None:
        """Let a request wait.

        Raises:
            InputError: if a request of that id waits or is being served.
        """
        with self._changed:
            if job.id in self._waiting or job.id == self._running:
                msg = f"A request needs an id of its own, but {job.id} is in use. Count on."
                raise InputError(msg)
            self._waiting[job.id] = job
            self._changed.notify_all()

    def take(self) -> Job | None:
        """The request that waited longest, once there is one; None when all is over."""
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: bool(self._waiting) or self._ended)
            if self._ended:
                return None
            job = self._waiting.pop(next(iter(self._waiting)))
            self._running, self._stop = job.id, False
            return job

    def cancel(self, job_id: int) -> bool:
        """Whether a waiting request was taken away; one that is being served is told to stop, others are unknown."""
        with self._changed:
            self._stop = self._stop or job_id == self._running
            return self._waiting.pop(job_id, None) is not None

    def end(self) -> None:
        """Stop what is being served and give out nothing more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def must_stop(self) -> bool:
        """Whether the request that is being served was cancelled."""
        return self._stop or self._ended
