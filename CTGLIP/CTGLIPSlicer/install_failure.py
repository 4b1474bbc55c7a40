"""Why an installation failed, in words: what happened, the likely cause, what to do, pip's last real lines."""

from __future__ import annotations

import io
import re
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import TextIO

from slicer.i18n import tr as _

from CTGLIPSlicer.worker_failure import Failure, realLines

KEPT_LINES = 400


class PrintedLines:
    """What is printed while it is entered: passed on as before, with the last lines kept.

    pip's output reaches Python's console by `print` in every version of Slicer, while the error that is raised holds
    none of it.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._stack = ExitStack()

    @property
    def text(self) -> str:
        """The last lines."""
        return "".join(self._lines)

    def __enter__(self) -> PrintedLines:
        self._stack.enter_context(redirect_stdout(_Copy(sys.stdout, self._lines)))
        self._stack.enter_context(redirect_stderr(_Copy(sys.stderr, self._lines)))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


class _Copy(io.TextIOBase):
    """A stream that passes on what is written and keeps a copy."""

    def __init__(self, stream: TextIO | None, copy: deque[str]) -> None:
        self._stream, self._copy = stream, copy

    def write(self, text: str) -> int:
        self._copy.append(text)
        if self._stream is not None:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None and hasattr(self._stream, "flush"):
            self._stream.flush()


def installFailure(name: str, error: Exception | None, printed: str) -> Failure:
    """Why a component could not be installed.

    Args:
        name: the component.
        error: what was raised; None where the installer ended well but the packages are not there.
        printed: what was printed meanwhile.
    """
    said = f"{printed}\n{error}" if error is not None else printed
    cause, remedy = next((words() for pattern, words in CAUSES if pattern.search(said)), (None, None))
    lines = realLines(printed) or (f"{type(error).__name__}: {error}" if error is not None else "")
    if cause is None:
        cause = _("the installer gave no known reason")
        remedy = _("Look at the last lines below, restart Slicer and try again; docs/slicer_install.md has ways round.")
    message = _("{name} could not be installed: {cause}.").format(name=name, cause=cause)
    return Failure("InstallError", message, str(remedy), lines)


def _proxy() -> tuple[str, str]:
    return (
        _("the network's proxy refused the connection"),
        _("Ask your IT department for the proxy's address, set HTTPS_PROXY to it and start Slicer again."),
    )


def _certificate() -> tuple[str, str]:
    return (
        _("the server's certificate was not accepted, as behind a proxy that inspects traffic"),
        _("Ask your IT department for its certificate file, set PIP_CERT to it and start Slicer again."),
    )


def _offline() -> tuple[str, str]:
    return (
        _("this computer has no connection to the internet"),
        _("Connect it and try again, or follow 'Without internet' in docs/slicer_install.md."),
    )


def _permission() -> tuple[str, str]:
    return (
        _("Slicer's folder cannot be written, or a file in it is in use"),
        _(
            "Restart Slicer and install before anything else; if that does not help, install Slicer in a folder of "
            "your own."
        ),
    )


def _disk() -> tuple[str, str]:
    return _("the disk is full"), _("Free some gigabytes and try again.")


def _conflict() -> tuple[str, str]:
    return (
        _("a package needs another version of something that Slicer needs as it is"),
        _("Nothing of Slicer was changed. Use the current stable Slicer, in which the packages fit together."),
    )


def _noBuild() -> tuple[str, str]:
    return (
        _("the package index has no version of it for this computer"),
        _("Use Slicer 5.10 or newer on 64-bit Windows, macOS or Linux."),
    )


def _extension() -> tuple[str, str]:
    return (
        _("an extension that it comes through is not installed"),
        _("Install it in the Extensions Manager (View menu), restart Slicer and try again."),
    )


def _cancelled() -> tuple[str, str]:
    return _("it was cancelled"), _("Try again when you want it.")


def _regex(words: str) -> re.Pattern[str]:
    return re.compile(words, re.IGNORECASE)


CAUSES: tuple[tuple[re.Pattern[str], Callable[[], tuple[str, str]]], ...] = (
    (_regex(r"No space left|not enough space|Errno 28|WinError 112"), _disk),
    (_regex(r"ProxyError|Tunnel connection failed|407 Proxy"), _proxy),
    (_regex(r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError"), _certificate),
    (
        _regex(
            r"NewConnectionError|name resolution|getaddrinfo failed|nodename nor servname|Network is unreachable|"
            r"Failed to establish a new connection|ConnectTimeout|ReadTimeout|Connection refused|Connection reset"
        ),
        _offline,
    ),
    (_regex(r"PermissionError|Permission denied|Access is denied|WinError (5|32)\b|Errno 13\b"), _permission),
    (_regex(r"ResolutionImpossible|conflicting dependencies|requested .* but .* constraint"), _conflict),
    (_regex(r"Extensions? Manager|No module named 'PyTorchUtils'"), _extension),
    (_regex(r"No matching distribution|Could not find a version"), _noBuild),
    (_regex(r"User cancelled|User declined|was cancelled"), _cancelled),
)
"""What the lines of pip and of the other extensions mean; the first that fits counts."""
