"""Voxel grids in patient space.

Conventions, used everywhere in CTGLIPLib:
- spatial axes are in (i, j, k) order and always last;
- an affine is float64 4x4 and maps a voxel index (i, j, k), at the voxel's centre, to RAS millimetres: the three
  coordinates grow towards the patient's right, front (anterior) and head (superior);
- left and right follow from the affine, never from an index.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from CTGLIPLib.errors import GeometryError

LONGEST_MM = 10_000.0
"""No scan is longer; a grid that is has a spacing in other units, and would take all memory."""
SAME_GRID_TOLERANCE_MM = 1e-3
AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
"""For each RAS axis: the letter of its negative and of its positive end."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxels: its shape and where it lies in the patient.

    Attributes:
        shape_ijk: number of voxels along i, j, k.
        affine: float64 4x4, voxel index (i, j, k) -> RAS mm, voxel centres.

    Raises:
        GeometryError: if the shape is not three positive integers, or the affine is not a finite,
            invertible 4x4 matrix with last row 0 0 0 1.
    """

    shape_ijk: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape_ijk)
        if len(shape) != 3 or min(shape) < 1:
            msg = f"A grid needs three positive voxel counts (i, j, k), got {shape}. Give a 3-D volume."
            raise GeometryError(msg)
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            msg = f"An affine must be a finite 4x4 matrix whose last row is 0 0 0 1, got\n{affine}"
            raise GeometryError(msg)
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            msg = f"The affine's axes are not independent (its determinant is 0):\n{affine}\nCheck the file's header."
            raise GeometryError(msg)
        affine.setflags(write=False)
        object.__setattr__(self, "shape_ijk", shape)
        object.__setattr__(self, "affine", affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along i, j, k in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def closest_axes(self) -> tuple[tuple[int, int], ...]:
        """For i, j, k: the RAS axis (0, 1, 2) that it runs along most, and its sign (+1 or -1)."""
        direction = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        remaining, axes = [0, 1, 2], {}
        for column in np.argsort(-np.abs(direction).max(axis=0)):
            ras = max(remaining, key=lambda axis: abs(direction[axis, column]))
            remaining.remove(ras)
            axes[int(column)] = (ras, 1 if direction[ras, column] >= 0 else -1)
        return tuple(axes[column] for column in range(3))

    @property
    def orientation(self) -> str:
        """Three letters that name where i, j and k increase to, such as "RAS" or "LPS"."""
        return "".join(AXIS_LETTERS[axis][0 if sign < 0 else 1] for axis, sign in self.closest_axes)

    @property
    def is_oblique(self) -> bool:
        """Whether an axis is turned away from the patient's axes by more than 0.5 degrees."""
        direction = np.abs(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))
        return bool(direction.max(axis=0).min() < np.cos(np.deg2rad(0.5)))

    @property
    def centre_ras_mm(self) -> np.ndarray:
        """The middle of the grid in RAS mm, shape (3,)."""
        return self.to_ras((np.array(self.shape_ijk) - 1) / 2.0)

    def to_ras(self, index_ijk: np.ndarray) -> np.ndarray:
        """RAS mm positions, shape (..., 3), of voxel indices, shape (..., 3)."""
        return np.asarray(index_ijk, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, ras_mm: np.ndarray) -> np.ndarray:
        """Continuous voxel indices (i, j, k), shape (..., 3), of RAS mm positions, shape (..., 3)."""
        return (np.asarray(ras_mm, dtype=np.float64) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def box_ras_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner in RAS mm of the box that holds every voxel, edges included."""
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in self.shape_ijk])).reshape(3, -1).T
        points = self.to_ras(corners)
        return points.min(axis=0), points.max(axis=0)

    def describe(self) -> str:
        """A short text for messages: shape, spacing, orientation and extent."""
        low, high = self.box_ras_mm()
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm)
        extent = ", ".join(f"{axis} {a:.0f}..{b:.0f}" for axis, a, b in zip("RAS", low, high, strict=True))
        return f"{'x'.join(map(str, self.shape_ijk))} voxels of {spacing} mm, {self.orientation}, {extent} mm"


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two grids have the same shape and every corner voxel lies within 0.001 mm."""
    if a.shape_ijk != b.shape_ijk:
        return False
    last = np.array(a.shape_ijk) - 1
    corners = np.array(np.meshgrid(*[(0, n) for n in last])).reshape(3, -1).T
    return bool(np.abs(a.to_ras(corners) - b.to_ras(corners)).max() < SAME_GRID_TOLERANCE_MM)


def require_same_grid(a: Grid, b: Grid, what: str) -> None:
    """Raise GeometryError, showing both grids, unless they are the same.

    Args:
        a: the one grid.
        b: the other.
        what: the two things compared, such as "CT and label map".
    """
    if not same_grid(a, b):
        msg = f"{what} must lie on the same grid, got\n  {a.describe()}\n  {b.describe()}\nResample one onto the other."
        raise GeometryError(msg)


def overlap_fraction(inner: Grid, outer: Grid) -> float:
    """Share of `inner`'s bounding box in RAS that lies inside `outer`'s, from 0 to 1."""
    low_a, high_a = inner.box_ras_mm()
    low_b, high_b = outer.box_ras_mm()
    shared = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None)
    return float(np.prod(shared) / np.prod(high_a - low_a))


