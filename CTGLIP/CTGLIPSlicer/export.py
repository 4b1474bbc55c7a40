"""Answers as files outside the scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from CTGLIPLib.errors import InputError

if TYPE_CHECKING:
    from CTGLIPLib.results import QueryResult

REPORTS = (".html", ".pdf")
"""What the child writes, for its pictures need the CT; see `Session.report`."""


def exportResult(result: QueryResult, path: str | Path) -> Path:
    """Write the answers as .csv or .json, and return the file.

    Raises:
        InputError: for another ending.
        OutputError: if the file cannot be written.
    """
    path = Path(path)
    writer = _writers().get(path.suffix.lower())
    if writer is None:
        known = ", ".join([*_writers(), *REPORTS])
        msg = _("Results are written as {known}, got {name}. Choose one of these endings.").format(
            known=known, name=path.name
        )
        raise InputError(msg)
    writer(result, path)
    return path


def isReport(path: str | Path) -> bool:
    """Whether the file's ending is that of a report, which the child writes."""
    return Path(path).suffix.lower() in REPORTS


def _writers() -> dict[str, Callable[[QueryResult, Path], None]]:
    from CTGLIPLib.result_files import write_csv, write_json

    return {".csv": write_csv, ".json": write_json}
