"""Overlap of two masks, the distance of their surfaces, and their volumes.

Conventions: the surface is the mask's voxels with a face neighbour outside it or outside the array; distances are in
mm between voxel centres; HD95 is the larger of the two directed 95th percentiles, as in MONAI (DeepMind's library
takes one percentile of both). With one mask empty Dice and NSD are 0 and HD95 is infinite; with both empty all three
are NaN: there is nothing to outline, whether that was noticed is `detection`'s question.
Guard: test_segmentation_figures.py holds them against MONAI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from ctglip_training.evaluation.classification import weighted_average
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate, resampled_weights
from CTGLIPLib.errors import GeometryError, InputError

TOLERANCE_MM = 2.0
"""Surface distance that counts as agreement in NSD, unless the caller has a reader's own."""


@dataclass(frozen=True)
class MaskFigures:
    """One predicted mask against the true one.

    Attributes:
        dice: 2 |P and T| / (|P| + |T|).
        hd95_mm: 95th percentile of the surface distance, the larger direction.
        nsd: share of both surfaces within the tolerance of the other.
        predicted_mm3: volume of the prediction.
        true_mm3: volume of the truth.
    """

    dice: float
    hd95_mm: float
    nsd: float
    predicted_mm3: float
    true_mm3: float


def mask_figures(
    predicted: np.ndarray,
    true: np.ndarray,
    spacing_mm: tuple[float, float, float],
    tolerance_mm: float = TOLERANCE_MM,
) -> MaskFigures:
    """All figures of one mask.

    Args:
        predicted: bool, axes i, j, k.
        true: bool, of the same shape, on the same grid.
        spacing_mm: distance of voxels along i, j, k.
        tolerance_mm: of NSD.

    Raises:
        GeometryError: if the shapes differ, are not 3-D, or the spacing is not positive.
    """
    if predicted.shape != true.shape or true.ndim != 3 or len(spacing_mm) != 3 or min(spacing_mm) <= 0:
        msg = (
            f"Expected two masks of one 3-D shape and a positive spacing, got shapes {predicted.shape} and "
            f"{true.shape}, spacing {spacing_mm} mm. Resample the prediction to the grid of the truth."
        )
        raise GeometryError(msg)
    predicted, true = predicted.astype(bool), true.astype(bool)
    voxel_mm3 = float(np.prod(spacing_mm))
    to_true, to_predicted = surface_distances(predicted, true, spacing_mm)
    return MaskFigures(
        dice=dice(predicted, true),
        hd95_mm=_hd95(to_true, to_predicted),
        nsd=_nsd(to_true, to_predicted, tolerance_mm),
        predicted_mm3=float(predicted.sum()) * voxel_mm3,
        true_mm3=float(true.sum()) * voxel_mm3,
    )


@dataclass(frozen=True)
class MaskSummary:
    """Means over masks with their intervals over patients.

    Attributes:
        dice: over masks that are not empty on both sides.
        hd95_mm: over masks that are empty on neither side: a missed tumour has no distance, see `missed`.
        nsd: as `dice`.
        masks: how many.
        missed: masks that are empty in the prediction alone.
        invented: masks that are empty in the truth alone.
    """

    dice: Estimate
    hd95_mm: Estimate
    nsd: Estimate
    masks: int
    missed: int
    invented: int


def summarise_masks(
    figures: Sequence[MaskFigures], patients: Sequence[object], repeats: int = REPEATS, seed: int = 0
) -> MaskSummary:
    """Mean Dice, HD95 and NSD with intervals over patients.

    Args:
        figures: of each mask.
        patients: the patient of each mask.
        repeats: resamplings of the intervals.
        seed: of the resampling.

    Raises:
        InputError: if there are no masks, or not a patient for each.
    """
    if not figures or len(figures) != len(patients):
        msg = f"Expected a patient for each mask, got {len(figures)} masks and {len(patients)} patients."
        raise InputError(msg)
    values = np.array([(f.dice, f.hd95_mm, f.nsd) for f in figures])
    values[np.isinf(values)] = np.nan
    blocks = [
        np.array([weighted_average(np.repeat(column[:, None], len(weights), axis=1), weights.T) for column in values.T])
        for weights in resampled_weights(np.array(patients), repeats, seed)
    ]
    overlap, distance, surface = (estimate(row) for row in np.concatenate(blocks, axis=1))
    return MaskSummary(
        dice=overlap,
        hd95_mm=distance,
        nsd=surface,
        masks=len(figures),
        missed=sum(f.predicted_mm3 == 0 < f.true_mm3 for f in figures),
        invented=sum(f.true_mm3 == 0 < f.predicted_mm3 for f in figures),
    )


def dice(predicted: np.ndarray, true: np.ndarray) -> float:
    """Dice of two bool masks; NaN where both are empty.

    Source: Lin et al. 2024, arXiv:2404.15272v4, Eq. 9: DSC = 2 |P and T| / (|P| + |T|).
    """
    voxels = int(predicted.sum()) + int(true.sum())
    return 2.0 * int((predicted & true).sum()) / voxels if voxels else float("nan")


def surface_distances(
    predicted: np.ndarray, true: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm of each surface voxel of the prediction to the truth's surface, and the other way round.

    Infinite where the other mask is empty.

    Args:
        predicted: bool, axes i, j, k.
        true: bool, of the same shape.
        spacing_mm: distance of voxels along i, j, k.
    """
    box = _box(predicted | true)
    own, other = _surface(predicted)[box], _surface(true)[box]
    return _distance_to(other, own, spacing_mm), _distance_to(own, other, spacing_mm)


def _surface(mask: np.ndarray) -> np.ndarray:
    """The mask's voxels that touch the outside by a face."""
    surface = np.zeros_like(mask)
    wide = _box(mask, margin=1)
    surface[wide] = mask[wide] & np.logical_not(binary_erosion(mask[wide]))
    return surface


def _distance_to(target: np.ndarray, source: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    if not target.any():
        return np.full(int(source.sum()), np.inf)
    return np.asarray(distance_transform_edt(~target, sampling=spacing_mm))[source]


def _box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box round a mask, widened within the array; empty for an empty mask."""
    slices = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if len(inside) == 0:
            return (slice(0, 0),) * mask.ndim
        slices.append(slice(max(0, int(inside[0]) - margin), int(inside[-1]) + 1 + margin))
    return tuple(slices)


def _hd95(to_true: np.ndarray, to_predicted: np.ndarray) -> float:
    if len(to_true) == 0 and len(to_predicted) == 0:
        return float("nan")
    if len(to_true) == 0 or len(to_predicted) == 0:
        return float("inf")
    return float(max(np.percentile(to_true, 95), np.percentile(to_predicted, 95)))


def _nsd(to_true: np.ndarray, to_predicted: np.ndarray, tolerance_mm: float) -> float:
    both = np.concatenate([to_true, to_predicted])
    return float((both <= tolerance_mm).mean()) if len(both) else float("nan")
