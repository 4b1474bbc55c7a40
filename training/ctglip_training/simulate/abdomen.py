"""Findings of the abdomen that are not round focal lesions: fatty liver, stones, plaques of the aorta."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.lesions import (
    Lesion,
    closed,
    coverage,
    draw,
    local_noise,
    random_voxel,
    smoothstep,
    soft,
    stroke,
    texture,
)
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.simulate.region import Region, distance_mm, is_enhanced, median_hu, organ_region, with_finding
from ctglip_training.simulate.sentences import count_text, organ_text, pole, sentence, side_text, size_text
from ctglip_training.simulate.shapes import blob, faceted

FAT_HU = -100.0


def fatty_liver(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """A liver of low attenuation in which the vessels stay as they are.

    Without contrast the parenchyma comes to -10 to +30 HU and at least 12 below the spleen; with contrast it loses 30
    to 60 HU. The noise stays, since the change is a smooth shift.
    """
    region = organ_region(patient, organ, minimum_ml=300.0)
    if region is None:
        return None
    level = float(np.median(region.ct_hu[region.mask]))
    enhanced = is_enhanced(patient)
    if enhanced:
        target = level - float(rng.uniform(30, 60))
    else:
        spleen = median_hu(patient, "spleen")
        target = min(float(rng.uniform(-10, 30)), (50.0 if spleen is None else spleen) - 12)
    if level - target < 10:
        return None
    smooth = ndimage.gaussian_filter(region.ct_hu, [2.5 / s for s in region.grid.spacing_mm])
    contrast = smooth - level if enhanced else level - smooth
    vessel = smoothstep((contrast - 8) / 14)
    vessel = np.maximum(vessel, 0 if enhanced else _vessel_hint(region, rng))
    not_fat = np.clip((smooth - FAT_HU) / (level - FAT_HU), 0, 1)
    uneven = 1 + 0.07 * texture(region.grid, 60.0, rng)
    shift = (target - level) * (1 - vessel) * not_fat * uneven * soft(region.mask)
    shown = float(np.median((region.ct_hu + shift)[region.mask]))
    text = sentence("fatty_liver", rng, organ=organ_text(organ, rng))
    finding = SimulatedFinding("fatty_liver", organ, text, {"attenuation_hu": shown, "drop_hu": level - shown})
    return with_finding(patient, region, region.ct_hu + shift, region.layers, finding)


def _vessel_hint(region: Region, rng: np.random.Generator) -> np.ndarray:
    """Share of blood in each voxel, along a few branching lines: a native scan hardly shows where the vessels are."""
    trunk = region.points_ras[region.mask].mean(axis=0)
    lines = np.zeros(region.ct_hu.shape, dtype=np.float32)
    for _ in range(int(rng.integers(7, 11))):
        end = random_voxel(region.mask & (region.depth_mm > 8), region, rng)
        if end is None:
            continue
        middle = (trunk + end) / 2 + rng.normal(0, 8, 3)
        fork = random_voxel(
            region.mask & (np.linalg.norm(region.points_ras - end.astype(np.float32), axis=-1) < 35), region, rng
        )
        path = [trunk, middle, end] if fork is None else [trunk, middle, end, fork]
        stroke(lines, region.grid, np.array(path), float(rng.uniform(2.5, 4.5)))
    return lines


def kidney_stone(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """One to three stones, 3 to 15 mm and 200 to 1200 HU, in the central part of a kidney where its calyces lie."""
    region = organ_region(patient, organ, 12.0, minimum_ml=40.0)
    if region is None:
        return None
    whole = closed(region.mask, region.grid, 10.0)
    depth = distance_mm(whole, region.grid)
    open_places = whole & (depth > 0.55 * depth.max()) & (region.mask | region.free) & (region.ct_hu > -150)
    count = 1 if rng.random() < 0.6 else int(rng.integers(2, 4))
    smallest = max(3.0, 1.1 * max(region.grid.spacing_mm))
    diameters = np.sort(rng.uniform(smallest, 15.0 if count == 1 else 8.0, count))[::-1]
    level = float(np.median(region.ct_hu[region.mask]))
    stones: list[Lesion] = []
    for diameter in diameters:
        centre = random_voxel(open_places, region, rng)
        if centre is None:
            break
        hu = float(rng.uniform(max(200.0, 900 - 80 * diameter, level + 200), 1200))
        stones.append(Lesion(centre, float(diameter) * 0.8, blob(float(diameter) / 2, 0.18, rng), hu))
        gap = np.linalg.norm(region.points_ras - centre.astype(np.float32), axis=-1)
        open_places = open_places & (gap > 2 * diameter)
    if not stones:
        return None
    noise = local_noise(region.ct_hu, region.mask)
    ct_hu, share = draw(region, stones, noise, rng, (region.mask | region.free).astype(np.float32))
    text = sentence(
        "kidney_stone+" if len(stones) > 1 else "kidney_stone",
        rng,
        organ=organ_text(organ, rng),
        side=side_text(organ),
        place=pole(region, stones[0].centre_ras),
        size=size_text(float(diameters[0]), rng),
        count=count_text(len(stones)),
    )
    details = {"diameter_mm": float(diameters[0]), "attenuation_hu": stones[0].hu, "count": float(len(stones))}
    finding = SimulatedFinding("kidney_stone", organ, text, details)
    return with_finding(patient, region, ct_hu, region.claimed(share > 0.5), finding)


def gallstone(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """One to eight stones, 60 to 300 HU, lying on the back wall of the gallbladder; some faceted, some with a rim."""
    region = organ_region(patient, organ, minimum_ml=4.0)
    if region is None:
        return None
    widest = 2 * float(region.depth_mm.max())
    smallest = max(3.0, 1.3 * max(region.grid.spacing_mm))
    count = 1 if rng.random() < 0.45 else int(rng.integers(2, 9))
    largest = min(22.0 if count == 1 else 10.0, 0.7 * widest)
    if largest < smallest:
        return None
    diameters = np.sort(rng.uniform(smallest, largest, count))[::-1]
    hu = float(rng.uniform(80, 300))
    rim_hu = float(rng.uniform(1.3, 2.2)) * hu if rng.random() < 0.5 else hu
    stones: list[Lesion] = []
    open_places = region.mask.copy()
    for diameter in diameters:
        centre = _dependent_place(region, open_places, float(diameter) / 2, rng)
        if centre is None:
            continue
        shape = faceted(float(diameter) / 2, rng) if count > 1 else blob(float(diameter) / 2, 0.08, rng)
        stones.append(Lesion(centre, float(diameter) * 0.7, shape, rim_hu))
        gap = np.linalg.norm(region.points_ras - centre.astype(np.float32), axis=-1)
        open_places &= gap > diameter
    if not stones:
        return None
    noise = local_noise(region.ct_hu, region.mask)
    cores = [_core(stone, hu) for stone in stones if rim_hu > hu]
    ct_hu, _ = draw(region, stones + cores, noise, rng, soft(region.mask))
    text = sentence(
        "gallstone+" if len(stones) > 1 else "gallstone",
        rng,
        organ=organ_text(organ, rng),
        size=size_text(stones[0].reach_mm / 0.7, rng),
        count=count_text(len(stones)),
    )
    details = {"diameter_mm": stones[0].reach_mm / 0.7, "attenuation_hu": hu, "count": float(len(stones))}
    return with_finding(patient, region, ct_hu, region.layers, SimulatedFinding("gallstone", organ, text, details))


def _core(stone: Lesion, hu: float) -> Lesion:
    """The less dense inside of a stone with a rim."""
    rim_mm = 0.3 * stone.reach_mm / 0.7 / 2 + 0.5

    def inner(points: np.ndarray) -> np.ndarray:
        return stone.shape(points) + rim_mm

    return Lesion(stone.centre_ras, stone.reach_mm, inner, hu)


def _dependent_place(
    region: Region, places: np.ndarray, radius_mm: float, rng: np.random.Generator
) -> np.ndarray | None:
    """A place where a stone of that radius lies on the back wall of a patient on the back, or None."""
    fits = places & (region.depth_mm >= 0.75 * radius_mm)
    if not fits.any():
        return None
    back = region.points_ras[..., 1]
    lowest = float(np.quantile(back[fits], 0.08))
    return random_voxel(fits & (back <= lowest), region, rng)


def aortic_calcification(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """Four to fourteen plaques inside the aorta's wall, 1 to 4 mm thick, 300 to 900 HU or well above blood."""
    region = organ_region(patient, organ, minimum_ml=10.0)
    if region is None:
        return None
    surface = _signed_distance(region)
    wall = region.mask & (region.depth_mm <= 1.5 * max(region.grid.spacing_mm))
    wall &= _lumen_is_round(region)
    noise = local_noise(region.ct_hu, region.mask)
    ct_hu = region.ct_hu
    total = np.zeros(ct_hu.shape, dtype=np.float32)
    thickest, count = 0.0, int(rng.integers(4, 15))
    allowed = soft(region.mask | region.free, 0.3)
    for _ in range(count):
        centre = random_voxel(wall, region, rng)
        if centre is None:
            return None
        thickness = max(float(rng.uniform(1.2, 4.0)), 0.6 * max(region.grid.spacing_mm))
        plaque = _plaque(region, surface, centre, thickness, rng)
        found = coverage(region.grid, plaque)
        if found is None:
            continue
        box, share = found
        share = share * allowed[box]
        ct_hu = ct_hu.copy()
        ct_hu[box] = ct_hu[box] * (1 - share) + (plaque.hu + noise.sample(share.shape, rng)) * share
        total[box] = np.maximum(total[box], share)
        thickest = max(thickest, thickness)
    volume_ml = float(total.sum()) * region.grid.voxel_volume_ml
    text = sentence("aortic_calcification", rng, organ=organ_text(organ, rng))
    details = {"count": float(count), "thickness_mm": thickest, "volume_ml": volume_ml}
    finding = SimulatedFinding("aortic_calcification", organ, text, details)
    return with_finding(patient, region, ct_hu, region.claimed(total > 0.5), finding)


