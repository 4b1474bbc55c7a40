"""Which findings the finished picture shows: noise hides some, and the bent body may carry some out of the scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.lesions import local_noise
from ctglip_training.simulate.patient import Patient, SimulatedFinding

LEAST_SIGNAL_TO_NOISE = 8.0
"""Twice Rose's criterion (4), because a CT's noise is correlated; `focal.py` asks the same of a cyst's size."""
FEWEST_VOXELS = 8
"""Organs smaller than this tell nothing of their noise."""


def visible_findings(
    patient: Patient, healthy_hu: np.ndarray, fresh: Sequence[SimulatedFinding]
) -> tuple[SimulatedFinding, ...]:
    """The patient's findings without those of `fresh` that its picture does not show.

    A finding is seen when the change that it made to its organ, compared with the organ's noise, reaches
    `LEAST_SIGNAL_TO_NOISE`: sqrt(sum over voxels of change^2) / standard deviation, the best detector's ratio.

    Args:
        patient: the finished picture and its organs.
        healthy_hu: the same picture, with the same noise, made without the findings of `fresh`; shape (i, j, k).
        fresh: findings that were drawn; others are kept.
    """
    change = patient.volume.array - healthy_hu
    hidden = [f for f in fresh if signal_to_noise(patient, healthy_hu, change, f.organ) < LEAST_SIGNAL_TO_NOISE]
    return tuple(finding for finding in patient.findings if finding not in hidden)


def signal_to_noise(patient: Patient, healthy_hu: np.ndarray, change_hu: np.ndarray, organ: str) -> float:
    """How far a change of an organ, with one voxel around it, stands out of its noise; 0 if hardly a voxel."""
    mask = patient.segmentation.mask(organ)
    if np.count_nonzero(mask) < FEWEST_VOXELS:
        return 0.0
    changed = np.extract(ndimage.binary_dilation(mask), change_hu).astype(np.float64)
    return float(np.linalg.norm(changed)) / local_noise(healthy_hu, mask).std_hu
