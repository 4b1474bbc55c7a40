"""The section Set up: what is there, one button for what is missing, and folders of weights for the offline."""

from __future__ import annotations

import html
from collections.abc import Callable
from types import SimpleNamespace

import ctk
import qt
from slicer.i18n import tr as _

from CTGLIPSlicer.installer import Installer, InstallOutcome, StatusLine
from CTGLIPSlicer.parameters import Parameters

MARKS = {
    "ok": ("\u2713", "#2e7d32"),
    "missing": ("\u2717", "#d32f2f"),
    "warning": ("\u26a0", "#b26a00"),
}
"""Sign and colour of each state of a line."""


class SetupSection:
    """Tells what is installed, and installs on demand. Nothing is installed or asked by itself.

    Args:
        ui: the panel's widgets by name.
        installer: knows what is there and installs the rest.
        onChange: called when something was installed.
    """

    def __init__(self, ui: SimpleNamespace, installer: Installer, onChange: Callable[[], None]) -> None:
        self._ui = ui
        self._installer = installer
        self._onChange = onChange
        self._parameters: Parameters | None = None
        self._description: dict | None = None
        self._lines: list[StatusLine] = []
        self._outcome = ""
        self._updating = self._wasReady = False
        ui.weightsPanel.visible = False
        ui.installButton.connect("clicked()", self._onInstall)
        ui.weightsButton.connect("toggled(bool)", self._onWeights)
        for name, edit in self._folders().items():
            edit.filters = ctk.ctkPathLineEdit.Dirs
            edit.connect("currentPathChanged(QString)", lambda path, name=name: self._onFolder(name, path))

    @property
    def isReady(self) -> bool:
        """Whether everything is there that asking needs."""
        return bool(self._lines) and not any(line.state == "missing" for line in self._lines)

    @property
    def lack(self) -> str:
        """What asking still needs, in words; empty where it needs nothing."""
        names = [line.name for line in self._lines if line.state == "missing"]
        return _("Missing: {names}. Install it under Set up.").format(names=", ".join(names)) if names else ""

    def refresh(self) -> None:
        """Look again at what is installed; the section closes the first time that everything is there."""
        self._lines = self._installer.status(self._description)
        self._ui.installButton.enabled = bool(self._installer.missing())
        self._show()
        if self.isReady and not self._wasReady:
            self._ui.setupSection.collapsed = True
        if not self.isReady:
            self._ui.setupSection.collapsed = False
        self._wasReady = self.isReady

    def setDescription(self, description: dict) -> None:
        """Add what the child process found: device, memory, models."""
        self._description = description
        self.refresh()

    def update(self, parameters: Parameters) -> None:
        """Show these parameters' folders; what is chosen is written to them."""
        self._parameters = parameters
        self._updating = True
        try:
            for name, edit in self._folders().items():
                folder = getattr(parameters, name)
                if edit.currentPath != folder:
                    edit.currentPath = folder
                if folder:
                    self._ui.weightsButton.checked = True
        finally:
            self._updating = False

    def _folders(self) -> dict[str, qt.QWidget]:
        """Parameters' names and the editors of these folders."""
        return {"modelFolder": self._ui.modelFolderEdit, "textEncoderFolder": self._ui.textEncoderFolderEdit}

    def _show(self) -> None:
        lines = [_lineText(line) for line in self._lines]
        if self._outcome:
            lines.append(html.escape(self._outcome).replace("\n", "<br>"))
        self._ui.setupStatusLabel.text = "<br>".join(lines)

    def _onInstall(self) -> None:
        outcome: InstallOutcome = self._installer.install(self._installer.missing())
        self._outcome = outcome.text
        self.refresh()
        self._onChange()

    def _onWeights(self, shown: bool) -> None:
        self._ui.weightsPanel.visible = shown
        self._ui.weightsButton.arrowType = qt.Qt.DownArrow if shown else qt.Qt.RightArrow

    def _onFolder(self, name: str, path: str) -> None:
        if not self._updating and self._parameters is not None:
            setattr(self._parameters, name, path.strip())


def _lineText(line: StatusLine) -> str:
    mark, colour = MARKS[line.state]
    return f'<span style="color:{colour}">{mark}</span> <b>{html.escape(line.name)}</b>: {html.escape(line.text)}'
