"""Other bodies from one scan: resampling with smooth deformation, size, posture and field of view.

Conventions, each guarded in test_variation.py: the maps run backwards (output position -> source position, RAS mm);
no map mirrors, so left stays left; every map is invertible; CT and labels go through the same map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CTGLIPLib.geometry import Grid, require_same_grid
from CTGLIPLib.volume import Segmentation, Volume

AIR_HU = -1000.0
LOWEST_HU = -1024.0
"""Scanners mark what lies outside their field of view with values down to -3024, which must not bleed inwards."""
SCALE_RANGE = (0.85, 1.18)
LARGEST_ANGLE_DEG = 10.0
LARGEST_SHIFT_MM = 12.0
LARGEST_CONTROL_SHIFT_MM = 12.0
CONTROL_SPACING_MM = (48.0, 90.0)
"""A cubic B-spline lattice cannot fold while its control shifts stay below 0.48 of its spacing (Choi and Lee 2000).

12 mm along each of three axes is at most 12 * sqrt(3) / 48 = 0.43, in whatever direction. The spline averages its
controls, so that the tissue itself moves by up to about 8 mm.
"""
THINNEST_SLAB_MM = 40.0
LEAST_IN_PLANE_FRACTION = 0.55


@dataclass(frozen=True)
class Deformation:
    """A backward map, output RAS mm -> source RAS mm: p -> centre + matrix (p - centre - shift + bend(p)).

    Attributes:
        matrix: (3, 3), rotation times scale, determinant above 0.
        centre_ras_mm: (3,), the point that scale and rotation leave where it is.
        shift_mm: (3,).
        controls_mm: (m_i, m_j, m_k, 3), RAS shifts of a cubic B-spline lattice over the output grid.
        control_spacing_mm: distance of the lattice's points along the output grid's axes.
    """

    matrix: np.ndarray
    centre_ras_mm: np.ndarray
    shift_mm: np.ndarray
    controls_mm: np.ndarray
    control_spacing_mm: float


def random_deformation(
    grid: Grid, centre_ras_mm: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> Deformation:
    """A random body size, posture, position and smooth bend, invertible by construction.

    Args:
        grid: the output grid, which the bend's control points cover.
        centre_ras_mm: the point that scale and rotation leave where it is, shape (3,).
        rng: draws the map; the same numbers are drawn at every strength.
        strength: 0 is the identity, 1 the full ranges of this module; above 1 the map could fold.

    Raises:
        ValueError: if the strength is not within 0..1.
    """
    if not 0.0 <= strength <= 1.0:
        msg = f"strength must lie within 0..1, where the map cannot fold, got {strength}."
        raise ValueError(msg)
    spacing_mm = float(rng.uniform(*CONTROL_SPACING_MM))
    extent_mm = np.array(grid.shape_ijk) * np.array(grid.spacing_mm)
    counts = np.ceil(extent_mm / spacing_mm).astype(int) + 3
    largest_mm = strength * LARGEST_CONTROL_SHIFT_MM * float(rng.uniform(0.2, 1.0))
    log_scale = strength * (rng.uniform(-0.10, 0.10) + rng.uniform(-0.08, 0.08, size=3))
    scale = np.clip(np.exp(log_scale), *SCALE_RANGE)
    angles = np.deg2rad(strength * LARGEST_ANGLE_DEG) * rng.uniform(-1, 1, size=3)
    return Deformation(
        matrix=_rotation(angles) @ np.diag(1.0 / scale),
        centre_ras_mm=np.asarray(centre_ras_mm, dtype=np.float64),
        shift_mm=strength * LARGEST_SHIFT_MM * rng.uniform(-1, 1, size=3),
        controls_mm=largest_mm * rng.uniform(-1, 1, size=(*counts, 3)),
        control_spacing_mm=spacing_mm,
    )


def source_index(grid: Grid, source: Grid, deformation: Deformation | None = None) -> np.ndarray:
    """Continuous source voxel indices of every output voxel, float32, shape (3, i, j, k).

    Args:
        grid: the output grid.
        source: the grid that is read from.
        deformation: None for plain resampling.
    """
    to_source = np.linalg.inv(source.affine)
    total = to_source @ _affine_part(deformation) @ grid.affine
    i, j, k = np.ogrid[tuple(slice(0, n) for n in grid.shape_ijk)]
    steps = [row[0] * i + row[1] * j + row[2] * k + row[3] for row in total[:3]]
    index = np.stack(steps).astype(np.float32)
    if deformation is None or not deformation.controls_mm.any():
        return index
    controls = deformation.controls_mm @ (to_source[:3, :3] @ deformation.matrix).T
    bend = np.moveaxis(controls, -1, 0)
    for count, spacing_mm in zip(grid.shape_ijk, grid.spacing_mm, strict=True):
        basis = _spline_basis(count, spacing_mm / deformation.control_spacing_mm, bend.shape[1])
        bend = np.tensordot(bend, basis, axes=(1, 1))
    return index + bend.astype(np.float32)


def resample_pair(volume: Volume, segmentation: Segmentation, grid: Grid) -> tuple[Volume, Segmentation]:
    """The CT (anti-aliased, linear) and its labels (nearest) on another grid; air and background outside the source.

    Raises:
        GeometryError: if CT and labels do not share a grid.
    """
    return _resample(volume, segmentation, grid, None)


def deform(
    volume: Volume, segmentation: Segmentation, grid: Grid, rng: np.random.Generator, strength: float = 1.0
) -> tuple[Volume, Segmentation]:
    """Another body from the same scan, on `grid`: other size, posture, position and smooth shape, never mirrored.

    Args:
        volume: the CT, on any grid.
        segmentation: its organs, on the same grid.
        grid: the output grid, in RAS mm; it stays where it is while the body changes around the scan's centre.
        rng: draws the map.
        strength: 0 (plain resampling) to 1.

    Raises:
        GeometryError: if CT and labels do not share a grid.
        ValueError: if the strength is not within 0..1.
    """
    deformation = random_deformation(grid, volume.grid.centre_ras_mm, rng, strength)
    return _resample(volume, segmentation, grid, deformation)


def crop_field_of_view(
    volume: Volume,
    segmentation: Segmentation,
    rng: np.random.Generator,
    whole_probability: float = 0.4,
    in_plane_probability: float = 0.2,
) -> tuple[Volume, Segmentation]:
    """A part of the scan, as another examination would have covered it; every voxel stays where it is in RAS.

    Lengths from head to foot are log-uniform from 40 mm to the whole scan, about a slice that shows an organ.

    Args:
        volume: the CT.
        segmentation: its organs, on the same grid.
        rng: draws the range.
        whole_probability: chance that the scan keeps its whole length.
        in_plane_probability: chance that the field of view is narrowed within the slice.

    Raises:
        GeometryError: if CT and labels do not share a grid.
    """
    require_same_grid(volume.grid, segmentation.grid, "CT and segmentation")
    grid = volume.grid
    keep_whole, keep_wide = rng.random() < whole_probability, rng.random() >= in_plane_probability
    cuts = [slice(0, n) for n in grid.shape_ijk]
    for axis, (ras, _) in enumerate(grid.closest_axes):
        extent_mm = grid.shape_ijk[axis] * grid.spacing_mm[axis]
        fraction = rng.uniform(LEAST_IN_PLANE_FRACTION, 1.0)
        slab_mm = np.exp(rng.uniform(np.log(min(THINNEST_SLAB_MM, extent_mm)), np.log(extent_mm)))
        wanted_mm = slab_mm if ras == 2 else fraction * extent_mm
        if not (keep_whole if ras == 2 else keep_wide):
            cuts[axis] = _organ_range(segmentation.layers, axis, int(np.ceil(wanted_mm / grid.spacing_mm[axis])), rng)
    return _cropped(volume, segmentation, tuple(cuts))


def _organ_range(layers: np.ndarray, axis: int, length: int, rng: np.random.Generator) -> slice:
    """A range of `length` indices along an axis whose middle shows an organ where the scan's ends allow it."""
    others = tuple(a for a in range(4) if a != axis + 1)
    shown = np.flatnonzero(layers.any(axis=others))
    count = layers.shape[axis + 1]
    middle = int(rng.choice(shown)) if len(shown) else int(rng.integers(count))
    length = min(length, count)
    start = int(np.clip(middle - length // 2, 0, count - length))
    return slice(start, start + length)


def _cropped(volume: Volume, segmentation: Segmentation, cuts: tuple[slice, ...]) -> tuple[Volume, Segmentation]:
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_ras(np.array([cut.start for cut in cuts]))
    array = volume.array[cuts].copy()
    grid = Grid(array.shape, affine)
    layers = segmentation.layers[(slice(None), *cuts)].copy()
    return Volume(array, grid), _on(segmentation, layers, grid)


def _on(segmentation: Segmentation, layers: np.ndarray, grid: Grid) -> Segmentation:
    return Segmentation(layers, grid, segmentation.names, segmentation.source, segmentation.vocabulary)


def _resample(
    volume: Volume, segmentation: Segmentation, grid: Grid, deformation: Deformation | None
) -> tuple[Volume, Segmentation]:
    require_same_grid(volume.grid, segmentation.grid, "CT and segmentation")
    index = source_index(grid, volume.grid, deformation)
    last = np.array(volume.grid.shape_ijk, dtype=np.float32).reshape(3, 1, 1, 1) - 1
    outside = ((index < -0.5) | (index > last + 0.5)).any(axis=0)
    blurred = _anti_aliased(volume, grid, deformation)
    array = ndimage.map_coordinates(blurred, index, order=1, mode="nearest", prefilter=False)
    array[outside] = AIR_HU
    nearest = np.clip(np.rint(index), 0, last).astype(np.intp)
    layers = segmentation.layers[:, nearest[0], nearest[1], nearest[2]]
    layers[:, outside] = 0
    return Volume(array, grid), _on(segmentation, layers, grid)


def _anti_aliased(volume: Volume, grid: Grid, deformation: Deformation | None) -> np.ndarray:
    """The CT blurred, along each source axis, by the variance that an output voxel's box has over a source voxel's."""
    steps = np.linalg.inv(volume.grid.affine[:3, :3]) @ _affine_part(deformation)[:3, :3] @ grid.affine[:3, :3]
    array = np.maximum(volume.array, LOWEST_HU).astype(np.float32)
    for axis, squared_step in enumerate((steps**2).sum(axis=1)):
        sigma_voxels = float(np.sqrt(max(0.0, squared_step - 1.0) / 12.0))
        if sigma_voxels > 0.1:
            array = ndimage.gaussian_filter1d(array, sigma_voxels, axis=axis, mode="nearest", truncate=3.0)
    return array


def _affine_part(deformation: Deformation | None) -> np.ndarray:
    """The map without its bend as a 4x4 matrix."""
    affine = np.eye(4)
    if deformation is not None:
        centre = deformation.centre_ras_mm
        affine[:3, :3] = deformation.matrix
        affine[:3, 3] = centre - deformation.matrix @ (centre + deformation.shift_mm)
    return affine


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation by three angles in radians, about x, then y, then z."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[b, a] = np.sin(angle)
        turn[a, b] = -np.sin(angle)
        total = turn @ total
    return total


def _spline_basis(count: int, step: float, n_controls: int) -> np.ndarray:
    """Cubic B-spline weights, shape (count, n_controls), of samples `step` control distances apart; rows sum to 1."""
    position = (np.arange(count) + 0.5) * step + 1.0
    distance = np.abs(position[:, None] - np.arange(n_controls)[None, :])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.clip(2.0 - distance, 0.0, None) ** 3 / 6.0
    return np.where(distance < 1.0, near, far)
