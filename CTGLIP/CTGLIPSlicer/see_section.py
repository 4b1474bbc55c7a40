"""The section See: which answer colours the organs, and how; the table of findings."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from CTGLIPSlicer.findings import FindingRow
from CTGLIPSlicer.findings_table_widget import FindingsTable
from CTGLIPSlicer.parameters import Parameters


@dataclass(frozen=True)
class SeeActions:
    """What the section's buttons do.

    Attributes:
        original: called with whether the original colours are wanted.
        show3D: called with whether the surfaces are wanted.
        heatmap: called with whether the shown question's heat map is wanted.
        row: called with the row that was clicked.
    """

    original: Callable[[bool], None]
    show3D: Callable[[bool], None]
    heatmap: Callable[[bool], None]
    row: Callable[[FindingRow], None]


class SeeSection:
    """Shows answers as a list and a table; how they are coloured is kept in the parameter node.

    Args:
        ui: the panel's widgets by name.
        actions: what the buttons do.
    """

    def __init__(self, ui: SimpleNamespace, actions: SeeActions) -> None:
        self._ui = ui
        self._parameters: Parameters | None = None
        self._updating = self._isBusy = False
        self.table = FindingsTable(ui.findingsTable, ui.filterEdit, ui.filterComboBox, ui.tableCountLabel, actions.row)
        for comboBox, items in ((ui.colourByComboBox, colourings()), (ui.colourRangeComboBox, ranges())):
            for name, code in items:
                comboBox.addItem(name, code)
        ui.shownQuestionComboBox.connect("currentIndexChanged(int)", self._onShown)
        ui.colourByComboBox.connect("currentIndexChanged(int)", self._onColours)
        ui.colourRangeComboBox.connect("currentIndexChanged(int)", self._onColours)
        ui.dimOthersCheckBox.connect("toggled(bool)", self._onColours)
        ui.originalColoursButton.connect("clicked(bool)", actions.original)
        ui.show3DButton.connect("clicked(bool)", actions.show3D)
        ui.heatmapButton.connect("clicked(bool)", actions.heatmap)
        self.setAnswers([], [])

    def update(self, parameters: Parameters) -> None:
        """Show these parameters; what the user changes is written to them."""
        self._parameters = parameters
        ui = self._ui
        self._updating = True
        try:
            ui.colourByComboBox.currentIndex = ui.colourByComboBox.findData(parameters.colourBy)
            ui.colourRangeComboBox.currentIndex = ui.colourRangeComboBox.findData(parameters.colourRange)
            ui.dimOthersCheckBox.checked = parameters.dimOthers
            if parameters.shownQuestion < ui.shownQuestionComboBox.count:
                ui.shownQuestionComboBox.currentIndex = parameters.shownQuestion
        finally:
            self._updating = False

    def setAnswers(self, titles: Sequence[str], rows: Sequence[FindingRow]) -> None:
        """Show other answers: the questions with their answers in words, and the rows of the table."""
        ui = self._ui
        self._updating = True
        try:
            ui.shownQuestionComboBox.clear()
            for number, title in enumerate(titles, 1):
                ui.shownQuestionComboBox.addItem(f"{number}. {title}")
                ui.shownQuestionComboBox.setItemData(number - 1, title, qt.Qt.ToolTipRole)
        finally:
            self._updating = False
        for widget in (ui.shownQuestionComboBox, ui.originalColoursButton, ui.show3DButton):
            widget.enabled = bool(titles)
        ui.heatmapButton.enabled = bool(titles) and not self._isBusy
        self.table.setRows(rows)
        self.setNotes([])

    def setNotes(self, lines: Sequence[str]) -> None:
        """Say the shown answer in full, and what the reader should know about the scan."""
        self._ui.answerLabel.text = "<br>".join(html.escape(line) for line in lines)
        self._ui.answerLabel.visible = bool(lines)

    def setBusy(self, busy: bool) -> None:
        """Say whether a request is on its way, which a heat map would replace."""
        self._isBusy = busy
        self._ui.heatmapButton.enabled = self._ui.shownQuestionComboBox.count > 0 and not busy

    def setViews(self, original: bool, surfaces: bool, heat: bool) -> None:
        """Show on the buttons what the views show."""
        self._ui.originalColoursButton.checked = original
        self._ui.show3DButton.checked = surfaces
        self._ui.heatmapButton.checked = heat

    def _onShown(self, index: int) -> None:
        if not self._updating and self._parameters is not None and index >= 0:
            self._parameters.shownQuestion = index
            self.table.scrollToQuestion(index)

    def _onColours(self, *_ignored: object) -> None:
        if self._updating or self._parameters is None:
            return
        ui, parameters = self._ui, self._parameters
        chosen = {
            "colourBy": ui.colourByComboBox.itemData(ui.colourByComboBox.currentIndex),
            "colourRange": ui.colourRangeComboBox.itemData(ui.colourRangeComboBox.currentIndex),
            "dimOthers": bool(ui.dimOthersCheckBox.checked),
        }
        with slicer.util.NodeModify(parameters.node):
            for name, value in chosen.items():
                setattr(parameters, name, value)


def colourings() -> list[tuple[str, str]]:
    """What colours may mean, each with its code."""
    return [(_("Score"), "score"), (_("Similarity"), "similarity")]


def ranges() -> list[tuple[str, str]]:
    """How values are spread over the colours, each with its code."""
    return [(_("Fixed range"), "fixed"), (_("Fitted range"), "fitted")]
