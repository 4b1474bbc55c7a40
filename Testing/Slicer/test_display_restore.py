"""Answers on organs: every look comes back exactly, after answers, highlights and saved scenes."""

import pytest
import slicer
from display_rig import answerOf, giveOddLooks, lesion, looks, row

from CTGLIPSlicer import display
from CTGLIPSlicer.colour_scale import ColourScale
from CTGLIPSlicer.display import DisplayOptions
from CTGLIPSlicer.segment_look import Look, lookOf


@pytest.fixture
def odd(patientScene):
    giveOddLooks(patientScene)
    return patientScene


def test_the_former_look_comes_back_exactly_after_many_answers(odd):
    before = looks(odd)

    for number in range(5):
        display.showAnswer(odd.segmentation, lesion(**{odd.organs[number]: 0.9, "liver": 0.2}))
        assert display.isRecoloured(odd.segmentation)
    display.restoreColours(odd.segmentation)

    assert looks(odd) == before
    assert not display.isRecoloured(odd.segmentation)


def test_restoring_leaves_nothing_behind(odd):
    node = odd.segmentation.GetDisplayNode()
    before = list(node.GetAttributeNames())

    display.showAnswer(odd.segmentation, lesion())
    display.highlight(odd.segmentation, "liver")
    display.restoreColours(odd.segmentation)

    assert list(node.GetAttributeNames()) == before


def test_restoring_without_an_answer_changes_nothing(odd):
    before = looks(odd)

    display.restoreColours(odd.segmentation)

    assert looks(odd) == before


def test_looks_that_the_user_chose_between_two_answers_are_kept(odd):
    display.showAnswer(odd.segmentation, lesion())
    display.restoreColours(odd.segmentation)
    odd.segmentation.GetDisplayNode().SetSegmentOpacity3D(odd.segmentId("liver"), 0.77)

    display.showAnswer(odd.segmentation, lesion())
    display.restoreColours(odd.segmentation)

    assert looks(odd)["liver"].opacity3D == 0.77


def test_the_former_look_comes_back_after_saving_and_loading_the_scene(odd, scene, tmp_path):
    before = {odd.segmentId(organ): look for organ, look in looks(odd).items()}
    name = odd.segmentation.GetName()
    display.showAnswer(odd.segmentation, lesion())
    shown = {odd.segmentId(organ): look.colour for organ, look in looks(odd).items()}
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))

    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)

    node = slicer.util.getNode(name)
    for segmentId, colour in shown.items():
        assert lookOf(node.GetDisplayNode(), segmentId).colour == pytest.approx(colour, abs=1e-5)
    assert display.isRecoloured(node)
    display.restoreColours(node)
    assert {segmentId: lookOf(node.GetDisplayNode(), segmentId) for segmentId in before} == before


def test_segments_removed_and_added_meanwhile_do_not_disturb(odd):
    before = looks(odd)
    segmentation = odd.segmentation.GetSegmentation()
    display.showAnswer(odd.segmentation, lesion())

    segmentation.RemoveSegment(odd.segmentId("spleen"))
    added = segmentation.AddEmptySegment("stomach", "stomach")
    odd.segmentation.GetDisplayNode().SetSegmentOpacity3D(added, 0.66)
    display.showAnswer(odd.segmentation, answerOf(row("stomach", 0.8), row("liver", 0.2)))
    assert lookOf(odd.segmentation.GetDisplayNode(), added).opacity3D == 1.0
    display.restoreColours(odd.segmentation)

    assert lookOf(odd.segmentation.GetDisplayNode(), added) == Look(None, 0.66, 1.0, 1.0)
    before.pop("spleen")
    after = looks(odd)
    after.pop("stomach")
    assert after == before


def test_a_segment_of_a_removed_one_s_id_has_its_own_look(patientScene):
    segmentation, segmentId = patientScene.segmentation.GetSegmentation(), patientScene.segmentId("spleen")
    patientScene.segmentation.GetDisplayNode().SetSegmentOpacity3D(segmentId, 0.2)
    display.showAnswer(patientScene.segmentation, lesion())

    segmentation.RemoveSegment(segmentId)
    display.showAnswer(patientScene.segmentation, lesion(liver=0.9))
    segmentation.AddEmptySegment(segmentId, "spleen")
    display.showAnswer(patientScene.segmentation, lesion())
    display.restoreColours(patientScene.segmentation)

    assert lookOf(patientScene.segmentation.GetDisplayNode(), segmentId).opacity3D == 1.0


def test_a_segmentation_without_display_node_gets_one(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bare")
    node.GetSegmentation().AddEmptySegment("liver", "liver")
    assert node.GetDisplayNode() is None
    display.restoreColours(node)

    assert isinstance(display.showAnswer(node, lesion()), ColourScale)
    assert node.GetDisplayNode().GetSegmentColor("liver")[0] == pytest.approx(0.689, abs=0.05)


def test_a_highlighted_organ_is_opaque_in_its_colour_until_the_next(patientScene):
    display.showAnswer(patientScene.segmentation, lesion())
    before = looks(patientScene)

    display.highlight(patientScene.segmentation, "kidney_left")

    after = looks(patientScene)
    assert after["kidney_left"] == Look(before["kidney_left"].colour, 1.0, 0.8, 1.0)
    display.highlight(patientScene.segmentation, "spleen")
    assert looks(patientScene)["kidney_left"] == before["kidney_left"]
    display.highlight(patientScene.segmentation, None)
    assert looks(patientScene) == before


@pytest.mark.parametrize("end", ["answer", "restore", "removed"])
def test_a_highlight_ends_with_the_next_answer_or_the_former_colours(odd, end):
    before = looks(odd)
    display.showAnswer(odd.segmentation, lesion(), DisplayOptions(dimOthers=False))
    display.highlight(odd.segmentation, "kidney_right")

    if end == "removed":
        odd.segmentation.GetSegmentation().RemoveSegment(odd.segmentId("kidney_right"))
        before.pop("kidney_right")
    if end == "answer":
        display.showAnswer(odd.segmentation, lesion(liver=0.3), DisplayOptions(dimOthers=False))
        assert looks(odd)["kidney_right"] == before["kidney_right"]
    display.restoreColours(odd.segmentation)

    assert looks(odd) == before


def test_an_organ_without_segment_highlights_nothing(patientScene):
    before = looks(patientScene)

    display.highlight(patientScene.segmentation, "stomach")

    assert looks(patientScene) == before


def test_organs_without_fill_show_what_lies_over_the_ct_and_get_their_fill_back(patientScene):
    node = patientScene.segmentation.GetDisplayNode()
    display.fillOrgans(patientScene.segmentation, filled=False)
    display.fillOrgans(patientScene.segmentation, filled=False)
    assert (node.GetVisibility2DFill(), node.GetVisibility2DOutline()) == (0, 1)
    display.fillOrgans(patientScene.segmentation, filled=True)
    assert node.GetVisibility2DFill() == 1
    assert node.GetAttribute(display.FORMER_FILL) is None
