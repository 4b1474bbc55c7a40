"""A recorder in place of every pop-up: what would have been shown, and what the user is to answer.

Nothing blocks: without an answer a question is answered as Slicer does in testing mode (OK, Yes, Close), a file
dialog is cancelled, and a dialog's `exec_` is rejected. Set answers beforehand, as in
`dialogs.answer("confirmOkCancelDisplay", False)`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import slicer.util
from PySide6 import QtWidgets

_QUESTIONS = {  # slicer.util function: what it returns in testing mode
    "infoDisplay": (logging.INFO, None),
    "warningDisplay": (logging.WARNING, None),
    "errorDisplay": (logging.ERROR, None),
    "confirmOkCancelDisplay": (logging.INFO, True),
    "confirmYesNoDisplay": (logging.INFO, True),
    "confirmRetryCloseDisplay": (logging.ERROR, False),
    "messageBox": (logging.INFO, QtWidgets.QMessageBox.Ok),
}
_FILE_QUESTIONS = ("getOpenFileName", "getSaveFileName", "getExistingDirectory")
_BOX_QUESTIONS = {
    "information": QtWidgets.QMessageBox.Ok,
    "warning": QtWidgets.QMessageBox.Ok,
    "critical": QtWidgets.QMessageBox.Ok,
    "question": QtWidgets.QMessageBox.Yes,
}


@dataclass(frozen=True)
class Shown:
    """One pop-up: the function that asked for it, its text, and its further arguments."""

    function: str
    text: str
    options: dict[str, object] = field(default_factory=dict)


class Dialogs:
    """What was shown, in order."""

    def __init__(self):
        self.shown: list[Shown] = []
        self._answers: dict[str, list[object]] = {}

    def __iter__(self) -> Iterator[Shown]:
        return iter(self.shown)

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def texts(self) -> list[str]:
        """Texts of what was shown."""
        return [shown.text for shown in self.shown]

    def of(self, function: str) -> list[Shown]:
        """What that function showed."""
        return [shown for shown in self.shown if shown.function == function]

    def answer(self, function: str, *values: object) -> None:
        """Give the next calls of that function these answers, one after the other."""
        self._answers.setdefault(function, []).extend(values)

    def clear(self) -> None:
        """Forget what was shown and which answers wait."""
        self.shown.clear()
        self._answers.clear()

    def show(self, function: str, text: str, default: object, options: dict[str, object]) -> object:
        """Record one pop-up and return the answer to it."""
        self.shown.append(Shown(function, str(text), options))
        waiting = self._answers.get(function)
        return waiting.pop(0) if waiting else default

    def install(self, qt: object) -> None:
        """Take the place of slicer.util's pop-ups, of the static dialogs in `qt`, and of `QDialog.exec_`."""
        for name, (level, default) in _QUESTIONS.items():
            setattr(slicer.util, name, self._utilFunction(name, level, default))
        for name in _FILE_QUESTIONS:
            setattr(qt.QFileDialog, name, staticmethod(self._fileFunction(name)))
        for name, default in _BOX_QUESTIONS.items():
            setattr(qt.QMessageBox, name, staticmethod(self._boxFunction(name, default)))
        qt.QDialog.exec_ = qt.QDialog.exec = lambda dialog: self._exec(dialog)

    def _utilFunction(self, name: str, level: int, default: object):
        def display(text: str, windowTitle: str | None = None, parent: object = None, **options: object) -> object:
            logging.getLogger("slicer").log(level, text)
            return self.show(name, text, default, {"windowTitle": windowTitle, **options})

        def messageBox(text: str, parent: object = None, **options: object) -> object:
            return display(text, parent=parent, **options)

        return messageBox if name == "messageBox" else display

    def _fileFunction(self, name: str):
        def choose(
            parent: object = None, caption: str = "", directory: str = "", *more: object, **options: object
        ) -> str:
            return str(self.show(name, caption, "", {"directory": directory, "more": more, **options}))

        return choose

    def _boxFunction(self, name: str, default: object):
        def ask(parent: object, title: str, text: str, *buttons: object, **options: object) -> object:
            return self.show(name, text, default, {"windowTitle": title, "buttons": buttons, **options})

        return ask

    def _exec(self, dialog: QtWidgets.QDialog) -> object:
        title = dialog.property("text") or dialog.property("windowTitle")
        return self.show("exec_", title, QtWidgets.QDialog.Rejected, {"dialog": dialog})


dialogs = Dialogs()
