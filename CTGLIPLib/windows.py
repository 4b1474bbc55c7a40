"""Where the network looks: windows that together cover every organ voxel, and how their overlap is blended.

The windows lie on one lattice that starts at the scan's first voxel, as MONAI's sliding window does, and those that
show no organ are left out. A lattice fitted to the organs would need fewer windows, but the networks normalise each
window by itself, so other windows give other features (docs/benchmarks.md).
Guard: test_windows.py (equal to MONAI's lattice).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Windows and the blending weights that make them one feature map.

    Attributes:
        boxes: the windows, each within the data; only windows that hold an organ voxel.
        shares: for each axis, by a window's first index there: its share in the blended value at each index within it,
            float64. The shares of all windows that hold an index sum to 1.
    """

    boxes: tuple[Box, ...]
    shares: tuple[Mapping[int, np.ndarray], ...]

    @property
    def covered(self) -> Box:
        """The smallest box that holds all windows; there must be one."""
        alongs = zip(*self.boxes, strict=True)
        i, j, k = (slice(min(w.start for w in along), max(w.stop for w in along)) for along in alongs)
        return i, j, k

    def weight(self, box: Box) -> np.ndarray:
        """Share of a window in the blended value at each of its voxels, float32, the window's shape.

        At an organ voxel the shares sum to 1, elsewhere to less where windows were left out.
        """
        i, j, k = (share[along.start] for share, along in zip(self.shares, box, strict=True))
        return (i[:, None, None] * j[:, None] * k).astype(np.float32)


def plan_windows(occupied: np.ndarray, patch_voxels: int, overlap: float) -> WindowPlan:
    """Windows of at most `patch_voxels` an axis that cover every occupied voxel.

    Along an axis that is no longer than a window there is one window, cut to the data: nothing is padded with air.

    Args:
        occupied: shape (i, j, k) or (layer, i, j, k): not zero where an organ is.
        patch_voxels: largest edge of a window.
        overlap: share of a window that its neighbour covers too.
    """
    shares = [_shares(length, patch_voxels, overlap) for length in occupied.shape[-3:]]
    boxes = []
    for starts in product(*shares):
        i, j, k = (slice(start, start + len(share[start])) for start, share in zip(starts, shares, strict=True))
        if occupied[..., i, j, k].any():
            boxes.append((i, j, k))
    return WindowPlan(tuple(boxes), tuple(shares))


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box that holds every voxel of a mask, which must have some; bool, shape (i, j, k)."""
    where = [np.flatnonzero(_along(mask, axis)) for axis in range(3)]
    i, j, k = (slice(int(along[0]), int(along[-1]) + 1) for along in where)
    return i, j, k


def _along(occupied: np.ndarray, axis: int) -> np.ndarray:
    """Whether anything is occupied at each index of an axis, bool, shape (index,)."""
    return np.asarray(occupied.any(axis=tuple(a for a in range(3) if a != axis)))


def _shares(length: int, patch: int, overlap: float) -> dict[int, np.ndarray]:
    """The windows along an axis by their first index, each with its share in the blended value, shape (index,)."""
    size = min(length, patch)
    step = max(1, int(size * (1 - overlap)))
    count = -(-(length - size) // step) + 1
    starts = [min(number * step, length - size) for number in range(count)]
    bump = blend_bump(size)
    total = np.zeros(length)
    for start in starts:
        total[start : start + size] += bump
    return {start: bump / total[start : start + size] for start in starts}


def blend_bump(size: int) -> np.ndarray:
    """A window's weight along an axis before it is shared: a Gaussian, 1 in the middle, float64, shape (size,)."""
    distance = (np.arange(size) - (size - 1) / 2) / (size / 8)
    return np.exp(-0.5 * distance**2)
