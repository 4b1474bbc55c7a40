"""How a report fits onto one A4 page: type sizes, rows, pictures.

Conventions:
- sizes are millimetres, type sizes points; widths are those of DejaVu Sans, wider than what browsers put for it;
- more rows mean smaller type, then smaller and fewer pictures, then rows left out and counted (test_report: `many
  questions are counted instead of overflowing the page`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from matplotlib.font_manager import FontProperties, findfont, get_font

from CTGLIPLib.report_page import COLUMNS, ReportPage, ReportRow
from CTGLIPLib.wording import shortened

FONT = "DejaVu Sans"
PAGE_MM = (210.0, 297.0)
MARGIN_MM = 12.0
WIDTH_MM, HEIGHT_MM = PAGE_MM[0] - 2 * MARGIN_MM, PAGE_MM[1] - 2 * MARGIN_MM
MM_PER_PT = 25.4 / 72
LEADING = 1.28
"""Height of a line in type sizes."""
TITLE_PT, FACT_PT, NOTICE_PT = 14.0, 8.0, 8.5
FACT_NAME_MM = 22.0
COLUMNS_MM = (39.0, 42.0, 39.0, 11.0, 16.0, 23.0, 16.0)
CELL_GAP_MM, ROW_GAP_MM, BLOCK_GAP_MM = 2.0, 1.4, 3.0
BOLD = 1.12
"""Width of bold type, of a title or a finding, in widths of normal type."""
MOST_LINES, MOST_NOTE_LINES, MOST_FACT_LINES, MEANING_LINES = 3, 2, 2, 5
MOST_LETTERS, MEASURED_PT = 500, 100.0
MOST_ROWS = 60
"""More have no room on the page in the smallest type."""
ROW_PT, SMALLEST_ROW_PT = (8.0, 7.0), 6.2
PICTURE_GAP_MM, CAPTION_LINES = 3.0, 2
FULL_MM, LOW_MM, FLAT_MM, HALF_MM, SMALL_MM = (186.0, 78.0), (186.0, 62.0), (186.0, 50.0), (91.5, 41.0), (91.5, 31.0)
ARRANGEMENTS: dict[int, tuple[tuple[int, int, tuple[float, float]], ...]] = {
    0: (),
    1: ((1, 1, FULL_MM), (1, 1, LOW_MM), (1, 1, FLAT_MM), (1, 1, SMALL_MM)),
    2: ((2, 1, FULL_MM), (2, 1, LOW_MM), (2, 1, FLAT_MM), (2, 2, HALF_MM), (2, 2, SMALL_MM)),
    3: ((3, 2, HALF_MM), (3, 2, SMALL_MM), (2, 2, HALF_MM), (2, 2, SMALL_MM)),
    4: ((4, 2, HALF_MM), (4, 2, SMALL_MM), (2, 2, HALF_MM), (2, 2, SMALL_MM)),
}
"""Ways to show so many pictures, the best first: how many, how many side by side, width and height of each."""


@dataclass(frozen=True)
class Pictures:
    """Pictures in equal boxes.

    Attributes:
        count: how many.
        columns: how many side by side.
        image_mm: width and height of the box of each.
    """

    count: int
    columns: int
    image_mm: tuple[float, float]

    @property
    def height_mm(self) -> float:
        """Height of all, captions and gaps included."""
        rows = -(-self.count // self.columns)
        return rows * (self.image_mm[1] + CAPTION_LINES * line_mm(FACT_PT) + PICTURE_GAP_MM)


@dataclass(frozen=True)
class FittedRow:
    """A row of the table as lines of text.

    Attributes:
        cells: the lines of each column.
        note: the lines below them.
        answer: found, not_found or unanswerable.
    """

    cells: tuple[tuple[str, ...], ...]
    note: tuple[str, ...]
    answer: str

    def height_mm(self, size_pt: float) -> float:
        """Height of the row in that type size."""
        return (max(map(len, self.cells)) + len(self.note)) * line_mm(size_pt) + ROW_GAP_MM


@dataclass(frozen=True)
class Layout:
    """A report that fits onto its page.

    Attributes:
        title, facts, warnings, meaning: the page's texts as lines.
        rows: the table.
        row_pt: its type size.
        left_out: number of questions that have no row.
        pictures: the pictures' boxes; None = none.
    """

    title: str
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    warnings: tuple[str, ...]
    meaning: tuple[str, ...]
    rows: tuple[FittedRow, ...]
    row_pt: float
    left_out: int
    pictures: Pictures | None

    @property
    def more(self) -> str:
        """The line below a table that is not whole; empty for a whole one."""
        questions = f"{self.left_out} more question{'s' if self.left_out > 1 else ''}"
        return f"... and {questions}: findings.csv has every answer." if self.left_out else ""

    @property
    def height_mm(self) -> float:
        """Height of everything."""
        notices = 2 * (line_mm(NOTICE_PT) + BLOCK_GAP_MM)
        lines = sum(len(lines) for _, lines in self.facts) + len(self.warnings) + len(self.meaning)
        table = line_mm(self.row_pt) + sum(row.height_mm(self.row_pt) for row in self.rows) + 2 * ROW_GAP_MM
        more = line_mm(self.row_pt) if self.more else 0.0
        pictures = self.pictures.height_mm if self.pictures else 0.0
        gaps = 5 * BLOCK_GAP_MM
        return notices + line_mm(TITLE_PT) + lines * line_mm(FACT_PT) + table + more + pictures + gaps


def fit(page: ReportPage, *, drawable: bool) -> Layout:
    """The page's texts as lines, and as many rows and pictures as fit.

    Args:
        page: the texts.
        drawable: whether there are voxels to draw.
    """
    fixed = Layout(
        title=wrapped(page.title, WIDTH_MM / BOLD, TITLE_PT, 1)[0],
        facts=tuple(
            (name, wrapped(text, WIDTH_MM - FACT_NAME_MM, FACT_PT, MOST_FACT_LINES)) for name, text in page.facts
        ),
        warnings=tuple(line for text in page.warnings for line in wrapped(f"Note: {text}", WIDTH_MM, FACT_PT, 2)),
        meaning=wrapped(page.meaning, WIDTH_MM, FACT_PT, MEANING_LINES),
        rows=(),
        row_pt=SMALLEST_ROW_PT,
        left_out=0,
        pictures=None,
    )
    wanted = len(page.pictured) if drawable else 0
    choices = [Pictures(*choice) for choice in ARRANGEMENTS[wanted]]
    rows, left_out = page.rows[:MOST_ROWS], max(len(page.rows) - MOST_ROWS, 0)
    fitted = {} if left_out else {size: _fitted(rows, size) for size in ROW_PT}
    for pictures, size in product((*choices, None), fitted):
        whole = replace(fixed, rows=fitted[size], row_pt=size, pictures=pictures)
        if whole.height_mm <= HEIGHT_MM:
            return whole
    part = replace(fixed, rows=_fitted(rows, SMALLEST_ROW_PT), left_out=left_out)
    while part.rows and part.height_mm > HEIGHT_MM:
        part = replace(part, rows=part.rows[:-1], left_out=part.left_out + 1)
    return part


def line_mm(size_pt: float) -> float:
    """Height of a line of text."""
    return size_pt * MM_PER_PT * LEADING


def width_mm(text: str, size_pt: float) -> float:
    """Width of a text on one line, without the few hundredths that kerning takes off."""
    return sum(map(_advance, text)) * size_pt * MM_PER_PT


@cache
def _advance(letter: str) -> float:
    """A letter's width in type sizes; one that the font lacks is taken for a wide one, as Chinese letters are."""
    font = get_font(findfont(FontProperties(family=FONT)))
    if not font.get_char_index(ord(letter)):
        return 1.0
    font.set_size(MEASURED_PT, 72)  # small type would be measured in whole pixels
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / MEASURED_PT


