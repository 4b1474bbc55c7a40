"""Tumours in the scene: a segmentation node that carries what was measured, so that a saved scene shows it again.

Guarded by Testing/Slicer/test_tumors.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from CTGLIPLib.errors import InputError

if TYPE_CHECKING:
    from CTGLIPLib.tumor_results import TumorResult
    from CTGLIPSlicer.session_types import Outcome

ATTRIBUTE = "CTGLIP.Tumors"
"""The measures as JSON, on the segmentation node."""
CT_ROLE = "CTGLIP.TumorsOf"


@dataclass(frozen=True, eq=False)
class Tumors:
    """What a tumour model found in a CT.

    Attributes:
        segmentationNode: a segment for each class of the model.
        result: their measures.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    result: TumorResult


def receiveTumors(outcome: Outcome) -> Tumors:
    """Put what was found into the scene, shown in slices and in 3D, in place of what was found in this CT before.

    Raises:
        CTGLIPError: if what the child sent cannot be used.
    """
    from CTGLIPSlicer.nodes import importOrgans

    volumeNode, told = outcome.inputs.volumeNode, outcome.result.get("tumors")
    result = resultOf(told)
    name = _("Tumours of {name}").format(name=volumeNode.GetName())
    node = importOrgans(Path(outcome.result["path"]), volumeNode, name)
    removeTumors(volumeNode)
    node.SetName(name)
    node.SetAttribute(ATTRIBUTE, json.dumps(told))
    node.SetNodeReferenceID(CT_ROLE, volumeNode.GetID())
    node.CreateDefaultDisplayNodes()
    node.CreateClosedSurfaceRepresentation()
    display = node.GetDisplayNode()
    display.SetVisibility(True)
    display.SetVisibility3D(True)
    return Tumors(node, result)


def tumorsOf(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> Tumors | None:
    """What the scene keeps of a CT's tumours; None where there is nothing that can be read."""
    node = None if volumeNode is None else _nodeOf(volumeNode)
    if node is None:
        return None
    try:
        return Tumors(node, resultOf(json.loads(node.GetAttribute(ATTRIBUTE))))
    except (ValueError, InputError):
        return None


def removeTumors(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Take what was found in a CT out of the scene."""
    while (node := _nodeOf(volumeNode)) is not None:
        slicer.mrmlScene.RemoveNode(node)


def isTumors(node: object) -> bool:
    """Whether a segmentation node holds tumours, not organs."""
    return node.GetAttribute(ATTRIBUTE) is not None


def resultOf(told: object) -> TumorResult:
    """The measures as the child sent them.

    Raises:
        InputError: if they are none.
    """
    from CTGLIPLib.plain_values import read_object
    from CTGLIPLib.tumor_results import TumorResult

    return read_object(TumorResult, told, "tumours", ignore_unknown=True)


def _nodeOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode | None:
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return next((node for node in nodes if isTumors(node) and node.GetNodeReference(CT_ROLE) is volumeNode), None)
