"""Figures of merit with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve; NaN unless both classes occur. Ties count half (Mann and Whitney 1947).

    Args:
        scores: shape (case,), larger means more likely positive.
        truth: bool, shape (case,).
    """
    positive, negative = scores[truth], scores[~truth]
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    larger = (positive[:, None] > negative[None]).mean()
    return float(larger + 0.5 * (positive[:, None] == negative[None]).mean())


def bootstrap_interval(
    groups: np.ndarray, statistic: Callable[[np.ndarray], float], repeats: int = 500, seed: int = 0
) -> tuple[float, float]:
    """2.5th and 97.5th percentile of a statistic under resampling of whole groups (patients).

    NaN where no resampling has a statistic.

    Args:
        groups: group of each case, shape (case,).
        statistic: takes indices of cases, returns a number.
        repeats: number of resamplings.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    values = []
    for _ in range(repeats):
        drawn = rng.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[d] for d in drawn])))
    if np.isnan(values).all():
        return float("nan"), float("nan")
    return float(np.nanpercentile(values, 2.5)), float(np.nanpercentile(values, 97.5))


def expected_calibration_error(scores: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Mean distance between score and share of positives over equal bins of the score, weighted by their cases.

    Source: Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".

    Args:
        scores: probabilities, shape (case,).
        truth: bool, shape (case,).
        bins: number of bins over 0..1.
    """
    place = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=scores - truth, minlength=bins)
    return float(np.abs(gaps).sum() / len(scores)) if len(scores) else float("nan")
