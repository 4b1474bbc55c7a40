"""Checking a manifest: every study, then all of them against each other.

What was found of a study is kept in a journal beside the manifest, so that a stopped check goes on where it was, and a
second one reads only what has changed (test_data_check: `a stopped check goes on`).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from ctglip_training.data.check_manifest import compare_studies
from ctglip_training.data.check_study import Examined, Problem, examine
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.splits import counts
from ctglip_training.data.study import Study
from CTGLIPLib.errors import OutputError
from CTGLIPLib.files import whole_file
from CTGLIPLib.progress import ProgressCallback, report

JOURNAL_VERSION = 1
WIDEST_MESSAGE = 140


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        checked: number of studies looked at.
        excluded: number of studies that their makers exclude; they are not looked at.
        splits: split -> (studies, patients).
        problems: errors first.
        header_only: whether voxels were left unread.
    """

    checked: int
    excluded: int
    splits: dict[str, tuple[int, int]]
    problems: tuple[Problem, ...]
    header_only: bool

    @property
    def errors(self) -> int:
        """Number of problems that make the check fail."""
        return sum(problem.severity == "error" for problem in self.problems)

    def to_json(self) -> str:
        """The result as JSON."""
        facts = {"schema_version": JOURNAL_VERSION, "errors": self.errors, **asdict(self)}
        return json.dumps(facts, indent=1, ensure_ascii=False)

    def to_table(self) -> str:
        """The result as text: a line a problem, then what was looked at."""
        lines = [
            f"{problem.severity:8}{problem.study or '(all)':24} {problem.kind:12} {_one_line(problem.message)}"
            for problem in self.problems
        ]
        parts = ", ".join(
            f"{name} {studies:,} ({people:,} patients)" for name, (studies, people) in self.splits.items()
        )
        how = " by their headers alone" if self.header_only else ""
        left_out = f", {self.excluded:,} excluded by the data set's makers" if self.excluded else ""
        warnings = len(self.problems) - self.errors
        lines.append(
            f"{self.checked:,} studies checked{how}{left_out}: {parts}. {self.errors} errors, {warnings} warnings."
        )
        return "\n".join(lines)


def check_manifest(
    manifest: Manifest,
    journal: Path,
    header_only: bool = False,
    threads: int = 1,
    progress: ProgressCallback | None = None,
) -> CheckResult:
    """What is wrong with the studies of a manifest.

    Args:
        manifest: the manifest.
        journal: file of what was found so far; made where it does not exist.
        header_only: leave voxels unread: no intensities, no copies, no organs.
        threads: studies to read at once; each needs memory for a whole volume.
        progress: told after each study; may stop the check, which keeps what was found.

    Raises:
        Cancelled: if `progress` says so.
        OutputError: if the journal cannot be written.
    """
    studies = manifest.usable
    keys = {study.id: _fingerprint(manifest, study, header_only) for study in studies}
    known = _read_journal(journal)
    found = {study.id: known[keys[study.id]] for study in studies if keys[study.id] in known}
    todo = [study for study in studies if study.id not in found]
    keeper = _Journal(journal)

    def one(study: Study) -> Examined:
        examined = examine(manifest, study, header_only)
        keeper.add(keys[study.id], examined)
        return examined

    found |= _run(one, todo, threads, progress)
    contents = {name: examined.content for name, examined in found.items()}
    problems = [problem for study in studies for problem in found[study.id].problems]
    problems += compare_studies(studies, contents)
    ordered = tuple(sorted(problems, key=lambda problem: problem.severity != "error"))
    return CheckResult(len(studies), len(manifest.studies) - len(studies), counts(studies), ordered, header_only)


def write_check(result: CheckResult, path: Path) -> None:
    """Write the result as JSON, wholly or not at all.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    with whole_file(path) as temporary:
        temporary.write_text(result.to_json(), encoding="utf-8")


def _run(
    one: Callable[[Study], Examined], todo: Sequence[Study], threads: int, progress: ProgressCallback | None
) -> dict[str, Examined]:
    found: dict[str, Examined] = {}
    pool = ThreadPoolExecutor(max_workers=max(1, threads))
    try:
        for done, (study, examined) in enumerate(zip(todo, pool.map(one, todo), strict=True), start=1):
            found[study.id] = examined
            report(progress, "checking studies", done, len(todo))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _fingerprint(manifest: Manifest, study: Study, header_only: bool) -> str:
    """A hash of all that a study's examination depends on: its row, and its files' sizes and times."""
    row = repr((study, header_only, JOURNAL_VERSION))
    marks = [file_marks(manifest.path(place)) for place in (study.volume, study.masks, study.report_file) if place]
    return sha256(f"{row}\n{marks}".encode()).hexdigest()


def file_marks(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a file, or of the files in a folder."""
    try:
        if path.is_dir():
            entries = [(entry.name, entry.stat()) for entry in os.scandir(path)]
        else:
            entries = [(path.name, path.stat())]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in entries))


class _Journal:
    """The file that what was found is added to, a line a study, from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()

    def add(self, key: str, examined: Examined) -> None:
        line = json.dumps({"key": key, **asdict(examined)}, ensure_ascii=False)
        try:
            with self.lock, self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            msg = f"Could not write {self.path}: {error.strerror}. Free space or choose a folder that you may write to."
            raise OutputError(msg) from error


def _read_journal(path: Path) -> dict[str, Examined]:
    """What was found so far; a line that is broken off is passed over, and its study examined again."""
    found: dict[str, Examined] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for line in lines:
        try:
            facts = json.loads(line)
            problems = tuple(Problem(**problem) for problem in facts["problems"])
            found[facts["key"]] = Examined(problems, facts["content"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= WIDEST_MESSAGE else line[: WIDEST_MESSAGE - 3] + "..."
