"""Which names organs were given: accuracy of each organ with its interval, and who was taken for whom.

Guard: test_naming.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ctglip_training.evaluate import OrganCase
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate, resampled_weights
from ctglip_training.evaluation.zero_shot import Answers


@dataclass(frozen=True)
class OrganFigures:
    """Recognition of one organ over the patients that have it.

    Attributes:
        organ: its name.
        cases: how many.
        top1: share that is named first.
        top5: share that is among the first five names.
        taken_for: names that came first, the commonest first, and how often.
    """

    organ: str
    cases: int
    top1: Estimate
    top5: Estimate
    taken_for: tuple[tuple[str, int], ...]


def organ_figures(answers: Mapping[str, Answers], repeats: int = REPEATS, seed: int = 0) -> tuple[OrganFigures, ...]:
    """The figures of every organ, in the order of their names."""
    grouped: dict[str, list[tuple[str, OrganCase]]] = {}
    for subject, own in answers.items():
        for case in own.organs:
            grouped.setdefault(case.organ, []).append((f"{subject}/{case.patient}", case))
    return tuple(_figures(organ, cases, repeats, seed) for organ, cases in sorted(grouped.items()))


def _figures(organ: str, cases: list[tuple[str, OrganCase]], repeats: int, seed: int) -> OrganFigures:
    first = np.array([case.best[0] == organ for _, case in cases], dtype=np.float64)
    five = np.array([organ in case.best for _, case in cases], dtype=np.float64)
    patients = np.array([patient for patient, _ in cases])
    blocks = [
        (w @ np.column_stack([first, five])).T / w.sum(axis=1) for w in resampled_weights(patients, repeats, seed)
    ]
    top1, top5 = np.concatenate(blocks, axis=1)
    named = Counter(case.best[0] for _, case in cases)
    return OrganFigures(organ, len(cases), estimate(top1), estimate(top5), tuple(named.most_common()))


def confusion(figures: tuple[OrganFigures, ...]) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Organs, names that were given, and the share of each organ's cases that got each name, shape (organ, given).

    The organs' own names come first among those given, so that what is right lies on the diagonal.
    """
    organs = tuple(figure.organ for figure in figures)
    others = sorted({name for figure in figures for name, _ in figure.taken_for} - set(organs))
    given = (*organs, *others)
    shares = np.zeros((len(organs), len(given)))
    for row, figure in enumerate(figures):
        for name, count in figure.taken_for:
            shares[row, given.index(name)] = count / figure.cases
    return organs, given, shares
