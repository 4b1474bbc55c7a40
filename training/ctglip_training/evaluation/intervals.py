"""Bootstrap intervals over whole patients.

A resampling is a weight for each case: how often its patient was drawn. Every figure of `classification`,
`calibration` and `crg` takes such weights, shape (repeat, case), and answers for all repeats at once. The first row of
`resampled_weights` is all ones, so that the first value is the figure itself and the others give its interval.
Guard: test_intervals.py holds the weights against a loop that draws the cases themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from CTGLIPLib.errors import ConfigError

REPEATS = 1000
LEVEL = 0.95
LARGEST_BLOCK = 1_000_000
"""Weights held at once: 8 MB, and some ten times that while a figure is computed."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; NaN where it cannot be measured."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For example 0.812 (0.790-0.834); without an interval the figure alone, - for a figure that is none."""
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.3f}" + ("" if math.isnan(self.low) else f" ({self.low:.3f}-{self.high:.3f})")


def resampled_weights(groups: np.ndarray, repeats: int = REPEATS, seed: int = 0) -> Iterator[np.ndarray]:
    """Blocks of weights, shape (repeat, case): a row of ones, then how often each case was drawn in each repeat.

    The draws do not depend on the size of the blocks.

    Args:
        groups: patient of each case, shape (case,).
        repeats: number of resamplings; 0 gives the row of ones alone.
        seed: of the resampling.

    Raises:
        ConfigError: if `repeats` is negative.
    """
    if repeats < 0:
        msg = f"Expected 0 or more resamplings, got {repeats}. Leave the number out for {REPEATS}."
        raise ConfigError(msg)
    yield np.ones((1, len(groups)))
    rng = np.random.default_rng(seed)
    names, member = np.unique(groups, return_inverse=True)
    rows = max(1, LARGEST_BLOCK // max(1, len(groups)))
    for start in range(0, repeats, rows):
        count = min(rows, repeats - start)
        drawn = rng.integers(len(names), size=(count, len(names)))
        flat = drawn + np.arange(count)[:, None] * len(names)
        times = np.bincount(flat.ravel(), minlength=count * len(names)).reshape(count, len(names))
        yield times[:, member].astype(np.float64)


def estimate(values: np.ndarray, level: float = LEVEL) -> Estimate:
    """The first value with the percentile interval of the others; repeats that measure nothing are left out.

    Args:
        values: shape (1 + repeat,), as figures over `resampled_weights` give them.
        level: share of the resampled values inside the interval.
    """
    others = values[1:]
    others = others[~np.isnan(others)]
    if len(others) == 0:
        return Estimate(float(values[0]), float("nan"), float("nan"))
    low, high = np.percentile(others, [50 * (1 - level), 50 * (1 + level)])
    return Estimate(float(values[0]), float(low), float(high))


def bootstrap_interval(
    groups: np.ndarray, statistic: Callable[[np.ndarray], float], repeats: int = 500, seed: int = 0
) -> tuple[float, float]:
    """2.5th and 97.5th percentile of any statistic under resampling of whole groups (patients), one repeat at a time.

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
