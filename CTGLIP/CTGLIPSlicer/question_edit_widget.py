"""The editor of the questions, one a line, with completions from organs and findings.

The completions open while a line is typed: arrow keys choose, Enter or Tab takes, Escape closes. Ctrl+Enter (Cmd+Enter
on a Mac) asks. An open list passes its keys on to the editor first, so `keyPressEvent` is overridden.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

SHORTEST_PREFIX = 2
MOST_COMPLETIONS = 12
ASK_KEYS = ("Ctrl+Return", "Ctrl+Enter")


class QuestionEdit(qt.QPlainTextEdit):
    """Text editor that completes the current line's last words.

    Args:
        names: what may be completed, in the order of the list.
        onAsk: called when Ctrl+Enter is pressed.
    """

    def __init__(self, names: Sequence[str], onAsk: Callable[[], None]) -> None:
        qt.QPlainTextEdit.__init__(self)
        self.objectName = "questionsEdit"
        self.placeholderText = _("One question a line, such as:\nfatty liver\nstone in the left kidney")
        self.toolTip = _("One question a line; Ctrl+Enter asks")
        self.tabChangesFocus = True
        self._names = tuple(names)
        self._prefix = ""
        self._model = qt.QStandardItemModel()
        self._completer = qt.QCompleter()
        self._completer.setModel(self._model)
        self._completer.setCompletionMode(qt.QCompleter.UnfilteredPopupCompletion)
        self._completer.setWidget(self)
        self._completer.connect("activated(QString)", self.complete)
        self._shortcuts = [self._shortcut(keys, onAsk) for keys in ASK_KEYS]

    def keyPressEvent(self, event: qt.QKeyEvent) -> None:
        """Type, and offer completions; Enter, Tab and Escape belong to an open list."""
        if self.isCompleting() and self._endCompleting(event.key()):
            return
        qt.QPlainTextEdit.keyPressEvent(self, event)
        typed = event.text()
        if (typed and typed.isprintable()) or self.isCompleting():
            self.offerCompletions()

    def isCompleting(self) -> bool:
        """Whether the list of completions is open."""
        return bool(self._completer.popup().visible)

    def completionPopup(self) -> qt.QAbstractItemView:
        """The list of completions."""
        return self._completer.popup()

    def offerCompletions(self) -> list[str]:
        """Open the list for the words before the cursor, or close it; what it offers."""
        cursor = self.textCursor()
        line = cursor.block().text()[: cursor.positionInBlock()]
        self._prefix, offered = completionsOf(line, self._names)
        popup = self._completer.popup()
        if not offered:
            popup.hide()
            return []
        self._model.setColumnCount(1)
        self._model.setRowCount(len(offered))
        for row, name in enumerate(offered):
            index = self._model.index(row, 0)
            self._model.setData(index, name, qt.Qt.EditRole)
        popup.selectionModel().clear()
        place = self.cursorRect()
        place.setWidth(popup.sizeHintForColumn(0) + popup.verticalScrollBar().sizeHint.width() + 8)
        self._completer.complete(place)
        return offered

    def complete(self, name: str) -> None:
        """Put `name` in the place of the words that it completes."""
        cursor = self.textCursor()
        cursor.movePosition(qt.QTextCursor.Left, qt.QTextCursor.KeepAnchor, len(self._prefix))
        cursor.insertText(name)
        self.setTextCursor(cursor)
        self._prefix = name

    def _endCompleting(self, key: int) -> bool:
        """What a key does to the open list; False where the key is for the text.

        Tab takes the first completion where none is chosen. Enter does not: somebody who typed "kidney" and wants the
        next line shall not get "kidney stone".
        """
        popup = self._completer.popup()
        chosen = popup.currentIndex()
        isChosen = popup.selectionModel().isSelected(chosen)
        if key == qt.Qt.Key_Tab and not isChosen:
            chosen, isChosen = self._model.index(0, 0), True
        if key not in (qt.Qt.Key_Return, qt.Qt.Key_Enter, qt.Qt.Key_Tab, qt.Qt.Key_Escape):
            return False
        popup.hide()
        if key == qt.Qt.Key_Escape:
            return True
        if isChosen:
            self.complete(chosen.data())
        return isChosen

    def _shortcut(self, keys: str, onAsk: Callable[[], None]) -> qt.QShortcut:
        shortcut = qt.QShortcut(self)
        shortcut.setKey(qt.QKeySequence(keys))
        shortcut.setContext(qt.Qt.WidgetShortcut)
        shortcut.connect("activated()", onAsk)
        return shortcut


def completionsOf(line: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """The end of the line that begins a name, and the names that it begins, those that start with it first.

    The longest end counts: "stone in the left ki" is completed from "left ki". A name fully typed offers nothing.
    """
    for match in re.finditer(r"(?<!\w)\w", line):
        end = line[match.start() :]
        if len(end) < SHORTEST_PREFIX:
            break
        wanted = end.lower()
        first = [name for name in names if name.lower().startswith(wanted)]
        within = [name for name in names if f" {wanted}" in name.lower() and name not in first]
        if first or within:
            done = [name.lower() for name in first] == [wanted] and not within
            return end, [] if done else [*first, *within][:MOST_COMPLETIONS]
    return "", []


def completionNames() -> tuple[str, ...]:
    """What questions are made of: the findings of the catalogue, then the organs as reports call them."""
    from CTGLIPLib.abnormalities import ABNORMALITIES
    from CTGLIPLib.organs import ORGANS

    names = [finding.name for finding in ABNORMALITIES] + [organ.readable for organ in ORGANS]
    return tuple(dict.fromkeys(names))
