"""The box around an organ in which a finding is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.patient import Patient, SimulatedFinding
from CTGLIPLib.geometry import Grid
from CTGLIPLib.preprocess import sub_grid
from CTGLIPLib.volume import Segmentation, Volume

Box = tuple[slice, slice, slice]

ENHANCED_AORTA_HU = 110.0
ENHANCED_SPLEEN_HU = 75.0


@dataclass(frozen=True, eq=False)
class Region:
    """Copies of what lies in a box around one organ, free to be changed.

    Attributes:
        box: where the box lies in the patient's arrays.
        grid: the box's own grid.
        ct_hu: float32, shape (i, j, k).
        layers: the segmentation's layers in the box, shape (layer, i, j, k).
        organ: the organ's name.
        names: all organ names of the segmentation.
    """

    box: Box
    grid: Grid
    ct_hu: np.ndarray
    layers: np.ndarray
    organ: str
    names: tuple[str, ...]

    @cached_property
    def mask(self) -> np.ndarray:
        """The organ as it was when the region was cut, bool, shape (i, j, k)."""
        return self.mask_of((self.organ,))

    def mask_of(self, names: tuple[str, ...]) -> np.ndarray:
        """Voxels of any of the named organs, bool; names that the segmentation lacks count as empty."""
        numbers = [self.names.index(name) + 1 for name in names if name in self.names]
        return np.logical_or.reduce(np.isin(self.layers, numbers), axis=0)

    @cached_property
    def free(self) -> np.ndarray:
        """Voxels that no organ claims, bool."""
        return np.logical_not(np.logical_or.reduce(self.layers != 0, axis=0))

    @cached_property
    def depth_mm(self) -> np.ndarray:
        """Distance of the organ's voxels from its surface in mm, 0 outside."""
        return distance_mm(self.mask, self.grid)

    @cached_property
    def points_ras(self) -> np.ndarray:
        """RAS mm of every voxel of the box, float32, shape (i, j, k, 3)."""
        return points_ras(self.grid)

    @property
    def volume_ml(self) -> float:
        """The organ's volume in millilitres."""
        return float(self.mask.sum()) * self.grid.voxel_volume_ml

    def claimed(self, voxels: np.ndarray) -> np.ndarray:
        """Layers in which the organ also has those of `voxels` that no other organ claims."""
        layers = self.layers.copy()
        number = self.names.index(self.organ) + 1
        home = int(np.argmax((layers == number).reshape(len(layers), -1).any(axis=1)))
        layers[home][voxels & self.free] = number
        return layers


def points_ras(grid: Grid) -> np.ndarray:
    """RAS mm of every voxel of a grid, float32, shape (i, j, k, 3)."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape_ijk], indexing="ij"), axis=-1)
    return grid.to_ras(index).astype(np.float32)


def distance_mm(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Distance in mm of the true voxels from the nearest false one, float32, 0 where false.

    The border of the array is no surface: an organ cut by the scan is taken to go on.
    """
    if mask.all():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    return ndimage.distance_transform_edt(mask, sampling=grid.spacing_mm).astype(np.float32)  # type: ignore[union-attr]


def box_grid(grid: Grid, box: Box) -> Grid:
    """The grid of a box of voxels."""
    i, j, k = box
    shape = (int(i.stop - i.start), int(j.stop - j.start), int(k.stop - k.start))
    return sub_grid(grid, (int(i.start), int(j.start), int(k.start)), shape)


def organ_region(patient: Patient, organ: str, margin_mm: float = 6.0, minimum_ml: float = 0.0) -> Region | None:
    """The box around an organ, or None where the organ is absent or smaller than `minimum_ml`.

    The box reaches `margin_mm` beyond the organ, at least two voxels, at most to the scan's border.
    """
    return group_region(patient, organ, (organ,), margin_mm, minimum_ml)


