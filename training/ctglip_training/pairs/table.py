"""The table of pairs: JSON lines, one for each sentence and organ of each study.

A report that an engine cannot read is named in the outcome and does not stop the others. Guarded by
training/tests/test_pairs_table.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from ctglip_training.pairs.engine import OrganSentence, PairEngine, ReportError
from ctglip_training.pairs.reports import Report
from CTGLIPLib.errors import InputError
from CTGLIPLib.files import whole_file
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.progress import report as tell


@dataclass(frozen=True)
class PairRow:
    """One line of the table: what an engine read, and of which study."""

    study: str
    split: str
    patient: str
    engine: str
    said: OrganSentence


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        studies: how many reports were read.
        pairs: how many lines were written.
        abnormal: how many of them are not normal.
        failed: study -> why it could not be read.
    """

    studies: int
    pairs: int
    abnormal: int
    failed: dict[str, str]


def write_pairs(
    reports: Sequence[Report],
    engine: PairEngine,
    out: Path,
    progress: ProgressCallback | None = None,
    workers: int = 1,
) -> Outcome:
    """Read all reports and write the table whole.

    Args:
        reports: of studies that are named once.
        engine: what reads them; called from several threads where `workers` is more than one.
        out: the table.
        progress: told after every report.
        workers: reports that are read at the same time; more than one helps an engine that waits for a network.

    Raises:
        OutputError: if the table cannot be written.
        Cancelled: if `progress` answers False.
    """
    pairs = abnormal = 0
    failed: dict[str, str] = {}
    with whole_file(out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for done, (report, found) in enumerate(_read_all(reports, engine, workers), start=1):
            if isinstance(found, ReportError):
                failed[report.study] = str(found)
            else:
                for said in found:
                    row = PairRow(report.study, report.split, report.patient, engine.name, said)
                    stream.write(json.dumps(_flat(row), ensure_ascii=False) + "\n")
                    pairs, abnormal = pairs + 1, abnormal + (not said.normal)
            tell(progress, "reading reports", done, len(reports))
    return Outcome(len(reports) - len(failed), pairs, abnormal, failed)


def write_failures(failed: dict[str, str], out: Path) -> None:
    """Write which reports could not be read, and why, as CSV.

    Raises:
        OutputError: if it cannot be written.
    """
    with whole_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("study", "reason"), *failed.items()])


def read_pairs(path: Path) -> list[PairRow]:
    """The lines of a table.

    Raises:
        InputError: if it cannot be read or is not such a table.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [_row(json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"Expected a table of pairs at {path}, got {error!r}. Make one with `ctglip-train pairs`."
        raise InputError(msg) from error


def _read_all(
    reports: Sequence[Report], engine: PairEngine, workers: int
) -> Iterator[tuple[Report, list[OrganSentence] | ReportError]]:
    def read(report: Report) -> list[OrganSentence] | ReportError:
        try:
            return engine(report.text)
        except ReportError as error:
            return error

    if workers <= 1:
        yield from ((report, read(report)) for report in reports)
        return
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        yield from zip(reports, pool.map(read, reports), strict=True)


def _flat(row: PairRow) -> dict[str, object]:
    fields = {"study": row.study, "split": row.split, "patient": row.patient, "engine": row.engine}
    return {**fields, **asdict(row.said)}


def _row(fields: dict[str, object]) -> PairRow:
    said = dict(fields)
    about = {name: str(said.pop(name)) for name in ("study", "split", "patient", "engine")}
    organs = said.pop("organs")
    if not isinstance(organs, list):
        msg = f"organs: expected a list, got {organs!r}"
        raise TypeError(msg)
    if not isinstance(said.get("sentence"), str) or not isinstance(said.get("normal"), bool):
        msg = "sentence, normal: expected a text, and true or false"
        raise TypeError(msg)
    return PairRow(**about, said=OrganSentence(organs=tuple(organs), **said))  # pyright: ignore[reportArgumentType]
