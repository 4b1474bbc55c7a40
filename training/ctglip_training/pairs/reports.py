"""Reading reports from a CSV, JSON-lines or Parquet file, columns named by the caller.

Guarded by training/tests/test_pairs_table.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ctglip_training.data.manifest import read_parquet
from CTGLIPLib.errors import InputError

STUDY_COLUMNS = ("study_id", "study", "VolumeName", "AccessionNo")
LONGEST_CELL = 1 << 26
"""Python's csv stops at 128 KB a cell; a manifest's report split by region can hold more."""
_EMPTY = frozenset({"", "not given", "not given.", "nan", "none", "n/a"})


@dataclass(frozen=True)
class ReportColumns:
    """Which columns hold what.

    Attributes:
        study: the study's id; empty for the first of `STUDY_COLUMNS` that the file has.
        report: the text; several are joined in this order (findings, impression).
        split: train, validation or test; need not exist.
        patient: the patient's id; need not exist.
    """

    study: str = ""
    report: tuple[str, ...] = ("report",)
    split: str = "split"
    patient: str = "patient"


@dataclass(frozen=True)
class Report:
    """One study's report; `split` and `patient` are empty where the file does not say."""

    study: str
    text: str
    split: str = ""
    patient: str = ""


def read_reports(path: Path, columns: ReportColumns) -> list[Report]:
    """The reports of a file, those without text left out, in the file's order.

    A manifest of `ctglip-train manifest` is such a file; where it names the report's file, that is read.

    Raises:
        InputError: if the file cannot be read, lacks a column, names a study twice, or has no text at all.
    """
    reports: list[Report] = []
    seen: set[str] = set()
    for row in _rows(path):
        study = row[_study_column(row, columns, path)]
        if study in seen:
            msg = f"Expected one report a study in {path}, got study {study!r} twice. Join its reports first."
            raise InputError(msg)
        seen.add(study)
        texts = (
            [row[name].strip() for name in columns.report] if not row.get("report_file") else [_file_text(row, path)]
        )
        text = "\n".join(text for text in texts if text.lower() not in _EMPTY)
        if text:
            reports.append(Report(study, text, row.get(columns.split, ""), row.get(columns.patient, "")))
    if not reports:
        msg = f"Expected reports in {path}, got {len(seen)} rows and no text. Is this the right file and column?"
        raise InputError(msg)
    return reports


def _study_column(row: Mapping[str, str], columns: ReportColumns, path: Path) -> str:
    """The column of the study's id, once all columns that are needed are known to be there."""
    known = [name for name in (columns.study,) if name] or [name for name in STUDY_COLUMNS if name in row]
    missing = [name for name in (*known[:1], *columns.report) if name not in row] or ([] if known else ["study_id"])
    if missing:
        msg = (
            f"Expected the columns {missing} in {path}, got {sorted(row)}. "
            "Name them with --study-column and --report-column."
        )
        raise InputError(msg)
    return known[0]


def _file_text(row: Mapping[str, str], manifest: Path) -> str:
    path = manifest.parent / (row.get("root") or ".") / row["report_file"]
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Could not read the report {path} that {manifest.name} names: {error}. Was the data moved?"
        raise InputError(msg) from error


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    if path.suffix.lower() == ".parquet":
        yield from read_parquet(path)
        return
    csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix.lower() == ".csv":
                for row in csv.DictReader(stream):
                    yield {name: value or "" for name, value in row.items() if name is not None}
                return
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _json_row(line, path, number)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"Could not read the reports {path}: {error}. Give a CSV or JSON-lines file in UTF-8."
        raise InputError(msg) from error


def _json_row(line: str, path: Path, number: int) -> dict[str, str]:
    try:
        row = json.loads(line)
    except ValueError as error:
        msg = (
            f"Expected a JSON object in line {number} of {path}: {error}. Files that do not end in .csv are JSON lines."
        )
        raise InputError(msg) from error
    if not isinstance(row, dict):
        msg = f"Expected a JSON object in line {number} of {path}, got {type(row).__name__}."
        raise InputError(msg)
    return {str(name): "" if value is None else str(value) for name, value in row.items()}
