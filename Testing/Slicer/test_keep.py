"""Answers kept in the scene: they accumulate, do not mix, and survive saving and loading."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

slicer = pytest.importorskip("slicer")
from made_results import answer, organ, result  # noqa: E402 - needs nothing of Slicer, but its tests do

FATTY = answer("fatty liver", organ("liver", 0.8))
CYST = answer("renal cyst", organ("kidney_left", 0.3), organ("kidney_right", 0.2), verdict="not_found")


@pytest.fixture
def keep(scene):
    from CTGLIPSlicer import keep

    return keep


def texts(kept):
    return [one.text for one in kept.queries]


def tag(segmentationNode, segmentId, name):
    import vtk

    value = vtk.reference("")
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    return str(value) if segment.GetTag(name, value) else None


def test_what_is_kept_is_what_was_answered(keep, patientScene):
    given = result(FATTY, CYST)
    assert keep.keepResult(given, patientScene.volume, patientScene.segmentation) == given
    assert keep.keptResult(patientScene.volume) == given


def test_a_scene_without_answers_has_none(keep, patientScene):
    assert (keep.keptResult(patientScene.volume), keep.kept()) == (None, [])


def test_the_table_has_a_row_for_each_question_and_organ_with_numbers_as_numbers(keep, patientScene):
    absent = answer("gallstones", organ("gallbladder", None, "absent"), verdict="unanswerable")
    keep.keepResult(result(FATTY, CYST, absent), patientScene.volume, patientScene.segmentation)
    table = keep.kept()[0].table
    columns = [table.GetColumnName(index) for index in range(table.GetNumberOfColumns())]
    assert table.GetNumberOfRows() == 4
    assert columns == [
        "Question",
        "Answer",
        "Organ",
        "Side",
        "State",
        "Score",
        "Similarity",
        "Volume ml",
        "R mm",
        "A mm",
        "S mm",
    ]
    score = table.GetTable().GetColumnByName("Score")
    assert score.GetClassName() == "vtkDoubleArray"
    assert [score.GetValue(row) for row in range(3)] == [0.8, 0.3, 0.2]
    assert math.isnan(score.GetValue(3))
    assert [table.GetCellText(1, column) for column in range(5)] == [
        "renal cyst",
        "asked, not found",
        "left kidney",
        "left",
        "present",
    ]
    assert table.GetDescription() == "Research software, not a medical device."
    assert patientScene.volume.GetName() in table.GetName()


def test_further_questions_accumulate_in_one_node(keep, patientScene):
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    history = keep.keepResult(result(CYST), patientScene.volume, patientScene.segmentation)
    assert texts(history) == ["fatty liver", "renal cyst"]
    assert len(keep.kept()) == 1
    assert keep.kept()[0].table.GetNumberOfRows() == 3


def test_a_repeated_question_replaces_its_earlier_answer(keep, patientScene):
    keep.keepResult(result(FATTY, CYST), patientScene.volume, patientScene.segmentation)
    again = replace(FATTY, organs=(organ("liver", 0.6),))
    history = keep.keepResult(result(again), patientScene.volume, patientScene.segmentation)
    assert texts(history) == ["renal cyst", "fatty liver"]
    assert history.queries[1].best.score == 0.6


def test_answers_of_another_model_are_kept_apart(keep, patientScene):
    keep.keepResult(result(FATTY, model="a"), patientScene.volume, patientScene.segmentation)
    keep.keepResult(result(CYST, model="b"), patientScene.volume, patientScene.segmentation)
    assert [entry.result.model.name for entry in keep.kept(patientScene.volume)] == ["model a", "model b"]
    keep.keepResult(result(CYST, model="a"), patientScene.volume, patientScene.segmentation)
    assert texts(keep.keptResult(patientScene.volume)) == ["fatty liver", "renal cyst"]


def test_answers_about_edited_organs_are_kept_apart(keep, patientScene):
    keep.keepResult(result(FATTY, CYST), patientScene.volume, patientScene.segmentation)
    edited = answer("fatty liver", organ("liver", 0.8, volume_ml=99.0))
    history = keep.keepResult(result(edited), patientScene.volume, patientScene.segmentation)
    assert texts(history) == ["fatty liver"]
    assert len(keep.kept()) == 2


def test_answers_about_two_volumes_do_not_mix(keep, patientScene):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    keep.keepResult(result(CYST), other, None)
    assert texts(keep.keptResult(patientScene.volume)) == ["fatty liver"]
    assert texts(keep.keptResult(other)) == ["renal cyst"]


def test_segments_have_tags_of_the_last_question_that_scored_them(keep, patientScene):
    organs = patientScene.segmentation
    keep.keepResult(result(FATTY), patientScene.volume, organs)
    keep.keepResult(result(CYST), patientScene.volume, organs)
    liver, kidney = patientScene.segmentId("liver"), patientScene.segmentId("kidney_left")
    assert tag(organs, liver, "CTGLIP.question") == "fatty liver"
    assert tag(organs, liver, "CTGLIP.score") == "0.800000"
    assert tag(organs, kidney, "CTGLIP.answer") == "not_found"
    assert tag(organs, kidney, "CTGLIP.model") == "model a"
    assert tag(organs, patientScene.segmentId("spleen"), "CTGLIP.question") is None


def test_all_survives_saving_and_loading_a_bundle(keep, patientScene, tmp_path):
    given = result(FATTY, CYST, answer("gallstones", organ("gallbladder", None, "absent"), verdict="unanswerable"))
    keep.keepResult(given, patientScene.volume, patientScene.segmentation)
    before = keep.kept()[0]
    cells = [[before.table.GetCellText(row, column) for column in range(11)] for row in range(4)]
    name = patientScene.volume.GetName()
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    assert keep.kept() == []
    slicer.util.loadScene(path)
    volume = slicer.util.getNode(name)
    assert keep.keptResult(volume) == given
    after = keep.kept()[0]
    assert after.segmentation is slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    assert [[after.table.GetCellText(row, column) for column in range(11)] for row in range(4)] == cells
    assert after.table.GetTable().GetColumnByName("Score").GetDataTypeAsString() == "double"
    liver = after.segmentation.GetSegmentation().GetSegmentIdBySegmentName("liver")
    assert tag(after.segmentation, liver, "CTGLIP.question") == "fatty liver"
    history = keep.keepResult(result(FATTY), volume, after.segmentation)
    assert texts(history) == ["renal cyst", "gallstones", "fatty liver"]


def test_answers_about_two_volumes_do_not_mix_after_loading(keep, patientScene, tmp_path):
    other = slicer.modules.volumes.logic().CloneVolume(patientScene.volume, "other")
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    keep.keepResult(result(CYST), other, patientScene.segmentation)
    name, path = patientScene.volume.GetName(), str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    assert texts(keep.keptResult(slicer.util.getNode(name))) == ["fatty liver"]
    assert texts(keep.keptResult(slicer.util.getNode("other"))) == ["renal cyst"]


def test_answers_whose_nodes_are_gone_stay_readable(keep, patientScene):
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    slicer.mrmlScene.RemoveNode(patientScene.volume)
    slicer.mrmlScene.RemoveNode(patientScene.segmentation)
    (entry,) = keep.kept()
    assert (entry.volume, entry.segmentation) == (None, None)
    assert texts(entry.result) == ["fatty liver"]
    assert entry.table.GetNumberOfRows() == 1


def test_a_table_that_was_deleted_is_made_again(keep, patientScene):
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    slicer.mrmlScene.RemoveNode(keep.kept()[0].table)
    keep.keepResult(result(CYST), patientScene.volume, patientScene.segmentation)
    assert keep.kept()[0].table.GetNumberOfRows() == 3


def test_text_that_is_no_result_is_passed_over_and_logged(keep, patientScene, caplog):
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    keep.kept()[0].text.SetText("{}")
    assert keep.keptResult(patientScene.volume) is None
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "9" * 6000, '{"schema_version": "99.0"}'])
def test_damaged_findings_and_those_of_a_newer_version_stay_and_disturb_nobody(keep, patientScene, text):
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    damaged = keep.kept()[0].text
    damaged.SetText(text)
    assert keep.keptResult(patientScene.volume) is None
    keep.keepResult(result(CYST), patientScene.volume, patientScene.segmentation)
    assert texts(keep.keptResult(patientScene.volume)) == ["renal cyst"]
    assert damaged.GetText() == text


@pytest.mark.parametrize("order", ["\u00b2", "9" * 5000, "-1", "x"])
def test_a_damaged_order_counts_as_the_first(keep, patientScene, order):
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    keep.kept()[0].text.SetAttribute(keep.ORDER, order)
    keep.keepResult(result(CYST), patientScene.volume, patientScene.segmentation)
    assert keep.kept()[0].text.GetAttribute(keep.ORDER) == "1"


def test_removing_takes_nodes_and_tags_of_that_volume_only(keep, patientScene):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    keep.keepResult(result(CYST), other, None)
    keep.removeResult(patientScene.volume)
    assert [entry.volume for entry in keep.kept()] == [other]
    assert tag(patientScene.segmentation, patientScene.segmentId("liver"), "CTGLIP.question") is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 1


def test_kept_nodes_lie_in_the_study_of_the_volume(keep, patientScene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(patientScene.volume), study)
    keep.keepResult(result(FATTY), patientScene.volume, patientScene.segmentation)
    entry = keep.kept()[0]
    parents = [hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (entry.table, entry.text)]
    assert parents == [study, study]
