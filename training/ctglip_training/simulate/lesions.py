"""Drawing lesions into a CT with partial volume and the noise of their surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.patient import Patient
from ctglip_training.simulate.region import Box, Region, box_grid, distance_mm, organ_region, points_ras
from ctglip_training.simulate.shapes import Shape
from CTGLIPLib.geometry import Grid

SUBSAMPLE_MM = 0.8
TISSUES = ("liver", "spleen", "aorta", "heart", "heart_ventricle_left", "autochthon_left", "autochthon_right")
EDGE_MM = 1.0
"""Blur of a sharp edge by the scanner, beside the averaging over the voxel."""


@dataclass(frozen=True)
class Noise:
    """Noise of a CT: its standard deviation, and the width in voxels (i, j, k) of the Gaussian that correlates it."""

    std_hu: float
    width_voxels: tuple[float, float, float]

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Noise in HU, float32, of the given shape."""
        return correlated_noise(shape, self.width_voxels, rng) * np.float32(self.std_hu)


def correlated_noise(
    shape: tuple[int, ...], width_voxels: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """Gaussian noise of mean 0 and standard deviation 1, smoothed to a correlation width, float32."""
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, width_voxels, mode="wrap")
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)


def texture(grid: Grid, scale_mm: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of mean 0 and standard deviation 1 with structures of about `scale_mm`, float32."""
    a, b, c = (scale_mm / 2.355 / spacing for spacing in grid.spacing_mm)
    return correlated_noise(grid.shape_ijk, (a, b, c), rng)


def local_noise(ct_hu: np.ndarray, mask: np.ndarray) -> Noise:
    """The noise inside a mask, from what a local mean leaves, robust against vessels and edges.

    Args:
        ct_hu: shape (i, j, k).
        mask: where to look; its inner voxels are used where there are enough.
    """
    inner = ndimage.binary_erosion(mask, border_value=1)
    where = inner if inner.sum() >= 200 else mask
    rest = ct_hu - ndimage.gaussian_filter(ct_hu, 1.5)
    inside = np.extract(where, rest)
    std = 1.4826 * float(np.median(np.abs(inside - np.median(inside)))) / 0.95
    widths = []
    limit = 3 * std
    for axis in range(3):
        both = np.logical_and(where, np.roll(where, -1, axis))
        a = np.extract(both, np.clip(rest, -limit, limit))
        b = np.extract(both, np.clip(np.roll(rest, -1, axis), -limit, limit))
        lag = float((a * b).mean() / max(float((a * a).mean()), 1e-6)) if len(a) else 0.0
        lag = float(np.clip(lag + 0.1, 0.01, 0.8))
        widths.append(1 / np.sqrt(-4 * np.log(lag)))
    return Noise(float(np.clip(std, 2, 60)), (widths[0], widths[1], widths[2]))


def tissue_noise(patient: Patient, region: Region) -> Noise:
    """The noise of soft tissue in this scan, for what fills lung; the region's own where no such organ is there.

    The fine structure of lung would be taken for noise.
    """
    for organ in TISSUES:
        tissue = organ_region(patient, organ, minimum_ml=15.0)
        if tissue is not None:
            return local_noise(tissue.ct_hu, tissue.mask)
    return local_noise(region.ct_hu, region.mask)


@dataclass(frozen=True)
class Lesion:
    """One body to draw: where it lies, what form, how dense.

    Attributes:
        centre_ras: RAS mm.
        reach_mm: nothing of it lies further from the centre.
        shape: its signed distance.
        hu: its attenuation.
        edge_mm: blur of its edge.
    """

    centre_ras: np.ndarray
    reach_mm: float
    shape: Shape
    hu: float
    edge_mm: float = EDGE_MM


def coverage(grid: Grid, lesion: Lesion) -> tuple[Box, np.ndarray] | None:
    """The box of voxels that a lesion may touch and the share of each voxel that it fills, or None outside the grid."""
    centre = grid.to_index(lesion.centre_ras)
    reach = (lesion.reach_mm + lesion.edge_mm) / np.array(grid.spacing_mm) + 1
    start = np.maximum(np.floor(centre - reach), 0).astype(int)
    stop = np.minimum(np.ceil(centre + reach) + 1, grid.shape_ijk).astype(int)
    if (stop <= start).any():
        return None
    box: Box = (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2]))
    points = points_ras(box_grid(grid, box)) - lesion.centre_ras.astype(np.float32)
    distance = lesion.shape(points)
    share = np.clip(0.5 - distance / lesion.edge_mm, 0, 1).astype(np.float32)
    near = np.abs(distance) < lesion.edge_mm + 1.2 * float(np.linalg.norm(grid.spacing_mm))
    share[near] = _mean_share(grid, lesion, points[near])
    return box, share


def _mean_share(grid: Grid, lesion: Lesion, points: np.ndarray) -> np.ndarray:
    """The share that a lesion fills of the voxels at `points`, shape (n, 3), averaged over points within each."""
    counts = [int(np.clip(np.ceil(spacing / SUBSAMPLE_MM), 1, 4)) for spacing in grid.spacing_mm]
    filled = np.zeros(len(points), dtype=np.float32)
    for offset in np.ndindex(*counts):
        shift = (np.array(offset) + 0.5) / counts - 0.5
        moved = points + (grid.affine[:3, :3] @ shift).astype(np.float32)
        filled += np.clip(0.5 - lesion.shape(moved) / lesion.edge_mm, 0, 1)
    return filled / np.float32(np.prod(counts))


def draw(
    region: Region, lesions: list[Lesion], noise: Noise, rng: np.random.Generator, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The region's CT with lesions in it, and the share of each voxel that they fill, both float32, shape (i, j, k).

    `allowed` says which voxels may change, as a share from 0 to 1.
    """
    ct_hu, total = region.ct_hu.copy(), np.zeros(region.ct_hu.shape, dtype=np.float32)
    for lesion in lesions:
        found = coverage(region.grid, lesion)
        if found is None:
            continue
        box, share = found
        share = share * allowed[box]
        inside = lesion.hu + noise.sample(share.shape, rng)
        ct_hu[box] = ct_hu[box] * (1 - share) + inside * share
        total[box] = np.maximum(total[box], share)
    return ct_hu, total


def soft(mask: np.ndarray, width_voxels: float = 0.5) -> np.ndarray:
    """A mask with soft edges, float32, from 0 to 1."""
    return ndimage.gaussian_filter(mask.astype(np.float32), width_voxels)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(x, 0, 1)
    return t * t * (3 - 2 * t)


def random_voxel(candidates: np.ndarray, region: Region, rng: np.random.Generator) -> np.ndarray | None:
    """RAS mm of a random place within a random candidate voxel, or None where there is no candidate."""
    index = np.flatnonzero(candidates)
    if len(index) == 0:
        return None
    voxel = np.array(np.unravel_index(int(index[rng.integers(len(index))]), candidates.shape))
    return region.grid.to_ras(voxel + rng.uniform(-0.5, 0.5, 3))


def apart(candidates: np.ndarray, region: Region, centre_ras: np.ndarray, distance: float) -> np.ndarray:
    """Those candidates that lie further than `distance` mm from a point."""
    gap = np.linalg.norm(region.points_ras - centre_ras.astype(np.float32), axis=-1)
    return candidates & (gap > distance)


def closed(mask: np.ndarray, grid: Grid, radius_mm: float) -> np.ndarray:
    """The mask with hollows and gaps narrower than twice `radius_mm` filled, bool."""
    pad = [int(np.ceil(radius_mm / spacing)) + 1 for spacing in grid.spacing_mm]
    padded = np.pad(mask, [(n, n) for n in pad])
    wide = distance_mm(~padded, grid) <= radius_mm
    narrow = distance_mm(wide, grid) > radius_mm
    inner = tuple(slice(n, n + size) for n, size in zip(pad, mask.shape, strict=True))
    return narrow[inner] | mask


def stroke(drawn: np.ndarray, grid: Grid, path_ras: np.ndarray, radius_mm: float) -> None:
    """Draw a line that thins to half its radius into `drawn`, an array of shares, shape (i, j, k), in place.

    `path_ras` holds the line's corners, shape (n, 3), RAS mm.
    """
    length = float(np.linalg.norm(np.diff(path_ras, axis=0), axis=1).sum())
    spacing = min(grid.spacing_mm)
    steps = np.linspace(0, 1, max(2, int(2 * length / spacing)))
    corners = np.linspace(0, 1, len(path_ras))
    places = np.stack([np.interp(steps, corners, path_ras[:, axis]) for axis in range(3)], axis=1)
    for done, place in zip(steps, places, strict=True):
        radius = radius_mm * (1 - 0.5 * done)
        reach = np.ceil((radius + spacing) / np.array(grid.spacing_mm)).astype(int)
        middle = np.rint(grid.to_index(place)).astype(int)
        start, stop = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, drawn.shape)
        if (stop <= start).any():
            continue
        box: Box = (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2]))
        gap = np.linalg.norm(points_ras(box_grid(grid, box)) - place.astype(np.float32), axis=-1)
        drawn[box] = np.maximum(drawn[box], np.clip(0.5 - (gap - radius) / spacing, 0, 1))
