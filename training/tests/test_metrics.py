"""Figures of merit against scikit-learn and against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ctglip_training.metrics import auc, bootstrap_interval, expected_calibration_error


@pytest.mark.parametrize("decimals", [6, 1, 0])
def test_the_auc_equals_scikit_learns_with_and_without_ties(rng, decimals):
    truth = rng.random(200) < 0.3
    scores = np.round(rng.normal(size=200) + truth, decimals)
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_the_auc_is_one_half_and_nothing_at_its_ends():
    truth = np.array([True, True, False, False])
    assert auc(np.array([2.0, 3.0, 0.0, 1.0]), truth) == 1.0
    assert auc(np.zeros(4), truth) == 0.5
    assert auc(np.array([0.0, 1.0, 2.0, 3.0]), truth) == 0.0
    assert math.isnan(auc(np.zeros(2), np.array([True, True])))


def test_the_bootstrap_interval_of_a_mean_is_about_two_standard_errors(rng):
    values = rng.normal(3.0, 1.0, 400)
    low, high = bootstrap_interval(np.arange(400), lambda index: float(values[index].mean()))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.25)


def test_whole_patients_are_resampled_so_that_repeated_cases_do_not_narrow_the_interval(rng):
    values = np.repeat(rng.normal(size=50), 20)
    groups = np.repeat(np.arange(50), 20)
    low, high = bootstrap_interval(groups, lambda index: float(values[index].mean()))
    narrow, wide = bootstrap_interval(np.arange(1000), lambda index: float(values[index].mean()))
    assert high - low > 3 * (wide - narrow)


def test_the_calibration_error_equals_a_loop_over_bins(rng):
    scores = rng.random(300)
    truth = rng.random(300) < scores**2
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