def _signed_distance(region: Region) -> np.ndarray:
    """Distance in mm from the organ's surface, negative inside, smoothed over the voxels' steps."""
    half = min(region.grid.spacing_mm) / 2
    inside, outside = region.depth_mm, distance_mm(~region.mask, region.grid)
    signed = np.where(region.mask, half - inside, outside - half)
    return ndimage.gaussian_filter(signed, 0.7).astype(np.float32)


def _lumen_is_round(region: Region) -> np.ndarray:
    """Voxels that are not at the border of the scan, where the cut face of a vessel is no wall."""
    inner = np.zeros(region.mask.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    return inner


def _plaque(
    region: Region, surface_mm: np.ndarray, centre_ras: np.ndarray, thickness_mm: float, rng: np.random.Generator
) -> Lesion:
    """The part of a thin shell inside the wall that lies within a body longer along the vessel than round it."""
    across, along = float(rng.uniform(2.5, 8)), float(rng.uniform(3, 14))
    stretch = np.array([1.0, 1.0, across / along], dtype=np.float32)
    body = blob(across, 0.25, rng)
    centre = centre_ras.astype(np.float32)

    def distance(points: np.ndarray) -> np.ndarray:
        index = region.grid.to_index(points + centre)
        depth = ndimage.map_coordinates(surface_mm, np.moveaxis(index, -1, 0), order=1, mode="nearest")
        shell = np.abs(depth + thickness_mm * 0.3) - thickness_mm / 2
        return np.maximum(shell, body(points * stretch))

    lumen_hu = float(np.median(region.ct_hu[region.mask]))
    hu = max(float(rng.uniform(300, 900)), lumen_hu + float(rng.uniform(200, 500)))
    return Lesion(centre_ras, max(across, along) * 1.4, distance, hu, 0.8)
