"""Every failure of an installation says why and what to do, never "returned non-zero exit status" alone."""

from __future__ import annotations

import sys
from subprocess import CalledProcessError

import pytest


@pytest.fixture
def module(slicerApp):
    from CTGLIPSlicer import install_failure

    return install_failure


@pytest.mark.parametrize(
    ("line", "cause", "remedy"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk", "Free"),
        ("urllib3.exceptions.ProxyError('Cannot connect to proxy.', OSError('Tunnel'))", "proxy", "HTTPS_PROXY"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "certificate", "PIP_CERT"),
        ("NewConnectionError: [Errno 11001] getaddrinfo failed", "no connection", "Without internet"),
        ("ERROR: [WinError 5] Access is denied: 'C:\\\\Slicer\\\\torch.dll'", "in use", "Restart Slicer"),
        ("ERROR: ResolutionImpossible: for help visit https://pip.pypa.io", "another version", "stable Slicer"),
        ("ERROR: No matching distribution found for torch", "no version of it", "Slicer 5.10"),
        (
            "InstallError: This module requires PyTorch extension. Install it from the Extensions Manager.",
            "ext",
            "View",
        ),
        ("ValueError: TotalSegmentator update was cancelled.", "cancelled", "Try again"),
    ],
)
def test_a_known_line_gives_its_cause_and_remedy(module, line, cause, remedy):
    failure = module.installFailure("PyTorch", CalledProcessError(1, "pip"), f"Collecting torch\n{line}\n")
    assert failure.message.startswith("PyTorch could not be installed: ")
    assert cause in failure.message
    assert remedy in failure.remedy
    assert line[:40] in failure.details


def test_an_error_without_any_line_shows_itself(module):
    failure = module.installFailure("PyTorch", RuntimeError("odd"), "")
    assert failure.message == "PyTorch could not be installed: the installer gave no known reason."
    assert failure.details == "RuntimeError: odd"


def test_printed_lines_are_kept_and_passed_on(module, capsys):
    with module.PrintedLines() as printed:
        sys.stdout.write("Collecting torch\n")
        sys.stderr.write("ERROR: no\n")
    assert printed.text == "Collecting torch\nERROR: no\n"
    assert capsys.readouterr() == ("Collecting torch\n", "ERROR: no\n")
    sys.stdout.write("later\n")
    assert "later" not in printed.text
