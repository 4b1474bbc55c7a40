"""A one-page report of a query for a radiologist: HTML or PDF. Research software, not a medical device."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from CTGLIPLib.errors import OutputError
from CTGLIPLib.files import whole_file
from CTGLIPLib.predict import Predictor, Study
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.progress import report as tell
from CTGLIPLib.report_html import to_html
from CTGLIPLib.report_layout import fit
from CTGLIPLib.report_page import caption, report_page
from CTGLIPLib.report_pdf import write_pdf
from CTGLIPLib.report_pictures import png_bytes, report_picture
from CTGLIPLib.results import QueryResult
from CTGLIPLib.study import StudyEmbedding, require_model

ENDINGS = (".html", ".htm", ".pdf")
DOING = "writing the report"


def write_report(
    predictor: Predictor | None,
    study: Study | StudyEmbedding,
    result: QueryResult,
    path: Path,
    progress: ProgressCallback | None = None,
) -> Path:
    """Write a report of one A4 page and return its path.

    Args:
        predictor: whose answers these are; None for those of a study file.
        study: the encoded scan; without its voxels the report has no pictures.
        result: the answers.
        path: ends in .html or .pdf.
        progress: told how many pictures are drawn; answers False to cancel.

    Raises:
        OutputError: if the ending is another, or the file cannot be written.
        CheckpointError: if another model encoded the study.
        Cancelled: if `progress` asks to stop.
    """
    ending = require_report_ending(path)
    embedding = study.embedding if isinstance(study, Study) else study
    if predictor is not None:
        require_model(embedding, predictor.model)
    now = datetime.now(timezone.utc)
    page = report_page(embedding, result, now)
    layout = fit(page, drawable=isinstance(study, Study))
    answers = page.pictured[: layout.pictures.count if layout.pictures else 0]
    drawn: list[np.ndarray] = []
    for answer in answers:
        tell(progress, DOING, len(drawn), len(answers) + 1)
        if isinstance(study, Study):
            drawn.append(report_picture(study, answer))
    tell(progress, DOING, len(answers), len(answers) + 1)
    captions = [caption(answer) for answer in answers]
    with whole_file(path) as temporary:
        if ending == ".pdf":
            write_pdf(layout, drawn, captions, temporary, now)
        else:
            text = to_html(layout, [png_bytes(pixels) for pixels in drawn], captions)
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    tell(progress, DOING, len(answers) + 1, len(answers) + 1)
    return path


def require_report_ending(path: Path) -> str:
    """The ending of a report's file.

    Raises:
        OutputError: if it is none that can be written.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        msg = f"A report's name must end in .html or .pdf, got {path.name}. Write {path.stem or 'report'}.html instead."
        raise OutputError(msg)
    return ending
