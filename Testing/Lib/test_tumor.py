"""Tumours found in a phantom: at their place, on the CT's own grid, however it is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import reordered
from scipy import ndimage
from tumor_rig import (
    BALL_ML,
    BALL_RAS_MM,
    CONFIG,
    ball_ct,
    ball_grid,
    bright_network,
    in_ball,
    save_bright_model,
    turned,
)

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import window_input
from CTGLIPLib.errors import Cancelled, CheckpointError, GeometryError, InputError
from CTGLIPLib.geometry import Grid, canonical_grid, grid_at_spacing, same_grid
from CTGLIPLib.inputs import StudyInput
from CTGLIPLib.preprocess import prepare_on_grid
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.tumor import TumorModel, find_tumors, segment_tumor
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_measure import measure_tumors
from CTGLIPLib.tumor_model import TumorSegmenter
from CTGLIPLib.tumor_results import found_names
from CTGLIPLib.volume import Segmentation, Volume
from CTGLIPLib.windows import blend_weight, plan_windows


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


@pytest.fixture
def model(tmp_path) -> TumorModel:
    return TumorModel.from_pretrained(save_bright_model(tmp_path / "balls").folder, "cpu")


@pytest.mark.parametrize(
    "grid",
    [ball_grid(), ball_grid((1.5, 1.5, 8.0)), turned(ball_grid(), 25), turned(ball_grid((2.0, 4.0, 3.0)), -70)],
    ids=["usual", "anisotropic", "oblique", "turned far"],
)
def test_the_ball_is_found_at_its_place_on_the_cts_own_grid(grid):
    found = segment_tumor(ball_ct(grid), bright_network())
    assert same_grid(found.grid, grid)
    assert found.names == ("muscle", "ball")
    assert found.tumors == ("ball",)
    assert not found.mask("muscle").any()
    assert dice(found.mask("ball"), in_ball(grid)) > 0.8


@pytest.mark.parametrize(("order", "flips"), [((0, 1, 2), (True, True, False)), ((2, 0, 1), (False, True, True))])
def test_the_same_patient_stored_otherwise_gives_the_same_voxels(order, flips):
    ct = ball_ct(ball_grid())
    straight = segment_tumor(ct, bright_network())
    array, grid = reordered(ct.array, ct.grid, order, flips)
    expected, _ = reordered(straight.layers, ct.grid, order, flips)
    np.testing.assert_array_equal(segment_tumor(Volume(array, grid), bright_network()).layers, expected)


def test_position_channels_tell_left_from_right():
    """A network that calls everything on the right the tumour."""

    class RightOfTheMiddle(TumorSegmenter):
        def logits(self, image):
            return torch.stack([torch.zeros_like(image[:, 1]), image[:, 1]], dim=1)

    network = RightOfTheMiddle(TumorConfig(preprocess=CONFIG.preprocess, backbone="tiny", coordinates=True)).eval()
    ct = ball_ct(ball_grid((3.0, 5.0, 6.0)))
    array, grid = reordered(ct.array, ct.grid, (0, 1, 2), (True, False, False))
    found = segment_tumor(Volume(array, grid), network).mask("tumor")
    right_mm = grid.to_ras(np.argwhere(found))[:, 0]
    assert right_mm.min() > -4
    assert right_mm.mean() > 20


def test_streaming_equals_blending_the_whole_volume_at_once(rng):
    torch.manual_seed(4)
    preprocess = PreprocessConfig(spacing_mm=4.0, patch_voxels=16)
    network = TumorSegmenter(TumorConfig(preprocess=preprocess, backbone="tiny")).eval()
    grid = turned(ball_grid(), 10)
    ct = ball_ct(grid)
    ct = Volume(ct.array + rng.normal(0, 40, ct.array.shape).astype("f4"), grid)
    coarse = resample_volume(ct, grid_at_spacing(canonical_grid(grid), 4.0))
    nothing = Segmentation(np.zeros((1, *coarse.grid.shape_ijk), np.uint16), coarse.grid, ())
    prepared = prepare_on_grid(coarse, nothing, preprocess)
    blended = np.zeros((2, *coarse.grid.shape_ijk), np.float32)
    weights = np.zeros(coarse.grid.shape_ijk, np.float32)
    plan = plan_windows(coarse.array > -2000, 16, preprocess.overlap)
    weight = blend_weight((16, 16, 16))
    for box in plan.boxes:
        with torch.inference_mode():
            logits = network.logits(window_input(prepared, box, coordinates=False)[None])[0].numpy()
        blended[:, box[0], box[1], box[2]] += logits * weight
        weights[box] += weight
    index = np.moveaxis(np.indices(grid.shape_ijk), 0, -1)
    place = np.moveaxis(coarse.grid.to_index(grid.to_ras(index)), -1, 0)
    expected = np.argmax(
        [ndimage.map_coordinates(c / weights, place, order=1, mode="grid-constant", cval=0.0) for c in blended], axis=0
    )
    found = segment_tumor(ct, network).layers[0]
    assert 0.01 < expected.mean() < 0.99
    body = found != expected
    assert np.mean(body) < 1e-3  # rounding decides where two classes are equal


def test_a_finding_is_measured_and_placed_on_the_patients_left(model):
    ct = ball_ct(ball_grid())
    progress = []
    found = find_tumors(
        StudyInput("ct.nii", ct, None), model, progress=lambda what, done, total: progress.append((what, done, total))
    )
    result = found.result
    (ball,) = result.tumors
    assert result.detected
    assert ball.detected
    assert ball.volume_ml == pytest.approx(BALL_ML, rel=0.25)
    assert (ball.components, ball.organ) == (1, None)
    assert ball.largest_ml == ball.volume_ml
    assert ball.centre_ras_mm == pytest.approx(BALL_RAS_MM, abs=3)
    assert ball.volume_ml == pytest.approx(found.segmentation.mask("ball").sum() * ct.grid.voxel_volume_ml)
    assert [row.name for row in result.organs] == ["muscle"]
    assert found_names(result.tumors) == ("ball",)
    assert progress[0] == ("preparing the scan", 0, 1)
    assert progress[-1][1] == progress[-1][2]


def test_a_tumour_below_the_threshold_is_measured_but_not_detected(tmp_path):
    folder = save_bright_model(tmp_path / "balls", replace(CONFIG, detection_ml=40.0)).folder
    result = find_tumors(StudyInput("ct", ball_ct(ball_grid()), None), TumorModel.from_pretrained(folder, "cpu")).result
    assert not result.detected
    assert result.tumors[0].volume_ml > 5


def test_the_organ_is_the_one_around_the_tumour_even_where_its_mask_leaves_the_tumour_out(model):
    grid = ball_grid()
    labels = np.zeros((1, *grid.shape_ijk), np.uint16)
    labels[0, :22] = 1
    labels[0, 22:] = 2
    labels[0][in_ball(grid)] = 0
    organs = Segmentation(labels, grid, ("spleen", "liver"), "masks")
    result = find_tumors(StudyInput("ct", ball_ct(grid), None), model, organs).result
    assert result.tumors[0].organ == "spleen"
    assert result.organs_source == "masks"


def test_organs_of_another_patient_are_refused(model):
    affine = ball_grid().affine.copy()
    affine[:3, 3] += 900
    far = Segmentation(np.ones((1, 4, 4, 4), np.uint16), Grid((4, 4, 4), affine), ("liver",))
    with pytest.raises(GeometryError, match="overlap by 0% only"):
        find_tumors(StudyInput("ct", ball_ct(ball_grid()), None), model, far)


def test_pieces_are_counted_and_the_largest_is_placed():
    grid = Grid((20, 20, 20), np.diag([2.0, 2.0, 5.0, 1.0]))
    labels = np.zeros((1, 20, 20, 20), np.uint16)
    labels[0, 2:6, 2:6, 2:4] = 1
    labels[0, 6, 6, 4] = 1  # touches by a corner
    labels[0, 15, 15, 15] = 1
    config = TumorConfig(classes=("mass", "cyst"), tumors=("mass", "cyst"))
    mass, cyst = measure_tumors(Segmentation(labels, grid, config.classes), config, None)[0]
    assert (mass.components, mass.largest_ml, mass.volume_ml) == (2, pytest.approx(0.66), pytest.approx(0.68))
    assert labels[0][tuple(grid.to_index(np.array(mass.centre_ras_mm)).round().astype(int))] == 1
    assert (cyst.detected, cyst.volume_ml, cyst.components, cyst.centre_ras_mm) == (False, 0.0, 0, None)


@pytest.mark.parametrize("stage", ["preparing the scan", "searching for tumours"])
def test_it_stops_when_asked(stage, model):
    with pytest.raises(Cancelled, match=f"Cancelled while {stage}"):
        find_tumors(StudyInput("ct", ball_ct(ball_grid()), None), model, progress=lambda what, *_: what != stage)


def test_air_is_refused(model):
    air = Volume(np.full(ball_grid().shape_ijk, -1000, np.int16), ball_grid())
    with pytest.raises(InputError, match="no voxel above -500 HU"):
        find_tumors(StudyInput("ct", air, None), model)


def test_without_a_model_it_is_told_how_to_get_one():
    with pytest.raises(InputError, match=r"--model DIR, got none.*ctglip-train finetune"):
        TumorModel.from_pretrained(None)


def test_a_model_that_answers_questions_is_refused(tiny_model):
    with pytest.raises(CheckpointError, match="expected a tumour model"):
        TumorModel.from_pretrained(tiny_model)
