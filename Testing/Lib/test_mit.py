"""The medical transformer and its U-shaped decoder."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from CTGLIPLib.errors import ConfigError
from CTGLIPLib.mit import MiT, MiTConfig, _Attention, resized_positions

SMALL = MiTConfig(
    depths=(1, 2, 1, 1),
    widths=(8, 12, 16, 24),
    heads=(1, 2, 4, 4),
    reductions=(4, 2, 2, 1),
    stem_width=6,
    native_size_ijk=(64, 64, 32),
)


def network(in_channels: int = 1) -> MiT:
    torch.manual_seed(0)
    return MiT(in_channels, SMALL).eval()


@pytest.mark.parametrize("size_ijk", [(32, 64, 32), (64, 32, 16), (64, 64, 32)])
def test_features_have_the_size_of_the_image(size_ijk: tuple[int, int, int]) -> None:
    with torch.inference_mode():
        features = network(in_channels=2)(torch.randn(1, 2, *size_ijk))
    assert features.shape == (1, 6, *size_ijk)
    assert bool(torch.isfinite(features).all())


def test_same_image_gives_the_same_features_twice() -> None:
    model, image = network(), torch.randn(1, 1, 64, 32, 16)
    with torch.inference_mode():
        assert torch.equal(model(image), model(image))


def test_permuting_the_batch_permutes_the_features() -> None:
    model, images = network(), torch.randn(3, 1, 64, 32, 16)
    order = torch.tensor([2, 0, 1])
    with torch.inference_mode():
        torch.testing.assert_close(model(images)[order], model(images[order]), rtol=1e-5, atol=1e-5)


def test_every_weight_gets_a_gradient() -> None:
    model = network().train()
    features = model(torch.randn(1, 1, 64, 32, 32))
    (features * torch.randn_like(features)).sum().backward()
    dead = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or (not name.endswith("bias") and not parameter.grad.any())
    ]
    assert dead == []


def test_positions_are_as_learned_at_the_native_size() -> None:
    positions = torch.randn(1, 5, 4, 6, 8)
    assert resized_positions(positions, (4, 6, 8)) is positions


def test_interpolated_positions_keep_a_linear_ramp_and_their_mean() -> None:
    ramp = torch.arange(8.0).reshape(1, 1, 8, 1, 1).expand(1, 1, 8, 4, 4)
    resized = resized_positions(ramp, (16, 4, 4))[0, 0, :, 0, 0]
    torch.testing.assert_close(resized[1:-1], torch.arange(0.25, 7.0, 0.5))
    assert resized.mean() == pytest.approx(3.5)


def test_attention_equals_softmax_written_out() -> None:
    torch.manual_seed(1)
    attention = _Attention(12, heads=3, reduction=2)
    tokens = torch.randn(2, 4 * 2 * 6, 12)
    grid = tokens.transpose(1, 2).reshape(2, 12, 4, 2, 6)
    assert attention.shrink is not None
    shrunk = functional.conv3d(grid, attention.shrink.weight, attention.shrink.bias, stride=2)
    assert shrunk.shape == (2, 12, 2, 1, 3)
    context = functional.layer_norm(shrunk.reshape(2, 12, 6).transpose(1, 2), (12,), eps=1e-6)
    key_value = attention.key_value(context)
    query = attention.query(tokens)
    expected = torch.zeros(2, 48, 12)
    for head in range(3):
        columns = slice(4 * head, 4 * head + 4)
        scores = query[:, :, columns] @ key_value[:, :, :12][:, :, columns].transpose(1, 2) / 2.0
        expected[:, :, columns] = scores.softmax(dim=-1) @ key_value[:, :, 12:][:, :, columns]
    torch.testing.assert_close(attention(tokens, (4, 2, 6)), attention.projection(expected), rtol=1e-5, atol=1e-6)


def test_far_voxels_reach_each_other_through_attention() -> None:
    model, image = network(), torch.randn(1, 1, 64, 64, 16)
    image.requires_grad_()
    model(image)[0, :, 0, 0, 0].sum().backward()
    assert image.grad is not None
    assert float(image.grad[0, 0, -1, -1, -1].abs()) > 0


def test_paper_sized_layouts_need_multiples_of_96_in_plane_and_48_along_k() -> None:
    assert MiTConfig(depths=(1, 1, 1, 1)).multiple_ijk == (96, 96, 48)
    assert SMALL.multiple_ijk == (32, 32, 16)


@pytest.mark.parametrize(("size_ijk", "word"), [((48, 64, 32), "multiple of"), ((32, 32, 16), "one voxel")])
def test_an_image_of_unusable_size_is_refused(size_ijk: tuple[int, int, int], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        network()(torch.zeros(1, 1, *size_ijk))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"heads": (1, 2, 4)}, "as many depths"),
        ({"heads": (1, 2, 3, 4)}, "multiple of its number of heads"),
        ({"native_size_ijk": (60, 64, 32)}, "multiple of"),
    ],
)
def test_a_layout_whose_parts_do_not_fit_is_refused(change: dict[str, tuple[int, ...]], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        dataclasses.replace(SMALL, **change)
