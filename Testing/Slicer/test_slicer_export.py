"""Answers as files outside the scene."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")
from made_results import answer, organ, result  # noqa: E402 - needs nothing of Slicer, but its tests do

GIVEN = result(answer("fatty liver", organ("liver", 0.8)))


def test_json_can_be_read_again(slicerApp, tmp_path):
    from CTGLIPLib.result_reader import read_json
    from CTGLIPSlicer.export import exportResult

    assert read_json(exportResult(GIVEN, tmp_path / "R.JSON")) == GIVEN


def test_csv_has_a_row_for_each_question_and_organ(slicerApp, tmp_path):
    import csv

    from CTGLIPSlicer.export import exportResult

    with exportResult(GIVEN, str(tmp_path / "r.csv")).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["question"], row["organ"], row["notice"]) for row in rows] == [
        ("fatty liver", "liver", "research software, not a medical device")
    ]


def test_another_ending_is_refused_with_the_known_ones(slicerApp, tmp_path):
    from CTGLIPLib.errors import InputError
    from CTGLIPSlicer.export import exportResult

    with pytest.raises(InputError, match=r"written as .csv, .json, .html, .pdf, got r.xlsx"):
        exportResult(GIVEN, tmp_path / "r.xlsx")


def test_a_folder_that_cannot_be_written_is_told(slicerApp, tmp_path):
    from CTGLIPLib.errors import OutputError
    from CTGLIPSlicer.export import exportResult

    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Could not write"):
        exportResult(GIVEN, tmp_path / "file" / "r.csv")


def test_reports_are_html_and_pdf(slicerApp):
    from CTGLIPSlicer.export import isReport

    assert [isReport(f"r{ending}") for ending in (".html", ".PDF", ".csv", "")] == [True, True, False, False]
