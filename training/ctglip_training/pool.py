"""Making the pool: real subjects -> simulated patients in the store, seeded one by one, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np

from ctglip_training.simulate.make import simulate_findings
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.simulate.preview import write_preview
from ctglip_training.simulate.variation import acquire, crop_field_of_view, deform, vary_contrast
from ctglip_training.simulate.visible import visible_findings
from ctglip_training.store import list_pool, read_patient, write_patient
from CTGLIPLib.geometry import Grid, canonical_grid, grid_at_spacing
from CTGLIPLib.progress import ProgressCallback, report

FINDINGS_MEAN = 4.0
"""Mean number of findings put into one patient."""
WHOLE_SHARE = 0.6
"""Share of patients whose whole scan is kept; the others are cut to a slab."""
WHOLE_STRENGTH_MM = 250.0
"""From this length along the body on a scan is deformed at full strength."""


def make_patient(base: Patient, spacing_mm: float, rng: np.random.Generator) -> Patient:
    """A simulated patient: contrast phase, field of view, findings in what is left, body shape, acquisition.

    The picture is made twice with the same body and noise, once without the findings, to keep those that can be seen.

    Args:
        base: a real subject at working spacing.
        spacing_mm: spacing of the result's isotropic RAS grid.
        rng: drives every choice.
    """
    volume = vary_contrast(base.volume, base.segmentation, rng)
    volume, segmentation = crop_field_of_view(volume, base.segmentation, rng, WHOLE_SHARE)
    known = tuple(f for f in base.findings if segmentation.mask(f.organ).any())
    sick = simulate_findings(Patient(volume, segmentation, known), rng, int(rng.poisson(FINDINGS_MEAN)))
    grid = grid_at_spacing(canonical_grid(volume.grid), spacing_mm)
    same = deepcopy(rng)
    shown = _pictured(sick, grid, rng)
    if len(sick.findings) == len(known):
        return shown
    healthy = _pictured(replace(sick, volume=volume), grid, same)
    fresh = sick.findings[len(known) :]
    return replace(shown, findings=visible_findings(shown, healthy.volume.array, fresh))


def _pictured(patient: Patient, grid: Grid, rng: np.random.Generator) -> Patient:
    """Another body, scanned on `grid`, with the findings of the organs that are still in the scan."""
    volume, segmentation = deform(patient.volume, patient.segmentation, grid, rng, _strength(grid))
    present = {name for name, count in zip(segmentation.names, segmentation.voxel_counts(), strict=True) if count}
    return Patient(acquire(volume, rng), segmentation, tuple(f for f in patient.findings if f.organ in present))


def _strength(grid: Grid) -> float:
    """How far a scan may be bent: a thin slab, turned as far as a whole trunk, would leave its own slices."""
    thickness_mm = grid.spacing_mm[2] * grid.shape_ijk[2]
    return float(min(1.0, thickness_mm / WHOLE_STRENGTH_MM))


def make_pool(
    bases: dict[str, Patient], folder: Path, spacing_mm: float, seed: int, indices: Sequence[int],
    progress: ProgressCallback | None = None,
) -> None:  # fmt: skip
    """Write the study FOLDER/SUBJECT/NUMBER for every subject and number; those that exist are kept.

    Raises:
        Cancelled: if `progress` asks to stop; whole studies stay.
    """
    done, total = 0, len(bases) * len(indices)
    for index in indices:
        for order, (subject, base) in enumerate(sorted(bases.items())):
            path = folder / subject / f"{index:05d}"
            if not path.exists():
                made = make_patient(base, spacing_mm, np.random.default_rng([seed, order, index]))
                write_patient(replace(made, origin=base.origin), path)
            done += 1
            report(progress, "simulating patients", done, total)


def preview_pool(folder: Path, count: int) -> list[Path]:
    """Files that show the first `count` patients of each subject, written to FOLDER/preview/SUBJECT/NUMBER.

    Each finding gets a picture with its sentence, through the middle of its organ: a patient of the pool was bent after
    the findings were put in, so the places noted then no longer hold.

    Raises:
        InputError: if the folder holds no pool.
        OutputError: if the folder cannot be written.
    """
    written: list[Path] = []
    shown: dict[str, int] = {}
    for entry in list_pool(folder) if count > 0 else ():
        shown[entry.subject] = shown.get(entry.subject, 0) + 1
        if shown[entry.subject] <= count:
            patient = read_patient(entry.path)
            centred = replace(patient, findings=tuple(_centred(patient, finding) for finding in patient.findings))
            written += write_preview(centred, folder / "preview" / entry.subject / entry.path.name)
    return written


def _centred(patient: Patient, finding: SimulatedFinding) -> SimulatedFinding:
    """The finding with the middle of its organ as its place."""
    inside = np.argwhere(patient.segmentation.mask(finding.organ))
    centre = patient.volume.grid.to_ras(inside.mean(axis=0))
    place = {f"centre_{axis}_mm": float(mm) for axis, mm in zip("ras", centre, strict=True)}
    return replace(finding, details={**finding.details, **place})
