"""Similarity margins turned into probabilities by logistic regression on cases whose truth is known.

Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines": targets (n+ + 1)/(n+ + 2) and 1/(n- + 2) in
place of 1 and 0, so that findings which a margin separates wholly still get a finite slope. Guard: test_calibrate.py.
The probabilities hold at the share of positives among the cases; simulated patients have more findings than real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ctglip_training.evaluate import FindingCase
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import InputError

MIN_CASES = 8
"""Positives and negatives that a finding needs for a calibration of its own."""
MAX_ITERATIONS = 100
TOLERANCE = 1e-10


def calibrate(cases: Sequence[FindingCase], score: ScoreConfig, calibrated_on: str) -> ScoreConfig:
    """`score` with slope and intercept fitted to all cases, and to each finding that has cases enough.

    A finding whose own slope is not positive keeps the slope and intercept of all.

    Args:
        cases: of patients that the model was not trained on.
        score: threshold and temperature are kept.
        calibrated_on: what the cases are, in words.

    Raises:
        InputError: if there are too few cases, or the margin is not larger where a finding is present.
    """
    names = np.array([case.abnormality for case in cases])
    margins = np.array([case.margin for case in cases], dtype=np.float64)
    truth = np.array([case.truth for case in cases], dtype=bool)
    if not _enough(truth):
        msg = (
            f"Calibration needs {MIN_CASES} positive and {MIN_CASES} negative cases or more, got {truth.sum()} and "
            f"{(~truth).sum()}. Evaluate more patients."
        )
        raise InputError(msg)
    slope, intercept = fit_logistic(margins, truth)
    if slope <= 0:
        msg = (
            f"The margin does not grow where findings are present (slope {slope:.3g}), so no score can be made of it. "
            "Check the model with `ctglip-train evaluate`."
        )
        raise InputError(msg)
    by_finding = {}
    for name in np.unique(names):
        own = names == name
        if _enough(truth[own]):
            fitted = fit_logistic(margins[own], truth[own])
            if fitted[0] > 0:
                by_finding[str(name)] = fitted
    return replace(score, slope=slope, intercept=intercept, by_finding=by_finding, calibrated_on=calibrated_on)


def left_out_scores(cases: Mapping[str, Sequence[FindingCase]], score: ScoreConfig) -> dict[str, ScoreConfig]:
    """For each subject a score that is fitted to the other subjects' cases alone.

    Args:
        cases: of each subject.
        score: threshold and temperature are kept.

    Raises:
        InputError: as `calibrate`, if the others have too few cases, or margins that do not grow.
    """
    fitted = {}
    for subject in cases:
        others = [case for name, own in cases.items() if name != subject for case in own]
        fitted[subject] = calibrate(others, score, ", ".join(name for name in cases if name != subject))
    return fitted


def fit_logistic(margins: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope and intercept that make sigmoid(slope * margin + intercept) likeliest, with Platt's targets.

    Newton's method on margins brought to mean 0 and deviation 1; the likelihood is concave, steps are halved until it
    grows.

    Args:
        margins: shape (case,).
        truth: bool, shape (case,), both classes present.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, width = margins.mean(), max(float(margins.std()), 1e-12)
    design = np.column_stack([(margins - centre) / width, np.ones(len(margins))])
    weights = np.zeros(2)
    for _ in range(MAX_ITERATIONS):
        probability = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (target - probability)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while _likelihood(design, target, weights + step) < _likelihood(design, target, weights):
            step = step / 2
        weights = weights + step
        if np.abs(step).max() < TOLERANCE:
            break
    slope = weights[0] / width
    return float(slope), float(weights[1] - slope * centre)


def _likelihood(design: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    logits = design @ weights
    return float((target * logits - np.logaddexp(0, logits)).sum())


def _enough(truth: np.ndarray) -> bool:
    return bool(truth.sum() >= MIN_CASES and (~truth).sum() >= MIN_CASES)
