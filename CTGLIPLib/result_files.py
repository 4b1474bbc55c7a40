"""Results as text: JSON, CSV and the terminal's table.

Conventions:
- JSON keys keep the order of the dataclasses' fields, numbers have at most six decimals, and a missing value is null,
  never NaN (test_result_files: `json validates against the shipped schema`);
- one CSV row for each question and organ, those that could not be scored included.

The format is described in docs/file_formats.md, and formally in data/findings.schema.json.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from textwrap import wrap

from CTGLIPLib.files import write_whole_text
from CTGLIPLib.results import (
    NOTICE,
    SCHEMA_VERSION,
    OrganRecognition,
    OrganScore,
    OrgansResult,
    QueryAnswer,
    QueryResult,
)
from CTGLIPLib.tumor_results import TumorResult
from CTGLIPLib.wording import STATE_WORDS, answer_words, shortened

Result = QueryResult | OrgansResult
JSON_DECIMALS = 6
NARROWEST_TABLE = 72
QUERY_COLUMNS = (
    "study", "question", "kind", "finding", "negated", "answer", "threshold", "organ", "readable", "state",
    "similarity", "normal_similarity", "score", "volume_ml", "centroid_r_mm", "centroid_a_mm", "centroid_s_mm",
    "model", "model_sha256", "segmentation", "notice",
)  # fmt: skip
ORGANS_COLUMNS = (
    "study", "organ", "state", "predicted", "rank", "name", "similarity",
    "model", "model_sha256", "segmentation", "notice",
)  # fmt: skip


def to_dict(result: Result | TumorResult) -> dict[str, object]:
    """The result as JSON-ready values in the schema's key order."""
    body: dict[str, object] = {"schema_version": SCHEMA_VERSION, "notice": NOTICE}
    body.update((field.name, _plain(getattr(result, field.name))) for field in fields(result))
    return body


