"""The manifest: one row a study, as CSV or Parquet.

Conventions:
- both formats have the same columns, all of text; maps are JSON, nothing is an empty text
  (test_manifest: `a manifest comes back as it was written`);
- the column `root` holds the data's root, relative to the manifest's own folder where it lies inside or beside it, so
  that both can be moved together; `read_manifest(path, root)` says where the data is otherwise.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctglip_training.data.study import Corrections, Study, split_named, triple
from CTGLIPLib.errors import DependencyError, InputError
from CTGLIPLib.files import whole_file

COLUMNS: tuple[str, ...] = (
    "study", "patient", "split", "volume", "series", "masks", "mask_names", "report", "report_file", "regions",
    "labels", "corrections", "expected_spacing_mm", "exclude", "layout", "root",
)  # fmt: skip
REQUIRED = ("study", "patient", "volume")
LONGEST_CELL = 1 << 26
"""Python's csv stops at 128 KB a cell; a long report split by region holds more."""
ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Manifest:
    """The studies of a data set, and the folder that their paths start from."""

    root: Path
    studies: tuple[Study, ...]

    def path(self, relative: str) -> Path:
        """The place on disk of one of the studies' paths."""
        return self.root / relative

    @property
    def usable(self) -> tuple[Study, ...]:
        """The studies that their makers do not exclude."""
        return tuple(study for study in self.studies if not study.exclude)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as CSV or Parquet, by the ending of `path`, wholly or not at all.

    Raises:
        InputError: if the ending is neither, or two studies have one id.
        DependencyError: if Parquet is asked and pyarrow is not installed.
        OutputError: if the folder cannot be written or the disk is full.
    """
    require_ending(path)
    _require_unique(study.id for study in manifest.studies)
    root = _stored_root(manifest.root, path)
    rows = [_row(study, root) for study in manifest.studies]
    if path.suffix.lower() == ".parquet":
        _write_parquet(rows, path)
        return
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """The manifest of a CSV or Parquet file.

    Args:
        path: the file.
        root: where the data lies; None = where the manifest says.

    Raises:
        InputError: if the file is missing, no manifest, a cell is broken, or two studies have one id.
        DependencyError: if it is Parquet and pyarrow is not installed.
    """
    require_ending(path)
    if not path.is_file():
        msg = f"There is no manifest {path}. Make it with `ctglip-train manifest --root DATA --out {path.name}`."
        raise InputError(msg)
    rows = read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if not rows:
        msg = f"The manifest {path} has no study. Make it again with `ctglip-train manifest`."
        raise InputError(msg)
    _require_unique(row["study"] for row in rows)
    studies = []
    for number, row in enumerate(rows, start=2):
        try:
            studies.append(_study(row))
        except (InputError, ValueError, AttributeError, TypeError) as error:
            msg = f"Row {number} of {path.name} ({row['study']!r}) is broken: {error} Make the manifest again."
            raise InputError(msg) from error
    stored = Path(rows[0].get("root") or ".")
    return Manifest(root or Path(os.path.normpath(path.parent / stored)), tuple(studies))


def _row(study: Study, root: str) -> dict[str, str]:
    spacing = study.expected_spacing_mm
    return {
        "study": study.id,
        "patient": study.patient,
        "split": study.split,
        "volume": study.volume,
        "series": study.series,
        "masks": study.masks,
        "mask_names": study.mask_names,
        "report": study.report,
        "report_file": study.report_file,
        "regions": _json(study.regions),
        "labels": _json(study.labels),
        "corrections": study.corrections.to_json(),
        "expected_spacing_mm": json.dumps(spacing) if spacing else "",
        "exclude": study.exclude,
        "layout": study.layout,
        "root": root,
    }


def _study(row: Mapping[str, str]) -> Study:
    missing = [name for name in REQUIRED if not row.get(name)]
    if missing:
        msg = f"it needs {', '.join(missing)}."
        raise InputError(msg)
    spacing = row.get("expected_spacing_mm")
    text = {key: row.get(key) or "" for key in ("series", "masks", "mask_names", "report", "report_file", "exclude")}
    return Study(
        id=row["study"],
        patient=row["patient"],
        volume=row["volume"],
        layout=row.get("layout") or "",
        regions={str(key): str(value) for key, value in json.loads(row.get("regions") or "{}").items()},
        labels={str(key): float(value) for key, value in json.loads(row.get("labels") or "{}").items()},
        split=split_named(row.get("split") or ""),
        corrections=Corrections.from_json(row.get("corrections") or ""),
        expected_spacing_mm=triple(json.loads(spacing)) if spacing else None,
        **text,
    )


def _json(mapping: Mapping[str, Any]) -> str:
    plain = {key: int(value) if isinstance(value, float) and value == int(value) else value
             for key, value in mapping.items()}  # fmt: skip
    return json.dumps(plain, ensure_ascii=False) if plain else ""


def _stored_root(root: Path, path: Path) -> str:
    """The root as the manifest keeps it: relative where that needs no more than two steps up, else absolute."""
    relative = Path(os.path.relpath(root.absolute(), path.absolute().parent))
    return relative.as_posix() if relative.parts.count("..") <= 2 else root.absolute().as_posix()


def _read_csv(path: Path) -> list[dict[str, str]]:
    previous = csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _require_columns(reader.fieldnames or (), path)
            return [{key: value or "" for key, value in row.items() if key} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"The manifest {path} cannot be read: {error}. Make it again with `ctglip-train manifest`."
        raise InputError(msg) from error
    finally:
        csv.field_size_limit(previous)


def _write_parquet(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    arrow, parquet = _pyarrow()
    schema = arrow.schema([(name, arrow.string()) for name in COLUMNS])
    table = arrow.Table.from_pylist(list(rows), schema=schema)
    with whole_file(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def read_parquet(path: Path) -> list[dict[str, str]]:
    """The rows of a manifest as Parquet, all text.

    Raises:
        InputError: if it cannot be read or is no manifest.
        DependencyError: if pyarrow is not installed.
    """
    arrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        msg = f"The manifest {path} cannot be read: {error}. Make it again with `ctglip-train manifest`."
        raise InputError(msg) from error
    _require_columns(table.column_names, path)
    return [{key: "" if value is None else str(value) for key, value in row.items()} for row in table.to_pylist()]


def _pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, untyped: they are an extra."""
    try:
        import pyarrow  # type: ignore[import-not-found]
        import pyarrow.parquet  # type: ignore[import-not-found]
    except ImportError as error:
        msg = (
            "A Parquet manifest needs pyarrow, which is not installed. "
            "Run `pip install 'ctglip[training-data]'`, or name the manifest .csv."
        )
        raise DependencyError(msg) from error
    return pyarrow, pyarrow.parquet


def require_ending(path: Path) -> None:
    """Raise InputError unless the file's name ends as a manifest's does."""
    if path.suffix.lower() not in ENDINGS:
        msg = f"A manifest ends in {' or '.join(ENDINGS)}, got {path.name!r}. Change the name."
        raise InputError(msg)


def _require_columns(found: Iterable[str], path: Path) -> None:
    missing = [name for name in REQUIRED if name not in set(found)]
    if missing:
        msg = (
            f"{path.name} is no manifest: it lacks the columns {', '.join(missing)}. "
            "Make one with `ctglip-train manifest --root DATA --out manifest.csv`."
        )
        raise InputError(msg)


def _require_unique(ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            msg = f"Every study needs an id of its own, but {name!r} occurs twice. Rename one, or leave one out."
            raise InputError(msg)
        seen.add(name)
