"""The module as Slicer loads it, with its real child process, driven by clicks and keys: for whole-flow tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from harness.module_loader import loadModule, showWidget, unloadModule
from panel_rig import FakeInstaller, wait_until
from PySide6 import QtCore
from PySide6.QtTest import QTest

MODULE = Path(__file__).resolve().parents[2] / "CTGLIP" / "CTGLIP.py"
SLOW_S = 90.0


class Flow:
    """A radiologist at the module: clicks, types, looks."""

    def __init__(self, model: Path | None, installer: object | None = None):
        self.module, _ = loadModule(MODULE)
        self.widget, self.frame = showWidget(self.module, "CTGLIP")
        self.panel = self.widget.panel
        self.panel.ask.doubleClickS = 0.0  # tests click faster than people
        if installer is not None:
            self.panel.setup._installer = installer
        if model is not None:
            self.panel.ui.modelFolderEdit.currentPath = str(model)
        self.frame.enter()
        slicer.app.processEvents()

    @property
    def ui(self) -> object:
        return self.panel.ui

    @property
    def session(self) -> object:
        return self.panel.session

    def close(self) -> None:
        self.widget.cleanup()
        unloadModule("CTGLIP")

    def choose(self, volume: object, segmentation: object | None) -> None:
        self.ui.volumeSelector.setCurrentNode(volume)
        self.ui.segmentationSelector.setCurrentNode(segmentation)
        slicer.app.processEvents()

    def write(self, *questions: str) -> None:
        edit = self.panel.ask.edit
        edit.selectAll()
        edit.insertPlainText("\n".join(questions))
        slicer.app.processEvents()

    def click(self, name: str) -> None:
        button = getattr(self.ui, name)
        assert button.enabled, f"{name} is disabled: {button.toolTip}"
        QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def pressAsk(self, *questions: str) -> None:
        """Write the questions and click Ask."""
        self.write(*questions)
        wait_until(lambda: not self.session.isBusy, SLOW_S)  # the description of the machine
        self.click("askButton")

    def ask(self, *questions: str) -> None:
        """The same, until the answers are there."""
        self.pressAsk(*questions)
        self.until(lambda: not self.session.isBusy)
        assert not self.error, self.error

    def until(self, condition: Callable[[], object]) -> object:
        return wait_until(condition, SLOW_S)

    @property
    def error(self) -> str:
        """What the red line says; empty where there is none."""
        return self.ui.errorLabel.text if not self.ui.errorLabel.isHidden() else ""

    @property
    def status(self) -> str:
        return self.ui.askStatusLabel.text

    def rows(self) -> list[list[str]]:
        """The table's cells as they are shown."""
        model = self.ui.findingsTable.model()
        columns = range(model.columnCount())
        return [[str(model.index(row, column).data() or "") for column in columns] for row in range(model.rowCount())]

    def clickRow(self, *words: str) -> None:
        """Click the first row that has all these cells."""
        table, rows = self.ui.findingsTable, self.rows()
        number = next(row for row, cells in enumerate(rows) if set(words) <= set(cells))
        table.scrollTo(table.model().index(number, 0))
        place = table.visualRect(table.model().index(number, 0)).center()
        QTest.mouseClick(table.viewport(), QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, place)
        slicer.app.processEvents()

    def childPid(self) -> int:
        return self.session._worker.pid


def slicePositions() -> dict[str, np.ndarray]:
    """RAS of every slice view's centre."""
    found = {}
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = node.GetSliceToRAS()
        found[node.GetLayoutName()] = np.array([matrix.GetElement(axis, 3) for axis in range(3)])
    return found


def shownColours(segmentationNode: object) -> dict[str, tuple[float, ...]]:
    """The colour in which every segment is drawn, by segment id."""
    display, segmentation = segmentationNode.GetDisplayNode(), segmentationNode.GetSegmentation()
    return {
        segment: tuple(round(part, 3) for part in display.GetSegmentColor(segment))
        for segment in (segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments()))
    }


def isAlive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


__all__ = ["FakeInstaller", "Flow", "isAlive", "shownColours", "slicePositions"]
