"""What other patients' cases are good for: thresholds and calibrated scores that no evaluated case took part in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ctglip_training.calibrate import MIN_CASES, calibrate
from ctglip_training.cases import read_cases
from ctglip_training.evaluate import FindingCase
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import InputError


def threshold_cases(paths: Sequence[Path], evaluated: Sequence[str]) -> dict[str, list[FindingCase]]:
    """The cases of these files, by subject.

    Args:
        paths: `cases.csv` of evaluations of other subjects.
        evaluated: subjects whose cases must not be among them.

    Raises:
        ConfigError: if a file holds no cases.
        InputError: if they are of an evaluated subject.
    """
    cases: dict[str, list[FindingCase]] = {}
    for path in dict.fromkeys(path.resolve() for path in paths):
        for subject, own in read_cases(path).items():
            cases.setdefault(subject, []).extend(own)
    shared = sorted(set(cases) & set(evaluated))
    if shared:
        msg = (
            f"Expected threshold cases of other subjects than those evaluated, got cases of {', '.join(shared)}. Give "
            "the cases.csv of runs that held other subjects out."
        )
        raise InputError(msg)
    return cases


def separate_score(score: ScoreConfig, separate: Mapping[str, Sequence[FindingCase]]) -> tuple[ScoreConfig, str]:
    """A score fitted to the separate cases, or the model's own where there are too few; and what it is, in words."""
    cases = [case for own in separate.values() for case in own]
    present = sum(case.truth for case in cases)
    if min(present, len(cases) - present) >= MIN_CASES:
        fitted = calibrate(cases, score, ", ".join(separate))
        return fitted, f"Calibration errors are of scores fitted to the cases of {', '.join(separate)} alone."
    if score.calibrated_on:
        return score, (
            f"Calibration errors are of the model folder's own scores, calibrated on {score.calibrated_on}; if these "
            "cases are among them, the errors flatter."
        )
    return score, "Calibration errors are of scores that were never calibrated: give --threshold-cases."
