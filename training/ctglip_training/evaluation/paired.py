"""Scores and labels of the same volumes, by the rules of a protocol.

Whatever is left out or filled in is counted and told. Messages name rows, findings and counts, never volumes.
Guard: test_paired.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ctglip_training.evaluation.protocols import (
    BOTH_CALCIFICATIONS,
    CALCIFICATIONS,
    RAD_CHESTCT_MAPPINGS,
    Protocol,
    patient_of,
)
from ctglip_training.evaluation.tables import FIRST_ROW, Table, find_column, plain_name, read_table
from CTGLIPLib.errors import ConfigError, InputError

ScoreKind = Literal["probability", "margin"]
ROUNDING = 1e-6
"""What a softmax in single precision may be beyond 0 or 1; it is cut off."""


@dataclass(frozen=True)
class PairRules:
    """What the caller wants beyond the protocol.

    Attributes:
        kind: probabilities lie in 0..1; margins are differences of similarity, or any other number.
        allow_missing: score the findings that both tables have, instead of refusing.
        patient_column: column of the labels that names the patient; None takes the protocol's rule.
        mapping: of Rad-ChestCT's labels, see `RAD_CHESTCT_MAPPINGS`.
    """

    kind: ScoreKind = "probability"
    allow_missing: bool = False
    patient_column: str | None = None
    mapping: str = "standard"


@dataclass(frozen=True, eq=False)
class PairedCases:
    """Volumes that both tables have.

    Attributes:
        findings: what is scored.
        volumes: without file endings.
        patients: of each volume.
        scores: shape (volume, finding).
        truth: bool, shape (volume, finding).
        known: bool, shape (volume, finding): the label says yes or no.
        filled: scores of each finding that were missing and count as the lowest.
        only_predicted: volumes without labels.
        only_labelled: volumes without scores.
        left_out: findings of the protocol that are not scored.
        probabilities: of the same cells where `scores` are margins; None where there are none, or `scores` are them.
    """

    findings: tuple[str, ...]
    volumes: tuple[str, ...]
    patients: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    known: np.ndarray
    filled: np.ndarray
    only_predicted: tuple[str, ...]
    only_labelled: tuple[str, ...]
    left_out: tuple[str, ...]
    probabilities: np.ndarray | None = None


def read_pair(predictions: Path, labels: Path, protocol: Protocol, rules: PairRules) -> PairedCases:
    """Scores and labels of two CSV files.

    Raises:
        InputError: if a table is broken, the tables share no volume, a finding is missing from one of them, a label is
            not 0 or 1, or a score is missing or outside 0..1 where the protocol or `rules` do not allow it.
        ConfigError: if the mapping is unknown.
    """
    scored, labelled = (read_table(path, protocol.volume_columns) for path in (predictions, labels))
    wanted = _wanted(labelled, protocol, rules)
    values = _score_columns(scored, wanted)
    asked = [finding for finding in wanted if finding in values or not rules.allow_missing]
    columns = _label_columns(labelled, asked, protocol, rules)
    findings = tuple(finding for finding in asked if finding in values and finding in columns)
    left_out = tuple(finding for finding in wanted if finding not in findings)
    lacking = {
        str(scored.path): [finding for finding in wanted if finding not in values],
        str(labelled.path): [finding for finding in asked if finding not in columns],
    }
    _check_findings(findings, left_out, lacking, rules)
    place = {name: row for row, name in enumerate(labelled.volumes)}
    rows = np.array([row for row, name in enumerate(scored.volumes) if name in place], dtype=int)
    _check_overlap(len(rows), scored, labelled)
    volumes = tuple(scored.volumes[row] for row in rows)
    label_rows = np.array([place[name] for name in volumes])
    truth, known = _truth(np.column_stack([columns[f] for f in findings]), findings, labelled, protocol)
    scores = np.column_stack([values[f] for f in findings])
    scores, filled = _scores(scores, rows, findings, (scored, protocol, rules))
    return PairedCases(
        findings=findings,
        volumes=volumes,
        patients=_patients(volumes, label_rows, labelled, (protocol, rules)),
        scores=scores,
        truth=truth[label_rows],
        known=known[label_rows],
        filled=filled,
        only_predicted=tuple(name for name in scored.volumes if name not in place),
        only_labelled=tuple(sorted(place.keys() - set(scored.volumes))),
        left_out=left_out,
    )


def _wanted(labelled: Table, protocol: Protocol, rules: PairRules) -> tuple[str, ...]:
    """The findings that the protocol scores, or else the labels' columns."""
    if protocol.name == "rad-chestct":
        return tuple(_mapping(rules.mapping))
    return protocol.findings or tuple(name for name in labelled.columns if name and name != rules.patient_column)


def _label_columns(
    table: Table, findings: Sequence[str], protocol: Protocol, rules: PairRules
) -> dict[str, np.ndarray]:
    """The label of every row by finding, for the findings that the table has."""
    if protocol.name == "rad-chestct":
        labels = _rad_chestct_labels(table, _mapping(rules.mapping))
        return {finding: labels[finding] for finding in findings if finding in labels}
    found = {finding: find_column(table, finding) for finding in findings}
    return {finding: table.numbers(column) for finding, column in found.items() if column is not None}


def _mapping(name: str) -> Mapping[str, tuple[str, ...]]:
    if name not in RAD_CHESTCT_MAPPINGS:
        msg = f"Expected one of the mappings {', '.join(RAD_CHESTCT_MAPPINGS)} of Rad-ChestCT, got {name!r}."
        raise ConfigError(msg)
    return RAD_CHESTCT_MAPPINGS[name]


