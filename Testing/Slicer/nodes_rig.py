"""What the tests of nodes share: grids in every orientation, blocks as organs, nodes of them."""

from pathlib import Path

import numpy as np
import slicer

from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid, same_grid
from CTGLIPLib.segmentation_io import write_segmentation
from CTGLIPLib.volume import Segmentation

SHAPE = (17, 20, 16)
SPACING = (1.5, 2.0, 3.0)
SHARED = ("kidney_left", "liver", "my lesion")
OVERLAPPING = (*SHARED, "lung_nodules")


def turned(degrees: float) -> np.ndarray:
    """A rotation about an axis that is none of the patient's."""
    axis, angle = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1.0, 2.0, 0.5]), np.deg2rad(degrees)
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


DIRECTIONS = {
    "RAS": np.eye(3),
    "LAS": np.diag([-1.0, 1, 1]),
    "LPS": np.diag([-1.0, -1, 1]),
    "RPI": np.diag([1.0, -1, -1]),
    "SRA": np.eye(3)[:, [2, 0, 1]],
    "PIL": np.array([[0.0, 0, -1], [-1, 0, 0], [0, -1, 0]]),
    "oblique": turned(20.0),
    "oblique LPS": turned(-35.0) @ np.diag([-1.0, -1, 1]),
}


def gridOf(direction: str, shape: tuple[int, ...] = SHAPE, spacing: tuple[float, ...] = SPACING) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS[direction] * spacing
    affine[:3, 3] = (-31.5, 12.25, 140.0) - affine[:3, :3] @ (np.array(shape) / 2)
    return Grid(shape, affine)


def huVoxels() -> np.ndarray:
    """Voxels that differ everywhere, in the range of a CT."""
    return np.random.default_rng(5).permutation(np.arange(np.prod(SHAPE)) % 3000 - 1000).reshape(SHAPE).astype(np.int16)


def organs(grid: Grid, overlapping: bool = False) -> Segmentation:
    """Random blocks; `lung_nodules` lies in a second layer over the liver."""
    rng = np.random.default_rng(7)
    layers = np.zeros((2 if overlapping else 1, *grid.shape_ijk), np.uint16)
    for number, start in enumerate(((2, 3, 1), (9, 4, 6), (3, 12, 9)), 1):
        box = tuple(slice(first, first + 5) for first in start)
        layers[0][box] = np.where(rng.random((5, 5, 5)) < 0.7, number, 0)
    if overlapping:
        layers[1][8:12, 5:9, 7:10] = 4
    return Segmentation(layers, grid, OVERLAPPING if overlapping else SHARED)


def sameInPatient(a, b) -> bool:
    """Whether two volumes hold the same values at the same places, however they are stored."""
    return same_grid(canonical_grid(a.grid), canonical_grid(b.grid)) and np.array_equal(
        canonical_array(a.array, a.grid), canonical_array(b.array, b.grid)
    )


def loaded(segmentation: Segmentation, folder: Path):
    """The segmentation in the scene, by way of Slicer's own reader."""
    path = folder / "organs.seg.nrrd"
    write_segmentation(segmentation, path)
    return slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "organs")


def underTransform(node) -> None:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "patient moved")
    node.SetAndObserveTransformNodeID(transform.GetID())


def read_array_of(path):
    from CTGLIPLib.io import read_array
    from CTGLIPLib.volume import Volume

    array, grid, notes = read_array(path)
    return Volume(array, grid), grid, notes


def renamed(node, segmentId: str, name: str, code: str | None = None):
    segment = node.GetSegmentation().GetSegment(segmentId)
    segment.SetName(name)
    tag = segment.GetTerminologyEntryTagName()
    segment.RemoveTag(tag)
    if code is not None:
        segment.SetTag(tag, f"context~SCT^123037004^Anatomical Structure~{code}~Anatomic codes~^^~^^")
    return segment
