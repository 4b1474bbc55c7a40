"""Calibration figures against a loop over bins and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from ctglip_training.evaluation.calibration import (
    expected_calibration_error,
    pooled_calibration,
    reliability_bins,
    weighted_brier_score,
    weighted_calibration_error,
)


@pytest.fixture
def cases(rng) -> tuple[np.ndarray, np.ndarray]:
    scores = rng.random(300)
    return scores, rng.random(300) < scores**2


def test_the_calibration_error_equals_a_loop_over_bins(cases):
    scores, truth = cases
    total = 0.0
    for low in np.arange(10) / 10:
        inside = (scores >= low) & (scores < low + 0.1)
        total += inside.sum() / 300 * abs(scores[inside].mean() - truth[inside].mean())
    assert expected_calibration_error(scores, truth) == pytest.approx(total, abs=1e-9)


def test_the_calibration_error_is_zero_for_certain_truth_and_one_for_certain_error():
    truth = np.array([True, False, True])
    assert expected_calibration_error(truth.astype(float), truth) == 0.0
    assert expected_calibration_error((~truth).astype(float), truth) == 1.0
    assert math.isnan(expected_calibration_error(np.array([]), np.array([], dtype=bool)))


def test_weights_stand_for_repeated_cases(cases, rng):
    scores, truth = cases
    times = rng.integers(0, 3, 300)
    drawn = np.repeat(np.arange(300), times)
    expected = expected_calibration_error(scores[drawn], truth[drawn])
    assert weighted_calibration_error(scores, truth, times[None].astype(float))[0] == pytest.approx(expected, abs=1e-12)
    found = weighted_brier_score(scores, truth, times[None].astype(float))[0]
    assert found == pytest.approx(brier_score_loss(truth[drawn], scores[drawn]), abs=1e-12)


def test_the_bins_equal_scikit_learns_curve(cases):
    scores, truth = cases
    bins = reliability_bins(scores, truth)
    share, mean = calibration_curve(truth, scores, n_bins=10)
    assert bins.mean_score == pytest.approx(mean)
    assert bins.share_positive == pytest.approx(share)
    assert bins.cases.sum() == 300


def test_an_empty_bin_is_nan_and_one_belongs_to_the_last():
    bins = reliability_bins(np.array([0.0, 1.0]), np.array([False, True]))
    assert bins.cases.tolist() == [1] + [0] * 8 + [1]
    assert math.isnan(bins.mean_score[4])
    assert bins.share_positive[9] == 1.0


def test_the_pooled_figures_equal_those_of_all_known_cells(rng):
    scores = rng.random((40, 3))
    truth, known = rng.random((40, 3)) < scores, rng.random((40, 3)) < 0.8
    weights = rng.integers(0, 3, (5, 40)).astype(float)
    cells = np.repeat(weights[:, :, None], 3, axis=2)[:, known]
    error, brier = pooled_calibration(scores, truth, known, weights)
    assert error == pytest.approx(weighted_calibration_error(scores[known], truth[known], cells))
    assert brier == pytest.approx(weighted_brier_score(scores[known], truth[known], cells))
