"""The colour legend: there in every view, right in its colours, gone without a trace."""

import numpy as np
import pytest
import slicer

from CTGLIPSlicer.colour_scale import ColourScale
from CTGLIPSlicer.legend import LINE_LETTERS, hideLegend, showLegend

SCALE = ColourScale("CT-GLIP score: fatty liver\nfound from 0.55", 0.0, 1.0)


def legendOf(node):
    return slicer.modules.colors.logic().GetColorLegendDisplayNode(node.GetDisplayNode())


def pictures(views) -> dict[str, np.ndarray]:
    """Pictures of the slice views and the 3D view, on black."""
    view3D = views.threeDWidget(0).view
    view3D.node.SetBackgroundColor(0, 0, 0)
    view3D.node.SetBackgroundColor2(0, 0, 0)
    view3D.node.SetBoxVisible(False)
    view3D.node.SetAxisLabelsVisible(False)
    shown = {name: views.sliceWidget(name).view.image() for name in ("Red", "Green", "Yellow")}
    return {**shown, "3D": view3D.image()}


def barOf(picture: np.ndarray) -> np.ndarray:
    """Colours of the legend's bar, bottom first: the most coloured column of the picture's right tenth."""
    tenth = picture[:, -picture.shape[1] // 10 :].astype(int)
    coloured = np.ptp(tenth, axis=2) > 30
    column = coloured.sum(axis=0).argmax()
    return tenth[coloured[:, column], column][::-1] / 255


def test_the_legend_is_in_every_view_with_the_scale_s_colours(views, patientScene):
    showLegend(patientScene.segmentation, SCALE)

    for name, picture in pictures(views).items():
        bar = barOf(picture)
        assert len(bar) > 50, name
        for share in (0.1, 0.5, 0.9):
            assert bar[round(share * (len(bar) - 1))] == pytest.approx(SCALE.rgb(share), abs=0.06), (name, share)


def test_the_legend_has_white_text_beside_its_bar(views, patientScene):
    showLegend(patientScene.segmentation, SCALE)

    for name, picture in pictures(views).items():
        rows, columns = np.nonzero(picture.min(axis=2) > 200)
        assert len(rows) > 80, name
        assert columns.min() > 0.4 * picture.shape[1], name
        assert rows.min() > 0.1 * picture.shape[0], name


def test_the_legend_says_what_the_colours_mean(scene, patientScene):
    showLegend(patientScene.segmentation, ColourScale("CT-GLIP similarity: stone", -0.25, 0.75))

    legend = legendOf(patientScene.segmentation)
    assert legend.GetTitleText() == "CT-GLIP similarity: stone"
    assert legend.GetLabelFormat() == "%.2f"
    assert patientScene.segmentation.GetDisplayNode().GetScalarRange() == (-0.25, 0.75)
    assert legend.GetPrimaryDisplayNode() is patientScene.segmentation.GetDisplayNode()


def test_long_titles_are_wrapped_and_the_threshold_has_its_own_line(scene, patientScene):
    label = "CT-GLIP score: a stone or another calcification in the left kidney\nfound from 0.55"
    showLegend(patientScene.segmentation, ColourScale(label, 0.0, 1.0))

    lines = legendOf(patientScene.segmentation).GetTitleText().splitlines()
    assert max(map(len, lines)) <= LINE_LETTERS
    assert lines[-1] == "found from 0.55"
    assert " ".join(lines) == label.replace("\n", " ")


def test_another_answer_changes_the_same_legend(scene, patientScene):
    showLegend(patientScene.segmentation, SCALE)
    first = legendOf(patientScene.segmentation)

    showLegend(patientScene.segmentation, ColourScale("other", 0.2, 0.4))

    assert legendOf(patientScene.segmentation) is first
    assert first.GetTitleText() == "other"
    assert len(slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")) == 1


def test_hiding_the_legend_leaves_no_trace(views, patientScene):
    node = patientScene.segmentation.GetDisplayNode()
    before = (node.GetColorNode(), node.GetScalarRange(), node.GetScalarRangeFlag(), list(node.GetAttributeNames()))
    blank = pictures(views)

    for label in ("one", "two"):
        showLegend(patientScene.segmentation, ColourScale(label, 0.0, 0.5))
    hideLegend(patientScene.segmentation)

    assert (
        node.GetColorNode(),
        node.GetScalarRange(),
        node.GetScalarRangeFlag(),
        list(node.GetAttributeNames()),
    ) == before
    assert legendOf(patientScene.segmentation) is None
    for name, picture in pictures(views).items():
        assert np.array_equal(picture, blank[name]), name


def test_a_colour_table_that_the_segmentation_had_comes_back(scene, patientScene):
    node, table = patientScene.segmentation.GetDisplayNode(), scene.AddNewNodeByClass("vtkMRMLColorTableNode", "own")
    node.SetAndObserveColorNodeID(table.GetID())

    showLegend(patientScene.segmentation, SCALE)
    hideLegend(patientScene.segmentation)

    assert node.GetColorNode() is table


def test_hiding_what_is_not_there_does_nothing(scene, patientScene):
    hideLegend(patientScene.segmentation)
    bare = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bare")
    hideLegend(bare)

    assert legendOf(patientScene.segmentation) is None
    assert bare.GetDisplayNode() is None


def test_the_legend_survives_saving_and_loading_the_scene(scene, patientScene, tmp_path):
    showLegend(patientScene.segmentation, SCALE)
    name = patientScene.segmentation.GetName()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))

    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)

    node = slicer.util.getNode(name)
    assert legendOf(node).GetTitleText() == SCALE.label
    assert node.GetDisplayNode().GetScalarRange() == (0.0, 1.0)
    table = node.GetDisplayNode().GetColorNode().CreateLookupTableCopy()
    assert table.GetTableValue(0)[:3] == pytest.approx(SCALE.rgb(0.0), abs=0.01)
    hideLegend(node)
    assert node.GetDisplayNode().GetColorNode() is None
