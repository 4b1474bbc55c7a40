"""Answers on organs: what is coloured, what stands out, and what views show."""

import time

import numpy as np
import pytest
from display_rig import SCORES, answerOf, giveOddLooks, lesion, looks, ownColours, row

from CTGLIPLib.geometry import Grid
from CTGLIPLib.volume import Segmentation
from CTGLIPSlicer import display
from CTGLIPSlicer.display import DIMMED, GREY, DisplayOptions
from CTGLIPSlicer.nodes_import import segmentationNodeFrom


@pytest.fixture
def odd(patientScene):
    giveOddLooks(patientScene)
    return patientScene


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
