"""What is wrong between the studies of a manifest: copies, patients in two splits, missing masks and reports.

Messages name studies, never patients (test_data_check: `patients are not named`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from ctglip_training.data.check_study import Problem
from ctglip_training.data.splits import patients_in_two_splits
from ctglip_training.data.study import Study

SHOWN = 3
SHORTEST_REPORT = 200
"""Characters; shorter reports ("Normal examination.") may well be the same of two patients."""


def compare_studies(studies: Sequence[Study], contents: Mapping[str, str]) -> list[Problem]:
    """The problems between studies.

    Args:
        studies: the studies that are used.
        contents: id -> hash of the voxels, of the studies whose voxels were read.
    """
    return [
        *_leaks(studies),
        *_copies(studies, contents),
        *_copied_reports(studies),
        *_shared_files(studies),
        *_missing(studies, "masks", "Make them with `ctglip-train masks`.", lambda study: bool(study.masks)),
        *_missing(studies, "report", "Without one a study can train segmentation only.", _has_report),
    ]


def _has_report(study: Study) -> bool:
    return bool(study.report.strip() or study.report_file or study.regions)


def _leaks(studies: Sequence[Study]) -> Iterable[Problem]:
    for splits in patients_in_two_splits(studies).values():
        parts = "; ".join(f"{split}: {_listed(ids)}" for split, ids in splits.items())
        first = next(iter(splits.values()))[0]
        yield Problem(first, "split", "error", f"One patient is in {len(splits)} splits ({parts}). Move all to one.")


def _copies(studies: Sequence[Study], contents: Mapping[str, str]) -> Iterable[Problem]:
    for copies in _groups(studies, lambda study: contents.get(study.id, "")):
        names = _listed([study.id for study in copies[1:]])
        splits = {study.split for study in copies}
        leak = f", and they are in {' and '.join(sorted(filter(None, splits)))}" if len(splits) > 1 else ""
        message = f"The same voxels as {names}{leak}. Keep one of them."
        yield Problem(copies[0].id, "duplicate", "error", message)


def _copied_reports(studies: Sequence[Study]) -> Iterable[Problem]:
    for copies in _groups(studies, _report_key):
        if len({study.split for study in copies}) > 1 and len({study.patient for study in copies}) > 1:
            names = _listed([study.id for study in copies[1:]])
            message = f"The same report as {names}, of another patient in another split. Are they one study?"
            yield Problem(copies[0].id, "duplicate", "warning", message)


def _shared_files(studies: Sequence[Study]) -> Iterable[Problem]:
    for copies in _groups(studies, lambda study: f"{study.volume}\n{study.series}"):
        names = _listed([study.id for study in copies[1:]])
        yield Problem(copies[0].id, "duplicate", "error", f"The same file as {names}. Keep one row.")


def _report_key(study: Study) -> str:
    text = " ".join(study.report.lower().split())
    return hashlib.sha256(text.encode()).hexdigest() if len(text) >= SHORTEST_REPORT else ""


def _missing(studies: Sequence[Study], what: str, advice: str, has: Callable[[Study], bool]) -> Iterable[Problem]:
    """An error for each study without what others of its layout and split have; a warning where none has it."""
    parts: dict[tuple[str, str], list[Study]] = {}
    for study in studies:
        parts.setdefault((study.layout, study.split), []).append(study)
    for (layout, split), members in parts.items():
        without = [study for study in members if not has(study)]
        if without and len(without) == len(members):
            where = " ".join(filter(None, (layout, split))) or "the manifest"
            yield Problem("", what, "warning", f"No study of {where} has {_counted(what)} ({len(members):,}). {advice}")
        else:
            for study in without:
                others = len(members) - len(without)
                message = f"No {what}, though {others:,} others of its split have {_counted(what)}. {advice}"
                yield Problem(study.id, what, "error", message)


def _groups(studies: Sequence[Study], key: Callable[[Study], str]) -> Iterable[list[Study]]:
    """Studies that share a key which is not empty, two or more."""
    found: dict[str, list[Study]] = {}
    for study in studies:
        found.setdefault(key(study), []).append(study)
    return [members for value, members in found.items() if value and len(members) > 1]


def _counted(what: str) -> str:
    return what if what.endswith("s") else f"a {what}"


def _listed(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:SHOWN])
    return shown if len(ids) <= SHOWN else f"{shown} and {len(ids) - SHOWN:,} more"
