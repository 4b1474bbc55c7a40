"""Pictures of the real CTs with coloured organs and legend, in slices and in 3D, judged by their pixels."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from panel_rig import made_up_result

from CTGLIPSlicer import display, legend
from CTGLIPSlicer.display import DisplayOptions

CASES = {
    "chestScene": {"lung_lower_lobe_left": 0.95, "lung_lower_lobe_right": 0.3},
    "abdomenScene": {"kidney_left": 0.95, "kidney_right": 0.3},
}


@pytest.fixture(params=CASES)
def coloured(request, views):
    """A real study whose left organ scores high and whose right one scores low, with its legend."""
    study = request.getfixturevalue(request.param)
    slicer.util.setSliceViewerLayers(background=study.volume, fit=True)
    answer = made_up_result(study, {"nodule": CASES[request.param]}).queries[0]
    scale = display.showAnswer(study.segmentation, answer, DisplayOptions())
    legend.showLegend(study.segmentation, scale)
    return study, CASES[request.param], scale


def hue(rgb: np.ndarray | tuple) -> np.ndarray:
    """Direction of a colour away from grey."""
    away = np.asarray(rgb, float) - np.mean(rgb)
    return away / (np.linalg.norm(away) + 1e-9)


@pytest.mark.parametrize("name", ["Red", "Green", "Yellow"])
def test_an_organ_has_its_score_s_colour_in_every_slice_view(coloured, views, name):
    study, scores, scale = coloured
    view = views.sliceWidget(name).view
    for organ, score in scores.items():
        number = next(number for number, known in study.arrays.names.items() if known == organ)
        inside = np.argwhere(study.arrays.labels == number)
        ijk = inside[
            np.linalg.norm(inside - inside.mean(axis=0), axis=1).argmin()
        ]  # in the organ, also in a hollow one
        ras = (study.arrays.grid.affine @ [*ijk, 1.0])[:3]
        view.node.JumpSliceByCentering(*ras)
        row, column = view.pixelOf(tuple(ras))
        seen = view.image()[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).mean(axis=0)
        assert hue(seen) @ hue(scale.rgb(score)) > 0.9, organ


def test_the_patient_s_left_organ_is_on_the_right_of_the_axial_picture(coloured, views):
    study, scores, _ = coloured
    view = views.sliceWidget("Red").view
    left, right = (study.centreRas(organ) for organ in scores)
    view.node.JumpSliceByCentering(*((left + right) / 2))
    assert view.pixelOf(tuple(left))[1] > view.pixelOf(tuple(right))[1]


def test_the_legend_s_bar_runs_through_the_scale_s_colours_from_bottom_to_top(coloured, views):
    _, _, scale = coloured
    picture = views.sliceWidget("Red").view.image()
    edge = picture[:, -picture.shape[1] // 10 :].astype(float)
    for value in (0.05, 0.5, 0.95):
        away = np.abs(edge - 255 * np.array(scale.rgb(value))).max(axis=2)
        assert away.min() < 12, value
    rows = [np.abs(edge - 255 * np.array(scale.rgb(value))).max(axis=2).min(axis=1).argmin() for value in (0.05, 0.95)]
    assert rows[0] > rows[1]


def test_the_3d_picture_shows_both_organs_in_their_colours(coloured, views):
    study, scores, scale = coloured
    study.segmentation.CreateClosedSurfaceRepresentation()
    view = views.threeDWidget(0).view
    for setter in (view.node.SetBackgroundColor, view.node.SetBackgroundColor2):
        setter(0, 0, 0)
    view.fit()
    picture = view.image().astype(float)
    bright = picture[picture.sum(axis=2) > 90]
    hues = np.array([hue(rgb) for rgb in bright])
    for score in scores.values():
        assert (hues @ hue(scale.rgb(score)) > 0.95).sum() > 200, score
