"""Threshold rules against scikit-learn's curve and against a search over every score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from ctglip_training.evaluation.thresholds import (
    RULES,
    best_f1,
    closest_corner,
    closest_corner_on_grid,
    equal_probability,
    equal_similarity,
    roc_points,
    youden,
)


@pytest.fixture
def cases(rng) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.random(150) < 0.3
    return np.round(np.clip(rng.normal(0.4, 0.2, 150) + 0.2 * truth, 0, 1), 2), truth


def test_the_curve_equals_scikit_learns(cases):
    scores, truth = cases
    fpr, tpr, levels = metrics.roc_curve(truth, scores, drop_intermediate=False)
    found = roc_points(scores, truth)
    assert np.array_equal(found[0], levels[1:])
    assert found[1] == pytest.approx(tpr[1:])
    assert found[2] == pytest.approx(fpr[1:])


def test_youden_and_the_corner_equal_a_choice_on_scikit_learns_curve(cases):
    scores, truth = cases
    fpr, tpr, levels = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert youden(scores, truth) == levels[np.argmax(tpr - fpr)]
    assert closest_corner(scores, truth) == levels[np.argmin((1 - tpr) ** 2 + fpr**2)]


def test_the_best_f1_is_the_best_of_a_search(cases):
    scores, truth = cases
    found = metrics.f1_score(truth, scores >= best_f1(scores, truth))
    assert found == pytest.approx(max(metrics.f1_score(truth, scores >= level) for level in scores))


def test_the_grid_rule_equals_a_loop_over_its_steps(cases):
    scores, truth = cases
    best, distance = 0.0, math.inf
    for step in np.linspace(0, 1, 100):
        tn, fp, fn, tp = metrics.confusion_matrix(truth, scores > step, labels=[0, 1]).ravel()
        here = math.hypot(1 - tp / (tp + fn), fp / (fp + tn))
        if here <= distance:
            best, distance = step, here
    threshold = closest_corner_on_grid(scores, truth)
    assert threshold == pytest.approx(best, abs=1e-12)
    assert np.array_equal(scores >= threshold, scores > best)


def test_equal_similarity_does_not_call_a_tie():
    assert (np.array([-0.1, 0.0, 1e-9]) >= equal_similarity()).tolist() == [False, False, True]
    assert (np.array([0.4, 0.5, 0.5 + 1e-9]) >= equal_probability()).tolist() == [False, False, True]


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_chooses_where_one_class_is_missing(rule):
    assert math.isnan(RULES[rule](np.array([0.1, 0.9]), np.array([True, True])))
