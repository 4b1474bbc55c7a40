"""The section See by clicks: colours change and come back, rows jump, heat maps, surfaces, other CTs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import slicer
from panel_rig import PanelRig, made_up_result, wait_until

QUESTIONS = {
    "fatty liver": {"liver": 0.8},
    "kidney stone": {"kidney_right": 0.7, "kidney_left": 0.1},
    "appendicitis": {"colon": 0.0},
}


@pytest.fixture
def rig(views, patientScene):
    rig = PanelRig()
    rig.study, rig.views = patientScene, views
    rig.enter()
    yield rig
    rig.close()


@pytest.fixture
def answered(rig):
    rig.ask(made_up_result(rig.study, QUESTIONS))
    return rig


def colour(rig, organ):
    return rig.study.segmentation.GetSegmentation().GetSegment(rig.study.segmentId(organ)).GetColor()


def shown_colour(rig, organ):
    """The colour that views draw: the display node's override, or the segment's own."""
    display = rig.study.segmentation.GetDisplayNode()
    override = display.GetSegmentOverrideColor(rig.study.segmentId(organ))
    return override if min(override) >= 0 else colour(rig, organ)


def all_colours(rig):
    return {organ: tuple(round(part, 4) for part in shown_colour(rig, organ)) for organ in rig.study.organs}


def slice_centre(rig, name="Red"):
    node = rig.views.sliceWidget(name).mrmlSliceNode()
    matrix = node.GetSliceToRAS()
    return np.array([matrix.GetElement(axis, 3) for axis in range(3)])


def test_answers_colour_the_organs_and_are_listed(rig):
    before = all_colours(rig)
    rig.ask(made_up_result(rig.study, QUESTIONS))
    after = all_colours(rig)
    assert after["liver"] != before["liver"]
    comboBox = rig.ui.shownQuestionComboBox
    assert [comboBox.itemText(i) for i in range(comboBox.count)] == [
        "1. fatty liver: found in the liver",
        "2. kidney stone: found in the kidney right",
        "3. appendicitis: cannot be answered: colon not in the segmentation",
    ]
    assert rig.ui.answerLabel.text.startswith("fatty liver: found in the liver (score 0.80, threshold 0.50)")
    rows = rig.panel.results.see.table.shownRows()
    assert [(row.organ, row.answerCode) for row in rows] == [
        ("liver", "found"), ("kidney right", "found"), ("kidney left", "not_found"), ("colon", "unanswerable"),
    ]  # fmt: skip


def test_a_question_outside_the_list_of_findings_is_told_as_free_text(answered):
    assert "\u201cfatty liver\u201d is not in the list of findings" in answered.ui.answerLabel.text
    known = made_up_result(answered.study, {"splenomegaly": {"spleen": 0.2}})
    known = dataclasses.replace(known, queries=(dataclasses.replace(known.queries[0], finding="splenomegaly"),))
    answered.ask(known)
    assert "list of findings" not in answered.ui.answerLabel.text


def test_another_shown_question_recolours(answered):
    first = all_colours(answered)
    answered.ui.shownQuestionComboBox.currentIndex = 1
    second = all_colours(answered)
    assert answered.parameters.shownQuestion == 1
    assert second["liver"] != first["liver"]
    assert second["kidney_right"] != second["kidney_left"]
    answered.parameters.shownQuestion = 0
    assert answered.ui.shownQuestionComboBox.currentIndex == 0
    assert all_colours(answered) == first


@pytest.mark.parametrize(
    ("name", "index", "parameter", "value"),
    [
        ("colourByComboBox", 1, "colourBy", "similarity"),
        ("colourRangeComboBox", 1, "colourRange", "fitted"),
    ],
)
def test_what_colours_mean_can_be_chosen_and_recolours(answered, name, index, parameter, value):
    answered.ui.shownQuestionComboBox.currentIndex = 1
    before = all_colours(answered)
    getattr(answered.ui, name).currentIndex = index
    assert getattr(answered.parameters, parameter) == value
    assert all_colours(answered) != before


def test_others_are_dimmed_or_not(answered):
    display = answered.study.segmentation.GetDisplayNode()
    spleen = answered.study.segmentId("spleen")
    assert display.GetSegmentOpacity3D(spleen) < 0.2
    answered.click(answered.ui.dimOthersCheckBox)
    assert answered.parameters.dimOthers is False
    assert display.GetSegmentOpacity3D(spleen) == 1.0


def test_one_click_gives_the_original_colours_back_and_another_the_answers(rig):
    before = all_colours(rig)
    rig.ask(made_up_result(rig.study, QUESTIONS))
    coloured = all_colours(rig)
    rig.click(rig.ui.originalColoursButton)
    assert all_colours(rig) == before
    assert rig.ui.originalColoursButton.checked
    rig.click(rig.ui.originalColoursButton)
    assert all_colours(rig) == coloured
    rig.click(rig.ui.originalColoursButton)
    rig.ui.shownQuestionComboBox.currentIndex = 1
    assert not rig.ui.originalColoursButton.checked
    assert all_colours(rig) != before


@pytest.mark.parametrize(("place", "organ"), [(0, "liver"), (1, "kidney_right"), (2, "kidney_left")])
def test_a_click_on_a_row_brings_all_views_to_the_organ(answered, place, organ):
    answered.click_row(place)
    expected = answered.study.centreRas(organ)
    for name in ("Red", "Green", "Yellow"):
        assert slice_centre(answered, name) == pytest.approx(expected, abs=1e-3)
    camera = slicer.util.getNodesByClass("vtkMRMLCameraNode")[0]
    assert camera.GetFocalPoint() == pytest.approx(expected, abs=1e-3)


def test_a_click_shows_the_row_s_question_and_makes_the_organ_stand_out(answered):
    answered.click_row(2)
    assert answered.parameters.shownQuestion == 1
    display = answered.study.segmentation.GetDisplayNode()
    assert display.GetSegmentOpacity3D(answered.study.segmentId("kidney_left")) == 1.0
    assert answered.panel.results.see.table.selectedRow().organ == "kidney left"


def test_a_row_without_a_place_says_so_and_moves_nothing(answered):
    before = slice_centre(answered)
    answered.click_row(3)
    assert slice_centre(answered) == pytest.approx(before)
    assert "colon: not in the segmentation; there is no place to jump to." in answered.ui.askStatusLabel.text
    answered.click_row(0)
    assert answered.ui.askStatusLabel.text == "The views are at: liver."


def write_heat(answered):
    """A heat map as the child writes it: where the last request says, hottest in the liver's corner."""
    import SimpleITK as sitk

    request = answered.worker.of("heatmap")[-1]
    image = sitk.ReadImage(request["study"]["ct"])
    heat = sitk.Cast(image, sitk.sitkFloat32) * 0.0 - 1.0
    sitk.WriteImage(heat, request["path"])
    hottest = [float(part) for part in answered.study.centreRas("liver") + 9.0]
    answered.worker.answer({
        "path": request["path"], "low": -0.2, "high": 0.6, "outside": -1.0, "organs": ["liver"],
        "hottest_ras_mm": {"liver": hottest},
    })  # fmt: skip
    answered.rest()
    return hottest


