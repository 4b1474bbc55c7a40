"""The panel and the scene: other CTs, closing, saving and opening again; nothing is left behind."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from panel_rig import PanelRig, made_up_result, wait_until
from PySide6 import QtWidgets

from CTGLIPSlicer.worker_failure import Failure

QUESTIONS = {"fatty liver": {"liver": 0.8}, "kidney stone": {"kidney_right": 0.7, "kidney_left": 0.1}}


@pytest.fixture
def answered(rig):
    rig.ask(made_up_result(rig.study, QUESTIONS))
    return rig


def second_ct():
    values = np.random.default_rng(0).integers(-1000, 1500, (30, 31, 32)).astype(np.int16)
    return slicer.util.addVolumeFromArray(values, name="second")


def test_the_notice_is_always_there(rig):
    assert rig.ui.noticeLabel.text == "Research software, not a medical device."
    for section in ("setupSection", "inputsSection", "askSection", "seeSection", "keepSection"):
        getattr(rig.ui, section).collapsed = True
    assert rig.ui.noticeLabel.visible


def test_the_panel_fits_400_pixels(rig):
    for section in ("setupSection", "inputsSection", "askSection", "seeSection", "keepSection"):
        getattr(rig.ui, section).collapsed = False
    assert rig.panel.widget.minimumSizeHint.width() <= 380


def test_words_that_wrap_keep_all_their_lines_in_a_scrolled_panel(rig):
    scroll = QtWidgets.QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFixedSize(400, 1100)
    rig.window.setMinimumWidth(0)
    scroll.setWidget(rig.window)
    scroll.show()
    values = np.random.default_rng(0).integers(-2000, 1500, (30, 31, 32)).astype(np.int16)
    rig.ui.volumeSelector.setCurrentNode(slicer.util.addVolumeFromArray(values, name="odd"))
    for failure in (None, Failure("InputError", "There is no model and no folder of that name here.")):
        rig.panel.ask.showFailure(failure)
        for folder in ("", "/nonsense/model", ""):
            rig.ui.modelFolderEdit.currentPath = folder
            for _ in range(3):
                slicer.app.processEvents()
            labels = [rig.ui.volumeWarningLabel, rig.ui.modelInfoLabel]
            assert [label.height >= label.heightForWidth(label.width) for label in labels] == [True, True]
    scroll.takeWidget()


def test_spare_room_goes_below_the_panel_and_not_between_its_rows(rig):
    rig.window.setFixedHeight(2000)
    for section in ("setupSection", "inputsSection"):
        getattr(rig.ui, section).collapsed = True
    slicer.app.processEvents()
    assert rig.ui.questionsPlace.height == rig.panel.ask.edit.height


def test_the_answer_is_in_view_at_400_pixels(answered):
    view = answered.ui.findingsTable
    right = view.columnViewportPosition(5) + view.columnWidth(5)
    assert right <= view.viewport().width - view.verticalScrollBar().sizeHint.width()
    fontMetrics = view.fontMetrics()
    assert fontMetrics.horizontalAdvance("not found") + 10 <= view.columnWidth(5)


def test_another_ct_shows_its_own_results_or_an_empty_table(answered):
    organ = answered.study.segmentId("spleen")
    display = answered.study.segmentation.GetDisplayNode()
    other = second_ct()
    answered.ui.volumeSelector.setCurrentNode(other)
    assert answered.ui.findingsTable.model().rowCount() == 0
    assert answered.ui.shownQuestionComboBox.count == 0
    assert display.GetSegmentOpacity3D(organ) == 1.0
    answered.ui.volumeSelector.setCurrentNode(answered.study.volume)
    assert answered.ui.findingsTable.model().rowCount() == 3
    assert answered.parameters.segmentation is answered.study.segmentation
    assert display.GetSegmentOpacity3D(organ) < 0.5
    assert len(answered.worker.of("ask")) == 1


def test_answers_about_a_ct_that_is_no_longer_chosen_are_kept_and_shown_when_it_is(rig):
    rig.start("fatty liver", "kidney stone")
    rig.ui.volumeSelector.setCurrentNode(second_ct())
    rig.worker.answer(made_up_result(rig.study, QUESTIONS))
    rig.rest()
    assert rig.ui.findingsTable.model().rowCount() == 0
    assert "about patient" in rig.ui.askStatusLabel.text or rig.ui.askStatusLabel.text
    rig.ui.volumeSelector.setCurrentNode(rig.study.volume)
    assert rig.ui.findingsTable.model().rowCount() == 3


def test_a_deleted_ct_empties_the_panel(answered):
    slicer.mrmlScene.RemoveNode(answered.study.volume)
    assert answered.ui.volumeSelector.currentNode() is None
    assert answered.ui.findingsTable.model().rowCount() == 0
    assert not answered.ui.askButton.enabled


def test_a_deleted_segmentation_leaves_the_table(answered):
    slicer.mrmlScene.RemoveNode(answered.study.segmentation)
    assert answered.ui.findingsTable.model().rowCount() == 3
    answered.click_row(0)
    assert answered.panel.results.see.table.selectedRow().organ == "liver"


def test_a_ct_deleted_while_it_is_asked_ends_the_request_with_the_reason(rig):
    rig.start("fatty liver")
    slicer.mrmlScene.RemoveNode(rig.study.volume)
    rig.rest()
    assert rig.worker.cancelled
    assert not rig.ui.progressBar.visible


def test_closing_the_scene_resets_everything(answered):
    answered.parameters.organsSource = "own"
    slicer.mrmlScene.Clear(0)
    assert answered.ui.volumeSelector.currentNode() is None
    assert answered.panel.ask.edit.plainText == ""
    assert answered.ui.historyComboBox.count == 1
    assert answered.ui.findingsTable.model().rowCount() == 0
    assert answered.ui.organsSourceComboBox.currentIndex == 0
    assert not answered.ui.originalColoursButton.enabled
    assert answered.panel.results.result is None
    answered.panel.ask.edit.plainText = "liver"
    assert answered.parameters.questions == "liver"


def test_closing_the_scene_cancels_what_is_on_its_way(rig):
    request = rig.start("fatty liver")
    slicer.mrmlScene.Clear(0)
    assert rig.worker.cancelled == [request["id"]]
    rig.rest()
    assert rig.ui.askButton.text == "Ask"
    assert rig.panel.results.result is None


def test_a_scene_saved_and_opened_again_shows_what_was_asked_and_found(answered, tmp_path):
    answered.click_row(2)
    answered.parameters.colourRange = "fitted"
    colours = {}
    for organ in answered.study.organs:
        colours[organ] = opacity(answered.study.segmentation, organ)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    assert answered.ui.findingsTable.model().rowCount() == 0
    slicer.util.loadScene(path)
    ui = answered.ui
    assert answered.panel.ask.edit.plainText == "fatty liver\nkidney stone"
    assert ui.volumeSelector.currentNode().GetName() == "patient"
    assert ui.findingsTable.model().rowCount() == 3
    assert ui.shownQuestionComboBox.currentIndex == 1
    assert ui.colourRangeComboBox.currentIndex == 1
    assert ui.historyComboBox.itemText(1) == "fatty liver; kidney stone"
    segmentation = ui.segmentationSelector.currentNode()
    kidneys = [opacity(segmentation, organ) for organ in ("kidney_right", "kidney_left", "spleen")]
    assert kidneys[0] > kidneys[1] > kidneys[2]
    assert len(answered.worker.of("ask")) == 1
    answered.click(ui.originalColoursButton)
    assert opacity(segmentation, "spleen") == 1.0


def opacity(segmentation, organ):
    ids = segmentation.GetSegmentation()
    return segmentation.GetDisplayNode().GetSegmentOpacity3D(ids.GetSegmentIdBySegmentName(organ))


def test_a_scene_opened_in_a_fresh_panel_shows_it_too(answered, tmp_path):
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    answered.close()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    fresh = PanelRig()
    try:
        assert fresh.panel.ask.edit.plainText == "fatty liver\nkidney stone"
        assert fresh.ui.findingsTable.model().rowCount() == 3
        fresh.enter()
        assert fresh.ui.shownQuestionComboBox.count == 2
    finally:
        fresh.close()


def test_organs_that_the_child_found_are_imported_chosen_and_coloured(rig):
    rig.ui.organsSourceComboBox.currentIndex = 1
    request = rig.start("fatty liver")
    assert request["study"]["segmentation"] is None
    from pathlib import Path

    from patient import make_patient

    from CTGLIPLib.segmentation_io import write_segmentation

    _, organs = make_patient()
    path = Path(request["study"]["organs_path"])
    write_segmentation(organs, path)
    rig.worker.answer(made_up_result(rig.study, {"fatty liver": {"liver": 0.8}}), organs=str(path))
    rig.rest()
    node = rig.parameters.segmentation
    assert node is not rig.study.segmentation
    assert node.GetName() == "Organs of patient"
    assert rig.parameters.organsSource == "scene"
    assert rig.ui.segmentationSelector.currentNode() is node
    assert node.GetSegmentation().GetSegment("liver") is not None
    assert rig.ui.findingsTable.model().rowCount() == 1
    assert slicer.util.getNodesByClass("vtkMRMLTableNode")


def test_cleanup_leaves_no_observer_and_no_timer(answered):
    answered.panel.cleanup()
    answered.parameters.questions = "changed"
    assert answered.panel.ask.edit.plainText == "fatty liver\nkidney stone"
    slicer.mrmlScene.Clear(0)
    assert not answered.panel._timer.active


def test_a_panel_that_was_cleaned_up_chooses_nothing_any_more(answered):
    answered.panel.cleanup()
    assert answered.parameters.inputVolume is answered.study.volume
    answered.ui.volumeSelector.setCurrentNode(None)
    assert answered.parameters.inputVolume is answered.study.volume
    assert answered.ui.volumeSelector.mrmlScene() is None


def test_the_panel_of_the_module_asks_with_the_logic_s_session(scene):
    from conftest import REPOSITORY
    from harness.module_loader import loadModule, showWidget, unloadModule

    module, _ = loadModule(REPOSITORY / "CTGLIP" / "CTGLIP.py")
    widget, window = showWidget(module, "CTGLIP")
    try:
        assert widget.panel.session is widget.logic.session
        assert widget.panel.ui.askButton.text == "Ask"
        window.exit()
    finally:
        widget.cleanup()
        unloadModule("CTGLIP")
    assert wait_until(lambda: widget.panel is None)
