"""Whole flows by clicks: the module as Slicer loads it, real scene and views, the real child process."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import slicer
import vtk
from flow_rig import Flow, isAlive, shownColours, slicePositions
from harness import study_nodes
from panel_rig import FakeInstaller

from CTGLIPLib.geometry import Grid


@pytest.fixture
def flow(scene, views, tinyModel, tmp_path, monkeypatch):
    """The module with random weights and an installer that has everything."""
    monkeypatch.setenv("CTGLIP_CACHE", str(tmp_path / "cache"))
    opened = Flow(tinyModel, FakeInstaller())
    yield opened
    opened.close()


def turned(arrays, degrees: float):
    """The same study lying obliquely in the scanner, turned about the S axis."""
    turn = np.eye(4)
    angle = np.deg2rad(degrees)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grid = Grid(arrays.grid.shape_ijk, turn @ arrays.grid.affine)
    return study_nodes.StudyArrays(arrays.hu, arrays.labels, grid, arrays.names)


def test_a_radiologist_asks_a_chest_ct_sees_colours_and_jumps_to_an_organ(flow, chestScene):
    before = shownColours(chestScene.segmentation)
    flow.choose(chestScene.volume, chestScene.segmentation)
    flow.ask("pleural effusion", "left kidney")
    after = shownColours(chestScene.segmentation)
    lung = chestScene.segmentId("lung_lower_lobe_left")
    assert after[lung] != before[lung]
    assert any("left kidney" in row for row in flow.rows())
    legends = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    assert [node.GetVisibility() for node in legends] == [1]
    flow.clickRow("left kidney")
    centre = chestScene.centreRas("kidney_left")
    for name, place in slicePositions().items():
        assert np.linalg.norm(place - centre) < 3.0, name
    flow.click("originalColoursButton")
    assert shownColours(chestScene.segmentation) == before


def test_a_further_question_is_answered_without_encoding_again(flow, chestScene):
    flow.choose(chestScene.volume, chestScene.segmentation)
    flow.ask("fatty liver")
    started = time.monotonic()
    flow.ask("emphysema")
    assert time.monotonic() - started < 2.0
    questions = [flow.ui.shownQuestionComboBox.itemText(n) for n in range(flow.ui.shownQuestionComboBox.count)]
    assert [question.split(":")[0] for question in questions] == ["1. fatty liver", "2. emphysema"]


def test_what_was_asked_but_not_found_and_what_is_cut_are_rows(flow, chestScene):
    flow.choose(chestScene.volume, chestScene.segmentation)
    flow.ask("urinary bladder", "colon")
    rows = [" | ".join(row) for row in flow.rows()]
    assert any("urinary bladder" in row and "not in the segmentation" in row for row in rows)
    assert any(row.startswith("colon | colon") and "cut off by the scan" in row for row in rows)


def test_cancel_while_encoding_takes_less_than_two_seconds_and_the_next_question_is_answered(flow, chestScene):
    flow.choose(chestScene.volume, chestScene.segmentation)
    flow.pressAsk("fatty liver")
    flow.until(lambda: flow.session.progress is not None and flow.session.progress.done > 0)
    started = time.monotonic()
    flow.click("askButton")
    flow.until(lambda: not flow.session.isBusy)
    assert time.monotonic() - started < 2.0
    assert flow.rows() == []
    flow.ask("fatty liver")
    assert flow.rows()


def test_a_child_killed_between_questions_is_replaced(flow, patientScene):
    flow.choose(patientScene.volume, patientScene.segmentation)
    flow.ask("liver")
    first = flow.childPid()
    os.kill(first, signal.SIGKILL)
    flow.until(lambda: not isAlive(first))
    flow.ask("liver")
    assert flow.childPid() != first


def test_a_child_killed_at_work_is_reported_with_the_likely_cause_and_the_next_question_starts_another(
    flow, chestScene
):
    flow.choose(chestScene.volume, chestScene.segmentation)
    flow.pressAsk("fatty liver")
    flow.until(lambda: flow.session.progress is not None and flow.session.progress.done > 0)
    os.kill(flow.childPid(), signal.SIGKILL)
    flow.until(lambda: not flow.session.isBusy)
    assert "memory" in flow.error
    flow.ask("fatty liver")
    assert flow.rows()


def test_a_scene_that_is_saved_closed_and_opened_again_shows_what_was_asked(flow, patientScene, tmp_path):
    flow.choose(patientScene.volume, patientScene.segmentation)
    flow.ask("fatty liver", "left kidney")
    rows, colours = flow.rows(), shownColours(patientScene.segmentation)
    path = str(tmp_path / "study.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.app.processEvents()
    assert flow.rows() == []
    slicer.util.loadScene(path)
    slicer.app.processEvents()
    assert flow.panel.ask.edit.plainText == "fatty liver\nleft kidney"
    assert flow.rows() == rows
    segmentation = flow.ui.segmentationSelector.currentNode()
    assert shownColours(segmentation) == colours
    flow.click("originalColoursButton")
    assert shownColours(segmentation) != colours
    flow.ask("splenomegaly")
    assert len(flow.rows()) > len(rows)


def test_each_of_two_volumes_has_its_own_answers(flow, patientScene, chestScene):
    flow.choose(patientScene.volume, patientScene.segmentation)
    flow.ask("liver")
    ofPatient = flow.rows()
    flow.choose(chestScene.volume, chestScene.segmentation)
    assert flow.rows() == []
    flow.ask("emphysema")
    assert flow.rows() != ofPatient
    flow.choose(patientScene.volume, patientScene.segmentation)
    assert flow.rows() == ofPatient


def test_without_torch_nothing_is_asked_and_set_up_says_so(scene, views, tinyModel, patientScene):
    opened = Flow(tinyModel, FakeInstaller(lack=["PyTorch"]))
    try:
        opened.choose(patientScene.volume, patientScene.segmentation)
        opened.write("fatty liver")
        assert not opened.ui.askButton.enabled
        assert "PyTorch" in opened.status
        opened.click("installButton")
        assert opened.ui.askButton.enabled
    finally:
        opened.close()


def test_without_masks_the_reason_is_told_before_anything_runs(flow, patientScene):
    flow.choose(patientScene.volume, None)
    flow.write("fatty liver")
    assert not flow.ui.askButton.enabled
    assert "segmentation" in flow.status.lower()


def test_an_mr_volume_is_warned_of_with_the_reason_and_refused_when_asked(flow, patientScene):
    hu = slicer.util.arrayFromVolume(patientScene.volume)
    slicer.util.updateVolumeFromArray(patientScene.volume, np.clip(hu, 0, None) + 300)
    flow.choose(patientScene.volume, patientScene.segmentation)
    assert "HU" in flow.ui.volumeWarningLabel.text
    flow.pressAsk("fatty liver")
    flow.until(lambda: not flow.session.isBusy)
    assert "Expected a CT in HU" in flow.error


def test_an_oblique_scan_jumps_to_where_the_organ_lies(flow, scene, patientScene):
    study = study_nodes.addStudy(turned(patientScene.arrays, 20), "oblique")
    flow.choose(study.volume, study.segmentation)
    flow.ask("left kidney")
    flow.clickRow("left kidney")
    centre = study.centreRas("kidney_left")
    for name, place in slicePositions().items():
        assert np.linalg.norm(place - centre) < 2.0, name


def test_a_scan_of_anisotropic_voxels_keeps_left_and_right_apart(flow, patientScene):
    arrays = patientScene.arrays.strided((1, 1, 3))
    study = study_nodes.addStudy(arrays, "thick")
    flow.choose(study.volume, study.segmentation)
    flow.ask("kidneys")
    places = {}
    for side in ("left kidney", "right kidney"):
        flow.clickRow(side)
        places[side] = slicePositions()["Red"]
    assert places["left kidney"][0] < places["right kidney"][0]  # R is positive
    for side, organ in (("left kidney", "kidney_left"), ("right kidney", "kidney_right")):
        assert np.linalg.norm(places[side] - study.centreRas(organ)) < 3.0


def test_a_transformed_volume_is_refused_with_what_to_do(flow, patientScene):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 10.0)
    transform.SetMatrixTransformToParent(matrix)
    patientScene.volume.SetAndObserveTransformNodeID(transform.GetID())
    flow.choose(patientScene.volume, patientScene.segmentation)
    flow.pressAsk("fatty liver")
    flow.until(lambda: not flow.session.isBusy)
    assert "arden" in flow.error


def test_a_heat_map_lies_over_the_ct_and_a_row_then_jumps_to_its_hottest_spot(flow, chestScene):
    flow.choose(chestScene.volume, chestScene.segmentation)
    flow.ask("pulmonary nodule")
    flow.click("heatmapButton")
    flow.until(lambda: not flow.session.isBusy)
    assert flow.error == ""
    heat = next(node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "heat map" in node.GetName())
    values = slicer.util.arrayFromVolume(heat)
    assert values.shape == slicer.util.arrayFromVolume(chestScene.volume).shape
    assert {node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")} == {
        heat.GetID()
    }
    assert not chestScene.segmentation.GetDisplayNode().GetVisibility2DFill()
    flow.clickRow("pulmonary nodule")
    place = slicePositions()["Red"]
    inverse = np.linalg.inv(chestScene.arrays.grid.affine)
    i, j, k = np.round((inverse @ [*place, 1.0])[:3]).astype(int)
    assert values[k, j, i] > np.percentile(values[values > -1], 90)
    flow.click("heatmapButton")
    assert chestScene.segmentation.GetDisplayNode().GetVisibility2DFill()


def test_a_heat_map_in_a_saved_scene_is_hidden_by_its_button_when_that_is_opened_again(flow, patientScene, tmp_path):
    flow.choose(patientScene.volume, patientScene.segmentation)
    flow.ask("fatty liver")
    flow.click("heatmapButton")
    flow.until(lambda: not flow.session.isBusy)
    path = str(tmp_path / "study.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    slicer.app.processEvents()
    assert flow.ui.heatmapButton.checked
    flow.click("heatmapButton")
    composite = slicer.util.getNode("vtkMRMLSliceCompositeNodeRed")
    assert composite.GetForegroundVolumeID() is None
    assert flow.ui.segmentationSelector.currentNode().GetDisplayNode().GetVisibility2DFill()
