"""Labels on a CT's own grid from logits that come slab by slab on another one.

Each voxel takes the class whose linearly interpolated logit is the largest. Where all eight neighbours are background
it is background too, so only the surroundings of other classes are interpolated. Guarded by test_label_slabs.py:
equal to interpolating the whole map at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid
from CTGLIPLib.windows import Box, bounding_box

CHUNK_VOXELS = 2_000_000


def labels_from_slabs(slabs: Iterable[np.ndarray], source: Grid, target: Grid) -> np.ndarray:
    """The most likely class of every voxel of `target` (0 background, also outside `source`), uint8, shape (i, j, k).

    Args:
        slabs: float32 logits (class, i, j, k), consecutive along the third axis; together they are `source`.
        source: their grid, axes along RAS.
        target: the CT's grid, in any orientation.
    """
    fine = canonical_grid(target)
    to_source = np.linalg.inv(source.affine) @ fine.affine
    low, high = _slices_needed(to_source, fine, source)
    labels = np.zeros(fine.shape_ijk, np.uint8)
    held, first, done = np.zeros((0, *source.shape_ijk[:2], 0), np.float32), 0, 0
    for slab in slabs:
        held = np.concatenate([held, slab], axis=-1) if held.size else slab.copy()
        ready = int(np.searchsorted(high, first + held.shape[-1] - 1, side="right"))
        if ready > done:
            _fill(labels, slice(done, ready), held, _from_slice(to_source, first))
            done = ready
        if done < len(low):
            unneeded = min(max(int(low[done]) - first, 0), held.shape[-1])
            held, first = held[..., unneeded:].copy(), first + unneeded
    own = np.empty(target.shape_ijk, np.uint8)
    canonical_array(own, target)[...] = labels
    return own


def _slices_needed(to_source: np.ndarray, fine: Grid, source: Grid) -> tuple[np.ndarray, np.ndarray]:
    """First and last slice of the source that each slice of the CT needs, int64, shape (k,), never decreasing."""
    i, j, _ = (n - 1 for n in fine.shape_ijk)
    corners = np.array([to_source[2, 0] * a + to_source[2, 1] * b for a in (0, i) for b in (0, j)]) + to_source[2, 3]
    along = to_source[2, 2] * np.arange(fine.shape_ijk[2])
    last = source.shape_ijk[2] - 1
    low = np.clip(np.floor(along + corners.min() - 1e-6), 0, last).astype(np.int64)
    high = np.clip(np.ceil(along + corners.max() + 1e-6), 0, last).astype(np.int64)
    return low, high


def _fill(labels: np.ndarray, slices: slice, logits: np.ndarray, to_source: np.ndarray) -> None:
    """Set the labels of some slices, whose logits are all there."""
    foreground = logits.argmax(axis=0) > 0
    if not foreground.any():
        return
    rows, columns, slices = _reached(bounding_box(foreground), to_source, labels.shape, slices)
    step = max(1, CHUNK_VOXELS // max((rows.stop - rows.start) * (columns.stop - columns.start), 1))
    for start in range(slices.start, slices.stop, step):
        box = (rows, columns, slice(start, min(start + step, slices.stop)))
        labels[box] = _most_likely(logits, to_source, box)


def _reached(inside: Box, to_source: np.ndarray, shape: tuple[int, ...], slices: slice) -> Box:
    """The box of the CT's voxels that may lie less than one source voxel away from a box of the source."""
    ends = np.array(np.meshgrid(*[(along.start - 1, along.stop) for along in inside])).reshape(3, -1)
    back = np.linalg.inv(to_source)
    corners = back[:3, :3] @ ends + back[:3, 3:]
    low = np.floor(corners.min(axis=1)).astype(int)
    high = np.ceil(corners.max(axis=1)).astype(int) + 1
    i, j = (slice(max(low[axis], 0), max(min(high[axis], shape[axis]), max(low[axis], 0))) for axis in range(2))
    start = max(int(low[2]), slices.start)
    return i, j, slice(start, max(min(int(high[2]), slices.stop), start))


def _most_likely(logits: np.ndarray, to_source: np.ndarray, box: Box) -> np.ndarray:
    """The class with the largest logit at each voxel of a box; outside the source all logits fade to 0."""
    shape = tuple(along.stop - along.start for along in box)
    matrix = to_source.copy()
    matrix[:3, 3] += to_source[:3, :3] @ np.array([along.start for along in box])
    best, chosen = np.empty(0, np.float32), np.zeros(shape, np.uint8)
    for number, channel in enumerate(logits):
        value = ndimage.affine_transform(
            channel, matrix, output_shape=shape, output=np.float32, order=1, mode="grid-constant", cval=0.0
        )
        if number:
            better = value > best
            chosen[better] = number
            best = np.where(better, value, best)
        else:
            best = value
    return chosen


def _from_slice(to_source: np.ndarray, first: int) -> np.ndarray:
    """The same map into what is held of the source, which begins at slice `first`."""
    shifted = to_source.copy()
    shifted[2, 3] -= first
    return shifted
