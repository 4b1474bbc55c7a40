"""Round focal lesions of solid organs: cysts, calcifications, metastases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.lesions import Lesion, Noise, apart, closed, draw, local_noise, random_voxel, soft
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.simulate.region import Region, centre_details, distance_mm, is_enhanced, organ_region, with_finding
from ctglip_training.simulate.sentences import (
    count_text,
    liver_lobe,
    organ_text,
    pole,
    sentence,
    size_text,
    third,
)
from ctglip_training.simulate.shapes import blob

LEAST_CONTRAST_HU = 18.0
"""By how much a cyst is darker than its organ: less could not be seen, and would not be reported."""
ROSE = 4.0
AIR_HU = -200.0
BONE_HU = 250.0

Place = Callable[[Region, np.ndarray], str]
PLACES: dict[str, Place] = {"kidney_left": pole, "kidney_right": pole, "liver": liver_lobe, "spleen": third}


def renal_cyst(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """One to four simple cysts of a kidney, 8 to 50 mm, which may bulge into the fat around it."""
    return _cysts(patient, organ, rng, "renal_cyst", bulges=True)


def hepatic_cyst(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """One to four simple cysts of the liver, 8 to 50 mm, inside it."""
    return _cysts(patient, organ, rng, "hepatic_cyst", bulges=False)


def _cysts(patient: Patient, organ: str, rng: np.random.Generator, abnormality: str, bulges: bool) -> Patient | None:
    region = organ_region(patient, organ, 30.0, minimum_ml=40.0)
    if region is None:
        return None
    level = float(np.quantile(region.ct_hu[region.mask], 0.6))
    hu = max(-5.0, min(float(rng.uniform(0, 15)), level - LEAST_CONTRAST_HU))
    noise = local_noise(region.ct_hu, region.mask)
    thickest = 2 * float(region.depth_mm[np.isfinite(region.depth_mm)].max())
    smallest = max(8.0, _visible_mm(level - hu, noise, region))
    largest = min(50.0, thickest * (1.1 if bulges else 0.75))
    if largest < smallest:
        return None
    count = 1 if rng.random() < 0.6 else int(rng.integers(2, 5))
    diameters = np.sort(np.exp(rng.uniform(np.log(smallest), np.log(largest), count)))[::-1]
    inside = float(rng.uniform(0.05, 0.2)) if bulges else 0.5
    depth = _cortex_depth(region, 0.32 * float(diameters[0])) if bulges else region.depth_mm
    placed = _place(region, depth, diameters, Look(hu, 0.12, inside), rng)
    if not placed:
        return None
    near = ndimage.distance_transform_edt(~region.mask, sampling=region.grid.spacing_mm) < placed[0][1]  # type: ignore[operator]
    soft_tissue = (region.ct_hu > AIR_HU) & (region.ct_hu < BONE_HU)
    outside = region.free & soft_tissue & near if bulges else np.zeros_like(region.mask)
    ct_hu, share = draw(region, [lesion for lesion, _ in placed], noise, rng, soft(region.mask | outside))
    layers = region.claimed((share > 0.5) & outside)
    return _finished(patient, region, (ct_hu, layers), placed, (abnormality, "cyst"), rng)


def _visible_mm(contrast_hu: float, noise: Noise, region: Region) -> float:
    """The smallest diameter at which a body stands out of the noise (twice Rose's criterion: noise is correlated)."""
    voxels = (2 * ROSE * noise.std_hu / contrast_hu) ** 2
    spacing = float(np.cbrt(1000 * region.grid.voxel_volume_ml))
    return spacing * max(3.0, float(np.cbrt(6 / np.pi * voxels)))


def calcification(abnormality: str) -> Callable[[Patient, str, np.random.Generator], Patient | None]:
    """The simulation of one to five calcifications, 2 to 10 mm and 130 to 900 HU, inside an organ."""

    def apply(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
        region = organ_region(patient, organ, minimum_ml=40.0)
        if region is None:
            return None
        count = 1 if rng.random() < 0.5 else int(rng.integers(2, 6))
        smallest = max(2.0, 0.9 * max(region.grid.spacing_mm))
        diameters = np.sort(rng.uniform(smallest, 10.0 if count == 1 else 6.0, count))[::-1]
        level = float(np.median(region.ct_hu[region.mask]))
        hu = max(float(rng.uniform(250 if diameters[0] < 5 else 150, 900)), level + 120)
        placed = _place(region, region.depth_mm, diameters, Look(hu, 0.3, 0.7), rng)
        if not placed:
            return None
        noise = local_noise(region.ct_hu, region.mask)
        ct_hu, _ = draw(region, [lesion for lesion, _ in placed], noise, rng, soft(region.mask))
        return _finished(patient, region, (ct_hu, region.layers), placed, (abnormality, "calcification"), rng)

    return apply


def liver_metastases(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """Three to nine blurred hypodense masses of the liver, 8 to 45 mm, uneven in themselves."""
    region = organ_region(patient, organ, minimum_ml=300.0)
    if region is None:
        return None
    level = float(np.median(region.ct_hu[region.mask]))
    drop = rng.uniform(40, 70) if is_enhanced(patient) else rng.uniform(14, 25)
    smallest = max(10.0, 3.0 * max(region.grid.spacing_mm))
    diameters = np.sort(np.exp(rng.uniform(np.log(smallest), np.log(45.0), int(rng.integers(3, 10)))))[::-1]
    placed = _place(region, region.depth_mm, diameters, Look(float(level - drop), 0.22, 0.35), rng)
    if len(placed) < 2:
        return None
    plain = local_noise(region.ct_hu, region.mask)
    ct_hu, share = draw(region, [_blurred(lesion, 4.0) for lesion, _ in placed], plain, rng, soft(region.mask))
    uneven = Noise(0.25 * float(drop), tuple(2.5 / s for s in region.grid.spacing_mm))  # type: ignore[arg-type]
    ct_hu += share * uneven.sample(share.shape, rng)
    return _finished(patient, region, (ct_hu, region.layers), placed, ("liver_metastasis", "liver_metastases"), rng)


def _blurred(lesion: Lesion, edge_mm: float) -> Lesion:
    return Lesion(lesion.centre_ras, lesion.reach_mm, lesion.shape, lesion.hu, edge_mm)


@dataclass(frozen=True)
class Look:
    """What lesions of one kind share: HU, unevenness, and how deep a centre lies as a share of the diameter."""

    hu: float
    roughness: float
    inside: float


def _cortex_depth(region: Region, deepest_mm: float) -> np.ndarray:
    """Depth below the outer surface of a kidney, the hollow of its sinus filled; 0 deeper than `deepest_mm`."""
    depth = distance_mm(closed(region.mask, region.grid, 10.0), region.grid)
    limit = max(deepest_mm, 1.5 * max(region.grid.spacing_mm))
    return np.where(region.mask & (depth <= limit), depth, 0)


def _place(
    region: Region, depth_mm: np.ndarray, diameters: np.ndarray, look: Look, rng: np.random.Generator
) -> list[tuple[Lesion, float]]:
    """Lesions that do not touch each other, each with its diameter, largest first."""
    placed: list[tuple[Lesion, float]] = []
    for diameter in diameters:
        deep = region.mask & (depth_mm > 0) & (depth_mm >= look.inside * diameter)
        for lesion, other in placed:
            deep = apart(deep, region, lesion.centre_ras, (diameter + other) / 2 * 1.1)
        centre = random_voxel(deep, region, rng)
        if centre is not None:
            shape = blob(float(diameter) / 2, look.roughness, rng)
            placed.append((Lesion(centre, float(diameter) * 0.9, shape, look.hu), float(diameter)))
    return placed


def _finished(
    patient: Patient,
    region: Region,
    drawn: tuple[np.ndarray, np.ndarray],
    placed: list[tuple[Lesion, float]],
    names: tuple[str, str],
    rng: np.random.Generator,
) -> Patient:
    abnormality, templates = names
    lesion, diameter = placed[0]
    count = len(placed)
    several = count > 1 and templates + "+" in ("cyst+", "calcification+")
    text = sentence(
        templates + ("+" if several else ""),
        rng,
        organ=organ_text(region.organ, rng),
        place=PLACES.get(region.organ, third)(region, lesion.centre_ras),
        size=size_text(diameter, rng),
        count=count_text(count),
        adjective={"liver": "hepatic", "spleen": "splenic"}.get(region.organ, "renal"),
    )
    details = {"diameter_mm": diameter, "attenuation_hu": lesion.hu, "count": float(count)}
    details |= centre_details(lesion.centre_ras)
    return with_finding(patient, region, *drawn, SimulatedFinding(abnormality, region.organ, text, details))
