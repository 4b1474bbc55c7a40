"""Findings of the pancreas: acute inflammation and duct stones."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.lesions import Lesion, draw, local_noise, random_voxel, smoothstep, soft, texture
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.simulate.region import Region, distance_mm, organ_region, with_finding
from ctglip_training.simulate.sentences import count_text, organ_text, sentence, size_text
from ctglip_training.simulate.shapes import blob


def acute_pancreatitis(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """A swollen pancreas with blurred margins, uneven low parenchyma, and streaky fat 5 to 15 mm around it."""
    region = organ_region(patient, organ, 30.0, minimum_ml=8.0)
    if region is None:
        return None
    level = float(np.median(region.ct_hu[region.mask]))
    inside_hu = float(np.clip(level, 15, 90) - rng.uniform(4, 15))
    swelling_mm, band_mm = float(rng.uniform(1.5, 4.0)), float(rng.uniform(10, 20))
    gap = distance_mm(~region.mask, region.grid)
    smooth = ndimage.gaussian_filter(region.ct_hu, 0.6)
    fat = np.clip((10 - smooth) / 80, 0, 1) * (region.ct_hu > -180) * (region.free | region.mask)
    edge = gap - swelling_mm + 1.2 * texture(region.grid, 8.0, rng)
    swollen = soft(region.mask | (region.free & (edge < 0)), 0.6)
    fade = smoothstep(1.6 * (1 - (gap - swelling_mm) / band_mm))
    streaks = smoothstep(0.55 + 0.45 * texture(region.grid, 5.0, rng) + 0.25 * texture(region.grid, 14.0, rng))
    hazy = fade * (0.35 + 0.6 * streaks)
    target = np.where(gap < swelling_mm + 3, inside_hu, rng.uniform(-15, 10))
    share = np.maximum(hazy, swollen) * fat
    noise = local_noise(region.ct_hu, region.mask).sample(gap.shape, rng)
    ct_hu = region.ct_hu * (1 - share) + (target + noise) * share
    ct_hu += (
        soft(region.mask)
        * (1 - share)
        * (inside_hu - level)
        * np.clip(0.8 + 0.4 * texture(region.grid, 14.0, rng), 0, 2)
    )
    layers = region.claimed((edge < 0) & (region.ct_hu > -180) & (region.ct_hu < 60))
    text = sentence("acute_pancreatitis", rng, organ=organ_text(organ, rng))
    details = {"attenuation_hu": inside_hu, "swelling_mm": swelling_mm, "stranding_mm": band_mm}
    return with_finding(patient, region, ct_hu, layers, SimulatedFinding("acute_pancreatitis", organ, text, details))


def pancreatic_duct_stone(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """Four to fourteen stones, 2 to 6 mm and 200 to 800 HU, along the middle line of the pancreas."""
    region = organ_region(patient, organ, minimum_ml=8.0)
    if region is None:
        return None
    line = _middle_line(region)
    level = float(np.median(region.ct_hu[region.mask]))
    smallest = max(2.0, 0.9 * max(region.grid.spacing_mm))
    count = int(rng.integers(4, 15))
    diameters = np.sort(smallest + rng.exponential(1.2, count).clip(0, 4))[::-1]
    stones: list[Lesion] = []
    for diameter in diameters:
        centre = random_voxel(line, region, rng)
        if centre is None:
            return None
        hu = max(float(rng.uniform(300, 800)), level + 350)
        stones.append(Lesion(centre, float(diameter) * 0.8, blob(float(diameter) / 2, 0.2, rng), hu))
    noise = local_noise(region.ct_hu, region.mask)
    ct_hu, _ = draw(region, stones, noise, rng, soft(region.mask))
    text = sentence(
        "pancreatic_duct_stone",
        rng,
        organ=organ_text(organ, rng),
        size=size_text(float(diameters[0]), rng),
        count=count_text(count),
    )
    details = {"diameter_mm": float(diameters[0]), "attenuation_hu": stones[0].hu, "count": float(count)}
    return with_finding(
        patient, region, ct_hu, region.layers, SimulatedFinding("pancreatic_duct_stone", organ, text, details)
    )


def _middle_line(region: Region) -> np.ndarray:
    """The organ's deepest voxels in each slice across its long axis, bool: about where the duct runs."""
    points = region.points_ras[region.mask]
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    along = (region.points_ras - points.mean(axis=0)) @ axes[0]
    step = np.floor(along / 6.0).astype(int)
    step -= step.min()
    depth = np.where(region.mask, region.depth_mm, 0)
    deepest = ndimage.maximum(depth, step, index=np.arange(step.max() + 1))
    return region.mask & (depth >= 0.85 * np.asarray(deepest)[step])
