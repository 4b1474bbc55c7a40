"""Values of declared types from plain JSON values, checked strictly: the one reader behind requests and result files.

Guarded by Testing/Lib/test_plain_values.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from CTGLIPLib.errors import InputError

LONGEST_SHOWN = 80
SCALARS: dict[object, tuple[str, tuple[type, ...]]] = {
    str: ("text", (str,)),
    Path: ("a path as text", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a finite number", (int, float)),
}


def read_object(kind: type, values: object, where: str, *, ignore_unknown: bool = False) -> Any:  # noqa: ANN401
    """A dataclass of `kind` from a JSON object.

    Args:
        kind: a dataclass whose fields are text, numbers, paths, literals, tuples, dataclasses, or one of these or None.
        values: what `json.loads` gave.
        where: what the object is, for messages.
        ignore_unknown: whether keys that `kind` does not have are passed over, as those of a newer minor version.

    Raises:
        InputError: if keys are missing or unknown, or a value has the wrong type or is refused by the dataclass.
    """
    if not isinstance(values, Mapping):
        raise InputError(_expected("an object with named values", values, where))
    known, hints = {field.name: field for field in fields(kind)}, _hints(kind)
    missing = [name for name, field in known.items() if _is_required(field) and name not in values]
    unknown = [] if ignore_unknown else [str(name) for name in values if name not in known]
    if missing or unknown:
        wrong = [f"{', '.join(names)} {what}" for names, what in ((missing, "missing"), (unknown, "unknown")) if names]
        msg = f"{where} must have the keys {_keys(known)}; got {'; '.join(wrong)}. Send exactly these."
        raise InputError(msg)
    given = {
        name: read_value(hints[name], value, f"{where}.{name}", ignore_unknown=ignore_unknown)
        for name, value in values.items()
        if name in known
    }
    try:
        return kind(**given)
    except ValueError as error:
        msg = f"{where} cannot be used: {error}"
        raise InputError(msg) from error


def read_value(kind: object, value: object, where: str, *, ignore_unknown: bool = False) -> Any:  # noqa: ANN401
    """A value of `kind` from a JSON value; see `read_object`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return read_object(kind, value, where, ignore_unknown=ignore_unknown)
    if origin is tuple:
        return _read_tuple(arguments, value, where, ignore_unknown=ignore_unknown)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        return read_value(arguments[0], value, where, ignore_unknown=ignore_unknown)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise InputError(_expected(f"one of {', '.join(map(str, arguments))}", value, where))
        return value
    return _read_scalar(kind, value, where)


def _read_tuple(arguments: tuple[object, ...], value: object, where: str, *, ignore_unknown: bool) -> tuple[Any, ...]:
    any_length = len(arguments) == 2 and arguments[1] is ...
    if not isinstance(value, (list, tuple)):
        raise InputError(_expected("a list", value, where))
    if not any_length and len(value) != len(arguments):
        raise InputError(_expected(f"a list of {len(arguments)}", value, where))
    kinds = [arguments[0]] * len(value) if any_length else list(arguments)
    return tuple(
        read_value(kind, item, f"{where}[{index}]", ignore_unknown=ignore_unknown)
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _read_scalar(kind: object, value: object, where: str) -> object:
    words, types = SCALARS[kind]
    is_wrong_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, types) or is_wrong_bool or (isinstance(value, float) and not math.isfinite(value)):
        raise InputError(_expected(words, value, where))
    if isinstance(value, str):
        return _read_path(value, where) if kind is Path else _read_text(value, where)
    return float(value) if kind is float else value  # type: ignore[arg-type]


def _read_text(text: str, where: str) -> str:
    """The text, if it can be written to a file: half a surrogate pair, which JSON can spell, cannot."""
    if not _can_encode(text, "strict"):
        raise InputError(_expected("text of whole characters", text, where))
    return text


def _read_path(text: str, where: str) -> Path:
    if "\0" in text or not _can_encode(text, "surrogateescape"):  # the latter as Python spells odd bytes in file names
        raise InputError(_expected("a path that a file system can hold", text, where))
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(_expected("a path whose ~ is the folder of a user of this machine", text, where)) from error


def _can_encode(text: str, errors: str) -> bool:
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


@lru_cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _keys(known: Mapping[str, Field[Any]]) -> str:
    return ", ".join(name if _is_required(field) else f"{name} (optional)" for name, field in known.items())


def _expected(what: str, value: object, where: str) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "..."
    return f"{where} must be {what}, got {shown}."
