"""Answers on organs: what is coloured, what stands out, and that everything comes back exactly."""

import time

import numpy as np
import pytest
import slicer
from CTGLIPSlicer import display
from CTGLIPSlicer.colour_scale import ColourScale
from CTGLIPSlicer.display import DIMMED, GREY, DisplayOptions
from CTGLIPSlicer.nodes_import import segmentationNodeFrom
from CTGLIPSlicer.segment_look import Look, lookOf

from CTGLIPLib.geometry import Grid
from CTGLIPLib.results import OrganScore, QueryAnswer
from CTGLIPLib.volume import Segmentation

SCORES = {"liver": 0.9, "spleen": 0.4, "kidney_left": 0.1}


def row(organ: str, score: float | None, similarity: float | None = None, state: str = "present") -> OrganScore:
    if score is None and similarity is None and state == "present":
        state = "too_small"
    if similarity is None and score is not None:
        similarity = score / 2
    return OrganScore(organ, organ.replace("_", " "), state, similarity, score)


def answerOf(*rows: OrganScore, threshold: float | None = 0.5, text: str = "lesion", phrase: str = "") -> QueryAnswer:
    best = max((r.score or 0.0 for r in rows), default=0.0)
    scored = any(r.is_scored for r in rows)
    said = ("found" if best >= (threshold or 0.0) else "not_found") if scored else "unanswerable"
    asked = tuple(r.organ for r in rows)
    return QueryAnswer(text, "finding", None, False, asked, said, threshold, ("a",), ("b",), rows, phrase)


def lesion(**scores: float) -> QueryAnswer:
    return answerOf(*(row(organ, score) for organ, score in (scores or SCORES).items()))


def looks(study) -> dict[str, Look]:
    """The look of every organ."""
    node = study.segmentation
    return {organ: lookOf(node.GetDisplayNode(), study.segmentId(organ)) for organ in study.organs}


def ownColours(study) -> dict[str, tuple]:
    node = study.segmentation.GetSegmentation()
    return {organ: node.GetSegment(study.segmentId(organ)).GetColor() for organ in study.organs}


@pytest.fixture
def odd(patientScene):
    """The patient, each organ with another look that the user chose."""
    node = patientScene.segmentation.GetDisplayNode()
    for number, organ in enumerate(patientScene.organs):
        segmentId = patientScene.segmentId(organ)
        node.SetSegmentOpacity3D(segmentId, 0.123456789 + 0.05 * number)
        node.SetSegmentOpacity2DFill(segmentId, 1 / 3 + 0.01 * number)
        node.SetSegmentOpacity2DOutline(segmentId, 0.9 - 0.07 * number)
        node.SetSegmentVisibility(segmentId, number != 3)
        node.SetSegmentVisibility3D(segmentId, number != 2)
    node.SetSegmentOverrideColor(patientScene.segmentId("spleen"), 0.11, 0.22, 0.33)
    return patientScene


# What is shown


def test_scored_organs_have_the_colours_of_their_scores(patientScene):
    scale = display.showAnswer(patientScene.segmentation, lesion())

    assert (scale.low, scale.high, scale.palette) == (0.0, 1.0, "viridis")
    shown = looks(patientScene)
    for organ, score in SCORES.items():
        assert shown[organ].colour == pytest.approx(scale.rgb(score))
        rgb = patientScene.segmentation.GetDisplayNode().GetSegmentColor(patientScene.segmentId(organ))
        assert list(rgb) == pytest.approx(scale.rgb(score))


def test_the_segments_own_colours_names_and_tags_are_untouched(patientScene):
    colours, names = ownColours(patientScene), patientScene.organs

    display.showAnswer(patientScene.segmentation, lesion())

    assert ownColours(patientScene) == colours
    assert patientScene.organs == names


def test_the_better_an_organ_matches_the_more_opaque_it_is(patientScene):
    display.showAnswer(patientScene.segmentation, lesion())

    shown = [looks(patientScene)[organ] for organ in ("liver", "spleen", "kidney_left")]
    for opacities in ([s.opacity3D for s in shown], [s.fill for s in shown], [s.outline for s in shown]):
        assert opacities == sorted(opacities, reverse=True)
        assert opacities[0] == pytest.approx(1.0)
    assert shown[2].opacity3D < 0.4


def test_the_best_of_a_finding_that_is_not_there_is_not_opaque(patientScene):
    display.showAnswer(patientScene.segmentation, lesion(liver=0.1, spleen=0.05))

    shown = looks(patientScene)
    assert shown["liver"].opacity3D == pytest.approx(0.3 + 0.7 * 0.2)
    assert shown["spleen"].opacity3D < shown["liver"].opacity3D


