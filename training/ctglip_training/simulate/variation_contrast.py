"""Contrast phase: each organ's density moved to what it has without, early or late after contrast medium.

Calcified, fatty and air-filled voxels keep their HU. Organs without a row in `PHASE_HU` (lungs, bone, bowel) stay as
they are. Apply it before findings are drawn: a cyst that is already there would be enhanced with its organ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from CTGLIPLib.geometry import require_same_grid
from CTGLIPLib.volume import Segmentation, Volume

Phase = Literal["native", "arterial", "portal", "delayed"]
PHASES: tuple[Phase, ...] = ("native", "arterial", "portal", "delayed")

PHASE_HU: dict[str, tuple[float, float, float, float]] = {
    "artery": (42, 320, 150, 105),
    "left heart": (42, 290, 145, 105),
    "right heart": (42, 220, 140, 105),
    "heart": (42, 190, 125, 100),
    "myocardium": (45, 100, 105, 90),
    "upper vein": (40, 170, 140, 105),
    "lower vein": (40, 75, 135, 108),
    "portal vein": (40, 85, 170, 115),
    "liver": (56, 68, 112, 92),
    "spleen": (48, 120, 122, 98),
    "pancreas": (42, 100, 92, 72),
    "kidney cortex": (33, 180, 190, 160),
    "kidney medulla": (33, 75, 175, 165),
    "adrenal": (25, 70, 68, 50),
    "thyroid": (90, 165, 155, 130),
}
"""Typical HU per tissue in the order of `PHASES`; rounded textbook values for 120 kV."""

TISSUE: dict[str, str] = {
    **dict.fromkeys(("aorta", "brachiocephalic_trunk"), "artery"),
    **{
        f"{name}_{side}": "artery"
        for name in ("iliac_artery", "subclavian_artery", "common_carotid_artery")
        for side in ("left", "right")
    },
    **dict.fromkeys(
        ("heart_atrium_left", "heart_ventricle_left", "pulmonary_vein", "atrial_appendage_left"), "left heart"
    ),
    **dict.fromkeys(("heart_atrium_right", "heart_ventricle_right", "pulmonary_artery"), "right heart"),
    "heart": "heart",
    "heart_myocardium": "myocardium",
    **dict.fromkeys(("superior_vena_cava", "brachiocephalic_vein_left", "brachiocephalic_vein_right"), "upper vein"),
    **dict.fromkeys(("inferior_vena_cava", "iliac_vena_left", "iliac_vena_right"), "lower vein"),
    "portal_vein_and_splenic_vein": "portal vein",
    "liver": "liver",
    "spleen": "spleen",
    "pancreas": "pancreas",
    **dict.fromkeys(("kidney_left", "kidney_right"), "kidney"),
    **dict.fromkeys(("adrenal_gland_left", "adrenal_gland_right"), "adrenal"),
    "thyroid_gland": "thyroid",
}
"""Which tissue an organ enhances as; kidneys are split into cortex and medulla."""

CORTEX_MM = 7.0
FAT_HU, SOFT_HU = -80.0, 0.0
CALCIFIED_HU = 200.0
CALCIFIED_ABOVE_ORGAN_HU = 120.0
CALCIFIED_RAMP_HU = 60.0
ENHANCED_HU = 40.0
CHAMBERS = ("heart", "left heart", "right heart", "upper vein")
UNDILUTED_HU = 450.0
MUSCLE_HU = 50.0
FEWEST_VOXELS = 20
EDGE_SIGMA_VOXELS = 0.7
TEXTURE_SIGMA_VOXELS = 1.0
MARGIN_VOXELS = 3
LEAST_SHARE = 0.02
UNCHANGED_PROBABILITY = 0.3


@dataclass(frozen=True)
class Region:
    """A part of the body that enhances as one: its tissue, its voxels (bool) within a box, and their median HU."""

    tissue: str
    box: tuple[slice, ...]
    mask: np.ndarray
    median_hu: float

    @property
    def enhanced(self) -> bool:
        """Whether contrast medium is in it already."""
        return self.median_hu - PHASE_HU[self.tissue][0] >= ENHANCED_HU

    @property
    def calcified_hu(self) -> float:
        """HU from which a voxel of this region is calcified, well above the region's own contrast.

        An enhanced heart and upper veins, where undiluted contrast medium is denser than any plaque, have none: there a
        plaque stays brighter than the blood round it, but not at its HU.
        """
        if self.tissue in CHAMBERS and self.enhanced:
            return float("inf")
        return max(CALCIFIED_HU, self.median_hu + CALCIFIED_ABOVE_ORGAN_HU)


def vary_contrast(volume: Volume, segmentation: Segmentation, rng: np.random.Generator) -> Volume:
    """The CT in a random contrast phase, or unchanged with probability 0.3.

    Raises:
        GeometryError: if CT and labels do not share a grid.
    """
    require_same_grid(volume.grid, segmentation.grid, "CT and segmentation")
    unchanged = rng.random() < UNCHANGED_PROBABILITY
    phase = PHASES[int(rng.integers(len(PHASES)))]
    return volume if unchanged else set_phase(volume, segmentation, phase, rng)


def set_phase(volume: Volume, segmentation: Segmentation, phase: Phase, rng: np.random.Generator) -> Volume:
    """The CT as it would look in a contrast phase; how strongly a patient enhances is drawn.

    Args:
        volume: the CT, in any phase.
        segmentation: its organs, on the same grid.
        phase: "native", "arterial", "portal" or "delayed".
        rng: draws the patient's enhancement.

    Raises:
        GeometryError: if CT and labels do not share a grid.
    """
    require_same_grid(volume.grid, segmentation.grid, "CT and segmentation")
    array = volume.array.astype(np.float32)
    regions = _regions(array, segmentation)
    targets = _targets(phase, rng)
    before = _closest_phase(regions)
    change, calcified = np.zeros_like(array), np.full_like(array, CALCIFIED_HU)
    inside = np.zeros(array.shape, dtype=bool)
    for region in regions:
        change[region.box][region.mask] = _change(region, array[region.box], targets[region.tissue], before)
        calcified[region.box][region.mask] = region.calcified_hu
        inside[region.box] |= region.mask
    unlabelled = ~segmentation.layers.any(axis=0)
    change = _with_soft_edges(change, array, inside, unlabelled & ~inside)
    calcified = np.where(inside, calcified, ndimage.maximum_filter(calcified, size=3))
    soft = _ramp(array, FAT_HU, SOFT_HU) * _ramp(calcified - array, 0.0, CALCIFIED_RAMP_HU)
    return Volume(array + change * soft, volume.grid)


def _with_soft_edges(change: np.ndarray, array: np.ndarray, inside: np.ndarray, around: np.ndarray) -> np.ndarray:
    """The change blurred within the regions and run out, over a voxel, into the unlabelled tissue around them.

    Where contrast is taken away, blood just outside its label loses all of it, but no tissue falls below muscle.
    """
    total, share = _blurred(change, EDGE_SIGMA_VOXELS), _blurred(inside.astype(np.float32), EDGE_SIGMA_VOXELS)
    full = total / np.maximum(share, LEAST_SHARE)
    faded = np.where(full < 0, np.maximum(full, np.minimum(MUSCLE_HU - array, 0.0)), total)
    within = np.where(array > UNDILUTED_HU, change, full)
    return np.where(inside, within, np.where(around & (share > LEAST_SHARE), faded, 0.0))


def _regions(array: np.ndarray, segmentation: Segmentation) -> tuple[Region, ...]:
    """The organs of the scan that enhance, with enough soft tissue to tell their density."""
    found: list[Region] = []
    for name in segmentation.names:
        if name not in TISSUE:
            continue
        whole = segmentation.mask(name)
        if not whole.any():
            continue
        tight = ndimage.find_objects(whole.astype(np.uint8))[0]
        box = tuple(slice(max(0, cut.start - MARGIN_VOXELS), cut.stop + MARGIN_VOXELS) for cut in tight)
        for tissue, mask in _parts(TISSUE[name], whole[box], segmentation.grid.spacing_mm):
            values = array[box][mask]
            values = values[values > SOFT_HU - 30.0]
            if len(values) >= FEWEST_VOXELS:
                found.append(Region(tissue, box, mask, float(np.median(values))))
    return tuple(found)


def _parts(tissue: str, mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[tuple[str, np.ndarray], ...]:
    """The tissues of an organ with their voxels: cortex and medulla of a kidney, else the organ itself."""
    if tissue != "kidney":
        return ((tissue, mask),)
    medulla = np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_mm)) > CORTEX_MM
    return (("kidney cortex", mask & ~medulla), ("kidney medulla", medulla))


def _targets(phase: Phase, rng: np.random.Generator) -> dict[str, float]:
    """HU per tissue in a phase, for a patient whose enhancement and blood are drawn."""
    gain = rng.uniform(0.75, 1.2)
    column = PHASES.index(phase)
    targets: dict[str, float] = {}
    for tissue, levels in PHASE_HU.items():
        own = 1.0 + rng.uniform(-0.12, 0.12)
        targets[tissue] = levels[0] + (levels[column] - levels[0]) * gain * own + rng.uniform(-5.0, 5.0)
    return targets


def _closest_phase(regions: tuple[Region, ...]) -> int:
    """Column of `PHASE_HU` that the scan resembles most; the liver, whose density is a finding, only counts alone."""
    judged = [region for region in regions if region.tissue != "liver"] or list(regions)
    errors = [sum(abs(region.median_hu - PHASE_HU[region.tissue][c]) for region in judged) for c in range(len(PHASES))]
    return int(np.argmin(errors))


def _change(region: Region, array: np.ndarray, target_hu: float, before: int) -> np.ndarray:
    """HU to add to a region's voxels, shape (voxel,).

    An organ that is enhanced already has its enhancement scaled, so that what takes up nothing stays; one that is not
    is raised evenly. A fatty liver stays darker than others by as much as it was. Voxels at the organ's surface, part
    organ and part fat, change by their part of organ.

    Args:
        region: the organ, `region.mask` within its box.
        array: HU of the box.
        target_hu: level of this tissue in the new phase.
        before: column of `PHASE_HU` that the scan resembles.
    """
    core = np.asarray(ndimage.binary_erosion(region.mask))
    core = core if np.count_nonzero(core) >= FEWEST_VOXELS else region.mask
    density = _blurred(np.where(core, np.clip(array, FAT_HU, region.calcified_hu), 0.0), TEXTURE_SIGMA_VOXELS)
    share = _blurred(core.astype(np.float32), TEXTURE_SIGMA_VOXELS)
    density = np.where(share > LEAST_SHARE, density / np.maximum(share, LEAST_SHARE), region.median_hu)
    if region.tissue in CHAMBERS:  # contrast medium that flows in unmixed is uneven, which is not noise to keep
        density = np.where(array > UNDILUTED_HU, array, density)
    native = PHASE_HU[region.tissue][0]
    if region.tissue == "liver":
        change = np.full_like(array, target_hu - PHASE_HU["liver"][before])
    elif not region.enhanced:
        change = np.full_like(array, target_hu - region.median_hu)
    else:
        change = ((target_hu - native) / (region.median_hu - native) - 1.0) * np.maximum(density - native, 0.0)
    organ_part = _ramp(array, FAT_HU, np.maximum(density, SOFT_HU))
    return np.where(core, change, change * organ_part)[region.mask]


def _blurred(array: np.ndarray, sigma_voxels: float) -> np.ndarray:
    return ndimage.gaussian_filter(array, sigma_voxels, mode="nearest", truncate=3.0)


def _ramp(value: np.ndarray, low: float, high: float | np.ndarray) -> np.ndarray:
    """0 up to `low`, 1 from `high` on, straight between."""
    return np.clip((value - low) / (high - low), 0.0, 1.0)
