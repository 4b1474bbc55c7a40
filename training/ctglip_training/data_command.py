"""The commands `ctglip-train manifest` and `ctglip-train check`, and where those of the data are gathered."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ctglip_training.data.study import NO_CORRECTIONS, Study
from ctglip_training.evaluate_command import positive
from ctglip_training.masks_command import add_masks
from CTGLIPLib.errors import InputError


def add_data_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the program, those of masks too."""
    _add_manifest(commands)
    _add_check(commands)
    add_masks(commands)


def _add_manifest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("manifest", help="list the studies of a data set as it was downloaded")
    command.add_argument("--root", type=Path, required=True, metavar="DIR", help="the data set's top folder")
    command.add_argument("--layout", default="auto", metavar="NAME", help="auto (default), or one of: see README")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="manifest.csv or manifest.parquet")
    command.add_argument(
        "--splits", type=_shares, default=(0.8, 0.1, 0.1), metavar="TRAIN,VAL,TEST",
        help="shares of the patients without an official split (default 0.8,0.1,0.1)",
    )  # fmt: skip
    command.add_argument("--salt", default="", help="another word, another draw of patients")
    command.set_defaults(run=_manifest)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("check", help="find what is wrong with a manifest's studies (exit code 1)")
    command.add_argument("manifest", type=Path, help="manifest.csv or manifest.parquet")
    command.add_argument("--root", type=Path, metavar="DIR", help="where the data lies (default: as the manifest says)")
    command.add_argument("--headers", action="store_true", help="read headers and tables only, no voxels")
    command.add_argument("--threads", type=positive, default=1, metavar="N", help="studies to read at once")
    command.add_argument("--strict", action="store_true", help="warnings make it fail too")
    command.add_argument("--json", action="store_true", help="print JSON instead of the table")
    command.set_defaults(run=_check)


def _manifest(options: argparse.Namespace) -> None:
    from ctglip_training.data.layouts import read_layout
    from ctglip_training.data.manifest import Manifest, write_manifest
    from ctglip_training.data.splits import Shares, assign_splits, counts

    shares = Shares(*options.splits, salt=options.salt)
    layout, reading = read_layout(options.root, options.layout, _progress)
    studies = assign_splits(reading.studies, shares)
    write_manifest(Manifest(options.root, studies), options.out)
    parts = ", ".join(f"{name} {n:,} ({people:,} patients)" for name, (n, people) in counts(studies).items())
    lines = [f"{layout.title} ({layout.name}): {len(studies):,} studies -> {options.out}", f"splits: {parts}"]
    for what, number in _having(studies).items():
        lines.append(f"with {what}: {number:,}")
    sys.stdout.write("\n".join([*lines, *(f"note: {note}" for note in reading.notes)]) + "\n")


def _check(options: argparse.Namespace) -> None:
    from ctglip_training.data.check import check_manifest, write_check
    from ctglip_training.data.manifest import read_manifest

    manifest = read_manifest(options.manifest, options.root)
    journal = options.manifest.with_suffix(".check.jsonl")
    result = check_manifest(manifest, journal, options.headers, options.threads, _progress)
    written = options.manifest.with_suffix(".check.json")
    write_check(result, written)
    sys.stdout.write((result.to_json() if options.json else result.to_table()) + "\n")
    wrong = len(result.problems) if options.strict else result.errors
    if wrong:
        msg = f"Expected studies without fault, got {wrong} problems. They are listed above and in {written}."
        raise InputError(msg)


def _having(studies: Sequence[Study]) -> dict[str, int]:
    """How many studies have masks, reports, labels, corrections, or are excluded."""
    return {
        "masks": sum(bool(study.masks) for study in studies),
        "a report": sum(bool(study.report or study.report_file or study.regions) for study in studies),
        "labels": sum(bool(study.labels) for study in studies),
        "corrections": sum(study.corrections != NO_CORRECTIONS for study in studies),
        "a reason to leave them out": sum(bool(study.exclude) for study in studies),
    }


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError as error:
        msg = f"expected three numbers such as 0.8,0.1,0.1, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from error
    return train, val, test


def _progress(what: str, done: int, total: int) -> None:
    """A line that counts on a terminal; twenty lines in a log file."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{what}: {done:,} of {total:,} \x1b[K" + ("\n" if done == total else ""))
    elif done and done * 20 // total != (done - 1) * 20 // total:
        sys.stderr.write(f"{what}: {done:,} of {total:,}\n")
    sys.stderr.flush()
