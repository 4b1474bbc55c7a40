"""What the worker can be asked, as values; see docs/worker_protocol.md. Standard library only.

Guarded by Testing/Lib/test_worker_requests.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from CTGLIPLib.errors import InputError
from CTGLIPLib.plain_values import read_object

HEATMAP_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
REPORT_ENDINGS = (".html", ".pdf")
SegmenterName = Literal["totalsegmentator", "own"]


@dataclass(frozen=True)
class StudyRequest:
    """A scan and how it is to be encoded.

    Attributes:
        ct: file or DICOM folder.
        segmentation: the organs; None = `segmenter` finds them.
        names: list of names of the segmentation's ids.
        model: name or folder.
        text_encoder_folder: where the text encoder's files lie, instead of the hub.
        name: what results call the scan; None = the file's name.
        segmentation_name: what results call the given organs; None = the file's name.
        organs_path: where organs that the worker found are written (.seg.nrrd); None = nowhere.

    Raises:
        ValueError: if `organs_path` has another ending.
    """

    ct: Path
    segmentation: Path | None = None
    names: Path | None = None
    segmenter: SegmenterName = "totalsegmentator"
    model: str = "default"
    device: str = "auto"
    text_encoder_folder: Path | None = None
    name: str | None = None
    segmentation_name: str | None = None
    organs_path: Path | None = None

    def __post_init__(self) -> None:
        if self.organs_path is not None:
            _require_ending("organs_path", self.organs_path, (".seg.nrrd",))


@dataclass(frozen=True)
class Describe:
    """What this machine can do, and these models; None = every model of the list."""

    models: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Ask:
    """Questions about a scan."""

    study: StudyRequest
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_texts(self.texts)


@dataclass(frozen=True)
class Heatmap:
    """Where in its organs a question fits, written to `path`."""

    study: StudyRequest
    text: str
    path: Path

    def __post_init__(self) -> None:
        _require_ending("path", self.path, HEATMAP_ENDINGS)


@dataclass(frozen=True)
class Report:
    """A report of the answers, written to `path`."""

    study: StudyRequest
    texts: tuple[str, ...]
    path: Path

    def __post_init__(self) -> None:
        _require_texts(self.texts)
        _require_ending("path", self.path, REPORT_ENDINGS)


@dataclass(frozen=True)
class SegmentTumor:
    """Tumours of a scan, their segments written to `path`.

    Attributes:
        study: the scan; its organs name where tumours lie, `None` looks for none. Its model is not used.
        model: the tumour model's folder.
    """

    study: StudyRequest
    model: Path
    path: Path

    def __post_init__(self) -> None:
        _require_ending("path", self.path, (".seg.nrrd",))


@dataclass(frozen=True)
class Batch:
    """The same questions about every scan of a folder; the options are those of `batch.BatchOptions`."""

    folder: Path
    texts: tuple[str, ...]
    out: Path
    model: str = "default"
    device: str = "auto"
    segmenter: SegmenterName = "totalsegmentator"
    text_encoder_folder: Path | None = None
    pictures: bool = False
    heatmaps: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        _require_texts(self.texts)


Request = Describe | Ask | Heatmap | Report | SegmentTumor | Batch
COMMANDS: dict[str, type] = {
    "describe": Describe,
    "ask": Ask,
    "heatmap": Heatmap,
    "report": Report,
    "segment_tumor": SegmentTumor,
    "batch": Batch,
}


@dataclass(frozen=True)
class Job:
    """A request and the id under which it is answered."""

    id: int
    request: Request


@dataclass(frozen=True)
class Cancel:
    """Stop the request of that id."""

    id: int


@dataclass(frozen=True)
class Quit:
    """Stop everything."""


class BadRequestError(Exception):
    """A line that is no request.

    Attributes:
        id: the id that it carries; None where it carries none.
        cause: what is wrong with it.
    """

    def __init__(self, job_id: int | None, cause: InputError) -> None:
        super().__init__(str(cause))
        self.id = job_id
        self.cause = cause


def parse_line(line: bytes) -> Job | Cancel | Quit:
    """What a line asks for.

    Raises:
        BadRequestError: if it is not JSON, of an unknown command, or its keys or values are not the command's.
    """
    try:
        values = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"A request must be one JSON object on one line in UTF-8, got {len(line)} bytes that are not. Send it so."
        raise BadRequestError(None, InputError(msg)) from error
    job_id = values.get("id") if isinstance(values, dict) else None
    if not isinstance(job_id, int) or isinstance(job_id, bool):
        job_id = None
    try:
        return _parse(values, job_id)
    except InputError as error:
        raise BadRequestError(job_id, error) from error


def _parse(values: object, job_id: int | None) -> Job | Cancel | Quit:
    if not isinstance(values, dict):
        msg = f"A request must be a JSON object, got {type(values).__name__}. Send {{'id': 1, 'command': ...}}."
        raise InputError(msg)
    body: dict[str, Any] = {key: value for key, value in values.items() if key not in ("id", "command")}
    command = values.get("command")
    if command == "quit":
        return Quit()
    kind = COMMANDS.get(command) if isinstance(command, str) else None
    if kind is None and command != "cancel":
        names = ", ".join([*COMMANDS, "cancel", "quit"])
        msg = f"A request's command must be one of {names}, got {command!r}."
        raise InputError(msg)
    if job_id is None:
        msg = f"The command {command} needs an id that is a whole number, got {values.get('id')!r}."
        raise InputError(msg)
    if kind is None:
        return Cancel(job_id)
    return Job(job_id, read_object(kind, body, str(command)))


def _require_texts(texts: tuple[str, ...]) -> None:
    if not any(text.strip() for text in texts):
        msg = "there must be at least one question, got none. Write one."
        raise ValueError(msg)


def _require_ending(what: str, path: Path, endings: tuple[str, ...]) -> None:
    if not path.name.lower().endswith(endings):
        msg = f"{what} must end in {' or '.join(endings)}, got {path.name}. Change the ending."
        raise ValueError(msg)
