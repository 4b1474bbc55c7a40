"""Volumes at another spacing or on another grid, through physical space.

Guarded by Testing/Lib/test_resample.py: equal to SimpleITK's linear interpolation where nothing is averaged, and to
averaging whole arrays and interpolating them with scipy.ndimage everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, sparse

from CTGLIPLib.geometry import Grid, canonical_grid, canonical_order
from CTGLIPLib.volume import Volume

NO_DRIFT_VOXELS = 1e-3


def resample_volume(volume: Volume, grid: Grid) -> Volume:
    """The volume on `grid`, float32 HU, linear interpolation; outside the volume its border is repeated.

    Where `grid` is coarser by a factor of two or more, whole blocks of voxels are averaged first, so that small bright
    or dark findings are dimmed, not missed between two samples. All values must be finite.

    Both are linear: where the grids' axes are parallel, they are one sparse matrix an axis, applied slice by slice to
    the array as it is stored. A chest CT at 3 mm takes a tenth of the time, and no float copy of it is made.
    """
    fine = canonical_grid(volume.grid)
    order, flips = canonical_order(volume.grid)
    array = volume.array.transpose(order)
    blocks = _blocks(fine, grid)
    counts = -(-np.array(fine.shape_ijk) // blocks)
    averages = [_averages(*each) for each in zip(array.shape, blocks.tolist(), flips, strict=True)]
    to_source = np.linalg.inv(_in_blocks(fine.affine, blocks)) @ grid.affine
    along = parallel_axes(to_source, grid)
    if along is None:
        averaged = _along_axes(averages, array, counts)
        result = ndimage.affine_transform(averaged, to_source, output_shape=grid.shape_ijk, order=1, mode="nearest")
        return Volume(result, grid)
    matrices = []
    for axis, source_axis in enumerate(along):
        position = to_source[source_axis, axis] * np.arange(grid.shape_ijk[axis]) + to_source[source_axis, 3]
        matrices.append(_interpolation(position, int(counts[source_axis])) @ averages[source_axis])
    return Volume(_along_axes(matrices, array.transpose(along), grid.shape_ijk), grid)


def parallel_axes(to_source: np.ndarray, grid: Grid) -> tuple[int, int, int] | None:
    """The source axis that each axis of `grid` runs along; None where one leaves its own by 0.001 voxel or more.

    Args:
        to_source: 4x4, index on `grid` -> index in the source.
        grid: the grid whose whole length counts.
    """
    drift = np.abs(to_source[:3, :3]) * np.array(grid.shape_ijk)
    along = drift.argmax(axis=0)
    drift[along, range(3)] = 0
    if len(set(along.tolist())) < 3 or drift.max() >= NO_DRIFT_VOXELS:
        return None
    return int(along[0]), int(along[1]), int(along[2])


def _blocks(fine: Grid, target: Grid) -> np.ndarray:
    """How many voxels are averaged along each axis: whole numbers that stay within the target's voxels, shape (3,)."""
    direction = fine.affine[:3, :3] / np.asarray(fine.spacing_mm)
    target_mm = np.abs(direction.T @ target.affine[:3, :3]).max(axis=1)
    return np.maximum(np.floor(target_mm / fine.spacing_mm + 1e-6), 1).astype(int)


def _in_blocks(affine: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """The affine of the averaged blocks' centres."""
    result = affine.copy()
    result[:3, 3] += affine[:3, :3] @ ((blocks - 1) / 2)
    result[:3, :3] *= blocks
    return result


def _averages(size: int, block: int, flip: bool) -> sparse.csr_array:
    """Means of consecutive blocks, shape (block, voxel); a last block that is not full repeats the border.

    Args:
        size: voxels along the axis.
        block: voxels averaged.
        flip: whether the voxels are stored in reverse.
    """
    voxels = np.arange(-(-size // block) * block)
    stored = np.minimum(voxels, size - 1)
    columns = size - 1 - stored if flip else stored
    entries = (np.full(len(voxels), 1 / block), (voxels // block, columns))
    return sparse.csr_array(entries, shape=(len(voxels) // block, size))


def _interpolation(position: np.ndarray, size: int) -> sparse.csr_array:
    """Linear interpolation at positions in 0..size-1, beyond which the border is repeated, shape (position, voxel)."""
    position = np.clip(position, 0, size - 1)
    low = np.floor(position).astype(int)
    share, rows = position - low, np.arange(len(position))
    entries = (np.r_[1 - share, share], (np.r_[rows, rows], np.r_[low, np.minimum(low + 1, size - 1)]))
    return sparse.csr_array(entries, shape=(len(position), size))


def _along_axes(
    matrices: Sequence[sparse.csr_array], array: np.ndarray, shape: Sequence[int] | np.ndarray
) -> np.ndarray:
    """The array with each axis multiplied by its matrix (new, old), float32 of the new shape in C order.

    Slices across the axis that is slowest in memory are converted and shrunk one at a time, then that axis is.
    """
    slow = int(np.argmax(np.abs(array.strides)))
    single = [sparse.csr_array(matrix, dtype=np.float32) for matrix in matrices]
    first, second = (axis for axis in range(3) if axis != slow)
    slices = np.moveaxis(array, slow, 1)
    shrunk = np.empty((shape[first], slices.shape[1], shape[second]), np.float32)
    for number in range(slices.shape[1]):
        shrunk[:, number] = _in_plane(single[first], single[second], slices[:, number])
    result = np.empty(shape, np.float32)
    for row, target in zip(shrunk, np.moveaxis(result, slow, 1), strict=True):
        target[...] = single[slow] @ row
    return result


def _in_plane(first: sparse.csr_array, second: sparse.csr_array, plane: np.ndarray) -> np.ndarray:
    """The same for a plane, along the axis that is slower in memory first."""
    if abs(plane.strides[0]) < abs(plane.strides[1]):
        return _in_plane(second, first, plane.T).T
    return (second @ (first @ plane.astype(np.float32)).T).T
