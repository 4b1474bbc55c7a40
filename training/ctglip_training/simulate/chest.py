"""Findings of the lungs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.lesions import (
    Lesion,
    coverage,
    draw,
    random_voxel,
    smoothstep,
    soft,
    stroke,
    texture,
    tissue_noise,
)
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.simulate.region import Region, centre_details, is_enhanced, organ_region, with_finding
from ctglip_training.simulate.sentences import lobe_part, lobe_text, organ_text, sentence, size_text
from ctglip_training.simulate.shapes import Shape, blob, ellipsoid, plate, random_axes, spiculated

NODULE_KINDS = ("solid", "spiculated", "part-solid")
AERATED_HU = -500.0


def lung_and_rim(region: Region, lobes: tuple[str, ...]) -> np.ndarray:
    """The lobes and the unlabelled half-aerated voxels between them and their surroundings, bool."""
    lung = region.mask_of(lobes)
    near = np.logical_and(ndimage.binary_dilation(lung), region.ct_hu < -60)
    further = np.logical_and(ndimage.binary_dilation(lung, iterations=2), region.ct_hu < -150)
    return lung | (region.free & (near | further))


def pulmonary_nodule(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """One nodule of 6 to 30 mm, solid, spiculated or part-solid, in the aerated lung."""
    region = organ_region(patient, organ, minimum_ml=25.0)
    if region is None:
        return None
    smallest = max(6.0, 2.5 * max(region.grid.spacing_mm))
    largest = min(30.0, 1.6 * float(region.depth_mm[np.isfinite(region.depth_mm)].max()))
    if largest < smallest:
        return None
    diameter = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    aerated = ndimage.gaussian_filter(region.ct_hu, 1.0) < AERATED_HU
    centre = random_voxel(region.mask & aerated & (region.depth_mm > 0.55 * diameter), region, rng)
    if centre is None:
        return None
    kind = NODULE_KINDS[int(rng.choice(3, p=(0.5, 0.3, 0.2)))] if diameter > 8 else "solid"
    hu = float(rng.uniform(20, 60))
    shape: Shape = spiculated(diameter / 2, rng) if kind == "spiculated" else blob(diameter / 2, 0.1, rng)
    bodies = [Lesion(centre, diameter * (1.7 if kind == "spiculated" else 0.8) + 3, shape, hu)]
    noise = tissue_noise(patient, region)
    if kind == "part-solid":
        bodies = [Lesion(centre, diameter * 0.6, blob(diameter * 0.22, 0.2, rng), hu)]
        region = _with_ct(region, _hazed(region, Lesion(centre, diameter * 0.9, shape, 0.0, 3.0), rng))
    ct_hu, _ = draw(region, bodies, noise, rng, soft(region.mask))
    text = sentence(
        "pulmonary_nodule",
        rng,
        organ=organ_text(organ, rng),
        kind=kind,
        place=lobe_part(region, centre),
        size=size_text(diameter, rng),
    )
    details = {"diameter_mm": diameter, "attenuation_hu": hu}
    details |= centre_details(centre)
    finding = SimulatedFinding("pulmonary_nodule", organ, text, details)
    return with_finding(patient, region, ct_hu, region.layers, finding)


def _with_ct(region: Region, ct_hu: np.ndarray) -> Region:
    return Region(region.box, region.grid, ct_hu, region.layers, region.organ, region.names)


def _hazed(region: Region, body: Lesion, rng: np.random.Generator) -> np.ndarray:
    """The CT with ground glass of -650 to -450 HU in a body; vessels stay."""
    share = np.zeros(region.ct_hu.shape, dtype=np.float32)
    found = coverage(region.grid, body)
    if found is not None:
        share[found[0]] = found[1]
    return _denser(region, share * soft(region.mask), float(rng.uniform(-650, -450)))


def _denser(region: Region, share: np.ndarray, target_hu: float) -> np.ndarray:
    """The CT raised towards a level in aerated lung only, so that denser vessels keep their HU and the noise stays."""
    level = float(np.median(region.ct_hu[region.mask]))
    smooth = ndimage.gaussian_filter(region.ct_hu, 0.7)
    aerated = np.clip((target_hu + 200 - smooth) / (target_hu + 200 - level), 0, 1.2)
    return region.ct_hu + share * (target_hu - level) * aerated


def consolidation(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """A patchy or lobar airspace filling, -40 to +70 HU, with air-filled bronchi running through it."""
    return _airspace_disease(patient, organ, rng, "consolidation", halo=False)


def pneumonia(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """An airspace filling as in consolidation that fades into ground glass around it."""
    return _airspace_disease(patient, organ, rng, "pneumonia", halo=True)


def _airspace_disease(
    patient: Patient, organ: str, rng: np.random.Generator, abnormality: str, halo: bool
) -> Patient | None:
    region = organ_region(patient, organ, minimum_ml=60.0)
    if region is None:
        return None
    opacity = _opacity(region, rng, edge=1.0 if halo else 0.55)
    if opacity is None:
        return None
    share, centre, radius_mm = opacity
    hu = float(rng.uniform(20, 70) if is_enhanced(patient) else rng.uniform(-40, 45))
    air = _bronchograms(region, patient, centre, radius_mm, rng)
    noise = tissue_noise(patient, region).sample(share.shape, rng)
    base = _denser(region, share, float(rng.uniform(-600, -450))) if halo else region.ct_hu
    core = smoothstep(2 * share - 0.8 + 0.3 * texture(region.grid, 9.0, rng)) * share if halo else share
    filled = hu + noise + 18 * texture(region.grid, 9.0, rng)
    filled = np.maximum(filled, np.minimum(region.ct_hu, 250))
    ct_hu = base * (1 - core) + (filled * (1 - air) + air * (noise - 900)) * core
    finding = _opacity_finding(region, abnormality, (share, centre, hu), rng)
    return with_finding(patient, region, ct_hu, region.layers, finding)


def ground_glass(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """Hazy, ill-defined patches of -650 to -450 HU through which the vessels can be seen."""
    region = organ_region(patient, organ, minimum_ml=60.0)
    if region is None:
        return None
    opacity = _opacity(region, rng, edge=0.9)
    if opacity is None:
        return None
    share, centre, _ = opacity
    hu = float(rng.uniform(-650, -450))
    uneven = np.clip(1 + 0.2 * texture(region.grid, 7.0, rng), 0.4, 1.5)
    finding = _opacity_finding(region, "lung_opacity", (share, centre, hu), rng)
    return with_finding(patient, region, _denser(region, share * uneven, hu), region.layers, finding)


def _opacity(region: Region, rng: np.random.Generator, edge: float) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Share of each voxel in a patchy region of the lobe, its centre, and its mean radius in mm.

    `edge` is the width of the fuzzy edge as a share of the radius.
    """
    centre = random_voxel(region.mask & (region.depth_mm < 15), region, rng)
    if centre is None:
        return None
    largest = np.cbrt(region.volume_ml * 1000 * 3 / (4 * np.pi))
    radius = float(np.clip(rng.uniform(0.55, 1.15) * largest, 14, 55))
    form = ellipsoid(radius * np.exp(rng.normal(0, 0.2, 3)), random_axes(rng))
    gap = form(region.points_ras - centre.astype(np.float32)) / radius
    rough = 0.2 * texture(region.grid, 20.0, rng) + 0.12 * texture(region.grid, 8.0, rng)
    inside = smoothstep(0.5 - (gap + rough) / edge)
    share = inside * soft(lung_and_rim(region, (region.organ,)), 0.4)
    if float((share > 0.5).sum()) * region.grid.voxel_volume_ml < 4.0:
        return None
    return share, centre, radius


