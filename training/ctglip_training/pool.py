"""Making the pool: real subjects -> simulated patients on disk, seeded one by one, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctglip_training.simulate.make import simulate_findings
from ctglip_training.simulate.patient import Patient
from ctglip_training.simulate.variation import acquire, crop_field_of_view, deform, vary_contrast
from ctglip_training.store import write_patient
from CTGLIPLib.geometry import Grid, canonical_grid, grid_at_spacing
from CTGLIPLib.progress import ProgressCallback, report

FINDINGS_MEAN = 4.0
"""Mean number of findings put into one patient."""
WHOLE_STRENGTH_MM = 250.0
"""From this length along the body on a scan is deformed at full strength."""


def make_patient(base: Patient, spacing_mm: float, rng: np.random.Generator) -> Patient:
    """A simulated patient: contrast phase, findings, body shape, acquisition, field of view.

    Args:
        base: a real subject at working spacing.
        spacing_mm: spacing of the result's isotropic RAS grid.
        rng: drives every choice.
    """
    phase = vary_contrast(base.volume, base.segmentation, rng)
    sick = simulate_findings(Patient(phase, base.segmentation, ()), rng, int(rng.poisson(FINDINGS_MEAN)))
    grid = grid_at_spacing(canonical_grid(sick.volume.grid), spacing_mm)
    volume, segmentation = deform(sick.volume, sick.segmentation, grid, rng, _strength(grid))
    volume, segmentation = crop_field_of_view(acquire(volume, rng), segmentation, rng)
    present = {name for name, count in zip(segmentation.names, segmentation.voxel_counts(), strict=True) if count}
    return Patient(volume, segmentation, tuple(f for f in sick.findings if f.organ in present))


def _strength(grid: Grid) -> float:
    """How far a scan may be bent: a thin slab, turned as far as a whole trunk, would leave its own slices."""
    thickness_mm = grid.spacing_mm[2] * grid.shape_ijk[2]
    return float(min(1.0, thickness_mm / WHOLE_STRENGTH_MM))


def make_pool(
    bases: dict[str, Patient], folder: Path, spacing_mm: float, seed: int, indices: Sequence[int],
    progress: ProgressCallback | None = None,
) -> None:  # fmt: skip
    """Write FOLDER/SUBJECT/NUMBER.npz for every subject and number; those that exist are kept.

    Raises:
        Cancelled: if `progress` asks to stop; whole files stay.
    """
    done, total = 0, len(bases) * len(indices)
    for index in indices:
        for order, (subject, base) in enumerate(sorted(bases.items())):
            path = folder / subject / f"{index:05d}.npz"
            if not path.exists():
                write_patient(make_patient(base, spacing_mm, np.random.default_rng([seed, order, index])), path)
            done += 1
            report(progress, "simulating patients", done, total)
