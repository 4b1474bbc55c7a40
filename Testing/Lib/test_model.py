"""The grounded encoder: descriptor layout, standardisation, padding of slabs, gradients."""

from __future__ import annotations

import pytest
import torch
from phantoms import tiny_model

from CTGLIPLib.config import ModelConfig, PreprocessConfig
from CTGLIPLib.core_and_shell import CORE_AND_SHELL_FEATURES
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.intensity import BINS
from CTGLIPLib.model import LEAST_DEVIATION, GroundedEncoder, RunningStandardise
from CTGLIPLib.pooling import OrganPool, organ_index, voxel_rows

PREPROCESS = PreprocessConfig()
WIDTH = 8
ALL_OPTIONS = {"coordinates": True, "intensity": True, "power_mean": True, "geometry": True}


def test_without_options_it_is_the_papers_model():
    model = GroundedEncoder(ModelConfig("tiny", ("liver",), text_dim=24), PREPROCESS)
    assert isinstance(model.standardise, torch.nn.Identity)
    layers = [tuple(layer.weight.shape) for layer in model.projection if isinstance(layer, torch.nn.Linear)]
    assert layers == [(768, WIDTH), (24, 768)]
    rows = torch.randn(5, WIDTH)
    torch.testing.assert_close(model.voxel_channels(rows), rows)
    torch.testing.assert_close(model.descriptor(rows, torch.zeros(5, 8)), rows)
    assert model.temperature.item() == pytest.approx(0.07)


def test_with_all_options_channels_and_descriptor_lie_in_their_order():
    model = tiny_model(PREPROCESS, **ALL_OPTIONS)
    features = torch.randn(6, WIDTH)
    channels = model.voxel_channels(features)
    bins = BINS
    torch.testing.assert_close(channels[:, :WIDTH], features)
    torch.testing.assert_close(channels[:, WIDTH:], features.clamp_min(0) ** 4)
    geometry, shares = torch.randn(6, 8), torch.rand(6, bins)
    descriptor = model.descriptor(channels, torch.cat([geometry, shares], dim=1))
    assert descriptor.shape == (6, 2 * WIDTH + 2 * bins + 8)
    torch.testing.assert_close(descriptor[:, WIDTH : 2 * WIDTH], features.clamp_min(1e-3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(descriptor[:, 2 * WIDTH : 2 * WIDTH + bins], shares)
    torch.testing.assert_close(descriptor[:, 2 * WIDTH + bins : -8], torch.log1p(1000 * shares))
    torch.testing.assert_close(descriptor[:, -8:], geometry)


def test_core_and_shell_follow_the_geometry_and_stand_alone_without_it():
    measures = torch.randn(6, 8 + CORE_AND_SHELL_FEATURES)
    for options, kept in (({"geometry": True}, measures), ({}, measures[:, 8:])):
        model = tiny_model(PREPROCESS, core_and_shell=True, **options)
        descriptor = model.descriptor(torch.randn(6, WIDTH), measures)
        torch.testing.assert_close(descriptor[:, WIDTH:], kept)
        assert model.project(descriptor).shape[0] == 6


def test_embeddings_have_unit_norm():
    model = tiny_model(PREPROCESS, **ALL_OPTIONS)
    norms = model.project(torch.randn(7, model.projection[0].in_features)).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(7))


def test_features_of_a_thin_slab_are_those_of_the_slab_with_its_border_repeated():
    model = tiny_model(PREPROCESS)
    slab = torch.rand(1, 1, 20, 16, 10)
    repeated = torch.cat([slab, slab[..., -1:].expand(-1, -1, -1, -1, 6)], dim=4)
    repeated = torch.cat([repeated, repeated[:, :, -1:].expand(-1, -1, 12, -1, -1)], dim=2)
    with torch.inference_mode():
        expected = model.backbone(repeated)[:, :, :20, :16, :10]
        assert torch.equal(model.features(slab), expected)


def test_standardised_rows_do_not_depend_on_the_others_in_use():
    layer = RunningStandardise(3)
    layer(torch.randn(50, 3) * 4 + 2)
    layer.eval()
    rows, before = torch.randn(9, 3), layer.mean.clone()
    torch.testing.assert_close(layer(rows)[4:5], layer(rows[4:5]))
    assert torch.equal(layer.mean, before)


def test_standardisation_brings_rows_to_mean_zero_and_what_hardly_varies_stays_small():
    generator = torch.Generator().manual_seed(3)
    layer = RunningStandardise(2)
    scale, shift = torch.tensor([5.0, 0.01]), torch.tensor([-3.0, 0.7])
    for _ in range(100):
        layer(torch.randn(64, 2, generator=generator) * scale + shift)
    layer.eval()
    out = layer(torch.randn(20000, 2, generator=generator) * scale + shift)
    assert out.mean(dim=0).abs().max() < 0.1
    torch.testing.assert_close(out.std(dim=0), scale / (scale + LEAST_DEVIATION), rtol=0.05, atol=0.0)


def test_a_limit_cuts_what_lies_far_from_all_of_training_and_leaves_the_rest():
    rows = torch.tensor([[0.5, 40.0], [-9.0, 1.0]])
    free, limited = RunningStandardise(2), RunningStandardise(2, 3.0)
    for layer in (free, limited):
        layer.eval()
    assert free(rows).abs().max() > 30
    torch.testing.assert_close(limited(rows), free(rows).clamp(-3, 3))
    model = GroundedEncoder(ModelConfig("tiny", text_dim=8, geometry=True, descriptor_limit=2.0), PREPROCESS)
    assert model.standardise.limit == 2.0
    with pytest.raises(ConfigError, match="descriptor_limit must be 0 or more, got -1.0"):
        ModelConfig(descriptor_limit=-1.0)


def test_a_scan_smaller_than_one_stride_is_padded_and_cut_back():
    model = GroundedEncoder(ModelConfig(backbone="tiny", text_dim=8, hidden_dim=8), PreprocessConfig())
    assert model.features(torch.rand(1, 1, 9, 16, 5)).shape == (1, 8, 9, 16, 5)


def test_a_single_row_in_training_leaves_the_statistics():
    layer = RunningStandardise(2)
    layer(torch.full((1, 2), 9.0))
    assert layer.mean.tolist() == [0, 0]
    assert layer.variance.tolist() == [1, 1]


@pytest.mark.parametrize("options", [{}, ALL_OPTIONS])
def test_every_parameter_receives_a_gradient(options):
    model = tiny_model(PREPROCESS, **options).train()
    image = torch.rand(1, model.config.input_channels, 20, 20, 36)
    layer = torch.randint(0, 4, (20, 20, 36))
    features = model.features(image)[0]
    index, organ = organ_index(layer)
    rows = voxel_rows(features, index)
    pool = OrganPool(3, model.voxel_channels)
    pool.add(features, layer, torch.ones(layer.shape))
    embeddings = model.project(model.descriptor(pool.means(), torch.rand(3, 8 + (BINS if options else 0))))
    texts = torch.nn.functional.normalize(torch.randn(3, embeddings.shape[1]), dim=1)
    loss = torch.nn.functional.cross_entropy(embeddings @ texts.T / model.temperature, torch.arange(3))
    (loss + torch.nn.functional.cross_entropy(model.segment(rows), organ)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if not name.endswith((".conv.bias", "transpconvs.0.bias")):  # the instance norm that follows takes these away
            assert parameter.grad.abs().max() > 0, name
