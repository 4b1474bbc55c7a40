"""Bootstrap weights against a loop that draws cases, percentiles against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ctglip_training.evaluation import intervals
from ctglip_training.evaluation.classification import auc, weighted_auc
from ctglip_training.evaluation.intervals import Estimate, bootstrap_interval, estimate, resampled_weights
from CTGLIPLib.errors import ConfigError


def all_weights(groups, repeats, seed=0) -> np.ndarray:
    return np.concatenate(list(resampled_weights(groups, repeats, seed)))


def test_the_weighted_interval_equals_a_loop_that_draws_the_cases(rng):
    groups = rng.integers(0, 30, 90)
    truth = rng.random(90) < 0.4
    scores = np.round(rng.normal(size=90) + truth, 1)
    low, high = bootstrap_interval(groups, lambda index: auc(scores[index], truth[index]), repeats=200, seed=3)
    found = estimate(weighted_auc(scores, truth, all_weights(groups, 200, 3)))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.value == pytest.approx(auc(scores, truth), abs=1e-12)


def test_the_first_row_is_ones_and_whole_patients_are_drawn(rng):
    groups = np.array(["b", "a", "b", "c"])
    weights = all_weights(groups, 50)
    assert weights.shape == (51, 4)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[1:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_the_seed_alone_decides_and_not_the_size_of_the_blocks(monkeypatch):
    groups = np.arange(7)
    whole = all_weights(groups, 20, seed=5)
    monkeypatch.setattr(intervals, "LARGEST_BLOCK", 21)
    assert len(list(resampled_weights(groups, 20, 5))) > 2
    assert np.array_equal(all_weights(groups, 20, seed=5), whole)
    assert not np.array_equal(all_weights(groups, 20, seed=6), whole)


def test_the_interval_is_the_percentiles_of_what_could_be_measured():
    values = np.concatenate([[0.5], np.arange(101) / 100, [np.nan] * 5])
    found, half = estimate(values), estimate(values, level=0.5)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.025, 0.975))
    assert (half.low, half.high) == pytest.approx((0.25, 0.75))


def test_without_resamplings_there_is_no_interval():
    assert all_weights(np.arange(3), 0).tolist() == [[1, 1, 1]]
    alone = estimate(np.array([0.25]))
    assert alone.value == 0.25
    assert math.isnan(alone.low)
    assert [str(found) for found in (Estimate(0.5, 0.25, 0.75), alone, Estimate(math.nan, math.nan, math.nan))] == [
        "0.500 (0.250-0.750)", "0.250", "-",
    ]  # fmt: skip


def test_fewer_resamplings_than_none_are_refused():
    with pytest.raises(ConfigError, match="Expected 0 or more resamplings, got -1"):
        all_weights(np.arange(3), -1)


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
