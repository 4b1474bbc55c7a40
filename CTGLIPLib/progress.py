"""Telling a caller how far long work is, and letting it stop that work."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from CTGLIPLib.errors import Cancelled


@runtime_checkable
class ProgressCallback(Protocol):
    """Called with what is being done, how many steps are done and how many there are; False asks to stop."""

    def __call__(self, what: str, done: int, total: int) -> bool | None:
        """None or True to go on, False to stop."""
        ...


def report(progress: ProgressCallback | None, what: str, done: int, total: int) -> None:
    """Tell the callback, if there is one.

    Raises:
        Cancelled: if it answered False.
    """
    if progress is not None and progress(what, done, total) is False:
        msg = f"Cancelled while {what} ({done} of {total} done). Nothing was written."
        raise Cancelled(msg)