def wrapped(text: str, room_mm: float, size_pt: float, most: int) -> tuple[str, ...]:
    """The text as at most `most` lines that fit a width; "..." stands for what is left out."""
    rest, lines = shortened(text, MOST_LETTERS), []
    while rest:
        if width_mm(rest, size_pt) <= room_mm:
            return (*lines, rest)
        if len(lines) == most - 1:
            end = _longest(rest, room_mm - width_mm("...", size_pt), size_pt)
            return (*lines, f"{rest[:end].rstrip()}...")
        end = _longest(rest, room_mm, size_pt)
        space = rest.rfind(" ", 0, end + 1)
        end = space if space > 0 else max(end, 1)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return tuple(lines) or ("",)


def is_bold(row: ReportRow | FittedRow, column: str) -> bool:
    """Whether a cell is written in bold type: the answers that found something."""
    return column == "Answer" and row.answer == "found"


def _longest(text: str, room_mm: float, size_pt: float) -> int:
    """How many of the text's first letters fit a width."""
    return bisect_right(range(1, len(text) + 1), room_mm, key=lambda count: width_mm(text[:count], size_pt))


def _fitted(rows: Sequence[ReportRow], size_pt: float) -> tuple[FittedRow, ...]:
    return tuple(
        FittedRow(
            tuple(
                wrapped(text, (width - CELL_GAP_MM) / (BOLD if is_bold(row, name) else 1.0), size_pt, MOST_LINES)
                for name, text, width in zip(COLUMNS, row.cells, COLUMNS_MM, strict=True)
            ),
            wrapped(row.note, WIDTH_MM, size_pt, MOST_NOTE_LINES) if row.note else (),
            row.answer,
        )
        for row in rows
    )
