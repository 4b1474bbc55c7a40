"""A study of the scene written as files that the child process reads.

Everything is uncompressed, and in steps between which a window can live.
Guarded by Testing/Slicer/test_nodes_export.py.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer

from CTGLIPSlicer.nodes_layers import finished, slabs
from CTGLIPSlicer.nodes_read import OrganSegments, organSteps, volumeFromNode

if TYPE_CHECKING:
    from CTGLIPLib.volume import Segmentation


@dataclass(frozen=True)
class StudyFiles:
    """Files of a study for the child process.

    Attributes:
        ct: the CT.
        segmentation: the organs; None where there are none yet.
        names: the list of names of a label map's ids; None where the segmentation names its own.
        segmentIds: the segment of each organ.
        warnings: what the user should know about the organs.
    """

    ct: Path
    segmentation: Path | None
    names: Path | None
    segmentIds: dict[str, str]
    warnings: tuple[str, ...] = ()


def exportStudy(
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    folder: Path,
) -> StudyFiles:
    """The files written: the CT as it is; the organs as a label map, or in layers where they overlap.

    Args:
        volumeNode: the CT.
        segmentationNode: the organs; None leaves them to the child.
        folder: where the files go; made if needed.

    Raises:
        InputError: if the CT cannot be used.
        GeometryError: if a node is under a transform, or CT and organs do not overlap in space.
        LabelError: if there are no organs, or two segments are the same one.
        OutputError: if the folder cannot be written or the disk is full.
    """
    return finished(exportSteps(volumeNode, segmentationNode, folder))


def exportSteps(
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    folder: Path,
) -> Generator[None, None, StudyFiles]:
    """`exportStudy` in steps; writing the CT is the longest. What cannot be used is refused as early as it is known."""
    from CTGLIPLib.io import write_volume
    from CTGLIPLib.segmentation_io import require_overlap

    volume = volumeFromNode(volumeNode)
    organs = None
    if segmentationNode is not None:
        organs = yield from organSteps(segmentationNode)
        require_overlap(volume.grid, organs.segmentation.grid)
        yield
    ct = folder / "ct.nii"
    write_volume(volume.array, volume.grid, ct)
    yield
    if organs is None:
        return StudyFiles(ct, None, None, {})
    path, names = yield from _organFileSteps(organs, folder)
    return StudyFiles(ct, path, names, organs.segmentIds, organs.warnings)


def _organFileSteps(organs: OrganSegments, folder: Path) -> Generator[None, None, tuple[Path, Path | None]]:
    from CTGLIPLib.io import write_volume
    from CTGLIPLib.segmentation_io import write_segmentation

    labels = yield from _mergeSteps(organs.segmentation)
    if labels is None:
        (path,) = write_segmentation(organs.segmentation, folder / "organs.seg.nrrd", compress=False)
        return path, None
    path, names = folder / "organs.nii", folder / "organs.json"
    _writeNames(organs.segmentation.names, names)
    write_volume(labels, organs.segmentation.grid, path)
    return path, names


def _mergeSteps(segmentation: Segmentation) -> Generator[None, None, np.ndarray | None]:
    """One label map of all layers, shape (i, j, k); None where organs overlap."""
    dtype = np.uint8 if len(segmentation.names) < 256 else np.uint16
    labels = np.zeros(segmentation.grid.shape_ijk[::-1], dtype).transpose(2, 1, 0)
    for layer in segmentation.layers:
        for slab in slabs(layer.shape):
            target, organs = labels[slab], layer[slab].astype(dtype)
            if len(segmentation.layers) > 1 and np.logical_and(target, organs).any():
                return None
            target |= organs
            yield
    return labels


def _writeNames(names: Sequence[str], path: Path) -> None:
    from CTGLIPLib.files import whole_file

    with whole_file(path) as temporary:
        text = json.dumps({str(number): name for number, name in enumerate(names, 1)}, ensure_ascii=False)
        temporary.write_text(text, encoding="utf-8")
