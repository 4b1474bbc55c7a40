"""The label maps of a segmentation node brought onto one grid.

Slicer keeps segments in layers: label maps that several segments share, each with its own extent and, where segments
come from several sources, its own lattice. The work is done in steps, so that a window can live meanwhile.
Guarded by Testing/Slicer/test_nodes_segmentations.py.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import slicer

from CTGLIPLib.errors import LabelError
from CTGLIPSlicer.nodes_arrays import labelArray

if TYPE_CHECKING:
    from CTGLIPLib.geometry import Grid

BINARY = "Binary labelmap"
SAME_LATTICE_VOXELS = 1e-3
SLAB_VOXELS = 8_000_000

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Layer:
    """A label map that segments share.

    Attributes:
        labels: whole numbers, shape (i, j, k).
        grid: theirs.
        values: the label of each segment id that has voxels in it.
    """

    labels: np.ndarray
    grid: Grid
    values: Mapping[str, int]


def finished(steps: Generator[None, None, Result]) -> Result:
    """The result of steps, all taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def slabs(shape_ijk: Sequence[int]) -> Iterator[tuple[slice, slice, slice]]:
    """Pieces of an array, shape (i, j, k), that take a few hundredths of a second each; k is slowest in memory."""
    thickness = max(1, SLAB_VOXELS // (shape_ijk[0] * shape_ijk[1]))
    for first in range(0, shape_ijk[2], thickness):
        yield slice(None), slice(None), slice(first, min(first + thickness, shape_ijk[2]))


def layerSteps(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Generator[None, None, tuple[Layer, ...]]:
    """The layers that have voxels of a segment, in steps.

    A segmentation without label maps (surfaces, contours) is voxelised in a copy, on its reference geometry.

    Raises:
        LabelError: if it cannot be voxelised, or a layer holds no whole numbers.
    """
    from CTGLIPLib.label_values import whole_labels

    segmentation = _withLabelmaps(segmentationNode)
    layers = []
    for index in range(segmentation.GetNumberOfLayers(BINARY)):
        image = labelArray(segmentation.GetLayerDataObject(index, BINARY))
        if image is None:
            continue
        labels = whole_labels(image.array, segmentationNode.GetName())
        yield
        counts = np.zeros(int(labels.max()) + 1, np.int64)
        for slab in slabs(labels.shape):
            counts += np.bincount(labels[slab].ravel(order="K"), minlength=len(counts))
            yield
        values = {
            segmentId: segmentation.GetSegment(segmentId).GetLabelValue()
            for segmentId in segmentation.GetSegmentIDsForLayer(index, BINARY)
        }
        inside = {key: value for key, value in values.items() if 0 < value < len(counts) and counts[value]}
        if inside:
            layers.append(Layer(labels, image.grid, inside))
    return tuple(layers)


def gridSteps(
    layers: Sequence[Layer], numbers: Mapping[str, int]
) -> Generator[None, None, tuple[np.ndarray, Grid, tuple[str, ...]]]:
    """Organ numbers, uint16, shape (layer, i, j, k); their grid; the segment ids that had to be resampled. In steps.

    The grid is the first layer's lattice as far as all layers reach. Layers of another lattice take its nearest voxels.

    Args:
        layers: at least one.
        numbers: the number that each segment id's voxels get.
    """
    from CTGLIPLib.geometry import Grid

    lattice = layers[0].grid
    boxes = [_indexBox(layer.grid, lattice) for layer in layers]
    low = np.min([start for start, _, _ in boxes], axis=0)
    shape = np.max([stop for _, stop, _ in boxes], axis=0) - low
    affine = lattice.affine.copy()
    affine[:3, 3] = lattice.to_ras(low)
    grid = Grid(tuple(shape.tolist()), affine)
    stored = np.zeros((len(layers), *shape[::-1]), np.uint16)  # i fastest, as in VTK: no voxel changes its place
    moved: list[str] = []
    for (start, stop, aligned), layer, target in zip(boxes, layers, stored.transpose(0, 3, 2, 1), strict=True):
        lookup = _lookup(layer, numbers)
        if aligned:
            part = target[tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))]
            for slab in slabs(part.shape):
                part[slab] = lookup[layer.labels[slab].T].T
                yield
        else:
            target[...] = _resampled(lookup[layer.labels], layer.grid, grid)
            moved += layer.values
            yield
    return stored.transpose(0, 3, 2, 1), grid, tuple(moved)


def _withLabelmaps(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkSegmentation:
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() == 0 or segmentation.ContainsRepresentation(BINARY):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if not copy.CreateRepresentation(BINARY):
        msg = f"{segmentationNode.GetName()} could not be turned into voxels. Export it to a label map in Slicer."
        raise LabelError(msg)
    return copy


def _indexBox(grid: Grid, lattice: Grid) -> tuple[np.ndarray, np.ndarray, bool]:
    """First and past-the-last index of `grid`'s voxels in `lattice`, and whether the two share their voxel centres."""
    toLattice = np.linalg.inv(lattice.affine) @ grid.affine
    shift = np.rint(toLattice[:3, 3])
    last = np.array(grid.shape_ijk) - 1
    ends = lattice.to_index(grid.to_ras(np.array([np.zeros(3), last])))
    if np.allclose(ends, [shift, shift + last], rtol=0, atol=SAME_LATTICE_VOXELS) and np.allclose(
        toLattice[:3, :3] * last, np.diag(last), rtol=0, atol=SAME_LATTICE_VOXELS
    ):
        return shift.astype(int), (shift + last + 1).astype(int), True
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape_ijk])).reshape(3, -1).T
    places = lattice.to_index(grid.to_ras(corners))
    return np.floor(places.min(axis=0)).astype(int), np.ceil(places.max(axis=0)).astype(int) + 1, False


def _lookup(layer: Layer, numbers: Mapping[str, int]) -> np.ndarray:
    """The new number of each label of a layer, uint16, 0 for labels of no segment."""
    lookup = np.zeros(int(layer.labels.max()) + 1, np.uint16)
    for segmentId, value in layer.values.items():
        lookup[value] = numbers[segmentId]
    return lookup


def _resampled(organs: np.ndarray, source: Grid, grid: Grid) -> np.ndarray:
    from CTGLIPLib.segmentation_io import resample_segmentation
    from CTGLIPLib.volume import Segmentation

    names = tuple(map(str, range(1, int(organs.max()) + 1)))
    return resample_segmentation(Segmentation(organs[None], source, names), grid).layers[0]
