"""Organ segmentations put into the scene.

A .seg.nrrd file is loaded by Slicer, which is fastest. Label maps become segments that share one image a layer, all at
once: Slicer's own import of label maps takes one organ after the other, 8 s for 104.
Guarded by Testing/Slicer/test_nodes_import.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer

from CTGLIPLib.errors import InputError
from CTGLIPSlicer.nodes_arrays import orientedImage, scalarVolume
from CTGLIPSlicer.nodes_layers import BINARY

if TYPE_CHECKING:
    from CTGLIPLib.geometry import Grid
    from CTGLIPLib.volume import Segmentation


def importOrgans(path: Path, volumeNode: slicer.vtkMRMLScalarVolumeNode, name: str) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation node with the organs of a file, beside the CT in the subject hierarchy, on the CT's geometry.

    Args:
        path: what `CTGLIPLib.segmentation_io` reads: .seg.nrrd, or a label map with its list of names beside it.
        volumeNode: the CT that the organs are of.
        name: the node's name.

    Raises:
        InputError: if the file is missing or broken.
        GeometryError: if CT and organs do not overlap in space, or the CT is under a transform.
        LabelError: if the organs have no names.
    """
    grid = scalarVolume(volumeNode).grid
    node = _loaded(path, grid, name) if path.name.lower().endswith(".seg.nrrd") else _built(path, grid, name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    placeBeside(node, volumeNode)
    return node


def segmentationNodeFrom(segmentation: Segmentation, name: str) -> slicer.vtkMRMLSegmentationNode:
    """A new segmentation node with readable names, colours and SNOMED CT codes; segment ids are the organs' names."""
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    images, layerOf = [], {}
    for number, layer in enumerate(segmentation.layers):
        image, used = _cropped(layer, segmentation)
        images.append(image)
        layerOf |= dict.fromkeys(used, number)
    for number, organ in enumerate(segmentation.names, 1):
        segment = _segment(organ)
        segment.SetLabelValue(number)
        segment.AddRepresentation(BINARY, images[layerOf.get(number, 0)])
        node.GetSegmentation().AddSegment(segment, organ)
    slicer.mrmlScene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node


def placeBeside(node: slicer.vtkMRMLNode, volumeNode: slicer.vtkMRMLVolumeNode) -> None:
    """Put a node under the subject-hierarchy parent of a volume (its study), which DICOM export needs."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volumeItem = hierarchy.GetItemByDataNode(volumeNode)
    if volumeItem:
        parent = hierarchy.GetItemParent(volumeItem)
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)
        hierarchy.SetItemParent(item, parent)


def _loaded(path: Path, ctGrid: Grid, name: str) -> slicer.vtkMRMLSegmentationNode:
    """The segmentation of a .seg.nrrd file, no longer tied to the file, which may be a temporary one."""
    from CTGLIPLib.segmentation_io import require_overlap

    grid = _gridOf(path)
    if grid is not None:
        require_overlap(ctGrid, grid)
    scene = slicer.mrmlScene
    unique = scene.GenerateUniqueName(name)
    logic = slicer.modules.segmentations.logic()
    node = logic.LoadSegmentationFromFile(str(path), False, unique) if grid is not None else None
    if node is None:
        msg = f"{path.name} could not be read as a segmentation. Find the organs again, or export the file again."
        raise InputError(msg)
    node.SetName(unique)
    storage = node.GetStorageNode()
    node.SetAndObserveStorageNodeID(None)
    scene.RemoveNode(storage)
    return node


def _gridOf(path: Path) -> Grid | None:
    """The grid of a whole .seg.nrrd file; None where it is broken, on which Slicer's reader (5.12) ends the process."""
    import SimpleITK

    from CTGLIPLib.io import from_sitk
    from CTGLIPLib.slicer_files import nrrd_header
    from CTGLIPLib.slicer_segments import segments_in

    if not segments_in(nrrd_header(path)):
        return None
    try:
        image = SimpleITK.ReadImage(str(path), imageIO="NrrdImageIO")
    except RuntimeError:
        return None
    layered = image.GetNumberOfComponentsPerPixel() > 1
    return from_sitk(SimpleITK.VectorIndexSelectionCast(image, 0) if layered else image)[1]


def _built(path: Path, ctGrid: Grid, name: str) -> slicer.vtkMRMLSegmentationNode:
    from CTGLIPLib.segmentation_io import read_segmentation, require_overlap

    organs = read_segmentation(path).segmentation
    require_overlap(ctGrid, organs.grid)
    return segmentationNodeFrom(organs, name)


def _cropped(layer: np.ndarray, segmentation: Segmentation) -> tuple[slicer.vtkOrientedImageData, list[int]]:
    """An image of the layer's box with voxels, and the organ numbers in it."""
    from CTGLIPLib.geometry import Grid
    from CTGLIPLib.label_values import used_ids

    filled = [np.flatnonzero(layer.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(found[0], found[-1] + 1) if len(found) else slice(1) for found in filled)
    affine = segmentation.grid.affine.copy()
    affine[:3, 3] = segmentation.grid.to_ras(np.array([side.start or 0 for side in box]))
    inside = layer[box].astype(np.uint8 if len(segmentation.names) < 256 else np.uint16)
    return orientedImage(inside, Grid(inside.shape, affine)), used_ids(inside)


def _segment(organ: str) -> slicer.vtkSegment:
    from CTGLIPLib.organs import readable_name
    from CTGLIPLib.slicer_segments import organ_colour, terminology

    segment = slicer.vtkSegment()
    segment.SetName(readable_name(organ))
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*(part / 255 for part in organ_colour(organ)))
    segment.SetColorAutoGenerated(False)
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminology(organ).partition(":")[2])
    return segment
