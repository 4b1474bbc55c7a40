"""Fluid in the pleural space."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.chest import lung_and_rim
from ctglip_training.simulate.lesions import smoothstep, texture, tissue_noise
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.simulate.region import Region, distance_mm, organ_region, with_finding
from ctglip_training.simulate.sentences import organ_text, sentence, side_text

KEPT_SHARE = (0.3, 0.6)
"""Share of the fluid that stays in the lobe's mask: the part next to the lung that is left."""


def pleural_effusion(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """A crescent of fluid, 0 to 25 HU, at the back of a lower lobe, with a band of compressed lung before it.

    Fluid displaces lung, and TotalSegmentator leaves most of it out of the lobe: the fluid next to the remaining lung
    stays in the mask, what lies against the chest wall becomes background.
    """
    region = organ_region(patient, organ, minimum_ml=40.0)
    if region is None:
        return None
    lobes = tuple(name for name in region.names if name.startswith("lung_"))
    height = _height_in_crescent(region, lobes, rng)
    wanted = float(rng.uniform(0.10, 0.40))
    level = float(np.quantile(height[region.mask], wanted))
    space = lung_and_rim(region, (organ,))
    step = max(region.grid.spacing_mm)
    fluid = smoothstep(0.5 - (height - level) / step)
    band_mm = float(rng.uniform(4, 9))
    squeezed = smoothstep(0.5 - (height - level - band_mm) / (0.7 * band_mm)) * (1 - fluid)
    noise = tissue_noise(patient, region).sample(fluid.shape, rng)
    hu = float(rng.uniform(0, 25))
    collapsed = np.maximum(region.ct_hu, rng.uniform(-250, 20) + noise + 40 * texture(region.grid, 7.0, rng))
    ct_hu = region.ct_hu * (1 - fluid - squeezed) + (hu + noise) * fluid + collapsed * squeezed
    ct_hu = np.where(space, ct_hu, region.ct_hu)
    wet = region.mask & (fluid > 0.5)
    layers = region.layers.copy()
    shown = float(np.quantile(height[wet], 1 - rng.uniform(*KEPT_SHARE))) if wet.any() else level
    layers[:, wet & (height < shown)] = 0
    volume = float(wet.sum()) * region.grid.voxel_volume_ml
    extent = "small" if wanted < 0.18 else "moderate" if wanted < 0.3 else "large"
    text = sentence("pleural_effusion", rng, organ=organ_text(organ, rng), side=side_text(organ), extent=extent)
    details = {"attenuation_hu": hu, "volume_ml": volume, "share_of_lobe": volume / region.volume_ml}
    finding = SimulatedFinding("pleural_effusion", organ, text, details)
    return with_finding(patient, region, ct_hu, layers, finding)


def _height_in_crescent(region: Region, lobes: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """How late fluid reaches each voxel: it rises from the back, from below, and creeps up along the chest wall."""
    points = region.points_ras
    wall = distance_mm(lung_and_rim(region, lobes), region.grid)
    creep = rng.uniform(10, 22) * np.exp(-wall / rng.uniform(6, 11))
    uneven = ndimage.gaussian_filter(1.2 * texture(region.grid, 30.0, rng), 1.0)
    return points[..., 1] + rng.uniform(0.1, 0.35) * points[..., 2] - creep + uneven
