"""Files in gzip, opened by isal where it is installed: a CT is read in less than half the time of Python's zlib.

Guarded by Testing/Lib/test_gunzip.py: the same bytes, and the same files refused.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import cast

try:
    from isal import igzip, isal_zlib  # pyright: ignore[reportMissingImports]
except ImportError:
    igzip = isal_zlib = None

CORRUPT: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error)
"""What reading a truncated or altered file raises."""
if isal_zlib is not None:
    CORRUPT = (*CORRUPT, cast("type[Exception]", isal_zlib.error))


def open_gzip(path: Path) -> gzip.GzipFile:
    """The file's unpacked bytes, for reading; reading it raises one of CORRUPT where it is damaged."""
    return gzip.GzipFile(path, "rb") if igzip is None else igzip.IGzipFile(path, "rb")
