"""The scores of a model, fitted to what runs that held subjects out answered about these subjects.

How well they are calibrated is told twice: on the cases that they were fitted to, and, each subject by scores fitted to
the others alone, on cases that took no part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ctglip_training.calibrate import calibrate, left_out_scores
from ctglip_training.cases import CASES, read_cases
from ctglip_training.evaluate import FindingCase
from ctglip_training.evaluation.calibration import estimated_calibration_error
from ctglip_training.evaluation.intervals import Estimate
from ctglip_training.evaluation.results_folder import plain
from ctglip_training.export import apply_score
from ctglip_training.hold_out import held_out_cases, open_run
from CTGLIPLib.checkpoint import open_model_folder
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import InputError
from CTGLIPLib.files import write_whole_text
from CTGLIPLib.similarity import finding_score

FITTED, LEFT_OUT = "fitted to these cases", "fitted to other subjects"
Cases = Mapping[str, Sequence[FindingCase]]
"""Cases of each subject."""


def calibrate_model(
    runs: Sequence[Path], folder: Path, patients: int, text_folder: Path | None = None, out: Path | None = None
) -> str:
    """Put scores fitted to the held-out cases of all runs into a model folder and return what was fitted.

    A run's `cases.csv` is read where `ctglip-train evaluate` wrote one; otherwise its model is asked. The model's
    threshold and temperature are kept.

    Args:
        runs: folders of runs trained like the model, each without some subjects.
        folder: the model.
        patients: simulated patients of each held-out subject, for runs without cases.
        text_folder: local folder of the text encoder.
        out: where calibration.json and reliability.png go; None writes neither.

    Raises:
        CheckpointError: if a folder holds no run or no model.
        ConfigError: if a run held no subject out or has no patients of it.
        InputError: if there are too few cases, or the margin is not larger where a finding is present.
    """
    model = open_model_folder(folder)
    cases: dict[str, list[FindingCase]] = {}
    for run in dict.fromkeys(path.resolve() for path in runs):
        known = run / CASES
        found = read_cases(known) if known.is_file() else held_out_cases(open_run(run, text_folder), patients)
        for subject, own in found.items():
            cases.setdefault(subject, []).extend(own)
    score = calibrate([case for own in cases.values() for case in own], model.config.score, _calibrated_on(cases))
    apply_score(folder, score)
    curves = {FITTED: _probabilities(cases, dict.fromkeys(cases, score))}
    left_out, why_not = _left_out(cases, score)
    if left_out:
        curves[LEFT_OUT] = _probabilities(cases, left_out)
    errors = {name: estimated_calibration_error(*curve) for name, curve in curves.items()}
    if out is not None:
        _write(score, errors, {name: curve[:2] for name, curve in curves.items()}, out)
    return _summary(score, errors, why_not)


def _left_out(cases: Cases, score: ScoreConfig) -> tuple[dict[str, ScoreConfig], str]:
    """Each subject's score fitted to the others, or none and why."""
    if len(cases) < 2:
        return {}, "all cases are of one subject"
    try:
        return left_out_scores(cases, score), ""
    except InputError as error:  # the model is calibrated all the same; only its honest error stays unknown
        return {}, str(error)


def _probabilities(cases: Cases, scores: Mapping[str, ScoreConfig]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, truth and patient of every case, shape (case,) each."""
    rows = [
        (finding_score(case.margin, scores[subject], case.abnormality), case.truth, f"{subject}/{case.patient}")
        for subject, own in cases.items()
        for case in own
    ]
    sure, truth, patients = zip(*rows, strict=True)
    return np.array(sure), np.array(truth, dtype=bool), np.array(patients)


def _write(
    score: ScoreConfig, errors: Mapping[str, Estimate],
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], out: Path,
) -> None:  # fmt: skip
    from ctglip_training.evaluation.plots import calibration_figure
    from CTGLIPLib.picture_frame import save_picture

    facts = {"calibrated_on": score.calibrated_on, "expected_calibration_error": errors}
    write_whole_text(out / "calibration.json", json.dumps(plain(facts), indent=1, allow_nan=False))
    save_picture(calibration_figure(curves), out / "reliability.png")


def _calibrated_on(cases: Cases) -> str:
    count = sum(len(own) for own in cases.values())
    present = sum(case.truth for own in cases.values() for case in own)
    return (
        f"{count} simulated findings ({present} present) in patients made from {', '.join(cases)}, each asked of a "
        "model trained without that subject"
    )


def _summary(score: ScoreConfig, errors: Mapping[str, Estimate], why_not: str) -> str:
    honest = str(errors[LEFT_OUT]) if LEFT_OUT in errors else f"not measured ({why_not.rstrip('.')})"
    return (
        f"Calibrated on {score.calibrated_on}.\n"
        f"slope {score.slope:.3f}, intercept {score.intercept:.3f}; "
        f"{len(score.by_finding)} findings with cases enough have their own\n"
        f"expected calibration error, 95 % interval over patients: {errors[FITTED]} in-sample, on the cases that it "
        f"was fitted to; {honest} on subjects whose scores were fitted to the others alone"
    )