def test_a_heat_map_is_asked_for_shown_and_rows_then_jump_to_its_hottest_spot(answered):
    from CTGLIPSlicer import heat_overlay

    answered.click(answered.ui.heatmapButton)
    wait_until(lambda: answered.worker.of("heatmap"))
    assert answered.worker.of("heatmap")[0]["text"] == "fatty liver"
    assert not answered.ui.heatmapButton.checked
    hottest = write_heat(answered)
    assert answered.ui.heatmapButton.checked
    assert heat_overlay.isShown(answered.study.volume)
    answered.click_row(0)
    assert slice_centre(answered) == pytest.approx(hottest, abs=1e-3)
    answered.click_row(1)
    assert slice_centre(answered) == pytest.approx(answered.study.centreRas("kidney_right"), abs=1e-3)


def test_a_heat_map_is_hidden_with_its_question_and_shown_again_without_asking(answered):
    from CTGLIPSlicer import heat_overlay

    answered.click(answered.ui.heatmapButton)
    wait_until(lambda: answered.worker.of("heatmap"))
    write_heat(answered)
    answered.ui.shownQuestionComboBox.currentIndex = 1
    assert not heat_overlay.isShown(answered.study.volume)
    assert not answered.ui.heatmapButton.checked
    answered.ui.shownQuestionComboBox.currentIndex = 0
    answered.click(answered.ui.heatmapButton)
    assert heat_overlay.isShown(answered.study.volume)
    assert len(answered.worker.of("heatmap")) == 1
    answered.click(answered.ui.heatmapButton)
    assert not heat_overlay.isShown(answered.study.volume)


