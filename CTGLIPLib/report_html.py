"""A report as one HTML file that needs nothing else: styles and pictures inside, no scripts, prints on one A4 page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from CTGLIPLib.report_layout import (
    BLOCK_GAP_MM,
    CAPTION_LINES,
    COLUMNS_MM,
    FACT_NAME_MM,
    FACT_PT,
    FONT,
    HEIGHT_MM,
    LEADING,
    MARGIN_MM,
    NOTICE_PT,
    PICTURE_GAP_MM,
    ROW_GAP_MM,
    TITLE_PT,
    WIDTH_MM,
    FittedRow,
    Layout,
    line_mm,
)
from CTGLIPLib.report_page import COLUMNS, NUMBERS, WARNING

ANSWER_COLOURS = {"found": "#0a5c36", "not_found": "#333333", "unanswerable": "#7a4b00"}
"""Dark enough to be read in grey; the words say the same."""


def to_html(layout: Layout, pictures: Sequence[bytes], captions: Sequence[str]) -> str:
    """The report as HTML.

    Args:
        layout: what it says.
        pictures: PNG files' content, as many as the layout has boxes for.
        captions: the text below each.
    """
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(' '.join(lines))}</dd>" for name, lines in layout.facts)
    warnings = "".join(f"<p>{escape(text)}</p>" for text in layout.warnings)
    more = f'<p class="more">{escape(layout.more)}</p>' if layout.more else ""
    notice = f'<p class="notice">{escape(WARNING)}</p>'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(layout.title)}</title>\n<style>\n{_style(layout)}</style>\n</head>\n<body>\n"
        f'{notice}\n<h1>{escape(layout.title)}</h1>\n<dl>{facts}</dl>\n<div class="warnings">{warnings}</div>\n'
        f"{_table(layout.rows)}\n{more}\n{_figures(pictures, captions)}\n"
        f'<p class="meaning">{escape(" ".join(layout.meaning))}</p>\n{notice}\n</body>\n</html>\n'
    )


def _style(layout: Layout) -> str:
    width, height = layout.pictures.image_mm if layout.pictures else (WIDTH_MM, 0.0)
    colours = " ".join(f".{name} .answer {{ color: {colour}; }}" for name, colour in ANSWER_COLOURS.items())
    return f"""\
@page {{ size: A4; margin: {MARGIN_MM}mm; }}
* {{ margin: 0; padding: 0; box-sizing: border-box; }}
body {{ width: {WIDTH_MM}mm; min-height: {HEIGHT_MM - 2}mm; margin: 0 auto; display: flex; flex-direction: column;
  font: {FACT_PT}pt/{LEADING} "{FONT}", Verdana, Arial, sans-serif;
  color: #111; background: #fff; print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
h1 {{ font-size: {TITLE_PT}pt; margin-bottom: {BLOCK_GAP_MM / 2}mm; white-space: nowrap; overflow: hidden; }}
.notice {{ font-size: {NOTICE_PT}pt; font-weight: bold; text-align: center; background: #eee;
  margin-bottom: {BLOCK_GAP_MM}mm; }}
dl {{ display: grid; grid-template-columns: {FACT_NAME_MM}mm 1fr; }}
dt, th, .more {{ color: #555; }}
dd, td, figcaption {{ overflow-wrap: anywhere; }}
table {{ width: {WIDTH_MM}mm; table-layout: fixed; border-collapse: collapse; font-size: {layout.row_pt}pt;
  margin: {BLOCK_GAP_MM / 2}mm 0; }}
th {{ text-align: left; font-weight: normal; white-space: nowrap; border-bottom: 0.3mm solid #333; }}
td {{ vertical-align: top; padding: {ROW_GAP_MM / 2}mm 1mm {ROW_GAP_MM / 2 - 0.1}mm 0; }}
tbody tr {{ border-top: 0.1mm solid #bbb; }}
tbody tr.note {{ border-top: 0; }}
.note td {{ padding-top: 0; color: #555; }}
.number {{ text-align: right; padding-right: 2mm; }}
.more {{ font-size: {layout.row_pt}pt; }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 0 {PICTURE_GAP_MM}mm; margin-top: {BLOCK_GAP_MM / 2}mm; }}
figure {{ width: {width}mm; margin-bottom: {PICTURE_GAP_MM}mm; }}
img {{ display: block; margin: 0 auto; max-width: {width}mm; max-height: {height}mm; }}
figcaption {{ max-height: {CAPTION_LINES * line_mm(FACT_PT):.2f}mm; overflow: hidden; }}
.meaning {{ margin: auto 0 {BLOCK_GAP_MM}mm; }}
.meaning + .notice {{ margin: 0; }}
{colours}
.found .answer {{ font-weight: bold; }}
@media screen {{ body {{ padding: {MARGIN_MM}mm 0; }} }}
"""


def _table(rows: Sequence[FittedRow]) -> str:
    columns = "".join(f'<col style="width: {width}mm">' for width in COLUMNS_MM)
    head = "".join(f"<th{_kind(name)}>{escape(name)}</th>" for name in COLUMNS)
    body = "".join(map(_row, rows))
    return f"<table>\n<colgroup>{columns}</colgroup>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _row(row: FittedRow) -> str:
    cells = "".join(
        f"<td{_kind(name)}>{escape(' '.join(lines))}</td>" for name, lines in zip(COLUMNS, row.cells, strict=True)
    )
    note = f'<tr class="note"><td colspan="{len(COLUMNS)}">{escape(" ".join(row.note))}</td></tr>\n' if row.note else ""
    return f'<tr class="{row.answer}">{cells}</tr>\n{note}'


def _kind(column: str) -> str:
    if column in NUMBERS:
        return ' class="number"'
    return ' class="answer"' if column == "Answer" else ""


def _figures(pictures: Sequence[bytes], captions: Sequence[str]) -> str:
    figures = "".join(
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{escape(text)}</figcaption></figure>\n"
        for png, text in zip(pictures, captions, strict=True)
    )
    return f'<div class="pictures">\n{figures}</div>' if figures else ""