def to_json(result: Result | TumorResult) -> str:
    """The result as JSON text, ending with a line break."""
    return json.dumps(to_dict(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(result: Result) -> str:
    """The result as comma-separated text with a header line.

    Text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a line break) gets a leading '.
    """
    rows = _query_rows(result) if isinstance(result, QueryResult) else _organs_rows(result)
    columns: tuple[str, ...] = QUERY_COLUMNS if isinstance(result, QueryResult) else ORGANS_COLUMNS
    shared: dict[str, object] = {
        "study": result.study.name,
        "model": result.model.name,
        "model_sha256": result.model.sha256,
        "segmentation": result.segmentation.source,
        "notice": NOTICE,
    }
    return csv_text(columns, [shared | row for row in rows])


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A header line and the rows, their cells as `csv_cell` writes them."""
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: csv_cell(value) for key, value in row.items()})
    return text.getvalue()


def write_json(result: Result | TumorResult, path: Path) -> None:
    """Write the result as JSON, whole or not at all.

    Raises:
        OutputError: if the file cannot be written.
    """
    write_whole_text(path, to_json(result))


def write_csv(result: Result, path: Path) -> None:
    """Write the result as CSV, whole or not at all.

    Raises:
        OutputError: if the file cannot be written.
    """
    write_whole_text(path, to_csv(result))


def to_table(result: Result, width: int = 100, max_rows: int = 10) -> str:
    """The result for a terminal, ending with the notice.

    Args:
        result: what `query` or `organs` returned.
        width: the terminal's columns; lines are wrapped or shortened to it, down to 72.
        max_rows: organs shown for each question, best first.
    """
    width = max(width, NARROWEST_TABLE)
    blocks = [_heading(result, width)]
    if isinstance(result, QueryResult):
        blocks += [_question_block(number, answer, width, max_rows) for number, answer in enumerate(result.queries, 1)]
    else:
        blocks.append(_organs_block(result, width, max_rows))
    blocks.append(NOTICE.capitalize() + ".")
    return "\n\n".join(blocks) + "\n"


def _plain(value: object) -> object:
    """JSON-ready values: dataclasses become objects, tuples arrays, and floats are rounded."""
    if isinstance(value, QueryAnswer):
        return _plain_answer(value)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return round(value, JSON_DECIMALS) + 0.0 if isinstance(value, float) else value


def _plain_answer(answer: QueryAnswer) -> dict[str, object]:
    prompts = {"positive": list(answer.positive_prompts), "negative": list(answer.negative_prompts)}
    flat = {field.name: _plain(getattr(answer, field.name)) for field in fields(answer) if "_prompts" not in field.name}
    organs = flat.pop("organs")
    return flat | {"prompts": prompts, "organs": organs}


def _query_rows(result: QueryResult) -> list[dict[str, object]]:
    rows = []
    for answer in result.queries:
        asked: dict[str, object] = {
            "question": answer.text,
            "kind": answer.kind,
            "finding": answer.finding,
            "negated": answer.negated,
            "answer": answer.answer,
            "threshold": answer.threshold,
        }
        rows += [asked | _organ_cells(organ) for organ in answer.organs] or [asked]
    return rows


def _organ_cells(organ: OrganScore) -> dict[str, object]:
    centroid = organ.centroid_ras_mm or (None, None, None)
    names = ("organ", "readable", "state", "similarity", "normal_similarity", "score", "volume_ml")
    cells: dict[str, object] = {name: getattr(organ, name) for name in names}
    return cells | {f"centroid_{axis}_mm": value for axis, value in zip("ras", centroid, strict=True)}


def _organs_rows(result: OrgansResult) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for organ in result.organs:
        base: dict[str, object] = {"organ": organ.name, "state": organ.state, "predicted": organ.predicted}
        ranked = [
            base | {"rank": rank, "name": name, "similarity": value} for rank, (name, value) in enumerate(organ.top5, 1)
        ]
        rows += ranked or [base]
    return rows


def csv_cell(value: object) -> str:
    """A value as a cell of a table: nothing for None, and a text that a spreadsheet would run gets a leading '."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(round(value, JSON_DECIMALS) + 0.0)
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _heading(result: Result, width: int) -> str:
    study, model = result.study, result.model
    spacing = " x ".join(f"{value:.3g}" for value in study.spacing_mm)
    shape = " x ".join(map(str, study.shape_ijk))
    lines = [
        ("Scan", f"{study.name}: {shape} voxels of {spacing} mm, {study.orientation}"),
        ("Organs", f"{result.segmentation.source} ({result.segmentation.vocabulary})"),
        ("Model", f"{model.name} (SHA-256 {model.sha256[:12]})"),
        *(("Warning", warning) for warning in study.warnings),
    ]
    return "\n".join(_wrapped(text, f"{name:9}", width) for name, text in lines)


def _wrapped(text: str, lead: str, width: int) -> str:
    plain = shortened(text, 10 * width)
    return "\n".join(wrap(plain, width, initial_indent=lead, subsequent_indent=" " * len(lead)) or [lead.rstrip()])


def _question_block(number: int, answer: QueryAnswer, width: int, max_rows: int) -> str:
    title = _wrapped(f'"{answer.text}": {answer_words(answer)}', f"{number}. ", width)
    shown = answer.ranked[:max_rows]
    if not shown:
        return title
    rows = [
        (
            organ.readable,
            _decimals(organ.score, 2),
            _decimals(organ.similarity, 3),
            _decimals(organ.volume_ml or None, 1),
            STATE_WORDS[organ.state],
        )
        for organ in shown
    ]
    lines = [title, *columns(("Organ", "Score", "Similarity", "Volume ml", "State"), rows, "<>>><", width)]
    return "\n".join([*lines, *_left_out(len(answer.organs) - len(shown))])


def _organs_block(result: OrgansResult, width: int, max_rows: int) -> str:
    ordered = sorted(result.organs, key=lambda organ: -organ.top5[0][1] if organ.top5 else 2.0)
    shown = ordered[:max_rows]
    rows = [
        (organ.name, *_recognised(organ), _decimals(organ.top5[0][1] if organ.top5 else None, 3)) for organ in shown
    ]
    lines = columns(("Organ", "Recognised as", "Rank", "Similarity"), rows, "<<>>", width)
    lines += _left_out(len(ordered) - len(shown))
    if result.n and result.top1 is not None:
        top5 = "" if result.top5 is None else f", in the first five {result.top5:.1%}"
        told = f"Own name first {result.top1:.1%}{top5}, of {result.n} measured organs with a vocabulary name."
        lines += ["", _wrapped(told, "", width)]
    return "\n".join(lines)


def _recognised(organ: OrganRecognition) -> tuple[str, str]:
    """The predicted name, or why there is none; the rank of the organ's own name."""
    if organ.predicted is None:
        return STATE_WORDS[organ.state], "-"
    names = [name for name, _ in organ.top5]
    return organ.predicted, str(names.index(organ.name) + 1) if organ.name in names else "> 5"


def _left_out(count: int) -> list[str]:
    return [f"   ... and {count} more"] if count > 0 else []


def _decimals(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], align: str, width: int) -> list[str]:
    """Aligned lines, indented by three; the first column is shortened where the line would pass `width`."""
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    others = sum(widths[1:]) + 2 * (len(widths) - 1) + 3
    widths[0] = max(min(max(len(shortened(row[0], width)) for row in table), width - others), len(header[0]))
    cells = [[shortened(text, size) for text, size in zip(row, widths, strict=True)] for row in table]
    return [
        "   " + "  ".join(f"{text:{side}{size}}" for text, side, size in zip(row, align, widths, strict=True)).rstrip()
        for row in cells
    ]
