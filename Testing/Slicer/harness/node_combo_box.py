"""qMRMLNodeComboBox and qMRMLCheckableNodeComboBox: choose nodes of the scene."""

from __future__ import annotations

import shiboken6
import slicer
import vtk
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from harness.pythonqt import playsNative
from harness.qt_properties import stored


def _refill(combo: qMRMLNodeComboBox) -> None:
    combo._fill()


@playsNative
class qMRMLNodeComboBox(QtWidgets.QWidget):  # noqa: N801
    """One node of the given classes, or none."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)

    nodeTypes = stored("QStringList", "nodeTypes", [], _refill)
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", [], _refill)
    showHidden = stored(bool, "showHidden", False, _refill)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True, _refill)
    noneEnabled = stored(bool, "noneEnabled", False, _refill)
    noneDisplay = stored(str, "noneDisplay", "None", _refill)
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "")
    baseName = stored(str, "baseName", "")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None
        self._tags: list[int] = []
        self._attributes: list[tuple[str, str, str | None]] = []
        self._current = ""
        self._filling = False
        self._box = QtWidgets.QComboBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(self._onIndex)
        self._box.activated.connect(lambda _index: self.nodeActivated.emit(self.currentNode()))

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        """Follow that scene."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags, self._scene = [], scene
        if scene is not None:
            events = (scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent, scene.EndBatchProcessEvent)
            self._tags = [scene.AddObserver(event, self._onScene) for event in events]
            self._tags.append(scene.AddObserver(scene.NodeAddedEvent, self._onNodeAdded))
        self._fill()

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        """The scene."""
        return self._scene

    def addAttribute(self, nodeType: str, name: str, value: str | None = None) -> None:
        """Offer nodes of that class only if they have the attribute."""
        self._attributes.append((nodeType, name, value))
        self._fill()

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        """The chosen node."""
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        """Choose that node, none if it is not offered."""
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeId: str | None) -> None:
        """Choose the node of that id."""
        self._box.setCurrentIndex(self._box.findData(nodeId or ""))

    def setCurrentNodeIndex(self, index: int) -> None:
        """Choose the n-th offered node."""
        self.setCurrentNode(self.nodeFromIndex(index))

    def nodeCount(self) -> int:
        """How many nodes are offered."""
        return len(self._offered())

    def nodeFromIndex(self, index: int) -> slicer.vtkMRMLNode | None:
        """The n-th offered node."""
        offered = self._offered()
        return offered[index] if 0 <= index < len(offered) else None

    def addNode(self, nodeType: str | None = None) -> slicer.vtkMRMLNode:
        """What "Create new ..." does."""
        nodeType = nodeType or self.nodeTypes[0]
        base = self.baseName or nodeType.removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(nodeType, self._scene.GenerateUniqueName(base))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _offered(self) -> list[slicer.vtkMRMLNode]:
        if self._scene is None:
            return []
        nodes = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        return [node for node in nodes if self._offers(node)]

    def _offers(self, node: slicer.vtkMRMLNode) -> bool:
        if self.showChildNodeTypes:
            ofType = any(node.IsA(name) for name in self.nodeTypes)
        else:
            ofType = node.GetClassName() in self.nodeTypes
        if not ofType or (node.GetHideFromEditors() and not self.showHidden):
            return False
        if any(node.IsA(name) for name in self.hideChildNodeTypes):
            return False
        wanted = [(name, value) for nodeType, name, value in self._attributes if node.IsA(nodeType)]
        return all(
            node.GetAttribute(name) is not None and value in (None, "", node.GetAttribute(name))
            for name, value in wanted
        )

    def _onScene(self, *_: object) -> None:
        if shiboken6.isValid(self) and not self._scene.IsBatchProcessing():
            self._fill()

    def _onNodeAdded(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        if shiboken6.isValid(self) and not self._scene.IsBatchProcessing() and self._offers(node):
            self._fill()
            self.nodeAdded.emit(node)

    _onNodeAdded.CallDataType = vtk.VTK_OBJECT

    def _fill(self) -> None:
        """Offer anew; the choice stays if it still is there, else none, else the first node."""
        self._filling = True
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for node in self._offered():
            self._box.addItem(node.GetName(), node.GetID())
        index = self._box.findData(self._current) if self._current else -1
        if index < 0 and self._box.count:
            index = 0
        self._box.setCurrentIndex(index)
        self._filling = False
        self._onIndex()

    def _onIndex(self, *_: object) -> None:
        if self._filling:
            return
        chosen = self._box.currentData or ""
        if chosen != self._current:
            self._current = chosen
            self.currentNodeIDChanged.emit(chosen)
            self.currentNodeChanged.emit(self.currentNode())

    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)


@playsNative
class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):  # noqa: N801
    """Any number of nodes, by check marks."""

    checkedNodesChanged = Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._checked: dict[str, bool] = {}

    def checkedNodes(self) -> list[slicer.vtkMRMLNode]:
        """The checked nodes that are offered."""
        return [node for node in self._offered() if self._checked.get(node.GetID())]

    def uncheckedNodes(self) -> list[slicer.vtkMRMLNode]:
        """The other nodes that are offered."""
        return [node for node in self._offered() if not self._checked.get(node.GetID())]

    def checkState(self, node: slicer.vtkMRMLNode) -> Qt.CheckState:
        """Whether a node is checked."""
        return Qt.Checked if self._checked.get(node.GetID()) else Qt.Unchecked

    def setCheckState(self, node: slicer.vtkMRMLNode, state: Qt.CheckState) -> None:
        """Check or uncheck a node."""
        if self.checkState(node) != state:
            self._checked[node.GetID()] = state == Qt.Checked
            self.checkedNodesChanged.emit()
