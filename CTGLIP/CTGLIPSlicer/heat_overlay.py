"""A heat map laid over the CT in the slice views.

The map is a volume of its own on the CT's grid, with its own window, transparent outside the organs that were asked.
What the slice views had in their foreground is kept with the map and comes back when it is hidden.
Guarded by Testing/Slicer/test_heat_overlay.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from CTGLIPSlicer.colour_scale import ColourScale, colourNode
from CTGLIPSlicer.legend import LEFT, addLegend, removeLegend
from CTGLIPSlicer.nodes import volumeFromNode
from CTGLIPSlicer.nodes_arrays import fillVolumeNode
from CTGLIPSlicer.nodes_import import placeBeside

CT_ROLE = "CTGLIP.heatMapOf"
QUESTION = "CTGLIP.question"
FORMER_ROLE = "CTGLIP.formerForeground."
FORMER_OPACITIES = "CTGLIP.formerOpacities"
OPACITY = 0.5
JUST_INSIDE = 1e-4
"""How far above the value for outside a voxel must lie to be shown."""
LARGEST_VALUE = 2.0
"""No difference of two cosines is larger."""
NARROWEST_WINDOW = 1e-3
TEXT_LETTERS = 40


def showHeatmap(
    result: Mapping[str, object], volumeNode: slicer.vtkMRMLScalarVolumeNode, text: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """The heat map's volume node, shown over the CT in all slice views; it replaces an earlier one of the same CT.

    The map of another CT is hidden: slice views have one foreground.

    Args:
        result: the child's answer: "path" of the map's file, "low" and "high" of its window, "outside" its value where
            no organ was asked.
        volumeNode: the CT.
        text: the question.

    Raises:
        InputError: if the file is missing or broken.
        GeometryError: if the map does not lie on the CT's grid.
    """
    from CTGLIPLib.geometry import require_same_grid
    from CTGLIPLib.io import read_array
    from CTGLIPLib.wording import shortened

    array, grid, _notes = read_array(Path(str(result["path"])))
    ctGrid = volumeFromNode(volumeNode).grid
    require_same_grid(ctGrid, grid, "CT and heat map")
    title = _("CT-GLIP heat map: {text}").format(text=shortened(text, TEXT_LETTERS))
    node = heatmapOf(volumeNode) or _newNode(volumeNode)
    node.SetName(title)
    node.SetAttribute(QUESTION, text)
    fillVolumeNode(node, array, ctGrid)
    low, high, outside = (float(result[key]) for key in ("low", "high", "outside"))
    scale = ColourScale(title, low, max(high, low + NARROWEST_WINDOW), palette="plasma")
    _setLook(node, scale, outside)
    for other in _heatmaps():
        if other is not node:
            _hide(other)
    _showInSlices(node)
    addLegend(node.GetDisplayNode(), title, LEFT)
    return node


def hideHeatmap(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Give the slice views the foreground that they had before the CT's heat map; its volume stays in the scene."""
    node = heatmapOf(volumeNode)
    if node is not None:
        _hide(node)


def heatmapOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The CT's heat map in the scene, shown or hidden; None where there is none."""
    return next((node for node in _heatmaps() if node.GetNodeReferenceID(CT_ROLE) == volumeNode.GetID()), None)


def isShown(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the CT's heat map lies over it."""
    node = heatmapOf(volumeNode)
    return node is not None and node.GetAttribute(FORMER_OPACITIES) is not None


def shownQuestion(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The question whose heat map lies over the CT; empty where none does."""
    return heatmapOf(volumeNode).GetAttribute(QUESTION) or "" if isShown(volumeNode) else ""


def _heatmaps() -> list[slicer.vtkMRMLScalarVolumeNode]:
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in volumes if node.GetNodeReferenceID(CT_ROLE)]


def _newNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.SetNodeReferenceID(CT_ROLE, volumeNode.GetID())
    node.CreateDefaultDisplayNodes()
    placeBeside(node, volumeNode)
    return node


def _setLook(node: slicer.vtkMRMLScalarVolumeNode, scale: ColourScale, outside: float) -> None:
    """Colours and window of the scale, transparent outside the organs.

    Voxels are not interpolated: between an organ's border and the value for outside there is nothing to show.
    """
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(scale.low, scale.high)
        display.SetAutoThreshold(False)
        display.SetThreshold(outside + JUST_INSIDE, LARGEST_VALUE)
        display.SetApplyThreshold(True)
        display.SetInterpolate(False)
        display.SetAndObserveColorNodeID(colourNode(slicer.mrmlScene, scale).GetID())


def _showInSlices(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Make the map the foreground of all slice views; where it is not yet, keep what was there."""
    opacities = json.loads(node.GetAttribute(FORMER_OPACITIES) or "{}")
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        view = composite.GetLayoutName()
        if composite.GetForegroundVolumeID() != node.GetID():
            opacities[view] = composite.GetForegroundOpacity()
            node.SetNodeReferenceID(FORMER_ROLE + view, composite.GetForegroundVolumeID())
        with slicer.util.NodeModify(composite):
            composite.SetForegroundVolumeID(node.GetID())
            composite.SetForegroundOpacity(OPACITY)
    node.SetAttribute(FORMER_OPACITIES, json.dumps(opacities))


def _hide(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Give the slice views that still show the map what they showed before."""
    opacities = json.loads(node.GetAttribute(FORMER_OPACITIES) or "{}")
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        view = composite.GetLayoutName()
        if composite.GetForegroundVolumeID() == node.GetID() and view in opacities:
            with slicer.util.NodeModify(composite):
                composite.SetForegroundVolumeID(node.GetNodeReferenceID(FORMER_ROLE + view))
                composite.SetForegroundOpacity(opacities[view])
    for view in opacities:
        node.SetNodeReferenceID(FORMER_ROLE + view, None)
    node.RemoveAttribute(FORMER_OPACITIES)
    removeLegend(node.GetDisplayNode())
