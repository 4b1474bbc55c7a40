"""Enlarged organs: a smooth local deformation that pushes the neighbours aside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.lesions import correlated_noise, local_noise, smoothstep
from ctglip_training.simulate.patient import FindingFunction, Patient, SimulatedFinding
from ctglip_training.simulate.region import Region, centre_details, cut_faces, distance_mm, group_region, with_finding
from ctglip_training.simulate.sentences import organ_text, sentence, size_text
from CTGLIPLib.geometry import Grid

HEART_PARTS = (
    "heart",
    "heart_myocardium",
    "heart_atrium_left",
    "heart_ventricle_left",
    "heart_atrium_right",
    "heart_ventricle_right",
)
SKIN_HU = -400.0
COARSE_MM = 5.0
RESTORED = 0.3
"""Share of the lost noise variance that is added: magnified noise is still there, only coarser."""
STILL_VOXELS = 0.01
"""What moves less keeps its HU to the last digit."""
BONES = ("rib_", "vertebrae_", "sternum", "sacrum", "hip_")
RATIO_TOLERANCE = 0.02


@dataclass(frozen=True)
class Enlargement:
    """How one organ grows.

    Attributes:
        abnormality: catalogue id, also the key of its sentences.
        group: organs that grow as one body; each present one carries the finding.
        ratio: smallest and largest ratio of new to old volume.
        least_ml: volume that the enlarged organ has at least.
        anchor: where along R, A, S, from -1 to 1 of the organ's half extent about its centroid, the fixed point
            lies: towards the wall that does not give way.
    """

    abnormality: str
    group: tuple[str, ...]
    ratio: tuple[float, float]
    least_ml: float
    anchor: tuple[float, float, float]


SPLEEN = Enlargement("splenomegaly", ("spleen",), (1.6, 3.2), 330.0, (-0.7, -0.5, 0.6))
LIVER = Enlargement("hepatomegaly", ("liver",), (1.4, 2.1), 1850.0, (0.7, -0.4, 0.7))
HEART = Enlargement("cardiomegaly", HEART_PARTS, (1.4, 1.9), 480.0, (0.3, -0.5, -0.5))
SHRINKS_TO_AT_LEAST = 0.4
"""Share of its voxels that a displaced neighbour keeps; where one would lose more, the finding does not fit."""


def enlarged(plan: Enlargement) -> FindingFunction:
    """The simulation of an enlarged organ.

    The organ is scaled about a fixed point near the wall behind it; the movement fades out around it, and stops at
    bones and at the skin. An organ that the scan cuts at its top or bottom grows away from the cut; one cut otherwise
    is refused.
    """

    def apply(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
        region = group_region(patient, organ, plan.group, 80.0, minimum_ml=60.0)
        if region is None:
            return None
        body = region.mask_of(plan.group)
        volume = float(body.sum()) * region.grid.voxel_volume_ml
        low = max(plan.ratio[0], plan.least_ml / volume)
        fixed_ras = _fixed_point(patient, region, body, plan)
        if low > plan.ratio[1] or fixed_ras is None:
            return None
        source = _grow(patient, region, plan, fixed_ras, float(rng.uniform(low, plan.ratio[1])))
        if source is None:
            return None
        layers = np.stack([_at(layer, source, 0) for layer in region.layers])
        if not _neighbours_kept(region, layers, plan.group):
            return None
        ct_hu = _deformed_ct(region, body, source, rng)
        present = [name for name in plan.group if region.mask_of((name,)).any()]
        findings = _findings(region, layers, plan, present, rng)
        return with_finding(patient, region, ct_hu, layers, *findings)

    return apply


def _fixed_point(patient: Patient, region: Region, body: np.ndarray, plan: Enlargement) -> np.ndarray | None:
    """RAS mm of the point about which the organ grows, None where the scan cuts the organ so that it cannot be told."""
    points = region.points_ras[body]
    low, high = points.min(axis=0), points.max(axis=0)
    fixed = points.mean(axis=0) + np.array(plan.anchor) * (high - low) / 2
    cuts = cut_faces(patient, region, body)
    if not cuts:
        return fixed
    axis, end = cuts[0]
    along_body, sign = region.grid.closest_axes[axis]
    if len(cuts) > 1 or along_body != 2:
        return None
    fixed[2] = high[2] if end * sign > 0 else low[2]
    return fixed


def _grow(
    patient: Patient, region: Region, plan: Enlargement, fixed_ras: np.ndarray, ratio: float
) -> np.ndarray | None:
    """Where each voxel's content comes from so that the organ has `ratio` times its volume.

    The movement is found on a coarse grid, since it is smooth.

    Returns:
        Index positions, float32, shape (3, i, j, k), or None where no movement reaches the ratio.
    """
    coarse = _coarser(region)
    body = coarse.mask_of(plan.group)
    freedom = _freedom(patient, region, coarse, body)
    smallest, largest = 1.0, 2.2
    for _ in range(12):
        scale = (smallest + largest) / 2
        moved = _movement(coarse, body, fixed_ras, scale, freedom)
        after = _at(body.astype(np.float32), _index(coarse, coarse.points_ras + moved), 1)
        reached = float((after > 0.5).sum() / body.sum())
        if abs(reached / ratio - 1) < RATIO_TOLERANCE:
            return _index(region, region.points_ras + _finer(moved, region))
        smallest, largest = (scale, largest) if reached < ratio else (smallest, scale)
    return None


def _steps(region: Region) -> list[int]:
    return [max(1, round(COARSE_MM / spacing)) for spacing in region.grid.spacing_mm]


def _coarser(region: Region) -> Region:
    """Every n-th voxel of a region, about COARSE_MM apart."""
    steps = _steps(region)
    part = tuple(slice(None, None, step) for step in steps)
    affine = region.grid.affine.copy()
    affine[:3, :3] *= steps
    ct_hu, layers = region.ct_hu[part], region.layers[(slice(None), *part)]
    return Region(region.box, Grid(ct_hu.shape, affine), ct_hu, layers, region.organ, region.names)


def _finer(moved: np.ndarray, region: Region) -> np.ndarray:
    """A movement in mm on the coarse grid, shape (i, j, k, 3), interpolated onto the region's grid."""
    steps = _steps(region)
    index = np.stack(
        np.meshgrid(*[np.arange(n) / s for n, s in zip(region.grid.shape_ijk, steps, strict=True)], indexing="ij")
    ).astype(np.float32)
    return np.stack([_at(moved[..., axis], index, 1) for axis in range(3)], axis=-1)


