"""Tables that data sets bring along: CSV, TSV and Excel sheets, as rows of text.

Column titles are compared without case, spaces and underscores: "study id" is "study_id"
(test_data_tables: `column titles are the same with spaces, underscores and capitals`).
"""

from __future__ import annotations

import ast
import csv
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

from CTGLIPLib.errors import InputError

Row = dict[str, str]
LONGEST_CELL = 1 << 26
NOT_GIVEN = frozenset({"", "nan", "none", "null", "n/a", "na"})
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_table(path: Path, required: Sequence[str] = (), delimiter: str = ",") -> list[Row]:
    """The rows of a CSV, TSV or XLSX file, column title -> text; empty cells are "".

    Args:
        path: the file; of a workbook the first sheet is read.
        required: titles that must be there.
        delimiter: what stands between cells of a text file; a .tsv has tabs.

    Raises:
        InputError: if the file is missing, broken, or lacks a required column.
    """
    return list(iterate_table(path, required, delimiter))


def iterate_table(path: Path, required: Sequence[str] = (), delimiter: str = ",") -> Iterator[Row]:
    """As `read_table`, a row at a time: a table of thousands of columns does not fit in memory as rows.

    Raises:
        InputError: if the file is missing, broken, or lacks a required column.
    """
    try:
        if path.suffix.lower() == ".xlsx":
            titles, rows = _read_workbook(path)
            _require_titles(titles, required, path)
            yield from rows
        else:
            yield from _text_rows(path, required, "\t" if path.suffix.lower() == ".tsv" else delimiter)
    except (OSError, UnicodeDecodeError, csv.Error, zipfile.BadZipFile, KeyError, ValueError) as error:
        msg = f"The table {path} cannot be read ({error}). Download or export it again."
        raise InputError(msg) from error


def read_list(path: Path) -> list[str]:
    """The lines of a text file that are not empty, without spaces around them.

    Raises:
        InputError: if the file is missing or not UTF-8.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"The list {path} cannot be read ({error}). Download it again."
        raise InputError(msg) from error


@lru_cache(maxsize=1 << 14)
def folded_title(title: str) -> str:
    """A column's title in lower case, without spaces, dashes and underscores."""
    return re.sub(r"[\s_\-]+", "", title).lower()


def cell(row: Mapping[str, str], *titles: str) -> str:
    """The text under the first of the titles that the row has something under; "" where there is none."""
    for wanted in titles:
        key = wanted if wanted in row else next((t for t in row if folded_title(t) == folded_title(wanted)), None)
        value = row[key] if key is not None else ""
        if value.strip().lower() not in NOT_GIVEN:
            return value.strip()
    return ""


def number(text: str) -> float | None:
    """The number that a cell holds, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def numbers(text: str) -> tuple[float, ...] | None:
    """The numbers of a cell such as "[0.7, 0.7]" or "(1, 0, 0)", or None where it holds anything else."""
    try:
        found = ast.literal_eval(text)
        return tuple(float(item) for item in found)
    except (ValueError, SyntaxError, TypeError):
        return None


def labels_in(row: Mapping[str, str], leave_out: Sequence[str]) -> dict[str, float]:
    """The labels of a row: columns of 1 and 0; anything else (-1, empty) is not known and left out.

    Args:
        row: the row.
        leave_out: titles of columns that are no labels.
    """
    no_labels = {folded_title(title) for title in leave_out}
    found = {title: number(value) for title, value in row.items() if folded_title(title) not in no_labels}
    return {title.strip(): value for title, value in found.items() if value in {0.0, 1.0} and value is not None}


def _text_rows(path: Path, required: Sequence[str], delimiter: str) -> Iterator[Row]:
    previous = csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            _require_titles(reader.fieldnames or (), required, path)
            for row in reader:
                yield {key: value or "" for key, value in row.items() if key is not None}
    finally:
        csv.field_size_limit(previous)


def _require_titles(titles: Sequence[str], required: Sequence[str], path: Path) -> None:
    if not titles:
        msg = f"The table {path} is empty. Download or export it again."
        raise InputError(msg)
    folded_titles = {folded_title(title) for title in titles}
    missing = [title for title in required if folded_title(title) not in folded_titles]
    if missing:
        shown = ", ".join(titles[:12]) + (f" and {len(titles) - 12} more" if len(titles) > 12 else "")
        msg = f"{path} must have the columns {', '.join(missing)}, got {shown or 'none'}. Is this the right table?"
        raise InputError(msg)


def _read_workbook(path: Path) -> tuple[list[str], list[Row]]:
    """Titles and rows of a workbook's first sheet.

    An .xlsx is a zip of XML files; texts are shared by number or written in the cell. Dates and formulas are taken as
    the stored number or the last result. Source: ECMA-376, SpreadsheetML.
    """
    with zipfile.ZipFile(path) as book:
        shared = _shared_texts(book)
        sheets = sorted(name for name in book.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name))
        if not sheets:
            msg = "the workbook has no sheet"
            raise KeyError(msg)
        try:
            with book.open(min(sheets, key=lambda name: (len(name), name))) as sheet:
                lines = list(_lines(sheet, shared))
        except ElementTree.ParseError as error:
            msg = f"its sheet is broken: {error}"
            raise ValueError(msg) from error
    titles = {column: text for column, text in (lines[0] if lines else {}).items() if text}
    rows = [
        {title: line.get(column, "") for column, title in titles.items()} for line in lines[1:] if any(line.values())
    ]
    return list(titles.values()), rows


def _shared_texts(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    try:
        root = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
    except ElementTree.ParseError as error:
        msg = f"its texts are broken: {error}"
        raise ValueError(msg) from error
    return ["".join(part.text or "" for part in item.iter(f"{_SHEET}t")) for item in root.iter(f"{_SHEET}si")]


def _lines(sheet: object, shared: Sequence[str]) -> Iterator[dict[str, str]]:
    """Each row of a sheet as column letters -> text."""
    for _, element in ElementTree.iterparse(sheet):  # type: ignore[arg-type]
        if element.tag != f"{_SHEET}row":
            continue
        line: dict[str, str] = {}
        for place, entry in enumerate(element.iter(f"{_SHEET}c")):
            reference = re.match(r"[A-Z]+", entry.get("r") or "")
            line[reference[0] if reference else f"#{place}"] = _cell_text(entry, shared)
        yield line
        element.clear()


def _cell_text(entry: ElementTree.Element, shared: Sequence[str]) -> str:
    if entry.get("t") == "inlineStr":
        return "".join(part.text or "" for part in entry.iter(f"{_SHEET}t"))
    value = entry.findtext(f"{_SHEET}v") or ""
    return _escaped(shared[int(value)]) if entry.get("t") == "s" and value else value


def _escaped(text: str) -> str:
    """A text with the workbook's own escapes for control characters (_x000D_) resolved."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda match: chr(int(match[1], 16)), text)
