"""Subject-hierarchy items for nodes, made and removed as Slicer's Qt plugin logic does."""

from __future__ import annotations

import slicer
import vtk

SHOWN = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
)


class SubjectHierarchyPlugin:
    """Watches a scene and keeps one item per shown data node."""

    def __init__(self, scene: slicer.vtkMRMLScene):
        self._scene = scene
        scene.AddObserver(scene.NodeAddedEvent, self._onAdded)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._onRemoved)
        for event in (scene.EndImportEvent, scene.EndRestoreEvent, scene.EndBatchProcessEvent):
            scene.AddObserver(event, self._addMissing)

    def _node(self) -> slicer.vtkMRMLSubjectHierarchyNode:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def _onAdded(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        if not self._scene.IsBatchProcessing() and not self._scene.IsImporting():
            self._add(node)

    def _add(self, node: slicer.vtkMRMLNode) -> None:
        if node.GetHideFromEditors() or not any(node.IsA(name) for name in SHOWN):
            return
        hierarchy = self._node()
        if hierarchy.GetItemByDataNode(node) == hierarchy.GetInvalidItemID():
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def _addMissing(self, *_: object) -> None:
        for index in range(self._scene.GetNumberOfNodes()):
            self._add(self._scene.GetNthNode(index))

    def _onRemoved(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        if self._scene.IsClosing() or not any(node.IsA(name) for name in SHOWN):
            return
        hierarchy = self._node()
        item = hierarchy.GetItemByDataNode(node)
        if item != hierarchy.GetInvalidItemID():
            hierarchy.RemoveItem(item, False, False)

    _onAdded.CallDataType = vtk.VTK_OBJECT
    _onRemoved.CallDataType = vtk.VTK_OBJECT
