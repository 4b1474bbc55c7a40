"""qMRMLSegmentsTableView: the segments of a segmentation node as a table."""

from __future__ import annotations

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Qt, Signal

from harness.pythonqt import playsNative
from harness.qt_properties import stored

_VISIBLE, _COLOUR, _OPACITY, _NAME = range(4)


@playsNative
class qMRMLSegmentsTableView(QtWidgets.QWidget):  # noqa: N801
    """Visibility, colour, 3D opacity and name, one segment a row."""

    selectionChanged = Signal(QtCore.QItemSelection, QtCore.QItemSelection)

    headerVisible = stored(bool, "headerVisible", True)
    visibilityColumnVisible = stored(bool, "visibilityColumnVisible", True)
    colorColumnVisible = stored(bool, "colorColumnVisible", True)
    opacityColumnVisible = stored(bool, "opacityColumnVisible", True)
    statusColumnVisible = stored(bool, "statusColumnVisible", False)
    readOnly = stored(bool, "readOnly", False)
    selectionMode = stored(int, "selectionMode", 3)
    filterBarVisible = stored(bool, "filterBarVisible", False)
    textFilter = stored(str, "textFilter", "")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._tags: list[tuple[vtk.vtkObject, int]] = []
        self._table = QtWidgets.QTableWidget(0, 4)
        self._table.setHorizontalHeaderLabels(["", "Color", "Opacity", "Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged)
        self._table.cellClicked.connect(self._onClick)

    def setMRMLScene(self, _scene: slicer.vtkMRMLScene) -> None:
        """Nothing: the node is enough here."""

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The shown node."""
        return self._node

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Show that node and follow it."""
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags, self._node = [], node
        if node is not None:
            segments = slicer.vtkSegmentation
            self._follow(
                node.GetSegmentation(), segments.SegmentAdded, segments.SegmentRemoved, segments.SegmentModified
            )
            self._follow(node.GetDisplayNode(), vtk.vtkCommand.ModifiedEvent)
        self._fill()

    def selectedSegmentIDs(self) -> list[str]:
        """Ids of the selected rows, from top to bottom."""
        rows = sorted(index.row() for index in self._table.selectionModel().selectedRows())
        return [self._id(row) for row in rows]

    def setSelectedSegmentIDs(self, segmentIds: list[str]) -> None:
        """Select exactly those rows."""
        model, selection = self._table.model(), QtCore.QItemSelection()
        for row in range(self._table.rowCount):
            if self._id(row) in segmentIds:
                selection.select(model.index(row, 0), model.index(row, _NAME))
        self._table.selectionModel().select(selection, QtCore.QItemSelectionModel.ClearAndSelect)

    def clearSelection(self) -> None:
        """Select nothing."""
        self._table.clearSelection()

    def _follow(self, observed: vtk.vtkObject | None, *events: int) -> None:
        if observed is not None:
            self._tags += [(observed, observed.AddObserver(event, self._onModified)) for event in events]

    def _onModified(self, *_: object) -> None:
        if shiboken6.isValid(self):
            self._fill()

    def _fill(self) -> None:
        selected = self.selectedSegmentIDs()
        segmentIds = self._node.GetSegmentation().GetSegmentIDs() if self._node else ()
        self._table.blockSignals(True)
        self._table.setRowCount(len(segmentIds))
        for row, segmentId in enumerate(segmentIds):
            self._fillRow(row, segmentId)
        self._table.blockSignals(False)
        if selected != self.selectedSegmentIDs():
            self.setSelectedSegmentIDs(selected)

    def _fillRow(self, row: int, segmentId: str) -> None:
        segment, display = self._node.GetSegmentation().GetSegment(segmentId), self._node.GetDisplayNode()
        visible = display is not None and display.GetSegmentVisibility(segmentId)
        opacity = f"{display.GetSegmentOpacity3D(segmentId):.2f}" if display is not None else ""
        for column, text in enumerate(("\u25c9" if visible else "\u25cb", "", opacity, segment.GetName())):
            item = QtWidgets.QTableWidgetItem(text)
            item.setData(Qt.UserRole, segmentId)
            self._table.setItem(row, column, item)
        self._table.item(row, _COLOUR).setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))

    def _id(self, row: int) -> str:
        return self._table.item(row, _VISIBLE).data(Qt.UserRole)

    def _onClick(self, row: int, column: int) -> None:
        display = self._node.GetDisplayNode()
        if column == _VISIBLE and display is not None:
            display.SetSegmentVisibility(self._id(row), not display.GetSegmentVisibility(self._id(row)))
