"""Tumours by clicks and by scripts: the module as Slicer loads it, the real child process, a model made by hand."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
from flow_rig import Flow, shownColours, slicePositions  # noqa: E402 - needs slicer
from harness import study_nodes  # noqa: E402
from panel_rig import FakeInstaller  # noqa: E402
from PySide6 import QtCore  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402
from tumor_rig import BALL_RAS_MM, ball_ct, ball_grid, in_ball, save_bright_model  # noqa: E402


@pytest.fixture(scope="module")
def ballModel(tmp_path_factory):
    return save_bright_model(tmp_path_factory.mktemp("models") / "balls").folder


@pytest.fixture
def ballScene(scene):
    """The ball's CT, and organs: all that is in the ball is the spleen, the rest the liver."""
    ct = ball_ct(ball_grid())
    labels = np.where(in_ball(ct.grid), 1, 2).astype(np.uint8)
    arrays = study_nodes.StudyArrays(ct.array.astype(np.int16), labels, ct.grid, {1: "spleen", 2: "liver"})
    return study_nodes.addStudy(arrays, "ball")


@pytest.fixture
def flow(scene, views, tmp_path, monkeypatch):
    monkeypatch.setenv("CTGLIP_CACHE", str(tmp_path / "cache"))
    opened = Flow(None, FakeInstaller())
    yield opened
    opened.close()


def find(flow, model) -> None:
    """Choose the model, click and wait."""
    flow.ui.tumorSection.collapsed = False
    flow.ui.tumorModelFolderEdit.currentPath = str(model)
    flow.until(lambda: not flow.session.isBusy)
    flow.click("tumorButton")
    flow.until(lambda: not flow.session.isBusy)


def cells(flow) -> list[list[str]]:
    table = flow.ui.tumorTable
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]


def tumourNodes() -> list[object]:
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if "umours" in node.GetName()]


def test_a_tumour_is_found_named_coloured_measured_and_jumped_to(flow, ballScene, ballModel):
    flow.choose(ballScene.volume, ballScene.segmentation)
    find(flow, ballModel)
    assert cells(flow) == [["ball", "yes", "14.2", "spleen"]]
    assert flow.ui.tumorStatusLabel.text.startswith("Ball detected (14.2 ml). Research software")
    (node,) = tumourNodes()
    assert node.GetSegmentation().GetSegment("ball").GetName() == "ball"
    assert shownColours(node)["ball"] == (1.0, 0.251, 0.125)
    assert node.GetDisplayNode().GetVisibility3D()
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    table = flow.ui.tumorTable
    QTest.mouseClick(
        table.viewport(), QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, table.visualItemRect(table.item(0, 0)).center()
    )
    slicer.app.processEvents()
    for name, place in slicePositions().items():
        assert np.linalg.norm(place - BALL_RAS_MM) < 4.0, name
    find(flow, ballModel)  # takes the place of the first search's result
    assert [node.GetName() for node in tumourNodes()] == ["Tumours of ball"]
    assert flow.ui.segmentationSelector.currentNode() is ballScene.segmentation


def test_a_saved_scene_shows_the_tumours_again(flow, ballScene, ballModel, tmp_path):
    flow.choose(ballScene.volume, None)
    find(flow, ballModel)
    shown = cells(flow)
    path = str(tmp_path / "study.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.app.processEvents()
    assert cells(flow) == []
    slicer.util.loadScene(path)
    slicer.app.processEvents()
    assert cells(flow) == shown == [["ball", "yes", "14.2", ""]]
    assert flow.ui.tumorModelFolderEdit.currentPath == str(ballModel)


def test_cancel_leaves_no_node_and_the_next_search_finds_the_tumour(flow, ballScene, ballModel):
    flow.choose(ballScene.volume, None)
    flow.ui.tumorModelFolderEdit.currentPath = str(ballModel)
    flow.until(lambda: not flow.session.isBusy)
    flow.click("tumorButton")
    assert not flow.ui.tumorButton.enabled
    flow.click("tumorCancelButton")
    flow.until(lambda: not flow.session.isBusy)
    assert flow.ui.tumorStatusLabel.text == "Cancelled."
    assert tumourNodes() == []
    find(flow, ballModel)
    assert len(cells(flow)) == 1


def test_tumours_of_a_ct_that_is_no_longer_chosen_are_kept_in_the_scene_and_the_search_is_over(
    flow, ballScene, ballModel
):
    ct = ball_ct(ball_grid())
    other = study_nodes.addStudy(
        study_nodes.StudyArrays(ct.array.astype(np.int16), in_ball(ct.grid).astype(np.uint8), ct.grid, {1: "spleen"}),
        "other",
    )
    flow.choose(ballScene.volume, None)
    flow.ui.tumorModelFolderEdit.currentPath = str(ballModel)
    flow.until(lambda: not flow.session.isBusy)
    flow.click("tumorButton")
    flow.choose(other.volume, None)
    flow.until(lambda: not flow.session.isBusy)
    assert [node.GetName() for node in tumourNodes()] == ["Tumours of ball"]
    assert cells(flow) == []
    assert not flow.ui.tumorCancelButton.enabled
    assert flow.ui.tumorStatusLabel.text == ""


def test_without_a_model_and_with_a_wrong_one_it_is_told_why(flow, ballScene, tinyModel):
    flow.choose(ballScene.volume, None)
    assert not flow.ui.tumorButton.enabled
    assert "none comes with CT-GLIP" in flow.ui.tumorButton.toolTip
    find(flow, tinyModel)
    assert "expected a tumour model" in flow.ui.tumorStatusLabel.text
    assert flow.ui.tumorButton.enabled
    assert tumourNodes() == []


def test_a_script_gets_the_node_and_the_measures_or_is_told_what_is_wrong(scene, ballScene, ballModel, tmp_path):
    from CTGLIPLib.errors import CheckpointError
    from CTGLIPSlicer.logic import ScriptLogic

    logic = ScriptLogic()
    try:
        found = logic.segmentTumor(ballScene.volume, ballModel, ballScene.segmentation, device="cpu")
        assert found.result.tumors[0].organ == "spleen"
        assert found.result.tumors[0].centre_ras_mm == pytest.approx(BALL_RAS_MM, abs=3)
        assert found.segmentationNode.GetName() == "Tumours of ball"
        with pytest.raises(CheckpointError, match="Expected a model folder"):
            logic.segmentTumor(ballScene.volume, tmp_path / "nowhere")
    finally:
        logic.close()