def _bronchograms(
    region: Region, patient: Patient, centre: np.ndarray, radius_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Share of air in a few bronchi that fan out from the lung's root through the opacity."""
    lobe = region.points_ras[region.mask]
    midline = float(patient.volume.grid.centre_ras_mm[0])
    medial = lobe[np.abs(lobe[:, 0] - midline) <= np.quantile(np.abs(lobe[:, 0] - midline), 0.05)]
    root = medial.mean(axis=0) if len(medial) else lobe.mean(axis=0)
    air = np.zeros(region.ct_hu.shape, dtype=np.float32)
    bend = 2 + 0.08 * float(np.linalg.norm(centre - root))
    for _ in range(int(rng.integers(5, 9))):
        tip = centre + rng.normal(0, 0.45 * radius_mm, 3)
        middle = (root + tip) / 2 + rng.normal(0, bend, 3)
        stroke(air, region.grid, np.array([root, middle, tip]), float(rng.uniform(1.8, 3.0)))
    return air


def _opacity_finding(
    region: Region,
    abnormality: str,
    drawn: tuple[np.ndarray, np.ndarray, float],
    rng: np.random.Generator,
) -> SimulatedFinding:
    share, centre, hu = drawn
    text = sentence(
        abnormality,
        rng,
        organ=organ_text(region.organ, rng),
        lobe=lobe_text(region.organ),
        place=lobe_part(region, centre),
    )
    volume = float((share > 0.5).sum()) * region.grid.voxel_volume_ml
    details = {"attenuation_hu": hu, "volume_ml": volume, "share_of_lobe": volume / region.volume_ml}
    return SimulatedFinding(abnormality, region.organ, text, details)


def emphysema(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """Centrilobular spots or broad areas of destroyed lung below -950 HU between vessels that remain."""
    region = organ_region(patient, organ, minimum_ml=40.0)
    if region is None:
        return None
    broad = bool(rng.random() < 0.35)
    lost = _broad_loss(region, rng) if broad else _spots(region, rng)
    smooth = ndimage.gaussian_filter(region.ct_hu, 0.7)
    parenchyma = np.clip((-550 - smooth) / 150, 0, 1)
    share = lost * parenchyma * soft(region.mask)
    noise = tissue_noise(patient, region).sample(share.shape, rng) * 0.8
    hu = float(rng.uniform(-995, -970))
    emptied = np.minimum(hu + noise, region.ct_hu)
    ct_hu = np.maximum(region.ct_hu * (1 - share) + emptied * share, np.minimum(region.ct_hu, -1024))
    low = float((ct_hu[region.mask] < -950).mean())
    if low - float((region.ct_hu[region.mask] < -950).mean()) < 0.05:
        return None
    kind = "panlobular" if broad else "centrilobular"
    text = sentence("emphysema", rng, organ=organ_text(organ, rng), lobe=lobe_text(organ), kind=kind)
    details = {"share_below_minus_950": low, "attenuation_hu": hu}
    return with_finding(patient, region, ct_hu, region.layers, SimulatedFinding("emphysema", organ, text, details))


def _broad_loss(region: Region, rng: np.random.Generator) -> np.ndarray:
    """Share of lost tissue over large, ill-defined areas of the lobe."""
    field = texture(region.grid, float(rng.uniform(30, 60)), rng) + 0.3 * texture(region.grid, 8.0, rng)
    threshold = float(np.quantile(field[region.mask], 1 - rng.uniform(0.4, 0.75)))
    return smoothstep(0.5 + (field - threshold) / 2.0)


def _spots(region: Region, rng: np.random.Generator) -> np.ndarray:
    """Share of lost tissue in round holes of 3 to 12 mm, denser in some parts of the lobe than in others."""
    wanted = rng.uniform(0.2, 0.4)
    radius_mm = float(rng.uniform(2.0, 4.0)) + 0.5 * max(region.grid.spacing_mm)
    chance = np.exp(0.9 * texture(region.grid, 40.0, rng)) * region.mask
    per_spot = 4 / 3 * np.pi * radius_mm**3 * 1.6 / (region.grid.voxel_volume_ml * 1000)
    chance *= wanted * region.mask.sum() / per_spot / chance.sum()
    seeds = rng.random(chance.shape) < chance
    if not seeds.any():
        return np.zeros(chance.shape, dtype=np.float32)
    sizes = radius_mm * rng.uniform(0.6, 1.5, chance.shape).astype(np.float32)
    gap, nearest = ndimage.distance_transform_edt(~seeds, sampling=region.grid.spacing_mm, return_indices=True)  # type: ignore[misc]
    edge_mm = 1.5 + max(region.grid.spacing_mm)
    return smoothstep(0.5 - (gap - sizes[tuple(nearest)] + texture(region.grid, 6.0, rng)) / edge_mm)


def atelectasis(patient: Patient, organ: str, rng: np.random.Generator) -> Patient | None:
    """One to three thin plates of collapsed lung, 2 to 6 mm thick, that reach to the pleura."""
    region = organ_region(patient, organ, minimum_ml=60.0)
    if region is None:
        return None
    bodies: list[Lesion] = []
    thickness = 0.0
    for _ in range(int(rng.integers(1, 4))):
        centre = random_voxel(region.mask & (region.depth_mm < 14) & (region.depth_mm > 3), region, rng)
        if centre is None:
            continue
        thickness = max(float(rng.uniform(2.0, 6.0)), 0.9 * max(region.grid.spacing_mm))
        radius = float(rng.uniform(15, 35))
        tilt = np.array([0.0, 0.0, 1.0]) + rng.normal(0, 0.35, 3)
        bodies.append(Lesion(centre, radius + 3, plate(tilt, thickness, radius, rng), float(rng.uniform(-60, 40))))
    if not bodies:
        return None
    noise = tissue_noise(patient, region)
    ct_hu, share = draw(region, bodies, noise, rng, soft(lung_and_rim(region, (organ,)), 0.4))
    if float(share.sum()) * region.grid.voxel_volume_ml < 0.5:
        return None
    text = sentence("atelectasis", rng, organ=organ_text(organ, rng))
    details = {"thickness_mm": thickness, "attenuation_hu": bodies[0].hu, "count": float(len(bodies))}
    return with_finding(patient, region, ct_hu, region.layers, SimulatedFinding("atelectasis", organ, text, details))