def _freedom(patient: Patient, region: Region, coarse: Region, body: np.ndarray) -> np.ndarray:
    """How far each coarse voxel may move: 0 at bones, skin and the box's faces inside the scan, else up to 1."""
    bones = tuple(name for name in region.names if name.startswith(BONES))
    fine = region.mask_of(bones)
    fine |= ndimage.binary_opening((region.ct_hu < SKIN_HU) & region.free, iterations=2)
    steps = _steps(region)
    rigid = ndimage.maximum_filter(fine, size=[2 * step - 1 for step in steps])[
        tuple(slice(None, None, step) for step in steps)
    ]
    for axis in range(3):
        faces = np.moveaxis(rigid, axis, 0)
        if region.box[axis].start > 0:
            faces[0] = True
        if region.box[axis].stop < patient.volume.grid.shape_ijk[axis]:
            faces[-1] = True
    rigid &= ~body
    free = smoothstep((distance_mm(~rigid, coarse.grid) - 4.0) / 20.0)
    return ndimage.gaussian_filter(free, [3 / spacing for spacing in coarse.grid.spacing_mm])


def _movement(coarse: Region, body: np.ndarray, fixed_ras: np.ndarray, scale: float, freedom: np.ndarray) -> np.ndarray:
    """From each voxel to where its content comes from, in mm, float32, shape (i, j, k, 3)."""
    offset = coarse.points_ras - fixed_ras.astype(np.float32)
    grown = _at(body.astype(np.float32), _index(coarse, fixed_ras + offset / scale), 1) > 0.5
    reach = 25.0 + 60.0 * (scale - 1)
    weight = smoothstep(1 - distance_mm(~grown, coarse.grid) / reach)
    weight = ndimage.gaussian_filter(weight, [3 / spacing for spacing in coarse.grid.spacing_mm]) * freedom
    return (offset * ((1 / scale - 1) * weight[..., None])).astype(np.float32)


def _index(region: Region, points_ras: np.ndarray) -> np.ndarray:
    return np.moveaxis(region.grid.to_index(points_ras), -1, 0).astype(np.float32)


def _at(array: np.ndarray, source: np.ndarray, order: int) -> np.ndarray:
    return ndimage.map_coordinates(array, source, order=order, mode="nearest")


def _neighbours_kept(region: Region, layers: np.ndarray, group: tuple[str, ...]) -> bool:
    before = np.bincount(region.layers.ravel(), minlength=len(region.names) + 1)
    after = np.bincount(layers.ravel(), minlength=len(region.names) + 1)
    others = np.array([False] + [name not in group for name in region.names]) & (before > 0)
    return bool((after[others] >= np.maximum(1, SHRINKS_TO_AT_LEAST * before[others])).all())


def _deformed_ct(region: Region, body: np.ndarray, source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The CT pulled through the deformation, with the noise back that interpolation took away."""
    shift = np.abs(source - np.indices(body.shape, dtype=np.float32)).max(axis=0)
    ct_hu = np.clip(_at(region.ct_hu, source, 3), region.ct_hu.min(), region.ct_hu.max())
    before, grown = local_noise(region.ct_hu, body), _at(body.astype(np.float32), source, 1) > 0.5
    lost = before.std_hu**2 - local_noise(ct_hu, grown).std_hu ** 2
    if lost > 0:
        extra = correlated_noise(body.shape, before.width_voxels, rng) * np.float32(np.sqrt(RESTORED * lost))
        ct_hu = ct_hu + extra * smoothstep(shift) * (ct_hu > SKIN_HU)
    return np.where(shift > STILL_VOXELS, ct_hu, region.ct_hu)


def _findings(
    region: Region, layers: np.ndarray, plan: Enlargement, present: list[str], rng: np.random.Generator
) -> list[SimulatedFinding]:
    """The finding for each organ of the group, in the same words."""
    before = region.mask_of(plan.group)
    grown = Region(region.box, region.grid, region.ct_hu, layers, region.organ, region.names).mask_of(plan.group)
    along = 0 if plan.group == HEART_PARTS else 2
    points = region.points_ras[grown][:, along]
    size = float(np.ptp(points)) + min(region.grid.spacing_mm)
    text = sentence(plan.abnormality, rng, organ=organ_text(region.organ, rng), size=size_text(size, rng))
    volume = float(grown.sum()) * region.grid.voxel_volume_ml
    details = {"volume_ratio": float(grown.sum() / before.sum()), "volume_ml": volume, "length_mm": size}
    details |= centre_details(region.points_ras[grown].mean(axis=0))
    return [SimulatedFinding(plan.abnormality, name, text, details) for name in present]
