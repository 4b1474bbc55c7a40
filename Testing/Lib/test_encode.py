"""Streaming organ embeddings: against blending first, against numpy loops, and the same whatever the geometry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from phantoms import (
    LAYERED,
    NAMES,
    cosines,
    phantom,
    phantom_ct,
    phantom_grid,
    phantom_organs,
    reordered,
    standardised_model,
    tiny_model,
)
from scipy import ndimage

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.core_and_shell import core_and_shell
from CTGLIPLib.encode import (
    autocast,
    choose_device,
    encode_organs,
    organ_descriptors,
    stoppable,
    stream_features,
    window_input,
)
from CTGLIPLib.errors import Cancelled
from CTGLIPLib.geometry import Grid
from CTGLIPLib.intensity import MAP_CENTRES
from CTGLIPLib.model import LOG_SCALE, GroundedEncoder
from CTGLIPLib.preprocess import Prepared, prepare, prepare_on_grid
from CTGLIPLib.volume import Segmentation, Volume
from CTGLIPLib.windows import plan_windows

ALL_OPTIONS = {
    name: True for name in ("coordinates", "intensity", "power_mean", "geometry", "core_and_shell")
}  # fmt: skip
CONFIG = PreprocessConfig(spacing_mm=3.0, patch_voxels=24, overlap=0.25)


@pytest.fixture(scope="module")
def model() -> GroundedEncoder:
    return standardised_model(CONFIG, **ALL_OPTIONS)


@pytest.fixture(scope="module")
def reference(model: GroundedEncoder) -> np.ndarray:
    """Embeddings of the phantom at 1 mm: every sample of the 3 mm grid falls on a voxel."""
    return embed(model, *phantom(phantom_grid((1.0, 1.0, 1.0))))


@pytest.fixture(scope="module")
def stored(model: GroundedEncoder) -> np.ndarray:
    """Embeddings of the phantom at 1.5 x 2 x 3 mm, where samples fall midway between voxels."""
    return embed(model, *phantom(phantom_grid()))


def embed(model: GroundedEncoder, volume: Volume, organs: Segmentation) -> np.ndarray:
    """Embeddings in one window, which is fast; the streaming tests have many."""
    config = replace(CONFIG, patch_voxels=32)
    return encode_organs(model, prepare(volume, organs, config), config)


def random_study(shape: tuple[int, int, int], rng: np.random.Generator) -> Prepared:
    """Noise with organs of a few voxels to many, in three layers that overlap."""
    layers = np.zeros((3, *shape), np.uint16)
    layers[0, 2:20, 3:30, 1:7] = 1
    layers[0, 20:47, 0:12, 2:9] = 2
    layers[1, 5:49, 5:25, 3:8] = 3
    layers[2, 30:31, 20:21, 4:5] = 4
    grid = Grid(shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    volume = Volume(rng.normal(0, 300, shape).astype(np.float32), grid)
    return prepare_on_grid(volume, Segmentation(layers, grid, ("a", "b", "c", "d")), CONFIG)


def gaussian(shape: tuple[int, ...]) -> np.ndarray:
    """The blending weight of a window, voxel by voxel in float64."""
    bump = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in shape]
    return np.maximum(np.einsum("i,j,k->ijk", *bump), 1e-3)


def blended_channels(model: GroundedEncoder, study: Prepared) -> tuple[np.ndarray, int]:
    """The whole map of features and 4th powers, blended over the windows, and how many those were."""
    occupied = (study.segmentation.layers > 0).any(axis=0)
    plan = plan_windows(occupied, CONFIG.patch_voxels, CONFIG.overlap)
    total, weight = 0.0, np.zeros(occupied.shape)
    for box in plan.boxes:
        with torch.inference_mode():
            image = window_input(study, box, model.config.coordinates)
            features = model.features(image[None])[0].double().numpy()
        parts = [features]
        if model.config.power_mean:
            parts.append(np.maximum(features, 0) ** 4)
        values = np.concatenate(parts)
        if np.isscalar(total):
            total = np.zeros((len(values), *occupied.shape))
        total[(slice(None), *box)] += values * gaussian(values.shape[1:])
        weight[box] += gaussian(values.shape[1:])
    return total / np.maximum(weight, 1e-300), len(plan.boxes)


def hat_histograms(hu: np.ndarray) -> np.ndarray:
    """Each bin's hat function of the three HU maps, by np.interp."""
    near = ndimage.uniform_filter(hu.astype(np.float64), 3, mode="nearest")
    maps = (hu, near, near - ndimage.uniform_filter(hu.astype(np.float64), 9, mode="nearest"))
    return np.stack(
        [
            np.interp(m, centres, np.eye(len(centres))[b])
            for m, centres in zip(maps, MAP_CENTRES, strict=True)
            for b in range(len(centres))
        ]
    )


