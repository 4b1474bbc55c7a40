"""Tumour or not in a patient, told by the volume that a segmentation found.

Source: Lin et al. 2024, arXiv:2404.15272v4, A.1: the volume of the predicted tumour is the score of the AUC.
Guard: test_detection.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctglip_training.evaluation.classification import count_calls, sensitivity, specificity, weighted_auc
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate, resampled_weights
from CTGLIPLib.errors import InputError


@dataclass(frozen=True)
class DetectionFigures:
    """Detection over patients, each figure with its interval.

    Attributes:
        auc: with the volume as score.
        sensitivity: of calling volumes of at least the smallest one.
        specificity: likewise.
        patients: how many.
        with_tumour: how many of them have one.
    """

    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    patients: int
    with_tumour: int


def detection_figures(
    volumes_mm3: np.ndarray, has_tumour: np.ndarray, smallest_mm3: float = 0.0, repeats: int = REPEATS, seed: int = 0
) -> DetectionFigures:
    """AUC, sensitivity and specificity; one volume a patient.

    Args:
        volumes_mm3: predicted tumour volume of each patient, shape (patient,).
        has_tumour: bool, shape (patient,).
        smallest_mm3: volumes larger than 0 and of at least this are called tumours.
        repeats: resamplings of the intervals.
        seed: of the resampling.

    Raises:
        InputError: if there are no patients, or a volume is negative or not a number.
    """
    if len(volumes_mm3) == 0 or len(volumes_mm3) != len(has_tumour) or not (volumes_mm3 >= 0).all():
        bad = int((~(volumes_mm3 >= 0)).sum())
        msg = (
            f"Expected a volume of 0 mm3 or more and a truth for each patient, got {len(volumes_mm3)} volumes, "
            f"{bad} of them no such number, and {len(has_tumour)} truths. Segment all patients."
        )
        raise InputError(msg)
    calls = (volumes_mm3 > 0) & (volumes_mm3 >= smallest_mm3)
    values = []
    for weights in resampled_weights(np.arange(len(volumes_mm3)), repeats, seed):
        counts = count_calls(calls, has_tumour, weights)
        values.append([weighted_auc(volumes_mm3, has_tumour, weights), sensitivity(counts), specificity(counts)])
    area, found, left_alone = (estimate(np.concatenate(blocks)) for blocks in zip(*values, strict=True))
    return DetectionFigures(area, found, left_alone, len(has_tumour), int(has_tumour.sum()))
