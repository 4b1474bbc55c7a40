"""What a batch leaves on disk: each study's record (batch.json), and the tables of all studies.

Conventions:
- a study counts as done only when its record says so: it is written last, whole, and names the size of every file that
  belongs to it, so that an interruption at any moment leaves nothing that counts (test_batch: `a study that was
  interrupted at any file is answered anew`);
- the record holds names and sizes, no paths of the machine.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from CTGLIPLib.batch_studies import BatchStudy
from CTGLIPLib.errors import OutputError
from CTGLIPLib.files import write_whole_text
from CTGLIPLib.label_names import image_stem, lists_beside
from CTGLIPLib.result_files import csv_cell
from CTGLIPLib.results import NOTICE, QueryResult

logger = logging.getLogger(__name__)

RECORD = "batch.json"
RECORD_VERSION = 1
SUMMARY, FAILURES = "summary.csv", "failures.csv"
SUMMARY_COLUMNS = ("study", "state", "question", "answer", "best_organ", "score", "threshold", "error", "notice")
FAILURE_COLUMNS = ("study", "error", "message")
OURS = re.compile(r"findings\.(json|csv)|report\.html|\d\d+_.*\.(png|nii\.gz)|organs\.(nii\.gz|json|seg\.nrrd)")
"""The files that a batch writes into a study's folder."""
DETACHED = (".nhdr", ".mhd")

State = Literal["started", "done", "failed"]
Row = dict[str, object]


@dataclass(frozen=True)
class FoundOrgans:
    """The organs that TotalSegmentator found, kept so that further questions do not need it again."""

    file: str
    source: str
    vocabulary: str


@dataclass(frozen=True)
class StudyRecord:
    """What is known of one study of a batch.

    Attributes:
        state: whether it was answered; "started" where it was interrupted after its organs were found.
        asked: all that the results depend on: questions, model, content of the input, ...
        extras: which of "pictures", "heatmaps", "report" were written.
        files: size of each file that belongs to it.
        rows: its rows of the summary.
        error: class of the error.
        message: the error's message.
        organs: the organs that were found for it.
    """

    state: State
    asked: Mapping[str, object]
    extras: tuple[str, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    error: str = ""
    message: str = ""
    organs: FoundOrgans | None = None


def read_record(folder: Path) -> StudyRecord | None:
    """The record of a study, or None where there is none that can be used."""
    path = folder / RECORD
    try:
        return _record(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is no record of a batch (%s); its study is answered anew.", path, error)
        return None


def _record(facts: dict[str, Any]) -> StudyRecord:
    """The record of a file's content.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if it is no record, or one of another version.
    """
    names = [field.name for field in fields(StudyRecord)]
    values = {name: facts[name] for name in names}
    values |= {"extras": tuple(values["extras"]), "rows": tuple(values["rows"])}
    values["organs"] = FoundOrgans(**values["organs"]) if values["organs"] else None
    known = facts["schema_version"] == RECORD_VERSION and values["state"] in get_args(State)
    if not known or not all(OURS.fullmatch(name) for name in values["files"].keys()):  # noqa: SIM118 - a list has none
        msg = f"expected a record of version {RECORD_VERSION}"
        raise ValueError(msg)
    return StudyRecord(**values)


def write_record(record: StudyRecord, folder: Path) -> None:
    """Write a study's record, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    facts = {"schema_version": RECORD_VERSION, "notice": NOTICE, **asdict(record)}
    write_whole_text(folder / RECORD, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def is_whole(record: StudyRecord, folder: Path) -> bool:
    """Whether every file of a study is there with its size."""
    return all(_size(folder / name) == size for name, size in record.files.items())


def sizes_of(paths: Iterable[Path]) -> dict[str, int]:
    """The size of each file, by its name."""
    return {path.name: path.stat().st_size for path in paths}


def clear(folder: Path, keep: Sequence[str] = ()) -> None:
    """Remove what an earlier run wrote for a study, its record first, so that nothing of it counts any more.

    Raises:
        OutputError: if it cannot be removed.
    """
    try:
        (folder / RECORD).unlink(missing_ok=True)
        for path in sorted(folder.glob("*")):
            if OURS.fullmatch(path.name) and path.name not in keep:
                path.unlink()
    except OSError as error:
        msg = f"{folder} could not be cleared of an earlier run: {error.strerror or error}. Choose another --out."
        raise OutputError(msg) from error


def inputs_sha256(study: BatchStudy, out: Path) -> str:
    """Hash of the names, sizes and times of change of a study's files, those in `out` left out.

    A file that cannot be read counts as missing: reading it then says why.
    """
    digest = hashlib.sha256(repr((study.problem, study.segmentation is None)).encode())
    for path in _input_files(study):
        if path.is_relative_to(out):
            continue
        try:
            facts = path.stat()
        except OSError:
            continue
        digest.update(f"{path.name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def summary_rows(result: QueryResult) -> tuple[Row, ...]:
    """One row for each question of a study."""
    rows: list[Row] = []
    for answer in result.queries:
        best = answer.best
        rows.append(
            {
                "question": answer.text,
                "answer": answer.answer,
                "best_organ": best.organ if best else None,
                "score": best.score if best else None,
                "threshold": answer.threshold,
            }
        )
    return tuple(rows)


def failed_rows(texts: Sequence[str], message: str) -> tuple[Row, ...]:
    """One row for each question of a study that failed."""
    return tuple({"question": text, "error": message} for text in texts)


def write_tables(records: Mapping[str, StudyRecord], out: Path) -> None:
    """Write summary.csv and failures.csv of the studies so far, each whole or not at all.

    Raises:
        OutputError: if they cannot be written.
    """
    told = [
        {"study": name, "state": record.state, "notice": NOTICE} | row
        for name, record in records.items()
        for row in record.rows
    ]
    _write_table(out / SUMMARY, SUMMARY_COLUMNS, told)
    failures: list[Row] = [
        {"study": name, "error": record.error, "message": record.message}
        for name, record in records.items()
        if record.state == "failed"
    ]
    _write_table(out / FAILURES, FAILURE_COLUMNS, failures)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    write_whole_text(path, text.getvalue())


def _input_files(study: BatchStudy) -> list[Path]:
    """Every file that decides about a study's results, in a fixed order."""
    given = [path for path in (study.source, study.segmentation, *study.lists) if path]
    files: list[Path] = []
    for path in given:
        files += sorted(path.rglob("*")) if path.is_dir() else [path]
        if path.suffix.lower() in DETACHED:
            files += sorted(path.parent.glob(f"{image_stem(path)}.*"))
    if study.segmentation and study.segmentation.is_file():
        files += lists_beside(study.segmentation)
    return list(dict.fromkeys(file for file in files if file.is_file()))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
