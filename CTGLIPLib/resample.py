"""Volumes at another spacing or on another grid, through physical space.

Guarded by Testing/Lib/test_resample.py: equal to SimpleITK's linear interpolation where nothing is averaged.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid
from CTGLIPLib.volume import Volume


def resample_volume(volume: Volume, grid: Grid) -> Volume:
    """The volume on `grid`, float32 HU, linear interpolation; outside the volume its border is repeated.

    Where `grid` is coarser by a factor of two or more, whole blocks of voxels are averaged first, so that small bright
    or dark findings are dimmed, not missed between two samples.
    """
    fine = _block_average(Volume(canonical_array(volume.array, volume.grid), canonical_grid(volume.grid)), grid)
    to_source = np.linalg.inv(fine.grid.affine) @ grid.affine
    array = ndimage.affine_transform(
        fine.array, to_source, output_shape=grid.shape_ijk, output=np.float32, order=1, mode="nearest"
    )
    return Volume(array, grid)


def _block_average(volume: Volume, target: Grid) -> Volume:
    """The volume with whole blocks of voxels averaged, as long as they stay smaller than the target's voxels."""
    direction = volume.grid.affine[:3, :3] / np.asarray(volume.grid.spacing_mm)
    target_mm = np.abs(direction.T @ target.affine[:3, :3]).max(axis=1)
    blocks = np.maximum(np.floor(target_mm / volume.grid.spacing_mm + 1e-6), 1).astype(int)
    array = volume.array.astype(np.float32, copy=False)
    for axis, block in enumerate(blocks):
        if block > 1:
            array = _average_along(array, axis, int(block))
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((blocks - 1) / 2)
    affine[:3, :3] *= blocks
    return Volume(array, Grid(array.shape, affine))  # type: ignore[arg-type]


def _average_along(array: np.ndarray, axis: int, block: int) -> np.ndarray:
    """Means of consecutive blocks along an axis; a last block that is not full repeats the border."""
    missing = -array.shape[axis] % block
    if missing:
        array = np.pad(array, [(0, missing if a == axis else 0) for a in range(3)], mode="edge")
    shape = (*array.shape[:axis], array.shape[axis] // block, block, *array.shape[axis + 1 :])
    return array.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
