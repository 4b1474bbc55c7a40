"""Calibration against scikit-learn's logistic regression, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ctglip_training.calibrate import MIN_CASES, calibrate, fit_logistic
from ctglip_training.evaluate import FindingCase
from ctglip_training.evaluation.calibration import expected_calibration_error
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import InputError
from CTGLIPLib.similarity import finding_score


def cases(rng, finding: str, positives: int, negatives: int, gap: float, shift: float = 0.0) -> list[FindingCase]:
    truth = [True] * positives + [False] * negatives
    return [FindingCase(i, finding, "liver", float(rng.normal(shift + gap * t, 0.05)), t) for i, t in enumerate(truth)]


def by_scikit_learn(margins: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Platt's soft targets as weighted copies of each case in an unpenalised regression."""
    target = np.where(truth, (truth.sum() + 1) / (truth.sum() + 2), 1 / ((~truth).sum() + 2))
    scale = margins.std()
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000)
    x = np.concatenate([margins, margins])[:, None] / scale
    model.fit(x, np.repeat([1, 0], len(margins)), sample_weight=np.concatenate([target, 1 - target]))
    return float(model.coef_[0, 0] / scale), float(model.intercept_[0])


@pytest.mark.parametrize("gap", [0.02, 0.1, 1.0])
def test_slope_and_intercept_equal_scikit_learns(rng, gap):
    known = cases(rng, "x", 40, 160, gap)
    margins, truth = np.array([c.margin for c in known]), np.array([c.truth for c in known])
    assert fit_logistic(margins, truth) == pytest.approx(by_scikit_learn(margins, truth), rel=2e-3)


def test_each_finding_with_cases_enough_gets_its_own_and_the_others_share(rng):
    known = [
        *cases(rng, "fatty_liver", 30, 60, 0.1),
        *cases(rng, "hepatic_cyst", MIN_CASES - 1, 60, 0.1),
        *cases(rng, "gallstone", 30, MIN_CASES - 1, 0.1),
        *cases(rng, "renal_cyst", MIN_CASES, MIN_CASES, 0.2, shift=-0.3),
    ]
    score = calibrate(known, ScoreConfig(threshold=0.4, temperature=0.05), "300 phantoms")
    assert set(score.by_finding) == {"fatty_liver", "renal_cyst"}
    own = [c for c in known if c.abnormality == "renal_cyst"]
    fitted = fit_logistic(np.array([c.margin for c in own]), np.array([c.truth for c in own]))
    assert score.by_finding["renal_cyst"] == pytest.approx(fitted)
    assert score.slope > 0
    assert (score.threshold, score.temperature, score.calibrated_on) == (0.4, 0.05, "300 phantoms")


def test_scores_after_calibration_are_calibrated_and_in_the_order_of_the_margins(rng):
    known = cases(rng, "fatty_liver", 400, 1200, 0.05, shift=0.3)
    score = calibrate(known, ScoreConfig(), "phantoms")
    truth = np.array([c.truth for c in known])
    before = np.array([finding_score(c.margin, ScoreConfig(), "fatty_liver") for c in known])
    after = np.array([finding_score(c.margin, score, "fatty_liver") for c in known])
    assert expected_calibration_error(after, truth) < 0.04 < 0.4 < expected_calibration_error(before, truth)
    assert np.array_equal(np.argsort(after), np.argsort([c.margin for c in known]))


def test_a_finding_that_the_margin_ranks_backwards_keeps_the_common_slope(rng):
    known = [*cases(rng, "fatty_liver", 60, 60, 0.2), *cases(rng, "gallstone", 20, 20, -0.1)]
    score = calibrate(known, ScoreConfig(), "phantoms")
    assert set(score.by_finding) == {"fatty_liver"}


def test_too_few_or_useless_cases_are_refused(rng):
    with pytest.raises(InputError, match="got 3 and 50"):
        calibrate(cases(rng, "x", 3, 50, 0.1), ScoreConfig(), "phantoms")
    with pytest.raises(InputError, match="does not grow"):
        calibrate(cases(rng, "x", 50, 50, -0.1), ScoreConfig(), "phantoms")
    with pytest.raises(InputError, match="got 0 and 0"):
        calibrate([], ScoreConfig(), "phantoms")
