"""The section Tumours: a fine-tuned model's folder, Run, Cancel, and a row for each tumour that jumps to it."""

from __future__ import annotations

import html
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import ctk
import qt
from slicer.i18n import tr as _

from CTGLIPLib.errors import InputError
from CTGLIPSlicer import jump
from CTGLIPSlicer.ask_section import errorText
from CTGLIPSlicer.parameters import Parameters
from CTGLIPSlicer.tumors import Tumors, tumorsOf

if TYPE_CHECKING:
    from CTGLIPLib.tumor_results import TumorRow


class TumorSection:
    """Shows what a tumour model found in the chosen CT; the scene is the truth.

    Args:
        ui: the panel's widgets by name.
        onRun: called when tumours are to be sought.
        onCancel: called when the search is to stop.
        lack: why nothing can be computed now, in words; empty where something can.
    """

    def __init__(
        self, ui: SimpleNamespace, onRun: Callable[[], None], onCancel: Callable[[], None], lack: Callable[[], str]
    ) -> None:
        self._ui, self._lack = ui, lack
        self._parameters: Parameters | None = None
        self._tumors: Tumors | None = None
        self._isBusy = self._isRunning = False
        edit, table = ui.tumorModelFolderEdit, ui.tumorTable
        edit.filters = ctk.ctkPathLineEdit.Dirs
        edit.connect("currentPathChanged(QString)", self._onFolder)
        ui.tumorButton.connect("clicked()", onRun)
        ui.tumorCancelButton.connect("clicked()", onCancel)
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Tumour"), _("Detected"), _("ml"), _("Organ")])
        table.horizontalHeader().stretchLastSection = True
        table.verticalHeader().hide()
        table.connect("cellClicked(int,int)", self._onCell)

    def update(self, parameters: Parameters) -> None:
        """Show the parameters' model, and what is kept of their CT."""
        self._parameters = parameters
        if self._ui.tumorModelFolderEdit.currentPath != parameters.tumorModelFolder:
            self._ui.tumorModelFolderEdit.currentPath = parameters.tumorModelFolder
        self._enable()
        self._show(tumorsOf(parameters.inputVolume))

    def setBusy(self, busy: bool) -> None:
        """Say whether a request is on its way."""
        self._isBusy = busy
        self._enable()

    def begin(self) -> None:
        """The search is on its way."""
        self._isRunning = True
        self._ui.tumorStatusLabel.text = _("Searching for tumours ...")
        self._enable()

    def tell(self, message: str) -> None:
        """Show how the search goes; nothing where another request is on its way."""
        if self._isRunning:
            self._ui.tumorStatusLabel.text = html.escape(message)

    def end(self, why: str = "", isError: bool = True) -> None:
        """The search ended without a result to show; nothing where another request did."""
        if self._isRunning:
            self._isRunning = False
            self._ui.tumorStatusLabel.text = errorText(why) if why and isError else html.escape(why)
            self._enable()

    def tellError(self, message: str) -> None:
        """Show why the search could not begin."""
        self._ui.tumorStatusLabel.text = errorText(message)

    def receive(self, tumors: Tumors) -> None:
        """Show what was found now."""
        from CTGLIPLib.tumor_results import verdict

        self._isRunning = False
        self._enable()
        self._show(tumors)
        words = _("{verdict}. Research software, not a medical device.").format(verdict=verdict(tumors.result))
        self._ui.tumorStatusLabel.text = html.escape(words[0].upper() + words[1:])

    def _enable(self) -> None:
        reason = self._reason()
        button = self._ui.tumorButton
        button.enabled = not reason and not self._isBusy
        button.toolTip = reason or _("Segment the tumours of the chosen CT")
        self._ui.tumorCancelButton.enabled = self._isRunning

    def _reason(self) -> str:
        """Why tumours cannot be sought now; empty where they can."""
        if self._lack():
            return self._lack()
        try:
            self._parameters.tumorInputs()
        except InputError as error:
            return str(error)
        return ""

    def _show(self, tumors: Tumors | None) -> None:
        if tumors is None and self._tumors is not None:
            self._ui.tumorStatusLabel.text = ""
        self._tumors = tumors
        rows = tumors.result.tumors if tumors is not None else ()
        table = self._ui.tumorTable
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(_cells(row)):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                item.setToolTip(_tip(row))
                table.setItem(number, column, item)

    def _onFolder(self, path: str) -> None:
        if self._parameters is not None:
            self._parameters.tumorModelFolder = path

    def _onCell(self, number: int, _column: int) -> None:
        row = self._tumors.result.tumors[number] if self._tumors is not None else None
        if row is not None and row.centre_ras_mm is not None:
            jump.jumpTo(row.centre_ras_mm, self._tumors.segmentationNode)


def _cells(row: TumorRow) -> tuple[str, str, str, str]:
    organ = (row.organ or "").replace("_", " ")
    return row.name, _("yes") if row.detected else _("no"), f"{row.volume_ml:.1f}", organ


def _tip(row: TumorRow) -> str:
    if row.centre_ras_mm is None:
        return _("Nothing was segmented.")
    words = _("{count} separate pieces, the largest of {ml:.1f} ml. Click to see it.")
    return words.format(count=row.components, ml=row.largest_ml)
