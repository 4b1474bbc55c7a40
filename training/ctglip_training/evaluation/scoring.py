"""All figures of paired scores and labels, each with its interval over patients.

Thresholds are chosen once, on all cases or on a separate set, and kept in every resampling. A case without a label
leaves its finding alone. Guard: test_scoring.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ctglip_training.evaluation.calibration import (
    pooled_calibration,
    weighted_brier_score,
    weighted_calibration_error,
)
from ctglip_training.evaluation.classification import (
    CALL_FIGURES,
    Counts,
    added,
    count_calls,
    macro_average,
    weighted_auc,
    weighted_average,
)
from ctglip_training.evaluation.crg import crg_score
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate, resampled_weights
from ctglip_training.evaluation.paired import PairedCases, ScoreKind
from ctglip_training.evaluation.thresholds import RULES, best_f1, equal_probability, equal_similarity, youden
from CTGLIPLib.errors import InputError
from CTGLIPLib.progress import ProgressCallback, report

EQUAL = "equal"
"""The rule that looks at no labels: the larger similarity of a prompt pair wins."""
SEPARATE = {"best-f1, separate set": best_f1, "youden, separate set": youden}
"""The rules that choose on a separate set."""

Figures = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class FindingFigures:
    """Figures of one finding.

    Attributes:
        name: the finding.
        positives: volumes that have it.
        negatives: volumes that do not.
        unlabelled: volumes left out.
        filled: scores that were missing and count as the lowest.
        thresholds: by rule; NaN where the rule could not choose.
        figures: auc, ece and brier, and "RULE: FIGURE" of calls.
    """

    name: str
    positives: int
    negatives: int
    unlabelled: int
    filled: int
    thresholds: Mapping[str, float]
    figures: Mapping[str, Estimate]


@dataclass(frozen=True)
class Scores:
    """Figures of all findings.

    Attributes:
        findings: each finding's.
        averages: macro (mean of findings, and of subsets of them), weighted (by positives) and micro (all cells
            together), and each one's figures; crg stands under micro.
        rules: threshold rules, and what each chose on.
        volumes: how many volumes.
        patients: how many patients they are of.
        repeats: resamplings of the intervals.
        seed: of the resampling.
    """

    findings: tuple[FindingFigures, ...]
    averages: Mapping[str, Mapping[str, Estimate]]
    rules: Mapping[str, str]
    volumes: int
    patients: int
    repeats: int
    seed: int


@dataclass(frozen=True)
class ScoreRules:
    """How to score.

    Attributes:
        kind: what the scores are.
        rules: threshold rules that choose on the cases themselves, names in `thresholds.RULES`.
        subsets: findings that get a mean of their own, where all of them are scored, by name.
        repeats: resamplings of the intervals.
        seed: of the resampling.
    """

    kind: ScoreKind = "probability"
    rules: tuple[str, ...] = ("youden",)
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repeats: int = REPEATS
    seed: int = 0


def score(
    cases: PairedCases,
    rules: ScoreRules,
    separate: PairedCases | None = None,
    progress: ProgressCallback | None = None,
) -> Scores:
    """The figures of all findings with their intervals.

    Args:
        cases: what is scored.
        rules: how.
        separate: other patients' cases that thresholds may be chosen on.
        progress: told of every block of resamplings; may stop.

    Raises:
        InputError: if no finding has both classes, or the separate set shares patients.
        Cancelled: if `progress` answers False.
    """
    _check_classes(cases)
    thresholds = choose_thresholds(cases, rules, separate)
    own: list[Figures] = []
    averages: list[Mapping[str, Figures]] = []
    done = 0
    for weights in resampled_weights(cases.patients, rules.repeats, rules.seed):
        measured = _finding_figures(cases, weights, thresholds, probabilities_of(cases, rules.kind))
        own.append(measured[0])
        averages.append(_averages(cases, weights, measured, rules))
        done += len(weights)
        report(progress, "resampling patients", done, rules.repeats + 1)
    joined = {name: np.concatenate([block[name] for block in own], axis=1) for name in own[0]}
    return Scores(
        findings=_by_finding(cases, thresholds, joined),
        averages={
            kind: {name: estimate(np.concatenate([b[kind][name] for b in averages])) for name in averages[0][kind]}
            for kind in averages[0]
        },
        rules={rule: _chosen_on(rule) for rule in thresholds},
        volumes=len(cases.volumes),
        patients=len(np.unique(cases.patients)),
        repeats=rules.repeats,
        seed=rules.seed,
    )


def choose_thresholds(cases: PairedCases, rules: ScoreRules, separate: PairedCases | None) -> dict[str, np.ndarray]:
    """The threshold of each finding by rule, shape (finding,); NaN where a rule could not choose.

    Raises:
        InputError: if the separate set shares patients with the cases.
    """
    count = len(cases.findings)
    equal = equal_probability() if rules.kind == "probability" else equal_similarity()
    chosen = {EQUAL: np.full(count, equal)}
    for rule in rules.rules:
        name = "closest-corner" if rule == "closest-corner-grid" and rules.kind == "margin" else rule
        chosen[name] = np.array([RULES[name](*_known(cases, place)) for place in range(count)])
    if separate is not None:
        _check_separate(cases, separate)
        place_of = {finding: place for place, finding in enumerate(separate.findings)}
        for rule, choose in SEPARATE.items():
            chosen[rule] = np.array(
                [
                    choose(*_known(separate, place_of[finding])) if finding in place_of else np.nan
                    for finding in cases.findings
                ]
            )
    return chosen


def probabilities_of(cases: PairedCases, kind: ScoreKind) -> np.ndarray | None:
    """What calibration is measured on, shape (volume, finding); None where there are margins alone."""
    return cases.scores if kind == "probability" else cases.probabilities


def _finding_figures(
    cases: PairedCases, weights: np.ndarray, thresholds: Mapping[str, np.ndarray], probabilities: np.ndarray | None
) -> tuple[Figures, dict[str, list[Counts]], np.ndarray]:
    """Figures, shape (finding, repeat), counts by rule of findings with a threshold, positives, shape as figures."""
    figures: dict[str, list[np.ndarray]] = {}
    counts: dict[str, list[Counts]] = {rule: [] for rule in thresholds}
    positives = []
    for place in range(len(cases.findings)):
        known = cases.known[:, place]
        scores, truth = _known(cases, place)
        own = weights[:, known]
        positives.append(own @ truth.astype(np.float64))
        figures.setdefault("auc", []).append(weighted_auc(scores, truth, own))
        if probabilities is not None:
            sure = probabilities[known, place]
            figures.setdefault("ece", []).append(weighted_calibration_error(sure, truth, own))
            figures.setdefault("brier", []).append(weighted_brier_score(sure, truth, own))
        for rule, chosen in thresholds.items():
            called = count_calls(scores >= chosen[place], truth, own)
            unchosen = bool(np.isnan(chosen[place]))
            for name, figure in CALL_FIGURES.items():
                values = np.full(len(own), np.nan) if unchosen else figure(called)
                figures.setdefault(f"{rule}: {name}", []).append(values)
            if not unchosen:
                counts[rule].append(called)
    return {name: np.array(rows) for name, rows in figures.items()}, counts, np.array(positives)


def _averages(
    cases: PairedCases,
    weights: np.ndarray,
    measured: tuple[Figures, Mapping[str, list[Counts]], np.ndarray],
    rules: ScoreRules,
) -> dict[str, dict[str, np.ndarray]]:
    figures, counts, positives = measured
    averages = {"macro": {name: macro_average(values) for name, values in figures.items()}}
    for subset, names in rules.subsets.items():
        rows = [place for place, name in enumerate(cases.findings) if name in names]
        if len(rows) == len(names) < len(cases.findings):
            averages[f"macro, {subset}"] = {name: macro_average(values[rows]) for name, values in figures.items()}
    averages["weighted"] = {name: weighted_average(values, positives) for name, values in figures.items()}
    averages["micro"] = _pooled(cases, weights, probabilities_of(cases, rules.kind))
    for rule, own in counts.items():
        if own:
            total = added(own)
            averages["micro"] |= {f"{rule}: {name}": figure(total) for name, figure in CALL_FIGURES.items()}
            averages["micro"][f"{rule}: crg"] = crg_score(total)
    return averages


def _pooled(cases: PairedCases, weights: np.ndarray, probabilities: np.ndarray | None) -> dict[str, np.ndarray]:
    """Figures of all known cells together that need no threshold, the AUC in slices that keep memory small."""
    order = np.argsort(cases.scores[cases.known])  # once: sorting what is sorted takes no time in every slice
    scores, truth = cases.scores[cases.known][order], cases.truth[cases.known][order]
    volume = np.nonzero(cases.known)[0][order]
    step = max(1, weights.size // len(scores))
    slices = (weights[start : start + step, volume] for start in range(0, len(weights), step))
    figures = {"auc": np.concatenate([weighted_auc(scores, truth, some) for some in slices])}
    if probabilities is not None:
        error, brier = pooled_calibration(probabilities, cases.truth, cases.known, weights)
        figures |= {"ece": error, "brier": brier}
    return figures


def _by_finding(
    cases: PairedCases, thresholds: Mapping[str, np.ndarray], figures: Figures
) -> tuple[FindingFigures, ...]:
    rows = []
    for place, name in enumerate(cases.findings):
        _, truth = _known(cases, place)
        rows.append(
            FindingFigures(
                name=name,
                positives=int(truth.sum()),
                negatives=int((~truth).sum()),
                unlabelled=int((~cases.known[:, place]).sum()),
                filled=int(cases.filled[place]),
                thresholds={rule: float(chosen[place]) for rule, chosen in thresholds.items()},
                figures={figure: estimate(values[place]) for figure, values in figures.items()},
            )
        )
    return tuple(rows)


def _known(cases: PairedCases, place: int) -> tuple[np.ndarray, np.ndarray]:
    known = cases.known[:, place]
    return cases.scores[known, place], cases.truth[known, place]


def _chosen_on(rule: str) -> str:
    if rule == EQUAL:
        return "no labels"
    return "a separate set" if rule in SEPARATE else "the test set itself"


def _check_classes(cases: PairedCases) -> None:
    both = [(cases.truth & cases.known)[:, f].any() and (~cases.truth & cases.known)[:, f].any()
            for f in range(len(cases.findings))]  # fmt: skip
    if not any(both):
        msg = (
            f"Expected a finding that some volumes have and others have not, got none among {len(both)} findings and "
            f"{len(cases.volumes)} volumes. Score more volumes, or check the labels."
        )
        raise InputError(msg)


def _check_separate(cases: PairedCases, separate: PairedCases) -> None:
    shared = len(set(cases.patients.tolist()) & set(separate.patients.tolist()))
    if shared:
        msg = (
            f"Expected a separate set of other patients, got {shared} patients that the scored set has too. "
            "Choose thresholds on patients that are not scored."
        )
        raise InputError(msg)
