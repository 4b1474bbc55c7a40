"""Answers read back from JSON: the inverse of `result_files.to_dict` and `write_json` for query results.

Conventions: another major version of the format is refused, keys that a newer minor version added are passed over
(test_result_reader: `a newer minor version is read`, `another major version is refused`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CTGLIPLib.errors import InputError
from CTGLIPLib.plain_values import read_object
from CTGLIPLib.results import SCHEMA_VERSION, QueryResult

ADVICE = "Give a findings.json that `ctglip query` wrote, or ask the scan again."


def read_json(path: Path) -> QueryResult:
    """The answers in a file that `write_json` wrote.

    Raises:
        InputError: if it cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"Expected results at {path}, got {error.strerror or error}. {ADVICE}"
        raise InputError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"Expected results as JSON in {path.name}, got something else ({type(error).__name__}). {ADVICE}"
        raise InputError(msg) from error
    try:
        return result_from_dict(values)
    except InputError as error:
        msg = f"{path.name}: {error}"
        raise InputError(msg) from error


def result_from_dict(values: object) -> QueryResult:
    """The answers whose `to_dict` is `values`.

    Raises:
        InputError: if these are no answers, or of another major version of the format.
    """
    if not isinstance(values, Mapping):
        msg = f"Expected results as a JSON object, got {type(values).__name__}. {ADVICE}"
        raise InputError(msg)
    _require_version(values.get("schema_version"))
    queries = values.get("queries")
    if queries is None and "organs" in values:
        msg = f"Expected answers to questions, got an organ recognition, which has none. {ADVICE}"
        raise InputError(msg)
    flat = [_flat(query) for query in queries] if isinstance(queries, list) else queries
    body = {key: value for key, value in values.items() if key != "queries"}
    try:
        return read_object(
            QueryResult, body | ({} if flat is None else {"queries": flat}), "results", ignore_unknown=True
        )
    except InputError as error:
        msg = f"{error} {ADVICE}"
        raise InputError(msg) from error


def _require_version(version: object) -> None:
    known = SCHEMA_VERSION.split(".")[0]
    if not isinstance(version, str) or version.split(".")[0] != known:
        msg = f"Expected results of schema version {known}.x, got {version!r}. Update CT-GLIP, or ask the scan again."
        raise InputError(msg)


def _flat(query: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A query with its prompts as the dataclass has them; what is no query stays as it is and is refused later."""
    prompts = query.get("prompts") if isinstance(query, dict) else None
    if not isinstance(prompts, dict):
        return query
    return query | {f"{side}_prompts": prompts[side] for side in ("positive", "negative") if side in prompts}
