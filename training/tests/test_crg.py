"""The CRG score at its known ends, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ctglip_training.evaluation.classification import count_calls
from ctglip_training.evaluation.crg import crg_score


def score(calls, truth) -> float:
    calls, truth = np.array(calls, dtype=bool), np.array(truth, dtype=bool)
    return float(crg_score(count_calls(calls, truth, np.ones((1, len(truth)))))[0])


def test_all_right_is_one_and_saying_the_same_of_all_is_a_third(rng):
    truth = rng.random(200) < 0.2
    assert score(truth, truth) == pytest.approx(1.0)
    assert score(np.zeros(200), truth) == pytest.approx(1 / 3)
    assert score(np.ones(200), truth) == pytest.approx(1 / 3)


def test_a_small_table_by_hand():
    # X = 10, A = 2: r = 2, U = 4; TP 1, FN 1, FP 2: s = 2 - 2 - 2 = -2; CRG = 4 / (8 + 2)
    assert score([1, 0, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1] + [0] * 8) == pytest.approx(0.4)


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1]])
def test_one_class_alone_has_no_score(truth):
    assert math.isnan(score([1, 0, 1], truth))
