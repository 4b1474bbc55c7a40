"""Raw label arrays turned into a segmentation with named organs.

Guarded by Testing/Lib/test_segmentation_io.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTGLIPLib.geometry import Grid
from CTGLIPLib.segmentation_names import organ_names
from CTGLIPLib.volume import Segmentation


@dataclass(frozen=True)
class OrganLabel:
    """One organ in raw layers: where it lies, what carries it (for messages) and its name as the file has it."""

    layer: int
    value: int
    carrier: str
    name: str


def assemble(
    raw: Sequence[np.ndarray], labels: Sequence[OrganLabel], grid: Grid, source: str, vocabulary: str
) -> Segmentation:
    """The segmentation in which the n-th label is organ n, under the vocabulary's name where it has one.

    Args:
        raw: layers of uint8 or uint16, shape (i, j, k), on `grid`.
        labels: the organs, each with voxels in its layer.
        grid: the layers' grid.
        source: where it came from, for results.
        vocabulary: as in Segmentation.

    Raises:
        LabelError: if two labels are the same organ.
    """
    names = organ_names((label.carrier, label.name) for label in labels)
    lookups = [np.zeros(int(layer.max()) + 1, np.uint16) for layer in raw]
    for organ, label in enumerate(labels, start=1):
        lookups[label.layer][label.value] = organ
    layers = np.empty((len(raw), *grid.shape_ijk[::-1]), np.uint16).transpose(0, 3, 2, 1)  # i fastest, as files have it
    for lookup, layer, target in zip(lookups, raw, layers, strict=True):
        for slab, labels_of_slab in zip(target.T, layer.T, strict=True):
            slab[...] = lookup[labels_of_slab]
    return Segmentation(layers, grid, names, source, vocabulary)
