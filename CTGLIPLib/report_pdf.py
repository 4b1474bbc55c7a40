"""A report as a PDF of one A4 page: text stays text, and nothing in the file tells of the machine that made it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from CTGLIPLib.picture_frame import drawable
from CTGLIPLib.report_layout import (
    BLOCK_GAP_MM,
    CAPTION_LINES,
    CELL_GAP_MM,
    COLUMNS_MM,
    FACT_NAME_MM,
    FACT_PT,
    FONT,
    HEIGHT_MM,
    MARGIN_MM,
    NOTICE_PT,
    PAGE_MM,
    PICTURE_GAP_MM,
    ROW_GAP_MM,
    TITLE_PT,
    WIDTH_MM,
    FittedRow,
    Layout,
    Pictures,
    is_bold,
    line_mm,
    wrapped,
)
from CTGLIPLib.report_page import COLUMNS, NUMBERS, WARNING

MM_PER_INCH = 25.4
BLACK, GREY, LIGHT, STRIP = "#111111", "#555555", "#bbbbbb", "#eeeeee"
ANSWER_COLOURS = {"found": "#0a5c36", "not_found": "#333333", "unanswerable": "#7a4b00"}


def write_pdf(
    layout: Layout, pictures: Sequence[np.ndarray], captions: Sequence[str], path: Path, made: datetime
) -> None:
    """Write the report as a PDF to `path`.

    Args:
        layout: what it says.
        pictures: uint8, shape (row, column, 3), as many as the layout has boxes for.
        captions: the text below each.
        path: the file.
        made: its date.
    """
    sheet = _Sheet()
    sheet.notice()
    sheet.text(layout.title, size=TITLE_PT, weight="bold")
    sheet.down(BLOCK_GAP_MM / 2)
    for name, lines in layout.facts:
        sheet.text(name, colour=GREY, stay=True)
        for line in lines:
            sheet.text(line, left_mm=FACT_NAME_MM)
    for line in layout.warnings:
        sheet.text(line)
    sheet.down(BLOCK_GAP_MM / 2)
    sheet.table(layout)
    if layout.pictures:
        sheet.pictures(layout.pictures, pictures, captions)
    sheet.y_mm = HEIGHT_MM - len(layout.meaning) * line_mm(FACT_PT) - line_mm(NOTICE_PT) - BLOCK_GAP_MM
    for line in layout.meaning:
        sheet.text(line)
    sheet.down(BLOCK_GAP_MM)
    sheet.notice()
    metadata = {"Title": layout.title, "Creator": "CT-GLIP", "Producer": "CT-GLIP", "Subject": WARNING}
    with rc_context({"pdf.fonttype": 42}):
        FigureCanvasPdf(sheet.figure).print_pdf(path, metadata=metadata | {"CreationDate": made, "ModDate": made})


class _Sheet:
    """An A4 page that is filled from top to bottom; places are millimetres from the margins' upper left corner."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(PAGE_MM[0] / MM_PER_INCH, PAGE_MM[1] / MM_PER_INCH), facecolor="white")
        self.y_mm = 0.0

    def down(self, mm: float) -> None:
        """Leave space."""
        self.y_mm += mm

    def place(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        """A place as shares of the page, as matplotlib wants it."""
        return (MARGIN_MM + x_mm) / PAGE_MM[0], 1 - (MARGIN_MM + y_mm) / PAGE_MM[1]

    def text(
        self, text: str, *, left_mm: float = 0.0, size: float = FACT_PT, stay: bool = False, colour: str = BLACK,
        **style: str,
    ) -> None:  # fmt: skip
        """Write a line, and go to the next unless it is to `stay`."""
        place = self.place(left_mm, self.y_mm + line_mm(size) / 2)
        style = {"ha": "left", "color": colour, "fontfamily": FONT} | style
        self.figure.text(*place, drawable(text), fontsize=size, va="center_baseline", parse_math=False, **style)  # pyright: ignore[reportArgumentType] - mixed options
        if not stay:
            self.down(line_mm(size))

    def notice(self) -> None:
        """The strip that says what this is not."""
        left, bottom = self.place(0.0, self.y_mm + line_mm(NOTICE_PT))
        size = WIDTH_MM / PAGE_MM[0], line_mm(NOTICE_PT) / PAGE_MM[1]
        self.figure.add_artist(Rectangle((left, bottom), *size, facecolor=STRIP, edgecolor="none"))
        self.text(WARNING, left_mm=WIDTH_MM / 2, size=NOTICE_PT, ha="center", weight="bold")
        self.down(BLOCK_GAP_MM)

    def rule(self, colour: str, width: float) -> None:
        """A line across the page."""
        ends = zip(self.place(0.0, self.y_mm), self.place(WIDTH_MM, self.y_mm), strict=True)
        self.figure.add_artist(Line2D(*ends, color=colour, linewidth=width))

    def table(self, layout: Layout) -> None:
        """The questions and their answers."""
        self.cells([(name,) for name in COLUMNS], layout.row_pt, [GREY] * len(COLUMNS), ["normal"] * len(COLUMNS))
        self.rule(BLACK, 0.8)
        for row in layout.rows:
            self.row(row, layout.row_pt)
        if layout.more:
            self.text(layout.more, size=layout.row_pt, colour=GREY)
        self.down(BLOCK_GAP_MM)

    def row(self, row: FittedRow, size: float) -> None:
        """One row with its note."""
        self.down(ROW_GAP_MM / 2)
        colours = [ANSWER_COLOURS[row.answer] if name == "Answer" else BLACK for name in COLUMNS]
        weights = ["bold" if is_bold(row, name) else "normal" for name in COLUMNS]
        self.cells(row.cells, size, colours, weights)
        for line in row.note:
            self.text(line, size=size, colour=GREY)
        self.down(ROW_GAP_MM / 2)
        self.rule(LIGHT, 0.3)

    def cells(
        self, cells: Sequence[Sequence[str]], size: float, colours: Sequence[str], weights: Sequence[str]
    ) -> None:
        """The lines of a row's cells side by side."""
        top, left = self.y_mm, 0.0
        for name, lines, width, colour, weight in zip(COLUMNS, cells, COLUMNS_MM, colours, weights, strict=True):
            self.y_mm = top
            right = name in NUMBERS
            x = left + width - CELL_GAP_MM if right else left
            for line in lines:
                self.text(line, left_mm=x, size=size, colour=colour, ha="right" if right else "left", weight=weight)
            left += width
        self.y_mm = top + max(map(len, cells)) * line_mm(size)

    def pictures(self, boxes: Pictures, pictures: Sequence[np.ndarray], captions: Sequence[str]) -> None:
        """The pictures in their boxes, each with its caption below."""
        width, height = boxes.image_mm
        top, row_height = self.y_mm, boxes.height_mm / -(-boxes.count // boxes.columns)
        for number, (pixels, text) in enumerate(zip(pictures, captions, strict=True)):
            row, column = divmod(number, boxes.columns)
            left, self.y_mm = column * (width + PICTURE_GAP_MM), top + row * row_height
            scale = min(width / pixels.shape[1], height / pixels.shape[0])
            across, down = pixels.shape[1] * scale, pixels.shape[0] * scale
            place = self.place(left + (width - across) / 2, self.y_mm + down)
            axes = self.figure.add_axes((*place, across / PAGE_MM[0], down / PAGE_MM[1]))
            axes.imshow(pixels, interpolation="none", aspect="auto")
            axes.set_axis_off()
            self.down(down)
            for line in wrapped(text, width, FACT_PT, CAPTION_LINES):
                self.text(line, left_mm=left)
