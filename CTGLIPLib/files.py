"""Files that are whole: written so that a reader never sees half of one, known by the hash of their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from CTGLIPLib.errors import InputError, OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, with the same ending, that becomes `path` only when the block succeeds.

    Raises:
        OutputError: if the folder cannot be made or written, or the disk is full.
    """
    ending = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", suffix=ending, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A temporary folder within `folder` whose files appear in `folder` only when the block succeeds.

    A `folder` that did not exist is removed again where it fails.

    Raises:
        OutputError: if the folder cannot be made or written, or the disk is full.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as name:
            yield Path(name)
            for path in sorted(Path(name).iterdir()):
                path.replace(folder / path.name)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        if is_new:
            with suppress(OSError):  # not empty: all went well
                folder.rmdir()


def write_whole_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; bytes of file names that are no UTF-8 are spelled as JSON spells them.

    Raises:
        OutputError: as `whole_file`.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def shown_name(name: str) -> str:
    """A file's name as results may show it, and use for a file of their own: whole characters, no backslash."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\\", "_")


def home_folder(what: str, variable: str) -> Path:
    """The user's home folder.

    Args:
        what: what is kept there.
        variable: the environment variable that names another place for it.

    Raises:
        InputError: if the user has none, as in a container that runs under a number.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        msg = (
            f"{what} belong in the home folder, but this user has none. Set {variable} to a folder that you may write "
            "to, or HOME."
        )
        raise InputError(msg) from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"Could not write {path}: {reason}. Free space or choose a folder that you may write to.")
