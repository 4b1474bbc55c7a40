"""Errors as the worker tells them: what is the user's to mend in words, anything else without a word of the patient's.

Guarded by Testing/Lib/test_worker_errors.py.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from CTGLIPLib.errors import CTGLIPError, DependencyError, InputError

LAST_FRAMES = 8
LONGEST_CAUSE = 200
OUT_OF_MEMORY = "OutOfMemory"
INTERNAL = "InternalError"
MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
MEMORY_WORDS_OF_LOADING = ("failed to map segment", "cannot allocate memory", "[winerror 1455]")
"""What systems say of a library for which there is no memory; it looks like a missing package otherwise."""
MEMORY_HELP = (
    "Memory ran out. Close other programs or volumes, crop the CT to the part that is asked about, or compute on "
    "another device (the CPU has more memory than most graphics cards), then ask again."
)


def told(error: Exception) -> dict[str, str | None]:
    """The error as the values `kind`, `message` and `details` of an event.

    Details are file names and line numbers only: values and messages of unexpected errors may be a patient's.
    """
    if isinstance(error, CTGLIPError):
        return {"kind": type(error).__name__, "message": str(error), "details": None}
    if reason := plain_reason(error):
        return {"kind": _plain_kind(error), "message": reason, "details": _frames(error)}
    msg = (
        f"Expected to answer, got an unexpected {type(error).__name__}. This is a fault of CT-GLIP, not yours: please "
        "report it with the details, which hold nothing of the scan."
    )
    return {"kind": INTERNAL, "message": msg, "details": _frames(error)}


def plain_reason(error: Exception) -> str:
    """What the user can mend of an error that is none of ours: memory, a package or a file; empty for any other."""
    if is_out_of_memory(error):
        return MEMORY_HELP
    if (package := missing_package(error)) is not None:
        return _missing(package, error)
    if isinstance(error, OSError) and error.strerror:  # such as a path that is too long, or may not be looked at
        return _unusable_file(error)
    return ""


def _plain_kind(error: Exception) -> str:
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    return (InputError if missing_package(error) is None else DependencyError).__name__


def missing_package(error: Exception) -> str | None:
    """The package of others that could not be loaded; None for any other error."""
    if isinstance(error, OSError):  # what a torch without its libraries raises on Windows
        files = [Path(frame.filename).parts[-2:] for frame in traceback.extract_tb(error.__traceback__)]
        return "torch" if ("torch", "__init__.py") in files else None
    package = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    return package if package not in ("", "CTGLIPLib") else None


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: Python's, or a device's as torch reports it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, (ImportError, OSError)) and any(
        words in str(error).lower() for words in MEMORY_WORDS_OF_LOADING
    ):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in MEMORY_WORDS)


def _missing(package: str, error: Exception) -> str:
    cause = (str(error).splitlines() or [type(error).__name__])[0][:LONGEST_CAUSE]
    return f"The package {package} is missing or cannot be loaded: {cause}. Install it, or install it anew."


def _unusable_file(error: OSError) -> str:
    return (
        f"A file or folder that can be used was expected, but the system says: {error.strerror}. Check that its path "
        "is right and not too long, that you may read and write there, and that the disk is not full, then ask again."
    )


def _frames(error: Exception) -> str:
    """The last places of the traceback, innermost last, and the error's kind."""
    frames = traceback.extract_tb(error.__traceback__)[-LAST_FRAMES:]
    lines = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([*lines, type(error).__name__])
