"""Figures of calls against scikit-learn and against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from ctglip_training.evaluation import classification
from ctglip_training.evaluation.classification import (
    CALL_FIGURES,
    Counts,
    added,
    auc,
    count_calls,
    macro_average,
    two_class_f1,
    weighted_auc,
    weighted_average,
)

GOLDEN = {
    "ppv": lambda t, c, w: metrics.precision_score(t, c, sample_weight=w),
    "sensitivity": lambda t, c, w: metrics.recall_score(t, c, sample_weight=w),
    "specificity": lambda t, c, w: metrics.recall_score(t, c, pos_label=0, sample_weight=w),
    "f1": lambda t, c, w: metrics.f1_score(t, c, sample_weight=w),
    "accuracy": lambda t, c, w: metrics.accuracy_score(t, c, sample_weight=w),
    "balanced_accuracy": lambda t, c, w: metrics.balanced_accuracy_score(t, c, sample_weight=w),
    "two_class_f1": lambda t, c, w: metrics.f1_score(t, c, average="weighted", sample_weight=w),
}


@pytest.mark.parametrize("decimals", [6, 1, 0])
def test_the_auc_equals_scikit_learns_with_and_without_ties(rng, decimals):
    truth = rng.random(200) < 0.3
    scores = np.round(rng.normal(size=200) + truth, decimals)
    assert auc(scores, truth) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)


def test_the_weighted_auc_equals_scikit_learns_for_each_resampling(rng):
    truth = rng.random(80) < 0.3
    scores = np.round(rng.normal(size=80) + truth, 1)
    weights = rng.integers(0, 4, (5, 80)).astype(float)
    expected = [metrics.roc_auc_score(truth, scores, sample_weight=row) for row in weights]
    assert weighted_auc(scores, truth, weights) == pytest.approx(expected, abs=1e-12)


def test_the_auc_is_one_half_and_nothing_at_its_ends():
    truth = np.array([True, True, False, False])
    assert auc(np.array([2.0, 3.0, 0.0, 1.0]), truth) == 1.0
    assert auc(np.zeros(4), truth) == 0.5
    assert auc(np.array([0.0, 1.0, 2.0, 3.0]), truth) == 0.0
    assert math.isnan(auc(np.zeros(2), np.array([True, True])))
    assert math.isnan(auc(np.zeros(0), np.zeros(0, dtype=bool)))


@pytest.mark.parametrize("name", CALL_FIGURES)
def test_every_figure_of_calls_equals_scikit_learns_for_each_resampling(rng, name):
    truth, calls = rng.random(60) < 0.3, rng.random(60) < 0.5
    weights = rng.integers(0, 3, (4, 60)).astype(float)
    found = CALL_FIGURES[name](count_calls(calls, truth, weights))
    assert found == pytest.approx([GOLDEN[name](truth, calls, row) for row in weights], abs=1e-12)


def test_a_figure_without_a_denominator_is_nan():
    nothing_called = Counts(*(np.array([v]) for v in (0.0, 0.0, 3.0, 5.0)))
    assert np.isnan(classification.ppv(nothing_called)).all()
    assert classification.f1(nothing_called).tolist() == [0.0]
    no_positives = Counts(*(np.array([v]) for v in (0.0, 2.0, 0.0, 5.0)))
    assert np.isnan(classification.sensitivity(no_positives)).all()
    assert np.isnan(classification.balanced_accuracy(no_positives)).all()


def test_the_two_class_f1_of_one_class_is_that_classes_own():
    truth, calls = np.zeros(7, dtype=bool), np.array([True, True] + [False] * 5)
    found = two_class_f1(count_calls(calls, truth, np.ones((1, 7))))
    assert found[0] == pytest.approx(metrics.f1_score(truth, calls, average="weighted"))


def test_the_averages_equal_scikit_learns(rng):
    truth, calls = rng.random((3, 50)) < [[0.1], [0.3], [0.6]], rng.random((3, 50)) < 0.4
    counts = [count_calls(c, t, np.ones((1, 50))) for c, t in zip(calls, truth, strict=True)]
    values = np.array([classification.f1(c) for c in counts])
    positives = np.array([c.positives for c in counts])
    expected = [metrics.f1_score(truth.T, calls.T, average=kind) for kind in ("macro", "weighted", "micro")]
    found = [macro_average(values), weighted_average(values, positives), classification.f1(added(counts))]
    assert np.ravel(found) == pytest.approx(expected, abs=1e-12)


def test_what_cannot_be_measured_is_left_out_of_the_mean():
    values = np.array([[0.5, np.nan], [np.nan, np.nan], [1.0, np.nan]])
    mean = macro_average(values)
    assert mean[0] == 0.75
    assert math.isnan(mean[1])