def test_a_heat_map_that_failed_leaves_the_button_up(answered):
    answered.click(answered.ui.heatmapButton)
    wait_until(lambda: answered.worker.of("heatmap"))
    answered.worker.fail("InputError", "No organ of this question is in the scan.")
    answered.rest()
    assert not answered.ui.heatmapButton.checked
    assert "No organ of this question is in the scan." in answered.ui.errorLabel.text


def test_surfaces_are_made_while_the_window_lives_and_hidden_by_the_button(answered):
    node = answered.study.segmentation
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    answered.click(answered.ui.show3DButton)
    assert answered.ui.show3DButton.checked
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    wait_until(lambda: answered.ui.askStatusLabel.text == "The organs are shown in 3D.")
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    assert node.GetDisplayNode().GetVisibility3D()
    assert answered.ui.show3DButton.checked
    answered.click(answered.ui.show3DButton)
    assert not node.GetDisplayNode().GetVisibility3D()
    assert not answered.ui.show3DButton.checked


def test_surfaces_under_way_are_given_up_by_the_button(answered):
    answered.click(answered.ui.show3DButton)
    wait_until(lambda: answered.ui.askStatusLabel.text.startswith("Making surfaces"))
    answered.click(answered.ui.show3DButton)
    assert not answered.ui.show3DButton.checked
    assert not answered.panel.results.view.shows3D
    assert not answered.study.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_further_questions_are_added_and_the_first_new_one_is_shown(answered):
    answered.ask(made_up_result(answered.study, {"big spleen": {"spleen": 0.9}, "gallstone": {"gallbladder": 0.2}}))
    assert [answer.text for answer in answered.panel.results.result.queries] == [
        "fatty liver", "kidney stone", "appendicitis", "big spleen", "gallstone",
    ]  # fmt: skip
    assert answered.parameters.shownQuestion == 3
    assert answered.ui.shownQuestionComboBox.currentIndex == 3
    assert answered.ui.findingsTable.model().rowCount() == 6


def shown_volumes():
    return {node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}


def test_the_views_show_the_ct_that_answers_and_then_the_one_that_is_chosen(rig):
    first, organs = rig.study.volume, rig.study.segmentation
    other = slicer.util.addVolumeFromArray(np.zeros((5, 6, 7), np.int16), name="other")
    slicer.util.setSliceViewerLayers(background=other)
    rig.ask(made_up_result(rig.study, QUESTIONS))
    assert shown_volumes() == {first.GetID()}
    rig.ui.volumeSelector.setCurrentNode(other)
    assert (shown_volumes(), organs.GetDisplayVisibility()) == ({other.GetID()}, 0)
    rig.ui.volumeSelector.setCurrentNode(first)
    assert (shown_volumes(), organs.GetDisplayVisibility()) == ({first.GetID()}, 1)


def test_the_table_scrolls_to_new_answers_and_to_the_question_that_is_chosen(answered):
    table, view = answered.panel.results.see.table, answered.ui.findingsTable
    answered.ask(made_up_result(answered.study, {f"question {number}": {"spleen": 0.1} for number in range(40)}))
    assert table.shownRows()[view.rowAt(0)].question == "question 0"
    answered.ui.shownQuestionComboBox.currentIndex = 20
    assert table.shownRows()[view.rowAt(0)].questionIndex == 20
    answered.click_row(25)
    before = view.rowAt(0)
    answered.click_row(before + 2)
    assert view.rowAt(0) == before


def test_an_answer_shows_its_first_colours_in_less_than_half_a_second(rig):
    import time

    rig.ask(made_up_result(rig.study, {"gallstone": {"gallbladder": 0.2}}))
    rig.start("fatty liver")
    rig.worker.answer(made_up_result(rig.study, QUESTIONS))
    start = time.perf_counter()
    rig.session.poll()
    assert time.perf_counter() - start < 0.5
    assert rig.parameters.shownQuestion == 1
