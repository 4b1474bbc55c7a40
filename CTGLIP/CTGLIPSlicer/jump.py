"""Bring every view to one CT, and to one place of the patient.

Guarded by Testing/Slicer/test_jump.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

HIDDEN_ATTRIBUTE = "CTGLIP.HiddenWithItsCt"


def jumpTo(ras: Sequence[float], segmentationNode: slicer.vtkMRMLSegmentationNode | None = None) -> None:
    """Centre all slice views on a place, and let every 3D camera look at it from the direction and distance it had.

    Args:
        ras: the place in RAS mm.
        segmentationNode: made visible, also in 3D where it has surfaces; None leaves all as it is.

    Raises:
        ValueError: if the place is not three finite numbers.
    """
    place = np.asarray(ras, dtype=float)
    if place.shape != (3,) or not np.isfinite(place).all():
        msg = f"A place needs three finite RAS mm values, got {ras}. Give an organ's centroid."
        raise ValueError(msg)
    scene = slicer.mrmlScene
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *place.tolist(), slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        _lookAt(camera, place)
    if segmentationNode is not None:
        _makeVisible(segmentationNode)


def showVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Lay a CT into the slice views and fit them to it; where one shows it already, all stay as they are."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = {id_ for node in composites for id_ in (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID())}
    if composites and volumeNode.GetID() not in shown:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)


def showOrgansInstead(
    segmentationNode: slicer.vtkMRMLSegmentationNode | None, left: slicer.vtkMRMLSegmentationNode | None
) -> None:
    """Hide the organs of the CT that was left, which lie elsewhere, and show those that were hidden so before."""
    if left is not None and left is not segmentationNode and left.GetDisplayVisibility():
        left.SetAttribute(HIDDEN_ATTRIBUTE, "1")
        left.SetDisplayVisibility(0)
    if segmentationNode is not None and segmentationNode.GetAttribute(HIDDEN_ATTRIBUTE):
        segmentationNode.RemoveAttribute(HIDDEN_ATTRIBUTE)
        segmentationNode.SetDisplayVisibility(1)


def _lookAt(camera: slicer.vtkMRMLCameraNode, place: np.ndarray) -> None:
    """Move the camera so that its focal point is `place` (RAS mm)."""
    shift = place - np.array(camera.GetFocalPoint())
    with slicer.util.NodeModify(camera):
        camera.SetPosition(*(np.array(camera.GetPosition()) + shift).tolist())
        camera.SetFocalPoint(*place.tolist())
        camera.ResetClippingRange()


def _makeVisible(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    segmentationNode.CreateDefaultDisplayNodes()
    display = segmentationNode.GetDisplayNode()
    display.SetVisibility(True)
    if segmentationNode.GetSegmentation().ContainsRepresentation("Closed surface"):
        display.SetVisibility3D(True)
