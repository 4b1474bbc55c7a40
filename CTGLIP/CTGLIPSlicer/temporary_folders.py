"""Temporary folders that bear their process's number, so that those of a Slicer that was killed can be removed.

They hold a patient's CT: none may stay behind. Guarded by Testing/Slicer/test_temporary_folders.py.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

OURS = re.compile(r"ctglip-(\d+)-\w+")
OLD_S = 2 * 24 * 3600.0
"""On Windows, where a process is not asked for without a risk, folders that nothing changed in for so long are left."""


def newFolder(parent: Path) -> Path:
    """A new folder in `parent` that belongs to this process; those of processes that are gone are removed first.

    Raises:
        OSError: if the folder cannot be made.
    """
    for folder in parent.iterdir():
        match = OURS.fullmatch(folder.name)
        if match and _isLeft(folder, int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"ctglip-{os.getpid()}-", dir=parent))


def _isLeft(folder: Path, pid: int) -> bool:
    """Whether nobody uses a folder any more."""
    if sys.platform == "win32":
        return time.time() - folder.stat().st_mtime > OLD_S
    try:
        os.kill(pid, 0)  # asks only
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
