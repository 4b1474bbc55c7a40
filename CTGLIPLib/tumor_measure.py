"""Volumes, pieces and places of the tumours in a segmentation.

Guarded by test_tumor.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTGLIPLib.geometry import Grid
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_results import OrganRow, TumorResult, TumorRow
from CTGLIPLib.volume import Segmentation
from CTGLIPLib.windows import Box, bounding_box

NEAR_MM = 3.0
"""How far round a tumour its organ is sought: organ masks often leave a tumour out."""
ANY_NEIGHBOUR = np.ones((3, 3, 3))


@dataclass(frozen=True, eq=False)
class TumorFindings:
    """The result and the voxels that it was measured on: all classes, on the CT's grid."""

    result: TumorResult
    segmentation: Segmentation


def measure_tumors(
    segmentation: Segmentation, config: TumorConfig, organs: Segmentation | None
) -> tuple[tuple[TumorRow, ...], tuple[OrganRow, ...]]:
    """A row for each tumour, and one for each other class, in the order of the model's classes.

    Args:
        segmentation: the model's classes, exclusive, all of `config.classes` named.
        config: the model's.
        organs: on the same grid; None = no organ is named.
    """
    labels, ml = segmentation.layers[0], segmentation.grid.voxel_volume_ml
    boxes = ndimage.find_objects(labels, max_label=len(config.classes))
    tumors, others = [], []
    for number, (name, box) in enumerate(zip(config.classes, boxes, strict=True), start=1):
        inside = np.zeros((0, 0, 0), bool) if box is None else labels[box] == number
        volume_ml = int(inside.sum()) * ml
        if name not in config.tumors:
            others.append(OrganRow(name, volume_ml))
        elif box is None:
            tumors.append(TumorRow(name, False, 0.0))
        else:
            tumors.append(_measured(name, inside, box, segmentation.grid, config.detection_ml, organs))
    return tuple(tumors), tuple(others)


def _measured(
    name: str, inside: np.ndarray, box: Box, grid: Grid, detection_ml: float, organs: Segmentation | None
) -> TumorRow:
    """The row of a tumour with voxels; `inside` is its mask in `box`."""
    pieces, count = ndimage.label(inside, structure=ANY_NEIGHBOUR)  # type: ignore[misc]
    sizes = np.bincount(pieces.ravel())[1:]
    piece = pieces == int(sizes.argmax()) + 1
    index = np.argwhere(piece)
    nearest = index[np.argmin((index - index.mean(axis=0)) ** 2 @ np.square(grid.spacing_mm))]
    r, a, s = grid.to_ras(nearest + [along.start for along in box]).tolist()
    volume_ml = int(sizes.sum()) * grid.voxel_volume_ml
    return TumorRow(
        name=name,
        detected=volume_ml >= detection_ml,
        volume_ml=volume_ml,
        components=int(count),
        largest_ml=int(sizes.max()) * grid.voxel_volume_ml,
        centre_ras_mm=(r, a, s),
        organ=None if organs is None else _organ_around(piece, box, organs),
    )


def _organ_around(piece: np.ndarray, box: Box, organs: Segmentation) -> str | None:
    """The organ with most voxels in or within 3 mm of a piece, whose mask lies in `box`."""
    own = bounding_box(piece)
    piece = piece[own]
    margin = [int(np.ceil(NEAR_MM / mm)) for mm in organs.grid.spacing_mm]
    around: list[slice] = []
    padding: list[tuple[int, int]] = []
    for outer, inner, more, size in zip(box, own, margin, organs.grid.shape_ijk, strict=True):
        start, stop = outer.start + inner.start, outer.start + inner.stop
        low, high = max(start - more, 0), min(stop + more, size)
        around.append(slice(low, high))
        padding.append((start - low, high - stop))
    distance = ndimage.distance_transform_edt(~np.pad(piece, padding), sampling=organs.grid.spacing_mm)
    near = np.asarray(distance) <= NEAR_MM
    counts = np.zeros(len(organs.names) + 1, np.int64)
    for layer in organs.layers:
        counts += np.bincount(layer[tuple(around)][near], minlength=len(counts))
    counts[0] = 0
    return organs.names[int(counts.argmax()) - 1] if counts.any() else None