def group_region(
    patient: Patient, organ: str, group: tuple[str, ...], margin_mm: float, minimum_ml: float = 0.0
) -> Region | None:
    """As `organ_region`, with a box round all organs of `group`; `minimum_ml` is asked of the group."""
    segmentation, grid = patient.segmentation, patient.volume.grid
    if organ not in segmentation.names:
        return None
    numbers = [segmentation.names.index(name) + 1 for name in group if name in segmentation.names]
    mask = np.logical_or.reduce(np.isin(segmentation.layers, numbers), axis=0)
    if not mask.any() or mask.sum() * grid.voxel_volume_ml < minimum_ml:
        return None
    parts = []
    for axis in range(3):
        present = np.flatnonzero(np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1).any(axis=1))
        pad = max(2, int(np.ceil(margin_mm / grid.spacing_mm[axis])))
        parts.append(slice(max(0, int(present[0]) - pad), min(mask.shape[axis], int(present[-1]) + 1 + pad)))
    box: Box = (parts[0], parts[1], parts[2])
    ct_hu = patient.volume.array[box].astype(np.float32)
    layers = segmentation.layers[(slice(None), *box)].copy()
    region = Region(box, box_grid(grid, box), ct_hu, layers, organ, segmentation.names)
    return region if region.mask.any() else None


def cut_faces(patient: Patient, region: Region, body: np.ndarray) -> list[tuple[int, int]]:
    """The faces of the scan that a body in the region touches: (array axis, -1 for its start or +1 for its end)."""
    faces = []
    for axis in range(3):
        part = region.box[axis]
        slices = np.moveaxis(body, axis, 0)
        if part.start == 0 and slices[0].any():
            faces.append((axis, -1))
        if part.stop == patient.volume.grid.shape_ijk[axis] and slices[-1].any():
            faces.append((axis, 1))
    return faces


def with_finding(
    patient: Patient, region: Region, ct_hu: np.ndarray, layers: np.ndarray, *findings: SimulatedFinding
) -> Patient:
    """A new patient in which the region holds `ct_hu` and `layers`; everything outside the box is the same.

    The CT keeps its type; HU are rounded where it is an integer type. A finding that does not say where it lies
    (centre_r_mm, centre_a_mm, centre_s_mm) gets the place of the strongest change.
    """
    change = ndimage.gaussian_filter(np.abs(ct_hu - region.ct_hu), 1.0)
    strongest = np.array(np.unravel_index(int(np.argmax(change)), change.shape))
    centre = centre_details(region.grid.to_ras(strongest))
    placed = tuple(replace(finding, details=centre | finding.details) for finding in findings)
    array = patient.volume.array.copy()
    whole = np.issubdtype(array.dtype, np.integer)
    array[region.box] = np.rint(ct_hu) if whole else ct_hu
    all_layers = patient.segmentation.layers.copy()
    all_layers[(slice(None), *region.box)] = layers
    segmentation: Segmentation = replace(patient.segmentation, layers=all_layers)
    return Patient(Volume(array, patient.volume.grid), segmentation, patient.findings + placed)


def centre_details(point_ras: np.ndarray) -> dict[str, float]:
    """The entries of a finding's details that say where in RAS mm it lies."""
    r, a, s = (float(value) for value in point_ras)
    return {"centre_r_mm": r, "centre_a_mm": a, "centre_s_mm": s}


def median_hu(patient: Patient, organ: str) -> float | None:
    """The organ's median HU, None where it is absent."""
    region = organ_region(patient, organ)
    return None if region is None else float(np.median(region.ct_hu[region.mask]))


def is_enhanced(patient: Patient) -> bool:
    """Whether the scan was taken with contrast medium, judged by the aorta, else by the spleen."""
    aorta = median_hu(patient, "aorta")
    if aorta is not None:
        return aorta > ENHANCED_AORTA_HU
    spleen = median_hu(patient, "spleen")
    return spleen is not None and spleen > ENHANCED_SPLEEN_HU
