"""Soft histograms of HU: how much of an organ is how dense, what stands out of it, and with how little noise.

Ours, beside the paper: averages of learned features need many patients to tell a calcification from noise.

Convention: measured once a study on the network's grid, whatever the windows (guard: test_intensity.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from CTGLIPLib.windows import Box, bounding_box

HU_CENTRES = (
    -1000.0, -950.0, -900.0, -800.0, -600.0, -300.0, -100.0, -50.0, -20.0, 0.0,
    20.0, 40.0, 60.0, 90.0, 130.0, 200.0, 300.0, 500.0, 1000.0,
)  # fmt: skip
CONTRAST_CENTRES = (-400.0, -150.0, -80.0, -40.0, -20.0, 0.0, 20.0, 40.0, 80.0, 150.0, 400.0)
MAP_CENTRES = (HU_CENTRES, HU_CENTRES, CONTRAST_CENTRES)
"""Bin centres of each of `hu_maps`."""
BINS = sum(len(centres) for centres in MAP_CENTRES)
REACH_VOXELS = 4
"""How far the widest of `hu_maps` looks."""
CELL_HU = 5.0
"""All centres of bins are multiples of this: the cell that a value lies in tells the two centres beside it."""
SLAB_VOXELS = 32
"""Slices measured at a time, so that memory does not grow with the scan."""


def to_hu(image: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """HU, float32, of an image in which `window_hu` are 0 and 1."""
    low, high = window_hu
    return image * np.float32(high - low) + np.float32(low)


def hu_maps(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU as it is; its mean over 3x3x3 voxels, which has less noise; and that mean's difference to 9x9x9 voxels.

    The mean of 9x9x9 voxels is that of 27 means of 3x3x3. The border is repeated. Each has the shape of `hu`.
    """
    near = _three_apart(np.pad(hu, REACH_VOXELS, mode="edge"), 1)
    wide = _three_apart(near, 3)
    near = near[3:-3, 3:-3, 3:-3]
    return hu, near, near - wide


def histograms(maps: Iterable[np.ndarray]) -> np.ndarray:
    """Each voxel's share in the bins of the three maps, side by side, float32, shape (voxel, bin).

    Args:
        maps: the voxels' values in each of `hu_maps`, shape (voxel,).
    """
    return np.concatenate([_shares(values, centres) for values, centres in zip(maps, MAP_CENTRES, strict=True)], axis=1)


def organ_histograms(
    image: np.ndarray, layers: np.ndarray, count: int, window_hu: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray:
    """The mean of `histograms` over each organ's voxels, float32, shape (organ, bin); zeros without voxels.

    Args:
        image: the CT, shape (i, j, k).
        layers: number of the organ that each voxel belongs to, from 1 on, 0 for none, shape (layer, i, j, k).
        count: how many organs there are.
        window_hu: the HU that 0 and 1 of the image stand for; as it is, the image is in HU.
    """
    sums = np.zeros((count, BINS))
    for start in range(0, image.shape[2], SLAB_VOXELS):
        sums += _slab_sums(image, layers, count, window_hu, start)
    voxels = sums[:, : len(MAP_CENTRES[0])].sum(axis=1, keepdims=True)
    return (sums / np.maximum(voxels, 1)).astype(np.float32)


def bin_sums(values: np.ndarray, centres: tuple[float, ...], group: np.ndarray | int, groups: int) -> np.ndarray:
    """Sums of the values' shares in the bins, each split between the two nearest centres; float64, (group, bin).

    Between two centres a share is linear in the value: how many values lie there and their sum tell the shares' sums.

    Args:
        values: HU, shape (value,).
        centres: of the bins.
        group: the values' groups, counted from 0, shape (value,), or one for all.
        groups: how many groups there are.
    """
    middle, bins = np.array(centres), len(centres)
    inside = np.clip(values, middle[0], middle[-1])
    key = _upper(inside, centres)
    key += group * bins
    counts = np.bincount(key, minlength=groups * bins).reshape(groups, bins)[:, 1:]
    totals = np.bincount(key, inside, groups * bins).reshape(groups, bins)[:, 1:]
    above = (totals - middle[:-1] * counts) / np.diff(middle)
    sums = np.zeros((groups, bins))
    sums[:, 1:] = above
    sums[:, :-1] += counts - above
    return sums


def widened(box: tuple[slice, ...], reach: int, shape: tuple[int, ...]) -> Box:
    """The box and the voxels within `reach` of it along each axis, as far as an array of that shape has them."""
    i, j, k = (slice(max(0, s.start - reach), min(n, s.stop + reach)) for s, n in zip(box, shape, strict=True))
    return i, j, k


def within(box: Box, around: Box) -> Box:
    """Where the box lies within the one around it."""
    i, j, k = (slice(b.start - a.start, b.stop - a.start) for b, a in zip(box, around, strict=True))
    return i, j, k


def _shares(values: np.ndarray, centres: tuple[float, ...]) -> np.ndarray:
    """Share of each bin in single values: linear between the two nearest centres, summing to 1."""
    middle, rows = np.array(centres), np.arange(len(values))
    inside = np.clip(values, middle[0], middle[-1])
    upper = _upper(inside, centres)
    fraction = ((inside - middle[upper - 1]) / (middle[upper] - middle[upper - 1])).clip(0, 1)
    shares = np.zeros((len(values), len(centres)), dtype=np.float32)
    shares[rows, upper] = fraction
    shares[rows, upper - 1] = 1 - fraction
    return shares


def _upper(inside: np.ndarray, centres: tuple[float, ...]) -> np.ndarray:
    """Number of the centre at or above each value, from 1 on: looked up, as a search among centres takes longer."""
    cell = (inside - np.float32(centres[0])) * np.float32(1 / CELL_HU)
    return _upper_of_cells(centres)[cell.astype(np.intp)]


@cache
def _upper_of_cells(centres: tuple[float, ...]) -> np.ndarray:
    cells = np.arange(centres[0], centres[-1] + CELL_HU, CELL_HU)
    return np.searchsorted(centres, cells, side="right").clip(1, len(centres) - 1)


def _slab_sums(
    image: np.ndarray, layers: np.ndarray, count: int, window_hu: tuple[float, float], start: int
) -> np.ndarray:
    """Sums of the organs' `histograms` in a slab of slices, which sees the voxels around it, shape (organ, bin)."""
    sums = np.zeros((count, BINS))
    occupied = np.asarray(layers[..., start : start + SLAB_VOXELS].any(axis=0))
    if not occupied.any():
        return sums
    i, j, k = bounding_box(occupied)
    box = (i, j, slice(start + k.start, start + k.stop))
    around = widened(box, REACH_VOXELS, image.shape)
    maps = [one[within(box, around)] for one in hu_maps(to_hu(image[around], window_hu))]
    for layer in layers[(slice(None), *box)]:
        inside = layer > 0
        organ = layer[inside].astype(np.intp) - 1
        parts = [bin_sums(one[inside], centres, organ, count) for one, centres in zip(maps, MAP_CENTRES, strict=True)]
        sums += np.concatenate(parts, axis=1)
    return sums


def _three_apart(values: np.ndarray, step: int) -> np.ndarray:
    """Mean of the 3x3x3 values that lie `step` apart around each, one axis after the other; smaller by the border."""
    for axis in range(3):
        length = values.shape[axis] - 2 * step
        first, middle, last = (values[(slice(None),) * axis + (slice(s, s + length),)] for s in (0, step, 2 * step))
        values = first + middle
        values += last
    values *= np.float32(1 / 27)
    return values