def organ_means(channels: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    return np.array([channels[:, segmentation.mask(name)].mean(axis=1) for name in segmentation.names])


@pytest.mark.parametrize("shape", [(50, 37, 10), (49, 31, 33)])
def test_streaming_pooling_equals_blending_first_and_averaging_each_organ(shape, rng):
    study = random_study(shape, rng)
    model = tiny_model(CONFIG)
    channels, windows = blended_channels(model, study)
    expected = organ_means(channels, study.segmentation)
    pooled = organ_descriptors(model, study, CONFIG).numpy()
    assert windows >= 4
    np.testing.assert_allclose(pooled, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_with_all_options_the_descriptor_equals_numpy_loops(rng):
    study = random_study((50, 37, 10), rng)
    model = tiny_model(CONFIG, **ALL_OPTIONS)
    channels, _ = blended_channels(model, study)
    means = organ_means(channels, study.segmentation)
    width = model.backbone.out_channels
    shares = organ_means(hat_histograms(study.image * 2000.0 - 1000.0), study.segmentation)
    measures = [study.geometry_features, core_and_shell(study.image * 2000.0 - 1000.0, study.segmentation.layers, 4)]
    roots = np.maximum(means[:, width:], 1e-12) ** 0.25
    expected = np.concatenate([means[:, :width], roots, shares, np.log1p(LOG_SCALE * shares), *measures], axis=1)
    np.testing.assert_allclose(organ_descriptors(model, study, CONFIG).numpy(), expected, atol=2e-4, rtol=0)


def test_windows_stream_one_at_a_time_with_shares_that_sum_to_one(rng):
    study = random_study((50, 37, 10), rng)
    shares = np.zeros(study.image.shape)
    for features, box, weight in stream_features(tiny_model(CONFIG), study, CONFIG):
        assert max(features.shape[1:]) <= CONFIG.patch_voxels
        assert features.shape[1:] == study.image[box].shape
        shares[box] += weight.numpy()
    organs = (study.segmentation.layers > 0).any(axis=0)
    np.testing.assert_allclose(shares[organs], 1, atol=1e-5)


def test_embeddings_have_unit_norm_and_an_organ_without_voxels_has_nan(model):
    volume, organs = phantom(phantom_grid())
    absent = Segmentation(organs.layers, organs.grid, (*NAMES, "duodenum"))
    embeddings = embed(model, volume, absent)
    np.testing.assert_allclose(np.linalg.norm(embeddings[:-1], axis=1), 1, atol=1e-6)
    assert np.isnan(embeddings[-1]).all()
    assert embeddings.dtype == np.float32


def test_a_study_whose_only_organ_vanishes_at_the_networks_spacing_gets_nan(model):
    volume, organs = phantom(phantom_grid())
    speck = np.zeros_like(organs.layers[:1])
    speck[0, 1, 1, 1] = 1
    study = prepare(volume, Segmentation(speck, organs.grid, ("spleen",)), CONFIG)
    assert study.geometry.voxels[0] == 0
    assert np.isnan(encode_organs(model, study, CONFIG)).all()


def test_the_phantoms_organs_have_embeddings_far_from_each_other(reference):
    between = reference @ reference.T - 2 * np.eye(len(reference))
    assert between.max() < 0.9


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_48_axis_orders_give_the_same_embeddings(order, model, stored):
    volume, organs = phantom(phantom_grid())
    for flips in product((False, True), repeat=3):
        array, grid = reordered(volume.array, volume.grid, order, flips)
        layers, layer_grid = reordered(organs.layers, organs.grid, order, flips)
        found = embed(model, Volume(array, grid), Segmentation(layers, layer_grid, NAMES))
        assert cosines(found, stored).min() >= 0.99999, (order, flips)


def test_ct_and_organs_stored_in_different_axis_orders_give_the_same_embeddings(model, stored):
    volume, organs = phantom(phantom_grid())
    array, grid = reordered(volume.array, volume.grid, (2, 0, 1), (True, False, True))
    found = embed(model, Volume(array, grid), organs)
    assert cosines(found, stored).min() >= 0.99999


def test_a_study_stored_in_reverse_at_the_networks_own_spacing_gives_the_same_embeddings(model):
    volume, organs = phantom(phantom_grid((3.0, 3.0, 3.0)))
    array, grid = reordered(volume.array, volume.grid, (0, 1, 2), (True, True, False))
    layers, _ = reordered(organs.layers, organs.grid, (0, 1, 2), (True, True, False))
    reverse = Volume(array, grid), Segmentation(layers, grid, NAMES)
    assert prepare(*reverse, CONFIG).segmentation.layers.strides[1] < 0, "a view of what was given, not a copy"
    assert cosines(embed(model, *reverse), embed(model, volume, organs)).min() >= 0.99999


@pytest.mark.parametrize("origin", [(13.37, -200.1, 755.5), (-1e3, 4e2, -2.25)])
def test_a_shifted_origin_gives_the_same_embeddings(origin, model, stored):
    found = embed(model, *phantom(phantom_grid(centre_ras_mm=origin), origin))
    assert cosines(found, stored).min() >= 0.999


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (3.0, 1.0, 1.0), (1.0, 3.0, 1.0)])
def test_anisotropic_spacings_of_one_patient_give_the_same_embeddings(spacing, model, reference):
    found = embed(model, *phantom(phantom_grid(spacing)))
    assert cosines(found, reference).min() >= 0.999


