"""The command `ctglip-train prepare`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ctglip_training.evaluate_command import positive
from CTGLIPLib.errors import InputError

if TYPE_CHECKING:
    from ctglip_training.data.study import Study
    from ctglip_training.pairs.table import PairRow
    from ctglip_training.prepare import Job

FAILURES = "failed.csv"


def add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    command = commands.add_parser("prepare", help="a manifest's studies -> the store that pretrain reads")
    command.add_argument("--manifest", type=Path, required=True, metavar="FILE", help="manifest.csv or .parquet")
    command.add_argument("--pairs", type=Path, metavar="FILE", help="table of `ctglip-train pairs`; without it no text")
    command.add_argument("--root", type=Path, metavar="DIR", help="where the data lies (default: as the manifest says)")
    command.add_argument("--spacing", type=float, default=1.5, metavar="MM", help="voxel size, as the run's")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the store")
    command.add_argument("--split", nargs="+", choices=("train", "val", "test"), help="these alone (default: all)")
    command.add_argument("--workers", type=positive, default=1, metavar="N", help="studies to prepare at once")
    command.add_argument("--licence", default="", metavar="TEXT", help="of the data set, kept with each study")
    command.add_argument("--credit", default="", metavar="TEXT", help="whom to thank for it")
    command.set_defaults(run=_prepare)


def _prepare(options: argparse.Namespace) -> None:
    from ctglip_training.data.manifest import read_manifest
    from ctglip_training.pairs.table import write_failures
    from ctglip_training.prepare import Job, prepare_studies, study_folder
    from ctglip_training.report_text import read_rows
    from ctglip_training.time_left import TimedProgress

    manifest = read_manifest(options.manifest, options.root)
    _require_patients_apart(manifest.usable)
    studies = _chosen(manifest.usable, options.split)
    rows = None if options.pairs is None else _rows_of(studies, read_rows(options.pairs), options.pairs)
    jobs = [
        Job(
            manifest.root, study, None if rows is None else rows[study.id], study_folder(options.out, study),
            options.spacing, options.licence, options.credit,
        ) for study in studies
    ]  # fmt: skip
    _require_folders_apart(jobs)
    failed = prepare_studies(jobs, options.workers, TimedProgress())
    listed = options.out / FAILURES
    listed.unlink(missing_ok=True)
    reports = sum(bool(job.rows) for job in jobs if job.study.id not in failed)
    with_report = "" if rows is None else f", {reports:,} with a report"
    sys.stdout.write(f"{len(jobs) - len(failed):,} of {len(jobs):,} studies{with_report}: {options.out}\n")
    if failed:
        write_failures(failed, listed)
        first, reason = next(iter(failed.items()))
        msg = (
            f"{len(failed)} studies could not be prepared, the first one {first}: {reason.rstrip('.')}. Reasons are in "
            f"{listed}; the same command tries them again."
        )
        raise InputError(msg)


def _require_patients_apart(usable: Sequence[Study]) -> None:
    """Raise InputError where a patient has studies in two splits, whichever of them are asked for."""
    from ctglip_training.data.splits import patients_in_two_splits

    shared = patients_in_two_splits(usable)
    if shared:
        parts = "; ".join(f"{split}: {', '.join(ids[:3])}" for split, ids in next(iter(shared.values())).items())
        msg = (
            f"{len(shared)} patients are in more than one split, the first one with the studies {parts}. Move all "
            "studies of a patient to one split in the manifest; `ctglip-train check` lists them."
        )
        raise InputError(msg)


def _chosen(usable: Sequence[Study], splits: Sequence[str] | None) -> list[Study]:
    """The studies of the splits that are asked for."""
    studies = [study for study in usable if splits is None or study.split in splits]
    if not studies:
        found = ", ".join(sorted({study.split or "none" for study in usable})) or "no usable study"
        msg = f"Expected studies of the split {', '.join(splits or ('any',))}, the manifest has {found}."
        raise InputError(msg)
    if not any(study.masks for study in studies):
        msg = f"None of the {len(studies)} studies has organ masks. Make them with `ctglip-train masks`."
        raise InputError(msg)
    return studies


def _rows_of(studies: Sequence[Study], rows: dict[str, list[PairRow]], table: Path) -> dict[str, tuple[PairRow, ...]]:
    """Study -> its rows, none where the table has none."""
    from ctglip_training.evaluation.tables import without_ending

    own = {study.id: tuple(rows.get(without_ending(study.id), ())) for study in studies}
    if not any(own.values()):
        msg = f"{table} has no row of any of the {len(studies)} studies. Make it of this manifest: `pairs --reports`."
        raise InputError(msg)
    return own


def _require_folders_apart(jobs: Sequence[Job]) -> None:
    """Raise InputError where two studies would be one folder on a disk that does not tell capitals."""
    seen: set[str] = set()
    for job in jobs:
        folder = str(job.folder).lower()
        if folder in seen:
            msg = f"The study {job.study.id!r} differs from another one in capitals alone. Rename one in the manifest."
            raise InputError(msg)
        seen.add(folder)
