"""Where the network looks: windows that together cover every organ voxel, and how their overlap is blended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Windows and the blending weights that make them one feature map.

    Attributes:
        boxes: the windows, each within the data; only windows that hold an organ voxel.
        total_weight: float32, shape (i, j, k): sum of the windows' weights at each voxel (1 where no window is).
    """

    boxes: tuple[Box, ...]
    total_weight: np.ndarray

    @property
    def covered(self) -> Box:
        """The smallest box that holds all windows; there must be one."""
        alongs = zip(*self.boxes, strict=True)
        i, j, k = (slice(min(w.start for w in along), max(w.stop for w in along)) for along in alongs)
        return i, j, k

    def weight(self, box: Box) -> np.ndarray:
        """Share of a window in the blended value at each of its voxels, float32, the window's shape."""
        return blend_weight(_shape(box)) / self.total_weight[box]


def plan_windows(occupied: np.ndarray, patch_voxels: int, overlap: float) -> WindowPlan:
    """Windows of at most `patch_voxels` an axis that cover every occupied voxel.

    Along an axis that is no longer than a window there is one window, cut to the data: nothing is padded with air.

    Args:
        occupied: bool, shape (i, j, k): where an organ is.
        patch_voxels: largest edge of a window.
        overlap: share of a window that its neighbour covers too.
    """
    starts = [_starts(_along(occupied, axis), patch_voxels, overlap) for axis in range(3)]
    size = [min(n, patch_voxels) for n in occupied.shape]
    boxes = []
    total = np.zeros(occupied.shape, dtype=np.float32)
    for i in starts[0]:
        for j in starts[1]:
            for k in starts[2]:
                box = (slice(i, i + size[0]), slice(j, j + size[1]), slice(k, k + size[2]))
                if occupied[box].any():
                    boxes.append(box)
                    total[box] += blend_weight(_shape(box))
    total[total == 0] = 1.0
    return WindowPlan(tuple(boxes), total)


def blend_weight(shape_ijk: tuple[int, int, int]) -> np.ndarray:
    """A Gaussian bump, 1 in the middle of a window and never below 0.001, float32, shape `shape_ijk`."""
    bumps = []
    for n in shape_ijk:
        distance = (np.arange(n) - (n - 1) / 2) / max(n / 8, 1e-6)
        bumps.append(np.exp(-0.5 * distance**2))
    weight = bumps[0][:, None, None] * bumps[1][None, :, None] * bumps[2][None, None, :]
    return np.maximum(weight, 1e-3).astype(np.float32)


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box that holds every voxel of a mask, which must have some; bool, shape (i, j, k)."""
    where = [np.flatnonzero(_along(mask, axis)) for axis in range(3)]
    i, j, k = (slice(int(along[0]), int(along[-1]) + 1) for along in where)
    return i, j, k


def _along(occupied: np.ndarray, axis: int) -> np.ndarray:
    """Whether anything is occupied at each index of an axis, bool, shape (index,)."""
    return np.asarray(occupied.any(axis=tuple(a for a in range(3) if a != axis)))


def _starts(occupied: np.ndarray, patch: int, overlap: float) -> list[int]:
    """Evenly spread first indices of windows along an axis that cover its occupied stretch."""
    length = len(occupied)
    where = np.flatnonzero(occupied)
    if length <= patch or len(where) == 0:
        return [0]
    low, high = int(where[0]), int(where[-1]) + 1
    if high - low <= patch:
        return [int(np.clip((low + high - patch) // 2, 0, length - patch))]
    step = max(1, int(patch * (1 - overlap)))
    count = int(np.ceil((high - low - patch) / step)) + 1
    return sorted({int(round(s)) for s in np.linspace(low, high - patch, count)})


def _shape(box: Box) -> tuple[int, int, int]:
    return (box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start)
