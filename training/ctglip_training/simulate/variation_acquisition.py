"""Another scanner's picture of the same body: reconstruction kernel, slice thickness, calibration, noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTGLIPLib.volume import Volume

LOWEST_HU = -1024.0
NOISE_STD_HU = (5.0, 35.0)
LARGEST_SHIFT_HU = 8.0
LARGEST_SLOPE = 0.02
THICKEST_SLICE_VOXELS = 2.5
STREAK_PROBABILITY = 0.15


def acquire(volume: Volume, rng: np.random.Generator) -> Volume:
    """The CT as another scanner and protocol would show it.

    Kernel (smooth: gaussian of up to 1 voxel, mostly far less; sharp: unsharp mask of up to 0.6), slice thickness (up
    to 2.5 voxels, mostly along the body), HU calibration (+-8 HU, +-2 %) and spatially correlated noise (5 to 35 HU,
    mostly low).
    """
    array = _kernel(volume.array.astype(np.float32), rng)
    array = _slice_thickness(array, _body_axis(volume), rng)
    slope = 1.0 + rng.uniform(-LARGEST_SLOPE, LARGEST_SLOPE)
    array = (array + 1000.0) * slope - 1000.0 + rng.uniform(-LARGEST_SHIFT_HU, LARGEST_SHIFT_HU)
    array = array + _noise(volume, rng)
    return Volume(np.maximum(array, LOWEST_HU).astype(np.float32), volume.grid)


def _kernel(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        return _blurred(array, rng.uniform(0.0, 1.0) ** 2)
    amount = rng.uniform(0.0, 0.6)
    return array + amount * (array - _blurred(array, 1.0))


def _slice_thickness(array: np.ndarray, body_axis: int, rng: np.random.Generator) -> np.ndarray:
    """Half of the CTs blurred along one axis with the variance of a slice profile of 0 to 2.5 voxels."""
    axis = body_axis if rng.random() < 0.8 else int(rng.integers(3))
    sigma_voxels = rng.uniform(0.0, THICKEST_SLICE_VOXELS) / np.sqrt(12.0)
    if rng.random() < 0.5 or sigma_voxels < 0.1:
        return array
    return ndimage.gaussian_filter1d(array, sigma_voxels, axis=axis, mode="nearest", truncate=3.0)


def _noise(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """Correlated gaussian noise in HU; now and then drawn out from left to right, as behind shoulders and hips."""
    std_hu = np.exp(rng.uniform(*np.log(NOISE_STD_HU)))
    sigma_voxels = np.full(3, rng.uniform(0.3, 1.0))
    if rng.random() < STREAK_PROBABILITY:
        sigma_voxels[[axis for axis in range(3) if volume.grid.closest_axes[axis][0] == 0]] = rng.uniform(1.5, 4.0)
    noise = rng.standard_normal(volume.array.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, sigma_voxels, mode="wrap", truncate=3.0)
    return noise * (std_hu / max(float(noise.std()), 1e-6))


def _body_axis(volume: Volume) -> int:
    """The array axis that runs from foot to head."""
    return next(axis for axis in range(3) if volume.grid.closest_axes[axis][0] == 2)


def _blurred(array: np.ndarray, sigma_voxels: float) -> np.ndarray:
    return ndimage.gaussian_filter(array, sigma_voxels, mode="nearest", truncate=3.0)