def canonical_order(grid: Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """How to turn an array into the order closest to RAS: (transpose axes, then which axes to flip)."""
    axes = grid.closest_axes
    order = tuple(next(i for i in range(3) if axes[i][0] == ras) for ras in range(3))
    flips = tuple(axes[i][1] < 0 for i in order)
    return order, flips  # type: ignore[return-value]


def canonical_grid(grid: Grid) -> Grid:
    """The same lattice with its axes in the order and direction closest to RAS."""
    order, flips = canonical_order(grid)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, list(order)]
    shape = tuple(grid.shape_ijk[axis] for axis in order)
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
            affine[:3, axis] *= -1
    return Grid(shape, affine)  # type: ignore[arg-type]


def canonical_array(array: np.ndarray, grid: Grid) -> np.ndarray:
    """A view of an array, shape (..., i, j, k) on `grid`, in the axis order of `canonical_grid(grid)`."""
    order, flips = canonical_order(grid)
    lead = array.ndim - 3
    turned = np.transpose(array, (*range(lead), *(lead + axis for axis in order)))
    return turned[(..., *(slice(None, None, -1 if flip else 1) for flip in flips))]


def grid_at_spacing(grid: Grid, spacing_mm: float) -> Grid:
    """An isotropic grid along the RAS axes that covers `grid` to half a voxel, centred on it.

    The new grid has round(extent / spacing) voxels an axis (at least 1), so that moving or turning the input by its
    own axes does not move the samples relative to the patient. Halves are rounded up with a margin: 101 voxels of 3 mm
    are 151.5 of 2 mm, and rounding noise in the affine must not decide between 151 and 152.

    Raises:
        GeometryError: if the spacing is not a positive number, or the grid is larger than any scan.
    """
    if not (np.isfinite(spacing_mm) and spacing_mm > 0):
        msg = f"A grid's spacing must be a positive number of mm, got {spacing_mm}."
        raise GeometryError(msg)
    low, high = grid.box_ras_mm()
    if (longest := float((high - low).max())) > LONGEST_MM:
        msg = (
            f"A scan must be at most {LONGEST_MM / 1000:g} m long, got {longest / 1000:,.3g} m ({grid.describe()}). "
            "Check its voxel spacing, which is in mm, and export it again."
        )
        raise GeometryError(msg)
    shape = np.maximum(np.floor((high - low) / spacing_mm + 0.5 + 1e-4), 1).astype(int)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = (low + high) / 2 - spacing_mm * (shape - 1) / 2
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
