"""Zero-shot figures of one system over patients: organ top-1 and the findings' PPV, sensitivity, F1 and AUC.

Source: Lin et al. 2024, arXiv:2404.15272v4, section 4.3 and Table 1. A case is one organ of one patient asked for one
finding; it is called present where the finding's prompts are nearer than the normal ones (equal similarity) or at
thresholds chosen on other patients. Findings are averaged, those that cannot be measured left out.
Every figure is an array: the figure itself, then one of each resampling of patients. Two systems asked of the same
patients are resampled alike, so that the difference of two arrays has the interval of a paired comparison.
Guard: test_zero_shot.py (hand-computed numbers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ctglip_training.evaluate import FindingCase, OrganCase
from ctglip_training.evaluation.classification import (
    count_calls,
    f1,
    macro_average,
    ppv,
    sensitivity,
    weighted_auc,
)
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate, resampled_weights
from ctglip_training.evaluation.thresholds import best_f1, equal_similarity
from CTGLIPLib.errors import InputError

FIGURES = ("top1", "top5", "ppv", "sensitivity", "f1", "auc")
CALLS = {"ppv": ppv, "sensitivity": sensitivity, "f1": f1}


@dataclass(frozen=True)
class Answers:
    """What a system said of the patients of one subject (or split) that it never saw."""

    organs: tuple[OrganCase, ...]
    findings: tuple[FindingCase, ...]

    @property
    def patients(self) -> frozenset[int]:
        """Numbers of the patients that anything was asked of."""
        return frozenset(case.patient for case in (*self.organs, *self.findings))


def zero_shot_values(
    answers: Mapping[str, Answers],
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Each of `FIGURES`, shape (1 + repeat,): the figure, then that of each resampling; NaN where there is none.

    Args:
        answers: of each subject, whose patients are pooled.
        thresholds: margin from which on a finding is called, by subject and finding; None is equal similarity.
        repeats: number of resamplings.
        seed: of the resampling.

    Raises:
        InputError: if nothing was asked.
    """
    patients = sorted((subject, number) for subject, own in answers.items() for number in own.patients)
    if not patients:
        msg = "Expected organs or findings asked of one patient or more, got none. Evaluate more patients."
        raise InputError(msg)
    place = {patient: index for index, patient in enumerate(patients)}
    organs = [(place[s, case.patient], case) for s, own in answers.items() for case in own.organs]
    findings = [(place[s, case.patient], s, case) for s, own in answers.items() for case in own.findings]
    blocks = [
        _organ_figures(organs, weights) | _finding_figures(findings, weights, thresholds)
        for weights in resampled_weights(np.arange(len(patients)), repeats, seed)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in FIGURES}


def difference(values: np.ndarray, before: np.ndarray) -> Estimate:
    """By how much one system's figure is above another's of the same patients, with the paired interval."""
    return estimate(values - before)


def separate_thresholds(answers: Mapping[str, Answers]) -> dict[str, dict[str, float]]:
    """For each subject the margin of best F1 on the other subjects, of each finding; NaN where they do not tell.

    No case that a threshold is applied to took part in choosing it.
    """
    chosen: dict[str, dict[str, float]] = {}
    for subject in answers:
        others = [case for name, own in answers.items() if name != subject for case in own.findings]
        chosen[subject] = best_thresholds(others)
    return chosen


def best_thresholds(cases: Sequence[FindingCase]) -> dict[str, float]:
    """The margin of best F1 of each finding of these cases; NaN unless they hold both classes."""
    return {
        finding: best_f1(np.array([case.margin for case in own]), np.array([case.truth for case in own]))
        for finding, own in _by_finding(cases).items()
    }


def _by_finding(cases: Sequence[FindingCase]) -> dict[str, list[FindingCase]]:
    grouped: dict[str, list[FindingCase]] = {}
    for case in cases:
        grouped.setdefault(case.abnormality, []).append(case)
    return grouped


def _organ_figures(organs: Sequence[tuple[int, OrganCase]], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Shares of all organs of all patients that are named first, or among the first five; NaN without organs."""
    counts = np.zeros((weights.shape[1], 3))  # of each patient: first, among five, all
    for place, case in organs:
        counts[place] += case.best[0] == case.organ, case.organ in case.best, 1
    first, five, everything = (weights @ counts).T
    return {
        name: np.divide(hits, everything, out=np.full(len(weights), np.nan), where=everything > 0)
        for name, hits in (("top1", first), ("top5", five))
    }


def _finding_figures(
    findings: Sequence[tuple[int, str, FindingCase]],
    weights: np.ndarray,
    thresholds: Mapping[str, Mapping[str, float]] | None,
) -> dict[str, np.ndarray]:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*CALLS, "auc")}
    for finding in sorted({case.abnormality for _, _, case in findings}):
        own = [(place, subject, case) for place, subject, case in findings if case.abnormality == finding]
        margins = np.array([case.margin for _, _, case in own])
        truth = np.array([case.truth for _, _, case in own])
        mine = weights[:, [place for place, _, _ in own]]
        rows["auc"].append(weighted_auc(margins, truth, mine))
        limits = _limits(own, thresholds)
        counts = count_calls(margins >= limits, truth, mine)
        # a finding that no patient drawn has, or a threshold that nobody could choose, measures nothing
        measured = (counts.positives > 0) & ~np.isnan(limits).any()
        for name, figure in CALLS.items():
            rows[name].append(np.where(measured, figure(counts), np.nan))
    nothing = np.full((1, len(weights)), np.nan)
    return {name: macro_average(np.array(values) if values else nothing) for name, values in rows.items()}


def _limits(
    cases: Sequence[tuple[int, str, FindingCase]], thresholds: Mapping[str, Mapping[str, float]] | None
) -> np.ndarray:
    if thresholds is None:
        return np.full(len(cases), equal_similarity())
    return np.array([thresholds[subject].get(case.abnormality, np.nan) for _, subject, case in cases])
