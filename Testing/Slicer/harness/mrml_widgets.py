"""The qMRML widgets that this project uses, as PySide6 widgets on the real MRML scene, published on `slicer`."""

from __future__ import annotations

import shiboken6
import slicer
import vtk
from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Signal

from harness.ctk_widgets import ctkDoubleSpinBox, ctkSliderWidget
from harness.node_combo_box import qMRMLCheckableNodeComboBox, qMRMLNodeComboBox
from harness.pythonqt import playsNative
from harness.segments_table_view import qMRMLSegmentsTableView


@playsNative
class qMRMLWidget(QtWidgets.QWidget):  # noqa: N801
    """A widget that knows the scene."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene = None

    def setMRMLScene(self, scene: slicer.vtkMRMLScene) -> None:
        """Pass the scene on to what is connected."""
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        """The scene, None before one was set."""
        return self._scene


@playsNative
class qSlicerWidget(qMRMLWidget):  # noqa: N801
    """A qMRMLWidget by another name."""


@playsNative
class qMRMLTableView(QtWidgets.QTableView):  # noqa: N801
    """Shows a table node."""

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._node: slicer.vtkMRMLTableNode | None = None
        self._tag = 0
        self._items = QtGui.QStandardItemModel(self)
        self.setModel(self._items)

    def setMRMLScene(self, _scene: slicer.vtkMRMLScene) -> None:
        """Nothing: the node is enough here."""

    def mrmlTableNode(self) -> slicer.vtkMRMLTableNode | None:
        """The shown node."""
        return self._node

    def setMRMLTableNode(self, node: slicer.vtkMRMLTableNode | None) -> None:
        """Show that node and follow it."""
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._fill()

    def _onModified(self, *_: object) -> None:
        if shiboken6.isValid(self):
            self._fill()

    def _fill(self) -> None:
        self._items.clear()
        node = self._node
        if node is None:
            return
        columns = range(node.GetNumberOfColumns())
        self._items.setHorizontalHeaderLabels([node.GetColumnName(column) for column in columns])
        for row in range(node.GetNumberOfRows()):
            self._items.appendRow([QtGui.QStandardItem(node.GetCellText(row, column)) for column in columns])


@playsNative
class qMRMLSliderWidget(ctkSliderWidget):  # noqa: N801
    """A slider that can follow the scene's units; here it does not."""

    def setMRMLScene(self, _scene: slicer.vtkMRMLScene) -> None:
        """Nothing."""


@playsNative
class qMRMLSpinBox(ctkDoubleSpinBox):  # noqa: N801
    """A spin box that can follow the scene's units; here it does not."""

    def setMRMLScene(self, _scene: slicer.vtkMRMLScene) -> None:
        """Nothing."""


WIDGETS = (
    qMRMLWidget,
    qSlicerWidget,
    qMRMLNodeComboBox,
    qMRMLCheckableNodeComboBox,
    qMRMLSegmentsTableView,
    qMRMLTableView,
    qMRMLSliderWidget,
    qMRMLSpinBox,
)


def install() -> None:
    """Publish the widgets on `slicer`."""
    for cls in WIDGETS:
        setattr(slicer, cls.__name__, cls)
