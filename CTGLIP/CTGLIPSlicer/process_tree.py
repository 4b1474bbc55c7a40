"""Ending a process with everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

WAIT_S = 1.0


def killTree(process: subprocess.Popen) -> None:
    """End a process that leads its own group, its descendants too; waits at most a second for it.

    Descendants in groups of their own (TotalSegmentator's process) are found by their parents.
    """
    if sys.platform == "win32":
        _taskkill(process.pid)
    else:
        below = descendants(process.pid) if process.poll() is None else []
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in below:
            _kill(pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(WAIT_S)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents first; empty where the system does not tell."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _parents() -> Iterable[tuple[int, int]]:
    """Pairs (process, parent) of all processes."""
    folder = Path("/proc")
    if not (folder / "self" / "stat").exists():
        return _parentsByPs()
    pairs = []
    for entry in folder.iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                # The name in brackets may hold anything, so the fields are counted after its end.
                pairs.append((int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])))
    return pairs


def _parentsByPs() -> Iterable[tuple[int, int]]:
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True, timeout=WAIT_S
        )
        return [(int(line.split()[0]), int(line.split()[1])) for line in listed.stdout.splitlines() if line.strip()]
    return []


def _kill(pid: int) -> None:
    """End a process, and the group that it leads if it leads one."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _taskkill(pid: int) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(pid)],
            capture_output=True,
            check=False,
            timeout=WAIT_S,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
