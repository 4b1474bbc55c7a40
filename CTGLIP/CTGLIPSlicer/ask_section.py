"""The section Ask: questions, presets and history; Ask and Cancel; what is being done, and what went wrong."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from types import SimpleNamespace

import qt
from slicer.i18n import tr as _

from CTGLIPSlicer.parameters import Parameters
from CTGLIPSlicer.presets import presets
from CTGLIPSlicer.question_edit_widget import QuestionEdit, completionNames
from CTGLIPSlicer.session_types import Progress
from CTGLIPSlicer.states import State
from CTGLIPSlicer.worker_failure import Failure

MOST_SETS = 20
MOST_CHARACTERS_OF_A_SET = 60
ERROR_COLOUR = "#d32f2f"


class AskSection:
    """Owns the question box and everything that tells of a request.

    Args:
        ui: the panel's widgets by name.
        onAsk: called when the user asks.
        onCancel: called when the user cancels.
    """

    doubleClickS = 0.5
    """So soon after Ask the button does not cancel: that is the second half of a double click."""

    def __init__(self, ui: SimpleNamespace, onAsk: Callable[[], None], onCancel: Callable[[], None]) -> None:
        self._ui = ui
        self._onAsk, self._onCancel = onAsk, onCancel
        self._parameters: Parameters | None = None
        self._reason = ""
        self._status = ""
        self._state = State.IDLE
        self._updating = False
        self._askedAt = float("-inf")
        self.edit = QuestionEdit(completionNames(), self._onKeys)
        self.edit.setFixedHeight(self.edit.fontMetrics().lineSpacing() * 6 + 12)
        ui.questionsPlace.layout().addWidget(self.edit)
        ui.presetComboBox.addItem(_("Presets"))
        for preset in presets():
            ui.presetComboBox.addItem(preset.name, preset.text)
            ui.presetComboBox.setItemData(ui.presetComboBox.count - 1, preset.text, qt.Qt.ToolTipRole)
        self.edit.connect("textChanged()", self._onText)
        ui.presetComboBox.connect("activated(int)", lambda index: self._onSet(ui.presetComboBox, index))
        ui.historyComboBox.connect("activated(int)", lambda index: self._onSet(ui.historyComboBox, index))
        ui.askButton.connect("clicked()", self._onButton)
        ui.detailsButton.connect("toggled(bool)", self._onDetails)
        self.showFailure(None)
        self.setState(State.IDLE)

    def update(self, parameters: Parameters) -> None:
        """Show these parameters' questions and history; what is typed is written to them."""
        self._parameters = parameters
        self._updating = True
        try:
            if self.edit.plainText != parameters.questions:
                self.edit.plainText = parameters.questions
            self._showHistory(parameters.history[:MOST_SETS])
        finally:
            self._updating = False

    def remember(self, texts: list[str]) -> None:
        """Put a set of questions at the history's front, each set once."""
        asked = "\n".join(texts)
        self._parameters.history = list(dict.fromkeys([asked, *self._parameters.history]))[:MOST_SETS]

    def setReason(self, reason: str) -> None:
        """Say why nothing can be asked; the empty text says that something can."""
        self._reason = reason
        self._showButton()

    def setState(self, state: State) -> None:
        """Show whether a request is on its way: Ask becomes Cancel."""
        self._state = state
        self._ui.progressBar.visible = state.isBusy
        if state.isBusy:
            self.showFailure(None)
        self._showButton()

    def setProgress(self, progress: Progress | None) -> None:
        """Show what is being done, and how much of it is done."""
        bar = self._ui.progressBar
        fraction = None if progress is None else progress.fraction
        bar.maximum = 0 if fraction is None else 1000
        bar.value = 0 if fraction is None else round(1000 * fraction)
        if progress is not None and self._state.isBusy:
            steps = f" ({progress.done}/{progress.total})" if progress.total else ""
            self._showStatus(f"{progress.what[:1].upper()}{progress.what[1:]}{steps}")

    def setStatus(self, text: str) -> None:
        """Show how the last request ended."""
        self._status = text
        self._showButton()

    def showFailure(self, failure: Failure | None) -> None:
        """Show what went wrong, why, and what to do; None clears it."""
        ui = self._ui
        ui.errorLabel.visible = failure is not None
        ui.detailsButton.visible = failure is not None and bool(failure.details)
        if failure is None:
            ui.errorLabel.text = ""
            ui.detailsButton.checked = False
        else:
            ui.errorLabel.text = errorText(failure.text)
            ui.detailsText.plainText = failure.details
        self._onDetails(ui.detailsButton.checked)

    def _showButton(self) -> None:
        button, busy = self._ui.askButton, self._state.isBusy
        if self._state is State.CANCELLING:
            button.text, button.enabled, button.toolTip = _("Cancelling..."), False, _("The request is being stopped")
        elif busy:
            button.text, button.enabled, button.toolTip = _("Cancel"), True, _("Stop the request")
        else:
            button.text, button.enabled = _("Ask"), not self._reason
            button.toolTip = self._reason or _("Answer the questions (Ctrl+Enter)")
            self._showStatus(self._reason or self._status)

    def _showStatus(self, text: str) -> None:
        self._ui.askStatusLabel.text = html.escape(text)
        self._ui.askStatusLabel.visible = bool(text)

    def _showHistory(self, sets: list[str]) -> None:
        comboBox = self._ui.historyComboBox
        comboBox.clear()
        comboBox.addItem(_("History"))
        for text in sets:
            comboBox.addItem(shortened(text), text)
            comboBox.setItemData(comboBox.count - 1, text, qt.Qt.ToolTipRole)
        comboBox.enabled = bool(sets)

    def _onText(self) -> None:
        if not self._updating and self._parameters is not None:
            self._parameters.questions = self.edit.plainText

    def _onSet(self, comboBox: qt.QComboBox, index: int) -> None:
        """Put a ready set into the question box; Undo brings back what was there."""
        text = comboBox.itemData(index)
        comboBox.currentIndex = 0
        if text:
            self.edit.selectAll()
            self.edit.insertPlainText(text)
            self.edit.setFocus()

    def _onKeys(self) -> None:
        if self._ui.askButton.enabled and not self._state.isBusy:
            self._onAsk()

    def _onButton(self) -> None:
        if not self._state.isBusy:
            self._askedAt = time.monotonic()
            self._onAsk()
        elif time.monotonic() - self._askedAt > self.doubleClickS:
            self._onCancel()

    def _onDetails(self, shown: bool) -> None:
        self._ui.detailsText.visible = shown
        self._ui.detailsButton.arrowType = qt.Qt.DownArrow if shown else qt.Qt.RightArrow


def errorText(message: str) -> str:
    """A message as a red line for a label."""
    return f'<span style="color:{ERROR_COLOUR}"><b>{_("Error:")}</b> {html.escape(message)}</span>'


def shortened(text: str) -> str:
    """A set of questions in one line."""
    line = "; ".join(text.splitlines())
    return line if len(line) <= MOST_CHARACTERS_OF_A_SET else f"{line[: MOST_CHARACTERS_OF_A_SET - 3].rstrip()}..."
