"""Stopping at the end of a step when the machine is taken away (SIGTERM), as clusters announce it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import torch

from ctglip_training.distributed import Ranks
from CTGLIPLib.errors import CTGLIPError


class StoppedError(CTGLIPError):
    """The run was asked to stop; its checkpoint holds every step that it did."""


class StopRequest:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self._came = False

    def come(self, _signal: int, _frame: FrameType | None) -> None:
        """Note that it has."""
        self._came = True

    def agreed(self, ranks: Ranks) -> bool:
        """Whether it has come to any of the processes, who must ask together."""
        return bool(ranks.sum(torch.tensor([int(self._came)])).item())


@contextmanager
def stop_request() -> Generator[StopRequest, None, None]:
    """Within it SIGTERM ends no process but is noted; threads other than the main one cannot listen, and do not."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.come)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
