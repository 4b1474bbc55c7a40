"""Flat pictures of a scan as a radiologist expects to see them.

Conventions:
- axial and coronal views show the patient's right on the image's left, axial views with the front up, the others with
  the head up, sagittal views with the front on the left (test_views: `every view faces the radiologist`);
- arrays are first brought into the order closest to RAS; an oblique scan is shown along its own axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTGLIPLib.geometry import AXIS_LETTERS, Grid, canonical_array, canonical_grid
from CTGLIPLib.volume import Volume

MAX_HEIGHT_MM = 450.0
"""A scan that is longer from head to foot is cut to this length round the organ, so that the organ stays large."""
CENTRAL_SHARE = 0.5
"""The slice with the largest cross-section is sought in this middle share of the organ's length."""


@dataclass(frozen=True)
class Window:
    """The HU range that a picture spreads over its grey levels."""

    name: str
    low_hu: float
    high_hu: float


SOFT_TISSUE = Window("soft tissue", -160.0, 240.0)
LUNG = Window("lung", -1350.0, 150.0)
BONE = Window("bone", -450.0, 1050.0)
BRAIN = Window("brain", 0.0, 80.0)
WINDOW_WORDS: dict[str, Window] = {
    **dict.fromkeys(("lung", "trachea", "bronchus", "bronchi", "airway"), LUNG),
    **dict.fromkeys(
        ("rib", "ribs", "vertebra", "vertebrae", "sacrum", "hip", "femur", "humerus", "scapula", "clavicula", "sternum")
        + ("skull", "bone", "patella", "tibia", "fibula", "tarsal", "metatarsal", "ulna", "radius", "carpal"),
        BONE,
    ),
    "brain": BRAIN,
}
"""Words of organ names that ask for another window than soft tissue."""


def window_for(organ: str) -> Window:
    """The window that suits an organ, by the words of its name ("lung_upper_lobe_left": the lung window)."""
    words = organ.lower().replace("_", " ").split()
    return next((WINDOW_WORDS[word] for word in words if word in WINDOW_WORDS), SOFT_TISSUE)


@dataclass(frozen=True)
class Plane:
    """A direction of view: the RAS axis looked along, and those across and up the picture."""

    name: str
    through: int
    across: int
    up: int

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """The patient's directions at the picture's left, right, top and bottom."""
        left, right = AXIS_LETTERS[self.across][1], AXIS_LETTERS[self.across][0]
        return left, right, AXIS_LETTERS[self.up][1], AXIS_LETTERS[self.up][0]


PLANES = (Plane("Axial", 2, 0, 1), Plane("Coronal", 1, 0, 2), Plane("Sagittal", 0, 1, 2))


@dataclass(frozen=True, eq=False)
class View:
    """One slice of a scan, ready to be drawn.

    Attributes:
        plane: the direction of view.
        index: the slice's number in `grid` along the plane's axis.
        grid: the scan's grid in the order closest to RAS.
    """

    plane: Plane
    index: int
    grid: Grid

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of the picture."""
        shape, spacing = self.grid.shape_ijk, self.grid.spacing_mm
        return tuple(shape[axis] * spacing[axis] for axis in (self.plane.across, self.plane.up))  # type: ignore[return-value]

    @property
    def position(self) -> str:
        """Where the slice lies, such as "S 123 mm"; its number for an oblique scan, where no one coordinate says it."""
        axis = self.plane.through
        if self.grid.is_oblique:
            return f"slice {self.index + 1} of {self.grid.shape_ijk[axis]}"
        value = self.grid.affine[axis, axis] * self.index + self.grid.affine[axis, 3]
        return f"{AXIS_LETTERS[axis][int(value >= 0)]} {abs(value):.0f} mm"

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The slice of an array, shape (..., i, j, k) on `grid`, as shape (..., row, column), first row on top."""
        place: list[slice | int] = [slice(None)] * 3
        place[self.plane.through] = self.index
        flat = array[(..., *place)]
        return np.swapaxes(flat, -1, -2)[..., ::-1, ::-1]


@dataclass(frozen=True, eq=False)
class Upright:
    """A scan in the order closest to RAS, cut from head to foot to at most 450 mm round what is shown.

    Attributes:
        hu: the CT, shape (i, j, k) on `grid`.
        grid: the grid of what is shown.
        source: the grid that the scan came on.
        rows: the slices, in RAS order along the third axis, that are shown.
    """

    hu: np.ndarray
    grid: Grid
    source: Grid
    rows: slice

    def turned(self, array: np.ndarray) -> np.ndarray:
        """An array on the source's grid, shape (..., i, j, k), brought onto `grid`."""
        return canonical_array(array, self.source)[..., self.rows]

    def views(self, mask: np.ndarray) -> tuple[View, View, View]:
        """The axial, coronal and sagittal slice that show a mask best; the middle ones for an empty mask.

        Args:
            mask: bool, shape (i, j, k) on `grid`.
        """
        axial, coronal, sagittal = (View(plane, central_slice(mask, plane.through), self.grid) for plane in PLANES)
        return axial, coronal, sagittal


def upright(volume: Volume, mask: np.ndarray) -> Upright:
    """A scan in the order closest to RAS, cut to at most 450 mm from head to foot round a mask.

    Args:
        volume: the CT.
        mask: bool, shape (i, j, k) on the CT's grid; may be empty.
    """
    grid = canonical_grid(volume.grid)
    count = max(min(round(MAX_HEIGHT_MM / grid.spacing_mm[2]), grid.shape_ijk[2]), 1)
    centre = central_slice(canonical_array(mask, volume.grid), 2)
    start = min(max(centre - count // 2, 0), grid.shape_ijk[2] - count)
    rows = slice(start, start + count)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_ras(np.array((0, 0, start)))
    shown = Grid((grid.shape_ijk[0], grid.shape_ijk[1], count), affine)
    return Upright(canonical_array(volume.array, volume.grid)[..., rows], shown, volume.grid, rows)


def central_slice(mask: np.ndarray, axis: int) -> int:
    """The slice number with the mask's largest cross-section near its middle.

    A centroid may lie outside a curved organ such as a rib or the colon, so the slice is the one with most voxels in
    the middle half of the organ's length round its centroid, or of all where that half is empty. Ties go to the slice
    nearest to the centroid. An empty mask gives the middle slice.

    Args:
        mask: bool, shape (i, j, k).
        axis: the axis to slice, 0, 1 or 2.
    """
    areas = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis)).astype(np.float64)
    filled = np.flatnonzero(areas)
    if not len(filled):
        return mask.shape[axis] // 2
    positions = np.arange(len(areas))
    distance = np.abs(positions - np.average(positions, weights=areas))
    reach = max(CENTRAL_SHARE / 2 * (filled[-1] - filled[0] + 1), 0.5)
    near = np.where(distance <= reach, areas, 0.0)
    candidates = near if near.any() else areas
    best = np.flatnonzero(candidates == candidates.max())
    return int(best[np.argmin(distance[best])])
