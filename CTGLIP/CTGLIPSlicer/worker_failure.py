"""Why a request failed, in words: what happened, the likely cause, what to do, the child's last real lines."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from slicer.i18n import tr as _

from CTGLIPLib.errors import CTGLIPError

MOST_LINES = 8
LONGEST_LINE = 300
LAUNCHER_SAYS = "exit abnormally - Report the problem"
"""What PythonSlicer, Slicer's launcher of Python, logs before it ends with code 1: a signal ended Python."""
NOISE = re.compile(
    r"Traceback \(most recent call last\)|\s*File \".*\", line \d+|[\s~^]+$|During handling of the above|"
    r"The above exception was the direct cause|\s*\^|\s*warnings\.warn\(|.*Warning: |\s*\d+%\||<frozen |"
    rf"(?:Current )?[Tt]hread 0x|Extension modules: |.*{LAUNCHER_SAYS}"
)
OUT_OF_MEMORY = re.compile(
    r"MemoryError|out of memory|can't allocate memory|cannot allocate memory|bad_alloc|not enough memory", re.IGNORECASE
)
MISSING_MODULE = re.compile(r"No module named '([\w.]+)'")
BROKEN_MODULE = re.compile(
    r"DLL load failed|\[WinError (?:126|127|1114)\]|cannot open shared object|Library not loaded"
)
FATAL_SIGNALS = {
    "Segmentation fault": 11,
    "access violation": 11,
    "Aborted": 6,
    "Bus error": 7,
    "Illegal instruction": 4,
}
FATAL_ERROR = re.compile(rf"(?:Fatal Python error|Windows fatal exception): ({'|'.join(FATAL_SIGNALS)})")
"""What Python's faulthandler logs of the signals that it sees, and their numbers; signal 9 it does not see."""
WINDOWS_CODES = {0xC0000005: 11, 0xC0000017: 9, 0xC000012D: 9, 0xC00000FD: 11, 0xC0000409: 6}
"""Windows exit codes and the signals that mean the same: 9 memory, 11 bad access, 6 given up."""


@dataclass(frozen=True)
class Failure:
    """Why a request failed.

    Attributes:
        kind: the name of CTGLIPLib's exception, such as "InputError", or "died" where the child process ended.
        message: what happened and why, for people.
        remedy: what to do; empty where the message says so itself.
        details: the child's last real lines; empty where there are none.
    """

    kind: str
    message: str
    remedy: str = ""
    details: str = ""

    @property
    def text(self) -> str:
        """Message and remedy in one line."""
        return f"{self.message} {self.remedy}".strip()


def failureOfError(event: dict) -> Failure:
    """The failure that the child's event "error" tells."""
    kind = str(event.get("kind") or "error")
    message = str(event.get("message") or _("The request failed without a message."))
    details = str(event.get("details") or "")
    if OUT_OF_MEMORY.search(f"{kind} {message}"):
        return Failure(kind, message, _memoryRemedy(), details)
    if MISSING_MODULE.search(message) or kind == "DependencyError":
        return Failure(
            kind, message, _("Open Set up in this module to see what is missing and to install it."), details
        )
    return Failure(kind, message, "", details)


def failureOfFiles(error: Exception) -> Failure:
    """Why the study's files could not be written."""
    if isinstance(error, CTGLIPError):
        return Failure(type(error).__name__, str(error))
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    message = _("The study's files could not be written: {reason}.").format(reason=reason)
    if isinstance(error, OSError):
        return Failure("OutputError", message, _("Free space in the temporary folder and ask again."))
    if isinstance(error, MemoryError):
        return Failure("OutOfMemory", message, _memoryRemedy())
    return Failure("InternalError", message, _("This is a mistake in the module; please report it."))


def failureOfExit(exitCode: int | None, log: str) -> Failure:
    """Why the child process ended by itself.

    Args:
        exitCode: as `subprocess` gives it: negative for a signal; None where it is not known.
        log: its last lines.
    """
    details = realLines(log)
    number = _signalOf(exitCode, log)
    missing = MISSING_MODULE.search(details)
    if missing:
        return Failure("died", *_missingWords(missing[1]), details)
    if BROKEN_MODULE.search(details):
        message = _("The helper process ended because a package is installed only in part.")
        return Failure("died", message, _("Open Set up in this module and install it again."), details)
    if number == 9 or OUT_OF_MEMORY.search(details):
        how = _("was ended by the system (signal 9)") if number == 9 else _("ended")
        message = _("The helper process {how}: probably the computer ran out of memory.").format(how=how)
        return Failure("died", message, _memoryRemedy(), details)
    if number:
        message = _("The helper process crashed ({signal}).").format(signal=_signalName(number))
        return Failure("died", message, _("Ask again; if it crashes again, choose the device cpu."), details)
    message = _("The helper process ended unexpectedly (exit code {code}).").format(code=exitCode)
    remedy = _("Ask again; if it happens again, look at the details and at Set up.")
    return Failure("died", message, remedy, details)


def _signalOf(exitCode: int | None, log: str) -> int:
    """The signal that ended the child, or what means the same on Windows; 0 for none."""
    if exitCode is not None and exitCode < 0:
        return -exitCode
    if LAUNCHER_SAYS not in log:
        return WINDOWS_CODES.get((exitCode or 0) & 0xFFFFFFFF, 0)
    fatal = FATAL_ERROR.search(log)
    return FATAL_SIGNALS[fatal[1]] if fatal else 9


def failureOfStart(error: OSError, program: str) -> Failure:
    """Why the child process could not be started."""
    message = _("The helper process could not be started with {program}: {reason}.").format(
        program=program, reason=error.strerror or error
    )
    return Failure("died", message, _("Restart Slicer; if it happens again, install Slicer again."), "")


def failureOfFolder(error: OSError) -> Failure:
    """The folder of the child's log and temporary files could not be made."""
    reason = error.strerror or error
    message = _("The helper process needs a temporary folder, but none could be made: {reason}.").format(reason=reason)
    return Failure("died", message, _("Free space there, or set TMPDIR to a folder with space, and restart Slicer."))


def failureOfNoEvent(details: str) -> Failure:
    """The child wrote without end what is no event, and was ended."""
    message = _("The helper process wrote what it never should, without end, and was ended.")
    return Failure("died", message, _("Ask again; if it happens again, install the CT-GLIP extension again."), details)


def realLines(log: str) -> str:
    """The last lines of a log that say something: no tracebacks' frames, no warnings, no progress bars."""
    kept: list[str] = []
    code = False
    for line in log.replace("\r", "\n").splitlines():
        isFrame = line.lstrip().startswith('File "')
        # The line after a frame is its source code: indented deeper than the frame.
        if not (code and line.startswith("    ")) and line.strip() and not NOISE.match(line):
            kept.append(line.strip()[:LONGEST_LINE])
        code = isFrame
    return "\n".join(kept[-MOST_LINES:])


def _missingWords(module: str) -> tuple[str, str]:
    if module.split(".")[0] == "CTGLIPLib":
        message = _("The helper process did not find CT-GLIP's own library.")
        return message, _("Install the CT-GLIP extension again.")
    name = "PyTorch (torch)" if module.split(".")[0] == "torch" else module
    message = _("The helper process needs {name}, which is not installed.").format(name=name)
    return message, _("Open Set up in this module and install what is missing.")


def _memoryRemedy() -> str:
    return _("Close other programs, or crop the volume with the Crop Volume module, and ask again.")


def _signalName(number: int) -> str:
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"
