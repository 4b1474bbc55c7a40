"""CT volumes and organ segmentations of the scene, read for the library.

Conventions:
- what comes out is the library's: arrays in (i, j, k) on a Grid in RAS mm (see `nodes_arrays`), never resampled to the
  CT's grid (test_nodes_volumes, test_nodes_segmentations: against the library's own readers);
- a node under a transform is refused, never moved behind the user's back;
- nothing in the scene is changed by reading it.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer
import vtk

from CTGLIPLib.errors import CTGLIPError, InputError, LabelError
from CTGLIPSlicer.nodes_arrays import requireUsable, scalarVolume
from CTGLIPSlicer.nodes_layers import finished, gridSteps, layerSteps
from CTGLIPSlicer.organ_segments import NamedSegment, namedSegments

if TYPE_CHECKING:
    from CTGLIPLib.volume import Segmentation, Volume


@dataclass(frozen=True, eq=False)
class OrganSegments:
    """The organs of a segmentation node.

    Attributes:
        segmentation: their voxels, on the segmentation's own lattice as far as they reach.
        segmentIds: the segment of each organ.
        warnings: what the user should know about them.
    """

    segmentation: Segmentation
    segmentIds: dict[str, str]
    warnings: tuple[str, ...]


def volumeFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> Volume:
    """The CT of a volume node: a view of its voxels, not a copy.

    Raises:
        InputError: if the node is none, holds no voxels or a single slice, several numbers a voxel, or is a label map.
        GeometryError: if it is under a transform, or its axes are not at right angles.
    """
    from CTGLIPLib.checks import require_right_angles

    volume = scalarVolume(volumeNode)
    name = volumeNode.GetName()
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        msg = f"{name} is a label map, expected a CT. Choose it as the organs, and the CT as the CT."
        raise InputError(msg)
    if min(volume.grid.shape_ijk) < 2:
        msg = f"{name} is a single slice ({volume.grid.describe()}), expected a CT. Load the whole series."
        raise InputError(msg)
    require_right_angles(volume.grid, name)
    return volume


def ctWarnings(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> list[str]:
    """What is odd about a volume as a CT in HU, a line each, the worst first; empty where nothing is."""
    from CTGLIPLib.checks import check_grid, check_hu

    try:
        volume = volumeFromNode(volumeNode)
    except CTGLIPError as error:
        return [str(error)]
    try:
        return [*check_hu(volume), *check_grid(volume.grid)]
    except InputError as error:
        return [str(error), *check_grid(volume.grid)]


def organsFromNode(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> OrganSegments:
    """The organs of a segmentation node that have voxels, in its order.

    Raises:
        InputError: if the node is none.
        GeometryError: if it is under a transform.
        LabelError: if there are no voxels, or two segments are the same organ.
    """
    return finished(organSteps(segmentationNode))


def organSteps(
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
) -> Generator[None, None, OrganSegments]:
    """`organsFromNode` in steps of a few hundredths of a second, between which a window can live."""
    from CTGLIPLib.segmentation_names import open_vocabulary_warnings, vocabulary_of
    from CTGLIPLib.volume import Segmentation

    requireUsable(segmentationNode, "segmentation")
    segments = namedSegments(segmentationNode)
    layers = yield from layerSteps(segmentationNode)
    inside = {segmentId for layer in layers for segmentId in layer.values}
    filled = [segment for segment in segments if segment.segmentId in inside]
    if not filled:
        msg = f"{segmentationNode.GetName()} has no segment with voxels. Choose or make another segmentation."
        raise LabelError(msg)
    names = _ownNames(filled)
    numbers = {segment.segmentId: number for number, segment in enumerate(filled, 1)}
    arrays, grid, moved = yield from gridSteps(layers, numbers)
    organs = Segmentation(arrays, grid, names, "3D Slicer segmentation", vocabulary_of(names))
    notes = (*_notes(segments, inside, moved), *open_vocabulary_warnings(names))
    return OrganSegments(organs, {segment.organ: segment.segmentId for segment in filled}, notes)


def contentKey(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode | None
) -> str:
    """A text that changes when the CT's or the organs' voxels, places or names do; colours do not matter.

    It holds for this session: the same content loaded again has another key.
    """
    image, places = volumeNode.GetImageData(), vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(places)
    parts: list[object] = [_transformId(volumeNode), image.GetMTime() if image else None]
    parts += [places.GetElement(row, column) for row in range(3) for column in range(4)]
    if segmentationNode is not None:
        segmentation = segmentationNode.GetSegmentation()
        source = segmentation.GetSourceRepresentationName()
        parts.append(_transformId(segmentationNode))
        parts += [_segmentKey(segmentation, segmentId, source) for segmentId in segmentation.GetSegmentIDs()]
    return repr(parts)


def _transformId(node: slicer.vtkMRMLTransformableNode) -> str | None:
    transform = node.GetParentTransformNode()
    return None if transform is None else transform.GetID()


def _segmentKey(segmentation: slicer.vtkSegmentation, segmentId: str, source: str) -> tuple[object, ...]:
    segment = segmentation.GetSegment(segmentId)
    voxels, code = segment.GetRepresentation(source), vtk.reference("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), code)
    changed = None if voxels is None else voxels.GetMTime()
    return segmentId, segment.GetName(), str(code), segment.GetLabelValue(), changed


def _ownNames(segments: Sequence[NamedSegment]) -> tuple[str, ...]:
    """The organs' names; LabelError if two segments have the same one, case aside."""
    known: dict[str, NamedSegment] = {}
    for segment in segments:
        first = known.setdefault(segment.organ.casefold(), segment)
        if first is not segment:
            msg = (
                f"Segments {first.text!r} and {segment.text!r} are the same organ, {first.organ}. "
                "Merge them, or rename one to what it is."
            )
            raise LabelError(msg)
    return tuple(segment.organ for segment in segments)


def _notes(segments: Sequence[NamedSegment], inside: Collection[str], moved: Sequence[str]) -> tuple[str, ...]:
    """What the user should know about segments left out, resampled, or known by other things than their names."""
    notes = [segment.warning for segment in segments if segment.segmentId in inside and segment.warning]
    empty = [segment.text for segment in segments if segment.segmentId not in inside]
    if empty:
        notes.insert(0, f"Segments without voxels were left out: {', '.join(empty)}.")
    if moved:
        names = [segment.text for segment in segments if segment.segmentId in moved]
        notes.append(f"Segments on another grid than the first one's were resampled to it: {', '.join(names)}.")
    return tuple(notes)
