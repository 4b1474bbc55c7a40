"""The scores of a model, fitted to what runs that held subjects out answered about these subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctglip_training.calibrate import calibrate
from ctglip_training.cases import CASES, read_cases
from ctglip_training.evaluate import FindingCase
from ctglip_training.evaluation.calibration import expected_calibration_error
from ctglip_training.export import apply_score
from ctglip_training.hold_out import held_out_cases, open_run
from CTGLIPLib.checkpoint import open_model_folder
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.similarity import finding_score


def calibrate_model(runs: Sequence[Path], folder: Path, patients: int, text_folder: Path | None = None) -> str:
    """Put scores fitted to the held-out cases of all runs into a model folder and return what was fitted.

    A run's `cases.csv` is read where `ctglip-train evaluate` wrote one; otherwise its model is asked. The model's
    threshold and temperature are kept.

    Args:
        runs: folders of runs trained like the model, each without some subjects.
        folder: the model.
        patients: simulated patients of each held-out subject, for runs without cases.
        text_folder: local folder of the text encoder.

    Raises:
        CheckpointError: if a folder holds no run or no model.
        ConfigError: if a run held no subject out or has no patients of it.
        InputError: if there are too few cases, or the margin is not larger where a finding is present.
    """
    model = open_model_folder(folder)
    subjects: list[str] = []
    cases: list[FindingCase] = []
    for run in dict.fromkeys(path.resolve() for path in runs):
        known = run / CASES
        found = read_cases(known) if known.is_file() else held_out_cases(open_run(run, text_folder), patients)
        for subject, own in found.items():
            subjects.append(subject)
            cases += own
    score = calibrate(cases, model.config.score, _calibrated_on(subjects, cases))
    apply_score(folder, score)
    return _summary(cases, score)


def _calibrated_on(subjects: Sequence[str], cases: Sequence[FindingCase]) -> str:
    present = sum(case.truth for case in cases)
    return (
        f"{len(cases)} simulated findings ({present} present) in patients made from "
        f"{', '.join(dict.fromkeys(subjects))}, each asked of a model trained without that subject"
    )


def _summary(cases: Sequence[FindingCase], score: ScoreConfig) -> str:
    scores = np.array([finding_score(case.margin, score, case.abnormality) for case in cases])
    error = expected_calibration_error(scores, np.array([case.truth for case in cases], dtype=bool))
    return (
        f"Calibrated on {score.calibrated_on}.\n"
        f"slope {score.slope:.3f}, intercept {score.intercept:.3f}; "
        f"{len(score.by_finding)} findings with cases enough have their own\n"
        f"expected calibration error {error:.3f}, in-sample: on the cases that it was fitted to"
    )
