"""The section Keep: files of the results, where they live in the scene, and how they are removed."""

from __future__ import annotations

import html
from collections.abc import Callable
from types import SimpleNamespace

import qt
from slicer.i18n import tr as _

from CTGLIPSlicer.ask_section import errorText
from CTGLIPSlicer.export import REPORTS


class KeepSection:
    """Asks where results are to be written.

    Args:
        ui: the panel's widgets by name.
        onExport: called with the path that the user chose.
        onClear: called when the user removes the results.
    """

    def __init__(self, ui: SimpleNamespace, onExport: Callable[[str], None], onClear: Callable[[], None]) -> None:
        self._ui = ui
        self._onExport = onExport
        self._name = self._where = self._told = ""
        self._canReport = self._isBusy = False
        for button, suffix in self._buttons():
            button.connect("clicked()", lambda suffix=suffix: self._onButton(suffix))
        ui.clearButton.connect("clicked()", onClear)
        self.setResults("", canReport=False)

    def setResults(self, name: str, canReport: bool) -> None:
        """Say where the results of this study live; the empty name says that there are none.

        Args:
            name: of the results' table in the scene.
            canReport: whether a report with pictures can be made now.
        """
        self._name, self._canReport = name, canReport
        self._enable()
        where = _("In the scene as the table \u201c{name}\u201d, its JSON text beside it, and tags of the segments.")
        self._where = where.format(name=name) if name else _("No results of this CT.")
        self._told = ""
        self._show()

    def setBusy(self, busy: bool) -> None:
        """Say whether a request is on its way, which a report would replace."""
        self._isBusy = busy
        self._enable()

    def tell(self, message: str) -> None:
        """Show how an export ended."""
        self._told = html.escape(message)
        self._show()

    def tellError(self, message: str) -> None:
        """Show why an export failed."""
        self._told = errorText(message)
        self._show()

    def _buttons(self) -> list[tuple[qt.QPushButton, str]]:
        ui = self._ui
        buttons = (ui.exportCsvButton, ui.exportJsonButton, ui.exportHtmlButton, ui.exportPdfButton)
        return list(zip(buttons, (".csv", ".json", ".html", ".pdf"), strict=True))

    def _enable(self) -> None:
        for button, suffix in self._buttons():
            isReport = suffix in REPORTS
            button.enabled = bool(self._name) and (not isReport or (self._canReport and not self._isBusy))
        self._ui.clearButton.enabled = bool(self._name)

    def _show(self) -> None:
        self._ui.keptLabel.text = "<br>".join(filter(None, (html.escape(self._where), self._told)))

    def _onButton(self, suffix: str) -> None:
        title = _("Save the results")
        path = qt.QFileDialog.getSaveFileName(self._ui.keepSection, title, f"findings{suffix}", f"*{suffix}")
        if path:
            self._onExport(path if path.lower().endswith(suffix) else f"{path}{suffix}")
