"""Rules that choose the score from which on a finding is called present.

A case is called positive where score >= threshold. A rule that looks at the truth of the cases that it is then judged
on flatters: use `equal_probability`, `equal_similarity`, or a rule on a separate set, for figures of your own.
Guard: test_thresholds.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

GRID_POINTS = 100


def equal_similarity() -> float:
    """The threshold on similarity margins that calls what is nearer to the finding's prompt than to the normal one."""
    return float(np.finfo(np.float64).tiny)  # the smallest number that a processor set to flush denormals keeps


def equal_probability() -> float:
    """The threshold on softmax probabilities of a prompt pair that says the same as `equal_similarity`."""
    return float(np.nextafter(0.5, 1.0))


def youden(scores: np.ndarray, truth: np.ndarray) -> float:
    """The score at which sensitivity + specificity is largest, the highest of several; NaN unless both classes occur.

    Source: Youden 1950, "Index for rating diagnostic tests".
    """
    levels, tpr, fpr = roc_points(scores, truth)
    return _best(levels, tpr - fpr)


def closest_corner(scores: np.ndarray, truth: np.ndarray) -> float:
    """The score whose ROC point is nearest to no false and all true positives; NaN unless both classes occur."""
    levels, tpr, fpr = roc_points(scores, truth)
    return _best(levels, -np.hypot(1 - tpr, fpr))


def closest_corner_on_grid(scores: np.ndarray, truth: np.ndarray) -> float:
    """As `closest_corner`, of 100 equal steps from 0 to 1, the highest of several: the rule of CT-CLIP and fVLM.

    They call positive what is above the step, so the next larger number is returned.
    Source: CT-CLIP's and fVLM's published evaluation.
    """
    if truth.all() or not truth.any():
        return float("nan")
    steps = np.linspace(0.0, 1.0, GRID_POINTS)
    above = scores[:, None] > steps
    distance = np.hypot(1 - above[truth].mean(axis=0), above[~truth].mean(axis=0))
    return float(np.nextafter(steps[GRID_POINTS - 1 - np.argmin(distance[::-1])], np.inf))


def best_f1(scores: np.ndarray, truth: np.ndarray) -> float:
    """The score at which F1 is largest, the highest of several; NaN unless both classes occur."""
    levels, tpr, fpr = roc_points(scores, truth)
    if len(levels) == 0:
        return float("nan")
    tp, fp = tpr * truth.sum(), fpr * (~truth).sum()
    return _best(levels, 2 * tp / (tp + fp + truth.sum()))


RULES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "youden": youden,
    "closest-corner": closest_corner,
    "closest-corner-grid": closest_corner_on_grid,
    "best-f1": best_f1,
}
"""The rules that look at the truth."""


def roc_points(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every distinct score from the highest on, with the true and false positive rate of calling from it on.

    Empty unless both classes occur.

    Args:
        scores: shape (case,).
        truth: bool, shape (case,).
    """
    if truth.all() or not truth.any():
        return np.empty(0), np.empty(0), np.empty(0)
    order = np.argsort(-scores, kind="stable")
    ranked, true = scores[order], truth[order]
    last = np.flatnonzero(np.concatenate([ranked[1:] != ranked[:-1], [True]]))
    tp, fp = np.cumsum(true)[last], np.cumsum(~true)[last]
    return ranked[last], tp / truth.sum(), fp / (~truth).sum()


def _best(levels: np.ndarray, merit: np.ndarray) -> float:
    return float(levels[np.argmax(merit)]) if len(levels) else float("nan")