def test_organs_asked_but_not_scored_are_grey(patientScene):
    answer = answerOf(row("liver", 0.9), row("gallbladder", None), row("stomach", None, state="absent"))

    display.showAnswer(patientScene.segmentation, answer)

    grey = looks(patientScene)["gallbladder"]
    assert grey.colour == GREY
    assert 0.2 < grey.fill < 0.5
    assert grey.outline > 0.5


def test_an_answer_without_scores_has_no_scale_and_greys_the_organs(patientScene):
    scale = display.showAnswer(patientScene.segmentation, answerOf(row("gallbladder", None)))

    assert scale is None
    assert looks(patientScene)["gallbladder"].colour == GREY
    assert looks(patientScene)["liver"].fill == 0.0


def test_organs_not_asked_fade_to_faint_outlines(patientScene):
    display.showAnswer(patientScene.segmentation, lesion())

    other = looks(patientScene)["kidney_right"]
    assert other.colour == GREY
    assert (other.fill, other.opacity3D, other.visible3D) == (0.0, DIMMED.opacity3D, False)
    assert 0 < other.outline < 0.2


def test_ghosts_stay_in_3d_where_wanted(odd):
    display.showAnswer(odd.segmentation, lesion(liver=0.9), DisplayOptions(ghosts=True))

    shown = looks(odd)
    assert shown["spleen"].visible3D
    assert shown["spleen"].opacity3D == pytest.approx(0.04)
    assert not shown["kidney_left"].visible3D  # the user hid its surface


def test_organs_not_asked_keep_their_look_where_wanted(odd):
    before = looks(odd)

    display.showAnswer(odd.segmentation, lesion(liver=0.9), DisplayOptions(dimOthers=False))

    after = looks(odd)
    assert after.pop("liver") != before.pop("liver")
    assert after == before


def test_a_hidden_organ_comes_out_where_it_is_asked_and_only_there(odd):
    hidden = odd.organs[3]

    display.showAnswer(odd.segmentation, lesion(liver=0.9))
    assert not looks(odd)[hidden].visible

    display.showAnswer(odd.segmentation, lesion(**{hidden: 0.9}))
    assert looks(odd)[hidden].visible


def test_a_fitted_range_spreads_the_answer_s_own_scores(patientScene):
    scale = display.showAnswer(patientScene.segmentation, lesion(), DisplayOptions(colourRange="fitted"))

    assert (scale.low, scale.high) == (0.1, 0.9)
    assert looks(patientScene)["liver"].colour == pytest.approx(scale.rgb(0.9))


@pytest.mark.parametrize(
    ("scores", "low", "high"), [((0.5, 0.51), 0.455, 0.555), ((0.98, 0.99), 0.9, 1.0), ((0.0, 0.01), 0.0, 0.1)]
)
def test_scores_that_hardly_differ_are_not_spread_over_all_colours(patientScene, scores, low, high):
    answer = lesion(liver=scores[0], spleen=scores[1])

    scale = display.showAnswer(patientScene.segmentation, answer, DisplayOptions(colourRange="fitted"))

    assert (scale.low, scale.high) == pytest.approx((low, high))


def test_colours_go_by_similarity_where_wanted_over_its_fixed_range(patientScene):
    options = DisplayOptions(colourBy="similarity")

    scale = display.showAnswer(patientScene.segmentation, lesion(), options)

    assert (scale.low, scale.high) == (-1.0, 1.0)
    assert scale.label == "CT-GLIP similarity: lesion"
    assert looks(patientScene)["liver"].colour == pytest.approx(scale.rgb(0.45))


def test_similarities_are_shown_where_there_are_no_scores(patientScene):
    answer = answerOf(row("liver", None, 0.3), row("spleen", None, -0.1), threshold=None)

    scale = display.showAnswer(patientScene.segmentation, answer)

    assert scale.label == "CT-GLIP similarity: lesion"
    shown = looks(patientScene)
    assert (shown["liver"].opacity3D, shown["spleen"].opacity3D) == pytest.approx((1.0, 0.3))