def _rad_chestct_labels(table: Table, mapping: Mapping[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Labels by CT-RATE's names, of a table as published, of one merged over locations, or of one mapped already."""
    by_abnormality: dict[str, list[str]] = {}
    for column in table.columns:
        by_abnormality.setdefault(plain_name(column.split("*")[0]), []).append(column)
    labels = {}
    for finding, abnormalities in mapping.items():
        own = CALCIFICATIONS if finding == BOTH_CALCIFICATIONS else (finding,)
        names = [name for name in abnormalities if name in by_abnormality]
        if not names:
            names = [plain_name(name) for name in own if plain_name(name) in by_abnormality]
        columns = [column for name in names for column in by_abnormality[name]]
        if columns:
            labels[finding] = np.max([table.numbers(column) for column in columns], axis=0)
    return labels


def _score_columns(table: Table, findings: Sequence[str]) -> dict[str, np.ndarray]:
    """The score of every row by finding, for the findings that the table has."""
    found = {}
    for finding in findings:
        own = (finding, *CALCIFICATIONS) if finding == BOTH_CALCIFICATIONS else (finding,)
        columns = [column for column in (find_column(table, name) for name in own) if column is not None]
        if columns:
            found[finding] = np.fmax.reduce([table.numbers(column) for column in columns])
    return found


def _truth(
    labels: np.ndarray, findings: Sequence[str], table: Table, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray]:
    known = (labels == 0) | (labels == 1)
    unknown = np.isnan(labels) | (labels == -1)
    wrong = ~known & ~(unknown & protocol.ignores_missing_labels)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        value = "nothing" if np.isnan(labels[row, column]) else f"{labels[row, column]:g}"
        allowed = "0, 1, -1 or nothing" if protocol.ignores_missing_labels else "0 or 1"
        msg = (
            f"Expected the label {allowed} for {findings[column]} in row {row + FIRST_ROW} of {table.path}, got "
            f"{value} ({int(wrong.sum())} such cells). Correct them; where -1 or nothing means unknown, give "
            "--missing-labels."
        )
        raise InputError(msg)
    return labels == 1, known


def _scores(
    scores: np.ndarray, rows: np.ndarray, findings: Sequence[str], how: tuple[Table, Protocol, PairRules]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the shared volumes, missing ones filled, and how many were filled in each finding."""
    table, protocol, rules = how
    scores = scores[rows]
    missing = np.isnan(scores)
    sure = rules.kind == "probability"
    outside = ~missing & (np.abs(scores - 0.5) > 0.5 + ROUNDING if sure else np.isinf(scores))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        wanted = "a probability of 0 to 1" if sure else "a finite number"
        msg = (
            f"Expected {wanted} for {findings[column]} in row {rows[row] + FIRST_ROW} of {table.path}, got "
            f"{scores[row, column]:g} ({int(outside.sum())} such cells). Give --scores margin for similarities."
        )
        raise InputError(msg)
    if missing.any() and not protocol.lowest_if_missing:
        row, column = np.argwhere(missing)[0]
        msg = (
            f"Expected a score for {findings[column]} in row {rows[row] + FIRST_ROW} of {table.path}, got nothing "
            f"({int(missing.sum())} such cells). Fill them in or remove the rows."
        )
        raise InputError(msg)
    if missing.all(axis=0).any():
        msg = (
            f"Expected scores for {findings[int(missing.all(axis=0).argmax())]} in {table.path}, got none for any of "
            "the volumes with labels. Remove the column and give --allow-missing."
        )
        raise InputError(msg)
    scores = np.clip(scores, 0.0, 1.0) if sure else scores
    lowest = np.zeros(scores.shape[1]) if sure else np.nanmin(scores, axis=0)
    return np.where(missing, lowest, scores), missing.sum(axis=0)


def _patients(
    volumes: Sequence[str], label_rows: np.ndarray, table: Table, how: tuple[Protocol, PairRules]
) -> np.ndarray:
    protocol, rules = how
    if rules.patient_column is None:
        return np.array([patient_of(name, protocol) for name in volumes])
    if rules.patient_column not in table.columns:
        msg = (
            f"Expected a column of patients {rules.patient_column!r} in {table.path}, got {', '.join(table.columns)}. "
            "Name one of these with --patient-column."
        )
        raise InputError(msg)
    return np.array(table.columns[rules.patient_column])[label_rows]


def _check_findings(
    findings: Sequence[str], left_out: Sequence[str], lacking: Mapping[str, Sequence[str]], rules: PairRules
) -> None:
    if findings and (rules.allow_missing or not left_out):
        return
    where = "; ".join(f"{path} lacks {', '.join(names)}" for path, names in lacking.items() if names)
    advice = (
        "Add the columns, or give --allow-missing to score the others." if findings else "Name columns as findings."
    )
    msg = f"Expected {len(findings) + len(left_out)} findings in both tables, got {len(findings)}: {where}. {advice}"
    raise InputError(msg)


def _check_overlap(shared: int, scored: Table, labelled: Table) -> None:
    if shared == 0:
        msg = (
            f"Expected volumes that both tables have, got none: {len(scored.volumes)} in {scored.path}, "
            f"{len(labelled.volumes)} in {labelled.path}. Compare the names in the two columns of volumes."
        )
        raise InputError(msg)
