"""Which machine works on which study: a part by hash, or claims in a folder that machines share.

Conventions:
- a claim is a file that only one can make (O_EXCL, which shared file systems keep too); its holder touches it while it
  works, and one that was not touched for `STALE_S`, or whose process on this machine is gone, counts no more
  (test_claims: `a claim that nobody renews is taken over by one only`);
- taking over makes a claim of the next number, which again only one can make;
- age is told by the folder's own clock, never by comparing two machines' clocks.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from CTGLIPLib.errors import ConfigError, OutputError

STALE_S = 600.0
RENEWED_EVERY_S = 30.0
THIS_PROCESS = uuid.uuid4().hex
"""Tells this process from an earlier one of the same number, as a container's first process has it each time."""


@dataclass(frozen=True)
class Shard:
    """One part of the studies, by a hash of their ids: part `number` of `count`, counted from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            msg = f"A shard is a part of a whole, such as 2/8, counted from 1; got {self.number}/{self.count}."
            raise ConfigError(msg)

    def holds(self, study_id: str) -> bool:
        """Whether the study belongs to this part."""
        digest = hashlib.sha256(study_id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


@dataclass(frozen=True)
class ClaimFolder:
    """The claims that machines make in one folder.

    Attributes:
        folder: where they lie; made where it does not exist.
        stale_s: age in seconds from which a claim counts no more.
    """

    folder: Path
    stale_s: float = STALE_S

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Whether the work of that name is ours, for as long as the block lasts.

        Args:
            name: letters, digits, ".", "_" and "-".

        Raises:
            OutputError: if the folder cannot be written.
        """
        try:
            mine = self._make(name)
        except OSError as error:
            msg = (
                f"Could not write {self.folder}: {error.strerror}. Free space or choose a folder that you may write to."
            )
            raise OutputError(msg) from error
        if mine is None:
            yield False
            return
        ended = threading.Event()
        renewer = threading.Thread(target=_renew, args=(mine, ended), daemon=True)
        renewer.start()
        try:
            yield True
        finally:
            ended.set()
            renewer.join()
            for number in range(_number(mine) + 1):
                self._path(name, number).unlink(missing_ok=True)

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.{number}.claim"

    def _make(self, name: str) -> Path | None:
        """Our claim; None where another's counts.

        Raises:
            OSError: if the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            path = self._path(name, number)
            try:
                file = path.open("x", encoding="utf-8")
            except FileExistsError:
                if not self._is_stale(path):
                    return None
                number += 1
                continue
            try:
                with file:
                    file.write(f"{socket.gethostname()} {os.getpid()} {THIS_PROCESS}")
            except OSError:
                path.unlink(missing_ok=True)
                raise
            return path

    def _is_stale(self, path: Path) -> bool:
        try:
            touched_s, text = path.stat().st_mtime, path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return False  # just ended; whoever comes next finds its work done
        return _holder_is_gone(text) or self._now_s() - touched_s > self.stale_s

    def _now_s(self) -> float:
        """The time by the clock of the machine that keeps the folder."""
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".now-") as file:
            return os.fstat(file.fileno()).st_mtime


def _number(path: Path) -> int:
    return int(path.name.split(".")[-2])


def _renew(path: Path, ended: threading.Event) -> None:
    while not ended.wait(RENEWED_EVERY_S):
        with suppress(OSError):
            os.utime(path)


def _holder_is_gone(text: str) -> bool:
    """Whether the claim's process ran on this machine and does no more."""
    found = re.fullmatch(r"(\S+) (\d+) (\w+)", text)
    if found is None or found[1] != socket.gethostname():
        return False
    if int(found[2]) == os.getpid():
        return found[3] != THIS_PROCESS
    if sys.platform == "win32":  # os.kill would end the process there
        return False
    try:
        os.kill(int(found[2]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