def test_ct_and_organs_on_different_grids_give_the_same_embeddings(model, reference):
    found = embed(model, phantom_ct(phantom_grid((2.0, 1.5, 1.5))), phantom_organs(phantom_grid((1.0, 1.0, 3.0))))
    assert cosines(found, reference).min() >= 0.999


def test_left_and_right_follow_the_affine_not_the_index(model, stored):
    volume, organs = phantom(phantom_grid())
    mirrored, grid = reordered(volume.array, volume.grid, (0, 1, 2), (True, False, False))
    layers, _ = reordered(organs.layers, organs.grid, (0, 1, 2), (True, False, False))
    told = embed(model, Volume(mirrored, grid), Segmentation(layers, grid, NAMES))
    untold = embed(model, Volume(mirrored, volume.grid), Segmentation(layers, volume.grid, NAMES))
    kidney = NAMES.index("kidney_left")
    assert cosines(told, stored).min() >= 0.99999
    assert cosines(untold, stored)[kidney] < 0.95


def test_an_organ_in_a_second_layer_does_not_change_the_others(model, stored):
    volume, organs = phantom(phantom_grid())
    without = Segmentation(organs.layers[:1], organs.grid, NAMES[: -len(LAYERED)])
    found = embed(model, volume, without)
    np.testing.assert_allclose(found, stored[: -len(LAYERED)], atol=1e-5)


def test_progress_counts_the_windows_and_false_cancels(model):
    study = prepare(*phantom(phantom_grid()), CONFIG)
    told: list[tuple[int, int]] = []
    encode_organs(model, study, CONFIG, lambda what, done, total: told.append((done, total)))
    total = told[-1][1]
    assert list(dict.fromkeys(told)) == [(done, total) for done in range(total + 1)]
    with pytest.raises(Cancelled, match="Cancelled while encoding windows"):
        encode_organs(model, study, CONFIG, lambda what, done, total: done < 1)


def test_a_window_is_left_in_the_middle_when_asked_and_the_model_is_as_before(model):
    study = prepare(*phantom(phantom_grid()), CONFIG)
    before = encode_organs(model, study, CONFIG)
    asked: list[int] = []

    def stop_at_the_fifth_question(_what, _done, _total):
        asked.append(1)
        return len(asked) < 5

    with pytest.raises(Cancelled, match="0 of"):
        encode_organs(model, study, CONFIG, stop_at_the_fifth_question)
    assert len(asked) == 5
    np.testing.assert_array_equal(encode_organs(model, study, CONFIG, lambda *_step: None), before)
    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_another_thread_that_uses_the_model_is_neither_told_nor_stopped():
    model, image, told = torch.nn.ReLU(), torch.zeros(1), []
    with ThreadPoolExecutor(1) as pool, stoppable(model, lambda *step: told.append(step), "encoding", 0, 1):
        pool.submit(model, image).result()
        assert told == []
        model(image)
    assert told == [("encoding", 0, 1)]


def test_the_cpu_computes_in_full_precision_and_a_named_device_is_taken():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in {"cpu", "cuda", "mps"}
    with autocast(torch.device("cpu")):
        product_type = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product_type == torch.float32
