"""Table 2: segmentation and detection of every tumour by initialisation, with intervals over patients.

Conventions (test_finetune_table.py):
- Dice, HD95 and NSD are over patients who have the tumour; those without it are detection's;
- the score of detection is the predicted volume; a tumour that every patient has, or none, has no AUC;
- initialisations are compared on the same resampled patients, case by case.

Source: Lin et al. 2024, arXiv:2404.15272v4, section 2.4, A.1 and Table 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctglip_training.evaluation.classification import weighted_auc, weighted_average
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate, resampled_weights
from ctglip_training.finetune.measure import TumorFigures
from CTGLIPLib.errors import InputError

MEAN = "mean"
METRICS = ("dice", "hd95_mm", "nsd")


@dataclass(frozen=True)
class Row:
    """What one initialisation reached.

    Attributes:
        start: its name.
        figures: metric -> tumour or "mean" -> figure; the metrics are dice, hd95_mm, nsd, auc.
        missed: tumours that were not found at all.
        invented: tumours found in patients who have none.
    """

    start: str
    figures: dict[str, dict[str, Estimate]]
    missed: int
    invented: int


@dataclass(frozen=True)
class Table:
    """All of it.

    Attributes:
        tumors: the tumour classes.
        patients: how many were left out and measured.
        cases: how many cases of theirs.
        with_tumor: cases that have each tumour.
        rows: one for each initialisation.
        ahead: (initialisation, another) -> by how much its Dice is larger, tumour or "mean" -> figure.
    """

    tumors: tuple[str, ...]
    patients: int
    cases: int
    with_tumor: dict[str, int]
    rows: tuple[Row, ...]
    ahead: dict[tuple[str, str], dict[str, Estimate]]


def make_table(found: Sequence[TumorFigures], repeats: int = REPEATS, seed: int = 0) -> Table:
    """The table of all figures.

    Args:
        found: every tumour of every left-out case, the same cases for every initialisation.
        repeats: resamplings of the intervals.
        seed: of the resampling.

    Raises:
        InputError: if there is nothing, or initialisations were measured on different cases.
    """
    starts = tuple(dict.fromkeys(row.start for row in found))
    tumors = tuple(dict.fromkeys(row.tumor for row in found))
    by_start = {start: {(r.case, r.tumor): r for r in found if r.start == start} for start in starts}
    cases = sorted({row.case for row in found})
    asked = {(case, tumor) for case in cases for tumor in tumors}
    if not found or any(set(rows) != asked for rows in by_start.values()):
        msg = "Expected every initialisation to be measured on the same cases. Run the command again to finish it."
        raise InputError(msg)
    patient_of = {row.case: row.patient for row in found}
    patients = np.array([patient_of[case] for case in cases])
    weights = np.concatenate(list(resampled_weights(patients, repeats, seed)))
    values = {start: _values(rows, cases, tumors) for start, rows in by_start.items()}
    pairs = [(a, b) for place, b in enumerate(starts) for a in starts[place + 1 :]]
    true = next(iter(values.values()))["true_mm3"]
    return Table(
        tumors,
        len(set(patients)),
        len(cases),
        dict(zip(tumors, (true > 0).sum(axis=0).tolist(), strict=True)),
        tuple(_row(start, values[start], tumors, weights) for start in starts),
        {(a, b): _means(values[a]["dice"] - values[b]["dice"], tumors, weights) for a, b in pairs},
    )


def _values(
    rows: dict[tuple[str, str], TumorFigures], cases: Sequence[str], tumors: Sequence[str]
) -> dict[str, np.ndarray]:
    """Arrays of shape (case, tumour): the metrics, NaN without the tumour, and both volumes."""
    columns = (*METRICS, "predicted_mm3", "true_mm3")
    arrays = {
        name: np.array([[getattr(rows[case, tumor].figures, name) for tumor in tumors] for case in cases])
        for name in columns
    }
    for name in METRICS:
        arrays[name][(arrays["true_mm3"] == 0) | np.isinf(arrays[name])] = math.nan
    return arrays


def _row(start: str, values: dict[str, np.ndarray], tumors: Sequence[str], weights: np.ndarray) -> Row:
    has, volume = values["true_mm3"] > 0, values["predicted_mm3"]
    figures = {name: _means(values[name], tumors, weights) for name in METRICS}
    areas = np.stack([weighted_auc(volume[:, n], has[:, n], weights) for n in range(len(tumors))])
    figures["auc"] = _estimates(areas, tumors)
    missed, invented = (volume == 0) & has, (volume > 0) & ~has
    return Row(start, figures, int(missed.sum()), int(invented.sum()))


def _means(values: np.ndarray, tumors: Sequence[str], weights: np.ndarray) -> dict[str, Estimate]:
    """Mean over cases of each tumour, and the mean of those; `values` has shape (case, tumour)."""
    over_cases = np.stack([weighted_average(np.tile(column[:, None], len(weights)), weights.T) for column in values.T])
    return _estimates(over_cases, tumors)


def _estimates(by_tumor: np.ndarray, tumors: Sequence[str]) -> dict[str, Estimate]:
    """Shape (tumour, repeat) as figures, with the mean of the tumours that can be measured."""
    measurable = ~np.isnan(by_tumor[:, :1])
    mean = weighted_average(by_tumor, np.broadcast_to(measurable.astype(float), by_tumor.shape))
    return {name: estimate(row) for name, row in zip(tumors, by_tumor, strict=True)} | {MEAN: estimate(mean)}
