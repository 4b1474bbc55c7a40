"""CSV tables of a row a volume: read, checked, and brought together.

Messages name rows and columns, never volumes: their names may be patients'. Guard: test_tables.py.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CTGLIPLib.errors import InputError

ENDINGS = (".nii.gz", ".nii", ".npz", ".nrrd", ".mha")
"""Left off the names of volumes, so that a file matches its study."""
BLANK = {"", "nan", "na", "n/a", "none", "null"}
FIRST_ROW = 2
"""Of the data, as a spreadsheet counts."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table as text.

    Attributes:
        path: the file.
        volumes: the volume of each row, without the ending.
        columns: the cells of each other column.
    """

    path: Path
    volumes: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]

    def numbers(self, column: str) -> np.ndarray:
        """A column as numbers, NaN where a cell is blank.

        Raises:
            InputError: if a cell holds something else.
        """
        values = np.full(len(self.volumes), np.nan)
        for row, cell in enumerate(self.columns[column]):
            if cell.strip().lower() not in BLANK:
                try:
                    values[row] = float(cell)
                except ValueError as error:
                    msg = (
                        f"Expected a number in column {column!r}, row {row + FIRST_ROW} of {self.path}, got {cell!r}. "
                        "Correct the file."
                    )
                    raise InputError(msg) from error
        return values


def read_table(path: Path, volume_columns: Sequence[str]) -> Table:
    """The table in a CSV file.

    Args:
        path: the file, UTF-8, with a header.
        volume_columns: names that the column of volumes may have, the first that the file has counts.

    Raises:
        InputError: if it cannot be read, has no such column, no rows, rows of another length, or a volume or a column
            twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"Expected a CSV table at {path}, got: {error}. Give the path of a UTF-8 file with commas."
        raise InputError(msg) from error
    if len(rows) < FIRST_ROW:
        msg = f"Expected a header and a row a volume in {path}, got {len(rows)} lines."
        raise InputError(msg)
    header, *body = rows
    header = [name.strip() for name in header]
    _check_shape(path, header, body)
    key = _key_column(path, header, volume_columns)
    volumes = tuple(without_ending(row[key]) for row in body)
    _check_volumes(path, volumes)
    columns = {name: tuple(row[i] for row in body) for i, name in enumerate(header) if i != key}
    return Table(path, volumes, columns)


def without_ending(name: str) -> str:
    """A volume's name without folders' spaces or its file ending."""
    name = name.strip()
    return next((name[: -len(ending)] for ending in ENDINGS if name.lower().endswith(ending)), name)


def find_column(table: Table, finding: str) -> str | None:
    """The table's column for a finding, else None; case, blanks, _ and - do not matter.

    fVLM's headings, organ_Finding_negative_positive, are understood too.

    Raises:
        InputError: if several columns are the finding's.
    """
    found = [column for column in table.columns if plain_name(column) == plain_name(finding)]
    if not found:
        parts = {column: column.split("_") for column in table.columns}
        found = [
            column for column, four in parts.items() if len(four) == 4 and plain_name(four[1]) == plain_name(finding)
        ]
    if len(found) > 1:
        columns = " and ".join(found)
        msg = f"Expected one column for {finding} in {table.path}, got {columns}. Remove or rename the others."
        raise InputError(msg)
    return found[0] if found else None


def plain_name(name: str) -> str:
    """A name in small letters, every run of other signs as _."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _check_shape(path: Path, header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        msg = f"Expected every column once in {path}, got {', '.join(twice)} more than once. Rename or remove one."
        raise InputError(msg)
    for number, row in enumerate(body, FIRST_ROW):
        if len(row) != len(header):
            msg = f"Expected {len(header)} cells in row {number} of {path} as in the header, got {len(row)}."
            raise InputError(msg)


def _key_column(path: Path, header: Sequence[str], volume_columns: Sequence[str]) -> int:
    names = [name.lower() for name in header]
    for wanted in volume_columns:
        if wanted.lower() in names:
            return names.index(wanted.lower())
    msg = (
        f"Expected a column of volumes named {' or '.join(repr(name) for name in volume_columns)} in {path}, got "
        f"{', '.join(header[:6])}. Rename the column that names the volumes."
    )
    raise InputError(msg)


def _check_volumes(path: Path, volumes: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(volumes, FIRST_ROW):
        if not name:
            msg = f"Expected the name of a volume in row {number} of {path}, got nothing. Fill it in or remove the row."
            raise InputError(msg)
        if name in first:
            count = len(volumes) - len(set(volumes))
            msg = (
                f"Expected every volume once in {path}, got the one of row {first[name]} again in row {number} "
                f"({count} repeated in all). Keep one row a volume."
            )
            raise InputError(msg)
        first[name] = number
