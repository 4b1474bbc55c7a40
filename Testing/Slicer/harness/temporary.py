"""The harness's temporary folder, removed when the process ends."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ctglip-slicer-", ignore_cleanup_errors=True)


def folder(name: str) -> Path:
    """A folder of that name below the temporary folder, made when missing."""
    path = Path(_root().name) / name
    path.mkdir(parents=True, exist_ok=True)
    return path
