"""Lists that say which organ each id of a label map is.

Read from JSON (id -> name, name -> id, a list, nnU-Net's dataset.json, our own), CSV with a header, ITK-SNAP label
descriptions and 3D Slicer colour tables. Id 0 is background and never in the result.
Guarded by Testing/Lib/test_label_names.py.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path

from CTGLIPLib.errors import InputError, LabelError

Row = Mapping[str, object]

LIST_ENDINGS = (".json", ".csv", ".tsv", ".txt", ".label", ".ctbl")
IMAGE_ENDINGS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd")
ID_COLUMNS = ("labelvalue", "pixelvalue", "value", "labelid", "id", "label", "index", "idx", "originalidx", "number")
NAME_COLUMNS = ("name", "structure", "organ", "segment", "labelname", "classname", "class", "region", "label")
UNUSED_NAMES = ("(none)", "")
BACKGROUND_NAMES = ("background", "clear label")
FORMATS = (
    'JSON such as {"1": "spleen", "2": "liver"}, CSV with a header such as id,name, an ITK-SNAP label description '
    "(.txt, .label) or a 3D Slicer colour table (.ctbl)"
)
_ITK_SNAP_LINE = re.compile(r'^\s*(-?\d+)(?:\s+\d+){3}\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"\s*$')
_COLOUR_LINE = re.compile(r"^\s*(-?\d+)\s+(\S.*?)(?:\s+\d+(?:\.\d+)?){4}\s*$")


def read_names(path: Path) -> dict[int, str]:
    """The organ name of each id in a list of names, in the list's order, without the background 0.

    In a CSV the most telling column that holds whole numbers is the id (label_value, value, label_id, id, label,
    index, ... original_idx), and the first column of text among name, structure, organ, ... is the name.

    Raises:
        InputError: if the file is missing, unreadable, not text or of a kind that is not known.
        LabelError: if it has no names, an id that is not a whole number from 0, or an id or name twice.
    """
    readers = {".json": _pairs_in_json, ".csv": _pairs_in_csv, ".tsv": _pairs_in_csv}
    readers |= dict.fromkeys((".txt", ".label", ".ctbl"), _pairs_in_lines)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        msg = f"{path.name} is no list of names that is known here. Give {FORMATS}."
        raise InputError(msg)
    try:
        return _checked(reader(_text(path)), path)
    except LabelError as error:
        msg = f"{path.name} cannot name the organs: {error}"
        raise LabelError(msg) from error


def lists_beside(path: Path) -> tuple[Path, ...]:
    """Every file beside a label map that has its stem and the ending of a list of names, JSON first."""
    stem = image_stem(path)
    return tuple(found for ending in LIST_ENDINGS if (found := path.with_name(stem + ending)).is_file())


def names_beside(path: Path) -> Path | None:
    """The list of names beside a label map under the same stem (labels.nii.gz -> labels.json), or None.

    Files of that name that hold something else, such as a scanner's parameters, are passed over.
    """
    for found in lists_beside(path):
        try:
            read_names(found)
        except (InputError, LabelError):
            continue
        return found
    return None


def image_stem(path: Path) -> str:
    """The file's name without the ending of an image: "liver" for liver.nii.gz."""
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def whole_number(value: object) -> int | None:
    """The whole number that a JSON value or a text stands for ("5", 5, "5.0"), or None."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = re.fullmatch(r"\s*([+-]?\d{1,18})(?:\.0*)?\s*", str(value))
    return int(match[1]) if match else None


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        msg = f"The list of names {path} does not exist. Check the path."
        raise InputError(msg) from error
    except OSError as error:
        msg = f"The list of names {path} cannot be read: {error.strerror}. Check the path and your rights to it."
        raise InputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"The list of names {path.name} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        raise InputError(msg) from error
    if not text.strip():
        msg = f"it is empty. Give {FORMATS}."
        raise LabelError(msg)
    return text


def _checked(pairs: Iterable[tuple[object, object]], path: Path) -> dict[int, str]:
    """The pairs (id, name) as a dict, once every id and name is known to be usable."""
    names: dict[int, str] = {}
    ids: dict[str, int] = {}
    for value, text in pairs:
        number = whole_number(value)
        if number is None or number < 0:
            msg = f"an id must be a whole number from 0, got {value!r} for {text!r}. Correct it."
            raise LabelError(msg)
        name = " ".join(text.split()) if isinstance(text, str) else None
        if name is None:
            msg = f"the name of id {number} must be text, got {text!r}. Correct it."
            raise LabelError(msg)
        if number == 0 or name.lower() in UNUSED_NAMES:
            continue
        if number in names:
            msg = f"id {number} is named twice, {names[number]!r} and {name!r}. Keep one."
            raise LabelError(msg)
        if name.lower() in ids:
            msg = f"ids {ids[name.lower()]} and {number} are both named {name!r}. Rename or merge one."
            raise LabelError(msg)
        names[number], ids[name.lower()] = name, number
    if not names:
        msg = f"it names no id but the background. Give {FORMATS}."
        raise LabelError(msg)
    return names


def _pairs_in_json(text: str) -> list[tuple[object, object]]:
    try:
        content: object = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        msg = f"it is not JSON ({error.msg}, line {error.lineno}). Mend it or give another list."
        raise LabelError(msg) from error
    if isinstance(content, dict):
        content = content["labels"] if isinstance(content.get("labels"), dict | list) else content
    if isinstance(content, dict):
        return [_pair(key, value) for key, value in content.items()]
    if isinstance(content, list):
        return _pairs_in_list(content)
    msg = f"expected an object or a list, got {type(content).__name__}. Give {FORMATS}."
    raise LabelError(msg)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        msg = f"these keys occur twice: {', '.join(repeated)}. Keep one of each."
        raise LabelError(msg)
    return dict(pairs)


def _pair(key: str, value: object) -> tuple[object, object]:
    """(id, name) of one JSON entry, whichever side the id is on."""
    if isinstance(value, dict):
        value = value.get("name")
    if whole_number(key) is not None and whole_number(value) is None:
        return key, value
    if whole_number(key) is None and whole_number(value) is not None:
        return value, key
    msg = f'each entry must be "id": "name" or "name": id, got "{key}": {json.dumps(value)[:60]}. Correct it.'
    raise LabelError(msg)


def _pairs_in_list(content: list[object]) -> list[tuple[object, object]]:
    """Pairs of a list of names (counted from 1, or from 0 where the first is the background) or of objects."""
    rows = [{str(key): value for key, value in row.items()} for row in content if isinstance(row, dict)]
    if rows and len(rows) == len(content):
        return _pairs_in_rows(rows)
    starts_at_background = bool(content) and str(content[0]).strip().lower() in BACKGROUND_NAMES
    return list(enumerate(content, start=0 if starts_at_background else 1))


def _pairs_in_csv(text: str) -> list[tuple[object, object]]:
    header = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = [row for row in csv.DictReader(StringIO(text.lstrip()), delimiter=delimiter) if any(row.values())]
    except csv.Error as error:
        msg = f"it is not a table ({error}). Save it as CSV again."
        raise LabelError(msg) from error
    if not rows:
        msg = f"it has a header ({header[:80]}) but no rows. Add them."
        raise LabelError(msg)
    return _pairs_in_rows(rows)


def _pairs_in_rows(rows: Sequence[Row]) -> list[tuple[object, object]]:
    """(id, name) of each row, from the columns whose titles and contents fit best."""
    titles = {re.sub(r"[^a-z]", "", str(title).lower()): title for title in rows[0]}
    id_title = _column(rows, titles, ID_COLUMNS, numbers=True)
    name_title = _column(rows, titles, NAME_COLUMNS, numbers=False)
    if id_title is None or name_title is None:
        missing = "ids (id, label_value, value, index)" if id_title is None else "names (name, structure, organ)"
        msg = f"no column of {missing} among {', '.join(map(str, rows[0]))}. Add a header such as id,name."
        raise LabelError(msg)
    return [(row.get(id_title), row.get(name_title)) for row in rows]


def _column(rows: Sequence[Row], titles: Mapping[str, str], wanted: tuple[str, ...], *, numbers: bool) -> str | None:
    """The first wanted column that holds mostly numbers (or mostly text), or None."""
    for key in wanted:
        if key in titles:
            are_numbers = sum(whole_number(row.get(titles[key])) is not None for row in rows)
            if (2 * are_numbers > len(rows)) == numbers:
                return titles[key]
    return None


def _pairs_in_lines(text: str) -> list[tuple[object, object]]:
    """Pairs of an ITK-SNAP label description or a Slicer colour table, line by line."""
    pairs: list[tuple[object, object]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ITK_SNAP_LINE.match(line) or _COLOUR_LINE.match(line)
        if match is None:
            msg = f"line {number} is no ITK-SNAP label nor Slicer colour: {line.strip()[:60]!r}. Give {FORMATS}."
            raise LabelError(msg)
        pairs.append((match[1], match[2].strip('"')))
    return pairs
