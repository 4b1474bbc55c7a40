"""The section Keep: files, where results live, clearing them."""

from __future__ import annotations

import csv
import json

import pytest
from panel_rig import made_up_result, wait_until

QUESTIONS = {"fatty liver": {"liver": 0.8}, "kidney stone": {"kidney_right": 0.7, "kidney_left": 0.1}}


@pytest.fixture
def answered(rig):
    rig.ask(made_up_result(rig.study, QUESTIONS))
    return rig


def buttons(rig):
    ui = rig.ui
    return [ui.exportCsvButton, ui.exportJsonButton, ui.exportHtmlButton, ui.exportPdfButton, ui.clearButton]


def test_there_is_nothing_to_keep_before_the_first_answer(rig):
    assert [button.enabled for button in buttons(rig)] == [False] * 5
    assert rig.ui.keptLabel.text == "No results of this CT."


def test_it_is_said_where_results_live_in_the_scene(answered):
    import slicer

    assert [button.enabled for button in buttons(answered)] == [True] * 5
    table = slicer.util.getNodesByClass("vtkMRMLTableNode")[0]
    assert table.GetName() == "CT-GLIP findings of patient"
    assert "CT-GLIP findings of patient" in answered.ui.keptLabel.text


def test_a_file_dialog_asks_where_the_table_goes(answered, dialogs, tmp_path):
    path = tmp_path / "out.csv"
    dialogs.answer("getSaveFileName", str(path))
    answered.click(answered.ui.exportCsvButton)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["question"], row["organ"], row["answer"]) for row in rows] == [
        ("fatty liver", "liver", "found"),
        ("kidney stone", "kidney_right", "found"),
        ("kidney stone", "kidney_left", "found"),
    ]
    assert f"Saved {path}." in answered.ui.keptLabel.text


def test_the_ending_is_added_where_it_was_left_out(answered, dialogs, tmp_path):
    dialogs.answer("getSaveFileName", str(tmp_path / "out"))
    answered.click(answered.ui.exportJsonButton)
    saved = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [query["text"] for query in saved["queries"]] == ["fatty liver", "kidney stone"]
    assert saved["notice"] == "research software, not a medical device"


def test_a_cancelled_dialog_writes_nothing(answered, dialogs, tmp_path):
    answered.click(answered.ui.exportCsvButton)
    assert list(tmp_path.iterdir()) == []
    assert len(dialogs.of("getSaveFileName")) == 1
    assert "Saved" not in answered.ui.keptLabel.text


def test_a_folder_that_cannot_be_written_is_told(answered, tmp_path):
    (tmp_path / "file").write_text("x")
    answered.panel.results.exportTo(str(tmp_path / "file" / "out.csv"))
    assert "Error:" in answered.ui.keptLabel.text
    assert "out.csv" in answered.ui.keptLabel.text


@pytest.mark.parametrize("ending", ["html", "pdf"])
def test_a_report_is_written_by_the_child(answered, dialogs, tmp_path, ending):
    path = str(tmp_path / f"report.{ending}")
    dialogs.answer("getSaveFileName", path)
    answered.click(answered.ui.exportHtmlButton if ending == "html" else answered.ui.exportPdfButton)
    wait_until(lambda: answered.worker.of("report"))
    request = answered.worker.of("report")[0]
    assert request["path"] == path
    assert request["texts"] == ["fatty liver", "kidney stone"]
    assert answered.ui.askButton.text == "Cancel"
    answered.worker.answer({"path": path})
    answered.rest()
    assert f"Saved {path}." in answered.ui.keptLabel.text


def test_a_report_that_fails_or_is_cancelled_is_awaited_no_more(answered, tmp_path):
    path = str(tmp_path / "report.html")
    answered.panel.results.exportTo(path)
    wait_until(lambda: answered.worker.of("report"))
    answered.worker.fail("OutputError", "Could not write the report.")
    answered.rest()
    assert answered.ui.keptLabel.text.endswith("<b>Error:</b> Could not write the report.</span>")
    answered.panel.results.exportTo(path)
    wait_until(lambda: len(answered.worker.of("report")) == 2)
    answered.click(answered.ui.askButton)
    answered.rest()
    assert answered.ui.keptLabel.text.endswith("No report was written.")


def test_nothing_that_would_replace_a_request_is_offered_while_it_is_on_its_way(answered):
    ui = answered.ui
    answered.start("gallstone")
    assert [button.enabled for button in buttons(answered)] == [True, True, False, False, True]
    assert not ui.heatmapButton.enabled
    answered.session.cancel()
    answered.rest()
    assert [button.enabled for button in buttons(answered)] == [True] * 5
    assert ui.heatmapButton.enabled


def test_clearing_removes_nodes_rows_tags_and_colours(answered):
    import slicer

    display = answered.study.segmentation.GetDisplayNode()
    spleen = answered.study.segmentId("spleen")
    assert display.GetSegmentOpacity3D(spleen) < 0.5
    answered.click(answered.ui.clearButton)
    assert slicer.util.getNodesByClass("vtkMRMLTableNode") == []
    assert slicer.util.getNodesByClass("vtkMRMLTextNode") == []
    assert answered.ui.findingsTable.model().rowCount() == 0
    assert answered.ui.shownQuestionComboBox.count == 0
    assert display.GetSegmentOpacity3D(spleen) == 1.0
    assert [button.enabled for button in buttons(answered)] == [False] * 5
    assert "Nothing was asked of this CT yet." in answered.ui.tableCountLabel.text
