"""Progress of long work on the error stream, with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LINES_APART_S = 30.0
"""A log file gets a line this often; a terminal's line is rewritten each time."""


@dataclass
class TimedProgress:
    """A progress callback (CTGLIPLib.progress) that tells how long the rest will take.

    Attributes:
        clock: seconds from any moment on.
    """

    clock: Callable[[], float] = time.monotonic
    _what: str = ""
    _start: tuple[float, int] = (0.0, 0)
    _told_s: float = field(default=float("-inf"))

    def __call__(self, what: str, done: int, total: int) -> None:
        """Write the line; the time left is that of the steps done since this kind of work began."""
        now = self.clock()
        if what != self._what:
            self._what, self._start, self._told_s = what, (now, done), float("-inf")
        seconds, steps = now - self._start[0], done - self._start[1]
        left = f", {readable_time(seconds / steps * (total - done))} left" if steps and done < total else ""
        line = f"{what}: {done:,} of {total:,}{left}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\x1b[K" + ("\n" if done == total else ""))
        elif now - self._told_s >= LINES_APART_S or done == total:
            self._told_s = now
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


def readable_time(seconds: float) -> str:
    """A duration in two units at most: "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