@pytest.mark.parametrize(
    ("threshold", "text", "phrase", "label"),
    [
        (0.55, "fatty liver", "", "CT-GLIP score: fatty liver\nfound from 0.55"),
        (None, "liver", "", "CT-GLIP score: liver"),
        (0.5, "no gallstone", "gallstone", "CT-GLIP score: gallstone\nfound from 0.50"),
    ],
)
def test_the_label_says_what_the_colours_mean_and_from_where_on_it_is_found(
    patientScene, threshold, text, phrase, label
):
    answer = answerOf(row("liver", 0.9), threshold=threshold, text=text, phrase=phrase)

    assert display.showAnswer(patientScene.segmentation, answer).label == label


def test_a_long_question_is_shortened_in_the_label(patientScene):
    answer = answerOf(row("liver", 0.9), text="word " * 40)

    assert len(display.showAnswer(patientScene.segmentation, answer).label.splitlines()[0]) <= 80


@pytest.mark.parametrize("wrong", [{"colourBy": "name"}, {"colourRange": "log"}])
def test_unknown_options_are_refused(wrong):
    with pytest.raises(ValueError, match="score or similarity, over a fixed or fitted range"):
        DisplayOptions(**wrong)


# That everything comes back


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


# Highlighting


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


# Views and speed


def test_organs_without_fill_show_what_lies_over_the_ct_and_get_their_fill_back(patientScene):
    node = patientScene.segmentation.GetDisplayNode()
    display.fillOrgans(patientScene.segmentation, filled=False)
    display.fillOrgans(patientScene.segmentation, filled=False)
    assert (node.GetVisibility2DFill(), node.GetVisibility2DOutline()) == (0, 1)
    display.fillOrgans(patientScene.segmentation, filled=True)
    assert node.GetVisibility2DFill() == 1
    assert node.GetAttribute(display.FORMER_FILL) is None


def test_slices_show_the_colours_of_the_scores_and_the_right_side_on_the_left(views, patientScene):
    view = views.sliceWidget("Red").view
    view.show(patientScene.volume)
    scale = display.showAnswer(patientScene.segmentation, lesion(kidney_left=0.95, kidney_right=0.3))
    columns = {}

    for organ, score in (("kidney_left", 0.95), ("kidney_right", 0.3)):
        ras = patientScene.centreRas(organ)
        view.node.JumpSliceByCentering(*ras)
        place = view.pixelOf(tuple(ras))
        rgb = view.image()[place[0] - 3 : place[0] + 4, place[1] - 3 : place[1] + 4].reshape(-1, 3).mean(axis=0)
        hue = np.argsort(scale.rgb(score))
        assert np.argsort(rgb).tolist() == hue.tolist(), organ
        view.node.JumpSliceByCentering(*patientScene.centreRas("liver"))
        columns[organ] = view.pixelOf(tuple(ras))[1]

    assert columns["kidney_right"] < columns["kidney_left"]


def test_3d_shows_the_organs_asked_alone_in_their_colours(views, patientScene):
    patientScene.segmentation.CreateClosedSurfaceRepresentation()
    view = views.threeDWidget(0).view
    view.node.SetBackgroundColor(0, 0, 0)
    view.node.SetBackgroundColor2(0, 0, 0)
    view.fit()
    whole = view.image().astype(int)

    display.showAnswer(patientScene.segmentation, lesion(liver=0.95))

    shown = view.image().astype(int)
    organ, everything = (picture.sum(axis=2) > 60 for picture in (shown, whole))
    assert 0.05 < organ.sum() / everything.sum() < 0.8
    red, green, blue = shown[organ].mean(axis=0)
    assert blue < 0.7 * min(red, green)  # the yellow end


def test_views_hear_of_a_recolouring_once(patientScene):
    node = patientScene.segmentation.GetDisplayNode()
    heard = []
    tag = node.AddObserver("ModifiedEvent", lambda *_: heard.append(1))

    display.showAnswer(patientScene.segmentation, lesion())
    node.RemoveObserver(tag)

    assert len(heard) == 1


def test_104_segments_are_recoloured_within_a_third_of_a_second(scene):
    names = tuple(f"structure {number}" for number in range(1, 105))
    labels = np.random.default_rng(1).integers(0, 105, (40, 40, 40)).astype(np.uint16)
    node = segmentationNodeFrom(Segmentation(labels[None], Grid(labels.shape, np.eye(4)), names), "many")
    answer = answerOf(*(row(name, number / 110) for number, name in enumerate(names)))
    display.showAnswer(node, answer)

    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        display.showAnswer(node, answer)
        seconds.append(time.perf_counter() - started)

    assert min(seconds) < 0.3
    assert len({tuple(node.GetDisplayNode().GetSegmentColor(name)) for name in names}) == 104
