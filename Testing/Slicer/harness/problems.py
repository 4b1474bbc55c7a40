"""What goes wrong where no caller can see it: exceptions in slots and observers, VTK errors, Qt messages.

Python exceptions below a Qt signal or a VTK event end in `sys.excepthook`, VTK errors and Qt warnings in a log. They
are kept here so that a test can fail on them (`Testing/Slicer/conftest.py` does for exceptions and VTK errors).
"""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

import vtk
from PySide6 import QtCore


class Problems:
    """Collected problems since the last `clear`; exceptions and VTK errors are also printed to stderr."""

    def __init__(self):
        self.exceptions: list[str] = []
        self.vtkErrors: list[str] = []
        self.qtMessages: list[str] = []

    def clear(self) -> None:
        """Forget everything collected."""
        self.exceptions.clear()
        self.vtkErrors.clear()
        self.qtMessages.clear()

    def watch(self) -> None:
        """Collect from now on, until the process ends."""
        sys.excepthook = self._onException
        QtCore.qInstallMessageHandler(self._onQtMessage)
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
        self._window = vtk.vtkStringOutputWindow()  # keeps the text, prints nothing
        vtk.vtkOutputWindow.SetInstance(self._window)
        self._window.AddObserver("ErrorEvent", self._onVtkError)

    def _onException(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.exceptions.append("".join(traceback.format_exception(kind, error, trace)))
        sys.__excepthook__(kind, error, trace)

    def _onQtMessage(self, _kind: QtCore.QtMsgType, _context: QtCore.QMessageLogContext, text: str) -> None:
        self.qtMessages.append(text)

    def _onVtkError(self, _caller: vtk.vtkObject, _event: str, text: str = "") -> None:
        self.vtkErrors.append(text)
        sys.stderr.write(text)

    _onVtkError.CallDataType = vtk.VTK_STRING


problems = Problems()
