"""How far probabilities are from the share of positives among the cases that got them.

Guard: test_calibration_error.py holds them against a loop over bins and scikit-learn's curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate, resampled_weights

BINS = 10


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Cases in equal bins of the score; NaN where a bin has none.

    Attributes:
        cases: number of cases, shape (bin,).
        mean_score: shape (bin,).
        share_positive: shape (bin,).
    """

    cases: np.ndarray
    mean_score: np.ndarray
    share_positive: np.ndarray


def reliability_bins(scores: np.ndarray, truth: np.ndarray, bins: int = BINS) -> ReliabilityBins:
    """What was said and what was so, in bins [low, high) of the score; the last bin includes 1.

    Args:
        scores: probabilities, shape (case,).
        truth: bool, shape (case,).
        bins: number of bins over 0..1.
    """
    place = _bin_of(scores, bins)
    cases = np.bincount(place, minlength=bins)
    empty = np.full(bins, np.nan)
    mean = np.divide(np.bincount(place, scores, bins), cases, out=empty.copy(), where=cases > 0)
    share = np.divide(np.bincount(place, truth.astype(float), bins), cases, out=empty.copy(), where=cases > 0)
    return ReliabilityBins(cases, mean, share)


def expected_calibration_error(scores: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Mean distance between score and share of positives over equal bins of the score, weighted by their cases.

    Source: Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".

    Args:
        scores: probabilities, shape (case,).
        truth: bool, shape (case,).
        bins: number of bins over 0..1.
    """
    return float(weighted_calibration_error(scores, truth, np.ones((1, len(scores))), bins)[0])


def estimated_calibration_error(
    scores: np.ndarray, truth: np.ndarray, patients: np.ndarray, repeats: int = REPEATS, seed: int = 0
) -> Estimate:
    """The expected calibration error with its interval over patients.

    Args:
        scores: probabilities, shape (case,).
        truth: bool, shape (case,).
        patients: of each case, shape (case,).
        repeats: number of resamplings.
        seed: of the resampling.
    """
    weights = resampled_weights(patients, repeats, seed)
    return estimate(np.concatenate([weighted_calibration_error(scores, truth, block) for block in weights]))


def weighted_calibration_error(
    scores: np.ndarray, truth: np.ndarray, weights: np.ndarray, bins: int = BINS
) -> np.ndarray:
    """The expected calibration error of each resampling, shape (repeat,).

    It is never 0 for a finite sample and larger in a resampling than in the sample, so its interval lies high.

    Args:
        scores: probabilities, shape (case,).
        truth: bool, shape (case,).
        weights: shape (repeat, case).
        bins: number of bins over 0..1.
    """
    inside = _bin_of(scores, bins)[:, None] == np.arange(bins)
    gaps = weights @ (inside * (scores - truth)[:, None])
    return _mean(np.abs(gaps).sum(axis=1), weights)


def weighted_brier_score(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared distance of score and truth of each resampling, shape (repeat,). Source: Brier 1950.

    Args:
        scores: probabilities, shape (case,).
        truth: bool, shape (case,).
        weights: shape (repeat, case).
    """
    return _mean(weights @ (scores - truth) ** 2, weights)


def pooled_calibration(
    scores: np.ndarray, truth: np.ndarray, known: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Expected calibration error and Brier score of all known cells together, of each resampling.

    Equal to the weighted figures over the cells, in one product: both are made of sums over a volume's cells.

    Args:
        scores: probabilities, shape (volume, finding).
        truth: bool, shape (volume, finding).
        known: bool, shape (volume, finding).
        weights: shape (repeat, volume).
    """
    place = _bin_of(scores, BINS)
    gaps = np.where(known, scores - truth, 0.0)
    by_bin = np.stack([(gaps * (place == number)).sum(axis=1) for number in range(BINS)], axis=1)
    cells = weights * known.sum(axis=1)
    return _mean(np.abs(weights @ by_bin).sum(axis=1), cells), _mean(weights @ (gaps**2).sum(axis=1), cells)


def _bin_of(scores: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((scores * bins).astype(int), bins - 1)


def _mean(total: np.ndarray, weights: np.ndarray) -> np.ndarray:
    cases = weights.sum(axis=1)
    return np.divide(total, cases, out=np.full(len(weights), np.nan), where=cases > 0)
