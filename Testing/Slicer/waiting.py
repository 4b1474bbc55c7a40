"""Waiting in tests for what comes by polling."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_S = 60.0


def waitFor(done: Callable[[], object], longestS: float = LONGEST_S, everyS: float = 0.01) -> object:
    """What `done` gives once it is true.

    Raises:
        TimeoutError: if that takes too long.
    """
    end = time.monotonic() + longestS
    while not (value := done()):
        if time.monotonic() > end:
            msg = f"waited {longestS:g} s in vain"
            raise TimeoutError(msg)
        time.sleep(everyS)
    return value
