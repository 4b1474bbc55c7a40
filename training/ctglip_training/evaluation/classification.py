"""Figures of finding something or not, for many resamplings at once.

Conventions: a case is called positive where score >= threshold; a figure whose denominator is 0 is NaN; `weights` has
the shape (repeat, case), see `intervals`. Guard: test_classification.py holds each figure against scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve; NaN unless both classes occur. Ties count half (Mann and Whitney 1947).

    Args:
        scores: shape (case,), larger means more likely positive.
        truth: bool, shape (case,).
    """
    return float(weighted_auc(scores, truth, np.ones((1, len(scores))))[0])


def weighted_auc(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The AUC of each resampling, shape (repeat,).

    Args:
        scores: shape (case,), larger means more likely positive.
        truth: bool, shape (case,).
        weights: shape (repeat, case).
    """
    order = np.argsort(scores, kind="stable")
    ranked, true = scores[order], truth[order]
    negative = np.zeros((len(weights), len(scores) + 1))
    np.cumsum(weights[:, order] * ~true, axis=1, out=negative[:, 1:])
    positive = weights[:, order[true]]
    first, beyond = (np.searchsorted(ranked, ranked[true], side=side) for side in ("left", "right"))
    twice_below = negative[:, first] + negative[:, beyond]  # negatives of the same score count half
    pairs = positive.sum(axis=1) * negative[:, -1]
    return _share(np.einsum("rp,rp->r", positive, twice_below) / 2, pairs)


@dataclass(frozen=True, eq=False)
class Counts:
    """Cases by call and truth, weighted; arrays of one shape.

    Attributes:
        tp: called positive, and they are.
        fp: called positive, but they are not.
        fn: called negative, but they are positive.
        tn: called negative, and they are.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    @property
    def positives(self) -> np.ndarray:
        """Cases that are positive."""
        return self.tp + self.fn

    @property
    def cases(self) -> np.ndarray:
        """All cases."""
        return self.tp + self.fp + self.fn + self.tn


def count_calls(calls: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> Counts:
    """Counts of each resampling, shape (repeat,).

    Args:
        calls: bool, shape (case,).
        truth: bool, shape (case,).
        weights: shape (repeat, case).
    """
    cells = np.column_stack([calls & truth, calls & ~truth, ~calls & truth, ~calls & ~truth]).astype(np.float64)
    tp, fp, fn, tn = (weights @ cells).T
    return Counts(tp, fp, fn, tn)


def ppv(counts: Counts) -> np.ndarray:
    """Positive predictive value (precision): TP / (TP + FP)."""
    return _share(counts.tp, counts.tp + counts.fp)


def sensitivity(counts: Counts) -> np.ndarray:
    """Sensitivity (recall): TP / (TP + FN)."""
    return _share(counts.tp, counts.tp + counts.fn)


def specificity(counts: Counts) -> np.ndarray:
    """Specificity: TN / (TN + FP)."""
    return _share(counts.tn, counts.tn + counts.fp)


def f1(counts: Counts) -> np.ndarray:
    """F1 of the positive class: 2 TP / (2 TP + FP + FN)."""
    return _share(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def accuracy(counts: Counts) -> np.ndarray:
    """Share of right calls."""
    return _share(counts.tp + counts.tn, counts.cases)


def balanced_accuracy(counts: Counts) -> np.ndarray:
    """Mean of sensitivity and specificity."""
    return (sensitivity(counts) + specificity(counts)) / 2


def two_class_f1(counts: Counts) -> np.ndarray:
    """F1 of the positive and of the negative class, averaged by their cases; CT-CLIP's "weighted F1"."""
    negative = f1(Counts(counts.tn, counts.fn, counts.fp, counts.tp))
    share = _share(counts.positives, counts.cases)
    return share * np.where(share > 0, f1(counts), 0.0) + (1 - share) * np.where(share < 1, negative, 0.0)


CALL_FIGURES = {
    "ppv": ppv,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "f1": f1,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "two_class_f1": two_class_f1,
}
"""The figures of calls, in the order of the tables."""


def added(counts: list[Counts]) -> Counts:
    """The sum of several findings' counts: what micro averages are made of."""
    return Counts(
        np.sum([c.tp for c in counts], axis=0),
        np.sum([c.fp for c in counts], axis=0),
        np.sum([c.fn for c in counts], axis=0),
        np.sum([c.tn for c in counts], axis=0),
    )


def macro_average(values: np.ndarray) -> np.ndarray:
    """Mean over findings of those that could be measured; NaN where none could.

    Args:
        values: shape (finding, repeat).
    """
    return weighted_average(values, np.ones_like(values))


def weighted_average(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over findings of those that could be measured; NaN where none could.

    Args:
        values: shape (finding, repeat).
        weights: shape (finding, repeat), e.g. the positives of each finding.
    """
    known = ~np.isnan(values)
    return _share((np.where(known, values, 0.0) * weights).sum(axis=0), (known * weights).sum(axis=0))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part over whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
