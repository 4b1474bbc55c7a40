"""Arrays that carry their place in the patient: CT volumes and organ segmentations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTGLIPLib.errors import GeometryError, LabelError
from CTGLIPLib.geometry import Grid


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT: intensities in HU, shape (i, j, k), on a grid."""

    array: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape_ijk:
            msg = f"The array's shape {self.array.shape} must equal its grid's {self.grid.shape_ijk}."
            raise GeometryError(msg)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Named organs on a grid, where organs may overlap.

    Attributes:
        layers: uint16, shape (layer, i, j, k). The voxels of organ n (counted from 1) have the value n, all in one
            layer; 0 is background. Organs that overlap lie in different layers.
        grid: the layers' grid.
        names: the organs' names; names[n - 1] is organ n. Vocabulary names where the vocabulary knows them.
        source: where it came from, for results ("TotalSegmentator v2 label map labels.nii.gz").
        vocabulary: "totalsegmentator_v1", "totalsegmentator_v2" or "names".
        tumors: those of `names` that are tumours: they get colours and codes of their own.
    """

    layers: np.ndarray
    grid: Grid
    names: tuple[str, ...]
    source: str = "given"
    vocabulary: str = "names"
    tumors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.layers.ndim != 4 or self.layers.shape[1:] != self.grid.shape_ijk:
            got = self.layers.shape
            msg = f"Segmentation layers must have shape (layer, i, j, k) on {self.grid.shape_ijk}, got {got}."
            raise GeometryError(msg)
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            msg = f"Every organ must have a name of its own, but {', '.join(twice)} occurs twice. Rename or merge them."
            raise LabelError(msg)

    def mask(self, name: str) -> np.ndarray:
        """The organ's voxels, bool, shape (i, j, k).

        Raises:
            LabelError: if there is no organ of that name.
        """
        if name not in self.names:
            msg = f"There is no organ {name!r} in this segmentation; it has {', '.join(self.names)}."
            raise LabelError(msg)
        return (self.layers == self.names.index(name) + 1).any(axis=0)

    def voxel_counts(self) -> np.ndarray:
        """Number of voxels of each organ, int64, shape (organ,), in the order of `names`."""
        counts = np.zeros(len(self.names) + 1, dtype=np.int64)
        for layer in self.layers:
            counts += np.bincount(layer.ravel(order="K"), minlength=len(counts))
        return counts[1:]
