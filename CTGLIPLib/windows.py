"""Where the network looks: windows that together cover every organ voxel, and how their overlap is blended.

The windows lie on one lattice that starts at the scan's first voxel, as MONAI's sliding window does, and those that
show no organ are left out. A lattice fitted to the organs would need fewer windows, but the networks normalise each
window by itself, so other windows give other features (docs/benchmarks.md).
Guard: test_windows.py (equal to MONAI's lattice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

Box = tuple[slice, slice, slice]
LEAST_BUMP = 1e-3


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Windows and the blending weights that make them one feature map.

    Attributes:
        boxes: the windows, each within the data; only windows that hold an organ voxel.
        shape_ijk: of every window.
        starts: for each axis: the first index of every window of the lattice, whether it holds an organ voxel or not.
    """

    boxes: tuple[Box, ...]
    shape_ijk: tuple[int, int, int]
    starts: tuple[Sequence[int], ...]

    @property
    def covered(self) -> Box:
        """The smallest box that holds all windows; there must be one."""
        alongs = zip(*self.boxes, strict=True)
        i, j, k = (slice(min(w.start for w in along), max(w.stop for w in along)) for along in alongs)
        return i, j, k

    @cached_property
    def bump(self) -> np.ndarray:
        """The weight of a window before it is shared, float32, the window's shape."""
        return blend_weight(self.shape_ijk)

    def weight(self, box: Box) -> np.ndarray:
        """Share of a window in the blended value at each of its voxels, float32, the window's shape.

        At an organ voxel the shares sum to 1, elsewhere to less where windows were left out. They come from the few
        windows that meet this one, so that no map of the whole scan is held.
        """
        total = np.zeros_like(self.bump)
        meeting = (
            [start - along.start for start in starts if abs(start - along.start) < size]
            for starts, along, size in zip(self.starts, box, self.shape_ijk, strict=True)
        )
        for shifts in product(*meeting):
            both = list(zip(shifts, self.shape_ijk, strict=True))
            here = tuple(slice(max(shift, 0), size + min(shift, 0)) for shift, size in both)
            there = tuple(slice(max(-shift, 0), size - max(shift, 0)) for shift, size in both)
            total[here] += self.bump[there]
        return self.bump / total


def plan_windows(occupied: np.ndarray, patch_voxels: int, overlap: float) -> WindowPlan:
    """Windows of at most `patch_voxels` an axis that cover every occupied voxel.

    Along an axis that is no longer than a window there is one window, cut to the data: nothing is padded with air.

    Args:
        occupied: shape (i, j, k) or (layer, i, j, k): not zero where an organ is.
        patch_voxels: largest edge of a window.
        overlap: share of a window that its neighbour covers too.
    """
    size_i, size_j, size_k = (min(length, patch_voxels) for length in occupied.shape[-3:])
    sizes = (size_i, size_j, size_k)
    starts = [_starts(length, size, overlap) for length, size in zip(occupied.shape[-3:], sizes, strict=True)]
    boxes = []
    for corner in product(*starts):
        i, j, k = (slice(start, start + size) for start, size in zip(corner, sizes, strict=True))
        if occupied[..., i, j, k].any():
            boxes.append((i, j, k))
    return WindowPlan(tuple(boxes), sizes, tuple(starts))


def blend_weight(shape_ijk: tuple[int, int, int]) -> np.ndarray:
    """A Gaussian bump, 1 in the middle of a window and never below 0.001, float32, shape `shape_ijk`; MONAI's too."""
    bumps = []
    for size in shape_ijk:
        distance = (np.arange(size) - (size - 1) / 2) / (size / 8)
        bumps.append(np.exp(-0.5 * distance**2))
    i, j, k = bumps
    return np.maximum(i[:, None, None] * j[:, None] * k, LEAST_BUMP).astype(np.float32)


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box that holds every voxel of a mask, which must have some; bool, shape (i, j, k)."""
    where = [np.flatnonzero(_along(mask, axis)) for axis in range(3)]
    i, j, k = (slice(int(along[0]), int(along[-1]) + 1) for along in where)
    return i, j, k


def _along(occupied: np.ndarray, axis: int) -> np.ndarray:
    """Whether anything is occupied at each index of an axis, bool, shape (index,)."""
    return np.asarray(occupied.any(axis=tuple(a for a in range(3) if a != axis)))


def _starts(length: int, size: int, overlap: float) -> list[int]:
    """First indices of the windows along an axis."""
    step = max(1, int(size * (1 - overlap)))
    count = -(-(length - size) // step) + 1
    return [min(number * step, length - size) for number in range(count)]
